"""Proof that a file is complete: its bytes are looked at where they are stored.

Neither a listing, nor the details of a file, nor a refusal proves that anything is stored.
Proof is the service's own word for a digest (code 0 to completing, ``rapidUpload`` and ``exist`` in
the answer to creating), or a link to download the file and a range of bytes behind it:

::

    ├──────── bytes that are not read ────────┼── last cell of the grid ──┤
                                              ▲                           ▲
                        midstate known from hashing         total size in Content-Range,
                                                            digest of the whole file

An object of this size whose last cell leads from the known midstate to the digest of the whole file
is that file.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
import time
from typing import TYPE_CHECKING

import aiohttp
import anyio
import yarl

from koodrive_async.errors import ApiError, ConfigurationError, TransportError
from koodrive_async.hashing import Sha256
from koodrive_async.transport.answer import retry_after
from koodrive_async.transport.http import open_session
from koodrive_async.transport.retry import Attempts
from koodrive_async.transport.tunnel import ProxyProblemError
from koodrive_async.upload.stalls import LEAST
from koodrive_async.upload.target import Target

if TYPE_CHECKING:
    import ssl

    from koodrive_async.config import Timeouts
    from koodrive_async.hashing import Fingerprint
    from koodrive_async.threads import ThreadPool
    from koodrive_async.transport.dialing import Dialer
    from koodrive_async.upload.means import Means

logger: logging.Logger = logging.getLogger(__name__)

MOST_WITHOUT_RANGES = 64 * 1024 * 1024
"""Bytes that are read of a file from its beginning, where the store does not know ranges."""

_CONNECTIONS = 4
_PIECE = 1024 * 1024
_SLOWEST = 8 * 1024
"""Bytes per second that a look gets, at least: a longer one proves nothing in useful time."""

_LINKS = 3
"""Links to one file that are asked for because the object store refused the ones before."""

_WHOLE = 200
_PARTIAL = 206
_NOTHING_THERE = frozenset({404, 410, 416})
_OF_THE_LINK = frozenset({400, 401, 403})
"""Statuses of a link that has expired, or whose signature does not fit."""

_UNUSABLE = 0
"""Stands for the status of a link that is no URL, which no repetition mends."""

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)


async def is_stored(
    means: Means, file_id: str, container_id: str, fingerprint: Fingerprint
) -> bool:
    """Prove that the bytes of a file are stored; False when that cannot be proven.

    :param container_id: The space that the file is in.
    :param fingerprint: Of the whole file.
    """
    attempts = Attempts(
        means.retry,
        means.clock,
        means.budget,
        repeatable=True,
        name=f"a look at file {file_id}",
    )
    refusals = 0
    while True:
        # a fresh link for each look: the last one may have expired
        url = await _link(means, file_id, container_id)
        if url is None:
            return False
        try:
            return await means.stored.holds(url, fingerprint)
        except _UnreadableError as error:
            try:
                refusals += error.status in _OF_THE_LINK
                if error.status in _OF_THE_LINK and refusals < _LINKS:
                    attempts.at_once(error)
                else:
                    await attempts.after(error)
            except _UnreadableError:
                logger.warning("file %s could not be looked at: %s", file_id, error)
                return False


async def _link(means: Means, file_id: str, container_id: str) -> str | None:
    try:
        links = await means.files.download_urls(container_id, [file_id])
    except ConfigurationError as error:
        means.stored.refused(error)
        return None
    except (ApiError, TransportError) as error:
        logger.info("there is no link to look at file %s: %s", file_id, error)
        return None
    return next((link.url for link in links if link.file_id == file_id and link.url), None)


class _UnreadableError(TransportError):
    """The object store did not say what it holds.

    :ivar status: HTTP status of its answer; None when there was none.
    :ivar retry_after: Seconds it asked to wait, or None.
    """

    def __init__(
        self, problem: str, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(problem, method="GET", path="a stored file", sent=status is not None)
        self.status = status
        self.retry_after = retry_after


class StoredBytes:
    """Reads what is stored through presigned links, on connections of its own.

    Nothing that signs in to the service goes to the object store.

    :param work: Threads to hash in.
    :param tls: For https links.
    :param dialer: Makes the connections, and knows the proxies.
    """

    def __init__(
        self, work: ThreadPool, tls: ssl.SSLContext, dialer: Dialer, timeouts: Timeouts
    ) -> None:
        self._work = work
        self._tls = tls
        self._dialer = dialer
        self._timeout = aiohttp.ClientTimeout(
            total=None,
            sock_connect=timeouts.connect,
            sock_read=timeouts.answer,
        )
        self._first_byte = timeouts.connect + timeouts.answer
        self._stall = timeouts.stall
        self._places = asyncio.Semaphore(_CONNECTIONS)
        self._says_that_links_are_refused = True
        self._session: aiohttp.ClientSession | None = None
        self._says_that_ranges_are_ignored = True

    def refused(self, error: ConfigurationError) -> None:
        """Note that a link was refused by the settings; the first one is a warning.

        :param error: Names the setting that would allow it.
        """
        level = logging.WARNING if self._says_that_links_are_refused else logging.DEBUG
        self._says_that_links_are_refused = False
        logger.log(level, "stored files are not looked at: %s", error)

    async def holds(self, url: str, fingerprint: Fingerprint) -> bool:
        """Return whether the object behind a link is this file; reads its last cell.

        It takes ``Timeouts.stall`` without progress, and a second for each 8 KiB, at most.

        :raises _UnreadableError: The object store did not answer usably, or too slowly.
        """
        offset = _last_cell(fingerprint)
        headers = {"Accept-Encoding": "identity"}
        if fingerprint.size:
            headers["Range"] = f"bytes={offset}-{fingerprint.size - 1}"
        try:
            # aiohttp leaves out the final dot of a host, which the signature covers
            headers["Host"] = Target.of(url).authority
            return await self._read(url, headers, offset, fingerprint)
        # the text of these errors may carry the URL, which is a secret
        except (ConfigurationError, ValueError) as error:
            raise _UnreadableError(type(error).__name__, _UNUSABLE) from None
        except (aiohttp.ClientError, OSError, ProxyProblemError) as error:
            raise _UnreadableError(_named(error)) from None

    async def aclose(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _read(
        self, url: str, headers: dict[str, str], offset: int, fingerprint: Fingerprint
    ) -> bool:
        # byte for byte as received: a signature covers the very spelling
        link = yarl.URL(url, encoded=True)
        proxy = None
        if link.scheme == "http":
            origin = (False, link.raw_host or "", link.port or 0)
            proxy = await self._dialer.proxies.toward(*origin)
        if self._session is None:
            self._session = open_session(_CONNECTIONS, self._tls, self._dialer)
        # a place is waited for without a deadline: each of those that have one has its own
        async with self._places:
            with anyio.fail_after(self._first_byte) as scope:
                async with self._session.get(
                    link,
                    headers={**headers, **proxy.headers} if proxy else headers,
                    proxy=proxy.url if proxy else None,
                    allow_redirects=False,
                    timeout=self._timeout,
                ) as response:
                    start = self._start(response, offset, fingerprint)
                    if start is None:
                        return False
                    return await self._is_file(response, start, fingerprint, scope)

    async def _is_file(
        self,
        response: aiohttp.ClientResponse,
        start: int,
        fingerprint: Fingerprint,
        scope: anyio.CancelScope,
    ) -> bool:
        """Return whether the body is the rest of the file; the scope ends what is too slow."""
        now = anyio.current_time
        end = now() + self._first_byte + (fingerprint.size - start) / _SLOWEST
        moved_at, moved = now(), start
        scope.deadline = min(end, moved_at + self._stall)
        seen = Sha256.resume(fingerprint.midstate(start), start) if start else Sha256()
        async for piece in response.content.iter_chunked(_PIECE):
            if seen.length + len(piece) > fingerprint.size:
                return False
            came_at = now()
            scope.deadline = math.inf  # to wait for a thread is no fault of the store
            await self._work.run(seen.update, piece)
            busy = now() - came_at
            end, moved_at = end + busy, moved_at + busy
            if seen.length - moved >= LEAST:
                moved_at, moved = now(), seen.length
            scope.deadline = min(end, moved_at + self._stall)
        return seen.length == fingerprint.size and seen.hexdigest() == fingerprint.sha256

    def _start(
        self, response: aiohttp.ClientResponse, offset: int, fingerprint: Fingerprint
    ) -> int | None:
        """Return the offset of the first byte that comes; None when this is not the file."""
        size = fingerprint.size
        said = response.headers.get("Content-Range", "")
        # rclone gives the range with status 200: what is hashed decides, not the status
        if response.status == _PARTIAL or (response.status == _WHOLE and said):
            found = _RANGE.fullmatch(said.strip())
            same = found is not None and tuple(map(int, found.groups())) == (offset, size - 1, size)
            return offset if same else None
        if response.status in _NOTHING_THERE:
            return None
        if response.status != _WHOLE:
            wait = retry_after(response.headers.get("Retry-After"), time.time())
            raise _UnreadableError(f"HTTP {response.status}", response.status, wait)
        if response.content_length not in {None, size}:
            return None
        if offset and self._says_that_ranges_are_ignored:
            self._says_that_ranges_are_ignored = False
            logger.warning(
                "the object store ignores ranges: files over %d bytes are not looked at again",
                MOST_WITHOUT_RANGES,
            )
        return 0 if size <= MOST_WITHOUT_RANGES else None


def _named(error: Exception) -> str:
    number = getattr(error, "errno", None)
    kind = type(error).__name__
    return f"{kind} ({os.strerror(number)})" if isinstance(number, int) and number > 0 else kind


def _last_cell(fingerprint: Fingerprint) -> int:
    """Return where the last cell of the grid begins."""
    return max(0, fingerprint.size - 1) // fingerprint.grid * fingerprint.grid
