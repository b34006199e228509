"""A web service that passes what it is sent on to KooDrive, one client for all its requests.

``python examples/web_service.py`` serves ``PUT /backup/NAME`` on port 8080; with ``--check`` it
sends itself a file and ends. It uses the service in the environment (``KOODRIVE_ENDPOINT`` and so
on), or else an emulator that it starts.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import sys
import tempfile
from contextlib import ExitStack
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from koodrive_async import InvalidArgument, KooDrive, KooDriveError, Module
from koodrive_async.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DRIVE = web.AppKey("drive", KooDrive)
DEVICE_ID = web.AppKey("device_id", str)
# The service has one backup lock for each module: backups take turns.
TURN = asyncio.Lock()


async def connect(app: web.Application) -> AsyncIterator[None]:
    """Open one client for the life of the application: its connections are worth keeping."""
    async with KooDrive.from_env() as drive:
        device = await drive.devices.bind("example_service", name="web service", os="any")
        app[DRIVE], app[DEVICE_ID] = drive, device.device_id
        yield


async def put_file(request: web.Request) -> web.Response:
    """Stream the body of a request into a backup: it is spooled to disk, never held in memory."""
    drive, device_id = request.app[DRIVE], request.app[DEVICE_ID]
    try:
        async with TURN, drive.backup(device_id, Module.FOLDER) as session:
            body = request.content.iter_any()
            receipt = await session.upload(body, name=request.match_info["name"])
    except InvalidArgument as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    except KooDriveError as error:
        raise web.HTTPBadGateway(text=str(error)) from error
    return web.json_response({"record": session.record.record_id, "sha256": receipt.sha256})


def application() -> web.Application:
    """Put it together."""
    app = web.Application()
    app.cleanup_ctx.append(connect)
    app.router.add_put("/backup/{name}", put_file)
    return app


async def check() -> None:
    """Send the service a file and look at its answer."""
    content = os.urandom(9_000_000)
    async with TestClient(TestServer(application())) as client:
        response = await client.put("/backup/photo.jpg", data=io.BytesIO(content))
        answer = await response.json()
    if answer["sha256"] != hashlib.sha256(content).hexdigest():
        sys.exit("the backup is not what was sent")
    print(f"{len(content)} bytes are in record {answer['record']}")


def main() -> None:
    """Serve, or check."""
    with ExitStack() as stack:
        if "KOODRIVE_ENDPOINT" not in os.environ:
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            os.environ.update(stack.enter_context(Emulator(directory)).environment())
        if "--check" in sys.argv[1:]:
            asyncio.run(check())
        else:
            web.run_app(application(), host="127.0.0.1", port=8080)


if __name__ == "__main__":
    main()
