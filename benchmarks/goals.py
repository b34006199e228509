"""What the library sets out to reach, and whether it does."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import attrs

from benchmarks.summary import OURS, Results, Row, Table, View, table

GROWTH_CONTENDERS = (OURS, "koodrive-tree")
MEMORY = 64.0
LAG_P99 = 5.0
LAG_MAX = 50.0
IMPORT = 60.0
REQUESTS_PER_FILE = 3


@attrs.frozen
class Goal:
    """One line: what is measured, what it should be, what it is.

    :param at_most: Whether less is better.
    """

    what: str
    wanted: float
    reached: float
    unit: str
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.reached <= self.wanted if self.at_most else self.reached >= self.wanted


def goals(results: Results) -> list[Goal]:
    """Return all goals for which there are numbers."""
    return [
        *_hashing(results),
        *_large(results),
        *_whole_job(results),
        *_small(results),
        *_throttled(results),
        *_memory(results),
        *_lag(results),
        *_import(results),
    ]


def _hashing(results: Results) -> Iterator[Goal]:
    median = {
        name: statistics.median(times) for name, times in results["fingerprint"]["seconds"].items()
    }
    one = median["fingerprint"]
    yield Goal(
        "Fingerprint, warm, against `hashlib.file_digest`", 0.98, median["file_digest"] / one, "x"
    )
    yield Goal("Fingerprints of two files in two threads", 1.9, 2 * one / median["two"], "x")


def _large(results: Results) -> Iterator[Goal]:
    found = table(results, View(workload="large", heading="", ours="koodrive-fixed", put=True))
    ours, boto3, raw = found.ours, found.row("boto3"), found.row("raw")
    if ours and boto3:
        yield Goal("PUT phase, against boto3 without checksum", 1.5, _faster(ours, boto3), "x")
    if ours and raw:
        yield Goal("PUT phase, against raw threads + sendfile", 0.85, _faster(ours, raw), "x")
    if ours and boto3:
        share = ours.cpu / boto3.cpu
        yield Goal("PUT phase, CPU per GB against boto3's", 0.5, share, "x", at_most=True)


def _whole_job(results: Results) -> Iterator[Goal]:
    for workload, what, wanted in (
        ("eight", "Whole job, eight files, against boto3 with SHA-256", 1.4),
        ("large", "Whole job, one file, against boto3 with SHA-256", 1.0),
    ):
        found = table(results, View(workload=workload, heading=""))
        rival = found.row("boto3-sha256")
        if found.ours and rival:
            yield Goal(what, wanted, _faster(found.ours, rival), "x")


def _small(results: Results) -> Iterator[Goal]:
    late = table(results, View(workload="small-latency", heading="", ours="koodrive-fixed"))
    if late.ours:
        batches = late.files.count / late.workload.connections
        least = batches * REQUESTS_PER_FILE * late.workload.network.latency
        yield Goal(
            "Small files, 20 ms latency, of what the latency allows",
            0.85,
            least / late.ours.median,
            "x",
        )
    found = table(results, View(workload="small", heading=""))
    bare = found.row("aiohttp")
    if found.ours and bare:
        yield Goal(
            "Small files, no latency, against bare aiohttp", 0.6, _faster(found.ours, bare), "x"
        )


def _throttled(results: Results) -> Iterator[Goal]:
    found = table(results, View(workload="throttled", heading="", ours="koodrive-fixed", put=True))
    if found.ours:
        link = (found.workload.network.bandwidth or 0) * found.workload.connections / 1e6
        share = _megabytes(found) / found.ours.median / link
        yield Goal("Four throttled connections, of what the links carry", 0.95, share, "x")


def _memory(results: Results) -> Iterator[Goal]:
    for run in results["growth"]:
        if run["contender"] in GROWTH_CONTENDERS:
            what = f"Peak memory over an idle client, {_what(run)}"
            yield Goal(what, MEMORY, run["peak_mib"] - run["idle_mib"], "MiB", at_most=True)


def _lag(results: Results) -> Iterator[Goal]:
    lags = [
        (_what(run), run["contender"], run["lag_ms"])
        for run in [*results["runs"], *results["growth"]]
        if run["contender"] in {"koodrive-fixed", *GROWTH_CONTENDERS}
    ]
    groups: dict[tuple[str, str], list[float]] = {}
    for workload, contender, lag in lags:
        groups.setdefault((workload, contender), []).append(lag["p99"])
    if not lags:
        return
    worst, (workload, _) = max(
        (statistics.median(values), group) for group, values in groups.items()
    )
    what = f"Lag of the loop, p99, worst workload ({workload})"
    yield Goal(what, LAG_P99, worst, "ms", at_most=True)
    highest, workload = max((lag["max"], workload) for workload, _, lag in lags)
    what = f"Lag of the loop, worst of all runs ({workload})"
    yield Goal(what, LAG_MAX, highest, "ms", at_most=True)


def _what(run: Results) -> str:
    """Name a workload, or a step of growth."""
    return run.get("workload") or f"{run['amount']:,g} {run['unit']}"


def _import(results: Results) -> Iterator[Goal]:
    median = {name: statistics.median(times) for name, times in results["imports"].items()}
    over = 1000 * (median["import"] - median["bare"])
    yield Goal("`import koodrive_async` over bare Python", IMPORT, over, "ms", at_most=True)


def _faster(ours: Row, other: Row) -> float:
    return other.median / ours.median


def _megabytes(found: Table) -> float:
    return found.files.total / 1e6
