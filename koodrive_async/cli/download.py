"""Downloading the files of a record again, to see what the service really holds."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

import aiohttp
import anyio
import attrs
import yarl
from anyio import CapacityLimiter, to_thread

from koodrive_async.cli.wording import reason

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
    at_a_time = CapacityLimiter(AT_A_TIME)
    meter.started = True
    # a session of its own: nothing that signs in to the service can reach the object store
    async with aiohttp.ClientSession(timeout=_TIMEOUT, read_bufsize=_CHUNK) as http:
        async for page in drive.files.list(record_id).pages():
            urls = await _urls(drive, list(page), containers)
            async with anyio.create_task_group() as group:
                for file in page:
                    one = _Download(http, file, scratch / file.file_id, meter)
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


@attrs.frozen
class _Download:
    """One file on its way back."""

    _http: aiohttp.ClientSession
    _file: BackupFile
    _target: Path
    _meter: Meter

    async def run(
        self, url: str | None, at_a_time: CapacityLimiter, found: list[Downloaded]
    ) -> None:
        received = problem = None
        if url is None:
            problem = "the service gave no link to download it"
        else:
            async with at_a_time:
                try:
                    received = await self._fetch(url)
                except aiohttp.ClientError as error:
                    # the text of aiohttp's errors carries the URL, which is a secret
                    problem = f"its download failed ({type(error).__name__})"
                except (OSError, _RefusedError) as error:
                    problem = f"its download failed ({reason(error)})"
        self._meter.files += 1
        found.append(
            Downloaded(
                path=self._file.description or self._file.file_name or self._file.file_id,
                announced=(self._file.sha256, self._file.size),
                received=received,
                problem=problem,
            )
        )

    async def _fetch(self, url: str) -> tuple[str, int]:
        # byte for byte as received: a signature covers the very spelling
        async with self._http.get(yarl.URL(url, encoded=True), allow_redirects=False) as response:
            if response.status != 200:  # noqa: PLR2004 - HTTP's own number
                raise _RefusedError(f"HTTP {response.status}")
            digest = hashlib.sha256()
            size = 0
            async with _opened(self._target) as file:
                async for chunk in response.content.iter_chunked(_CHUNK):
                    await to_thread.run_sync(_keep, file, digest, chunk)
                    size += len(chunk)
                    self._meter.done += len(chunk)
        return digest.hexdigest(), size


class _RefusedError(Exception):
    """The object store refused."""


@asynccontextmanager
async def _opened(target: Path) -> AsyncIterator[BinaryIO]:
    file = await to_thread.run_sync(target.open, "wb")
    try:
        yield file
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(_discard, file, target)


def _keep(file: BinaryIO, digest: hashlib._Hash, chunk: bytes) -> None:
    file.write(chunk)
    digest.update(chunk)


def _discard(file: BinaryIO, target: Path) -> None:
    file.close()
    target.unlink()
