"""Presigned URLs are used while they are good, and replaced before they are not."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import anyio
import attrs
import pytest

from koodrive_async import MalformedResponse
from koodrive_async.models import MultiPartInfo
from koodrive_async.transport.clock import ServiceTime
from koodrive_async.upload.urls import BATCH, PartUrls
from tests.interface.scripted import FakeClock

pytestmark = pytest.mark.anyio

HOUR = 3600.0


@attrs.define(slots=False)
class Service:
    """Gives out URLs that say when they were made and how long they are good.

    :ivar asked: The parts of each request for URLs.
    :ivar ahead: Seconds that its clock is before the client's.
    :ivar made: When it made which URL, by the client's clock.
    """

    clock: FakeClock
    life: int | None = 100
    ahead: float = 0.0
    asked: list[list[int]] = attrs.Factory(list)
    withheld: set[int] = attrs.Factory(set)
    on_its_way: anyio.Event | None = None
    made: dict[str, float] = attrs.Factory(dict)

    def url(self, number):
        serial = sum(len(each) for each in self.asked)
        if self.life is None:
            return f"http://store/{number}?serial={serial}"
        made = datetime.fromtimestamp(int(self.clock.now + self.ahead), UTC)
        url = (
            f"http://store/{number}?X-Amz-Date={made:%Y%m%dT%H%M%SZ}&serial={serial}"
            f"&X-Amz-Expires={self.life}&X-Amz-Signature=secret"
        )
        self.made[url] = float(int(self.clock.now))
        return url

    def is_over(self, url):
        made = self.made.get(url)
        return made is not None and self.clock.now >= made + (self.life or 0)

    def answer(self, numbers):
        return tuple(
            MultiPartInfo(part_number=number, upload_url=self.url(number))
            for number in numbers
            if number not in self.withheld
        )

    async def part_urls(self, _file_id, parts):
        self.asked.append([part.part_number for part in parts])
        if self.on_its_way is not None:
            await self.on_its_way.wait()
        return self.answer(self.asked[-1])

    def date(self):
        return {"Date": format_datetime(datetime.fromtimestamp(self.clock.now + self.ahead, UTC))}


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def service(clock):
    return Service(clock)


@pytest.fixture
def service_time(clock):
    return ServiceTime(clock)


@pytest.fixture
def urls_of(service, service_time):
    def make(count=3, given=None, asked_at=None):
        return PartUrls(
            service,
            "file",
            tuple(MultiPartInfo(part_number=number) for number in range(1, count + 1)),
            service.answer(range(1, count + 1) if given is None else given),
            service_time=service_time,
            clock=service.clock,
            asked_at=service.clock.now if asked_at is None else asked_at,
        )

    return make


# --- how long a URL is good --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("life", "good_for"), [(2, 0.8), (100, 89), (600, 539), (900, 839), (86400, 86400 - 61)]
)
async def test_a_url_is_used_until_a_tenth_of_its_life_or_a_minute_is_left(
    clock, service, urls_of, life, good_for
):
    service.life = life
    urls = urls_of()
    assert urls.at_hand(1) is not None
    clock.now += good_for - 0.01
    assert urls.at_hand(1) is not None
    clock.now += 0.02
    assert urls.at_hand(1) is None


async def test_a_stale_url_is_replaced_without_having_been_refused(clock, service, urls_of):
    urls = urls_of()
    old = await urls.get(2)
    clock.now += 95
    new = await urls.get(2)
    assert new != old
    assert urls.at_hand(2) == new
    assert service.asked == [[2, 3]]


@pytest.mark.parametrize("ahead", [0.0, 5 * HOUR, -5 * HOUR])
@pytest.mark.parametrize("known", [True, False])
async def test_a_wrong_local_clock_makes_no_url_older_or_younger(
    clock, service, service_time, urls_of, ahead, known
):
    service.ahead = ahead
    if known:
        service_time.learn(service.date())
    urls = urls_of()
    clock.now += 88
    assert urls.at_hand(1) is not None
    clock.now += 2
    assert urls.at_hand(1) is None


async def test_a_url_that_was_made_before_it_was_asked_for_is_good_for_less(
    clock, service, service_time, urls_of
):
    made_long_ago = service.answer([1])
    clock.now += 50
    service.ahead = 2 * HOUR  # which does not matter once the service's time is known
    service_time.learn({"Date": format_datetime(datetime.fromtimestamp(clock.now, UTC))})
    urls = urls_of(1, given=[])
    service.answer = lambda _: made_long_ago
    await urls.get(1)
    clock.now += 38
    assert urls.at_hand(1) is not None
    clock.now += 3
    assert urls.at_hand(1) is None


async def test_the_time_that_asking_took_counts(clock, urls_of):
    urls = urls_of(asked_at=clock.now - 80)
    clock.now += 8.9
    assert urls.at_hand(1) is not None
    clock.now += 0.2
    assert urls.at_hand(1) is None


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?X-Amz-Expires=100",
        "?X-Amz-Date=20251231T000000Z",
        "?X-Amz-Date=20251331T000000Z&X-Amz-Expires=abc",
        "?X-Amz-Date=now&X-Amz-Expires=100",
        "?X-Amz-Date=20251231T000000Z&X-Amz-Expires=99999999999999999999",
        "?NotX-Amz-Date=20251231T000000Z&NotX-Amz-Expires=1",
        "/X-Amz-Date=20251231T000000Z&X-Amz-Expires=1",
    ],
)
async def test_a_url_without_a_date_and_a_life_is_used_until_it_is_refused(
    clock, service, urls_of, query
):
    service.url = lambda _: f"http://store/a{query}"
    urls = urls_of()
    clock.now += 1000 * HOUR
    assert urls.at_hand(1) == f"http://store/a{query}"


async def test_a_date_that_is_none_tells_no_age(clock, service, service_time, urls_of):
    service_time.learn(service.date())
    service.url = lambda _: "http://store/a?X-Amz-Date=20259999T999999Z&X-Amz-Expires=100"
    urls = urls_of()
    clock.now += 88
    assert urls.at_hand(1) is not None
    clock.now += 2
    assert urls.at_hand(1) is None


async def test_a_url_that_seems_to_be_over_as_it_comes_is_given_a_try(
    clock, service, service_time, urls_of
):
    service_time.learn(service.date())
    service.ahead = -5 * HOUR  # it signs with another clock than it answers with
    urls = urls_of()
    clock.now += HOUR
    assert urls.at_hand(1) is not None


async def test_a_url_is_handed_out_as_it_came(service, urls_of):
    strange = "HTTP://Store:80/a%2fb//c?X-Amz-Date=1&b=%7E+%20&empty=&X-Amz-Expires=&=#f"
    service.url = lambda _: strange
    assert await urls_of().get(1) is strange


async def test_no_url_is_shown(urls_of):
    urls = urls_of()
    assert "secret" in await urls.get(1)
    assert "secret" not in repr(urls._urls)


# --- fetching ----------------------------------------------------------------------------------


async def test_urls_are_fetched_for_the_next_hundred_parts_that_have_none_or_a_stale_one(
    clock, service, urls_of
):
    urls = urls_of(300, given=range(1, 50))
    urls.want(number for number in range(1, 301) if number % 2)
    urls.done(11)
    clock.now += 50
    await urls.get(51)
    assert service.asked == [[*range(51, 51 + 2 * BATCH, 2)]]
    clock.now += 45
    await urls.get(9)  # all that came at first are stale, but those that came later are not
    assert service.asked[1:] == [[9, *range(13, 50, 2)]]


async def test_one_part_that_was_done_can_be_sent_again(service, urls_of):
    urls = urls_of()
    for number in (1, 2, 3):
        urls.done(number)
    urls.want([2])
    await urls.get(2)
    assert service.asked == [[2]]


async def test_parts_that_need_urls_at_the_same_time_ask_once(service, urls_of):
    async def get(number):
        got[number] = await urls.get(number)

    urls = urls_of(50, given=[])
    service.on_its_way = anyio.Event()
    got: dict[int, str] = {}
    async with anyio.create_task_group() as group:
        for number in range(1, 51):
            group.start_soon(get, number)
        await anyio.wait_all_tasks_blocked()
        assert len(service.asked) == 1
        service.on_its_way.set()
    assert service.asked == [[*range(1, 51)]]
    assert sorted(got) == [*range(1, 51)]


async def test_who_is_cancelled_while_asking_keeps_nobody_else_from_it(service, urls_of):
    urls = urls_of(2, given=[])
    service.on_its_way = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(urls.get, 1)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    service.on_its_way = None
    assert await urls.get(2) is not None


async def test_a_refused_url_is_not_handed_out_again(service, urls_of):
    urls = urls_of(1)
    old = await urls.get(1)
    urls.refused(1, old)
    assert urls.at_hand(1) is None
    assert await urls.get(1) != old
    assert service.asked == [[1]]


async def test_what_came_with_a_refused_url_is_replaced_along_with_it(service, urls_of):
    service.life = None
    urls = urls_of(250)
    old = [urls.at_hand(number) for number in range(1, 251)]
    urls.refused(3, old[2])
    assert urls.at_hand(4) == old[3]  # nobody has refused that one yet
    await urls.get(3)
    assert service.asked == [[*range(3, 103)]]
    assert [urls.at_hand(number) == old[number - 1] for number in (2, 4, 102, 103)] == [
        True,
        False,
        False,
        True,
    ]
    urls.refused(5, urls.at_hand(5))
    await urls.get(5)
    assert service.asked[1] == [*range(5, 105)]


async def test_a_late_refusal_does_not_take_a_fresh_url_away(service, urls_of):
    urls = urls_of(2)
    old = await urls.get(2)
    urls.refused(1, await urls.get(1))
    await urls.get(1)  # brings one for part 2 along
    fresh = urls.at_hand(2)
    urls.refused(2, old)
    assert urls.at_hand(2) == fresh != old
    assert len(service.asked) == 1


async def test_a_url_that_the_service_does_not_give_is_a_clear_error(service, urls_of):
    service.withheld = {2}
    urls = urls_of()
    with pytest.raises(MalformedResponse, match="no URL for part 2") as error:
        await urls.get(2)
    assert "secret" not in str(error.value)
    assert urls.at_hand(3) is not None


async def test_a_url_that_is_not_renewed_along_with_others_stays(clock, service, urls_of):
    urls = urls_of()
    old = urls.at_hand(3)
    clock.now += 95
    service.withheld = {3}
    await urls.get(2)
    service.withheld = set()
    assert urls._urls[3].text == old
    assert await urls.get(3) != old
