"""X-Date: never in the service's future, whatever this machine's clock says."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import formatdate

import pytest

from koodrive_async import AppSignature, AuthenticationError, BearerToken
from koodrive_async.emulator import Emulator
from koodrive_async.testing import connect
from tests.interface.scripted import TLS, FakeClock, answer, client_of

pytestmark = pytest.mark.anyio

NOW = 1_766_000_000.0
HOUR = 3600.0
LIFE = 900
SHIFTS = [-5 * HOUR, -LIFE - 1, -LIFE, -LIFE + 0.5, -LIFE + 2, -1.0, 0.0]
SHIFTS += [0.5, 1.0, 1.2, 1.5, 1.9, 2.0, 3.0, 60.0, 5 * HOUR]


def seconds(stamp):
    return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


@pytest.fixture(params=[0.0, 0.97])
def strict(request, tmp_path):
    """An emulator whose clock stands still."""
    with Emulator(tmp_path / "koodrive", clock=lambda: NOW + request.param) as emulator:
        yield emulator


@pytest.mark.parametrize("scheme", ["token", "signature"])
async def test_a_wrong_local_clock_costs_one_refused_request_at_the_most(strict, scheme):
    auth = {
        "token": BearerToken(strict.token),
        "signature": AppSignature(app_id=strict.app_id, app_secret=strict.app_secret),
    }[scheme]
    for shift in SHIFTS:
        strict.seen.clear()
        clock = FakeClock(strict._clock() + shift)
        async with connect(strict, auth=auth, clock=clock, tls=TLS) as drive:
            await drive.devices.list()
            refused = strict.seen.count(status=401)
            await drive.devices.list()
            await drive.locks.release((await drive.locks.create("100")).lock_id)
        assert refused <= 1, shift
        assert strict.seen.count(status=401) == refused, shift
        assert strict.seen.count(status=200) == 4, shift
        # what is near enough is not refused at all
        if -LIFE + 2 <= shift <= 1:
            assert refused == 0, shift


async def test_a_provider_is_not_asked_again_for_a_wrong_clock(strict):
    asked: list[None] = []

    async def provide():
        asked.append(None)
        return strict.token

    clock = FakeClock(NOW + 5 * HOUR)
    async with connect(strict, auth=BearerToken(provide), clock=clock, tls=TLS) as drive:
        await drive.devices.list()
    assert len(asked) == 1
    assert strict.seen.count() == 2


async def test_a_refused_token_is_not_taken_for_a_wrong_clock(strict):
    clock = FakeClock(strict._clock())
    async with connect(strict, auth=BearerToken("Bearer+wrong"), clock=clock, tls=TLS) as drive:
        with pytest.raises(AuthenticationError):
            await drive.devices.list()
    assert strict.seen.count() == 1


async def test_a_clock_that_is_set_while_the_client_lives_is_followed(strict):
    clock = FakeClock(strict._clock())
    async with connect(strict, auth=BearerToken(strict.token), clock=clock, tls=TLS) as drive:
        await drive.devices.list()
        for jump in (7 * HOUR, -9 * HOUR):
            clock.now += jump
            await drive.devices.list()
    assert strict.seen.count(status=200) == 3
    assert strict.seen.count(status=401) == 2


@pytest.mark.parametrize("ahead", [-5 * HOUR, 0.0, 5 * HOUR])
@pytest.mark.parametrize("way", [0.0, 0.4, 30.0])
async def test_a_slow_line_never_puts_the_stamp_into_the_future(scripted, ahead, way):
    clock = FakeClock(NOW + 0.6)
    stamps = []

    def reply(request):
        clock.now += way
        service = clock.now + ahead
        stamps.append((seconds(request.headers["X-Date"]), service))
        clock.now += way
        return answer(date=formatdate(service, usegmt=True))

    scripted.otherwise = reply
    async with client_of(scripted, clock=clock) as client:
        for _ in range(5):
            await client.devices.list()
            clock.now += 0.3
    for stamp, service in stamps[1:]:
        assert stamp <= service
        assert service - stamp <= 3 + 2 * way


async def test_an_answer_from_a_cache_tells_no_time(scripted):
    clock = FakeClock(NOW)
    old = formatdate(NOW - 5 * HOUR, usegmt=True)
    scripted.replies(answer(date=old, age="18000"), answer(date=old), answer())
    async with client_of(scripted, clock=clock) as client:
        for _ in range(3):
            await client.devices.list()
    local, after_cached, after_fresh = (
        seconds(request.headers["X-Date"]) for request in scripted.requests
    )
    assert after_cached == local
    assert local - after_fresh == 5 * HOUR


GARBAGE = [
    "yesterday",
    "0",
    "-1",
    "²",
    "Mon, 99 Foo 2025 99:99:99 GMT",
    "Mon, 01 Jan 99999 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Mon, 01 Jan 0001 00:00:00 GMT",
    "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
    "Mon, 99999999999999999999 Jan 2024 00:00:00 GMT",
    '(((("\\',
]


async def test_a_date_that_is_none_is_passed_over(scripted):
    clock = FakeClock(NOW)
    scripted.replies(*(answer(date=garbage) for garbage in GARBAGE), answer())
    async with client_of(scripted, clock=clock) as client:
        for _ in GARBAGE:
            await client.devices.list()
        await client.devices.list()
    assert {seconds(request.headers["X-Date"]) for request in scripted.requests} == {NOW - 1}
