"""``koodrive scopes``: which local paths go to which cloud folders."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import click

from koodrive_async.cli.json_output import Failed, json_option, write_json
from koodrive_async.cli.listings import show_all
from koodrive_async.cli.options import module_option
from koodrive_async.cli.output import Field, as_object, name_of, quiet_option, write_items
from koodrive_async.cli.running import run
from koodrive_async.cli.settings import connect
from koodrive_async.cli.wording import count_text, printable
from koodrive_async.models import NewScope, Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from koodrive_async.client import KooDrive
    from koodrive_async.models import AddedScopes, DeletedScopes, Module
    from koodrive_async.models.scopes import FailedScope

_SCOPES: Final[Sequence[Field[Scope]]] = (
    Field("scope_id", "SCOPE", lambda scope: scope.scope_id),
    Field("local_path", "LOCAL PATH", lambda scope: scope.local_path, folds=True),
    Field("cloud_folder", "CLOUD FOLDER", lambda scope: scope.target_folder_path, folds=True),
    Field("created", "CREATED", lambda scope: scope.create_time),
    Field("module", None, lambda scope: name_of(scope.module)),
)
_FAILED: Final[Sequence[Field[FailedScope]]] = (
    Field("scope_id", "SCOPE", lambda failed: failed.scope_id),
    Field("code", "CODE", lambda failed: failed.error_code),
    Field("message", "MESSAGE", lambda failed: failed.msg),
)


@click.group()
def scopes() -> None:
    """List, add and remove the backup scopes of a device.

    A scope says which path of the device goes to which folder in the cloud.
    """


@scopes.command("list")
@click.argument("device")
@module_option("Scopes of this module.")
@quiet_option
@json_option
def list_(device: str, module: Module, quiet: bool, as_json: bool) -> None:
    """List the backup scopes of DEVICE.

    Anywhere but on a terminal: scope id, local path, cloud folder and creation, separated by tabs.
    With --json one object: scopes, a list of scope_id, local_path, cloud_folder, created, module.
    """
    run(partial(_list, connect(), device, module, quiet=quiet, as_json=as_json))


@scopes.command(short_help="Add backup scopes to a device.")
@click.argument("device")
@click.argument("local_paths", metavar="[PATH]...", nargs=-1)
@click.option("--cloud-folder", metavar="FOLDER", help="Where the paths go in the cloud.")
@module_option("Scopes of this module.")
@quiet_option
@json_option
def add(
    *,
    device: str,
    local_paths: tuple[str, ...],
    cloud_folder: str | None,
    module: Module,
    quiet: bool,
    as_json: bool,
) -> None:
    r"""Add each PATH of DEVICE as a backup scope, or a cloud folder alone.

    Paths are those of the device, from / on; a Windows path C:\x is written /C:/x. What was added
    is listed as in scopes list. With --json one object: added, and failed, a list of scope_id,
    code, message.
    """
    if not local_paths and cloud_folder is None:
        raise click.UsageError("name a PATH, or a --cloud-folder")
    new = [
        NewScope(local_path=path, target_folder_path=cloud_folder)
        for path in local_paths or (None,)
    ]
    done = run(partial(_add, connect(), device, module, new))
    # the documentation does not print this answer: there may be nothing but ids
    described = {scope.scope_id for scope in done.scopes}
    added = [
        *done.scopes,
        *(Scope(scope_id=each) for each in done.scope_ids if each not in described),
    ]
    if as_json and not quiet:
        write_json(
            {
                "added": [as_object(_SCOPES, scope) for scope in added],
                "failed": [as_object(_FAILED, failed) for failed in done.failed],
            }
        )
    elif not quiet and added:
        write_items(_SCOPES, added, as_json=False)
    _end(done.failed, "added", as_json=as_json)


@scopes.command()
@click.argument("device")
@click.argument("scope_ids", metavar="SCOPE...", nargs=-1, required=True)
@quiet_option
@json_option
def remove(*, device: str, scope_ids: tuple[str, ...], quiet: bool, as_json: bool) -> None:
    """Remove each SCOPE from DEVICE; files that are backed up stay.

    The ids that were removed have a line each. With --json one object: removed, a list of ids, and
    failed, a list of scope_id, code, message.
    """
    done = run(partial(_remove, connect(), device, scope_ids))
    if as_json and not quiet:
        failed = [as_object(_FAILED, failed) for failed in done.failed]
        write_json({"removed": list(done.scope_ids), "failed": failed})
    elif not quiet:
        click.echo("".join(f"{printable(each)}\n" for each in done.scope_ids), nl=False)
    _end(done.failed, "removed", as_json=as_json)


async def _list(
    drive: KooDrive, device_id: str, module: Module, *, quiet: bool, as_json: bool
) -> None:
    async with drive:
        found = await drive.scopes.list(device_id, module)
        await show_all("scopes", _SCOPES, found, quiet=quiet, as_json=as_json)


async def _add(
    drive: KooDrive, device_id: str, module: Module, new: Sequence[NewScope]
) -> AddedScopes:
    async with drive:
        return await drive.scopes.add(device_id, module, new)


async def _remove(drive: KooDrive, device_id: str, ids: Sequence[str]) -> DeletedScopes:
    async with drive:
        return await drive.scopes.delete(device_id, ids)


def _end(failed: Sequence[FailedScope], what: str, *, as_json: bool) -> None:
    if not failed:
        return
    for each in () if as_json else failed:
        code = f" (code {each.error_code})" if each.error_code else ""
        text = f"failed: {each.scope_id or 'a scope'}: {each.msg or 'refused'}{code}"
        click.echo(printable(text), err=True)
    raise Failed(f"{count_text(len(failed), 'scope')} not {what}")
