"""The numbers as pictures."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import matplotlib as mpl
from PIL import Image

mpl.use("Agg")  # before pyplot looks for a screen

from matplotlib import pyplot as plt
from matplotlib.ticker import NullFormatter

from benchmarks.contenders import CONTENDERS
from benchmarks.summary import Results, Table, tables

DPI = 90
PALETTE = 128
LAG_TICKS = (0, 0.5, 1, 2, 5, 10, 20, 50, 100)
OURS = "#0b6e4f"
COLOURS = {
    "raw": "#555555",
    "aiohttp": "#8c6bb1",
    "koodrive": OURS,
    "koodrive-fixed": "#3fa37c",
    "koodrive-tree": OURS,
    "koodrive-uvloop": "#8fd0b3",
    "boto3": "#d95f02",
    "boto3-sha256": "#f4a261",
    "awscrt": "#1f78b4",
    "awscrt-sha256": "#8fbfe0",
    "obstore": "#b5179e",
    "obstore-sha256": "#e29bd6",
    "rclone": "#b59f00",
}


@attrs.frozen
class Plot:
    """A picture and the sentence that goes with it."""

    name: str
    says: str


PLOTS = (
    Plot("speed.png", "Speed; longer is better. Lines show the span of all rounds."),
    Plot("cpu.png", "Processor time of the client; shorter is better."),
    Plot("memory.png", "Memory over that of the idle client, as it goes (first round)."),
    Plot("lag.png", "Lag of the caller's event loop (first round): below, each as it goes."),
    Plot("growth.png", "Time and memory as files become larger and more."),
)


def draw_all(results: Results, folder: Path) -> list[Plot]:
    """Draw every picture and return what was drawn."""
    draw: dict[str, Callable[[Results], Any]] = {
        "speed.png": _speed,
        "cpu.png": _cpu,
        "memory.png": _memory,
        "lag.png": _lag,
        "growth.png": _growth,
    }
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    for plot in PLOTS:
        figure = draw[plot.name](results)
        _save(figure, folder / plot.name)
        plt.close(figure)
    return list(PLOTS)


def _save(figure: Any, path: Path) -> None:
    """Write a picture with a palette, which takes a third of the bytes."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DPI)
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(PALETTE, dither=Image.Dither.NONE).save(path, optimize=True)


def _speed(results: Results) -> Any:
    def draw(axes: Any, table: Table) -> None:
        speeds = [table.speed(row.median) for row in table.rows]
        spans = [
            [
                speed - table.speed(max(row.seconds))
                for speed, row in zip(speeds, table.rows, strict=True)
            ],
            [
                table.speed(min(row.seconds)) - speed
                for speed, row in zip(speeds, table.rows, strict=True)
            ],
        ]
        _bars(axes, table, speeds, spans)
        axes.set_xlabel(table.unit)

    return _grid(tables(results), draw)


def _cpu(results: Results) -> Any:
    def draw(axes: Any, table: Table) -> None:
        table = attrs.evolve(table, rows=tuple(sorted(table.rows, key=table.cpu)))
        _bars(axes, table, [table.cpu(row) for row in table.rows], None)
        axes.set_xlabel("CPU ms per file" if table.of_small_files else "CPU s per GB")

    return _grid([each for each in tables(results) if "throttled" not in each.view.workload], draw)


def _bars(axes: Any, table: Table, values: list[float], spans: Any) -> None:
    names = [row.label for row in table.rows]
    colours = [COLOURS[row.contender] for row in table.rows]
    bars = axes.barh(names, values, color=colours, xerr=spans, error_kw={"lw": 1, "ecolor": "k"})
    digits = 0 if max(values) >= 20 else 2  # noqa: PLR2004 - enough to tell them apart
    axes.bar_label(bars, [f" {value:,.{digits}f}" for value in values], padding=3, fontsize=8)
    axes.margins(x=0.18)
    axes.invert_yaxis()


def _grid(shown: list[Table], draw: Callable[[Any, Table], None]) -> Any:
    columns = 2
    rows = math.ceil(len(shown) / columns)
    figure, grid = plt.subplots(rows, columns, figsize=(12, 3.1 * rows), layout="constrained")
    cells = list(grid.flat)
    for axes, table in zip(cells, shown, strict=False):
        draw(axes, table)
        axes.set_title(table.title, fontsize=9, loc="left", x=-0.1)
    for axes in cells[len(shown) :]:
        axes.set_visible(False)
    return figure


def _memory(results: Results) -> Any:
    shown = ("large", "eight", "small", "small-latency")
    figure, grid = plt.subplots(2, 2, figsize=(12, 8), layout="constrained")
    for axes, workload in zip(grid.flat, shown, strict=True):
        for run in _first_runs(results, workload):
            curve = [(at, value - run["idle_mib"]) for at, value in run["memory"]]
            _line(axes, run["contender"], curve)
        axes.axhline(64, color="k", lw=0.8, ls=":")
        axes.set_title(_title(results, workload), fontsize=9, loc="left")
        axes.set_xlabel("seconds")
        axes.set_ylabel("MiB over the idle client")
        axes.set_ylim(bottom=0)
    _legend(figure, grid)
    return figure


def _lag(results: Results) -> Any:
    shown = ("large", "eight", "small")
    figure, grid = plt.subplots(2, 3, figsize=(13, 7.5), layout="constrained")
    for column, workload in enumerate(shown):
        above, below = grid[0][column], grid[1][column]
        for run in _first_runs(results, workload):
            if "lag_quantiles" not in run:
                continue
            quantiles = run["lag_quantiles"]
            share = [index / (len(quantiles) - 1) for index in range(len(quantiles))]
            _line(above, run["contender"], list(zip(quantiles, share, strict=True)))
            _line(below, run["contender"], run["lag_curve"])
        above.set_title(_title(results, workload), fontsize=8, loc="left")
        above.set_xscale("symlog", linthresh=1)
        above.set_xticks(LAG_TICKS, [str(tick) for tick in LAG_TICKS])
        above.set_xlabel("lag, ms")
        above.set_ylabel("share of looks at the loop")
        above.axvline(5, color="k", lw=0.8, ls=":")
        below.set_xlabel("seconds")
        below.set_ylabel("lag, ms")
        below.set_ylim(bottom=0)
    _legend(figure, grid)
    return figure


def _growth(results: Results) -> Any:
    figure, grid = plt.subplots(2, 2, figsize=(12, 8), layout="constrained")
    for row, unit in enumerate(("GiB", "files")):
        runs = [run for run in results["growth"] if run["unit"] == unit]
        for contender in dict.fromkeys(run["contender"] for run in runs):
            own = [run for run in runs if run["contender"] == contender]
            _line(grid[row][0], contender, [(r["amount"], r["seconds"]) for r in own], "o-")
            extra = [(r["amount"], r["peak_mib"] - r["idle_mib"]) for r in own]
            _line(grid[row][1], contender, extra, "o-")
        for axes in grid[row]:
            axes.set_xscale("log")
            axes.set_xlabel(unit)
            amounts = sorted({run["amount"] for run in runs})
            axes.set_xticks(amounts, [f"{amount:,g}" for amount in amounts])
            axes.minorticks_off()
            axes.legend(fontsize=8, frameon=False)
        grid[row][0].set_yscale("log")
        grid[row][0].yaxis.set_major_formatter("{x:g}")
        grid[row][0].yaxis.set_minor_formatter(NullFormatter())
        grid[row][0].set_ylabel("seconds")
        grid[row][1].set_ylabel("MiB over the idle client")
        grid[row][1].set_ylim(bottom=0)
        grid[row][1].axhline(64, color="k", lw=0.8, ls=":")
    return figure


def _legend(figure: Any, grid: Any) -> None:
    """Say once below the picture which colour is who."""
    named: dict[str, Any] = {}
    for axes in grid.flat:
        lines, labels = axes.get_legend_handles_labels()
        named |= dict(zip(labels, lines, strict=True))
    figure.legend(named.values(), named, loc="outside lower center", ncols=5, frameon=False)


def _line(axes: Any, contender: str, points: list[tuple[float, float]], style: str = "-") -> None:
    across, up = zip(*points, strict=True)
    label = CONTENDERS[contender].label
    axes.plot(across, up, style, color=COLOURS[contender], label=label, lw=1.3, ms=4)


def _first_runs(results: Results, workload: str) -> list[dict[str, Any]]:
    return [run for run in results["runs"] if run["workload"] == workload and run["round"] == 0]


def _title(results: Results, workload: str) -> str:
    return next(each.workload.title for each in tables(results) if each.view.workload == workload)
