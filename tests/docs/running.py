"""Running the examples of a page from its top to its end, as a reader would."""

from __future__ import annotations

import ast
import inspect
import io
import re
import sqlite3
from contextlib import closing, redirect_stdout
from typing import TYPE_CHECKING, Any

from tests.docs.pages import DOCS, Block, blocks_of
from tests.docs.shell import Shell

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping
    from pathlib import Path
    from types import CodeType

_AFTER_PROMPT = re.compile(r"^\$ ", re.MULTILINE)
_ANEW = {
    "<digest>": re.compile(r"\b[0-9a-f]{32,64}\b"),
    "<file id>": re.compile(r"\bF[\w-]{32}(?![\w-])"),
    "<id>": re.compile(r"\b\d{16,20}\b"),
    "<time>": re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"),
    "<duration>": re.compile(r"\b\d+\.\d+ ?s\b"),
    "<speed>": re.compile(r"\b\d+\.\d [kMG]?B/s"),
    "<port>": re.compile(r"(?<=127\.0\.0\.1:)\d+"),
}
"""What is new in every run."""

_PORT = re.compile(r"\b8000\b")
_CTRL_C = "^C\n"
NOT_RUN = {"", "text", "toml", "json", "shell", "{eval-rst}", "{include}", "{raw}", "{toctree}"}
"""What shows something, or (``shell``) is done once on a machine."""


class PageRun:
    """One page being read and followed, in a folder of its own.

    * A block of Python runs as in a notebook: ``await`` works at its top, names stay for the blocks
      below it, and the value of its last line is shown.
    * A block with a caption is a file of that name; some block below must use it.
    * In a block ``console`` lines after a prompt are commands, the others what they print; ``^C``
      breaks off a backup as soon as it has begun.
    * A block ``text`` right below one of Python is what that prints.

    What differs from run to run (ids, digests, times, the order of lines) is not compared; ``...``
    stands for anything, alone on a line for any lines.

    :param name: The page.
    :param folder: Where it is followed.
    :param environment: The variables of its shell.
    :param port: The port that stands for 8000.
    :param names: What its Python begins with.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        environment: Mapping[str, str],
        port: int,
        names: dict[str, Any],
    ) -> None:
        self._name = name
        self._folder = folder
        self._port = port
        self._names = names | {"_show": _show}
        self._journal = environment.get("KOODRIVE_JOURNAL")
        self._shell = Shell(folder, environment, port)
        self._unused: set[str] = set()
        self._printed: str | None = None

    def follow(self, loop: asyncio.Runner) -> None:
        """Run everything.

        :param loop: What its Python runs in.
        """
        self._loop = loop
        text = (DOCS / self._name).read_text(encoding="utf-8")
        with self._shell:
            for block in blocks_of(text):
                self._take(block)
        assert not self._unused, f"{self._name} never runs {self._unused}"

    def _take(self, block: Block) -> None:
        text = _PORT.sub(str(self._port), block.text)
        printed, self._printed = self._printed, None
        self._unused = {name for name in self._unused if not _mentions(text, name)}
        if block.caption:
            self._write(block.caption, text)
        elif block.language == "python":
            self._printed = self._run(text, block.line)
        elif block.language == "console":
            self._type(text, block.line)
        elif block.language == "sh":
            for command in text.splitlines():
                printed, status = self._shell.run(command)
                assert status == 0, f"{self._name}:{block.line}: {command}: {printed}"
        elif block.language == "text" and block.follows and printed is not None:
            self._compare(printed, text, block.line)
        else:
            assert block.language.split(maxsplit=1)[:1] in ([], *([each] for each in NOT_RUN)), (
                f"{self._name}:{block.line}: nobody runs blocks of {block.language!r}"
            )

    def _write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text, encoding="utf-8")
        self._unused.add(name)

    def _run(self, text: str, line: int) -> str:
        tree = ast.parse(text, str(DOCS / self._name))
        ast.increment_lineno(tree, line - 1)
        *_, last = tree.body
        if isinstance(last, ast.Expr):
            shown = ast.Call(ast.Name("_show", ast.Load()), [last.value], [])
            last.value = ast.fix_missing_locations(ast.copy_location(shown, last.value))
        code = compile(tree, str(DOCS / self._name), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with redirect_stdout(io.StringIO()) as out:
            self._loop.run(_ran(code, self._names))
        return out.getvalue()

    def _type(self, text: str, line: int) -> None:
        """Type the commands of a block, each of which may go on after a backslash."""
        typed = [_command_of(each) for each in _AFTER_PROMPT.split(text)[1:]]
        following = [*(command for command, _ in typed[1:]), ""]
        for (command, expected), after in zip(typed, following, strict=True):
            broken_off = expected.startswith(_CTRL_C)
            if broken_off:
                printed, status = self._shell.break_off(command, self._backup_has_begun)
            else:
                printed, status = self._shell.run(command)
            self._compare(printed, expected.removeprefix(_CTRL_C), line, command)
            # one that fails is meant to when the page asks for its status, or breaks it off
            is_meant = after == "echo $?" or broken_off
            assert status == 0 or is_meant, f"{self._name}:{line}: {command}: {status}, {printed}"

    def _backup_has_begun(self) -> bool:
        """Look into the journal of the reader, which notes each upload that is begun."""
        place = f"file:{self._journal}?mode=ro"
        try:
            with closing(sqlite3.connect(place, uri=True)) as journal:
                return bool(journal.execute("SELECT 1 FROM uploads").fetchone())
        except sqlite3.OperationalError:
            return False  # it is not there yet

    def _compare(self, printed: str, expected: str, line: int, command: str = "") -> None:
        shown, wanted = _comparable(printed), _comparable(expected)
        assert sorted(shown) == sorted(wanted) or _pattern(wanted).fullmatch("".join(shown)), (
            f"{self._name}:{line}: {command}\n--- the page shows\n{expected}\n--- it is\n{printed}"
        )


async def _ran(code: CodeType, names: dict[str, Any]) -> None:
    """Run a block in the loop, as a notebook does, whether it awaits something or not."""
    value = eval(code, names)
    if inspect.iscoroutine(value):
        await value


def _show(value: object) -> None:
    if value is not None:
        print(repr(value))  # noqa: T201 - that is what showing is


def _mentions(text: str, name: str) -> bool:
    if name == "conftest.py":
        return "pytest" in text
    return (
        name in text or re.search(rf"\b{re.escape(name.removesuffix('.py'))}\b", text) is not None
    )


def _command_of(typed: str) -> tuple[str, str]:
    lines = typed.splitlines(keepends=True)
    length = 1 + next(n for n, line in enumerate(lines) if not line.endswith("\\\n"))
    return "".join(lines[:length]).rstrip("\n"), "".join(lines[length:])


def _comparable(text: str) -> list[str]:
    """Return the lines of a text, with a sign instead of each thing that is new in every run."""
    for sign, anew in _ANEW.items():
        text = anew.sub(sign, text)
    return [f"{line.rstrip()}\n" for line in text.strip().splitlines()]


def _pattern(expected: list[str]) -> re.Pattern[str]:
    lines = (
        r"(?:.*\n)*?" if line == "...\n" else ".*".join(map(re.escape, line.split("...")))
        for line in expected
    )
    return re.compile("".join(lines))
