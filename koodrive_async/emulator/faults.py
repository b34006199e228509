"""Faults on order: which requests go wrong, how, and how often.

From Python::

    faults = Faults([Fault("error", "files.complete", status=503, rate=0.1)], seed=7)
    faults.add(Fault("reset", "part.put", moment="middle", times=2))

From text, one rule per item (this is what a command line takes)::

    rule   = kind ["=" value] [":" route] [":" option *("," option)]
    option = name "=" value

Lines and delays::

    latency=0.02                          every answer 20 ms late
    latency=1.5:part.put:rate=0.05        one part in twenty 1.5 s late
    bandwidth=1000000                     each connection moves 1 MB/s (part.put, object.get)
    total-bandwidth=5000000:part.put      all uploads together move 5 MB/s

The service refuses, or never gets to act::

    error:files.complete:status=503,rate=0.1
    error=500:records.*:code=13000201,msg=INNER_INVOKE_FAILURE,retry_after=2
    throttle=1:part.put:times=3           HTTP 429, Retry-After: 1
    early-answer=503:part.put             answered before the body is read, then closed
    reset=middle:part.put:times=1,after=4 cut inside the body of the fifth part
    silence=after:part.put                takes the body, and never answers (or before, middle)

The service acts, and its answer comes to grief::

    lost-answer:files.create:times=1      it never comes: an orderly end of the connection
    half-answer:files.complete            its head and half of its body, then the connection ends
    headers-only:part.put                 its head, then silence
    trickle=1:files.create                a byte each second, then the connection ends
    garbage:part.put                      bytes that are no HTTP, then the connection ends
    close                                 all of it, with Connection: close

The service itself fails::

    corrupt:part.put:times=1              stores a byte wrongly and answers 200 all the same
    lost-upload:files.complete:times=1    has forgotten the upload (13000401): the file is gone
    expired-url:part.put:times=1          the object store says the URL is too old
    expired-lock:files.create:times=1     the lock runs out at that moment
    expired-token:records.list:times=1    the token runs out at that moment

A route is a name of :data:`koodrive_async.emulator.ROUTES` or a pattern over them (``files.*``);
without one a rule is for all that its kind can hit. ``corrupt`` hits ``part.put``; ``lost-upload``
hits ``part.put``, ``files.complete`` and ``files.part_urls``, and only uploads that are not
complete; ``expired-url`` and the two bandwidths hit ``part.put`` and ``object.get``;
``expired-token`` hits calls of the interface but ``tokens.*``, and a caller with the app signature
has no token to lose. Everything else hits every request.

Where there is silence, the connection stays until the other side leaves or the emulator stops.
An answer without a body is announced as chunked by ``half-answer`` and ``headers-only``, so that
something is missing. Options of every kind: ``rate`` (0 to 1, seeded), ``times`` (only the first
n) and ``after`` (not the first n that match).
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, Final, Literal

import attrs

from koodrive_async.emulator.fault import Fault
from koodrive_async.sequences import check_many

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from koodrive_async.emulator.fault import Kind, Moment

# The service acts, and then its answer is not sent as it should be.
SPOILING: Final[tuple[Kind, ...]] = ("half-answer", "headers-only", "trickle", "garbage")


class Faults:
    """The rules in force; they may change while the emulator runs, from any thread.

    :param rules: the rules to begin with.
    :param seed: seed of the chance that ``rate`` asks, so that a run can be had again.
    """

    def __init__(self, rules: Iterable[Fault] = (), *, seed: int = 0) -> None:
        self._mutex = threading.Lock()
        self._random = random.Random(seed)  # noqa: S311 - chance for tests, nothing to keep secret
        self._rules: list[Fault] = [*check_many("rules", rules, "Fault", Fault)]
        self._matched: Counter[Fault] = Counter()
        self._hits: Counter[Fault] = Counter()

    @classmethod
    def parse(cls, rules: Iterable[str], *, seed: int = 0) -> Faults:
        """Read rules of the grammar at the top of this module.

        :raises ValueError: for the first rule that does not follow it, and for one rule that is no
            list of them.
        """
        return cls([Fault.parse(rule) for rule in check_many("rules", rules, "rules")], seed=seed)

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
        if not rule.matches(route):
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

    @property
    def early_answer(self) -> Fault | None:
        """The rule of the error to answer before the body is read."""
        return next(iter(self._of("early-answer")), None)

    @property
    def spoiled(self) -> Fault | None:
        """The rule by which the answer is not sent as it should be."""
        return next(iter(self._of(*SPOILING)), None)

    @property
    def closes(self) -> bool:
        """Whether the answer says that the connection ends after it."""
        return self.has("close") or self.has("early-answer")

    def has(self, kind: Kind) -> bool:
        """Return whether a rule of this kind hit the request."""
        return bool(self._of(kind))

    def stops(self, moment: Moment) -> Fault | None:
        """Return the rule by which the connection is cut, or served no longer, at this moment."""
        rules = self._of("reset", "silence")
        return next((rule for rule in rules if rule.moment == moment), None)

    def speed(self, kind: Literal["bandwidth", "total-bandwidth"]) -> float | None:
        """Return the lowest speed of a kind of bandwidth, in bytes per second."""
        return min((rule.bytes_per_second for rule in self._of(kind)), default=None)

    def _of(self, *kinds: Kind) -> list[Fault]:
        return [rule for rule in self.rules if rule.kind in kinds]
