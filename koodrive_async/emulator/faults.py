"""Faults on order: which requests go wrong, how, and how often.

From Python::

    faults = Faults([Fault("error", "files.complete", status=503, rate=0.1)], seed=7)
    faults.add(Fault("reset", "part.put", moment="middle", times=2))

From text, one rule per item (this is what a command line takes)::

    rule   = kind ["=" value] [":" route] [":" option *("," option)]
    option = name "=" value

    latency=0.02                          every answer 20 ms late
    latency=1.5:part.put:rate=0.05        one part in twenty 1.5 s late
    bandwidth=1000000                     each connection moves 1 MB/s (part.put, object.get)
    total-bandwidth=5000000:part.put      all uploads together move 5 MB/s
    error:files.complete:status=503,rate=0.1
    error=500:records.*:code=13000201,msg=INNER_INVOKE_FAILURE,retry_after=2
    throttle=1:part.put:times=3           HTTP 429, Retry-After: 1
    reset=middle:part.put:times=1,after=4 cut inside the body of the fifth part
    lost-answer:files.create:times=1      the service acts, its answer never comes
    expired-url:part.put:times=1          the object store says the URL is too old
    expired-lock:files.create:times=1     the lock runs out at that moment

A route is a name of :data:`koodrive_async.emulator.ROUTES` or a pattern over them (``files.*``);
without one a rule is for all of them. Options of every kind: ``rate`` (0 to 1, seeded),
``times`` (only the first n) and ``after`` (not the first n that match).
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import attrs

from koodrive_async.emulator.routes import ROUTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Kind = Literal[
    "latency",
    "bandwidth",
    "total-bandwidth",
    "error",
    "throttle",
    "reset",
    "lost-answer",
    "expired-url",
    "expired-lock",
]
Moment = Literal["before", "middle", "after"]

TOO_MANY_REQUESTS: Final = 429
DEFAULT_RETRY_AFTER: Final = 1.0

# The option that the value behind the equals sign of a kind stands for.
MAIN_OPTION: Final[dict[str, str]] = {
    "latency": "seconds",
    "bandwidth": "bytes_per_second",
    "total-bandwidth": "bytes_per_second",
    "error": "status",
    "throttle": "retry_after",
    "reset": "moment",
}
OPTIONS: Final[dict[str, type[int | float | str]]] = {
    "rate": float,
    "times": int,
    "after": int,
    "seconds": float,
    "bytes_per_second": float,
    "status": int,
    "code": str,
    "msg": str,
    "retry_after": float,
    "moment": str,
}


def _known_route(_: object, __: object, pattern: str) -> None:
    if not any(fnmatchcase(route, pattern) for route in ROUTES):
        raise ValueError(f"no route is called {pattern!r}; there are {', '.join(ROUTES)}")


@attrs.frozen
class Fault:
    """One rule: what goes wrong, where and how often.

    :param kind: what happens.
    :param route: a route name, or a pattern over route names.
    :param rate: chance that a request that matches is hit, 0 to 1.
    :param times: hit only so many requests; ``None`` for no limit.
    :param after: let the first so many requests that match pass.
    :param seconds: how late an answer is (``latency``).
    :param bytes_per_second: speed of bodies (``bandwidth``, ``total-bandwidth``).
    :param status: HTTP status (``error``).
    :param code: ``code`` of the answer (``error``); a number is sent as one. An error of the
        object store prints it as its XML code.
    :param msg: message of the answer (``error``).
    :param retry_after: ``Retry-After`` header in seconds (``error``, ``throttle``); without it an
        error has none and a throttle says 1.
    :param moment: when the connection is cut (``reset``): ``before`` the body is read, in the
        ``middle`` of a body (of the request, or of a download), ``after`` the body and before the
        service acts.
    :raises ValueError: when a value is none of these.
    """

    kind: Kind = attrs.field(validator=attrs.validators.in_(get_args(Kind)))
    route: str = attrs.field(default="*", validator=_known_route)
    rate: float = attrs.field(
        default=1.0,
        kw_only=True,
        validator=[attrs.validators.ge(0.0), attrs.validators.le(1.0)],
    )
    times: int | None = attrs.field(
        default=None,
        kw_only=True,
        validator=attrs.validators.optional(attrs.validators.ge(0)),
    )
    after: int = attrs.field(default=0, kw_only=True, validator=attrs.validators.ge(0))
    seconds: float = attrs.field(default=0.1, kw_only=True, validator=attrs.validators.ge(0.0))
    bytes_per_second: float = attrs.field(
        default=1_000_000.0, kw_only=True, validator=attrs.validators.gt(0.0)
    )
    status: int = attrs.field(
        default=503,
        kw_only=True,
        validator=[attrs.validators.ge(400), attrs.validators.le(599)],
    )
    code: str | None = attrs.field(default=None, kw_only=True)
    msg: str = attrs.field(default="a fault was ordered", kw_only=True)
    retry_after: float | None = attrs.field(
        default=None,
        kw_only=True,
        validator=attrs.validators.optional(attrs.validators.ge(0.0)),
    )
    moment: Moment = attrs.field(
        default="before", kw_only=True, validator=attrs.validators.in_(get_args(Moment))
    )

    @property
    def answer_status(self) -> int:
        """HTTP status of the answer that an ``error`` or ``throttle`` orders."""
        return TOO_MANY_REQUESTS if self.kind == "throttle" else self.status

    @property
    def answer_after(self) -> float | None:
        """``Retry-After`` of that answer, in seconds; a ``throttle`` always has one."""
        if self.kind == "throttle" and self.retry_after is None:
            return DEFAULT_RETRY_AFTER
        return self.retry_after

    @classmethod
    def parse(cls, rule: str) -> Fault:
        """Read one rule of the grammar at the top of this module.

        :raises ValueError: when it does not follow the grammar, with the rule and what is wrong.
        """
        try:
            return cls._parsed(rule)
        except ValueError as error:
            raise ValueError(f"fault {rule!r}: {error}") from None

    @classmethod
    def _parsed(cls, rule: str) -> Fault:
        head, _, rest = rule.partition(":")
        kind, has_value, value = head.partition("=")
        if kind not in get_args(Kind):
            raise ValueError(f"no kind is called {kind!r}; there are {', '.join(get_args(Kind))}")
        options = [] if not has_value else [f"{_main_option(kind)}={value}"]
        route, _, more = rest.partition(":")
        if "=" in route:  # no route: the options follow at once
            route, more = "", rest
        options += more.split(",") if more else []
        fields: dict[str, Any] = {}
        for option in options:
            name, _, given = option.partition("=")
            if name not in OPTIONS:
                raise ValueError(f"no option is called {name!r}; there are {', '.join(OPTIONS)}")
            fields[name] = OPTIONS[name](given)
        checked: Any = kind
        return cls(checked, route or "*", **fields)


class Faults:
    """The rules in force; they may change while the emulator runs, from any thread.

    :param rules: the rules to begin with.
    :param seed: seed of the chance that ``rate`` asks, so that a run can be had again.
    """

    def __init__(self, rules: Iterable[Fault] = (), *, seed: int = 0) -> None:
        self._mutex = threading.Lock()
        self._random = random.Random(seed)  # noqa: S311 - chance for tests, nothing to keep secret
        self._rules: list[Fault] = list(rules)
        self._matched: Counter[Fault] = Counter()
        self._hits: Counter[Fault] = Counter()

    @classmethod
    def parse(cls, rules: Iterable[str], *, seed: int = 0) -> Faults:
        """Read rules of the grammar at the top of this module.

        :raises ValueError: for the first rule that does not follow it.
        """
        return cls([Fault.parse(rule) for rule in rules], seed=seed)

    def add(self, *rules: Fault) -> None:
        """Put rules in force; the count of an equal earlier rule goes on."""
        with self._mutex:
            self._rules += rules

    def remove(self, rule: Fault) -> None:
        """Take a rule out of force and forget its count; one that is not in force is ignored."""
        with self._mutex:
            self._rules = [each for each in self._rules if each != rule]
            del self._matched[rule], self._hits[rule]

    def clear(self) -> None:
        """Take all rules out of force."""
        with self._mutex:
            self._rules = []
            self._matched.clear()
            self._hits.clear()

    def hits(self, rule: Fault | None = None) -> int:
        """Return how many requests a rule, or any rule, has hit."""
        with self._mutex:
            return self._hits.total() if rule is None else self._hits[rule]

    def strike(self, route: str) -> Strike:
        """Decide what goes wrong with one request, and count it."""
        with self._mutex:
            return Strike(tuple(rule for rule in self._rules if self._is_hit(rule, route)))

    def __iter__(self) -> Iterator[Fault]:
        with self._mutex:
            return iter(tuple(self._rules))

    def __repr__(self) -> str:
        return f"Faults({list(self)!r})"

    def _is_hit(self, rule: Fault, route: str) -> bool:
        if not fnmatchcase(route, rule.route):
            return False
        self._matched[rule] += 1
        if self._matched[rule] <= rule.after:
            return False
        if rule.times is not None and self._hits[rule] >= rule.times:
            return False
        if rule.rate < 1.0 and self._random.random() >= rule.rate:
            return False
        self._hits[rule] += 1
        return True


@attrs.frozen
class Strike:
    """The rules that hit one request."""

    rules: tuple[Fault, ...] = ()

    @property
    def latency(self) -> float:
        """How late the answer is, in seconds."""
        return sum(rule.seconds for rule in self._of("latency"))

    @property
    def error(self) -> Fault | None:
        """The rule of the error to answer."""
        return next(iter(self._of("error", "throttle")), None)

    def has(self, kind: Kind) -> bool:
        """Return whether a rule of this kind hit the request."""
        return bool(self._of(kind))

    def resets(self, moment: Moment) -> bool:
        """Return whether the connection is cut at this moment."""
        return any(rule.moment == moment for rule in self._of("reset"))

    def speed(self, kind: Literal["bandwidth", "total-bandwidth"]) -> float | None:
        """Return the lowest speed of a kind of bandwidth, in bytes per second."""
        return min((rule.bytes_per_second for rule in self._of(kind)), default=None)

    def _of(self, *kinds: Kind) -> list[Fault]:
        return [rule for rule in self.rules if rule.kind in kinds]


def _main_option(kind: str) -> str:
    if kind not in MAIN_OPTION:
        raise ValueError(f"{kind} takes no value")
    return MAIN_OPTION[kind]
