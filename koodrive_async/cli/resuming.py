"""Finding the record that an interrupted backup has left, and saying how to go on with it."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from koodrive_async.errors import NotFound
from koodrive_async.models import RecordStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from koodrive_async.client import KooDrive
    from koodrive_async.models import Module
    from koodrive_async.upload import Journal

_ARGUMENTS: Final = "koodrive_async.arguments"


@attrs.frozen
class Unfinished:
    """A record to go on with.

    :ivar begun: When, as far as known.
    """

    record_id: str
    begun: datetime | None

    def __str__(self) -> str:
        begun = self.begun and self.begun.astimezone(UTC).isoformat(timespec="seconds")
        return f"record {self.record_id}" + (f", begun {begun}" if begun else "")


async def find_unfinished(
    drive: KooDrive, device_id: str, module: Module, root: str
) -> Unfinished | None:
    """Return the newest unfinished record of a folder or file.

    The journal knows which record was of which. Of those that it does not know, the newest that the
    service has of this device and module is taken, when it is among the last hundred.

    :param root: Its absolute path.
    :raises KooDriveError: The service refused, or did not answer.
    """
    journal, account = journal_of(drive), drive._account  # noqa: SLF001 - as the journal
    for saved in await journal.unfinished(account, device_id, module.value):
        if saved.root != root:
            continue
        if await _is_open(drive, saved.record_id):
            return Unfinished(saved.record_id, datetime.fromtimestamp(saved.begun, UTC))
        await journal.completed_record(account, saved.record_id)
    async for page in drive.records.list(module, device_id).pages():
        for record in page:
            if record.status is not RecordStatus.NEW:
                continue
            if await journal.record(account, record.record_id) is None:  # or it is of another path
                return Unfinished(record.record_id, record.create_time)
        break
    return None


def journal_of(drive: KooDrive) -> Journal:
    """Return the journal of a client that is open."""
    return drive._uploader.means.journal  # noqa: SLF001 - there is no other way to it


async def _is_open(drive: KooDrive, record_id: str) -> bool:
    try:
        return (await drive.records.get(record_id)).status is RecordStatus.NEW
    except NotFound:
        return False


class RepeatableCommand(click.Command):
    """A command that remembers how it was called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the arguments apart."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)


def called_again(ctx: click.Context, *more: str) -> str:
    """Return the command line of a :class:`RepeatableCommand`, for a shell.

    :param more: Options to add.
    """
    given: Sequence[Any] = ctx.meta[_ARGUMENTS]
    # in front: what follows a "--" is no option
    return shlex.join(("koodrive", ctx.command.name or "", *more, *given))
