"""``koodrive records``, ``files`` and ``devices``: what the service knows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import click
from anyio import to_thread

from koodrive_async.cli.json_output import json_option, write_json
from koodrive_async.cli.options import module_option
from koodrive_async.cli.output import Field, as_object, name_of, quiet_option, write_items
from koodrive_async.cli.own_records import find_in_use
from koodrive_async.cli.running import run
from koodrive_async.cli.settings import connect
from koodrive_async.cli.wording import count_text
from koodrive_async.models import RecordStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Iterable, Sequence

    from koodrive_async.client import KooDrive
    from koodrive_async.models import BackupFile, BackupRecord, BoundDevice, Module
    from koodrive_async.paging import Pager

T = TypeVar("T")


def _status(record: BackupRecord) -> object:
    return "unfinished" if record.status is RecordStatus.NEW else name_of(record.status)


def _record_fields(in_use: Container[str]) -> Sequence[Field[BackupRecord]]:
    """Return the fields of records.

    :param in_use: Ids of those that processes of this machine are writing.
    """

    def is_in_use(record: BackupRecord) -> bool:
        return record.status is RecordStatus.NEW and record.record_id in in_use

    return (
        Field("record_id", "RECORD", lambda record: record.record_id),
        Field("status", None, _status),
        Field(None, "STATUS", lambda each: "in use" if is_in_use(each) else _status(each)),
        Field("created", "CREATED", lambda record: record.create_time),
        Field("ended", "ENDED", lambda record: record.end_time),
        Field(
            "device_id",
            "DEVICE",
            lambda record: record.device_info and record.device_info.device_id,
            drops=True,
        ),
        Field("module", None, lambda record: name_of(record.module)),
        Field("properties", None, lambda record: record.properties),
        Field("in_use", None, is_in_use),
    )


_FILES: Final[Sequence[Field[BackupFile]]] = (
    Field("file_id", "FILE", lambda file: file.file_id),
    Field("size", "BYTES", lambda file: file.size),
    Field("sha256", "SHA-256", lambda file: file.sha256, spare=True),
    Field("created", "CREATED", lambda file: file.create_time, spare=True),
    Field("path", "PATH", lambda file: file.description or file.file_name, folds=True),
    Field("name", None, lambda file: file.file_name),
)
_DEVICES: Final[Sequence[Field[BoundDevice]]] = (
    Field("device_id", "DEVICE", lambda device: device.device_id),
    Field("name", "NAME", lambda device: device.device_name, folds=True),
    Field("os", "OS", lambda device: device.device_os),
    Field("machine_code", "MACHINE CODE", lambda device: device.machine_code, spare=True),
    Field("created", "CREATED", lambda device: device.create_time, spare=True),
)


@click.command()
@module_option("Records of this module.")
@click.option("--device", "device_id", metavar="DEVICE", help="Records of this device only.")
@click.option("--unfinished", is_flag=True, help="Only records that interrupted backups have left.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="No more than so many.")
@quiet_option
@json_option
def records(
    *,
    module: Module,
    device_id: str | None,
    unfinished: bool,
    limit: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """List backup records, newest first.

    Anywhere but on a terminal: record id, status (unfinished, completed, or in use: a process
    of this machine is writing it), creation, end and device id, separated by tabs; a dash stands
    for what the service does not say. With --json each record is an object on a line of its own:
    record_id, status, created, ended, device_id, module, properties, in_use. How many of those
    listed are unfinished and not in use, and what to do with them, is said on
    standard error; --json and --quiet leave that out.
    """
    find = _unfinished if unfinished else _records
    count = run(partial(find, connect(), module, device_id, limit, quiet=quiet, as_json=as_json))
    if count and not quiet and not as_json:
        click.echo(_unfinished_text(count), err=True)


def _unfinished_text(count: int) -> str:
    records, are = count_text(count, "record"), "is" if count == 1 else "are"
    return (
        f"{records} {are} unfinished: koodrive backup PATH --resume continues the newest of "
        "PATH, koodrive delete RECORD... deletes those that are not wanted"
    )


@click.command()
@click.argument("record")
@quiet_option
@json_option
def files(record: str, quiet: bool, as_json: bool) -> None:
    """List the files of RECORD.

    Anywhere but on a terminal: file id, bytes, SHA-256, creation and path, separated by tabs.
    With --json each file is an object on a line of its own: file_id, size, sha256, created, path,
    name. When none is listed, the record itself is looked at: the command fails if the service does
    not have it.
    """
    run(partial(_files, connect(), record, quiet=quiet, as_json=as_json))


@click.command()
@quiet_option
@json_option
def devices(quiet: bool, as_json: bool) -> None:
    """List the devices of the user.

    Anywhere but on a terminal: device id, name, system, machine code and creation, separated by
    tabs. With --json one object: devices, a list of device_id, name, os, machine_code, created.
    """
    run(partial(_devices, connect(), quiet=quiet, as_json=as_json))


async def _records(
    drive: KooDrive,
    module: Module,
    device_id: str | None,
    limit: int | None,
    *,
    quiet: bool,
    as_json: bool,
) -> int:
    count = 0

    def see(items: Sequence[BackupRecord]) -> None:
        nonlocal count
        count += _left_in(items, in_use)

    async with drive:
        found = drive.records.list(module, device_id)
        in_use = await _in_use(drive)
        fields = _record_fields(in_use)
        await _show_pages(fields, found, limit, quiet=quiet, as_json=as_json, see=see)
    return count


async def _unfinished(
    drive: KooDrive,
    module: Module,
    device_id: str | None,
    limit: int | None,
    *,
    quiet: bool,
    as_json: bool,
) -> int:
    async with drive:
        found = (await drive.records.unfinished(module, device_id))[:limit]
        in_use = await _in_use(drive)
        if not quiet:
            await _show(_record_fields(in_use), found, as_json=as_json)
    return _left_in(found, in_use)


async def _in_use(drive: KooDrive) -> frozenset[str]:
    # in a worker thread: the journal is a file, which another process may hold for a moment
    find = partial(find_in_use, drive.journal_path, drive.endpoint)
    return await to_thread.run_sync(find, abandon_on_cancel=True)


def _left_in(records: Iterable[BackupRecord], in_use: Container[str]) -> int:
    """Return how many records are unfinished and written by no process of this machine."""
    return sum(
        record.status is RecordStatus.NEW and record.record_id not in in_use for record in records
    )


async def _files(drive: KooDrive, record_id: str, *, quiet: bool, as_json: bool) -> None:
    async def look() -> None:
        # an empty listing may be that of a record which does not exist
        await drive.records.get(record_id)

    async with drive:
        found = drive.files.list(record_id)
        await _show_pages(_FILES, found, quiet=quiet, as_json=as_json, if_empty=look)


async def _devices(drive: KooDrive, *, quiet: bool, as_json: bool) -> None:
    async with drive:
        found = await drive.devices.list()
        await show_all("devices", _DEVICES, found, quiet=quiet, as_json=as_json)


async def _show_pages(
    fields: Sequence[Field[T]],
    pager: Pager[T],
    limit: int | None = None,
    *,
    quiet: bool,
    as_json: bool,
    see: Callable[[Sequence[T]], object] = lambda _: None,
    if_empty: Callable[[], Awaitable[object]] | None = None,
) -> None:
    # page by page: a record may have a million files, and whoever reads may want only a few
    shown = 0
    async for page in pager.pages():
        if quiet:
            if not page.items and if_empty is not None:
                await if_empty()
            return  # that the service gives it out is all there is to know
        items = page.items[: limit and limit - shown]
        shown += len(items)
        see(items)
        if items:
            await _show(fields, items, as_json=as_json)
        if shown == limit:
            return
    if not shown and if_empty is not None:
        await if_empty()
    if not shown and not quiet:
        await _show(fields, (), as_json=as_json)


async def show_all(
    key: str, fields: Sequence[Field[T]], items: Sequence[T], *, quiet: bool, as_json: bool
) -> None:
    """Write a listing that came as a whole.

    :param key: What the list is called in the one object of JSON.
    """
    if quiet:
        return
    if as_json:
        listed = {key: [as_object(fields, item) for item in items]}
        await to_thread.run_sync(write_json, listed, abandon_on_cancel=True)
    else:
        await _show(fields, items, as_json=False)


async def _show(fields: Sequence[Field[T]], items: Sequence[T], *, as_json: bool) -> None:
    # in a worker thread: the reader of a pipe may take its time
    write = partial(write_items, fields, items, as_json=as_json)
    await to_thread.run_sync(write, abandon_on_cancel=True)
