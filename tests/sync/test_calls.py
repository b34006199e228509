"""What the asynchronous client does, called from a program that has no event loop."""

from __future__ import annotations

import contextvars
import inspect
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

import koodrive_async
from koodrive_async import (
    BackupIncomplete,
    BearerToken,
    FileFinished,
    InvalidArgument,
    LockRefused,
    Module,
    NotFound,
    Phase,
    RecordStatus,
    UploadFailure,
    UploadItem,
)
from koodrive_async.sync import Devices, KooDrive, Pager
from tests.sample import sample


def make_record(drive, device_id, files=()):
    with drive.backup(device_id, Module.FOLDER) as session:
        for number, content in enumerate(files):
            session.upload(content, name=f"{number}.bin")
    return session.record.record_id


# --- calls -------------------------------------------------------------------------------------


def test_a_call_returns_what_the_asynchronous_one_returns(drive):
    device = drive.devices.bind("machine", name="a laptop", os="linux")
    assert isinstance(device, koodrive_async.BoundDevice)
    assert drive.devices.list() == (device,)


def test_an_error_is_the_same_one(drive):
    with pytest.raises(NotFound) as caught:
        drive.records.get("1")
    assert caught.value.status == 400


def test_an_error_is_told_without_what_carried_it(drive):
    with pytest.raises(NotFound) as caught:
        drive.records.get("1")
    told = "".join(traceback.format_exception(caught.value))
    assert "resources/records.py" in told
    assert "anyio" not in told
    assert "concurrent" not in told
    assert caught.value.__context__ is None


def test_a_client_is_made_from_the_environment(koodrive_environment):
    with KooDrive.from_env() as drive:
        assert drive.devices.list() == ()
    assert isinstance(drive, KooDrive)
    assert koodrive_environment["KOODRIVE_ENDPOINT"] == drive.endpoint


def test_a_client_takes_the_parameters_of_the_asynchronous_one(koodrive_emulator):
    with KooDrive(
        koodrive_emulator.url,
        auth=koodrive_async.BearerToken(koodrive_emulator.token),
        user_id=koodrive_emulator.user_id,
        limits=koodrive_async.Limits(connections=2),
        journal=None,
    ) as drive:
        assert drive.devices.list() == ()
        assert drive.limits.connections == 2
        assert drive.journal_path is None


def test_methods_have_the_signature_and_the_docstring_of_the_asynchronous_ones():
    bind = Devices.bind
    assert bind.__doc__ == koodrive_async.resources.Devices.bind.__doc__
    assert inspect.signature(bind) == inspect.signature(koodrive_async.resources.Devices.bind)
    assert not inspect.iscoroutinefunction(inspect.unwrap(bind))
    signature = inspect.signature(KooDrive)
    assert signature == inspect.signature(koodrive_async.KooDrive)


# --- listings ----------------------------------------------------------------------------------


def test_a_listing_is_iterated_over(drive, device_id):
    records = [make_record(drive, device_id) for _ in range(3)]
    pager = drive.records.list(Module.FOLDER, page_size=2)
    assert isinstance(pager, Pager)
    assert [each.record_id for each in pager] == records[::-1]
    assert [each.record_id for each in pager] == records[::-1]
    assert [len(page) for page in pager.pages()] == [2, 1]


def test_a_listing_gives_its_first_and_all(drive, device_id):
    record_id = make_record(drive, device_id, [b"one", b"two", b"three"])
    listing = drive.files.list(record_id, page_size=1)
    first = listing.first()
    assert first is not None
    assert first in listing.collect()
    assert len(listing.collect(limit=2)) == 2
    assert listing.cursor is not None
    rest = drive.files.list(record_id, cursor=listing.cursor).collect()
    assert len(rest) == 1


def test_an_argument_that_breaks_its_rule_is_refused_at_once(drive):
    with pytest.raises(InvalidArgument):
        drive.records.list(Module.FOLDER, page_size=0)


def test_a_listing_that_is_left_tells_where_to_go_on(drive, device_id):
    record_id = make_record(drive, device_id, [b"one", b"two", b"three", b"four"])
    listing = drive.files.list(record_id, page_size=2)
    taken, cursors = [], []
    for file in listing:
        taken.append(file)
        cursors.append(listing.cursor)
        if len(taken) == 3:
            break
    assert cursors[0] is None
    assert cursors[1] == cursors[2] is not None
    rest = drive.files.list(record_id, cursor=listing.cursor).collect()
    assert taken[:2] + rest == listing.collect()


def test_threads_share_an_iterator(drive, device_id):
    record_id = make_record(drive, device_id, [b"%d" % number for number in range(40)])
    files = iter(drive.files.list(record_id, page_size=3))
    with ThreadPoolExecutor(4) as threads:
        taken = [each for part in threads.map(lambda _: list(files), range(4)) for each in part]
    assert len({file.file_id for file in taken}) == len(taken) == 40


def test_an_iterator_that_was_closed_is_over(drive, device_id):
    record_id = make_record(drive, device_id, [b"one", b"two"])
    files = iter(drive.files.list(record_id))
    next(files)
    files.close()
    assert list(files) == []


# --- sessions ----------------------------------------------------------------------------------


def test_a_file_is_uploaded(drive, device_id):
    content = sample(6_000_000)
    with drive.backup(device_id, Module.FOLDER) as session:
        receipt = session.upload(content, name="six.bin")
        assert session.lock.lock_id
        session.lock.check()
        assert session.totals.done == 1
        assert [trace.name for trace in session.traces] == ["six.bin"]
    assert receipt.size == len(content)
    assert drive.records.get(session.record.record_id).status is RecordStatus.COMPLETED


def test_sources_may_be_blocking_iterables_and_file_objects(drive, device_id, tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(sample(100_000))

    def pieces():
        yield b"one"
        yield b"two"

    with drive.backup(device_id, Module.FOLDER) as session, path.open("rb") as file:
        assert session.upload(path).size == 100_000
        assert session.upload(file, name="b").size == 100_000
        assert session.upload(pieces(), name="c").size == 6


def test_outcomes_come_as_files_finish(drive, device_id, tmp_path):
    paths = [tmp_path / f"{number}.bin" for number in range(50)]
    for number, path in enumerate(paths):
        path.write_bytes(sample(number))
    wanted = (str(path) for path in [*paths, tmp_path / "missing"])
    with drive.backup(device_id, Module.FOLDER) as session:
        outcomes = list(session.upload_many(wanted))
    failed = [each for each in outcomes if isinstance(each, UploadFailure)]
    assert len(outcomes) == 51
    assert [type(each.error) for each in failed] == [FileNotFoundError]


def test_a_folder_is_uploaded(drive, device_id, tmp_path):
    root = tmp_path / "root"
    (root / "below").mkdir(parents=True)
    (root / "below" / "a.txt").write_text("a")
    (root / "b.tmp").write_text("b")
    with drive.backup(device_id, Module.FOLDER, root=root) as session:
        outcomes = list(session.upload_tree(root, exclude=["*.tmp"]))
    assert [each.description for each in outcomes] == ["below/a.txt"]


def test_an_error_in_the_block_leaves_the_record_unfinished(drive, device_id):
    error = ValueError("mine")
    with (
        pytest.raises(ValueError, match="mine") as caught,
        drive.backup(device_id, Module.FOLDER) as session,
    ):
        raise error
    assert caught.value is error
    assert [each.name for each in traceback.extract_tb(error.__traceback__)][:1] == [
        "test_an_error_in_the_block_leaves_the_record_unfinished"
    ]
    record_id = session.record.record_id
    assert drive.records.get(record_id).status is RecordStatus.NEW
    unfinished = drive.find_unfinished(device_id, Module.FOLDER)
    assert unfinished is not None
    assert unfinished.record_id == record_id
    with drive.backup(device_id, Module.FOLDER, resume=record_id) as resumed:
        assert resumed.record.record_id == record_id


def test_a_session_that_cannot_begin_says_why(drive, device_id):
    with drive.locks.hold(Module.FOLDER) as lease:
        assert lease.expires_at > 0
        assert lease.losses == 0
        lease.check()
        with pytest.raises(LockRefused), drive.backup(device_id, Module.FOLDER):
            pass
    with drive.locks.hold(Module.FOLDER) as again:
        assert again.lock_id != lease.lock_id


def test_what_happens_in_a_session_is_told_to_another_thread(drive, device_id):
    told = []
    session = drive.backup(device_id, Module.FOLDER)
    events = session.events()
    listener = threading.Thread(target=lambda: told.extend(events))
    listener.start()
    with session:
        session.upload(b"hello", name="hello.txt")
    listener.join(10)
    assert not listener.is_alive()
    assert isinstance(told[-1], FileFinished)
    assert events.missed == 0


# --- callbacks ---------------------------------------------------------------------------------


def test_progress_is_told_in_the_thread_that_waits(drive, device_id):
    told = []

    def on_progress(progress):
        told.append((progress.phase, progress.done, threading.current_thread()))

    with drive.backup(device_id, Module.FOLDER) as session:
        session.upload(sample(3_000_000), name="three.bin", on_progress=on_progress)
    here = threading.current_thread()
    assert (Phase.HASH, 3_000_000, here) in told
    assert told[-1] == (Phase.UPLOAD, 3_000_000, here)


def test_progress_of_a_file_is_told_before_its_outcome(drive, device_id):
    told = set()
    items = [koodrive_async.UploadItem(source=sample(5), name=f"{n}.bin") for n in range(20)]
    with drive.backup(device_id, Module.FOLDER) as session:
        for outcome in session.upload_many(items, on_progress=lambda each: told.add(each.name)):
            assert outcome.name in told
    assert len(told) == 20


def test_a_callback_may_call_the_client(drive, device_id):
    found = []
    with drive.backup(device_id, Module.FOLDER) as session:
        session.upload(b"x", name="x", on_progress=lambda _: found.append(drive.devices.list()))
    assert found


def test_what_a_callback_raises_ends_the_call(drive, device_id):
    def on_progress(_):
        raise ZeroDivisionError

    with drive.backup(device_id, Module.FOLDER) as session:
        with pytest.raises(ZeroDivisionError):
            session.upload(b"x", name="x", on_progress=on_progress)
        assert session.upload(b"y", name="y").size == 1


@pytest.mark.parametrize("way", ["items", "pages"])
def test_threads_that_share_an_iterator_get_each_item_once_and_all_end(drive, device_id, way):
    with drive.backup(device_id, Module.FOLDER) as session:
        for number in range(12):
            session.upload(b"x", name=f"{number}")
    pager = drive.files.list(session.record.record_id, page_size=2)
    iterator = pager.pages() if way == "pages" else iter(pager)
    with ThreadPoolExecutor(4) as pool:
        shares = [pool.submit(list, iterator) for _ in range(4)]
        got = [one for share in shares for one in share.result(30)]
    files = [file for page in got for file in page] if way == "pages" else got
    assert sorted(file.file_name for file in files) == sorted(f"{number}" for number in range(12))


def test_threads_that_share_a_batch_get_each_outcome_once_and_all_end(drive, device_id):
    items = [UploadItem(source=b"%d" % number, name=f"{number}") for number in range(12)]
    with drive.backup(device_id, Module.FOLDER) as session:
        batch = session.upload_many(items)
        with ThreadPoolExecutor(4) as pool:
            shares = [pool.submit(list, batch) for _ in range(4)]
            got = [outcome for share in shares for outcome in share.result(30)]
    assert sorted(outcome.name for outcome in got) == sorted(f"{number}" for number in range(12))


def test_a_loop_that_was_left_early_leaves_the_record_unfinished(drive, device_id):
    items = [UploadItem(source=b"%d" % number, name=f"{number}") for number in range(12)]
    session = drive.backup(device_id, Module.FOLDER)

    def back_up():
        with session:
            for _ in session.upload_many(items):
                break

    with pytest.raises(BackupIncomplete):
        back_up()
    record_id = session.record.record_id
    assert drive.records.get(record_id).status is RecordStatus.NEW
    with drive.backup(device_id, Module.FOLDER, resume=record_id) as session:
        for _ in session.upload_many(items):
            break
        session.complete_anyway()
    assert drive.records.get(record_id).status is RecordStatus.COMPLETED


def test_what_a_user_gives_sees_the_context_of_the_call(open_client, koodrive_emulator):
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")
    seen = []

    async def token():
        seen.append(request.get())
        return koodrive_emulator.token

    def content():
        seen.append(request.get())
        yield b"abc"

    def note(_):
        seen.append(request.get())

    request.set("of this call")
    with open_client(auth=BearerToken(token)) as drive:
        device_id = drive.devices.bind("machine").device_id
        with drive.backup(device_id, Module.FOLDER) as session:
            session.upload(content(), name="x", on_progress=note)
            items = (UploadItem(source=content(), name="y") for _ in range(1))
            assert len(list(session.upload_many(items))) == 1
    assert len(seen) > 3
    assert set(seen) == {"of this call"}
