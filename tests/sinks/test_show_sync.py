"""The same for sessions of the synchronous face."""

from __future__ import annotations

import threading

import pytest

from koodrive_async import BackupIncomplete, ClientClosed, Module, sync
from koodrive_async.sinks import PlainSink, Sink, show
from koodrive_async.upload.events import FileFinished


class Noting(Sink):
    """Notes what it is told, and where it was started."""

    def __init__(self):
        self.events = []
        self.started_in = None
        self.closed_with = "nothing"

    def start(self):
        self.started_in = threading.current_thread()

    def update(self, event):
        self.events.append(event)

    def close(self, error=None):
        self.closed_with = error


@pytest.fixture
def drive(koodrive_environment):
    with sync.KooDrive.from_env(koodrive_environment, journal=None) as opened:
        yield opened


@pytest.fixture
def session(drive):
    device = drive.devices.bind("testmachine")
    with drive.backup(device.device_id, Module.FOLDER) as opened:
        yield opened


def test_it_is_entered_once(session):
    showing = show(session, Noting())
    with showing, pytest.raises(ClientClosed, match="entered once"):
        showing.__enter__()
    with pytest.raises(ClientClosed, match="entered once"):
        showing.__enter__()


def test_everything_that_happens_in_the_block_is_told(session):
    with show(session, Noting(), total=5) as sink:
        session.upload(b"first", name="first")
    session.upload(b"second", name="second")
    assert isinstance(sink.events[-1], FileFinished)
    assert sink.events[-1].totals.done == 1
    assert sink.total == 5
    assert sink.closed_with is None


def test_a_sink_starts_where_it_is_shown(session):
    with show(session, Noting()) as sink:
        pass
    assert sink.started_in is threading.current_thread()


@pytest.mark.parametrize("kind", [ZeroDivisionError, KeyboardInterrupt])
def test_a_sink_is_closed_with_what_ended_the_block(session, kind):
    sink = Noting()
    with pytest.raises(kind), show(session, sink):
        raise kind
    assert isinstance(sink.closed_with, kind)
    assert session.upload(b"first", name="first").outcome == "uploaded"


def test_it_may_be_entered_around_the_session(drive):
    session = drive.backup(drive.devices.bind("testmachine").device_id, Module.FOLDER)
    with show(session, Noting()) as sink, session:
        session.upload(b"first", name="first")
    assert isinstance(sink.events[-1], FileFinished)


def test_the_place_chooses_here_too(session, capsys):
    with show(session) as sink:
        session.upload(b"first", name="first")
    assert isinstance(sink, PlainSink)
    assert capsys.readouterr().out.startswith("uploaded\t5\t")


def test_a_loop_that_was_left_early_has_not_ended_well(drive):
    session = drive.backup(drive.devices.bind("testmachine").device_id, Module.FOLDER)
    sink = Noting()

    def back_up():
        with session, show(session, sink):
            for _ in session.upload_many([b"1", b"2", b"3"]):
                break

    with pytest.raises(BackupIncomplete):
        back_up()
    assert isinstance(sink.closed_with, BackupIncomplete)
