"""One rule of what goes wrong, and how it is written as text."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import attrs

from koodrive_async.emulator.routes import INTERFACE, OBJECT_GET, PART_PUT, ROUTES

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal[
    "latency",
    "bandwidth",
    "total-bandwidth",
    "error",
    "early-answer",
    "throttle",
    "reset",
    "silence",
    "lost-answer",
    "half-answer",
    "headers-only",
    "trickle",
    "garbage",
    "close",
    "corrupt",
    "lost-upload",
    "expired-url",
    "expired-lock",
    "expired-token",
]
Moment = Literal["before", "middle", "after"]

TOO_MANY_REQUESTS: Final = 429
DEFAULT_RETRY_AFTER: Final = 1.0
DEFAULT_SECONDS: Final = {"latency": 0.1, "trickle": 1.0}

# The option that the value behind the equals sign of a kind stands for.
MAIN_OPTION: Final[dict[str, str]] = {
    "latency": "seconds",
    "bandwidth": "bytes_per_second",
    "total-bandwidth": "bytes_per_second",
    "error": "status",
    "early-answer": "status",
    "throttle": "retry_after",
    "reset": "moment",
    "silence": "moment",
    "trickle": "seconds",
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

OBJECTS: Final = (PART_PUT, OBJECT_GET)
# What a kind can hit, if not every request.
REACH: Final[dict[str, tuple[str, ...]]] = {
    "bandwidth": OBJECTS,
    "total-bandwidth": OBJECTS,
    "expired-url": OBJECTS,
    "corrupt": (PART_PUT,),
    "lost-upload": (PART_PUT, "files.complete", "files.part_urls"),
    "expired-token": tuple(
        route.name for route in INTERFACE if not route.name.startswith("tokens.")
    ),
}


def _known_route(_: object, __: object, pattern: str) -> None:
    if not any(fnmatchcase(route, pattern) for route in ROUTES):
        raise ValueError(f"no route is called {pattern!r}; there are {', '.join(ROUTES)}")


def _one_of(known: tuple[str, ...]) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def check(_: object, field: attrs.Attribute[Any], value: object) -> None:
        if value not in known:
            raise ValueError(f"no {field.name} is called {value!r}; there are {', '.join(known)}")

    return check


def _default_seconds(fault: Fault) -> float:
    return DEFAULT_SECONDS.get(fault.kind, 0.0)


@attrs.frozen
class Fault:
    """One rule: what goes wrong, where and how often.

    :param kind: what happens.
    :param route: a route name, or a pattern over route names.
    :param rate: chance that a request that matches is hit, 0 to 1.
    :param times: hit only so many requests; ``None`` for no limit.
    :param after: let the first so many requests that match pass.
    :param seconds: how late an answer is (``latency``, 0.1 by default), or the pause before each
        of its bytes (``trickle``, 1 by default).
    :param bytes_per_second: speed of bodies (``bandwidth``, ``total-bandwidth``).
    :param status: HTTP status (``error``, ``early-answer``).
    :param code: ``code`` of the answer (``error``, ``early-answer``); a number is sent as one. An
        error of the object store prints it as its XML code.
    :param msg: message of the answer (``error``, ``early-answer``).
    :param retry_after: ``Retry-After`` header in seconds (``error``, ``early-answer``,
        ``throttle``); without it an error has none and a throttle says 1.
    :param moment: when the connection is cut (``reset``) or no longer served (``silence``):
        ``before`` the body is read, in the ``middle`` of a body (of the request, or of a
        download), ``after`` the body and before the service acts.
    :raises ValueError: when a value is not one of these, or the kind can hit no such route.
    """

    kind: Kind = attrs.field(validator=_one_of(get_args(Kind)))
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
    seconds: float = attrs.field(
        default=attrs.Factory(_default_seconds, takes_self=True),
        kw_only=True,
        validator=attrs.validators.ge(0.0),
    )
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
        default="before", kw_only=True, validator=_one_of(get_args(Moment))
    )

    def __attrs_post_init__(self) -> None:
        reach = REACH.get(self.kind, ROUTES)
        if not any(fnmatchcase(route, self.route) for route in reach):
            raise ValueError(
                f"{self.kind} cannot hit {self.route!r}; it can hit {', '.join(reach)}"
            )

    def matches(self, route: str) -> bool:
        """Return whether the rule is for this route, and can hit it."""
        return fnmatchcase(route, self.route) and route in REACH.get(self.kind, (route,))

    @property
    def answer_status(self) -> int:
        """HTTP status of the answer that an ``error``, ``early-answer`` or ``throttle`` orders."""
        return TOO_MANY_REQUESTS if self.kind == "throttle" else self.status

    @property
    def answer_after(self) -> float | None:
        """``Retry-After`` of that answer, in seconds; a ``throttle`` always has one."""
        if self.kind == "throttle" and self.retry_after is None:
            return DEFAULT_RETRY_AFTER
        return self.retry_after

    @classmethod
    def parse(cls, rule: str) -> Fault:
        """Read one rule of the grammar at the top of ``faults.py``.

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


def _main_option(kind: str) -> str:
    if kind not in MAIN_OPTION:
        raise ValueError(f"{kind} takes no value")
    return MAIN_OPTION[kind]
