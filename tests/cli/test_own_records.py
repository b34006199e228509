"""What the journal knows of one service is no answer to a question about another one."""

from __future__ import annotations

import pytest

from koodrive_async.cli.own_records import (
    find_holder,
    find_in_use,
    find_left,
    find_saved,
    forget_saved,
)
from koodrive_async.models import Module
from koodrive_async.threads import in_thread
from koodrive_async.upload.journal import Journal
from tests.upload.journal_sample import record_of

pytestmark = pytest.mark.anyio

REAL, EMULATOR = "https://koodrive.example", "http://127.0.0.1:41234"


@pytest.fixture
async def journal(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    await journal.open()
    yield journal
    await journal.aclose()


async def begin(journal, endpoint):
    """Begin a record with the same id, device and folder as that of the other service."""
    account = f"100@{endpoint}"
    await journal.begin(record_of("r1", account=account, module=Module.FOLDER.value))
    return account


async def test_what_runs_against_one_service_holds_nothing_of_another(journal):
    await begin(journal, EMULATOR)
    for endpoint, is_there in ((EMULATOR, True), (f"{EMULATOR}/", True), (REAL, False)):
        found = await in_thread(find_holder, journal.path, endpoint, "d1", Module.FOLDER)
        assert (found is not None) == is_there
        assert (await in_thread(find_in_use, journal.path, endpoint) == {"r1"}) == is_there
    assert await in_thread(find_saved, journal.path, REAL, ["r1"]) == {}


async def test_what_was_left_on_one_service_is_not_left_on_another(journal):
    accounts = {endpoint: await begin(journal, endpoint) for endpoint in (REAL, EMULATOR)}
    for account in accounts.values():
        await journal.leave(account, "r1")
    for endpoint, account in accounts.items():
        [left] = await in_thread(find_left, journal.path, endpoint, "d1", Module.FOLDER, "/data")
        assert left.account == account
    saved = await in_thread(find_saved, journal.path, EMULATOR, ["r1"])
    await in_thread(forget_saved, journal.path, saved.values())
    assert await journal.record(accounts[EMULATOR], "r1") is None
    assert await journal.record(accounts[REAL], "r1") is not None
