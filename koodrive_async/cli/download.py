"""Downloading the files of a record again, to see what the service really holds."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from contextlib import asynccontextmanager
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, BinaryIO, Final

import aiohttp
import anyio
import attrs
import yarl
from anyio import CapacityLimiter, to_thread

from koodrive_async.cli.wording import reason
from koodrive_async.errors import InvalidArgument
from koodrive_async.os_errors import naming
from koodrive_async.upload.paths import path_from_text
from koodrive_async.upload.target import Target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from koodrive_async.cli.progress import Meter
    from koodrive_async.client import KooDrive
    from koodrive_async.models import BackupFile

AT_A_TIME: Final = 6
_CHUNK: Final = 2**20
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=60.0)


@attrs.frozen(kw_only=True)
class Downloaded:
    """A file as it came back, or why it did not.

    :ivar path: Its path in the tree that was backed up.
    :ivar announced: SHA-256 and size in the listing.
    :ivar received: SHA-256 and size of the bytes that came; None when they did not.
    """

    path: str
    announced: tuple[str | None, int | None]
    received: tuple[str, int] | None = None
    problem: str | None = None


async def download_record(
    drive: KooDrive, record_id: str, containers: Mapping[str, str], scratch: Path, meter: Meter
) -> list[Downloaded]:
    """Download every file that the record lists, several at a time.

    Each goes to a file in ``scratch``, hashed as it comes and removed when it is complete: room is
    needed for a few files, not for a second copy of everything.

    :param containers: For each file id, the space it is in.
    :param meter: Moved along.
    :returns: What came, in no particular order.
    :raises KooDriveError: The service refused the listing or the links.

    Cancellation leaves no connection behind, and nothing but files in ``scratch``.
    """
    found: list[Downloaded] = []
    numbers = itertools.count(1)
    at_a_time = CapacityLimiter(AT_A_TIME)
    meter.started = True
    # a session of its own: nothing that signs in to the service can reach the object store
    async with aiohttp.ClientSession(
        timeout=_TIMEOUT, read_bufsize=_CHUNK, auto_decompress=False
    ) as http:
        async for page in drive.files.list(record_id).pages():
            urls = await _urls(drive, list(page), containers)
            async with anyio.create_task_group() as group:
                for file in page:
                    # nothing that the service says becomes a path here
                    target = scratch / f"download-{next(numbers)}"
                    one = _Download(http, file, target, meter)
                    group.start_soon(one.run, urls.get(file.file_id), at_a_time, found)
    return found


async def _urls(
    drive: KooDrive, files: list[BackupFile], containers: Mapping[str, str]
) -> dict[str, str]:
    """Fetch links for one page of a listing; a file without one is left out."""
    by_container: dict[str, list[str]] = {}
    for file in files:
        if (container := containers.get(file.file_id)) is not None:
            by_container.setdefault(container, []).append(file.file_id)
    return {
        link.file_id: link.url
        for container, ids in by_container.items()
        for link in await drive.files.download_urls(container, ids)
        if link.url is not None
    }


def leads_out(path: str) -> str | None:
    """Say why a path of the service must not become one on this machine; None when it may.

    :param path: A name or description, which may have come from any system, or from an attacker.
    """
    if "\0" in path:
        return "it has a NUL"
    if (own := _own_path(path)) is not None:
        parts, is_absolute = own.split("/"), own.startswith("/")
    else:  # of another system, or of another program: both kinds of slashes count
        there = PureWindowsPath(path)
        has_drive = bool(there.drive) and (os.name == "nt" or bool(there.root))
        parts, is_absolute = re.split(r"[/\\]", path), bool(there.root) or has_drive
    if ".." in parts:
        return "it goes up with '..'"
    return "it is absolute" if is_absolute else None


def _own_path(text: str) -> str | None:
    """Return the path that this text is kept for, unless backslashes or drives may mean more."""
    if os.name == "nt" or ("\\" not in text and PureWindowsPath(text).root):
        return None
    try:
        return path_from_text(text)
    except InvalidArgument:
        return None


@attrs.frozen
class _Download:
    """One file that is being downloaded."""

    _http: aiohttp.ClientSession
    _file: BackupFile
    _target: Path
    _meter: Meter

    async def run(
        self, url: str | None, at_a_time: CapacityLimiter, found: list[Downloaded]
    ) -> None:
        received = problem = None
        async with at_a_time:
            try:
                received = await self._fetch(self._checked(url))
            except aiohttp.ClientError as error:
                # the text of aiohttp's errors carries the URL, which is a secret
                problem = f"its download failed ({type(error).__name__})"
            except (OSError, _RefusedError) as error:
                problem = f"its download failed ({reason(error)})"
        self._meter.files += 1
        found.append(
            Downloaded(
                path=self._path,
                announced=(self._file.sha256, self._file.size),
                received=received,
                problem=problem,
            )
        )

    @property
    def _path(self) -> str:
        return self._file.description or self._file.file_name or self._file.file_id

    def _checked(self, url: str | None) -> yarl.URL:
        if (why := leads_out(self._path)) is not None:
            raise _RefusedError(f"its path would lead out of the folder: {why}")
        if url is None:
            raise _RefusedError("the service gave no link to download it")
        try:
            # byte for byte as received: a signature covers the very spelling
            link = yarl.URL(url, encoded=True)
        except ValueError:
            raise _RefusedError("its link is no URL") from None
        # that http may be used was checked where the link came from (allow_plain_part_urls)
        if link.scheme not in {"https", "http"}:
            raise _RefusedError(f"its link is not https but {link.scheme or 'without a scheme'}")
        try:
            Target.of(url)
        except ValueError:
            raise _RefusedError("its link is not one of a host") from None
        return link

    async def _fetch(self, url: yarl.URL) -> tuple[str, int]:
        # aiohttp leaves out the final dot of a host, which the signature covers
        headers = {"Host": Target.of(str(url)).authority}
        async with self._http.get(url, headers=headers, allow_redirects=False) as response:
            if response.status != 200:  # noqa: PLR2004 - HTTP's own number
                raise _RefusedError(f"HTTP {response.status}")
            digest = hashlib.sha256()
            size = 0
            async with _opened(self._target) as file:
                async for chunk in response.content.iter_chunked(_CHUNK):
                    size += len(chunk)
                    self._check_size(size, at_its_end=False)
                    await to_thread.run_sync(self._keep, file, digest, chunk)
                    self._meter.done += len(chunk)
        self._check_size(size, at_its_end=True)
        return digest.hexdigest(), size

    def _keep(self, file: BinaryIO, digest: hashlib._Hash, chunk: bytes) -> None:
        with naming(self._target):
            file.write(chunk)
        digest.update(chunk)

    def _check_size(self, size: int, *, at_its_end: bool) -> None:
        announced = self._file.size
        if announced is None:
            return
        if size > announced:  # an endless body must not fill the disk
            raise _RefusedError(f"it is longer than the {announced} bytes that the listing says")
        if at_its_end and size < announced:
            raise _RefusedError(f"{size} bytes came of the {announced} that the listing says")


class _RefusedError(Exception):
    """The object store refused, or what it gave is refused."""


@asynccontextmanager
async def _opened(target: Path) -> AsyncIterator[BinaryIO]:
    file = await to_thread.run_sync(lambda: target.open("wb"))
    try:
        yield file
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(_discard, file, target)


def _discard(file: BinaryIO, target: Path) -> None:
    try:
        with naming(target):
            file.close()  # what is buffered is written then
    finally:
        target.unlink()
