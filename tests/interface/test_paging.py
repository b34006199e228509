"""Pagers: everything in order, one page ahead, nothing left behind, resumable."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koodrive_async import Page, Pager, PagingError, RetryPolicy, ServerFault
from koodrive_async.emulator import Fault
from tests.interface.scripted import after, answer, client_of

pytestmark = pytest.mark.anyio


class Listing:
    """Pages of items; the cursor of a page is its number. Counts what is fetched."""

    def __init__(self, *pages, errors=()):
        self.pages = [tuple(page) for page in pages]
        self.errors = dict(errors)
        self.fetched = []
        self.ended = []

    @property
    def items(self):
        return [item for page in self.pages for item in page]

    async def __call__(self, cursor):
        number = int(cursor or 0)
        self.fetched.append(number)
        await asyncio.sleep(0)
        if number in self.errors:
            raise self.errors[number]
        self.ended.append(number)
        more = number + 1 < len(self.pages)
        return Page(self.pages[number], str(number + 1) if more else None)

    def pager(self, cursor=None):
        return Pager(self, cursor=cursor)


class Held(Listing):
    """Its pages from the second on come when the test lets them."""

    def __init__(self, *pages, errors=()):
        super().__init__(*pages, errors=errors)
        self.asked = asyncio.Event()
        self.let = asyncio.Event()
        self.cancelled = 0

    async def __call__(self, cursor):
        if cursor is not None:
            self.asked.set()
            try:
                await self.let.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return await super().__call__(cursor)


async def a_few_turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


async def take(listing, got):
    """Put what comes into ``got``, where it stays when the listing fails."""
    async for one in listing:
        got.append(one)
        await a_few_turns()


# --- order and repetition ----------------------------------------------------------------------


async def test_all_items_come_in_order():
    listing = Listing("ab", "c", "def")
    assert [item async for item in listing.pager()] == list("abcdef")
    assert listing.fetched == [0, 1, 2]


async def test_all_pages_come_in_order_the_empty_ones_too():
    listing = Listing("ab", "", "c")
    pages = [page async for page in listing.pager().pages()]
    assert [page.items for page in pages] == [("a", "b"), (), ("c",)]
    assert [page.next_cursor for page in pages] == ["1", "2", None]


async def test_a_pager_can_be_iterated_again_from_its_start():
    for start in (None, "1"):
        pager = Listing("ab", "c", "d").pager(start)
        first = [item async for item in pager]
        assert [item async for item in pager] == first
        assert await pager.collect() == first
        assert [item async for page in pager.pages() for item in page] == first


async def test_two_iterations_at_a_time_do_not_mix():
    pager = Listing("ab", "cd", "e").pager()
    pairs = []
    async for one in pager:
        pairs += [(one, other) async for other in pager]
    assert pairs == [(one, other) for one in "abcde" for other in "abcde"]


async def test_an_empty_page_with_a_cursor_is_not_the_end():
    assert await Listing("", "", "a", "", "b").pager().collect() == ["a", "b"]
    assert [item async for item in Listing("", "a", "").pager()] == ["a"]


async def test_a_listing_of_nothing_ends():
    assert [item async for item in Listing("").pager()] == []


def test_a_page_is_a_sequence_of_its_items_and_never_false():
    page = Page(("a", "b"), "1")
    assert (len(page), list(page), bool(page)) == (2, ["a", "b"], True)
    assert bool(Page(()))
    assert Page(("a",), "1") == Page(("a",), "1")


@pytest.mark.parametrize("end", [{}, {"nextCursor": None}, {"nextCursor": ""}])
async def test_a_missing_null_or_empty_cursor_is_the_end(client, scripted, end):
    scripted.replies({"data": [{"recordId": "1"}], "code": 0, **end})
    assert len(await client.records.list("100").collect()) == 1
    assert len(scripted.requests) == 1


async def test_a_cursor_is_sent_back_as_it_came(client, scripted):
    cursor = "a b/+=~&é%2F"
    scripted.replies({"data": [], "code": 0, "nextCursor": cursor}, {"data": [], "code": 0})
    await client.files.list("1", page_size=3).collect()
    assert scripted.requests[1].parameters == {"pageSize": "3", "cursor": cursor}


async def test_a_cursor_that_is_a_number_is_sent_back(client, scripted):
    scripted.replies({"data": [], "code": 0, "nextCursor": 17}, {"data": [], "code": 0})
    await client.files.list("1").collect()
    assert scripted.requests[1].parameters["cursor"] == "17"


async def test_nothing_is_sent_before_the_first_iteration(client, scripted):
    pager = client.records.list("100")
    aiter(pager)
    pager.pages()
    await a_few_turns()
    assert scripted.requests == []


# --- circles -----------------------------------------------------------------------------------


async def circle(cursor):
    return Page(("a",), {None: "1", "1": "2", "2": "1"}[cursor])


@pytest.mark.parametrize("way", ["items", "pages", "collect"])
async def test_a_cursor_that_comes_twice_ends_the_listing(way):
    pager = Pager(circle)
    got: list[object] = []
    walk = {
        "items": lambda: take(pager, got),
        "pages": lambda: take(pager.pages(), got),
        "collect": pager.collect,
    }[way]
    with pytest.raises(PagingError, match="'1'"):
        await walk()
    assert len(got) == (0 if way == "collect" else 3)


async def test_a_cursor_that_is_its_own_next_one_ends_the_listing(client, scripted):
    scripted.otherwise = lambda _: answer({"data": [], "code": 0, "nextCursor": "x"})
    with pytest.raises(PagingError):
        await client.records.list("100", cursor="x").collect()
    assert len(scripted.requests) == 1


# --- where to go on ----------------------------------------------------------------------------


async def test_the_cursor_tells_where_to_go_on_after_whole_pages():
    listing = Listing("ab", "cd", "e")
    pager = listing.pager()
    seen = []
    async for page in pager.pages():
        seen += page.items
        if page.next_cursor is not None:
            assert seen + await listing.pager(pager.cursor).collect() == list("abcde")
    assert pager.cursor is None


async def test_nothing_is_lost_when_a_page_is_left_in_its_middle():
    listing = Listing("ab", "", "cd", "ef")
    for stop in range(1, 6):
        pager = listing.pager()
        seen = []
        async for item in pager:
            seen.append(item)
            if len(seen) == stop:
                break
        rest = await listing.pager(pager.cursor).collect()
        assert set(seen) | set(rest) == set("abcdef")
        # no more than the page that was left comes again
        assert len(set(seen) & set(rest)) <= 1


async def test_the_cursor_begins_where_the_listing_begins():
    pager = Listing("ab", "c").pager("1")
    assert pager.cursor == "1"
    await pager.collect()
    assert pager.cursor is None
    pager = Listing("ab", "cd").pager("1")
    await pager.collect()
    await pager.first()
    assert pager.cursor == "1"


async def test_the_cursor_stays_at_a_page_that_failed():
    listing = Listing("ab", "cd", "e", errors={2: OSError("gone")})
    pager = listing.pager()
    with pytest.raises(OSError, match="gone"):
        await pager.collect()
    assert pager.cursor == "2"
    listing.errors.clear()
    assert await listing.pager(pager.cursor).collect() == ["e"]


async def test_a_page_that_failed_can_be_asked_for_again():
    listing = Listing("ab", "cd", errors={1: OSError("gone")})
    iterator = aiter(listing.pager())
    assert [await anext(iterator), await anext(iterator)] == ["a", "b"]
    with pytest.raises(OSError, match="gone"):
        await anext(iterator)
    listing.errors.clear()
    assert [item async for item in iterator] == ["c", "d"]


# --- one page ahead ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["items", "pages"])
async def test_the_next_page_is_on_its_way_while_one_is_worked_on(way):
    listing = Held("ab", "cd")
    pager = listing.pager()
    got = []
    async for one in pager.pages() if way == "pages" else pager:
        got.append(one)
        # the caller holds the first item or page: the next page is asked for meanwhile
        await listing.asked.wait()
        listing.let.set()
    assert len(got) == (2 if way == "pages" else 4)


async def test_the_next_page_travels_while_one_is_worked_on(client, scripted):
    one = {"data": [{"recordId": "1"}], "code": 0}
    let = asyncio.Event()
    scripted.replies({**one, "nextCursor": "x"}, after(let, answer(one)))
    got = []
    async for record in client.records.list("100"):
        got.append(record)
        while len(scripted.requests) < 2:
            scripted.arrived.clear()
            await scripted.arrived.wait()
        let.set()
    assert len(got) == 2


async def test_no_more_than_one_page_is_fetched_ahead():
    listing = Listing("ab", "cd", "ef", "gh")
    async for _ in listing.pager():
        await a_few_turns(5)
        assert listing.fetched == [0, 1]
        break


async def test_an_error_ahead_comes_after_the_items_before_it():
    listing = Listing("ab", "c", errors={1: OSError("gone")})
    got: list[str] = []
    with pytest.raises(OSError, match="gone"):
        await take(listing.pager(), got)
    assert got == ["a", "b"]


async def test_an_error_ahead_that_nobody_comes_for_is_not_heard_of():
    heard = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    listing = Listing("ab", "c", errors={1: OSError("gone")})
    async for _ in listing.pager():
        await a_few_turns()
        break
    await a_few_turns()
    gc.collect()
    assert listing.fetched == [0, 1]
    assert heard == []


async def test_an_error_of_the_service_ahead_comes_at_its_moment(drive, koodrive_emulator):
    device = await drive.devices.bind("m")
    lock = await drive.locks.create("100")
    for _ in range(4):
        await drive.records.create(device.device_id, "100", lock_id=lock.lock_id)
    koodrive_emulator.faults.add(Fault("error", "records.list", status=503, after=1))
    got: list[object] = []
    with pytest.raises(ServerFault):
        await take(drive.records.list("100", page_size=2), got)
    assert len(got) == 2
    attempts = RetryPolicy().attempts
    assert koodrive_emulator.seen.count("records.list") == 1 + attempts


# --- leaving -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["items", "pages"])
async def test_leaving_a_loop_leaves_no_task(way):
    before = asyncio.all_tasks()
    listing = Held("ab", "cd")
    pager = listing.pager()
    async for _ in pager.pages() if way == "pages" else pager:
        await listing.asked.wait()
        assert len(asyncio.all_tasks() - before) == 1
        break
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert listing.cancelled == 1


async def test_an_exception_in_the_loop_leaves_no_task():
    before = asyncio.all_tasks()
    listing = Held("ab", "cd")

    async def work():
        async for _ in listing.pager():
            await listing.asked.wait()
            raise LookupError

    with pytest.raises(LookupError):
        await work()
    gc.collect()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("way", ["items", "pages"])
async def test_closing_an_iteration_ends_it(way):
    before = asyncio.all_tasks()
    listing = Held("ab", "cd")
    pager = listing.pager()
    iterator = pager.pages() if way == "pages" else aiter(pager)
    async with aclosing(iterator):
        await anext(iterator)
        await listing.asked.wait()
    assert asyncio.all_tasks() == before
    with pytest.raises(StopAsyncIteration):
        await anext(iterator)
    await iterator.aclose()


async def test_cancelling_a_caller_who_waits_for_a_page_leaves_no_task():
    listing = Held("a", "b")

    async def work():
        return [item async for item in listing.pager()]

    before = asyncio.all_tasks()
    task = asyncio.create_task(work())
    await listing.asked.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert asyncio.all_tasks() == before
    assert listing.cancelled == 1


async def test_leaving_a_loop_over_the_service_leaves_no_task_and_no_warning(scripted):
    before = asyncio.all_tasks()
    let = asyncio.Event()
    page = {"data": [{"recordId": "1"}], "code": 0, "nextCursor": "x"}
    scripted.replies(page, after(let, answer(page)))
    async with client_of(scripted) as client:
        async for _ in client.records.list("100"):
            while len(scripted.requests) < 2:
                scripted.arrived.clear()
                await scripted.arrived.wait()
            break
        await a_few_turns()
        left = [task for task in asyncio.all_tasks() - before if "_outcome" in repr(task)]
        assert left == []
    gc.collect()


# --- no page too many --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "fetched"), [(0, []), (1, [0]), (2, [0]), (3, [0, 1]), (4, [0, 1, 2]), (5, [0, 1, 2])]
)
async def test_collecting_some_fetches_no_page_too_many(limit, fetched):
    listing = Listing("ab", "c", "def", "g")
    assert await listing.pager().collect(limit) == list("abcdefg")[:limit]
    await a_few_turns()
    assert listing.fetched == fetched


async def test_collecting_fetches_ahead():
    listing = Held("ab", "cd", "ef")
    listing.let.set()
    assert await listing.pager().collect() == list("abcdef")
    assert listing.fetched == [0, 1, 2]


async def test_the_first_item_costs_one_page():
    listing = Listing("ab", "c")
    assert await listing.pager().first() == "a"
    await a_few_turns()
    assert listing.fetched == [0]


async def test_the_first_item_may_be_behind_empty_pages():
    assert await Listing("", "", "a", "b").pager().first() == "a"


async def test_there_may_be_no_first_item():
    assert await Listing("", "").pager().first() is None


async def test_collecting_a_negative_number_is_refused():
    listing = Listing("ab")
    with pytest.raises(ValueError, match="-1"):
        await listing.pager().collect(-1)
    assert listing.fetched == []


# --- any layout --------------------------------------------------------------------------------

layouts = st.lists(st.lists(st.integers(), max_size=4), min_size=1, max_size=8)


@settings(deadline=None)
@given(layouts, st.integers(0, 40))
async def test_any_layout_of_pages_comes_whole_and_resumes_whole(pages, stop):
    listing = Listing(*pages)
    assert [item async for item in listing.pager()] == listing.items
    assert [page.items async for page in listing.pager().pages()] == listing.pages
    assert await listing.pager().collect() == listing.items
    assert await listing.pager().first() == (listing.items[0] if listing.items else None)

    pager, seen = listing.pager(), []
    async for item in pager:
        seen.append(item)
        if len(seen) >= stop:
            break
    assert seen == listing.items[: max(stop, 1)]
    if pager.cursor is not None:
        rest = await listing.pager(pager.cursor).collect()
        assert len(seen) + len(rest) >= len(listing.items)
        assert rest == listing.items[len(listing.items) - len(rest) :]


@settings(deadline=None)
@given(layouts, st.integers(0, 40))
async def test_any_limit_fetches_what_it_needs_and_no_more(pages, limit):
    listing = Listing(*pages)
    pager = listing.pager()
    assert await pager.collect(limit) == listing.items[:limit]
    await a_few_turns()
    needed, count = 0, 0
    while needed < len(pages) and count < limit:
        count += len(pages[needed])
        needed += 1
    assert listing.fetched == list(range(needed))


# --- several tasks over one iterator -----------------------------------------------------------


def iterator_of(pager, way):
    return pager.pages() if way == "pages" else aiter(pager)


def flat(shares, way):
    """Return the items of what several tasks have got."""
    got = [one for share in shares for one in share]
    return [item for page in got for item in page] if way == "pages" else got


async def go_over(iterator):
    return [one async for one in iterator]


@pytest.mark.parametrize("way", ["items", "pages"])
@pytest.mark.parametrize("tasks", [2, 10])
@pytest.mark.parametrize("pages", [["a", "b", "c", "d"], ["abc", "", "de", "f", ""], [""]])
async def test_tasks_that_share_an_iterator_get_each_item_once_and_all_end(way, tasks, pages):
    listing = Listing(*pages)
    iterator = iterator_of(listing.pager(), way)
    shares = await asyncio.gather(*[go_over(iterator) for _ in range(tasks)])
    assert sorted(flat(shares, way)) == sorted(listing.items)
    assert listing.fetched == list(range(len(pages)))


@pytest.mark.parametrize("way", ["items", "pages"])
async def test_tasks_that_take_their_time_leave_each_other_the_rest_of_a_page(way):
    listing = Listing("abc", "", "defg", "h")
    iterator = iterator_of(listing.pager(), way)

    async def go_over_slowly():
        got = []
        async for one in iterator:
            got.append(one)
            await a_few_turns()
        return got

    shares = await asyncio.gather(*[go_over_slowly() for _ in range(3)])
    assert sorted(flat(shares, way)) == listing.items
    assert listing.fetched == [0, 1, 2, 3]


@pytest.mark.parametrize("way", ["items", "pages"])
async def test_one_of_several_tasks_that_is_cancelled_loses_nothing(way):
    listing = Held("a", "b", "c")
    pager = listing.pager()
    iterator = iterator_of(pager, way)
    first = await anext(iterator)
    tasks = [asyncio.create_task(go_over(iterator)) for _ in range(3)]
    await listing.asked.wait()
    await a_few_turns()
    tasks[0].cancel()  # it waits for the page, the others for their turn
    await asyncio.wait([tasks[0]])
    listing.let.set()
    shares = await asyncio.gather(*tasks[1:])
    assert sorted(flat([[first], *shares], way)) == listing.items
    assert pager.cursor is None


@pytest.mark.parametrize("way", ["items", "pages"])
async def test_an_error_reaches_one_of_several_tasks_and_the_page_is_asked_for_again(way):
    listing = Listing("a", "b", "c", errors={1: LookupError("once")})
    iterator = iterator_of(listing.pager(), way)

    async def go_over_and_mend():
        got: list[object] = []
        try:
            await take(iterator, got)
        except LookupError:
            listing.errors.clear()
            got.append(None)
        return got

    shares = await asyncio.gather(*[go_over_and_mend() for _ in range(3)])
    assert [one for share in shares for one in share].count(None) == 1
    got = [[one for one in share if one is not None] for share in shares]
    assert sorted(flat(got, way)) == listing.items


@pytest.mark.parametrize("way", ["items", "pages"])
async def test_an_error_that_lasts_reaches_each_of_several_tasks(way):
    listing = Listing("a", "b", errors={1: LookupError("always")})
    iterator = iterator_of(listing.pager(), way)
    ends = await asyncio.gather(*[go_over(iterator) for _ in range(3)], return_exceptions=True)
    assert [type(end) for end in ends] == [LookupError] * 3


@pytest.mark.parametrize("way", ["items", "pages"])
async def test_closing_an_iterator_ends_the_loops_of_other_tasks(way):
    listing = Held("a", "b", "c")
    iterator = iterator_of(listing.pager(), way)
    await anext(iterator)
    tasks = [asyncio.create_task(go_over(iterator)) for _ in range(2)]
    await listing.asked.wait()
    await a_few_turns()
    await iterator.aclose()
    assert await asyncio.gather(*tasks) == [[], []]
    assert listing.cancelled == 1
    listing.let.set()
    assert await go_over(iterator) == []


async def test_tasks_share_an_iterator_over_the_service(client, scripted):
    pages = [
        {"data": [{"recordId": f"{number}"}], "code": 0, "nextCursor": f"{number + 1}"}
        for number in range(20)
    ]
    scripted.replies(*pages, {"data": [], "code": 0})
    records = aiter(client.records.list("100"))
    shares = await asyncio.gather(*[go_over(records) for _ in range(4)])
    ids = sorted(int(record.record_id) for share in shares for record in share)
    assert ids == list(range(20))
