"""A synchronous client: entered once, used by any thread, closed without a trace."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from koodrive_async import (
    BearerToken,
    ClientClosed,
    ConfigurationError,
    FileCancelled,
    ForkedClient,
    Module,
    RecordStatus,
    UploadItem,
    WrongEventLoop,
)
from koodrive_async.emulator import Fault
from koodrive_async.sync import KooDrive
from koodrive_async.transport.tls import Tls
from tests.sync.conftest import portals, threads_since

FOREVER = 3600.0


def test_a_client_that_was_left_leaves_no_thread(open_client):
    before = set(threading.enumerate())
    with open_client() as drive:
        drive.devices.list()
        assert len(portals()) == 1
    assert threads_since(before) == set()


def test_a_call_before_the_client_is_open_is_refused(open_client):
    drive = open_client()
    with pytest.raises(ClientClosed, match=r"use it inside 'with'"):
        drive.devices.list()
    with pytest.raises(ClientClosed):
        drive.backup("1", Module.FOLDER)
    assert portals() == []


def test_a_call_after_the_client_was_left_is_refused(open_client):
    with open_client() as drive:
        device_id = drive.devices.bind("machine").device_id
        session = drive.backup(device_id, Module.FOLDER)
        pager = drive.records.list(Module.FOLDER)
        with session:
            receipt = session.upload(b"x", name="x")
    with pytest.raises(ClientClosed):
        drive.devices.list()
    with pytest.raises(ClientClosed):
        pager.first()
    with pytest.raises(ClientClosed):
        session.upload(b"y", name="y")
    assert receipt.size == 1
    assert session.totals.done == 1  # what it knows can be looked at
    assert len(session.traces) == 1


def test_a_client_and_a_session_are_entered_once(drive, device_id):
    with pytest.raises(ClientClosed, match="once"):
        drive.__enter__()
    with drive.backup(device_id, Module.FOLDER) as session:
        with pytest.raises(ClientClosed, match="once"):
            session.__enter__()
        assert session.upload(b"x", name="x").size == 1


def test_a_client_that_cannot_be_opened_leaves_no_thread(open_client, tmp_path):
    missing = Tls(ca_file=tmp_path / "missing.pem")
    with pytest.raises(ConfigurationError, match="missing"), open_client(tls=missing):
        pass
    assert portals() == []


def test_a_client_that_is_dropped_warns_and_ends_its_thread(open_client):
    drive = open_client().__enter__()
    drive.devices.list()
    (thread,) = portals()
    with pytest.warns(ResourceWarning, match="never left"):
        del drive
    thread.join(10)
    assert not thread.is_alive()


def test_a_session_that_is_dropped_with_its_client_gives_its_lock_back(
    open_client, koodrive_emulator
):
    drive = open_client().__enter__()
    device_id = drive.devices.bind("machine").device_id
    session = drive.backup(device_id, Module.FOLDER)
    session.__enter__()
    (thread,) = portals()
    with pytest.warns(ResourceWarning, match="never left"):
        del drive, session
    thread.join(10)
    assert koodrive_emulator.seen.count("locks.release", status=200) == 1
    assert koodrive_emulator.seen.count("records.complete") == 0


def test_what_belongs_to_a_client_keeps_it_alive(open_client):
    devices = open_client().__enter__().devices
    gc.collect()
    assert devices.list() == ()
    with pytest.warns(ResourceWarning, match="never left"):
        del devices


def test_a_batch_that_is_dropped_ends_its_uploads(drive, device_id, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("latency", "files.create", seconds=FOREVER, after=1))
    with drive.backup(device_id, Module.FOLDER) as session:
        batch = session.upload_many(
            UploadItem(source=b"%d" % number, name=str(number)) for number in range(1000)
        )
        next(batch)
        events = session.events()
        del batch
        gc.collect()
        assert any(isinstance(event, FileCancelled) for event in events)
        events.close()
        session.complete_anyway()


def test_a_script_that_never_leaves_its_client_ends_all_the_same():
    program = """
from koodrive_async import BearerToken
from koodrive_async.sync import KooDrive
from koodrive_async.transport.tls import Tls

drive = KooDrive("http://127.0.0.1:9", auth=BearerToken("t"), user_id="u", journal=None)
drive.__enter__()
print("over")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert ended.stdout == "over\n"
    assert "Traceback" not in ended.stderr


def test_a_client_whose_thread_has_ended_by_itself_says_so(open_client):
    with pytest.raises(ClientClosed, match="ended"), open_client() as drive:  # noqa: PT012 - so does leaving it
        (thread,) = portals()
        drive._portal._room.loop.call_soon_threadsafe(sys.exit)
        thread.join(10)
        with pytest.raises(ClientClosed, match="ended"):
            drive.devices.list()


# --- several threads ---------------------------------------------------------------------------


def test_many_threads_use_one_client(drive, device_id):
    def work(number):
        receipt = session.upload(str(number).encode(), name=str(number))
        assert drive.devices.list()
        return receipt.name

    with drive.backup(device_id, Module.FOLDER) as session, ThreadPoolExecutor(8) as pool:
        names = list(pool.map(work, range(40)))
    assert names == [str(number) for number in range(40)]
    assert len(drive.files.list(session.record.record_id).collect()) == 40


def test_calls_of_other_threads_end_when_the_client_is_left(open_client, koodrive_emulator):
    raised = []

    def call(drive):
        try:
            drive.devices.list()
        except Exception as error:  # noqa: BLE001 - looked at below
            raised.append(error)

    koodrive_emulator.faults.add(Fault("latency", "devices.list", seconds=FOREVER))
    with open_client() as drive:
        thread = threading.Thread(target=call, args=(drive,))
        thread.start()
        assert koodrive_emulator.seen.wait_active("devices.list")
    thread.join(10)
    assert not thread.is_alive()
    assert len(raised) == 1


def test_a_session_of_another_thread_ends_unfinished_when_the_client_is_left(
    open_client, koodrive_emulator
):
    entered, left = threading.Event(), threading.Event()
    raised = []

    def back_up(drive, device_id):
        try:
            with drive.backup(device_id, Module.FOLDER):
                entered.set()
                left.wait(10)
        except Exception as error:  # noqa: BLE001 - looked at below
            raised.append(error)

    with open_client() as drive:
        device_id = drive.devices.bind("machine").device_id
        thread = threading.Thread(target=back_up, args=(drive, device_id))
        thread.start()
        assert entered.wait(10)
    left.set()
    thread.join(10)
    assert [type(error) for error in raised] == [ClientClosed]
    assert koodrive_emulator.seen.count("locks.release", status=200) == 1
    with open_client() as drive:
        newest = drive.records.list(Module.FOLDER).first()
        assert newest is not None
        assert newest.status is RecordStatus.NEW


def test_a_call_from_the_clients_own_thread_says_that_it_would_wait_for_itself(
    koodrive_emulator,
):
    found: list[str] = []

    async def token():
        try:
            drive.devices.list()
        except WrongEventLoop as error:
            found.append(str(error))
        return koodrive_emulator.token

    with KooDrive(
        koodrive_emulator.url,
        auth=BearerToken(token),
        user_id=koodrive_emulator.user_id,
        journal=None,
    ) as drive:
        drive.devices.list()
    assert "its own thread" in found[0]


# --- forks -------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_is_told_and_does_not_hang(open_client):
    with open_client() as drive:
        child = os.fork()
        if not child:
            code = 1
            try:
                drive.devices.list()
            except ForkedClient as error:
                code = 7 if "make and enter another" in str(error) else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert drive.devices.list() == ()


def _leave(drive, answer):
    drive.__exit__(None, None, None)
    answer.put("left")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_leaving_the_block_in_a_forked_process_does_nothing(open_client):
    context = multiprocessing.get_context("fork")
    answer = context.SimpleQueue()
    with open_client() as drive:
        child = context.Process(target=_leave, args=(drive, answer))
        child.start()
        child.join(30)
        assert child.exitcode == 0
        assert answer.get() == "left"
        assert drive.devices.list() == ()


# --- closing while other threads are in sessions -----------------------------------------------


def test_closing_a_client_ends_the_session_of_another_thread(open_client, koodrive_emulator):
    inside, ended = threading.Event(), threading.Event()
    with open_client() as drive:
        device_id = drive.devices.bind("machine").device_id

        def stay():
            with drive.backup(device_id, Module.FOLDER) as session:
                inside.set()
                assert ended.wait(30)
                session.upload(b"late", name="late")

        with ThreadPoolExecutor(1) as pool:
            staying = pool.submit(stay)
            assert inside.wait(30)
            drive.close()
            assert koodrive_emulator.locks() == ()
            ended.set()
            with pytest.raises(ClientClosed):
                staying.result(30)
    assert [record.status for record in koodrive_emulator.records()] == [RecordStatus.NEW]


def test_closing_a_client_ends_the_upload_that_another_thread_waits_for(
    open_client, koodrive_emulator
):
    koodrive_emulator.faults.add(Fault("latency", "part.put", seconds=FOREVER))
    with open_client() as drive:
        device_id = drive.devices.bind("machine").device_id

        def stay():
            with drive.backup(device_id, Module.FOLDER) as session:
                session.upload(b"stuck", name="stuck")

        with ThreadPoolExecutor(1) as pool:
            staying = pool.submit(stay)
            assert koodrive_emulator.seen.wait_active("part.put")
            drive.close()
            with pytest.raises(ClientClosed):
                staying.result(30)
    assert koodrive_emulator.locks() == ()


def test_a_client_may_be_closed_twice_and_by_two_threads(open_client):
    before = set(threading.enumerate())
    client = open_client()
    client.close()  # that was not entered: nothing happens
    with client as drive:
        drive.devices.list()
        with ThreadPoolExecutor(2) as pool:
            for closing in [pool.submit(drive.close) for _ in range(2)]:
                closing.result(30)
        drive.close()
    assert threads_since(before) == set()
