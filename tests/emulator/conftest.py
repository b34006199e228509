"""Raw HTTP to an emulator whose clock the test moves; nothing of the client is used."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs
import pytest
from yarl import URL

from koodrive_async.emulator import Emulator
from koodrive_async.hashing import Sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from koodrive_async.emulator import Account

PREFIX = "/koodrive/ose/v1"
USERS = ("1505084218764547200", "1882575898755117312")
CONTAINERS = ("IAAFfyRNd07vFgAAA1395638440594444417", "IAAFfyRNd07vFgAAA1395638440594444418")


class Clock:
    """Epoch seconds that stand still until a test moves them."""

    def __init__(self) -> None:
        self.now = 1_766_021_555.5

    def __call__(self) -> float:
        return self.now

    def x_date(self, shift: float = 0.0) -> str:
        return datetime.fromtimestamp(int(self.now) + shift, UTC).strftime("%Y%m%dT%H%M%SZ")


@attrs.frozen
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def xml_code(self) -> str:
        return self.body.decode().partition("<Code>")[2].partition("</Code>")[0]


@attrs.define
class Wire:
    """Someone who talks to the emulator, as the default account unless said otherwise."""

    emulator: Emulator
    session: aiohttp.ClientSession
    clock: Clock

    def headers(self, account: Account | None = None, **more: str) -> dict[str, str]:
        account = account or self.emulator.accounts[0]
        return {
            "Authorization": account.token,
            "X-User-Id": account.user_id,
            "X-Date": self.clock.x_date(),
            **{name.replace("_", "-"): value for name, value in more.items()},
        }

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        lock: str | None = None,
        account: Account | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        sent = dict(self.headers(account) if headers is None else headers)
        if lock is not None:
            sent["x-backup-lock-id"] = lock
        data = body if isinstance(body, bytes) else body and json.dumps(body).encode()
        url = URL(self.emulator.url + PREFIX + path, encoded=True)
        return await self.send(method, url, data if body != {} else b"{}", sent)

    async def put(self, url: str, data: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.send("PUT", URL(url, encoded=True), data, headers)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.send("GET", URL(url, encoded=True), None, headers)

    async def send(
        self, method: str, url: URL, data: bytes | None, headers: Mapping[str, str] | None
    ) -> Answer:
        body = data if data is None else io.BytesIO(data)
        async with self.session.request(method, url, data=body, headers=headers) as response:
            return Answer(response.status, await response.read(), response.headers)

    async def device(self, machine_code: str = "20250911") -> str:
        answer = await self.call("POST", "/backup/device", {"machineCode": machine_code})
        return str(answer.json["data"]["deviceId"])

    async def lock(self, module: str = "100", account: Account | None = None) -> str:
        answer = await self.call("POST", "/backup/lock", {"moduleCode": module}, account=account)
        return str(answer.json["data"]["lockId"])

    async def record(self, lock: str, module: str = "100", device: str | None = None) -> str:
        body = {"moduleCode": module, "deviceId": device or await self.device()}
        answer = await self.call("POST", "/backup/record", body, lock=lock)
        return str(answer.json["data"]["recordId"])

    async def create(self, backup: Backup, body: Mapping[str, Any]) -> Answer:
        path = f"/backup/record/{backup.record}/file"
        return await self.call("POST", path, body, lock=backup.lock)

    async def upload(self, backup: Backup, body: Mapping[str, Any], data: bytes) -> str:
        created = await self.create(backup, body)
        assert created.status == 200, created.body
        for part in created.json["multiParts"]:
            start = part["partOffset"]
            answer = await self.put(part["uploadUrl"], data[start : start + part["partSize"]])
            assert answer.status == 200, answer.body
        file_id = created.json["fileId"]
        completed = await self.complete(file_id)
        assert completed.status == 200, completed.body
        return str(file_id)

    async def complete(self, file_id: str, **more: str) -> Answer:
        return await self.call("POST", "/files/complete", {"fileId": file_id, **more})

    async def part_urls(self, file_id: str, parts: list[dict[str, Any]]) -> Answer:
        body = {"fileId": file_id, "multiParts": parts}
        return await self.call("POST", "/files/multipart/uploadUrl", body)

    async def download_url(self, file_id: str) -> str:
        body = {"containerId": CONTAINERS[0], "fileIds": [file_id]}
        answer = await self.call("POST", "/files/download", body)
        return str(answer.json["downloads"][0]["url"])

    def proof(self, data: bytes, origin: str | None = None) -> str:
        seed = hashlib.sha256((origin or self.emulator.token).encode()).hexdigest()
        number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[24:], "big") & (2**63 - 1)
        start = number % len(data)
        return hashlib.sha256(data[start : start + 8]).hexdigest()

    def new_file(
        self, data: bytes, *, part_size: int = 128, name: str = "123.jpg", **more: Any
    ) -> dict[str, Any]:
        """A body for createBackupFile, parts in concurrent mode."""
        proof = {"proofCode": self.proof(data)} if data else {}
        return {
            "fileName": name,
            "sha256": hashlib.sha256(data).hexdigest(),
            "length": len(data),
            "multiParts": concurrent_parts(data, part_size),
            **proof,
            **more,
        }


@attrs.frozen
class Backup:
    """A lock that is held and a record that is new."""

    lock: str
    record: str


def det(size: int) -> bytes:
    """The bytes of the reference's test vectors."""
    return bytes((31 * i + 7 * (i >> 8) + 11) & 0xFF for i in range(size))


def concurrent_parts(data: bytes, part_size: int) -> list[dict[str, Any]]:
    sha256, parts = Sha256(), []
    for number, start in enumerate(range(0, len(data), part_size), 1):
        piece = data[start : start + part_size]
        parts.append(
            {
                "partNumber": number,
                "partSize": len(piece),
                "partOffset": start,
                "hashCtx": list(sha256.midstate()) if start else [],
            }
        )
        sha256.update(piece)
    return parts


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "koodrive"


@pytest.fixture
def new_emulator(directory, clock):
    """Makes emulators on the same directory, with small parts, two users and two spaces."""

    def new(**settings):
        given = {
            "min_part_size": 128,
            "users": USERS,
            "containers": CONTAINERS,
            "clock": clock,
            **settings,
        }
        return Emulator(directory, **given)

    return new


@pytest.fixture
async def emulator(new_emulator):
    async with new_emulator() as emulator:
        yield emulator


@pytest.fixture
async def wire_session():
    async with aiohttp.ClientSession() as session:
        # Else aiohttp sends a PUT or GET again by itself when a kept connection is cut.
        session._retry_connection = False
        yield session


@pytest.fixture
def wire(emulator, wire_session, clock):
    return Wire(emulator, wire_session, clock)


@pytest.fixture
def new_wire(clock):
    def new(emulator, session):
        return Wire(emulator, session, clock)

    return new


@pytest.fixture
def backup_of():
    async def made(wire):
        lock = await wire.lock()
        return Backup(lock, await wire.record(lock))

    return made


@pytest.fixture
async def backup(wire, backup_of):
    return await backup_of(wire)


@pytest.fixture
def data():
    """Bytes of three parts of 128, 128 and 100 bytes."""
    return det(356)


@pytest.fixture
def det_bytes():
    return det


@pytest.fixture
async def part(wire, data):
    """The only part of a file of ``data``, as announced, with the file's id."""
    answer = await wire.call("POST", "/files/create", wire.new_file(data, part_size=512))
    return {**answer.json["multiParts"][0], "fileId": answer.json["fileId"]}
