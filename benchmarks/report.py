"""Tables in Markdown, and plots beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import CONTENDERS
from benchmarks.goals import Goal, goals
from benchmarks.plots import Plot, draw_all
from benchmarks.summary import Results, Row, Table, tables

INTRODUCTION = """\
# Benchmarks

`make bench` measures koodrive-async and other clients in turns, on one machine, against one local
sink that takes everything and keeps nothing. {rounds} of each; tables show the median and the
span. Every run is a process of its own, files are in the page cache, parts have 8 MiB, sink and
client share the cores, and it is checked that all bytes arrived.

Memory is the highest resident memory over that of the same client before it began; for rclone, a
program of its own, it is all of it, and its start is part of its time. CPU is the client's alone.
Lag is by how much a task that sleeps 5 ms in the caller's event loop wakes too late; up to 1 ms of
it is how asyncio rounds, and that of raw threads, beside which a loop idles, is the machine's.

koodrive-async chooses the number of connections by itself, except where it is "fixed" to the
heading's, which all others use. "+ SHA-256" are the same clients with checksums of parts, which
they compute in parallel. "Raw threads" send the bytes and do nothing else; over TLS, which has no
sendfile here, they read and write. Not alike are the jobs: S3 clients send one request for a small
file and two more for a large one, while koodrive-async calls the interface before and after each
file and has to know the SHA-256 of the whole file before the first byte may go.

{machine}; {versions}. The whole took {minutes:.0f} minutes{quick}.
"""

GROWTH = """\
## Growth

One run of each. Large files are sparse; boto3 is left out where it would take minutes.

"""

CELL_DASH = "–"  # noqa: RUF001 - a dash for "nothing", as in print


def write_report(results: Results, folder: Path) -> None:
    """Write ``README.md`` and the plots.

    :param folder: Where they go.
    """
    drawn = draw_all(results, folder)
    sections = [_introduction(results), *_failures(results), _goals(goals(results))]
    sections += [_table(each) for each in tables(results)]
    sections += [_growth(results), _plots(drawn)]
    (folder / "README.md").write_text("\n".join(sections), encoding="utf-8")


def _introduction(results: Results) -> str:
    machine = results["machine"]
    versions = [f"{name} {version}" for name, version in machine["packages"].items()]
    rounds = results["rounds"]
    return INTRODUCTION.format(
        rounds="One round" if rounds == 1 else f"{rounds} rounds",
        machine=f"{machine['cores']} cores, {machine['system']}, Python {machine['python']}",
        versions=", ".join([machine["openssl"], *versions]),
        minutes=results["minutes"],
        quick=", with a fraction of the bytes" if results["quick"] else "",
    )


def _failures(results: Results) -> list[str]:
    lines = []
    for run in results["failures"]:
        label = CONTENDERS[run["contender"]].label
        lines.append(f"* {label}, {run.get('workload', 'growth')}: {run['failed']}\n")
    return ["## Failed runs\n\n" + "".join(lines)] if lines else []


def _goals(reached: list[Goal]) -> str:
    rows = [
        (
            goal.what,
            f"{'≤' if goal.at_most else '≥'} {goal.wanted:g} {goal.unit}",
            f"{goal.reached:.3g} {goal.unit}",
            "yes" if goal.met else "**no**",
        )
        for goal in reached
    ]
    return "## Goals\n\n" + _markdown(("goal", "wanted", "reached", "met"), rows)


def _table(table: Table) -> str:
    cpu = "CPU ms/file" if table.of_small_files else "CPU s/GB"
    head = (
        "client",
        "seconds",
        "span",
        table.unit,
        "koodrive is",
        "of raw",
        cpu,
        "memory MiB",
        "lag p99, worst ms",
    )
    rows = [_cells(table, row) for row in table.rows]
    return f"## {table.title}\n\n" + _markdown(head, rows)


def _cells(table: Table, row: Row) -> tuple[str, ...]:
    ours, raw = table.ours, table.row("raw")
    lag = CELL_DASH
    if row.lag_p99 is not None:
        lag = f"{row.lag_p99:.1f}, {row.lag_max:.1f}"
    return (
        f"**{row.label}**" if row == ours else row.label,
        f"{row.median:.3f}",
        f"{min(row.seconds):.3f} to {max(row.seconds):.3f}",
        f"{table.speed(row.median):,.0f}",
        f"{row.median / ours.median:.2f} x" if ours else CELL_DASH,
        f"{raw.median / row.median:.2f}" if raw else CELL_DASH,
        f"{table.cpu(row):.2f}",
        f"{row.extra_mib:.0f}",
        lag,
    )


def _growth(results: Results) -> str:
    from_runs = [
        (
            f"{run['amount']:,g} {run['unit']}",
            CONTENDERS[run["contender"]].label,
            f"{run['seconds']:.1f}",
            f"{run['cpu_seconds']:.1f}",
            f"{run['peak_mib'] - run['idle_mib']:.0f}",
        )
        for run in results["growth"]
    ]
    head = ("amount", "client", "seconds", "CPU s", "memory MiB")
    return GROWTH + _markdown(head, from_runs)


def _plots(drawn: list[Plot]) -> str:
    return "## Plots\n\n" + "\n".join(f"{plot.says}\n\n![]({plot.name})\n" for plot in drawn)


def _markdown(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---", *["---:"] * (len(head) - 1)), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
