"""getFile, GetSpace and GetSpaceV2: what a client can look at after the fact."""

from __future__ import annotations

import hashlib

import pytest
from yarl import URL

pytestmark = pytest.mark.anyio


@pytest.fixture
def details(wire):
    async def get(file_id, container_id=None):
        body = {"containerId": container_id or wire.emulator.container_id}
        return await wire.call("POST", f"/files/{file_id}/detail", body)

    return get


async def test_the_details_of_a_complete_file_tell_its_content_and_lead_to_it(
    wire, backup, data, details
):
    file_id = await wire.upload(backup, wire.new_file(data), data)
    found = (await details(file_id)).json
    assert found["id"] == file_id
    assert (found["fileName"], found["size"]) == ("123.jpg", len(data))
    assert found["sha256"] == hashlib.sha256(data).hexdigest()
    assert found["containers"] == [wire.emulator.container_id]
    assert found["recycled"] is False
    answer = await wire.get(found["downloadLinks"][0], {"Range": "bytes=3-9"})
    assert (answer.status, answer.body) == (206, data[3:10])


async def test_there_are_no_details_of_an_unfinished_file(wire, backup, data, details):
    created = await wire.create(backup, wire.new_file(data))
    assert (await details(created.json["fileId"])).json["code"] == 13000309
    assert (await details("Fnone")).json["code"] == 13000309


async def test_details_demand_the_space_of_the_file(wire, backup, data, details, emulator):
    file_id = await wire.upload(backup, wire.new_file(data), data)
    elsewhere = f"{emulator.container_id[:-1]}8"
    assert (await details(file_id, elsewhere)).json["code"] == 13000302
    assert (await details(file_id, "nowhere")).json["code"] == 13000301
    answer = await wire.call("POST", f"/files/{file_id}/detail", {})
    assert answer.json["code"] == 13000102


async def all_spaces(wire, owner=None, query=""):
    """Ask the second version of the call."""
    path = f"/koodrive/ose/v2/space/{owner or wire.emulator.user_id}{query}"
    url = URL(wire.emulator.url + path, encoded=True)
    return await wire.send("GET", url, None, wire.headers())


async def test_all_spaces_of_a_user_are_listed_with_what_they_hold(wire, backup, data):
    await wire.upload(backup, wire.new_file(data), data)
    first, second = (await all_spaces(wire)).json["data"]
    assert first["containerId"] == wire.emulator.container_id
    assert (first["spaceUsed"], second["spaceUsed"]) == (str(len(data)), "0")
    assert (await all_spaces(wire, query="?type=1")).json["data"] == [first, second]
    assert (await all_spaces(wire, query="?type=2")).json["data"] == []
    assert (await all_spaces(wire, wire.emulator.accounts[1].user_id)).json["code"] == 13000309


async def test_one_of_several_spaces_must_be_named(wire):
    owner = wire.emulator.user_id
    second = (await all_spaces(wire)).json["data"][1]
    answer = await wire.call("GET", f"/space/{owner}?type=1")
    assert answer.json["code"] == 13000102
    named = f"/space/{owner}?type=1&containerId={second['containerId']}"
    assert (await wire.call("GET", named)).json["data"] == second
    assert (await wire.call("GET", f"/space/{owner}")).json["code"] == 13000102


async def test_the_only_space_need_not_be_named(new_emulator, new_wire, wire_session):
    async with new_emulator(containers=["only"]) as emulator:
        wire = new_wire(emulator, wire_session)
        answer = await wire.call("GET", f"/space/{emulator.user_id}?type=1")
        assert answer.json["data"]["containerId"] == "only"
