"""What is sent is what was hashed: each part leads from one midstate to the next."""

from __future__ import annotations

import hashlib
import os
from contextlib import asynccontextmanager

import anyio
import pytest
import trustme

from koodrive_async import IntegrityCheckFailed, Module, SourceChanged
from koodrive_async.hashing import Fingerprinter
from koodrive_async.testing import connect
from koodrive_async.threads import ThreadPool
from koodrive_async.upload.budget import MemoryBudget
from koodrive_async.upload.chain import PartChain, suspects, wrong_parts
from koodrive_async.upload.plan import Plan, PlannedPart, plan_parts
from koodrive_async.upload.source import BytesContent, FileContent
from tests.sample import sample
from tests.upload.raw_server import open_lane, serving
from tests.upload.test_parts_over_tls import client_context, server_context

MIB = 1024 * 1024
SIZE = 300
PART = 128


def fingerprint_of(data, grid=64):
    fingerprinter = Fingerprinter(grid)
    fingerprinter.update(data)
    return fingerprinter.finish()


def small_plan(size=SIZE, part_size=PART):
    """Return a plan with parts that are smaller than the interface allows."""
    offsets = range(0, max(size, 1), part_size)
    return Plan(
        size,
        part_size,
        tuple(
            PlannedPart(number, offset, min(part_size, size - offset))
            for number, offset in enumerate(offsets, start=1)
        ),
    )


def content_of(data):
    return BytesContent(memoryview(data))


def flipped(data, position):
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


# --- one part ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 64, PART, PART + 1, 2 * PART, SIZE])
def test_every_part_of_what_was_hashed_leads_to_the_next(size):
    data = sample(size)
    for part in small_plan(size).parts:
        chain = PartChain("a", part, fingerprint_of(data))
        seen = chain.begin()
        seen.update(data[part.offset : part.offset + part.size])
        assert chain.leads_on(seen)
        chain.check(seen)


@pytest.mark.parametrize("position", [0, PART - 1, PART, 2 * PART - 1, 2 * PART, SIZE - 1])
def test_a_bit_that_flipped_is_found_in_its_part_and_no_other(position):
    fingerprint, data = fingerprint_of(sample(SIZE)), flipped(sample(SIZE), position)
    broken = []
    for part in small_plan().parts:
        chain = PartChain("film.mkv", part, fingerprint)
        seen = chain.begin()
        seen.update(data[part.offset : part.offset + part.size])
        try:
            chain.check(seen)
        except SourceChanged as error:
            broken.append((error.name, error.changes))
    number = position // PART + 1
    assert broken == [("film.mkv", f"the bytes of part {number} are not those that were hashed")]


def test_a_part_of_which_not_all_was_sent_proves_nothing():
    chain = PartChain("a", small_plan().parts[1], fingerprint_of(sample(SIZE)))
    seen = chain.begin()
    seen.update(b"something else")
    assert not chain.leads_on(seen)
    chain.check(seen)


# --- on its way --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(params=["plain", "tls"])
def sending(request, authority):
    """Return a context manager: a lane and a server."""

    @asynccontextmanager
    async def open_both():
        secure = request.param == "tls"
        server_tls = server_context(authority, "127.0.0.1") if secure else None
        lane = open_lane(tls=client_context(authority)) if secure else open_lane()
        async with serving(tls=server_tls) as server, lane as opened:
            yield opened, server

    return open_both


class UnnoticedFile(FileContent):
    """A file whose times do not tell that it was written to."""

    def check_unchanged(self):
        pass


@asynccontextmanager
async def opened(path):
    file, pool = UnnoticedFile(os.fspath(path), MemoryBudget(0)), ThreadPool(1)
    try:
        await pool.run(file.open)
        yield file
    finally:
        file.close()
        await pool.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("size", [1000, 2 * MIB + 7])
async def test_a_file_is_hashed_as_it_is_sent(sending, make_file, size):
    path = make_file(size)
    fingerprint = fingerprint_of(sample(size))
    part = PlannedPart(2, 64, size - 64)
    async with sending() as (lane, server), opened(path) as content:
        chain = PartChain("a", part, fingerprint)
        await lane.send(part, content, server.url, chain)
        assert server.requests[0].body == sample(size)[64:]
        path.write_bytes(flipped(sample(size), size - 1))
        with pytest.raises(SourceChanged, match="part 2"):
            await lane.send(part, content, server.url, chain)
        await lane.send(part, content, server.url)  # without a chain nobody looks


@pytest.mark.anyio
@pytest.mark.parametrize("size", [0, 5, 64 * 1024, 2 * MIB + 7])
async def test_the_hash_sees_the_very_bytes_that_go_out(sending, size):
    class Wavering(BytesContent):
        """Gives other bytes the second time."""

        def read(self, offset, length):
            given = super().read(offset, length)
            reads.append(offset)
            return given if reads.count(offset) == 1 else bytes(len(given))

    data = sample(size)
    part = PlannedPart(1, 0, size)
    reads: list[int] = []
    chain = PartChain("a", part, fingerprint_of(data))
    async with sending() as (lane, server):
        await lane.send(part, Wavering(memoryview(data)), server.url, chain)
    assert server.requests[0].body == data
    assert len(reads) == len(set(reads))


async def upload_what_changes(emulator, *, verify):
    """Upload a buffer that is written to once it has been hashed; return what is raised."""
    data = bytearray(sample(11 * MIB))

    def change():
        data[6 * MIB] ^= 1

    emulator.seen.then("files.create", change)
    async with connect(emulator, verify_parts=verify) as drive:
        device = await drive.devices.bind("careful")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            with pytest.raises((SourceChanged, IntegrityCheckFailed)) as error:
                await session.upload(data, name="wavering", part_size=5 * MIB)
    return error.value


@pytest.mark.anyio
async def test_a_part_that_is_not_what_was_hashed_never_counts_as_arrived(koodrive_emulator):
    error = await upload_what_changes(koodrive_emulator, verify=True)
    assert isinstance(error, SourceChanged)
    assert "part 2" in str(error)
    assert koodrive_emulator.seen.count("files.complete") == 0


@pytest.mark.anyio
async def test_a_small_file_needs_no_proof_for_it_was_kept(koodrive_emulator, make_file):
    path = make_file(1000)
    koodrive_emulator.seen.then("files.create", lambda: path.write_bytes(b"other"))
    async with connect(koodrive_emulator, verify_parts=True) as drive:
        device = await drive.devices.bind("careful")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            receipt = await session.upload(path)
    assert receipt.sha256 == hashlib.sha256(sample(1000)).hexdigest()


# --- finding out afterwards --------------------------------------------------------------------


def test_no_part_is_wrong_in_what_was_hashed():
    data = sample(SIZE)
    assert wrong_parts(content_of(data), small_plan(), fingerprint_of(data)) == ()


def test_every_part_that_was_changed_is_named():
    data = flipped(flipped(sample(SIZE), 5), 290)
    assert wrong_parts(content_of(data), small_plan(), fingerprint_of(sample(SIZE))) == (1, 3)


def test_what_was_cut_off_is_wrong(make_file):
    path = make_file(SIZE)
    content = FileContent(os.fspath(path), MemoryBudget(0))
    content.open()
    os.truncate(path, PART + 1)
    assert wrong_parts(content, small_plan(), fingerprint_of(sample(SIZE))) == (2, 3)
    content.close()


def test_parts_of_a_real_size_are_read_in_slices_and_can_be_left():
    data = sample(11 * MIB)
    plan, fingerprint = plan_parts(len(data), 5 * MIB), fingerprint_of(data, MIB)
    heard: list[int] = []
    assert wrong_parts(content_of(data), plan, fingerprint, heard.append) == ()
    assert heard == [*range(MIB, 12 * MIB, MIB)]

    def leave(done):
        if done == 7 * MIB:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wrong_parts(content_of(data), plan, fingerprint, leave)
    with pytest.raises(KeyboardInterrupt):
        suspects(content_of(data), plan, dict.fromkeys((1, 2, 3), "0" * 32), leave)


def etags_of(data, form='"{}"'):
    return {
        part.number: form.format(
            hashlib.md5(data[part.offset : part.offset + part.size]).hexdigest()
        )
        for part in small_plan(len(data)).parts
    }


@pytest.mark.parametrize("form", ['"{}"', "{}", 'W/"{}"'])
def test_a_part_that_was_stored_otherwise_is_suspect(form):
    data = sample(SIZE)
    etags = etags_of(data, form) | {2: form.format("0" * 32)}
    assert suspects(content_of(data), small_plan(), etags) == (2,)
    assert suspects(content_of(data), small_plan(), etags_of(data, form)) == ()


def test_the_case_of_an_etag_does_not_matter():
    data = sample(SIZE)
    etags = {number: etag.upper() for number, etag in etags_of(data).items()}
    assert suspects(content_of(data), small_plan(), etags | {1: '"' + "A" * 32 + '"'}) == (1,)


def test_etags_that_are_no_md5_tell_nothing():
    data = sample(SIZE)
    etags = {number: etag[::-1] for number, etag in etags_of(data).items()}
    assert suspects(content_of(data), small_plan(), etags) == ()


@pytest.mark.parametrize("strange", [None, "", '"abc-3"', "0" * 64, "x" * 32])
def test_a_part_without_an_md5_for_an_etag_is_not_suspect(strange):
    data = sample(SIZE)
    assert suspects(content_of(data), small_plan(), etags_of(data) | {2: strange}) == ()
    assert suspects(content_of(data), small_plan(), {}) == ()


@pytest.mark.anyio
async def test_wrong_parts_are_found_in_a_thread_beside_the_loop():
    data = sample(SIZE)
    found = await anyio.to_thread.run_sync(
        wrong_parts, content_of(flipped(data, 0)), small_plan(), fingerprint_of(data)
    )
    assert found == (1,)
