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

import logging
import re
from typing import TYPE_CHECKING

import aiohttp
import yarl

from koodrive_async.errors import ApiError, ConfigurationError, TransportError
from koodrive_async.hashing import Sha256
from koodrive_async.transport.http import open_session
from koodrive_async.transport.tunnel import ProxyProblemError
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
_TRIES = 3
_WHOLE = 200
_PARTIAL = 206
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)


async def is_stored(
    means: Means, file_id: str, container_id: str, fingerprint: Fingerprint
) -> bool:
    """Prove that the bytes of a file are stored; False when that cannot be proven.

    :param container_id: The space that the file is in.
    :param fingerprint: Of the whole file.
    """
    for _ in range(_TRIES):
        url = await _link(means, file_id, container_id)
        if url is None:
            return False
        try:
            return await means.stored.holds(url, fingerprint)
        except _UnreadableError as error:
            logger.info("file %s could not be looked at: %s", file_id, error)
    return False


async def _link(means: Means, file_id: str, container_id: str) -> str | None:
    try:
        links = await means.files.download_urls(container_id, [file_id])
    except (ApiError, TransportError, ConfigurationError) as error:
        logger.info("there is no link to look at file %s: %s", file_id, error)
        return None
    return next((link.url for link in links if link.file_id == file_id and link.url), None)


class _UnreadableError(Exception):
    """The object store could not be read for the moment."""


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
        self._session: aiohttp.ClientSession | None = None
        self._says_that_ranges_are_ignored = True

    async def holds(self, url: str, fingerprint: Fingerprint) -> bool:
        """Return whether the object behind a link is this file; reads its last cell.

        :raises _UnreadableError: The object store did not answer usably.
        """
        offset = _last_cell(fingerprint)
        headers = {"Accept-Encoding": "identity"}
        if fingerprint.size:
            headers["Range"] = f"bytes={offset}-{fingerprint.size - 1}"
        try:
            # aiohttp leaves out the final dot of a host, which the signature covers
            headers["Host"] = Target.of(url).authority
            return await self._read(url, headers, offset, fingerprint)
        except (
            aiohttp.ClientError,
            ConfigurationError,
            OSError,
            ProxyProblemError,
            ValueError,
        ) as error:
            # the text of these errors may carry the URL, which is a secret
            raise _UnreadableError(type(error).__name__) from None

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
            seen = Sha256.resume(fingerprint.midstate(start), start) if start else Sha256()
            async for piece in response.content.iter_chunked(_PIECE):
                if seen.length + len(piece) > fingerprint.size:
                    return False
                await self._work.run(seen.update, piece)
            return seen.length == fingerprint.size and seen.hexdigest() == fingerprint.sha256

    def _start(
        self, response: aiohttp.ClientResponse, offset: int, fingerprint: Fingerprint
    ) -> int | None:
        """Return the offset of the first byte that comes; None when this is not the file."""
        size = fingerprint.size
        if response.status >= 500:  # noqa: PLR2004 - HTTP's own number
            raise _UnreadableError(f"HTTP {response.status}")
        said = response.headers.get("Content-Range", "")
        # rclone gives the range with status 200: what is hashed decides, not the status
        if response.status == _PARTIAL or (response.status == _WHOLE and said):
            found = _RANGE.fullmatch(said.strip())
            same = found is not None and tuple(map(int, found.groups())) == (offset, size - 1, size)
            return offset if same else None
        if response.status != _WHOLE or response.content_length not in {None, size}:
            return None
        if offset and self._says_that_ranges_are_ignored:
            self._says_that_ranges_are_ignored = False
            logger.warning(
                "the object store ignores ranges: files over %d bytes are not looked at again",
                MOST_WITHOUT_RANGES,
            )
        return 0 if size <= MOST_WITHOUT_RANGES else None


def _last_cell(fingerprint: Fingerprint) -> int:
    """Return where the last cell of the grid begins."""
    return max(0, fingerprint.size - 1) // fingerprint.grid * fingerprint.grid
