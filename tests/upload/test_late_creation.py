"""A create call that was cancelled, and reaches the service after its record was completed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

import anyio
import pytest

from koodrive_async import BearerToken, KooDrive, Module
from koodrive_async.emulator import HeldStatus

pytestmark = pytest.mark.anyio

CREATES = b"/file HTTP/1.1\r\n"
COMPLETES = b"PATCH /koodrive/ose/v1/backup/record/"


class Relay:
    """Passes connections on, but keeps a create call back until it is asked for it.

    :ivar url: Where it is reached.
    :ivar held: Set when a create call is kept back.
    :ivar was_closed: Whether its connection was closed when the record was to be completed; None
        before that.
    """

    def __init__(self, port):
        self.url = ""
        self._port = port
        self._descriptor = None
        self._call = b""
        self.held = asyncio.Event()
        self.was_closed = None

    async def serve(self, reader, writer):
        up, down = await asyncio.open_connection("127.0.0.1", self._port)
        back = asyncio.create_task(self._answers(up, writer))
        try:
            while data := await reader.read(65536):
                if CREATES in data and not self.held.is_set():
                    self._descriptor = os.dup(writer.get_extra_info("socket").fileno())
                    self._call = data
                    self.held.set()
                    continue
                if self._descriptor is not None and not down.is_closing() and COMPLETES in data:
                    self.was_closed = self._is_closed()
                down.write(data)
        except ConnectionError:
            pass
        finally:
            back.cancel()
            await asyncio.wait([back])
            down.close()
            writer.close()

    async def _answers(self, up, writer):
        with contextlib.suppress(ConnectionError):
            while data := await up.read(65536):
                writer.write(data)

    def _is_closed(self):
        with socket.socket(fileno=self._descriptor) as connection:
            connection.setblocking(False)
            try:
                return connection.recv(1, socket.MSG_PEEK) == b""
            except ConnectionResetError:
                return True
            except BlockingIOError:
                return False

    async def release(self):
        """Pass the call on, and return the status of its answer."""
        up, down = await asyncio.open_connection("127.0.0.1", self._port)
        down.write(self._call)
        status = (await up.readline()).split()[1]
        down.close()
        return int(status)


@pytest.fixture
async def relay(koodrive_emulator):
    relay = Relay(int(koodrive_emulator.url.rpartition(":")[2]))
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield relay
    server.close()


async def by_task(relay, upload):
    task = asyncio.ensure_future(upload)
    await relay.held.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def by_scope(relay, upload):
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def run():
                await upload

            group.start_soon(run)
            await relay.held.wait()
            scope.cancel()


@pytest.mark.parametrize("cancel", [by_task, by_scope])
async def test_its_connection_is_closed_before_the_record_is_completed_and_it_is_refused(
    relay, koodrive_emulator, cancel
):
    async with KooDrive(
        relay.url,
        auth=BearerToken(koodrive_emulator.token),
        user_id=koodrive_emulator.user_id,
        journal=None,
    ) as drive:
        device = await drive.devices.bind("m")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            await cancel(relay, session.upload(b"cancelled", name="cancelled"))
            await session.upload(b"stored", name="stored")
    assert relay.was_closed is True
    assert await relay.release() >= 400
    (record,) = koodrive_emulator.records()
    assert record.status == HeldStatus.COMPLETED
    assert [(file.name, file.completed) for file in koodrive_emulator.files()] == [("stored", True)]
