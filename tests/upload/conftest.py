"""Files of every size, and a proxy that rewrites what the service answers."""

from __future__ import annotations

from contextlib import asynccontextmanager

import aiohttp
import pytest
import yarl
from aiohttp import web

from koodrive_async import BearerToken, KooDrive, Module
from tests.sample import sample
from tests.upload.interrupting import interrupted, journal

__all__ = ["interrupted", "journal"]


@pytest.fixture
def make_file(tmp_path):
    """Return a function that writes a file and returns its path."""

    def make(size=10, name="file.bin", seed=0):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample(size, seed))
        return path

    return make


@pytest.fixture
async def session(drive, device_id):
    async with drive.backup(device_id, Module.FOLDER) as opened:
        yield opened


@pytest.fixture
def stored(drive, koodrive_emulator):
    """Return a function that downloads a file of the record."""

    async def download(file_id):
        links = await drive.files.download_urls(koodrive_emulator.container_id, [file_id])
        assert links[0].url is not None
        url = yarl.URL(links[0].url, encoded=True)
        async with aiohttp.ClientSession() as http, http.get(url) as response:
            assert response.status == 200
            return await response.read()

    return download


@pytest.fixture
def rewriting(koodrive_emulator):
    """Return a context manager: a client whose answers are rewritten on their way.

    ``rewrite(path, answer)`` changes the decoded answer in place.
    """

    @asynccontextmanager
    async def serve(rewrite):
        async def forward(request):
            url = yarl.URL(koodrive_emulator.url + request.raw_path, encoded=True)
            async with http.request(
                request.method, url, headers=request.headers, data=await request.read() or None
            ) as response:
                answer = await response.json()
                rewrite(request.path, answer)
                return web.json_response(answer, status=response.status)

        runner = web.ServerRunner(web.Server(forward))
        await runner.setup()
        async with aiohttp.ClientSession() as http:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            try:
                async with KooDrive(
                    "http://{}:{}".format(*runner.addresses[0]),
                    auth=BearerToken(koodrive_emulator.token),
                    user_id=koodrive_emulator.user_id,
                ) as drive:
                    yield drive
            finally:
                await runner.cleanup()

    return serve
