"""The application in a process of somebody else: started and ended as often as one likes."""

from __future__ import annotations

import asyncio
import secrets

import aiohttp
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from examples.web_service.app import application
from examples.web_service.server import Server


@pytest.fixture
def environment(koodrive_environment, monkeypatch):
    for name, value in koodrive_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("WEB_SERVICE_IDLE", "0.01")


async def serve_some(app, count=3):
    """Start it, upload some files at the same time, follow what happens, and end it."""
    server = Server(app, host="127.0.0.1", port=0)
    serving = asyncio.create_task(server.serve())
    await server.listening.wait()

    async def upload(browser, number):
        where = f"/uploads/{secrets.token_hex(16)}?name={number}.txt"
        async with browser.put(where, data=b"%d" % number) as response:
            return response.status, (await response.json()).get("name")

    async with aiohttp.ClientSession(server.url) as browser:
        answers = await asyncio.gather(*[upload(browser, number) for number in range(count)])
        async with browser.get("/events") as events:
            server.should_exit = True
            assert await events.text()
    await serving
    return sorted(answers)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("kind", ["the same application", "another one"])
def test_the_application_is_started_twice_in_one_process(kind, koodrive_emulator):
    app = application()
    for _ in range(2):
        # each in an event loop of its own
        answers = asyncio.run(serve_some(app if kind == "the same application" else application()))
        assert [status for status, _ in answers] == [200, 200, 200]
    assert len(koodrive_emulator.files()) == 6
    assert koodrive_emulator.locks() == ()


@pytest.mark.usefixtures("environment")
def test_two_applications_run_side_by_side_in_one_process(koodrive_emulator, monkeypatch):
    applications = []
    for device in ("one", "another"):  # each service needs a device of its own
        monkeypatch.setenv("WEB_SERVICE_DEVICE", device)
        applications.append(application())

    async def both():
        return await asyncio.gather(*[serve_some(app, 1) for app in applications])

    assert [status for answers in asyncio.run(both()) for status, _ in answers] == [200, 200]
    assert koodrive_emulator.locks() == ()
