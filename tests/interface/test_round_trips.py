"""Every documented call against the emulator, which checks it by the rules of its page."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from yarl import URL

from koodrive_async import (
    AuthenticationError,
    AutoRename,
    BearerToken,
    DuplicateFileName,
    IntegrityCheckFailed,
    KooDriveError,
    Module,
    MultiPartInfo,
    NewBackupFile,
    NewScope,
    NotFound,
    RecordStatus,
    UploadTaskGone,
)
from koodrive_async.hashing import proof_code
from koodrive_async.testing import connect

pytestmark = pytest.mark.anyio

CONTENT = b"what is backed up"


@pytest.fixture
async def lock_id(drive):
    return (await drive.locks.create(Module.FOLDER)).lock_id


@pytest.fixture
async def record_id(drive, device_id, lock_id):
    return (await drive.records.create(device_id, Module.FOLDER, lock_id=lock_id)).record_id


def new_file(content=CONTENT, name="a.txt", **more):
    async def proof(origin):
        return proof_code(origin, len(content), lambda at, size: content[at : at + size])

    part = MultiPartInfo(part_number=1, part_size=len(content), part_offset=0, hash_ctx=())
    return NewBackupFile(
        file_name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        length=len(content),
        multi_parts=[part],
        proof_code=proof,
        **more,
    )


@pytest.fixture
def put(http):
    async def put_part(part, content=CONTENT):
        async with http.put(URL(part.upload_url, encoded=True), data=content) as response:
            assert response.status == 200

    return put_part


@pytest.fixture
async def file(drive, record_id, lock_id, put):
    """A file that has been uploaded and completed."""
    created = await drive.files.create(record_id, new_file(), lock_id=lock_id)
    await put(created.multi_parts[0])
    await drive.files.complete(created.file_id)
    return created


def is_now(moment):
    return abs(moment - datetime.now(UTC)) < timedelta(minutes=5)


# --- devices, configs, scopes ------------------------------------------------------------------


async def test_a_device_is_bound_listed_and_unbound(drive):
    device = await drive.devices.bind("20250911", name="Magic v3", os="android")
    assert (device.machine_code, device.device_name, device.device_os) == (
        "20250911",
        "Magic v3",
        "android",
    )
    assert is_now(device.create_time)
    assert await drive.devices.list() == (device,)
    assert await drive.devices.unbind(device.device_id) == device
    assert await drive.devices.list() == ()


async def test_a_device_needs_no_name(drive):
    device = await drive.devices.bind("20250911")
    assert (device.device_name, device.device_os) == (None, None)


async def test_a_device_that_is_not_there_is_not_found(drive):
    with pytest.raises(NotFound) as caught:
        await drive.devices.unbind("1")
    assert caught.value.code == "13000309"


async def test_config_entries_are_listed_read_and_updated(drive, device_id):
    entries = await drive.configs.list(device_id, Module.FOLDER)
    assert {entry.config_name: entry.config_value for entry in entries} == {
        "autoBackup": "off",
        "wifiOnly": "on",
    }
    entry = await drive.configs.get(device_id, Module.FOLDER, "autoBackup")
    assert entry in entries
    assert (entry.device_id, entry.module) == (device_id, Module.FOLDER)
    updated = await drive.configs.update(
        device_id, Module.FOLDER, "autoBackup", current="off", new="on"
    )
    assert (updated.config_name, updated.config_value) == ("autoBackup", "on")
    again = await drive.configs.get(device_id, Module.FOLDER, "autoBackup")
    assert again.config_value == "on"


async def test_scopes_are_added_listed_and_deleted(drive, device_id):
    new = [NewScope(local_path="/a", target_folder_path="/b"), NewScope(target_folder_path="/c")]
    added = await drive.scopes.add(device_id, Module.ALBUM, new)
    assert [(scope.local_path, scope.target_folder_path) for scope in added.scopes] == [
        ("/a", "/b"),
        (None, "/c"),
    ]
    assert added.failed == ()
    listed = await drive.scopes.list(device_id, Module.ALBUM)
    assert listed == added.scopes
    assert listed[0].module is Module.ALBUM
    assert is_now(listed[0].create_time)


async def test_deleting_scopes_tells_which_were_not_there(drive, device_id):
    added = await drive.scopes.add(device_id, Module.ALBUM, [NewScope(local_path="/a")])
    scope_id = added.scopes[0].scope_id
    deleted = await drive.scopes.delete(device_id, [scope_id, "1"])
    assert deleted.scope_ids == (scope_id,)
    (failed,) = deleted.failed
    assert (failed.scope_id, failed.error_code) == ("1", "13000309")
    assert failed.msg
    assert await drive.scopes.list(device_id, Module.ALBUM) == ()


# --- locks and records -------------------------------------------------------------------------


async def test_a_lock_is_taken_renewed_and_given_back(drive):
    lock = await drive.locks.create(Module.ADDRESS_BOOK)
    assert lock.lock_id.endswith("@102")
    await drive.locks.renew(lock.lock_id)
    await drive.locks.release(lock.lock_id)
    again = await drive.locks.create(Module.ADDRESS_BOOK)
    assert again.lock_id != lock.lock_id


async def test_a_record_is_created_read_completed_and_deleted(drive, device_id, lock_id):
    created = await drive.records.create(
        device_id, Module.FOLDER, lock_id=lock_id, properties={"test": "123"}
    )
    assert (created.module, created.status) == (Module.FOLDER, RecordStatus.NEW)
    assert (created.properties, created.version) == ('{"test":"123"}', 1)
    assert is_now(created.create_time)
    assert created.end_time is None
    assert await drive.records.get(created.record_id) == created
    await drive.records.complete(created.record_id, lock_id=lock_id, properties='{"n":1}')
    completed = await drive.records.get(created.record_id)
    assert (completed.status, completed.properties) == (RecordStatus.COMPLETED, '{"n":1}')
    assert is_now(completed.end_time)
    await drive.records.delete(created.record_id, lock_id=lock_id)
    with pytest.raises(NotFound):
        await drive.records.get(created.record_id)


async def test_completing_without_properties_keeps_those_of_the_record(drive, device_id, lock_id):
    record = await drive.records.create(
        device_id, Module.FOLDER, lock_id=lock_id, properties='{"a":1}'
    )
    await drive.records.complete(record.record_id, lock_id=lock_id)
    assert (await drive.records.get(record.record_id)).properties == '{"a":1}'


@pytest.mark.parametrize("page_size", [1, 2, 5, 100])
async def test_records_are_listed_through_all_their_pages(drive, device_id, lock_id, page_size):
    ids = [
        (await drive.records.create(device_id, "100", lock_id=lock_id)).record_id for _ in range(5)
    ]
    pager = drive.records.list(Module.FOLDER, device_id, page_size=page_size)
    assert [record.record_id async for record in pager] == ids[::-1]
    assert await drive.records.list(Module.ALBUM).collect() == []


async def test_a_listing_goes_on_from_a_cursor(drive, device_id, lock_id):
    for _ in range(5):
        await drive.records.create(device_id, "100", lock_id=lock_id)
    everything = await drive.records.list("100", page_size=2).collect()
    first = drive.records.list("100", page_size=2)
    begun = await first.collect(limit=2)
    rest = await drive.records.list("100", page_size=2, cursor=first.cursor).collect()
    assert begun + rest == everything


# --- files -------------------------------------------------------------------------------------


async def test_a_file_is_created_uploaded_completed_and_listed(drive, record_id, lock_id, put):
    created = await drive.files.create(
        record_id, new_file(description="from /a.txt", mime_type="text/plain"), lock_id=lock_id
    )
    assert (created.file_name, created.rapid_upload, created.exist) == ("a.txt", False, False)
    await put(created.multi_parts[0])
    await drive.files.complete(created.file_id, hashlib.sha256(CONTENT).hexdigest())
    (listed,) = await drive.files.list(record_id).collect()
    assert (listed.file_id, listed.file_name) == (created.file_id, "a.txt")
    assert (listed.size, listed.sha256) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    assert listed.description == "from /a.txt"
    assert is_now(listed.create_time)


async def test_fresh_urls_are_had_for_announced_parts(drive, record_id, lock_id, put):
    created = await drive.files.create(record_id, new_file(), lock_id=lock_id)
    (part,) = await drive.files.part_urls(created.file_id, created.multi_parts)
    assert part.part_number == 1
    await put(part)
    await drive.files.complete(created.file_id)


async def test_a_file_is_downloaded_by_its_link(drive, file, http, koodrive_emulator):
    links = await drive.files.download_urls(koodrive_emulator.container_id, [file.file_id, "F1"])
    assert (links.batch_code, len(links)) == (0, 2)
    assert [link.file_id for link in links] == [file.file_id, "F1"]
    assert (links[0].file_name, links[0].code) == ("a.txt", "0")
    async with http.get(URL(links[0].url, encoded=True)) as response:
        assert await response.read() == CONTENT
    assert (links[1].url, links[1].code) == (None, "13000309")


@pytest.mark.parametrize("space", ["", None, "IAAFnoSuchSpace"])
async def test_a_wrong_space_is_refused_with_where_to_find_one(drive, file, space):
    for call in (
        drive.files.download_urls(space, [file.file_id]),
        drive.files.details(space, file.file_id),
    ):
        with pytest.raises(KooDriveError, match=r"in receipt.container_id, .*spaces.list\(\)"):
            await call


async def test_bytes_the_service_has_are_not_asked_for_again(drive, record_id, lock_id, file):
    again = await drive.files.create(record_id, new_file(name="b.txt"), lock_id=lock_id)
    assert again.rapid_upload
    assert again.file_id != file.file_id


async def test_a_taken_name_is_refused_with_the_file_that_has_it(drive, record_id, lock_id, file):
    wanted = new_file(b"other bytes", auto_rename=AutoRename.REJECT)
    with pytest.raises(DuplicateFileName) as caught:
        await drive.files.create(record_id, wanted, lock_id=lock_id)
    assert caught.value.existing_file_id == file.file_id


async def test_a_file_that_is_there_is_skipped(drive, record_id, lock_id, file):
    skipped = await drive.files.create(
        record_id, new_file(auto_rename=AutoRename.SKIP), lock_id=lock_id
    )
    assert skipped.exist
    assert skipped.file_id == file.file_id


async def test_completing_without_all_bytes_is_refused(drive, record_id, lock_id):
    created = await drive.files.create(record_id, new_file(), lock_id=lock_id)
    with pytest.raises(IntegrityCheckFailed) as caught:
        await drive.files.complete(created.file_id)
    assert caught.value.code == "13000402"


async def test_an_upload_nobody_knows_is_gone(drive):
    with pytest.raises(UploadTaskGone) as caught:
        await drive.files.complete("F1")
    assert caught.value.code == "13000401"


# --- tokens ------------------------------------------------------------------------------------


async def test_signing_in_gives_a_token_that_works_and_can_be_exchanged(koodrive_emulator):
    async with connect(koodrive_emulator) as stranger:
        session = await stranger.tokens.login(
            koodrive_emulator.account, agent_name="carrier", password=koodrive_emulator.password
        )
    assert session.user_info is not None
    assert session.refresh_token is not None
    assert session.user_info.user_id == koodrive_emulator.user_id
    assert session.expires_in == 1200
    assert is_now(session.issued_at)
    async with connect(koodrive_emulator, auth=BearerToken(session.access_token)) as drive:
        await drive.devices.list()
        renewed = await drive.tokens.refresh(session.refresh_token)
    assert renewed.user_info is None
    assert renewed.access_token != session.access_token
    async with connect(koodrive_emulator, auth=BearerToken(renewed.access_token)) as drive:
        await drive.devices.list()


async def test_a_wrong_password_is_an_authentication_error(drive, koodrive_emulator):
    with pytest.raises(AuthenticationError):
        await drive.tokens.login(koodrive_emulator.account, agent_name="carrier", password="no")


async def test_an_unknown_refresh_token_is_an_authentication_error(drive):
    with pytest.raises(AuthenticationError):
        await drive.tokens.refresh("never given out")
