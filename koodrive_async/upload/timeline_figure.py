"""The picture of a timeline. Needs matplotlib: imported only when there is something to draw."""

from __future__ import annotations

import io
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from matplotlib import font_manager
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from koodrive_async.upload.timeline import Bar, Chart, State, merged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

# The colours of Okabe and Ito, which the colour-blind tell apart, and greys that can be read on
# white as well as on black: the picture has no background of its own.
_INK: Final = "#7d7d7d"
_LOOKS: Final[dict[State, dict[str, Any]]] = {
    State.FILE: {"color": "#a6a6a6"},
    State.CANCELLED: {"color": "#b8a13a"},
    State.HASHING: {"color": "#009e73"},
    State.WAITING: {"color": "#8c8c8c", "alpha": 0.35},
    State.READING: {"color": "#e69f00"},
    State.SENDING: {"color": "#2b8cc9"},
    State.FAILED: {"color": "#d55e00"},
    State.PAUSING: {"color": "#cc79a7"},
}
# what lies behind is drawn first
_LAYERS: Final = (
    State.WAITING,
    State.PAUSING,
    State.FILE,
    State.CANCELLED,
    State.HASHING,
    State.SENDING,
    State.READING,
    State.FAILED,
)
_IN_ONE: Final = {State.WAITING, State.PAUSING}
"""States that say nothing of one part: where bars overlap they become one."""

_WIDTH: Final = 10.0
_ROW_HEIGHT: Final = 0.26
_HIGHEST: Final = 9.0
_AROUND: Final = 1.75
_DOTS: Final = 100
_DOTS_ACROSS: Final = 800
_FONTS: Final = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Arial Unicode MS",
)
_MINUTES: Final = 180.0


class Timeline(Figure):
    """A figure that a notebook shows, whether or not pyplot has been set up in it."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        picture = io.BytesIO()
        with warnings.catch_warnings():
            # a name in letters that no font of this machine has shows as boxes
            warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
            self.savefig(picture, format="png", dpi=2 * _DOTS)
        width, height = self.get_size_inches()
        return picture.getvalue(), {"width": int(width * _DOTS), "height": int(height * _DOTS)}


def draw(chart: Chart) -> Figure:
    """Draw a timeline; neither pyplot nor its settings for all figures are touched."""
    rows = max(len(chart.rows), 1)
    height = min(rows * _ROW_HEIGHT, _HIGHEST) + _AROUND
    figure = Timeline(figsize=(_WIDTH, height), dpi=_DOTS, facecolor="none", layout="constrained")
    axes = figure.add_subplot(facecolor="none")
    _draw_bars(axes, chart)
    _draw_frame(axes, chart)
    _draw_words(figure, axes, chart)
    return figure


def _draw_bars(axes: Axes, chart: Chart) -> None:
    dot = _dot(chart)
    for layer, state in enumerate(_LAYERS):
        bars = chart.bars.get(state, [])
        if state in _IN_ONE:
            bars = merged(bars)
        elif state is not State.READING:
            # what is narrower than a dot would fade away
            bars = merged(_as_seen(bars, dot, 3 if state is State.FAILED else 1), gap=0.0)
        if bars:
            axes.add_collection(
                PolyCollection(
                    [_corners(bar) for bar in bars], linewidth=0, zorder=2 + layer, **_LOOKS[state]
                ),
                autolim=False,
            )


def _dot(chart: Chart) -> float:
    """Return the seconds that are as wide as a dot."""
    return max(chart.seconds, 1e-6) / _DOTS_ACROSS


def _is_seen(state: State, bars: Sequence[Bar], dot: float) -> bool:
    if state in {State.WAITING, State.READING, State.PAUSING}:
        return max(bar.ended - bar.began for bar in bars) >= dot
    return True


def _as_seen(bars: Sequence[Bar], dot: float, dots: int) -> list[Bar]:
    """Return bars that are at least so many dots wide, and apart when they are wide enough."""
    return [
        Bar(
            bar.row,
            bar.began,
            bar.ended - dot
            if bar.ended - bar.began > 4 * dot
            else max(bar.ended, bar.began + dots * dot),
        )
        for bar in bars
    ]


def _corners(bar: Bar) -> list[tuple[float, float]]:
    top, bottom = bar.row - 0.38, bar.row + 0.38
    return [(bar.began, top), (bar.ended, top), (bar.ended, bottom), (bar.began, bottom)]


def _draw_frame(axes: Axes, chart: Chart) -> None:
    rows = len(chart.rows)
    axes.set_xlim(-0.005 * chart.seconds, max(chart.seconds, 1e-6) * 1.005)
    axes.set_ylim(max(rows, 1) - 0.4, -0.6)
    for first in chart.groups[1:]:
        axes.axhline(first - 0.5, color=_INK, linewidth=0.6, alpha=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(_moment(chart.seconds)))
    axes.grid(axis="x", color=_INK, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, length=0, labelsize=8.5)
    for side in axes.spines.values():
        side.set_visible(False)
    # where rows are too low for their labels, some are left out
    step = max(1, round(rows * 0.16 / _HIGHEST))
    axes.set_yticks(range(0, rows, step), [chart.rows[row] for row in range(0, rows, step)])


def _draw_words(figure: Figure, axes: Axes, chart: Chart) -> None:
    family = _fonts()
    for label in axes.get_yticklabels():
        label.set(family=family, parse_math=False)
    axes.set_title(
        chart.title,
        loc="left",
        pad=28,
        fontsize=12,
        fontweight="bold",
        color=_INK,
        family=family,
        parse_math=False,
    )
    axes.annotate(
        chart.subtitle,
        (0.0, 1.0),
        xytext=(0, 10),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=9,
        color=_INK,
        parse_math=False,
    )
    if not chart.bars:
        axes.set_xticks([])
        axes.text(
            0.5, 0.5, "nothing to draw yet", color=_INK, ha="center", transform=axes.transAxes
        )
        return
    seen = [state for state, bars in chart.bars.items() if _is_seen(state, bars, _dot(chart))]
    figure.legend(
        handles=[Patch(label=state.value, **_LOOKS[state]) for state in seen],
        loc="outside lower left",
        ncols=max(len(seen), 1),
        fontsize=8.5,
        labelcolor=_INK,
        frameon=False,
        handlelength=1.2,
    )


def _moment(seconds: float) -> Any:
    if seconds > _MINUTES:
        return lambda value, _: f"{value // 60:.0f}:{value % 60:02.0f} min"
    return lambda value, _: f"{value:g} s"


@cache
def _fonts() -> list[str]:
    """Return the fonts of this machine in which a name may be written, the usual one first."""
    there = set(font_manager.get_font_names())
    return [font for font in _FONTS if font in there] or ["sans-serif"]
