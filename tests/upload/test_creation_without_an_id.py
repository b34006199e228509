"""An answer to creating a file that has code 0 and no id of the file."""

from __future__ import annotations

import asyncio

import pytest

from koodrive_async import BearerToken, KooDrive, Module, RetryPolicy
from koodrive_async.emulator import Dialect, Emulator

pytestmark = pytest.mark.anyio

QUICK = RetryPolicy(attempts=4, base_delay=0, per_second=None, outage=0)


class Relay:
    """Passes connections on, and takes the id out of the first answers to creating a file.

    :ivar taken: From how many answers it has taken the id.
    """

    def __init__(self, port, count):
        self.taken = 0
        self._port = port
        self._count = count

    async def serve(self, reader, writer):
        up, down = await asyncio.open_connection("127.0.0.1", self._port)
        back = asyncio.create_task(self._answers(up, writer))
        try:
            while data := await reader.read(65536):
                down.write(data)
        except ConnectionError:
            pass
        finally:
            back.cancel()
            await asyncio.wait([back])
            down.close()
            writer.close()

    async def _answers(self, up, writer):
        while data := await up.read(1 << 20):
            if self.taken < self._count and b'"multiParts"' in data and b'"fileId"' in data:
                self.taken += 1
                data = data.replace(b'"fileId"', b'"noneId"')  # of the same length
            writer.write(data)


@pytest.mark.parametrize("details", ["refused", "given"])
@pytest.mark.parametrize("count", [1, 2])
async def test_it_is_looked_up_whether_the_file_was_created(tmp_path, count, details):
    dialect = Dialect(unfinished_details=details)
    async with Emulator(tmp_path / "koodrive", dialect=dialect) as emulator:
        relay = Relay(int(emulator.url.rpartition(":")[2]), count)
        server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            auth = BearerToken(emulator.token)
            async with KooDrive(
                url, auth=auth, user_id=emulator.user_id, retry=QUICK, journal=None
            ) as drive:
                device = await drive.devices.bind("m")
                async with drive.backup(device.device_id, Module.FOLDER) as session:
                    receipt = await session.upload(b"bytes", name="a.txt")
        (complete,) = [file for file in emulator.files() if file.completed]

        assert 1 <= relay.taken <= count
        assert complete.file_id == receipt.file_id
        assert emulator.content(receipt.file_id) == b"bytes"
