"""From runs to what the tables and plots show: medians, spreads and ratios."""

from __future__ import annotations

import statistics
from typing import Any

import attrs

from benchmarks.contenders import CONTENDERS
from benchmarks.workloads import MIB, WORKLOADS, Files, Workload

Results = dict[str, Any]
"""What ``results.json`` holds."""

OURS = "koodrive"


@attrs.frozen(kw_only=True)
class View:
    """One table: a workload, and which of its times is looked at.

    :param ours: The contender that the others are compared with.
    :param put: Look at the PUT phase alone, for which clients that hash as they send are left out.
    """

    workload: str
    heading: str
    ours: str = OURS
    put: bool = False

    def shows(self, contender: str) -> bool:
        """Say whether a contender belongs into this table."""
        if self.put:
            return contender == self.ours or not contender.startswith(("koodrive", "aiohttp"))
        return True

    def hashes(self, contender: str) -> bool:
        """Say whether a contender hashes what it sends."""
        return contender.endswith("-sha256")


VIEWS = (
    View(workload="large", heading="PUT phase", ours="koodrive-fixed", put=True),
    View(workload="large", heading="Whole job"),
    View(workload="large-tls", heading="PUT phase", ours="koodrive-fixed", put=True),
    View(workload="large-tls", heading="Whole job"),
    View(workload="eight", heading="Whole job"),
    View(workload="eight-tls", heading="Whole job"),
    View(workload="small", heading="Whole job"),
    View(workload="small-tls", heading="Whole job"),
    View(workload="small-latency", heading="Whole job", ours="koodrive-fixed"),
    View(workload="throttled", heading="PUT phase", ours="koodrive-fixed", put=True),
    View(workload="throttled-total", heading="PUT phase", put=True),
)


@attrs.frozen(kw_only=True)
class Row:
    """One client in one table.

    :ivar cpu: Processor seconds of the client.
    :ivar extra_mib: Highest memory over that of the idle client.
    :ivar lag_p99: Milliseconds, median of the rounds; None for clients without an event loop.
    :ivar lag_max: Milliseconds, the worst of all rounds.
    """

    contender: str
    seconds: tuple[float, ...]
    cpu: float
    extra_mib: float
    lag_p99: float | None
    lag_max: float | None

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)

    @property
    def label(self) -> str:
        """Name of the client."""
        return CONTENDERS[self.contender].label


@attrs.frozen(kw_only=True)
class Table:
    """A view with its rows, the fastest first."""

    view: View
    workload: Workload
    rows: tuple[Row, ...]

    @property
    def files(self) -> Files:
        """What was uploaded."""
        return self.workload.files

    @property
    def title(self) -> str:
        """A heading for people."""
        return f"{self.view.heading}: {self.workload.title}"

    @property
    def of_small_files(self) -> bool:
        """Whether the speed is counted in files."""
        return self.files.size < MIB

    @property
    def unit(self) -> str:
        """What the speed is counted in."""
        return "files/s" if self.of_small_files else "MB/s"

    def speed(self, seconds: float) -> float:
        """Return the speed in :attr:`unit`."""
        amount = self.files.count if self.of_small_files else self.files.total / 1e6
        return amount / seconds

    def cpu(self, row: Row) -> float:
        """Return processor seconds for 10**9 bytes, or milliseconds for a file."""
        if self.of_small_files:
            return 1000 * row.cpu / self.files.count
        return row.cpu / (self.files.total / 1e9)

    def row(self, contender: str) -> Row | None:
        """Return the row of a contender, if it took part."""
        return next((row for row in self.rows if row.contender == contender), None)

    @property
    def ours(self) -> Row | None:
        """The row that others are compared with."""
        return self.row(self.view.ours)


def tables(results: Results) -> list[Table]:
    """Return all tables for which there are runs."""
    made = [table(results, view) for view in VIEWS]
    return [each for each in made if each.rows]


def table(results: Results, view: View) -> Table:
    """Summarise the runs of one view."""
    workload = next(each for each in WORKLOADS if each.name == view.workload)
    if results["quick"]:
        workload = workload.quick()
    rows = []
    for contender in workload.contenders:
        runs = [
            run
            for run in results["runs"]
            if run["workload"] == view.workload and run["contender"] == contender
        ]
        if runs and view.shows(contender) and not (view.put and view.hashes(contender)):
            rows.append(_row(contender, runs, put=view.put))
    rows.sort(key=lambda row: row.median)
    return Table(view=view, workload=workload, rows=tuple(rows))


def _row(contender: str, runs: list[dict[str, Any]], *, put: bool) -> Row:
    lags = [run["lag_ms"] for run in runs if "lag_ms" in run]
    prefix = "put_" if put and "put_seconds" in runs[0] else ""
    return Row(
        contender=contender,
        seconds=tuple(run[f"{prefix}seconds"] for run in runs),
        cpu=statistics.median(run[f"{prefix}cpu_seconds"] for run in runs),
        extra_mib=statistics.median(run["peak_mib"] - run["idle_mib"] for run in runs),
        lag_p99=statistics.median(lag["p99"] for lag in lags) if lags else None,
        lag_max=max(lag["max"] for lag in lags) if lags else None,
    )
