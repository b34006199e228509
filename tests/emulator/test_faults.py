from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from koodrive_async.emulator import ROUTES, Fault, Faults, Seen, SeenRequest
from koodrive_async.emulator.pace import Pace

pytestmark = pytest.mark.anyio

GOOD_RULES = [
    ("latency=0.02", Fault("latency", seconds=0.02)),
    ("latency=1.5:part.put:rate=0.05", Fault("latency", "part.put", seconds=1.5, rate=0.05)),
    ("bandwidth=1000", Fault("bandwidth", bytes_per_second=1000.0)),
    (
        "total-bandwidth=5e6:part.put",
        Fault("total-bandwidth", "part.put", bytes_per_second=5_000_000.0),
    ),
    ("error:files.complete:status=503,rate=0.1", Fault("error", "files.complete", rate=0.1)),
    (
        "error=500:records.*:code=13000201,msg=no,retry_after=2",
        Fault("error", "records.*", status=500, code="13000201", msg="no", retry_after=2.0),
    ),
    ("error:status=500", Fault("error", status=500)),
    ("throttle=1:part.put:times=3", Fault("throttle", "part.put", retry_after=1.0, times=3)),
    (
        "reset=middle:part.put:times=1,after=4",
        Fault("reset", "part.put", moment="middle", times=1, after=4),
    ),
    ("lost-answer:files.create", Fault("lost-answer", "files.create")),
    ("expired-url", Fault("expired-url")),
    ("expired-lock:*:times=1", Fault("expired-lock", times=1)),
    ("early-answer", Fault("early-answer", status=503)),
    ("early-answer=500:part.put:times=1", Fault("early-answer", "part.put", status=500, times=1)),
    ("silence=after:part.put", Fault("silence", "part.put", moment="after")),
    ("half-answer:files.*", Fault("half-answer", "files.*")),
    ("headers-only:part.put", Fault("headers-only", "part.put")),
    ("trickle", Fault("trickle", seconds=1.0)),
    ("trickle=0.5:files.create", Fault("trickle", "files.create", seconds=0.5)),
    ("latency", Fault("latency", seconds=0.1)),
    ("garbage", Fault("garbage")),
    ("close:*:rate=0.5", Fault("close", rate=0.5)),
    ("corrupt:part.put:times=1", Fault("corrupt", "part.put", times=1)),
    ("lost-upload:files.*", Fault("lost-upload", "files.*")),
    ("expired-token:records.*", Fault("expired-token", "records.*")),
]


@pytest.mark.parametrize(("text", "fault"), GOOD_RULES)
def test_a_rule_can_be_written_as_text(text, fault):
    assert list(Faults.parse([text])) == [fault]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"kind": "rest"}, "no kind is called 'rest'; there are latency, "),
        ({"kind": "reset", "moment": "late"}, "no moment is called 'late'; there are before, "),
    ],
)
def test_a_fault_that_is_none_says_in_a_sentence_what_there_is(wrong, why):
    with pytest.raises(ValueError, match="there are") as refused:
        Fault(**wrong)
    assert str(refused.value).startswith(why)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no kind is called ''"),
        ("slow", "no kind is called 'slow'"),
        ("latency=fast", "could not convert"),
        ("latency=-1", "seconds"),
        ("lost-answer=1", "takes no value"),
        ("error:nowhere", "no route is called 'nowhere'"),
        ("error:part.put:often=1", "no option is called 'often'"),
        ("error:part.put:rate=2", "rate"),
        ("error=200", "status"),
        ("reset=sometimes", "moment"),
        ("bandwidth=0", "bytes_per_second"),
        ("error::times=-1", "times"),
        ("early-answer=200", "status"),
        ("silence=sometimes", "moment"),
        ("garbage=1", "takes no value"),
        ("corrupt:object.get", "corrupt cannot hit 'object.get'; it can hit part.put"),
        ("lost-upload:files.create", "lost-upload cannot hit 'files.create'"),
        ("expired-token:tokens.*", "expired-token cannot hit 'tokens.*'"),
        ("expired-url:files.*", "expired-url cannot hit 'files.*'"),
    ],
)
def test_a_rule_that_cannot_be_read_says_what_is_wrong(text, why):
    with pytest.raises(ValueError, match="fault ") as refused:
        Faults.parse([text])
    assert why in str(refused.value)


def test_a_rule_skips_and_counts_as_told():
    fault = Fault("error", "files.*", times=2, after=1)
    faults = Faults([fault])
    hit = [bool(faults.strike(route).rules) for route in ["files.list", "part.put"] * 4]
    assert hit == [False, False, True, False, True, False, False, False]
    assert (faults.hits(fault), faults.hits()) == (2, 2)
    faults.remove(fault)
    assert not faults.strike("files.list").rules
    assert list(faults) == []


def test_a_rule_counts_only_what_its_kind_can_hit():
    fault = Fault("lost-upload", times=2)
    faults = Faults([fault])
    routes = ["devices.list", "part.put", "files.create", "files.complete", "part.put"]
    hit = [faults.strike(route).has("lost-upload") for route in routes]
    assert hit == [False, True, False, True, False]


def test_a_rate_is_a_chance_that_can_be_had_again():
    def hits(seed):
        faults = Faults([Fault("error", rate=0.25)], seed=seed)
        return [bool(faults.strike("part.put").rules) for _ in range(400)]

    assert hits(1) == hits(1) != hits(2)
    assert 60 < sum(hits(1)) < 140


def test_every_route_can_be_named():
    for route in ROUTES:
        assert Faults([Fault("error", route)]).strike(route).error is not None


async def test_latency_delays_an_answer(wire):
    wire.emulator.faults.add(Fault("latency", "devices.list", seconds=0.05))
    begin = time.monotonic()
    assert (await wire.call("GET", "/backup/device")).status == 200
    assert time.monotonic() - begin >= 0.05


async def test_an_ordered_error_is_answered_and_nothing_is_done(wire):
    fault = Fault("error", "devices.bind", status=500, code="13000201", msg="no", retry_after=1.5)
    wire.emulator.faults.add(fault)
    answer = await wire.call("POST", "/backup/device", {"machineCode": "m"})
    assert answer.status == 500
    assert answer.json == {"code": 13000201, "msg": "no"}
    assert answer.headers["Retry-After"] == "2"
    wire.emulator.faults.clear()
    assert (await wire.call("GET", "/backup/device")).json["data"] == []


async def test_a_throttle_always_says_when_to_come_back(wire):
    wire.emulator.faults.add(Fault("throttle"))
    answer = await wire.call("GET", "/backup/device")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")


async def test_the_interface_and_the_object_store_can_be_throttled(wire, data):
    wire.emulator.faults.add(Fault("throttle", "devices.list", retry_after=7))
    answer = await wire.call("GET", "/backup/device")
    assert (answer.status, answer.json["code"]) == (429, "APIGW.0308")
    assert answer.headers["Retry-After"] == "7"
    wire.emulator.faults.add(Fault("throttle", "part.put", retry_after=7))
    stored = await wire.put(wire.emulator.object_url + "/x", data)
    assert (stored.status, stored.xml_code) == (429, "SlowDown")
    assert stored.headers["Retry-After"] == "7"


async def test_an_error_of_the_object_store_is_xml_and_keeps_the_connection(wire, part, data):
    wire.emulator.faults.add(Fault("error", "part.put", status=500, times=1))
    answer = await wire.put(part["uploadUrl"], data)
    assert (answer.status, answer.xml_code) == (500, "InternalError")
    assert (await wire.put(part["uploadUrl"], data)).status == 200


@pytest.mark.parametrize("moment", ["before", "middle", "after"])
async def test_a_reset_cuts_a_part_without_an_answer(wire, part, data, moment):
    fault = Fault("reset", "part.put", moment=moment, times=1)
    wire.emulator.faults.add(fault)
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
        await wire.put(part["uploadUrl"], data)
    assert wire.emulator.faults.hits(fault) == 1
    seen = wire.emulator.seen.requests("part.put")
    assert [each.status for each in seen] == [None]
    assert (seen[0].body_size == 0) == (moment == "before")
    incomplete = await wire.complete(part["fileId"])
    assert incomplete.json["code"] == 13000402
    assert (await wire.put(part["uploadUrl"], data)).status == 200


@pytest.mark.parametrize("moment", ["before", "middle", "after"])
async def test_a_reset_cuts_a_call_before_it_acts(wire, moment):
    wire.emulator.faults.add(Fault("reset", "devices.bind", moment=moment, times=1))
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
        await wire.call("POST", "/backup/device", {"machineCode": "m"})
    assert (await wire.call("GET", "/backup/device")).json["data"] == []


@pytest.mark.parametrize("kind", ["before", "middle", "after", "lost-answer"])
async def test_a_download_can_be_cut(wire, part, data, kind):
    await wire.put(part["uploadUrl"], data)
    await wire.complete(part["fileId"])
    url = await wire.download_url(part["fileId"])
    if kind == "lost-answer":
        fault = Fault("lost-answer", "object.get", times=1)
    else:
        fault = Fault("reset", "object.get", moment=kind, times=1)
    wire.emulator.faults.add(fault)
    with pytest.raises(aiohttp.ClientError):
        await wire.get(url)
    assert (await wire.get(url)).body == data


async def test_a_lost_answer_belongs_to_a_call_that_acted(wire, part, data):
    wire.emulator.faults.add(Fault("lost-answer", "devices.bind", times=1))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await wire.call("POST", "/backup/device", {"machineCode": "m"})
    assert len((await wire.call("GET", "/backup/device")).json["data"]) == 1
    wire.emulator.faults.add(Fault("lost-answer", "part.put", times=1))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await wire.put(part["uploadUrl"], data)
    assert (await wire.complete(part["fileId"])).status == 200


async def test_a_url_can_be_called_expired_before_its_time(wire, part, data):
    wire.emulator.faults.add(Fault("expired-url", "part.put", times=1))
    answer = await wire.put(part["uploadUrl"], data)
    assert (answer.status, answer.xml_code) == (403, "AccessDenied")
    assert b"Request has expired" in answer.body
    assert (await wire.put(part["uploadUrl"], data)).status == 200


async def test_a_lock_can_run_out_at_a_request(wire, backup, data):
    wire.emulator.faults.add(Fault("expired-lock", "files.create", times=1))
    for call in (wire.create(backup, wire.new_file(data)),) * 1:
        answer = await call
        assert "expired" in answer.json["msg"]
    renewed = await wire.call("PATCH", "/backup/lock", lock=backup.lock)
    assert "expired" in renewed.json["msg"]
    assert await wire.lock()


@pytest.mark.parametrize("kind", ["bandwidth", "total-bandwidth"])
async def test_a_slow_line_moves_whole_bodies_all_the_same(wire, part, data, kind):
    fault = Fault(kind, bytes_per_second=50_000)
    wire.emulator.faults.add(fault)
    assert (await wire.put(part["uploadUrl"], data)).status == 200
    assert (await wire.complete(part["fileId"])).status == 200
    assert (await wire.get(await wire.download_url(part["fileId"]))).body == data
    assert wire.emulator.faults.hits(fault) == 2


async def test_a_line_of_limited_speed_takes_its_time():
    pace, begin = Pace(100_000), time.monotonic()
    await asyncio.gather(*(pace.take(1_000) for _ in range(5)))
    assert time.monotonic() - begin >= 0.05
    assert pace.piece == 5_000


async def test_faults_change_while_the_emulator_runs(wire):
    statuses = []
    for change in (
        lambda _: None,
        lambda faults: faults.add(Fault("error", "devices.list")),
        lambda faults: faults.clear(),
    ):
        change(wire.emulator.faults)
        statuses.append((await wire.call("GET", "/backup/device")).status)
    assert statuses == [200, 503, 200]


async def test_requests_are_seen_with_what_they_were(wire, part, data):
    seen = wire.emulator.seen
    seen.clear()
    await wire.put(part["uploadUrl"], data)
    await wire.call("GET", "/nothing")
    await wire.call("GET", "/backup/device", headers={"X-Custom": "1"})
    put, unknown, listed = seen
    assert (put.route, put.method, put.status) == ("part.put", "PUT", 200)
    assert (put.body_size, put.part_number) == (356, 1)
    assert put.raw_path in part["uploadUrl"]
    assert put.path == URL(part["uploadUrl"]).path
    assert (unknown.route, unknown.status) == ("unknown", 404)
    assert (listed.status, listed.headers["x-CUSTOM"]) == (401, "1")
    assert seen.count() == len(seen) == 3
    assert seen.count("devices.list") == seen.count("devices.list", status=401) == 1
    assert seen.count("devices.list", status=200) == 0
    assert "Signature" not in repr(put)


async def test_the_log_knows_how_many_requests_there_were_at_the_same_time(wire):
    wire.emulator.faults.add(Fault("latency", "devices.list", seconds=0.1))
    calls = [asyncio.ensure_future(wire.call("GET", "/backup/device")) for _ in range(3)]
    assert await asyncio.to_thread(wire.emulator.seen.wait_active, "devices.list", count=3)
    await asyncio.gather(*calls)
    assert wire.emulator.seen.peak("devices.list") == 3
    assert wire.emulator.seen.active("devices.list") == 0
    wire.emulator.seen.clear()
    assert wire.emulator.seen.peak("devices.list") == 0


def test_the_log_is_bounded():
    seen = Seen(kept=2)
    for number in range(3):
        seen.add(
            SeenRequest(
                route="part.put",
                method="PUT",
                raw_path="/",
                status=200,
                headers=CIMultiDictProxy(CIMultiDict()),
                body_size=number,
                at=0.0,
            )
        )
    assert [each.body_size for each in seen] == [1, 2]
    assert not seen.wait("part.put", count=3, timeout=0.0)
