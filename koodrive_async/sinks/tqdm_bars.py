""":class:`TqdmSink`: two bars of tqdm, in a terminal or a notebook."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO

from koodrive_async.extras import needed
from koodrive_async.sinks.counting import DrawnSink
from koodrive_async.sinks.places import is_notebook, is_terminal

with needed("TqdmSink", "tqdm", "notebook"):
    from tqdm.auto import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable

    from koodrive_async.sinks.painter import Picture
    from koodrive_async.sinks.standing import Standing

_EVERY: Final = 0.25


class TqdmSink(DrawnSink):
    """Shows two bars of tqdm: bytes that are hashed and bytes that are sent.

    In a notebook they are widgets, where ipywidgets is installed, otherwise text. A thread draws
    them. Anywhere but on a terminal or in a notebook there is only a line at the end.

    :param file: Where to draw text; standard error by default.
    :param leave: Whether they stay when all is done.
    :param total: Bytes that there are to back up, for the time left.
    """

    def __init__(
        self, file: TextIO | None = None, *, leave: bool = True, total: int | None = None
    ) -> None:
        self._two_bars = _TwoBars(self._look, file, leave=leave)
        super().__init__(self._two_bars, every=_EVERY, total=total)

    def close(self, error: BaseException | None = None) -> None:
        """Move the bars for the last time; a file gets a line with the totals."""
        self._two_bars.say(": ".join(self._end_text(error)))
        super().close(error)


class _TwoBars:
    """Bars, made and moved by the painter's thread alone."""

    def __init__(self, look: Callable[[], Standing], file: TextIO | None, *, leave: bool) -> None:
        self._look = look
        self._file = file
        self._leave = leave
        self._bars: list[tqdm[NoReturn]] = []
        self._said: str | None = None

    @property
    def _is_possible(self) -> bool:
        if is_terminal(self._file or sys.stderr):
            return True
        own = (None, sys.stdout, sys.stderr)  # which a notebook shows below its cells
        return is_notebook() and any(self._file is each for each in own)

    def say(self, text: str) -> None:
        """Have a line where no bars can be drawn, in the end."""
        self._said = text

    def begin(self) -> None:
        """Make the bars."""
        self._bars.clear()
        if not self._is_possible:
            return
        standing = self._look()
        for each in standing.passes:
            bar = tqdm(
                desc=each.phase.value,
                total=standing.expected or None,
                unit="B",
                unit_scale=True,
                file=self._file,
                leave=self._leave,
                # each call draws: there are few
                mininterval=0,
                miniters=0,
                dynamic_ncols=True,
            )
            self._bars.append(bar)

    def draw(self) -> None:
        """Move the bars."""
        if not self._bars:
            return
        standing = self._look()
        for bar, each in zip(self._bars, standing.passes, strict=True):
            _set_total(bar, standing.expected)
            if bar is self._bars[-1]:
                bar.set_postfix_str(standing.files_text(), refresh=False)
            bar.update(each.done - bar.n)

    def end(self) -> None:
        """Move them for the last time."""
        try:
            self.draw()
        finally:
            for bar in self._bars:
                bar.close()
        stream = self._file or sys.stderr
        if not self._bars and self._said is not None and stream is not None:
            stream.write(f"{self._said}\n")
            stream.flush()


def _set_total(bar: tqdm[NoReturn], total: int) -> None:
    if not total or bar.total == total:
        return
    bar.total = total
    container: Any = getattr(bar, "container", None)
    if container is not None:  # a widget, which keeps a total of its own
        _, widget, _ = container.children
        widget.max = total
        widget.bar_style = ""
        widget.layout.width = None


if TYPE_CHECKING:
    _: type[Picture] = _TwoBars
