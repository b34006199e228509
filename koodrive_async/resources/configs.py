"""``drive.configs``: small named strings kept for each device and module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from koodrive_async.models import ConfigInfo, Module, SimpleConfigInfo
from koodrive_async.resources.arguments import check_module, check_pattern
from koodrive_async.transport.call import Call, path
from koodrive_async.transport.wire import entities, entity

if TYPE_CHECKING:
    from koodrive_async.transport.http import InterfaceHttp

_WORD = "[a-zA-Z0-9_]{1,32}"


class Configs:
    """Read and update config entries; the service alone creates and deletes them.

    Every method raises :class:`~koodrive_async.errors.ApiError` and
    :class:`~koodrive_async.errors.TransportError`; cancelling one closes its connection.
    """

    def __init__(self, http: InterfaceHttp) -> None:
        self._http = http

    async def list(self, device_id: str, module: Module | str) -> tuple[ConfigInfo, ...]:
        """Return all entries of a device and module (page ``listConfigInfos``)."""
        call = Call(
            method="GET",
            path=path("backup", "device", device_id, "configs"),
            query={"moduleCode": check_module(module)},
            repeatable=True,
        )
        return await self._http.send(call, entities(ConfigInfo))

    async def get(self, device_id: str, module: Module | str, name: str) -> ConfigInfo:
        """Return one entry (page ``getConfigInfo``).

        :param name: 1 to 32 ASCII letters, digits and underscores.
        :raises NotFound: There is no such entry.
        """
        call = Call(
            method="GET",
            path=path("backup", "device", device_id, "config"),
            query={
                "moduleCode": check_module(module),
                "configName": check_pattern("name", name, _WORD),
            },
            repeatable=True,
        )
        return await self._http.send(call, entity(ConfigInfo))

    async def update(
        self, device_id: str, module: Module | str, name: str, *, current: str, new: str
    ) -> SimpleConfigInfo:
        """Set an entry to ``new`` if it is ``current`` (page ``updateConfigInfo``).

        :param name: 1 to 32 ASCII letters, digits and underscores, like both values.
        :param current: The value it has now.
        :param new: The value it is to have.
        """
        call = Call(
            method="PATCH",
            path=path("backup", "device", device_id, "config"),
            body={
                "moduleCode": check_module(module),
                "configName": check_pattern("name", name, _WORD),
                "currentConfigValue": check_pattern("current", current, _WORD),
                "newConfigValue": check_pattern("new", new, _WORD),
            },
            repeatable=False,
        )
        return await self._http.send(call, entity(SimpleConfigInfo))
