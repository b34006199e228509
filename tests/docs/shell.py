"""A shell as a reader has it: variables and background jobs stay from block to block."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sysconfig
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from tests.cli.conftest import reset_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

SECONDS = 30.0
_END = "--- end of command "


class Shell:
    """Bash in a folder, in a process group of its own that ends with it.

    :param folder: Where commands run.
    :param environment: Its variables; the commands of this package are on its path.
    :param port: Where a service that a command starts in the background listens.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], port: int) -> None:
        self._folder = folder
        self._port = port
        scripts = sysconfig.get_path("scripts")
        self._environment = {**environment, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,
            # whoever runs the tests may ignore them (nohup), and bash cannot undo what it inherits
            preexec_fn=reset_signals,  # noqa: PLW1509 - it sets signals only
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            raise

    def run(self, command: str) -> tuple[str, int]:
        """Run a command to its end, or start it when it ends with ``&``.

        :returns: What it printed, and its exit status. What a command in the background prints goes
            to the file ``background.log``.
        """
        assert self._process.stdin
        if command.endswith("&"):
            self._start(command.removesuffix("&").rstrip())
            return "", 0
        # the status that the command left is the one that "echo $?" of the next one sees
        self._process.stdin.write(
            f'{command}\nstatus="$?"; echo "{_END}$status"; (exit "$status")\n'
        )
        self._process.stdin.flush()
        return self._output()

    def break_off(self, command: str, begun: Callable[[], bool]) -> tuple[str, int]:
        """Run a command, and press Ctrl-C as soon as it has begun.

        :returns: As :meth:`run`.
        """
        assert self._process.stdin
        typed = self._folder / "typed.pid"
        # with job control, for without it bash has what is in the background ignore Ctrl-C
        self._process.stdin.write(
            f"set -m; {command} & set +m\n"
            f'echo "$!" > {typed.name}; wait "$!"; status="$?"; echo "{_END}$status"\n'
        )
        self._process.stdin.flush()
        give_up_at = time.monotonic() + SECONDS
        while not (typed.exists() and typed.read_text() and begun()):
            assert time.monotonic() < give_up_at, f"{command} does not begin"
            time.sleep(0.05)
        os.kill(int(typed.read_text()), signal.SIGINT)
        typed.unlink()
        return self._output()

    def _start(self, command: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{command} 2>>background.log </dev/null &\n")
        self._process.stdin.flush()
        _, redirected, target = command.partition(">")
        give_up_at = time.monotonic() + SECONDS
        ready = self._has_content if redirected else self._listens
        while not ready(target.strip()):
            log = self._folder / "background.log"
            said = log.read_text() if log.exists() else "nothing"
            assert time.monotonic() < give_up_at, f"{command} does not get ready; it said: {said}"
            time.sleep(0.05)

    def _has_content(self, name: str) -> bool:
        file = self._folder / name
        return file.exists() and file.stat().st_size > 0

    def _listens(self, _: str) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self._port)) == 0

    def _output(self) -> tuple[str, int]:
        assert self._process.stdout
        printed = []
        for line in self._process.stdout:
            before, end, status = line.partition(_END)
            printed.append(before)
            if end:
                return "".join(printed), int(status)
        raise AssertionError(f"the shell ended: {''.join(printed)}")
