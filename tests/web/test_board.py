from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from examples.web_service.board import UPLOADS_KEPT, Board, Status, Upload

pytestmark = pytest.mark.anyio


@pytest.fixture
def board():
    return Board(Status(max_bytes=1000))


def added(board, number=1, **state):
    upload = Upload(id=f"{number}", name=f"{number}.txt", size=10)
    board.add(upload)
    board.set(upload, **state)
    return upload


async def all_of(changes):
    return [(change.data.get("name"), change.data.get("state")) async for change in changes]


async def test_who_comes_later_is_told_all_there_is(board):
    added(board, 1, state="done")
    added(board, 2, state="hashing")
    board.close()
    assert await all_of(board.changes()) == [(None, None), ("1.txt", "done"), ("2.txt", "hashing")]


async def test_who_comes_back_is_told_what_is_new(board):
    first = added(board, 1)
    async with aclosing(board.changes()) as changes:
        known = [await anext(changes) for _ in range(2)][-1]
    added(board, 2)
    board.set(first, state="done")
    board.close()
    assert await all_of(board.changes(known.id)) == [("2.txt", "waiting"), ("1.txt", "done")]


@pytest.mark.parametrize("unknown", ["", "-", "5", "other-1", "1-x", "é-¹"])
async def test_an_id_of_another_run_counts_for_nothing(board, unknown):
    added(board)
    board.close()
    assert len(await all_of(board.changes(unknown))) == 2


async def test_who_is_slow_hears_the_newest_and_not_what_lay_between(board):
    upload = added(board)
    async with aclosing(board.changes()) as changes:
        assert (await anext(changes)).kind == "status"
        for received in range(1000):
            board.set(upload, received=received)
        board.close()
        told = [change.data["received"] async for change in changes]
    assert told == [0, 999]


async def test_all_who_watch_hear_of_a_change_and_of_the_end(board):
    watching = [asyncio.ensure_future(all_of(board.changes())) for _ in range(3)]
    async with aclosing(board.changes()) as changes:
        await anext(changes)
        added(board, 1, state="done")
        assert (await anext(changes)).data["name"] == "1.txt"
    board.close()
    assert [told[-1] for told in await asyncio.gather(*watching)] == [("1.txt", "done")] * 3


async def test_what_has_ended_stays_as_it_is(board):
    upload = added(board, 1, state="failed", error="too large")
    board.set(upload, state="hashing")
    assert upload.state == "failed"


async def test_an_id_is_used_once(board):
    added(board)
    with pytest.raises(ValueError, match="with this id already"):
        added(board)


async def test_old_uploads_are_forgotten_but_not_those_on_their_way(board):
    for number in range(UPLOADS_KEPT + 50):
        added(board, number, state="sending" if number == 3 else "done")
    board.close()
    names = [name for name, _ in await all_of(board.changes())]
    assert len(names) <= UPLOADS_KEPT + 3
    assert "3.txt" in names
    assert "4.txt" not in names
