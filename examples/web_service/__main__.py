"""``python -m examples.web_service``: serve, or check that it works."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import os
import secrets
import shlex
import signal
import sys
import tempfile
from contextlib import ExitStack

import aiohttp

from examples.web_service.app import application
from examples.web_service.server import Server
from koodrive_async.emulator import Emulator

BROKEN_OFF = 130
"""What shells call the end by Ctrl-C."""


def main() -> None:
    """Serve, with the account of the environment or with an emulator."""
    parser = argparse.ArgumentParser(prog="python -m examples.web_service")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080, help="0 takes any free one")
    parser.add_argument("--check", action="store_true", help="send itself a file, and end")
    wanted = parser.parse_args()
    # uvicorn raises the signal once more when it has ended: whatever is open here is to be closed
    signal.signal(signal.SIGINT, lambda *_: sys.exit(BROKEN_OFF))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with ExitStack() as stack:
        uses_emulator = not os.environ.get("KOODRIVE_ENDPOINT", "").strip()
        if uses_emulator:
            start_emulator(stack)
        if wanted.check:
            asyncio.run(check())
        else:
            app = application(uses_emulator=uses_emulator)
            Server(app, host=wanted.host, port=wanted.port).run()


def start_emulator(stack: ExitStack) -> None:
    """Run a KooDrive on this machine, and say where it is and how to look at it."""
    directory = stack.enter_context(tempfile.TemporaryDirectory())
    emulator = stack.enter_context(Emulator(directory))
    variables = emulator.environment()
    os.environ.update(variables)
    os.environ["no_proxy"] = "*"  # none leads to this machine; this spelling comes first
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    print(
        f"There is no KOODRIVE_ENDPOINT: using an emulator at {emulator.url}.\n"
        f"What it holds is in {directory}, and gone when this ends. Another shell sees it with\n"
        f"  export {exports} KOODRIVE_PROXY=none\n"
        "  koodrive records",
        file=sys.stderr,
    )


async def check() -> None:
    """Send the service a file, and look at its answer and at what a page would see."""
    content = os.urandom(9_000_000)
    server = Server(application(), host="127.0.0.1", port=0)
    serving = asyncio.create_task(server.serve())
    await server.listening.wait()
    async with aiohttp.ClientSession(server.url) as browser:
        where = f"/uploads/{secrets.token_hex(16)}?name=photo.jpg"
        async with browser.put(where, data=io.BytesIO(content)) as response:
            answer = await response.json()
        async with browser.get("/events") as events:
            server.should_exit = True
            seen = await events.text()
    await serving
    if answer.get("sha256") != hashlib.sha256(content).hexdigest() or answer["sha256"] not in seen:
        sys.exit("the backup is not what was sent")
    print(f"{len(content)} bytes are in the backup as file {answer['file_id']}")


if __name__ == "__main__":
    main()
