"""A client is of use where it was entered: elsewhere it says so instead of hanging."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import timeit

import pytest

from koodrive_async import BearerToken, ClientClosed, KooDrive, WrongEventLoop
from koodrive_async.transport.home import Home
from tests.interface.scripted import client_of, silence

pytestmark = pytest.mark.anyio

FORKED = """
import asyncio, os, sys, warnings
from koodrive_async import BearerToken, ForkedClient, KooDrive

warnings.simplefilter("ignore", DeprecationWarning)  # that forking beside threads is unwise


async def main():
    drive = KooDrive("http://127.0.0.1:9", auth=BearerToken("t"), user_id="u")
    async with drive:
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        try:
            call = drive.devices.list()
            call.send(None)  # what a loop would do
        except ForkedClient as error:
            assert "make and enter another KooDrive here" in str(error)
            os._exit(7)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
        os._exit(1)


sys.exit(asyncio.run(main()))
"""

FORKED_WITH_A_LOOP_OF_ITS_OWN = """
import asyncio, os, sys, warnings
from koodrive_async import BearerToken, ForkedClient, KooDrive

warnings.simplefilter("ignore", DeprecationWarning)  # that forking beside threads is unwise


async def in_the_child(drive):
    try:
        await drive.devices.list()
    except ForkedClient:
        return 7
    return 1


async def enter(drive):
    await drive.__aenter__()


drive = KooDrive("http://127.0.0.1:9", auth=BearerToken("t"), user_id="u")
loop = asyncio.new_event_loop()
loop.run_until_complete(enter(drive))
child = os.fork()
if not child:
    os._exit(asyncio.run(in_the_child(drive)))
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
loop.run_until_complete(drive.__aexit__(None, None, None))
loop.close()
sys.exit(code)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize("program", [FORKED, FORKED_WITH_A_LOOP_OF_ITS_OWN], ids=["same", "own"])
def test_a_forked_client_says_so_at_once(program):
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stderr) == (7, "")


async def test_another_event_loop_is_told_so_at_once(scripted):
    scripted.otherwise = lambda _: silence

    def call_from_a_loop_of_its_own(client):
        with pytest.raises(WrongEventLoop, match="run_coroutine_threadsafe"):
            asyncio.run(client.devices.list())

    async with client_of(scripted) as client:
        await asyncio.to_thread(call_from_a_loop_of_its_own, client)
    assert scripted.connections == 0


async def test_a_thread_may_hand_a_call_to_the_loop_of_the_client(scripted):
    scripted.replies({"code": 0})
    loop = asyncio.get_running_loop()
    async with client_of(scripted) as client:
        call = client.devices.list()
        devices = await asyncio.to_thread(
            lambda: asyncio.run_coroutine_threadsafe(call, loop).result(30)
        )
    assert devices == ()


async def test_a_closed_client_is_closed_everywhere(scripted):
    async with client_of(scripted) as client:
        pass

    def call():
        with pytest.raises(ClientClosed):
            asyncio.run(client.devices.list())

    await asyncio.to_thread(call)


async def test_looking_where_one_is_costs_next_to_nothing():
    home = Home()
    # a hundred times what it takes: this is about doing nothing slow, not about a number
    assert min(timeit.repeat(home.check, number=1000, repeat=5)) / 1000 < 50e-6


def test_a_client_that_is_entered_without_an_event_loop_of_asyncio_says_so():
    client = KooDrive("http://127.0.0.1:9", auth=BearerToken("t"), user_id="u")
    entering = client.__aenter__()
    with pytest.raises(WrongEventLoop, match="trio is not supported"):
        entering.send(None)  # what trio does
