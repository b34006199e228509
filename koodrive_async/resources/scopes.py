"""``drive.scopes``: which local paths go to which cloud folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from koodrive_async.errors import InvalidArgument
from koodrive_async.models import AddedScopes, DeletedScopes, Module, NewScope, Scope
from koodrive_async.resources.arguments import check_batch, check_module
from koodrive_async.sequences import check_many
from koodrive_async.transport.call import Call, check_id, path
from koodrive_async.transport.wire import entities, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from koodrive_async.transport.http import InterfaceHttp

MAX_PATH = 10_000


class Scopes:
    """List, add and delete backup scopes.

    Every method raises :class:`~koodrive_async.errors.ApiError` and
    :class:`~koodrive_async.errors.TransportError`; cancelling one closes its connection.
    """

    def __init__(self, http: InterfaceHttp) -> None:
        self._http = http

    async def list(self, device_id: str, module: Module | str) -> tuple[Scope, ...]:
        """Return all scopes of a device and module (page ``listBackupScope``)."""
        call = Call(
            method="GET",
            path=path("backup", "device", device_id, "scope"),
            query={"moduleCode": check_module(module)},
            repeatable=True,
        )
        return await self._http.send(call, entities(Scope, "scopeList"))

    async def add(
        self, device_id: str, module: Module | str, scopes: Sequence[NewScope]
    ) -> AddedScopes:
        """Add up to 100 scopes (page ``batchAddBackupScope``).

        :returns: What was added and what was not: look at ``failed``.
        :raises InvalidArgument: A path breaks its rule, ``scopes`` is empty or has more than 100
            items, or it is no list of scopes.
        """
        scopes = check_many("scopes", scopes, "NewScope", NewScope)
        check_batch("scopes", len(scopes))
        for scope in scopes:
            _check_scope(scope)
        call = Call(
            method="POST",
            path=path("backup", "device", device_id, "scope"),
            body={"moduleCode": check_module(module), "scopeList": list(scopes)},
            repeatable=False,
        )
        return await self._http.send(call, whole(AddedScopes))

    async def delete(self, device_id: str, ids: Sequence[str]) -> DeletedScopes:
        """Delete up to 100 scopes (page ``batchDeleteBackupScope``).

        :returns: What was deleted and what was not: a part may fail although the call succeeds.
        :raises InvalidArgument: ``ids`` is empty, has more than 100 items, or is one id, no list.
        """
        ids = check_many("ids", ids, "ids")
        check_batch("ids", len(ids))
        call = Call(
            method="DELETE",
            path=path("backup", "device", device_id, "scope"),
            body={"scopeIdList": [check_id(scope_id) for scope_id in ids]},
            repeatable=False,
        )
        return await self._http.send(call, whole(DeletedScopes))


def _check_scope(scope: NewScope) -> None:
    if not scope.local_path and not scope.target_folder_path:
        raise InvalidArgument("a scope needs a local_path or a target_folder_path")
    for name in ("local_path", "target_folder_path"):
        value: str | None = getattr(scope, name)
        if not value:
            continue
        if not value.startswith("/") or "\\" in value:
            raise InvalidArgument(
                f"{name} must start with / and be separated by / (C:\\x is /C:/x), not {value!r}"
            )
        if len(value) > MAX_PATH:
            raise InvalidArgument(f"{name} has at most {MAX_PATH} characters, not {len(value)}")
