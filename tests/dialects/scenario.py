"""One story of backups, told to a service of any dialect, and the oracle that it is held against.

A tree with empty, small and large files is backed up while answers are lost, the lock runs out and
URLs grow old; the run is killed, and its lock stays with the service. Another run goes on with it,
whose lock is suddenly unknown. A second backup of the same tree, one file of which has changed,
waits for a lock that another client holds, and finds a lock in its journal that ran out, an unknown
one, and one of another user. Then everything is listed, downloaded and compared.

The oracle: what a receipt says is stored is stored, in this record, once, equal byte for byte, as
the store of the emulator and a download say. A file without a receipt has an error of the tree that
says what happened, and is one that the dialect makes impossible (:func:`may_fail`).
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import socket
import ssl
import time
from collections import Counter
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import aiohttp
import attrs
import pytest
import trustme
from yarl import URL

from koodrive_async import (
    ApiError,
    AppSignature,
    AuthenticationError,
    BearerToken,
    IntegrityCheckFailed,
    KooDriveError,
    Module,
    NewScope,
    RecordStatus,
    Timeouts,
    UploadFailure,
)
from koodrive_async.emulator import Dialect, Emulator, Fault, HeldStatus
from koodrive_async.testing import connect
from koodrive_async.upload import Journal, plan
from tests.sample import sample

PART = 1024 * 1024  # the least that a plan of the client has
PARTS = 3
LONG_FOLDER = "/".join(["a folder with a name that is long, since paths have no limit" * 3] * 4)
CONTENTS = {
    "empty.txt": b"",
    "small/one.txt": b"one",
    "small/two.txt": b"two, of a few more bytes than eight",
    "small/same as two.txt": b"two, of a few more bytes than eight",
    "other/one.txt": b"another one",
    f"{LONG_FOLDER}/deep.txt": b"deep in the tree",
    "large.bin": sample((PARTS - 1) * PART + 10),
}
LATE = {
    "late/one.txt": b"written after the run was killed",
    "late/two.txt": b"written after the run was killed, too",
}
RESUMED = CONTENTS | LATE
CHANGED = {
    **RESUMED,
    "large.bin": b"changed" + CONTENTS["large.bin"][7:-3],
    "small/one.txt": b"changed",
    "other/one.txt": b"changed as well",
}
# Questions about signing in, and about the forms of all answers.
SIGNING_IN = {
    "bad_credentials",
    "app_signature",
    "signing_string",
    "login_answer",
    "refreshed_session",
    "refusal_status",
    "numbers",
    "absent_fields",
    "unknown_fields",
}
USERS = ("1505084218764547200", "1882575898755117312")
LOCK_WAIT = 60.0
URL_LIFE = 60.0
LOCK_LIFE = 600.0


class Clock:
    """The wall clock of both sides: the story moves it, and every sleep by it is short."""

    def __init__(self):
        self.moved = 0.0

    def time(self):
        return time.time() + self.moved

    async def sleep(self, seconds):
        await asyncio.sleep(min(seconds, 0.002))

    def pass_(self, seconds):
        """Return a function that moves the clock."""

        def move():
            self.moved += seconds

        return move


def impossible(dialect):
    """Say what in a dialect makes every upload of some bytes impossible; nothing if it does not."""
    if (dialect.proof_origin, dialect.proof_seed) != ("header", "hex"):
        return "proofCode is computed in one way"
    if (dialect.container_in_request, dialect.space_calls) == ("required", "neither"):
        return "the space must be named, and no call says which there are"
    return None


def may_fail(dialect, path):
    """Say whether a dialect makes the upload of a file impossible."""
    if not CHANGED[path]:
        return dialect.empty_file == "refused" or dialect.container_in_request == "required"
    return impossible(dialect) is not None


def leaves_nothing(dialect):
    """Say whether an upload can find out, in a record, that an unfinished file there is its own."""
    settings = {*dialect.settings} - {"unfinished_record=refused"}
    return settings in ({"unfinished_details=given"}, {"unfinished_files=listed"})


def downloads_work(dialect):
    """Say whether the space of a file can be known, which a link needs."""
    return dialect.container_in_answer == "given" or dialect.space_calls != "neither"


@attrs.frozen(kw_only=True)
class Certificates:
    """Contexts for a service whose URLs have another scheme than its interface."""

    server: ssl.SSLContext
    client: ssl.SSLContext

    @classmethod
    def made(cls):
        """Make an authority, and a certificate of this machine."""
        authority = trustme.CA()
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(server)
        client = ssl.create_default_context()
        authority.configure_trust(client)
        return cls(server=server, client=client)


@contextmanager
def absolute_names_resolve():
    """Resolve names with a final dot, which not every machine does for ``localhost.``."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host, *arguments, **more):
        if isinstance(host, str):
            host = host.rstrip(".")
        elif isinstance(host, bytes):
            host = host.rstrip(b".")
        return resolve(host, *arguments, **more)

    with patch.object(socket, "getaddrinfo", getaddrinfo):
        yield


async def play(folder, dialect, certificates=None):
    """Tell the story in a folder, which is made for it and removed after a good end.

    :raises AssertionError: The oracle found something.
    :raises Exception: The client raised what it should not have.
    """
    folder.mkdir()
    with patch.object(plan, "DEFAULT_PART_SIZE", PART), absolute_names_resolve():
        assert len(plan.plan_parts(len(CONTENTS["large.bin"]))) == PARTS
        await Story(folder, dialect, certificates).tell()
    shutil.rmtree(folder)


class Story:
    """The story in one dialect."""

    def __init__(self, folder, dialect, certificates):
        self.folder, self.dialect = folder, dialect
        self.clock = Clock()
        self.journal = folder / "journal.db"
        self.tree = folder / "tree"
        self.certificates = certificates if dialect.url_scheme != "same" else None
        self.emulator = Emulator(
            self.folder / "koodrive",
            dialect=dialect,
            users=USERS,
            min_part_size=PART,
            etags=False,
            clock=self.clock.time,
            ssl_context=self.certificates and self.certificates.server,
        )
        self.questions = {setting.partition("=")[0] for setting in dialect.settings}
        self.device_id = self.latest = None
        self.receipts = {}

    async def tell(self):
        self.write(CONTENTS)
        async with self.emulator:
            await self.calls_around()
            first = await self.ends_well(self.killed_is_resumed(await self.first_backup()), RESUMED)
            if first is None:
                return
            self.write(CHANGED)
            await self.abandoned_backup()
            second = await self.ends_well(self.second_backup(), CHANGED)
            for record_id, contents in ((first, RESUMED), (second, CHANGED)):
                await self.compared(record_id, contents)
            await self.removed(first)
            assert self.emulator.locks() == (), "a lock was left behind"

    # --- what is told ----------------------------------------------------------------------

    async def calls_around(self):
        """Devices, scopes, and ways of signing in where they are asked about."""
        async with self.client() as drive:
            device = await drive.devices.bind("machine", name="a machine", os="any")
            assert (await drive.devices.bind("machine")).machine_code == "machine"
            self.device_id = device.device_id
            assert self.device_id in {each.device_id for each in await drive.devices.list()}
            await drive.scopes.add(self.device_id, Module.FOLDER, [NewScope(local_path="/a")])
            (scope,) = await drive.scopes.list(self.device_id, Module.FOLDER)
            deleted = await drive.scopes.delete(self.device_id, [scope.scope_id])
            assert (deleted.scope_ids, deleted.failed) == ((scope.scope_id,), ())
            deleted = await drive.scopes.delete(self.device_id, ["1234"])
            assert [each.scope_id for each in deleted.failed] == ["1234"]
            with pytest.raises(KooDriveError):
                await drive.records.get("1234")
            if self.dialect == Dialect() or SIGNING_IN & self.questions:
                await self.ways_of_signing_in(drive)

    async def ways_of_signing_in(self, drive):
        """Tokens that were fetched and made up, and the app signature."""
        session = await drive.tokens.login(
            self.emulator.account, agent_name="agent", password=self.emulator.password
        )
        session = await drive.tokens.refresh(
            session.refresh_token, access_token=session.access_token
        )
        async with self.client(auth=BearerToken(session.access_token)) as other:
            assert await other.devices.list()
        await self.refused(BearerToken("Bearer+of-nobody"))
        app = AppSignature(app_id=self.emulator.app_id, app_secret=self.emulator.app_secret)
        if self.dialect.app_signature == "refused" or self.dialect.signing_string == "with-date":
            await self.refused(app)
            return
        async with self.client(auth=app) as other:
            assert await other.devices.list()

    async def refused(self, auth):
        async with self.client(auth=auth) as drive:
            with pytest.raises(AuthenticationError):
                await drive.devices.list()

    async def first_backup(self):
        """Begin, lose answers, the lock, an upload and some URLs, and be killed."""
        self.faults(
            "lost-answer:records.create:times=1",
            "lost-answer:files.create:times=2,after=1",
            "lost-answer:files.complete:times=1",
            "lost-answer:part.put:times=1",
            "lost-upload:files.complete:times=1,after=1",
            "throttle=0:files.create:times=1",
            "expired-lock:files.create:times=1,after=4",
        )
        self.emulator.seen.then("files.create", self.clock.pass_(URL_LIFE + 1), count=5)
        record_id = await self.killed_backup("files.complete", 4)
        self.faults_are_over()
        return record_id

    async def abandoned_backup(self):
        """Begin a record that is left as it is, with unfinished files of the same names."""
        await self.killed_backup("part.put", 3)
        self.emulator.faults.clear()

    async def killed_backup(self, route, count):
        """Back up until a call is answered so often; the lock stays with the service."""
        records = []

        async def run():
            async with self.client() as drive, self.session(drive) as session:
                records.append(session.record.record_id)
                await self.upload(session)
                raise AssertionError("the run should have been killed")

        task = asyncio.create_task(run())
        loop = asyncio.get_running_loop()

        def kill():
            self.emulator.faults.add(Fault("reset", "locks.release"))
            loop.call_soon_threadsafe(task.cancel)

        answered = self.emulator.seen.count(route)
        self.emulator.seen.then(route, kill, count=answered + count)
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
        self.receipts.pop(records[0], None)  # they died with the process
        return records[0]

    async def ends_well(self, backup, contents):
        """Await a backup, and return its record; of another backup where that has to be refused.

        It has to be if, and only if, the service completes no record with an unfinished file, and
        the record has one. The error says that a new record is the way on. None where no file can
        be uploaded, and so no record with these files be completed.
        """
        refuses, refusal = self.dialect.unfinished_record == "refused", None
        try:
            record_id = await backup
        except IntegrityCheckFailed as error:
            refusal, record_id = error, self.latest
            self.emulator.faults.clear()
        assert bool(refuses and self.unfinished(record_id)) == (refusal is not None)
        if refusal is not None:
            assert refusal.method == "PATCH"
            assert "begin a new record" in str(refusal)
            self.stored(record_id, contents)
            if impossible(self.dialect) is not None:
                return None  # each of its files fails, in a new record as well
            async with self.client() as drive, self.session(drive) as session:
                await self.upload(session)
            record_id = session.record.record_id
            assert not self.unfinished(record_id)
        return record_id

    def unfinished(self, record_id):
        return [
            file.name
            for file in self.emulator.files()
            if file.record_id == record_id and not file.completed
        ]

    async def killed_is_resumed(self, record_id):
        self.write(LATE)  # what the killed run left to do differs: these files are always left
        self.faults(
            "lost-answer:files.create:times=1",
            "lost-answer:files.complete:times=1",
            "error=503:files.complete:times=1,after=1",
            "lost-answer:records.complete:times=1",
        )
        async with self.client() as drive, self.session(drive, resume=record_id) as session:
            await drive.locks.release(session.lock.lock_id)
            await self.upload(session)
            assert session.record.record_id == record_id
        assert session.lock.losses == 1
        if impossible(self.dialect) is None:
            self.faults_are_over()
        self.emulator.faults.clear()
        if leaves_nothing(self.dialect):
            assert not self.unfinished(record_id)
        return record_id

    async def second_backup(self):
        """Wait for a lock, lose it, and lose the token."""
        emulator, tasks = self.emulator, []
        self.faults(
            "expired-lock:files.create:times=1,after=2",
            "expired-token:files.create:times=1,after=3",
            "lost-answer:records.create:times=1",
            "lost-answer:files.create:times=4,after=1",
            "lost-upload:part.put:times=1",
        )
        self.clock.moved += LOCK_LIFE  # of the lock that the abandoned run left
        stranger = emulator.accounts[1]
        of_stranger = self.client(auth=BearerToken(stranger.token), user_id=stranger.user_id)
        async with self.client() as other, of_stranger as third, self.client() as drive:
            foreign = await third.locks.create(Module.FOLDER)
            await self.noted("unknown@100", foreign.lock_id)
            held = await other.locks.create(Module.FOLDER)
            loop = asyncio.get_running_loop()

            def give_back():
                tasks.append(loop.create_task(other.locks.release(held.lock_id)))

            renewed = emulator.seen.count("locks.renew")
            emulator.seen.then(
                "locks.renew", lambda: loop.call_soon_threadsafe(give_back), count=renewed + 3
            )
            try:
                async with self.session(drive) as session:
                    await self.upload(session)
            finally:
                if not tasks:
                    give_back()
                await asyncio.gather(*tasks)
                await third.locks.renew(foreign.lock_id)
                await third.locks.release(foreign.lock_id)
            if self.dialect.lock_scope != "device":  # there no lock was in the way
                tried = emulator.seen.requests("locks.renew")
                assert {"unknown@100", foreign.lock_id} <= {each.lock_id for each in tried}
            record_id = session.record.record_id
        self.faults_are_over()
        return record_id

    async def noted(self, *lock_ids):
        """Note locks in the journal, as processes have left them that were killed."""
        journal = Journal(self.journal)
        await journal.open()
        for lock_id in lock_ids:
            account = f"{self.emulator.user_id}@{self.emulator.url}"
            journal.hold_lock(account, Module.FOLDER.value, lock_id)
        await journal.aclose()

    async def removed(self, record_id):
        async with self.client() as drive:
            async with drive.locks.hold(Module.FOLDER) as lease:
                await drive.records.delete(record_id, lock_id=lease.lock_id)
            try:
                record = await drive.records.get(record_id)
            except KooDriveError:
                record = None
            assert record is None or record.status == RecordStatus.TO_BE_DELETED
            try:
                await drive.devices.unbind(self.device_id)
            except ApiError:
                assert self.dialect.unbound_device == "refused-with-records"

    # --- what it is held against -----------------------------------------------------------

    async def compared(self, record_id, contents):
        """Hold the receipts of a record against the store, the listing and a download."""
        (record,) = [each for each in self.emulator.records() if each.record_id == record_id]
        assert record.status == HeldStatus.COMPLETED
        self.stored(record_id, contents)
        await self.downloaded(record_id, self.receipts[record_id], contents)

    def stored(self, record_id, contents):
        """Hold the receipts of a record against the store."""
        receipts = self.receipts[record_id]
        held = {each.file_id: each for each in self.emulator.files()}
        wanted = {path for path in contents if not may_fail(self.dialect, path)}
        assert receipts.keys() >= wanted, "files of the tree have neither a receipt nor a failure"
        for path, receipt in receipts.items():
            file = held.get(receipt.file_id)
            assert file is not None, f"{path}: is not stored"
            assert file.record_id == record_id, f"{path}: is of another record"
            assert file.completed, f"{path}: is not complete"
            assert self.emulator.content(file.file_id) == contents[path], f"{path}: differs"
            assert receipt.name == file.name, f"{path}: is told to be called {receipt.name}"
        ids = Counter(receipt.file_id for receipt in receipts.values())
        assert set(ids.values()) <= {1}, "two files are told to be one"
        complete = {
            each.file_id for each in held.values() if each.record_id == record_id and each.completed
        }
        assert complete == set(ids), "the record holds files that no receipt is of, or twice"

    async def downloaded(self, record_id, receipts, contents):
        async with self.client() as drive, AsyncExitStack() as stack:
            lock_id = None
            if self.dialect.lock_header in {"reads-too", "everywhere"}:
                lease = await stack.enter_async_context(drive.locks.hold(Module.FOLDER))
                lock_id = lease.lock_id
            listed = await self.listed(drive, record_id, lock_id)
            by_id = {receipt.file_id: path for path, receipt in receipts.items()}
            assert by_id.keys() <= listed.keys(), "the listing lacks files"
            if not downloads_work(self.dialect):
                return
            container_id = await self.container(drive, receipts)
            links = await drive.files.download_urls(container_id, list(by_id))
            http = await stack.enter_async_context(aiohttp.ClientSession())
            tls = self.certificates.client if self.certificates else True
            for link in links:
                url = URL(link.url, encoded=True)
                # the host as it was signed: aiohttp would leave a final dot out
                host = {"Host": link.url.split("/")[2]}
                async with http.get(url, ssl=tls, headers=host) as answer:
                    assert answer.status == 200
                    data = await answer.read()
                assert data == contents[by_id[link.file_id]], "a download differs"
                assert listed[link.file_id].size == len(data)
                assert listed[link.file_id].sha256 == hashlib.sha256(data).hexdigest()

    async def listed(self, drive, record_id, lock_id):
        if lock_id is None:
            pager = drive.files.list(record_id, page_size=3)
        else:
            pager = drive.files.list(record_id, page_size=3, lock_id=lock_id)
        return {file.file_id: file async for file in pager}

    async def container(self, drive, receipts):
        for receipt in receipts.values():
            if receipt.container_id is not None:
                return receipt.container_id
        if self.dialect.space_calls in {"both", "v2"}:
            return (await drive.spaces.list())[0].container_id
        return (await drive.spaces.get()).container_id

    # --- tools -----------------------------------------------------------------------------

    def client(self, **more):
        token: str | None = self.emulator.token

        async def current():
            # the one that is signed in, or another one once that has run out
            nonlocal token
            if (now := token) is None:
                now = await asyncio.to_thread(self.emulator.new_token)
            token = None
            return now

        settings = {
            "auth": BearerToken(current),
            "clock": self.clock,
            "journal": self.journal,
            "timeouts": Timeouts(lock=LOCK_WAIT, cleanup=5, answer=20, complete=20),
            "tls": self.certificates and self.certificates.client,
            **more,
        }
        return connect(self.emulator, **settings)

    def session(self, drive, **more):
        return drive.backup(self.device_id, Module.FOLDER, root=self.tree, **more)

    async def upload(self, session):
        self.latest = session.record.record_id
        receipts = self.receipts.setdefault(self.latest, {})
        async for outcome in session.upload_tree(self.tree):
            if isinstance(outcome, UploadFailure):
                assert isinstance(outcome.error, KooDriveError)
                path = Path(str(outcome.source)).relative_to(self.tree).as_posix()
                if not may_fail(self.dialect, path):
                    raise outcome.error
            else:
                # the description is the path, as upload_tree promises
                assert outcome.description in CHANGED, f"told to be {outcome.description!r}"
                receipts[outcome.description] = outcome

    def write(self, contents):
        for path, data in contents.items():
            place = self.tree / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)

    def faults(self, *rules):
        self.emulator.faults.clear()
        self.emulator.faults.add(*(Fault.parse(rule) for rule in rules))

    def faults_are_over(self):
        """Clear the faults, each of which must have hit something."""
        for fault in self.emulator.faults:
            assert self.emulator.faults.hits(fault), f"{fault} hit nothing"
        self.emulator.faults.clear()
