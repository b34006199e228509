"""Sending the parts of one file: which, with which URLs, how often, and what is said of each."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from koodrive_async import DeadlineExceeded, PartRejected, RetryPolicy, SourceChanged
from tests.upload.small_upload import file_of, lost, rejected
from tests.upload.test_urls import Service

pytestmark = pytest.mark.anyio


# --- what is sent, and what is said of it ------------------------------------------------------


async def test_each_part_is_sent_and_told_with_its_etag():
    async with file_of(5) as file:
        await file.upload.run()
    assert sorted(file.arrived) == [(number, f'"{number}"') for number in range(1, 6)]
    assert file.upload.retries == 0
    assert file.service.asked == []


async def test_parts_that_are_there_are_not_sent_again():
    given = {1: '"of an earlier run"', 3: None}
    async with file_of(4, arrived=given, given=[]) as file:
        await file.upload.run()
    assert sorted(number for number, _ in file.store.puts) == [2, 4]
    assert sorted(file.arrived) == [(2, '"2"'), (4, '"4"')]
    assert file.service.asked == [[2, 4]]
    assert given == {1: '"of an earlier run"', 3: None}


async def test_nothing_is_sent_when_all_is_there():
    async with file_of(2, arrived={1: None, 2: None}) as file:
        await file.upload.run()
    assert file.store.puts == []


async def test_a_part_is_told_of_when_its_connection_is_free_again():
    async def look(_part, _etag):
        taken.append(file.means.connections.taken)
        await anyio.lowlevel.checkpoint()

    taken: list[int] = []
    async with file_of(3, connections=1, on_acknowledged=look) as file:
        await file.upload.run()
    assert len(taken) == 3
    assert 0 in taken
    assert max(taken) <= 1


async def test_what_cannot_be_told_ends_the_file():
    async def fail(_part, _etag):
        raise SourceChanged("film.mkv", "the disk is full")

    async with file_of(30, on_acknowledged=fail) as file:
        with pytest.raises(SourceChanged, match="disk is full"):
            await file.upload.run()
    assert len(file.store.puts) < 30


@pytest.mark.parametrize("verify", [True, False])
async def test_parts_are_proved_when_that_is_wanted(verify):
    async with file_of(2, connections=1, verify=verify) as file:
        await file.upload.run()
    numbers = [chain and chain.part.number for chain in file.store.chains]
    assert numbers == ([1, 2] if verify else [None, None])


# --- attempts ----------------------------------------------------------------------------------


async def test_a_part_that_fails_in_passing_is_sent_again_and_the_others_once():
    async with file_of(3) as file:
        file.store.errors = {2: [rejected(), lost()]}
        await file.upload.run()
    assert sorted(number for number, _ in file.store.puts) == [1, 2, 2, 2, 3]
    assert file.upload.retries == 2
    assert sorted(number for number, _ in file.arrived) == [1, 2, 3]


async def test_a_part_that_is_given_up_says_what_was_tried():
    async with file_of(1, retry=RetryPolicy(attempts=3, base_delay=0, outage=0)) as file:
        file.store.errors = {1: [rejected(503), lost(), rejected(500)]}
        with pytest.raises(PartRejected, match=r"3 attempts.*RetryPolicy\.attempts") as error:
            await file.upload.run()
    assert error.value.attempts == 3
    assert [attempt.error for attempt in error.value.history] == [str(rejected(503)), str(lost())]


async def test_a_part_that_fails_for_good_cancels_the_others():
    async def send(part, *_):
        if part.number == 1:
            raise rejected(400)
        await anyio.sleep_forever()

    async with file_of(4) as file:
        file.store.send = send
        with pytest.raises(PartRejected, match="HTTP 400"):
            await file.upload.run()


async def test_what_failed_together_does_not_come_back_together():
    policy = RetryPolicy(base_delay=0, per_second=2.0, outage=0)
    async with file_of(30, connections=30, retry=policy) as file:
        file.store.errors = {number: [lost()] for number in range(1, 31)}
        await file.upload.run()
        waits = sorted(seconds for seconds in file.means.clock.slept if seconds > 0.4)
    assert file.upload.retries == 30
    assert len(waits) >= 15  # ten may go at once, and each success lets another one go
    assert waits[-1] > 5


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (rejected(429), True),
        (rejected(503), True),
        (rejected(400, code="SlowDown"), True),
        (lost(), True),
        (DeadlineExceeded("it stalled", method="PUT", path="part 1"), True),
        (rejected(500), False),
        (rejected(403), False),
    ],
)
async def test_an_overload_is_told_to_who_chooses_the_number_of_connections(
    monkeypatch, error, counts
):
    told: list[float] = []
    async with file_of(1) as file:
        monkeypatch.setattr(
            type(file.means.limit), "overloaded", lambda _, began, _now: told.append(began)
        )
        file.store.errors = {1: [error]}
        await file.upload.run()
    assert len(told) == counts


# --- URLs --------------------------------------------------------------------------------------


async def test_a_refused_url_is_replaced_once_and_at_once():
    async with file_of(1) as file:
        file.store.errors = {1: [rejected(403)]}
        await file.upload.run()
    (_, first), (_, second) = file.store.puts
    assert first != second
    assert file.means.clock.slept == []
    assert file.service.asked == [[1]]
    assert file.upload.retries == 1


async def test_a_url_that_is_refused_twice_in_a_row_ends_the_file():
    async with file_of(1) as file:
        file.store.errors = {1: [rejected(403), rejected(403)]}
        with pytest.raises(PartRejected, match=r"HTTP 403.*2 attempts") as error:
            await file.upload.run()
    assert [attempt.error for attempt in error.value.history] == [str(rejected(403))]
    assert file.service.asked == [[1]]


async def test_a_url_that_expires_during_an_outage_is_replaced_again():
    async with file_of(1) as file:
        file.store.errors = {1: [rejected(403), rejected(503), rejected(403), lost()]}
        await file.upload.run()
    assert file.upload.retries == 4
    assert len(file.service.asked) == 2


async def test_refused_urls_end_with_the_attempts():
    async with file_of(1, retry=RetryPolicy(attempts=5, base_delay=0, outage=0)) as file:
        file.store.errors = {1: [rejected(403), rejected(503)] * 10}
        with pytest.raises(PartRejected):
            await file.upload.run()
    assert len(file.store.puts) <= 6


@pytest.mark.parametrize("connections", [1, 4, 16])
@pytest.mark.parametrize("given", [None, []])
async def test_urls_of_two_seconds_carry_a_file_of_two_hundred_parts(connections, given):
    async with file_of(200, connections=connections, life=2, seconds=0.1, given=given) as file:
        await file.upload.run()
    assert file.store.refusals == 0
    assert file.upload.retries == 0
    assert len(file.arrived) == 200
    assert len(file.service.asked) <= 200 * 0.1 / 0.7 + 2  # and not one for each part
    assert max(map(len, file.service.asked)) == 100


async def test_nobody_is_kept_from_a_connection_by_who_asks_for_a_url():
    async with file_of(1, connections=1, given=[]) as file, anyio.create_task_group() as group:
        file.service.on_its_way = anyio.Event()
        group.start_soon(file.upload.run)
        await anyio.wait_all_tasks_blocked()
        assert file.service.asked == [[1]]
        async with file.means.connections.slot(object()):
            pass
        file.service.on_its_way.set()


async def test_a_url_that_is_over_as_it_comes_is_fetched_with_the_connection_kept_at_last():
    async with file_of(1, connections=1, given=[]) as file:

        async def take_too_long(_file_id, parts):
            taken.append(file.means.connections.taken)
            answer = file.service.answer([part.part_number for part in parts])
            file.service.clock.now += 1000
            return answer

        taken: list[int] = []
        file.service.part_urls = take_too_long
        file.store.service = Service(file.service.clock)  # it has none against these
        await file.upload.run()
    assert taken == [0, 0, 1]
    assert file.upload.retries == 0
