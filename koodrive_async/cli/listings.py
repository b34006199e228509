"""``koodrive records``, ``files``, ``devices`` and ``scopes``: what the service knows."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import click
from anyio import to_thread
from rich.console import Console
from rich.table import Table
from rich.text import Text

from koodrive_async.cli.options import module_option
from koodrive_async.cli.running import run
from koodrive_async.cli.wording import printable
from koodrive_async.client import KooDrive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from koodrive_async.models import BackupFile, BackupRecord, BoundDevice, Module, Scope
    from koodrive_async.paging import Pager

T = TypeVar("T")

_RECORDS = ("RECORD", "STATUS", "CREATED", "ENDED", "DEVICE")
_FILES = ("FILE", "BYTES", "SHA-256", "CREATED", "PATH")
_DEVICES = ("DEVICE", "NAME", "OS", "MACHINE CODE", "CREATED")
_SCOPES = ("SCOPE", "LOCAL PATH", "CLOUD FOLDER", "CREATED")
_LONG = frozenset({"PATH", "NAME", "LOCAL PATH", "CLOUD FOLDER", "ROOT", "ACCOUNT"})


@click.command()
@module_option("Records of this module.")
@click.option("--device", "device_id", metavar="DEVICE", help="Records of this device only.")
def records(module: Module, device_id: str | None) -> None:
    """List backup records, newest first.

    Anywhere but on a terminal: record id, status, creation, end and device id, separated
    by tabs; a dash stands for what the service does not say.
    """
    run(partial(_records, KooDrive.from_env(), module, device_id))


@click.command()
@click.argument("record")
def files(record: str) -> None:
    """List the files of RECORD.

    Anywhere but on a terminal: file id, bytes, SHA-256, creation and path, separated by tabs.
    """
    run(partial(_files, KooDrive.from_env(), record))


@click.command()
def devices() -> None:
    """List the devices of the user.

    Anywhere but on a terminal: device id, name, system, machine code and creation, separated by
    tabs.
    """
    run(partial(_devices, KooDrive.from_env()))


@click.command()
@click.argument("device")
@module_option("Scopes of this module.")
def scopes(device: str, module: Module) -> None:
    """List the backup scopes of DEVICE.

    Anywhere but on a terminal: scope id, local path, cloud folder and creation, separated by tabs.
    """
    run(partial(_scopes, KooDrive.from_env(), device, module))


async def _records(drive: KooDrive, module: Module, device_id: str | None) -> None:
    async with drive:
        await _show_pages(_RECORDS, drive.records.list(module, device_id), _record_row)


async def _files(drive: KooDrive, record_id: str) -> None:
    async with drive:
        await _show_pages(_FILES, drive.files.list(record_id), _file_row)


async def _devices(drive: KooDrive) -> None:
    async with drive:
        rows = [_device_row(device) for device in await drive.devices.list()]
        await _show(_DEVICES, rows)


async def _scopes(drive: KooDrive, device_id: str, module: Module) -> None:
    async with drive:
        rows = [_scope_row(scope) for scope in await drive.scopes.list(device_id, module)]
        await _show(_SCOPES, rows)


async def _show_pages(
    header: Sequence[str], pager: Pager[T], row: Callable[[T], Sequence[object]]
) -> None:
    # page by page: a record may have a million files, and whoever reads may want only a few
    empty = True
    async for page in pager.pages():
        if page.items:
            empty = False
            await _show(header, [row(item) for item in page])
    if empty:
        await _show(header, [])


async def _show(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    # in a worker thread: the reader of a pipe may take its time
    await to_thread.run_sync(write_rows, header, rows, abandon_on_cancel=True)


def write_rows(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table on a terminal, and lines of fields separated by tabs anywhere else."""
    if not sys.stdout.isatty():
        lines = ("\t".join(map(_in_full, row)) + "\n" for row in rows)
        click.echo("".join(lines), nl=False)
        return
    table = Table(box=None, pad_edge=False)
    for name in header:
        # whatever else has no room: an id has to be whole, it is there to be copied
        table.add_column(
            name,
            overflow="fold",
            no_wrap=name not in _LONG,
            justify="right" if name == "BYTES" else "left",
        )
    for row in rows:
        table.add_row(*(Text(_in_short(cell)) for cell in row))
    Console(highlight=False).print(table)


def _in_full(cell: object) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, datetime):
        return cell.astimezone(UTC).isoformat(timespec="seconds")
    return printable(str(cell))


def _in_short(cell: object) -> str:
    if isinstance(cell, datetime):
        return f"{cell.astimezone():%Y-%m-%d %H:%M:%S}"
    if isinstance(cell, str) and re.fullmatch("[0-9a-f]{64}", cell):
        return f"{cell[:12]}…"
    return _in_full(cell)


def _record_row(record: BackupRecord) -> tuple[object, ...]:
    return (
        record.record_id,
        getattr(record.status, "name", str(record.status)).lower(),
        record.create_time,
        record.end_time,
        record.device_info and record.device_info.device_id,
    )


def _file_row(file: BackupFile) -> tuple[object, ...]:
    path = file.description or file.file_name
    return (file.file_id, file.size, file.sha256, file.create_time, path)


def _device_row(device: BoundDevice) -> tuple[object, ...]:
    return (
        device.device_id,
        device.device_name,
        device.device_os,
        device.machine_code,
        device.create_time,
    )


def _scope_row(scope: Scope) -> tuple[object, ...]:
    return (scope.scope_id, scope.local_path, scope.target_folder_path, scope.create_time)
