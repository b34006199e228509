"""Running another command with a few variables more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from koodrive_async.cli.interruption import hear_signals, restore
from koodrive_async.cli.json_output import Failed
from koodrive_async.config import APP_ID, APP_SECRET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WAYS_TO_SIGN_IN: Final = frozenset({APP_ID, APP_SECRET})
_OF_SIGNALS: Final = 128


class CommandNotFound(Failed):
    """There is no such command; the exit code is a shell's."""

    exit_code = 127


class CommandNotStarted(Failed):
    """It is there, and cannot be started; the exit code is a shell's."""

    exit_code = 126


def run_child(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command to its end and return its exit code, as a shell does.

    SIGTERM and SIGHUP are handed on. Ctrl-C a terminal tells the command itself, which decides what
    that means.

    :param environment: The variables; a way to sign in that is set already does not count.
    :raises CommandNotFound: There is no such command.
    :raises CommandNotStarted: It is no program, or may not be run.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in _WAYS_TO_SIGN_IN}
    inherited["PATH"] = os.pathsep.join(
        filter(None, (inherited.get("PATH", os.defpath), _our_folder()))
    )
    heard: list[int] = []
    process: subprocess.Popen[bytes] | None = None

    def hear(number: int) -> None:
        if number == signal.SIGINT:
            return
        heard.append(number)
        if process is not None:
            process.send_signal(number)

    before = hear_signals(hear)
    try:
        process = _start(command, inherited | dict(environment))
        for number in heard:
            process.send_signal(number)  # it came while the command was on its way
        code = process.wait()
    finally:
        restore(before)
    return code if code >= 0 else _OF_SIGNALS - code


def _our_folder() -> str:
    # so that "koodrive" is this one where its environment has not been activated
    try:
        return os.path.dirname(os.path.abspath(sys.argv[0]))  # noqa: PTH100, PTH120 - links stay
    except OSError:
        return ""  # relative to a working folder that has been removed


def _start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, env=environment)  # noqa: S603 - the user's own command
    except FileNotFoundError:
        raise CommandNotFound(f"{command[0]}: there is no such command") from None
    except OSError as error:
        raise CommandNotStarted(f"{command[0]}: {error.strerror}") from error
