"""``koodrive scopes``: add, list and remove."""

from __future__ import annotations

import json

import anyio
import pytest

from koodrive_async.emulator import Fault
from koodrive_async.testing import connect

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture
def device(koodrive_emulator):
    async def bind():
        async with connect(koodrive_emulator) as drive:
            return (await drive.devices.bind("testmachine")).device_id

    return anyio.run(bind)


def rows(done):
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_what_is_added_is_listed_and_what_is_removed_is_not(invoke, device):
    added = invoke("scopes", "add", device, "/home/a\tb", "/C:/Users", "--cloud-folder", "/pcs")
    assert added.exit_code == 0, added.stderr
    assert [row[1:3] for row in rows(added)] == [[r"/home/a\tb", "/pcs"], ["/C:/Users", "/pcs"]]
    listed = invoke("scopes", "list", device)
    assert rows(listed) == rows(added)
    (first, *_), (second, *_) = rows(listed)
    removed = invoke("scopes", "remove", device, first)
    assert (removed.exit_code, removed.stdout) == (0, f"{first}\n")
    assert [row[0] for row in rows(invoke("scopes", "list", device))] == [second]


def test_scopes_belong_to_a_module(invoke, device):
    invoke("scopes", "add", device, "/dcim", "--module", "album")
    assert rows(invoke("scopes", "list", device)) == []
    (row,) = rows(invoke("scopes", "list", device, "--module", "album"))
    assert row[1:3] == ["/dcim", "-"]


def test_a_cloud_folder_may_stand_alone(invoke, device):
    (row,) = rows(invoke("scopes", "add", device, "--cloud-folder", "/x"))
    assert row[1:3] == ["-", "/x"]
    done = invoke("scopes", "add", device)
    assert done.exit_code == 2
    assert "name a PATH, or a --cloud-folder" in done.stderr


def test_a_path_of_this_machine_is_not_one_of_the_interface(invoke, device):
    done = invoke("scopes", "add", device, "C:\\Users")
    assert (done.exit_code, done.stdout) == (2, "")
    assert r"C:\x is /C:/x" in done.stderr


def test_what_cannot_be_removed_is_named_and_the_rest_is(invoke, device):
    ((scope, *_),) = rows(invoke("scopes", "add", device, "/a"))
    done = invoke("scopes", "remove", device, scope, "12345")
    assert (done.exit_code, done.stdout) == (1, f"{scope}\n")
    failed, error = done.stderr.splitlines()
    assert failed.startswith("failed: 12345: ")
    assert error == "error: 1 scope not removed"


def test_in_json_each_answer_is_one_object(invoke, device):
    (added,) = map(json.loads, invoke("scopes", "add", device, "/a", "--json").stdout.splitlines())
    (scope,) = added["added"]
    assert added["failed"] == []
    assert (scope["local_path"], scope["cloud_folder"], scope["module"]) == ("/a", None, "folder")
    listed = json.loads(invoke("scopes", "list", device, "--json").stdout)
    assert listed == {"scopes": [scope]}
    done = invoke("scopes", "remove", device, scope["scope_id"], "12345", "--json")
    removed = json.loads(done.stdout)
    assert removed["removed"] == [scope["scope_id"]]
    assert removed["failed"][0]["scope_id"] == "12345"
    assert json.loads(done.stderr)["error"]["message"] == "1 scope not removed"


def test_quiet_says_nothing_but_errors(invoke, device):
    done = invoke("scopes", "add", device, "/a", "--quiet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    done = invoke("scopes", "remove", device, "12345", "-q")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.endswith("error: 1 scope not removed\n")


def test_a_service_that_refuses_is_an_error(invoke, device, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("error", "scopes.add", status=400, msg="no"))
    done = invoke("scopes", "add", device, "/a")
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr.startswith("error: POST /koodrive/")
    assert done.stderr.count("\n") == 1


def test_a_device_alone_is_no_command(invoke, device):
    assert invoke("scopes", device).exit_code == 2
