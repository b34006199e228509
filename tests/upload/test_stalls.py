"""A part that moves is never given up, however slowly, and one that does not is, with a reason."""

from __future__ import annotations

import math
import re
import select
import socket
import sys
from contextlib import suppress
from types import SimpleNamespace

import anyio
import pytest

from koodrive_async import DeadlineExceeded, Timeouts
from koodrive_async.pace import Pace
from koodrive_async.upload import connection as connection_module
from koodrive_async.upload import sockets
from koodrive_async.upload.connection import StoreConnection
from koodrive_async.upload.plan import PlannedPart
from koodrive_async.upload.sockets import PatientSocket
from koodrive_async.upload.source import BytesContent
from koodrive_async.upload.stalls import LEAST, StallError, StallWatch, StandstillError
from tests.upload.raw_server import LARGE, MIB, OK, open_lane, put, serving, silent

WINDOW = 60.0
KIB = 1024
HEAD = b"PUT / HTTP/1.1\r\n\r\n"
ITS_BUFFER = 128 * KIB
"""What the other side takes before somebody reads there, or twice that."""

BRIEFLY = 0.08
"""A window so short that the tests need not be long; nothing depends on how long it takes."""

only_where_queues_are_told = pytest.mark.skipif(
    sys.platform != "linux", reason="this system does not tell what the other side has taken"
)


# --- the watch ---------------------------------------------------------------------------------


class Link:
    """A watched part on a link of which a test says what it takes, second by second."""

    def __init__(self, size=MIB, window=WINDOW):
        self.queue = 0
        self.watch = StallWatch(size, window, lambda: self.queue)
        self.watch.taken = self.queue = size

    def seconds_of(self, bytes_taken, into_the_buffer=0):
        """Let it take so many bytes a second until it is given up; return when that was."""
        for seconds in range(1, 1000):
            self.queue += into_the_buffer
            self.watch.taken += into_the_buffer
            try:
                self.second(bytes_taken)
            except StandstillError as error:
                self.stall = str(error)
                return seconds
        raise AssertionError("it was never given up")

    def second(self, bytes_taken):
        self.queue -= bytes_taken
        self.watch.waited(1.0)


def test_a_kibibyte_in_a_window_is_enough():
    link = Link()
    for second in range(20 * int(WINDOW)):
        link.second(LEAST if second % WINDOW == 0 else 0)


@pytest.mark.parametrize("bytes_taken", [0, 1, 10])
def test_a_trickle_is_a_stall(bytes_taken):
    link = Link()
    assert link.seconds_of(bytes_taken) < 2 * WINDOW


def test_a_stall_is_noticed_an_eighth_of_a_window_late_at_the_latest():
    link = Link()
    for _ in range(100):
        link.second(5 * KIB)
    assert WINDOW <= link.seconds_of(0) <= WINDOW * 9 / 8 + 1


def test_what_fills_a_buffer_has_not_moved():
    link = Link()
    assert link.seconds_of(0, into_the_buffer=MIB) < 2 * WINDOW


def test_a_stall_tells_how_far_it_got_and_what_to_change():
    link = Link(size=3_000_000)
    for _ in range(40):
        link.second(10_000)
    link.seconds_of(3)
    text = link.stall
    assert re.match(r"it stalled: 400,\d\d\d of", text)
    assert re.search(r"1?\d\d of them in the last 6\d s", text)
    assert "of 3,000,000 bytes went in" in text
    for setting in ("Timeouts.stall is 60 s", "Limits.connections", "Limits.bandwidth", "link"):
        assert setting in text


def test_a_window_may_be_without_end():
    link = Link(window=math.inf)
    for _ in range(1000):
        link.second(0)


# --- on a socket -------------------------------------------------------------------------------


class Peer:
    """The other side of a connection, which acts whenever ours looks whether something moves.

    :param a_look: Seconds that a look counts for, however long it took; None for those it took.
    :ivar waited_for: Seconds that our side has waited for this one.
    """

    def __init__(self, monkeypatch, act, a_look=None):
        peer = self

        class Acting(StallWatch):
            def waited(self, seconds):
                counted = seconds if a_look is None else a_look
                peer.waited_for += counted
                act(peer)
                super().waited(counted)

        monkeypatch.setattr(connection_module, "StallWatch", Acting)
        self.waited_for = 0.0
        self.received = 0
        self.answered = False
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ITS_BUFFER)
            ours = socket.create_connection(listener.getsockname())
            self.socket, _ = listener.accept()
        self.socket.setblocking(False)
        self.ours = PatientSocket(ours, None, "127.0.0.1")

    def read(self, size):
        with suppress(BlockingIOError):
            self.received += len(self.socket.recv(size))

    def read_on(self, size, until):
        """Read until our side sees it, and answer when the rest of the body fits into our buffer.

        The system may tell our side late: after some reads, and on a busy machine after some time.
        """
        queued = self.ours.queued()
        self.read(size)
        while queued and queued - self.ours.queued() < LEAST:
            select.select([self.socket], [], [], 0.01)
            self.read(size)
        if not self.answered and self.received >= until - 4 * ITS_BUFFER:
            self.answered = True
            self.socket.send(OK)

    def put(self, size, pace=None, stall=BRIEFLY, answer=BRIEFLY / 4, body=BytesContent):
        connection = StoreConnection(self.ours, Timeouts(stall=stall, answer=answer), pace)
        return connection.put(HEAD, body(memoryview(bytes(size))), 0, size)

    def close(self):
        self.socket.close()
        self.ours.close()


@pytest.fixture
def peer_that(monkeypatch):
    peers = []

    def make(act, a_look=None):
        peers.append(Peer(monkeypatch, act, a_look))
        return peers[-1]

    yield make
    for peer in peers:
        peer.close()


@only_where_queues_are_told
def test_the_end_of_a_part_in_a_slow_links_buffer_is_not_given_up(peer_that):
    size = 2 * MIB  # all of it is taken by our buffer
    peer = peer_that(lambda peer: peer.read_on(16 * KIB, size), a_look=BRIEFLY / 2)
    assert peer.put(size).status == 200
    assert peer.waited_for > 2 * BRIEFLY + BRIEFLY / 4


@only_where_queues_are_told
def test_the_end_of_a_part_in_the_buffer_to_a_dead_peer_is_given_up(peer_that):
    peer = peer_that(lambda _: None)
    with pytest.raises(StandstillError, match="stalled"):
        peer.put(4 * MIB, answer=3600)


def test_a_part_that_is_taken_slowly_is_not_given_up(peer_that):
    peer = peer_that(lambda peer: peer.read_on(ITS_BUFFER, 4 * MIB), a_look=BRIEFLY / 2)
    assert peer.put(4 * MIB).status == 200
    assert peer.waited_for > 2 * BRIEFLY


@pytest.mark.parametrize("at_once", [0, 1])
def test_a_part_that_nobody_takes_is_given_up(peer_that, at_once):
    peer = peer_that(lambda peer: peer.read(at_once) if at_once else None)
    with pytest.raises(StandstillError, match=rf"of {len(HEAD) + len(LARGE):,} bytes went in"):
        peer.put(len(LARGE))


def test_an_answer_that_does_not_come_is_no_standstill(peer_that):
    peer = peer_that(lambda peer: peer.read(MIB))
    with pytest.raises(StallError) as error:
        peer.put(MIB)
    assert not isinstance(error.value, StandstillError)


@pytest.mark.parametrize("busy", ["with the disk", "with its own pace"])
def test_what_takes_long_on_our_side_is_no_stall(peer_that, monkeypatch, busy):
    class SlowDisk(BytesContent):
        def read(self, offset, length):
            now[0] += 1000 if busy == "with the disk" else 0
            return super().read(offset, length)

    def pause(_socket, seconds):
        now[0] += seconds

    size = 8 * MIB
    now = [0.0]
    monkeypatch.setattr(sockets, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(PatientSocket, "pause", pause)
    pace = Pace(size / 1000, now=lambda: now[0]) if busy == "with its own pace" else None
    peer = peer_that(lambda peer: peer.read_on(MIB, size))
    assert peer.put(size, pace, stall=1 / 8, answer=3600, body=SlowDisk).status == 200
    assert now[0] > 900


# --- as a user sees it -------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_stalled_part_is_a_deadline_that_was_exceeded():
    async def stuck(connection):
        await connection.head()
        await anyio.sleep_forever()

    async with serving(stuck) as server, open_lane(stall=BRIEFLY) as lane:
        with pytest.raises(
            DeadlineExceeded, match=r"part 1: it stalled: .*Timeouts\.stall"
        ) as error:
            await put(lane, server.url + "/?secret", LARGE)
    assert error.value.sent
    assert "secret" not in str(error.value)


@pytest.mark.anyio
async def test_a_part_with_all_its_bytes_sent_waits_for_its_answer_only_so_long():
    async with serving(silent) as server, open_lane(stall=BRIEFLY, answer=BRIEFLY) as lane:
        with pytest.raises(DeadlineExceeded, match=r"no answer came within .*Timeouts\.answer"):
            await lane.send(PlannedPart(1, 0, 3), BytesContent(memoryview(b"abc")), server.url)
