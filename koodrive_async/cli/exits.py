"""What the exit code of the command says."""

from __future__ import annotations

from enum import IntEnum

from koodrive_async.errors import (
    BackupIncomplete,
    ConfigurationError,
    InvalidArgument,
    KooDriveError,
    RecordInUse,
)


class ExitCode(IntEnum):
    """Exit codes, the same for every command."""

    DONE = 0
    FAILED = 1
    """Files were not backed up, are not equal, a check failed, or this machine refused."""
    USAGE = 2
    SETTINGS = 3
    SERVICE = 4
    """The service refused or did not answer."""
    HUNG_UP = 129
    """SIGHUP, such as when the terminal was closed."""
    INTERRUPTED = 130
    """Ctrl-C."""
    TERMINATED = 143
    """SIGTERM."""


def exit_code_of(error: Exception) -> ExitCode:
    """Return the exit code for an error that ended a command."""
    if isinstance(error, ConfigurationError):
        return ExitCode.SETTINGS
    if isinstance(error, InvalidArgument):
        return ExitCode.USAGE
    if isinstance(error, KooDriveError) and not isinstance(error, RecordInUse | BackupIncomplete):
        return ExitCode.SERVICE
    return ExitCode.FAILED
