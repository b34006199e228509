""":class:`RichSink`: bars on a terminal, with the largest files on their way below them."""

from __future__ import annotations

import io
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Final, TextIO

from koodrive_async.extras import needed
from koodrive_async.sinks.counting import DrawnSink
from koodrive_async.sinks.places import is_terminal
from koodrive_async.sinks.standing import name_in, reason_of
from koodrive_async.upload.events import FileFailed

with needed("RichSink", "rich", "cli"):
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

from koodrive_async.sinks.bars import Bar, Bars, FileBar

if TYPE_CHECKING:
    from collections.abc import Callable

    from koodrive_async.sinks.painter import Picture
    from koodrive_async.upload.events import Event

_EVERY: Final = 0.2
_MOST_FILES: Final = 8
_WORTH_A_LINE: Final = 1.0
"""Seconds after which a file is: lines that come and go at once only flicker."""


class RichSink(DrawnSink):
    """Shows bars, speeds and the time left on a terminal, and the largest files on their way.

    What fails is named above the bars, and at the end they make room for one line with the totals.
    While they are shown, what the program prints goes above them. Everything is drawn by a thread:
    a terminal that was stopped with Ctrl-S stops nothing else. Anywhere but on a terminal there is
    only the line at the end, without escape sequences; ``FORCE_COLOR`` makes no terminal of a file.

    :param console: Where to draw; standard error by default.
    :param total: Bytes that there are to back up, for the time left.
    """

    def __init__(self, console: Console | None = None, *, total: int | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._view = LiveView(self._console, self._bars)
        super().__init__(self._view, every=_EVERY, total=total)

    def start(self) -> None:
        """Begin to draw."""
        self._view.redirect()
        super().start()

    def update(self, event: Event) -> None:
        """Count an event; a failure is told above the bars."""
        super().update(event)
        if isinstance(event, FileFailed):
            self._view.say(f"failed: {name_in(event)}: {reason_of(event)}")

    def close(self, error: BaseException | None = None) -> None:
        """Put a line with the totals in the place of the bars."""
        self._view.say(": ".join(self._end_text(error)))
        super().close(error)

    def _bars(self) -> Bars:
        standing, now = self._look(), time.monotonic()
        room = min(_MOST_FILES, self._console.height - len(standing.passes) - 2)
        files = standing.largest(max(room, 0), now - _WORTH_A_LINE)
        return Bars(
            bars=[
                Bar(
                    label=each.phase.value,
                    done=each.done,
                    total=standing.expected or None,
                    speed=each.per_second,
                    left=standing.time_left(each),
                )
                for each in standing.passes
            ],
            line=standing.files_text(),
            files=[FileBar(file.name, file.doing, file.done, file.total) for file in files],
        )


class LiveView:
    """The lowest lines of a terminal, drawn anew again and again, with text going up above them.

    :param look: Returns what to draw.
    """

    def __init__(self, console: Console, look: Callable[[], Bars]) -> None:
        self._console = console
        self._look = look
        self._said: deque[str] = deque()
        self._live: Live | None = None
        self._redirected: dict[str, _Redirected] = {}

    @property
    def is_possible(self) -> bool:
        """Whether there is a terminal to draw on."""
        if not is_terminal(self._console.file):  # FORCE_COLOR makes no terminal of a file
            return False
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def redirect(self) -> None:
        """Have what the program prints on the terminal go above as well, until the end."""
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if self.is_possible and stream is not None and stream.isatty():
                self._redirected[name] = _Redirected(stream, self.say)
                setattr(sys, name, self._redirected[name])

    def say(self, text: str) -> None:
        """Write a line above, when it is drawn next."""
        self._said.append(text)

    def begin(self) -> None:
        """Begin at the end of what is there; anywhere but on a terminal nothing is drawn."""
        if not self.is_possible:
            return
        self._live = Live(
            console=self._console,
            get_renderable=self._look,
            auto_refresh=False,
            transient=True,
            # by ourselves, and earlier
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start(refresh=True)

    def draw(self) -> None:
        """Draw anew."""
        self._write_lines()
        if self._live is not None:
            self._live.refresh()

    def end(self) -> None:
        """Take away what was drawn."""
        try:
            if self._live is not None:
                self._live.stop()
        finally:
            self._restore()
            self._write_lines()

    def _restore(self) -> None:
        for name, redirected in self._redirected.items():
            redirected.say_rest()
            if getattr(sys, name) is redirected:  # nobody has put another one in its place
                setattr(sys, name, redirected.rich_proxied_file)
        self._redirected.clear()

    def _write_lines(self) -> None:
        lines = [self._said.popleft() for _ in range(len(self._said))]
        if lines:
            self._console.print(Text("\n").join(map(Text.from_ansi, lines)), soft_wrap=True)


class _Redirected(io.TextIOBase):
    """What the program has instead of its terminal, so that one thread alone writes there.

    :param stream: The terminal.
    :param say: Takes lines.
    """

    def __init__(self, stream: TextIO, say: Callable[[str], None]) -> None:
        self.rich_proxied_file = stream  # where rich writes when it is told to write here
        self._say = say
        self._rest = ""

    def __getattr__(self, name: str) -> object:
        return getattr(self.rich_proxied_file, name)  # such as its buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]  # as it is
        """That of the terminal."""
        return self.rich_proxied_file.encoding

    def write(self, text: str) -> int:
        """Hand on what is a line, and keep the rest."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._say(line)
        return len(text)

    def say_rest(self) -> None:
        """Hand on the rest."""
        if self._rest:
            self._say(self._rest)
            self._rest = ""

    def isatty(self) -> bool:
        """Whether it is a terminal: it is."""
        return self.rich_proxied_file.isatty()

    def fileno(self) -> int:
        """Return the descriptor of the terminal."""
        return self.rich_proxied_file.fileno()

    def writable(self) -> bool:
        """Whether it can be written to: it can."""
        return True


if TYPE_CHECKING:
    _: type[Picture] = LiveView
