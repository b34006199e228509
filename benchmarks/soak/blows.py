"""What is done to a worker from outside: SIGKILL, SIGTERM, and standing still."""

from __future__ import annotations

import random
import signal
from typing import Final, Literal

import attrs

from benchmarks.soak.order import LOCK_SECONDS
from koodrive_async.emulator import ROUTES

Kind = Literal["kill", "term", "stop"]

SIGNALS: Final = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "stop": signal.SIGSTOP}
MET: Final = tuple(
    route
    for route in ROUTES
    if route.startswith(("locks.", "records.c", "records.get", "files.", "part.", "tokens.login"))
    and route not in {"files.create_ordinary", "files.download_urls", "files.details"}
)
"""Routes that a worker asks for."""

CALMER: Final = 1.3
"""How much longer each process of a record lives on average than the one before it."""


@attrs.frozen(kw_only=True)
class Blow:
    """One signal.

    :param after: Seconds from the start of the process.
    :param at: Then at the next request of this route, while the service acts on it.
    :param pause: Seconds of standing still.
    """

    kind: Kind
    after: float
    at: str | None = None
    pause: float = 0.0


class Fate:
    """The blows that the workers of a soak get, by its seed."""

    def __init__(self, seed: int, pace: float) -> None:
        self._chance = random.Random(f"fate of {seed}")  # noqa: S311 - to be had again
        self._pace = pace

    def next(self, resumed: int) -> Blow:
        """Return the next blow.

        :param resumed: How many processes this record has had before: it must end some time.
        """
        chance = self._chance
        kind: Kind = chance.choices(("kill", "term", "stop"), (12, 3, 1))[0]
        after = 0.2 + chance.expovariate(1 / self._pace) * CALMER**resumed
        at = chance.choice(MET)
        pause = LOCK_SECONDS * chance.uniform(0.3, 1.5)
        if kind == "kill":
            return Blow(kind=kind, after=after, at=at if chance.random() < 0.6 else None)  # noqa: PLR2004 - as often as not
        return Blow(kind=kind, after=after, pause=pause if kind == "stop" else 0.0)
