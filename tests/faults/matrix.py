"""The cells of the fault matrix, as data: which fault, at which stage, for which files."""

from __future__ import annotations

from itertools import product

import attrs

from koodrive_async.emulator.fault import REACH, Fault

ONE_PART, MANY_PARTS, MANY_FILES = "one part", "many parts", "many files"
SHAPES = (ONE_PART, MANY_PARTS, MANY_FILES)

ONCE, FOR_EVER = "once", "for ever"

URL_RUNS_OUT = Fault("expired-url", "part.put", times=1)
"""What makes the client ask for URLs again."""


@attrs.frozen
class Row:
    """One thing that goes wrong.

    :param name: As the table calls it.
    :param rule: The fault without its route.
    :param options: More of it, behind the route.
    :param routes: What it is tried at; None for all that it can hit.
    :param waits: It takes a deadline to get over it.
    """

    name: str
    rule: str
    options: str = ""
    routes: tuple[str, ...] | None = None
    waits: bool = False

    @property
    def kind(self) -> str:
        return self.rule.partition("=")[0]

    def hits(self, route: str) -> bool:
        if self.routes is not None:
            return route in self.routes
        return route in REACH.get(self.kind, (route,))

    def fault(self, stage: Stage, often: str) -> Fault:
        options = [*([self.options] if self.options else []), f"after={stage.after}"]
        if often == ONCE:
            options.append("times=1")
        return Fault.parse(f"{self.rule}:{stage.route}:{','.join(options)}")


@attrs.frozen
class Stage:
    """One request of a backup.

    :param after: Requests of the route that pass before.
    :param shapes: With which files it is tried.
    """

    name: str
    route: str
    after: int = 0
    shapes: tuple[str, ...] = SHAPES
    needs: tuple[Fault, ...] = ()


@attrs.frozen
class Cell:
    """One fault at one stage."""

    row: Row
    stage: Stage
    shape: str
    often: str

    @property
    def fault(self) -> Fault:
        return self.row.fault(self.stage, self.often)

    def __str__(self) -> str:
        return f"{self.row.name} {self.often} at {self.stage.name}, {self.shape}"


AROUND = (ONE_PART, MANY_FILES)
"""What comes before and after the files does not depend on how many parts they have."""

STAGES = (
    Stage("lock", "locks.create", shapes=AROUND),
    Stage("record", "records.create", shapes=AROUND),
    Stage("create", "files.create"),
    Stage("first part", "part.put"),
    Stage("middle part", "part.put", after=1, shapes=(MANY_PARTS,)),
    Stage("last part", "part.put", after=2, shapes=(MANY_PARTS,)),
    Stage("URLs", "files.part_urls", needs=(URL_RUNS_OUT,)),
    Stage("complete", "files.complete"),
    Stage("end", "records.complete", shapes=AROUND),
    Stage("renewal", "locks.renew", shapes=(ONE_PART,)),
    Stage("release", "locks.release", shapes=AROUND),
)

LOCKED = ("records.create", "files.create", "records.complete", "locks.renew", "locks.release")
INTERFACE = tuple(stage.route for stage in STAGES if stage.route != "part.put")

ROWS = (
    Row("slow answer", "latency=0.03"),
    Row("slow line", "bandwidth=200000000"),
    Row("slow uplink", "total-bandwidth=200000000"),
    Row("400", "error=400", "code=13000102,msg=PARAMETER_INVALID"),
    Row("401", "error=401", "code=APIGW.0301,msg=no"),
    Row("403", "error=403", "code=13000410,msg=no"),
    Row("404", "error=404", "code=APIGW.0101,msg=no"),
    Row("408", "error=408"),
    Row("429, after 1 s", "throttle=1"),
    Row("429, after 1 h", "throttle=3600"),
    Row("500", "error=500"),
    Row("502", "error=502"),
    Row("503", "error=503"),
    Row("504", "error=504"),
    Row("13000201", "error=400", "code=13000201", INTERFACE),
    Row("13000304", "error=400", "code=13000304", INTERFACE),
    Row("13000311", "error=400", "code=13000311", INTERFACE),
    Row("13000402", "error=400", "code=13000402", ("files.complete",)),
    Row("13000403", "error=400", "code=13000403", INTERFACE),
    Row("early 503", "early-answer=503"),
    Row("reset before", "reset=before"),
    Row("reset in the middle", "reset=middle"),
    Row("reset after", "reset=after"),
    Row("silence before", "silence=before", waits=True),
    Row("silence in the middle", "silence=middle", waits=True),
    Row("silence after", "silence=after", waits=True),
    Row("lost answer", "lost-answer"),
    Row("half an answer", "half-answer"),
    Row("headers only", "headers-only", waits=True),
    Row("trickle", "trickle=1", waits=True),
    Row("garbage", "garbage"),
    Row("closed after it", "close"),
    Row("stored wrongly", "corrupt"),
    Row("upload forgotten", "lost-upload"),
    Row("URL too old", "expired-url"),
    Row("lock runs out", "expired-lock", routes=LOCKED),
    Row("token runs out", "expired-token", routes=INTERFACE),
)


def cells(row: Row, often: str) -> tuple[Cell, ...]:
    """Return the cells of a row; what goes wrong for ever is tried with one shape of files."""
    if often == ONCE:
        tried = [(stage, shape) for stage in STAGES for shape in stage.shapes]
    else:
        tried = [(stage, stage.shapes[0]) for stage in STAGES if not stage.after]
    return tuple(Cell(row, stage, shape, often) for stage, shape in tried if row.hits(stage.route))


def all_rows() -> tuple[tuple[Row, str], ...]:
    """Return the rows of both tables."""
    return tuple(product(ROWS, (ONCE, FOR_EVER)))
