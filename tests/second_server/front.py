"""A second KooDrive, to which the package was not written.

**The rule of independence.** What is in this folder is written from the vendor's pages and the
project's reference of them, and from nothing else. The emulator and the SDK are by the same hands,
so what both take for granted no test of theirs can find. A change of a file here is made without a
look at ``koodrive_async/emulator/`` and ``tests/emulator/``. The server imports nothing of the
package; the tests use the package as its users do. No answer becomes kinder because the SDK
stumbles over it: the SDK is mended, or the assumption goes into ``docs/reference/dialects.md``.

Where the pages are silent, this server answers as a reasonable service could and the usual reading
does not expect:

======================================= ========================================================
question                                answer here
======================================= ========================================================
``code``                                a number and a string in turn; extra fields, nulls
ids, sizes, states                      numbers in some answers, strings in others
encoding of answers                     plain, chunked and gzip in turn; header names lower case
kept connections                        every eleventh is closed without an announcement
pages                                   newest first, shorter than asked for, one of them empty
a lock that is held                     HTTP 423, code 13000931 (in no table)
a lock that is lost or unknown          HTTP 409, code 13000932 (in no table)
credentials refused                     HTTP 403 in the gateway's form: no ``code``, no ``msg``
binding a machine that is bound         refused: HTTP 409, code 13000934 (in no table)
names                                   unique in the space, over all records; ``name(1).ext``
listing of a record                     shows unfinished files, as they were announced
``containerId``                         not in the answer to creating; the space calls have it
part URLs in the answer to creating     for the first two parts; ``host`` is the only header signed
part URLs for a complete file           refused: 13000401
completing a complete file              refused: 13000401
completing a completed record           refused: HTTP 409, code 13000935 (in no table)
unknown file, record or device          HTTP 404, code 13000309
flash upload                            never, unless ``Choices.flash``
empty files                             ``Choices.empty``
======================================= ========================================================

**What a real store makes different from the vendor's.** A file of several parts is an S3 multipart
upload, of which every part but the last has 5 MiB or more; a file of one part is a plain PUT, which
may be repeated also after the file is complete. ``completeFile`` lists the parts, merges them, and
reads the object for its size, SHA-256, proof code and midstates. S3 forgets a multipart upload with
its merging: when the merged object is wrong, it is deleted, another multipart upload begins under
the same ``fileId``, and 13000402 means that *every* part has to be sent again.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import secrets
import threading
import time
import traceback
import uuid
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, quote

import aiohttp
import attrs
from aiohttp import web

from tests.second_server.sha256 import digest_after
from tests.second_server.stores import Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

Json = dict[str, Any]

BASE = "/koodrive/ose/v1"
MIB = 1 << 20
SMALL_TAIL = 64 * 1024
"""Bytes after a midstate up to which it is checked: plain Python takes its time."""


@attrs.frozen(kw_only=True)
class Choices:
    """Answers that a test may want otherwise.

    :param empty: ``"put"``: an empty file wants the PUT of its one part; ``"none"``: it gets no
        part URL, and asking for one is refused; ``"nothing"``: the answer to that has no URL;
        ``"free"``: with the PUT or without.
    :param flash: Content that is in the space need not be sent.
    :param needs_lock: Also ``uploadUrl`` and ``completeFile`` of a backup file want the lock.
    :param lock_life: Seconds.
    """

    empty: str = "free"
    flash: bool = False
    needs_lock: bool = False
    lock_life: float = 600.0


class Refusal(Exception):  # noqa: N818 - an answer, to which the handlers come by raising it
    """An answer that says no."""

    def __init__(self, status: int, code: int, msg: str, **fields: Any) -> None:
        super().__init__(msg)
        self.status, self.code, self.msg, self.fields = status, code, msg, fields


@attrs.define(eq=False)
class StoredFile:
    """A file of a record; ``origin`` is the header value that its proof code was computed from."""

    sequence: int
    file_id: str
    record_id: str
    name: str
    sha256: str
    length: int
    description: str | None
    proof: str | None
    origin: str
    parts: list[Json]
    key: str
    upload_id: str = ""
    complete: bool = False

    @property
    def is_multipart(self) -> bool:
        return len(self.parts) > 1


@attrs.define(eq=False)
class Record:
    """A backup record."""

    sequence: int
    record_id: str
    device_id: str
    module: str
    properties: str | None
    created: str
    ended: str | None = None
    status: int = 0


class Front:
    """The server: its state, and what tests do to it.

    :ivar violations: What the client did that the pages forbid.
    :ivar calls: How often each call has come.
    """

    user_id = "7060504030201000999"
    app_id = "second-app"
    app_secret = "second-secret"

    def __init__(self, store: Store, choices: Choices | None = None) -> None:
        self.store = store
        self.choices = choices or Choices()
        self.container_id = f"IA{secrets.token_hex(6)}AAA{self.user_id}"
        self.token = ""
        self.change_token()
        self.devices: dict[str, Json] = {}
        self.records: dict[str, Record] = {}
        self.files: dict[str, StoredFile] = {}
        self.locks: dict[str, tuple[str, float]] = {}
        self.violations: list[str] = []
        self.calls: Counter[str] = Counter()
        self.checked_midstates = 0
        self.url = ""
        self._prefix = f"kd 1+1=2/{uuid.uuid4().hex}"
        self._sequence = 0
        self._answers = 0
        self._midstates: dict[tuple[str, int], tuple[int, ...]] = {}
        self._lost: Counter[str] = Counter()
        self._ignored: Counter[str] = Counter()
        self._after: defaultdict[tuple[str, int], list[Callable[[], None]]] = defaultdict(list)
        self._spoilt: list[Callable[[str], str]] = []
        self._aged = self._damage = 0
        self._failure: BaseException | None = None
        self._http: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # --- what tests do -------------------------------------------------------------------------

    def lose_answers(self, call: str, times: int = 1) -> None:
        """Drop the connection after acting, instead of answering."""
        self._lost[call] += times

    def ignore(self, call: str, times: int) -> None:
        """Drop the connection instead of acting, so many times from now on."""
        self._ignored[call] = times

    def after(self, call: str, nth: int, action: Callable[[], None]) -> None:
        """Do something when a call has acted for the nth time from now, before it answers."""
        self._after[call, self.calls[call] + nth].append(action)

    def forge_urls(self, times: int) -> None:
        """Change the last digit of the signature of the next part URLs."""
        self._spoilt += [_forged] * times

    def expire_urls(self, times: int) -> None:
        """Make the next part URLs ones that have expired."""
        self._aged += times

    def lose_locks(self) -> None:
        """Forget all locks."""
        self.locks.clear()

    def give_locks_to_another(self) -> None:
        """Forget all locks, and grant those of the same modules to another client."""
        self.locks = {
            f"{uuid.uuid4()}@{module}": (module, until) for module, until in self.locks.values()
        }

    def change_token(self) -> None:
        """Have the token expire, and take another one from now on."""
        self.token = f"AT {secrets.token_hex(20)}"

    def forget_uploads(self) -> None:
        """Abort the multipart uploads at the store, as a rule of its life cycle would."""

        async def abort() -> None:
            for file in self.files.values():
                if file.is_multipart and not file.complete:
                    await self.store.abort(self._session, file.key, file.upload_id)

        self._later(abort())

    def damage_next_merge(self) -> None:
        """Have the next object that is merged come out with other bytes."""
        self._damage += 1

    def read(self, file_id: str) -> bytes | None:
        """Return the object of a file, read from the store."""
        assert self._loop is not None
        reading = self.store.read(self._session, self.files[file_id].key)
        return asyncio.run_coroutine_threadsafe(reading, self._loop).result(30)

    def _later(self, work: Any) -> None:
        """Run something before the present call is answered."""
        self._pending.append(work)

    # --- lifetime ------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="second server")
        self._thread.start()
        started.wait()
        if self._failure is not None:
            raise RuntimeError("the second server does not start") from self._failure
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._failure is not None:
            raise RuntimeError("the second server has failed") from self._failure

    def _run(self, started: threading.Event) -> None:
        try:
            asyncio.run(self._serve(started))
        except BaseException as failure:  # noqa: BLE001 - raised where the server was started
            self._failure = failure
        finally:
            started.set()

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._pending: list[Awaitable[None]] = []
        app = web.Application(client_max_size=64 * MIB)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(_lower_case)
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=20, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession(trust_env=False) as self._http:
            self.url = f"http://127.0.0.1:{port}"
            started.set()
            await self._stop.wait()
            await runner.cleanup()

    @property
    def _session(self) -> aiohttp.ClientSession:
        assert self._http is not None
        return self._http

    # --- one call ------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        name, handler, ids = self._route(request)
        if self._ignored[name] > 0:
            self._ignored[name] -= 1
            return _hang_up(request)
        status = 200
        try:
            origin = self._authenticate(request, body)
            self._check_headers(request)
            asked = Asked(request, _decoded(body), origin)
            answer = await handler(self, asked, *ids)
        except _GatewayRefusalError as refusal:
            return self._encode(403, refusal.body)
        except Refusal as refusal:
            status = refusal.status
            answer = {"code": refusal.code, "msg": refusal.msg, "data": None, **refusal.fields}
        except Exception as error:
            self.violations.append(f"the second server itself failed at {name}: {error!r}")
            traceback.print_exc()  # pytest shows it with the test that fails for it
            raise
        self.calls[name] += 1
        for action in self._after.pop((name, self.calls[name]), ()):
            action()
        while self._pending:
            await self._pending.pop()
        if self._lost[name] > 0:
            self._lost[name] -= 1
            return _hang_up(request)
        return self._encode(status, answer)

    def _route(self, request: web.Request) -> tuple[str, Handler, Sequence[str]]:
        path = request.rel_url.raw_path
        for method, pattern, handler in _ROUTES:
            if method == request.method and (found := re.fullmatch(pattern, path)):
                return handler.__name__, handler, found.groups()
        return "unknown", Front.unknown, (f"{request.method} {path}",)

    async def unknown(self, _: Asked, what: str) -> Json:
        self.violations.append(f"a call that no page has: {what}")
        raise Refusal(404, 13000101, "no such interface")

    def _encode(self, status: int, answer: Json) -> web.Response:
        self._answers += 1
        turn = self._answers
        if "msg" not in answer and "error_code" not in answer:
            answer = {**answer, "msg": ("SUCCESS", "success.", "ok")[turn % 3], "code": 0}
            answer = {"traceCost": {"ms": 3}, "ext": None, **answer}
        if turn % 2 and "code" in answer:
            answer["code"] = str(answer["code"])
        text = json.dumps(answer, ensure_ascii=turn % 4 == 0, indent=2 if turn % 5 == 0 else None)
        kind = "text/json" if turn % 6 == 0 else "application/json"
        # as a busy balancer does: closed after the answer, without a word
        form = _LastResponse if turn % 11 == 0 else web.Response
        response = form(body=text.encode(), status=status, content_type=kind)
        response.headers["X-Request-Cost"] = "3"
        if turn % 3 == 0:
            response.enable_compression(web.ContentCoding.gzip)
        elif turn % 3 == 1:
            response.enable_chunked_encoding()
        return response

    def _check_headers(self, request: web.Request) -> None:
        trace = request.headers.get("X-Traceid")
        if trace is not None and not re.fullmatch(r"[A-Za-z0-9_]{58}", trace):
            self.violations.append(f"trace id {trace!r}")
        user = request.headers.get("X-User-Id")
        if user is not None and user != self.user_id:
            self.violations.append(f"user id {user!r}")

    # --- who asks ------------------------------------------------------------------------------

    def _authenticate(self, request: web.Request, body: bytes) -> str:
        """Check the credentials, and return the value that proof codes are computed from."""
        given = request.headers.get("Authorization", "")
        if given == self.token:
            return given
        signed = re.fullmatch(
            r"HMAC-SHA256 AppId=([^,]+),SignedHeaders=([a-z0-9;-]+),Signature=([0-9a-f]{64})", given
        )
        if signed is None:
            raise _GatewayRefusalError("Incorrect authentication information: token")
        names = signed[2].split(";")
        if not {"x-date", "x-user-id"} <= set(names):
            raise _GatewayRefusalError("x-date and x-user-id must be signed")
        moment = datetime.strptime(request.headers.get("X-Date", "") + "+0000", "%Y%m%dT%H%M%SZ%z")
        age = (datetime.now(UTC) - moment).total_seconds()
        if not -1 < age < 15 * 60:
            raise _GatewayRefusalError("the signature has expired")
        text = string_to_sign(
            request.method,
            request.raw_path,
            [(name, request.headers.get(name, "")) for name in names],
            body,
        )
        expected = hmac.digest(self.app_secret.encode(), text.encode(), "sha256").hex()
        if signed[1] != self.app_id or not hmac.compare_digest(expected, signed[3]):
            raise _GatewayRefusalError("verify signature fail")
        return request.headers.get("X-User-Id", "")

    # --- devices and spaces --------------------------------------------------------------------

    async def bind_device(self, asked: Asked) -> Json:
        machine = asked.text("machineCode", r"[a-zA-Z0-9_]{1,64}")
        name = asked.optional("deviceName", r"[a-zA-Z0-9\-_\s]{1,32}")
        system = asked.optional("deviceOS", r"[a-zA-Z0-9_\s]{1,32}")
        if any(device["machineCode"] == machine for device in self.devices.values()):
            raise Refusal(409, 13000934, "the machine is bound already")
        device_id = self._new_id()
        self.devices[device_id] = {
            "deviceId": device_id,
            "machineCode": machine,
            "deviceName": name,
            "deviceOS": system,
            "createTime": _now(),
        }
        return {"data": self.devices[device_id]}

    async def list_devices(self, _: Asked) -> Json:
        bound = [
            {**device, "deviceId": int(device["deviceId"])} for device in self.devices.values()
        ]
        return {"data": bound[::-1]}

    async def space(self, _: Asked, owner: str) -> Json:
        self._check_owner(owner)
        return {"data": self._space()}

    async def spaces(self, _: Asked, owner: str) -> Json:
        self._check_owner(owner)
        return {"data": [self._space()]}

    def _check_owner(self, owner: str) -> None:
        if owner != self.user_id:
            raise Refusal(404, 13000301, "Space not found.")

    def _space(self) -> Json:
        return {
            "containerId": self.container_id,
            "ownerId": int(self.user_id),
            "type": "1",
            "status": 0,
            "capacity": str(1 << 40),
            "spaceUsed": sum(file.length for file in self.files.values()),
            "rootFileId": None,
        }

    # --- locks ---------------------------------------------------------------------------------

    async def create_lock(self, asked: Asked) -> Json:
        module = asked.text("moduleCode", r"10[012]")
        for held, until in self.locks.values():
            if held == module and until > time.monotonic():
                raise Refusal(423, 13000931, "another backup of this module is running")
        lock_id = f"{uuid.uuid4()}@{module}"
        self.locks[lock_id] = (module, time.monotonic() + self.choices.lock_life)
        return {"data": {"lockId": lock_id, "expireTime": None}}

    async def renew_lock(self, asked: Asked) -> Json:
        lock_id = self._check_lock(asked)
        self.locks[lock_id] = (self.locks[lock_id][0], time.monotonic() + self.choices.lock_life)
        return {}

    async def release_lock(self, asked: Asked) -> Json:
        del self.locks[self._check_lock(asked)]
        return {}

    def _check_lock(self, asked: Asked, *, is_documented: bool = True) -> str:
        lock_id = asked.request.headers.get("x-backup-lock-id", "")
        if not lock_id and is_documented:
            self.violations.append(f"{asked.request.method} {asked.request.path} without a lock")
        if lock_id not in self.locks or self.locks[lock_id][1] < time.monotonic():
            raise Refusal(409, 13000932, "the backup lock is not valid")
        return lock_id

    # --- records -------------------------------------------------------------------------------

    async def create_record(self, asked: Asked) -> Json:
        self._check_lock(asked)
        module = asked.text("moduleCode", r"10[012]")
        device_id = asked.text("deviceId", r"\d+")
        if device_id not in self.devices:
            raise Refusal(404, 13000309, "Resource not found.")
        record = Record(
            self._next(),
            self._new_id(),
            device_id,
            module,
            asked.json_text("properties"),
            _now(),
        )
        self.records[record.record_id] = record
        return {"data": {**_shown(record), "recordId": int(record.record_id)}}

    async def list_records(self, asked: Asked) -> Json:
        module, device = asked.query("moduleCode"), asked.request.query.get("deviceId")
        found = [
            record
            for record in self.records.values()
            if record.module == module and device in {None, record.device_id}
        ]
        return asked.page(found, lambda record: {**_shown(record), "status": str(record.status)})

    async def get_record(self, _: Asked, record_id: str) -> Json:
        return {"data": {**_shown(self._record(record_id)), "deviceInfo": None}}

    async def complete_record(self, asked: Asked, record_id: str) -> Json:
        self._check_lock(asked)
        record = self._record(record_id, is_open=True)
        if "properties" in asked.body:
            record.properties = asked.json_text("properties")
        record.status, record.ended = 1, _now()
        for file in self._files_of(record_id):
            if not file.complete:  # unfinished files go
                del self.files[file.file_id]
        return {}

    async def delete_record(self, asked: Asked, record_id: str) -> Json:
        self._check_lock(asked)
        self._record(record_id)
        del self.records[record_id]
        for file in self._files_of(record_id):
            del self.files[file.file_id]
        return {}

    def _record(self, record_id: str, *, is_open: bool = False) -> Record:
        record = self.records.get(record_id)
        if record is None:
            raise Refusal(404, 13000309, "Resource not found.")
        if is_open and record.status:
            raise Refusal(409, 13000935, "the record is completed")
        return record

    def _files_of(self, record_id: str) -> list[StoredFile]:
        return [file for file in self.files.values() if file.record_id == record_id]

    # --- files ---------------------------------------------------------------------------------

    async def create_file(self, asked: Asked, record_id: str) -> Json:
        self._check_lock(asked)
        self._record(record_id, is_open=True)
        name, sha256 = _checked_name(asked.body), asked.text("sha256", r"[0-9a-f]{64}")
        length = asked.number("length")
        self._check_space(asked.body.get("containerId") or self.container_id)
        proof = asked.body.get("proofCode")
        if (proof is None) != (length == 0):
            self.violations.append(f"proof code {proof!r} for {length} bytes")
        parts = _checked_parts(asked.body.get("multiParts"), length)
        holder = next((file for file in self.files.values() if file.name == name), None)
        mode = asked.body.get("autoRename") or 2
        if holder is not None and mode == 3:
            raise Refusal(400, 13000405, "Duplicate file name.", existFileId=holder.file_id)
        if holder is not None and mode == 4 and self._is_it(holder, record_id, sha256, length):
            return {"fileId": holder.file_id, "exist": True, "fileName": name}
        file = StoredFile(
            self._next(),
            "F" + secrets.token_urlsafe(24)[:32],
            record_id,
            self._free(name),
            sha256,
            length,
            asked.body.get("description"),
            proof,
            asked.origin,
            parts,
            f"{self._prefix}/{self._sequence}&{sha256[:8]}",
        )
        if self.choices.flash and (same := await self._same(file)):
            file.key, file.complete = same.key, True
        elif file.is_multipart:
            file.upload_id = await self.store.begin(self._session, file.key)
        self.files[file.file_id] = file
        return {
            "fileId": file.file_id,
            "fileName": file.name,
            "containerId": None,
            "uploadId": file.upload_id or None,
            "parentFolder": None,
            "rapidUpload": True if file.complete else None,
            "exist": None,
            "existFileId": None,
            "matchedPreHash": None,
            "multiParts": [] if file.complete else self._urls(file, parts, most=2),
        }

    def _is_it(self, file: StoredFile, record_id: str, sha256: str, length: int) -> bool:
        wanted = (record_id, sha256, length)
        return file.complete and (file.record_id, file.sha256, file.length) == wanted

    def _free(self, name: str) -> str:
        taken = {file.name for file in self.files.values()}
        stem, dot, extension = name.rpartition(".")
        if not dot:
            stem, extension = name, ""
        for turn in range(1, len(taken) + 2):
            if name not in taken:
                return name
            name = f"{stem}({turn}){dot}{extension}"
        raise AssertionError

    async def _same(self, file: StoredFile) -> StoredFile | None:
        for other in self.files.values():
            if other.complete and (other.sha256, other.length) == (file.sha256, file.length):
                content = await self.store.read(self._session, other.key) or b""
                self._check_proof(file, content)
                return other
        return None

    def _urls(self, file: StoredFile, parts: Sequence[Json], most: int) -> list[Json]:
        shown = [
            {**part, "uploadUrl": self._url(file, part["partNumber"]) if at < most else None}
            for at, part in enumerate(parts)
        ]
        return shown[::-1]

    def _url(self, file: StoredFile, number: int) -> str | None:
        if not file.length and self.choices.empty in {"none", "nothing"}:
            return None
        age = 0.0
        if self._aged:
            self._aged, age = self._aged - 1, 3600.0
        if file.is_multipart:
            url = self.store.part_url(file.key, file.upload_id, number, life=900, age=age)
        else:
            url = self.store.put_url(file.key, life=900, age=age)
        return self._spoilt.pop()(url) if self._spoilt else url

    async def list_files(self, asked: Asked, record_id: str) -> Json:
        self._record(record_id)

        def shown(file: StoredFile) -> Json:
            return {
                "fileId": file.file_id,
                "fileName": file.name,
                "sha256": file.sha256,
                "size": str(file.length) if file.sequence % 2 else file.length,
                "description": file.description,
                "createTime": _now(),
            }

        return asked.page(self._files_of(record_id), shown)

    async def upload_url(self, asked: Asked) -> Json:
        file = self._file(asked.body.get("fileId"))
        if self.choices.needs_lock:
            self._check_lock(asked, is_documented=False)
        if file.complete:
            raise Refusal(400, 13000401, "Upload task not found.")
        if not file.length and self.choices.empty == "none":
            raise Refusal(400, 13000102, "an empty file has no parts")
        wanted = asked.body.get("multiParts")
        announced = {part["partNumber"]: part for part in file.parts}
        if not isinstance(wanted, list) or not wanted:
            raise Refusal(400, 13000102, "Verify parameters failed.")
        for part in wanted:
            known = announced.get(part.get("partNumber"))
            if known is None or known["partSize"] != part.get("partSize"):
                raise Refusal(400, 13000102, "no such part")
            if part.get("hashCtx", known["hashCtx"]) != known["hashCtx"]:
                self.violations.append(f"another hashCtx for part {part['partNumber']}")
        return {"multiParts": self._urls(file, wanted, most=5)}

    async def complete_file(self, asked: Asked) -> Json:
        file = self._file(asked.body.get("fileId"))
        if self.choices.needs_lock:
            self._check_lock(asked, is_documented=False)
        if file.complete:
            raise Refusal(400, 13000401, "Upload task not found.")
        if asked.body.get("sha256", file.sha256) != file.sha256:
            raise Refusal(400, 13000102, "Verify parameters failed.")
        content = await self._merged(file)
        if (len(content), hashlib.sha256(content).hexdigest()) != (file.length, file.sha256):
            if file.is_multipart:  # S3 has forgotten the parts: another upload begins
                await self.store.delete(self._session, file.key)
                file.upload_id = await self.store.begin(self._session, file.key)
            digest = hashlib.sha256(content).hexdigest()
            raise Refusal(400, 13000402, f"File upload incomplete: {len(content)} bytes, {digest}")
        self._check_proof(file, content)
        self._check_midstates(file, content)
        file.complete = True
        return {}

    async def _merged(self, file: StoredFile) -> bytes:
        if file.is_multipart:
            try:
                stored = await self.store.parts(self._session, file.key, file.upload_id)
            except StoreError:
                raise Refusal(400, 13000401, "Upload task not found.") from None
            wanted = [(part["partNumber"], part["partSize"]) for part in file.parts]
            found = sorted((part.number, part.size) for part in stored)
            if found != wanted:
                raise Refusal(400, 13000402, f"File upload incomplete: {found}, not {wanted}")
            await self.store.assemble(self._session, file.key, file.upload_id, stored)
            if self._damage:
                self._damage -= 1
                await self.store.put(self._session, file.key, bytes(file.length))
        content = await self.store.read(self._session, file.key)
        if content is None and not file.length and self.choices.empty != "put":
            await self.store.put(self._session, file.key, b"")
            content = await self.store.read(self._session, file.key)
        if content is None:
            raise Refusal(400, 13000402, "File upload incomplete.")
        return content

    async def download(self, asked: Asked) -> Json:
        self._check_space(asked.body.get("containerId"))
        wanted = asked.body.get("fileIds")
        if not isinstance(wanted, list) or not 1 <= len(wanted) <= 100:
            raise Refusal(400, 13000102, "Verify parameters failed.")
        downloads: list[Json] = []
        for file_id in reversed(wanted):
            file = self.files.get(file_id)
            if file is None or not file.complete:
                failed = {"fileId": file_id, "code": "13000407", "msg": "no download address"}
                downloads.append({**failed, "url": None, "fileName": file.name if file else None})
                continue
            url = self.store.get_url(file.key)
            found = {"fileId": file_id, "fileName": file.name, "url": url}
            downloads.append({**found, "code": "0", "msg": "success"})
        worked = sum(each["url"] is not None for each in downloads)
        batch = 1 if worked == len(wanted) else 0 if worked else 2
        return {"batchCode": batch, "downloads": downloads}

    async def detail(self, asked: Asked, file_id: str) -> Json:
        self._check_space(asked.body.get("containerId"))
        file = self._file(file_id)
        links = [self.store.get_url(file.key)] if file.complete else None
        return {
            "id": file.file_id,
            "fileName": file.name,
            "recycled": False,
            "parentFolder": None,
            "properties": None,
            "containers": [self.container_id],
            "size": str(file.length),
            "sha256": file.sha256,
            "downloadLinks": links,
        }

    def _file(self, file_id: object) -> StoredFile:
        if not isinstance(file_id, str) or file_id not in self.files:
            raise Refusal(404, 13000309, "Resource not found.")
        return self.files[file_id]

    def _check_space(self, container_id: object) -> None:
        if container_id != self.container_id:
            raise Refusal(400, 13000301, "Space not found.")

    # --- what the bytes have to agree with -----------------------------------------------------

    def _check_proof(self, file: StoredFile, content: bytes) -> None:
        if content and file.proof != proof_of(file.origin, content):
            self.violations.append(f"proof code of {file.name!r}")
            raise Refusal(400, 13000402, "proof of possession failed")

    def _check_midstates(self, file: StoredFile, content: bytes) -> None:
        """Check the midstates that end in a small tail, and those of the same bytes in others.

        A midstate is right if what follows it gives the digest of the whole.
        """
        for part in file.parts[1:]:
            words, offset = part["hashCtx"], part["partOffset"]
            if words is None:
                continue
            tail, before = content[offset:], hashlib.sha256(content[:offset]).hexdigest()
            known = self._midstates.get((before, offset))
            if len(tail) <= SMALL_TAIL and digest_after(words, tail, len(content)) == file.sha256:
                known = self._midstates[before, offset] = tuple(words)
            elif len(tail) > SMALL_TAIL and known is None:
                continue  # too much for plain Python
            self.checked_midstates += 1
            if known != tuple(words):
                self.violations.append(f"midstate of part {part['partNumber']} of {file.name!r}")

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _new_id(self) -> str:
        return str(18 * 10**17 + secrets.randbelow(10**17))


class Asked:
    """A request, and what it asks for."""

    def __init__(self, request: web.Request, body: Json, origin: str) -> None:
        self.request, self.body, self.origin = request, body, origin

    def text(self, name: str, pattern: str) -> str:
        value = self.body.get(name)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise Refusal(400, 13000102, f"Verify parameters failed: {name}")
        return value

    def optional(self, name: str, pattern: str) -> str | None:
        return None if self.body.get(name) is None else self.text(name, pattern)

    def number(self, name: str) -> int:
        value = self.body.get(name)
        if type(value) is not int or value < 0:
            raise Refusal(400, 13000102, f"Verify parameters failed: {name}")
        return value

    def json_text(self, name: str) -> str | None:
        value = self.body.get(name)
        if value is None:
            return None
        try:
            json.loads(value)
        except (TypeError, ValueError):
            raise Refusal(400, 13000102, f"{name} is not a string of JSON") from None
        return str(value)

    def query(self, name: str) -> str:
        if name not in self.request.query:
            raise Refusal(400, 13000102, f"Verify parameters failed: {name}")
        return self.request.query[name]

    def page(self, items: Iterable[Any], shown: Callable[[Any], Json]) -> Json:
        """Answer with a part of a list, newest first; the second page is empty."""
        size = self.query("pageSize")
        if not size.isdecimal() or not 1 <= int(size) <= 100:
            raise Refusal(400, 13000102, "Verify parameters failed: pageSize")
        before, state = float("inf"), "first"
        if cursor := self.request.query.get("cursor"):
            found = re.fullmatch(r"p /\+=&(\d+),(empty|more)", cursor)
            if found is None:
                raise Refusal(400, 13000102, "Verify parameters failed: cursor")
            before, state = int(found[1]), found[2]
        if state == "empty":
            return {"data": [], "nextCursor": f"p /+=&{before},more"}
        left = sorted(
            (item for item in items if item.sequence < before), key=lambda item: -item.sequence
        )
        taken = left[: max(1, int(size) * 2 // 3)]
        following: str | None = "" if len(left) % 2 else None
        if len(left) > len(taken):
            following = f"p /+=&{taken[-1].sequence},{'empty' if state == 'first' else 'more'}"
        return {"data": [shown(item) for item in taken], "nextCursor": following}


Handler = Any
_ID, _FILE = r"(\d+)", r"([A-Za-z0-9_-]+)"
_ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("POST", f"{BASE}/backup/device", Front.bind_device),
    ("GET", f"{BASE}/backup/device", Front.list_devices),
    ("POST", f"{BASE}/backup/lock", Front.create_lock),
    ("PATCH", f"{BASE}/backup/lock", Front.renew_lock),
    ("DELETE", f"{BASE}/backup/lock", Front.release_lock),
    ("POST", f"{BASE}/backup/record", Front.create_record),
    ("GET", f"{BASE}/backup/record", Front.list_records),
    ("GET", f"{BASE}/backup/record/{_ID}", Front.get_record),
    ("PATCH", f"{BASE}/backup/record/{_ID}", Front.complete_record),
    ("DELETE", f"{BASE}/backup/record/{_ID}", Front.delete_record),
    ("POST", f"{BASE}/backup/record/{_ID}/file", Front.create_file),
    ("GET", f"{BASE}/backup/record/{_ID}/files", Front.list_files),
    ("POST", f"{BASE}/files/multipart/uploadUrl", Front.upload_url),
    ("POST", f"{BASE}/files/complete", Front.complete_file),
    ("POST", f"{BASE}/files/download", Front.download),
    ("POST", f"{BASE}/files/{_FILE}/detail", Front.detail),
    ("GET", f"{BASE}/space/{_ID}", Front.space),
    ("GET", "/koodrive/ose/v2/space/" + _ID, Front.spaces),
)


# --- formulas of the reference -------------------------------------------------------------------


def string_to_sign(
    method: str, raw_path: str, headers: Sequence[tuple[str, str]], body: bytes
) -> str:
    """Return what the app signature signs (reference, section 2.2)."""
    path, _, query = raw_path.partition("?")
    pairs = sorted(parse_qsl(query, keep_blank_values=True), key=lambda pair: pair[0])
    canonical_query = "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs
    )
    lines = "".join(f"{name.lower()}:{value.strip()}\n" for name, value in headers)
    names = ";".join(name.lower() for name, _ in headers)
    digest = hashlib.sha256(body).hexdigest()
    slash = "" if path.endswith("/") else "/"
    request = f"{method}\n{path}{slash}\n{canonical_query}\n{lines}\n{names}\n{digest}"
    return f"HMAC-SHA256\n{hashlib.sha256(request.encode()).hexdigest()}"


def proof_of(origin: str, content: bytes) -> str:
    """Return the proof code of a file (reference, section 5)."""
    seed = hashlib.sha256(origin.encode()).hexdigest()
    last = hashlib.sha256(seed.encode()).digest()[24:32]
    start = int.from_bytes(bytes([last[0] & 0x7F]) + last[1:], "big") % len(content)
    return hashlib.sha256(content[start : min(start + 8, len(content))]).hexdigest()


# --- details -------------------------------------------------------------------------------------


class _GatewayRefusalError(Exception):
    """Credentials that the gateway refuses: its answers have a form of their own."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg)
        self.body = {"error_code": "APIGW.0301", "error_msg": msg, "request_id": uuid.uuid4().hex}


async def _lower_case(_: web.Request, response: web.StreamResponse) -> None:
    headers = list(response.headers.items())
    response.headers.clear()
    for name, value in headers:
        response.headers.add(name.lower(), value)


class _LastResponse(web.Response):
    """An answer after which the connection is closed, though it does not say so."""

    _transport: asyncio.Transport | None = None

    async def prepare(self, request: web.BaseRequest) -> Any:
        self._transport = request.transport
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        await super().write_eof(data)
        if self._transport is not None:
            self._transport.close()  # what comes after this is not acted upon


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _decoded(body: bytes) -> Json:
    if not body:
        return {}
    try:
        decoded = json.loads(body)
    except ValueError:
        decoded = None
    if not isinstance(decoded, dict):
        raise Refusal(400, 13000101, "Bad Request")
    return decoded


def _checked_name(body: Json) -> str:
    name = body.get("fileName")
    if not isinstance(name, str) or name in {"", ".", ".."} or set(name) & set('<>|:"*?/\\'):
        raise Refusal(400, 13000102, "Verify parameters failed: fileName")
    if len(name) > 250:
        raise Refusal(400, 13000417, "File name: Max. 250 characters.")
    return name


def _checked_parts(given: object, length: int) -> list[Json]:
    if not isinstance(given, list) or not 1 <= len(given) <= 10_000:
        raise Refusal(400, 13000102, "Verify parameters failed: multiParts")
    parts: list[Json] = []
    offset = 0
    for number, part in enumerate(sorted(given, key=lambda each: each["partNumber"]), start=1):
        size, words = part.get("partSize"), part.get("hashCtx") or None
        is_last = number == len(given)
        right = (
            part["partNumber"] == number
            and type(size) is int
            and (is_last or (5 * MIB <= size <= 5120 * MIB and size % 64 == 0))
            and part.get("partOffset", offset) == offset
            and (number == 1 or words is None or _are_words(words))
        )
        if not right:
            raise Refusal(400, 13000102, f"Verify parameters failed: part {number}")
        kept = {"partNumber": number, "partSize": size, "partOffset": offset}
        parts.append({**kept, "hashCtx": words if number > 1 else []})
        offset += size
    if offset != length:
        raise Refusal(400, 13000102, "the parts are not the file")
    return parts


def _are_words(words: object) -> bool:
    return (
        isinstance(words, list)
        and len(words) == 8
        and all(type(word) is int and 0 <= word < 1 << 32 for word in words)
    )


def _shown(record: Record) -> Json:
    return {
        "recordId": record.record_id,
        "moduleCode": record.module,
        "deviceId": int(record.device_id),
        "status": record.status,
        "properties": record.properties,
        "version": 1,
        "createTime": record.created,
        "endTime": record.ended,
    }


def _forged(url: str) -> str:
    return url[:-1] + ("0" if url[-1] != "0" else "1")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
