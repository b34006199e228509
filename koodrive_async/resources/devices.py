"""``drive.devices``: machines bound to the signed-in user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from koodrive_async.errors import (
    ApiError,
    AuthenticationError,
    KooDriveError,
    PermissionDenied,
    RateLimited,
    TransportError,
)
from koodrive_async.models import BoundDevice
from koodrive_async.resources.arguments import check_pattern
from koodrive_async.transport.call import Call, path
from koodrive_async.transport.refusals import as_kind, may_be_of_the_credentials
from koodrive_async.transport.retry import may_have_acted
from koodrive_async.transport.wire import entities, entity

if TYPE_CHECKING:
    from collections.abc import Callable

    from koodrive_async.transport.http import InterfaceHttp
    from koodrive_async.transport.retry import Attempts

_OTHER_REFUSALS = (AuthenticationError, PermissionDenied, RateLimited)
"""Refusals that say nothing of the machine."""


class Devices:
    """Bind, list and unbind devices.

    Every method raises :class:`~koodrive_async.errors.ApiError` and
    :class:`~koodrive_async.errors.TransportError`; cancelling one closes its connection.
    """

    def __init__(self, http: InterfaceHttp, attempts: Callable[[], Attempts]) -> None:
        self._http = http
        self._attempts = attempts

    async def bind(
        self, machine_code: str, name: str | None = None, os: str | None = None
    ) -> BoundDevice:
        """Bind a machine to the user (page ``bindDevice``).

        When an answer is lost, the device is looked for before it is bound again. What a service
        answers for a machine that is bound already is not documented: when it refuses, the device
        is looked for as well, and returned as it was bound.

        :param machine_code: 1 to 64 letters, digits and underscores: strip the hyphens of a UUID.
        :param name: 1 to 32 ASCII letters, digits, hyphens, underscores and spaces.
        :param os: 1 to 32 ASCII letters, digits, underscores and spaces.
        :raises InvalidArgument: An argument breaks its rule.
        """
        body = {"machineCode": check_pattern("machine_code", machine_code, "[a-zA-Z0-9_]{1,64}")}
        if name is not None:
            body["deviceName"] = check_pattern("name", name, r"[a-zA-Z0-9\-_\s]{1,32}")
        if os is not None:
            body["deviceOS"] = check_pattern("os", os, r"[a-zA-Z0-9_\s]{1,32}")
        call = Call(method="POST", path=path("backup", "device"), body=body, repeatable=False)
        attempts = self._attempts()
        while True:
            try:
                return await self._http.send(call, entity(BoundDevice))
            except (ApiError, TransportError) as error:
                if not may_have_acted(error):
                    if (bound := await self._bound_before(machine_code, error)) is not None:
                        return bound
                    raise
                await attempts.after(error)
            if (device := await self._find(machine_code)) is not None:
                return device

    async def _bound_before(
        self, machine_code: str, refusal: ApiError | TransportError
    ) -> BoundDevice | None:
        """Find the device that a refusal may be about; the refusal counts when that fails."""
        if not isinstance(refusal, ApiError) or isinstance(refusal, _OTHER_REFUSALS):
            return None
        try:
            return await self._find(machine_code)
        except KooDriveError:
            return None

    async def _find(self, machine_code: str) -> BoundDevice | None:
        devices = await self.list()
        return next((each for each in devices if each.machine_code == machine_code), None)

    async def list(self) -> tuple[BoundDevice, ...]:
        """Return all devices of the user, which come in one answer (page ``listBoundDevice``).

        :raises AuthenticationError: The credentials were refused, in whatever form: this call needs
            nothing else.
        """
        call = Call(method="GET", path=path("backup", "device"), repeatable=True)
        try:
            return await self._http.send(call, entities(BoundDevice))
        except ApiError as refusal:
            if isinstance(refusal, AuthenticationError) or not may_be_of_the_credentials(refusal):
                raise
            raise as_kind(AuthenticationError, refusal) from refusal

    async def unbind(self, device_id: str) -> BoundDevice:
        """Unbind a device and return it as it was (page ``unbindDevice``).

        :param device_id: Id of the device.
        :raises NotFound: There is no such device.
        """
        call = Call(method="DELETE", path=path("backup", "device", device_id), repeatable=False)
        return await self._http.send(call, entity(BoundDevice))
