"""The object store: takes parts and gives files, by presigned URLs only."""

from __future__ import annotations

import logging
import os
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from koodrive_async.emulator.answers import ObjectRefusedError, object_refused, seconds_text
from koodrive_async.emulator.blobs import write_at
from koodrive_async.emulator.calls.uploads import forget_upload
from koodrive_async.emulator.cut import CutError
from koodrive_async.emulator.digest import PartDigest
from koodrive_async.emulator.exchange import BodyLostError, Exchange, exchanged
from koodrive_async.emulator.parts import BLOCK, WORDS, Part
from koodrive_async.emulator.presign import query_fields, request_expired
from koodrive_async.emulator.ranges import byte_range
from koodrive_async.emulator.routes import OBJECT_GET, PART_PUT, UNKNOWN

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from koodrive_async.emulator.dialect import Dialect
    from koodrive_async.emulator.fault import Fault
    from koodrive_async.emulator.service import Service

logger: logging.Logger = logging.getLogger(__name__)

ROUTES: Final = {"PUT": PART_PUT, "GET": OBJECT_GET}
# A store that is signed in to by its URL refuses a second way of signing in.
FOREIGN_HEADERS: Final = ("Authorization", "X-User-Id", "x-backup-lock-id")
SENT_AT_ONCE: Final = 256 * 1024
SLOW_DOWN: Final = frozenset({429, 503})


class ObjectStore:
    """Answers the requests of the object store's site.

    :param service: the service whose files these are.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        # The latest PUT of each part: an older one that still trickles in must not write any more.
        self._latest: dict[tuple[str, int], object] = {}

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        route = ROUTES.get(request.method, UNKNOWN)
        return await exchanged(self._service, request, route, partial(self._answer))

    async def _answer(self, exchange: Exchange) -> web.StreamResponse:
        path = exchange.request.raw_path.partition("?")[0]
        try:
            return await self._act(exchange)
        except ObjectRefusedError as refusal:
            return object_refused(refusal, path)
        except BodyLostError:
            short = ObjectRefusedError(
                400, "IncompleteBody", "The body is shorter than its Content-Length"
            )
            return object_refused(short, path)
        except CutError:
            raise
        except ConnectionError:  # the other side has left
            raise CutError(reset=True) from None
        except Exception:
            logger.exception("The emulator failed at %s", exchange.route)
            return object_refused(ObjectRefusedError(500, "InternalError", "We failed"), path)

    async def _act(self, exchange: Exchange) -> web.StreamResponse:
        request, strike = exchange.request, exchange.strike
        query = query_fields(request.raw_path.partition("?")[2])
        if query.get("partNumber", "").isdecimal():
            exchange.part_number = int(query["partNumber"])
        if strike.early_answer is not None:
            raise _ordered(strike.early_answer, self._service.dialect)
        if strike.error is not None:
            await _drain(exchange)
            raise _ordered(strike.error, self._service.dialect)
        if exchange.route == UNKNOWN:
            raise ObjectRefusedError(405, "MethodNotAllowed", "Objects take PUT and GET only")
        check_headers(exchange)
        check_content_type(exchange, self._service.dialect)
        fields = self._service.presigner.check(
            method=request.method,
            raw_path=request.raw_path,
            headers=request.headers,
            now=self._service.clock(),
        )
        if strike.has("expired-url"):
            await _drain(exchange)
            raise request_expired()
        key = request.raw_path.partition("?")[0].removeprefix("/")
        if exchange.route == PART_PUT:
            return await self._put(exchange, key, fields)
        return await self._get(exchange, key)

    async def _put(
        self, exchange: Exchange, key: str, query: Mapping[str, str]
    ) -> web.StreamResponse:
        store = self._service.store
        file = store.row(
            "SELECT * FROM files WHERE object_key = ? AND upload_id = ? AND completed IS NULL",
            key,
            query.get("uploadId"),
        )
        row = file and store.row(
            "SELECT * FROM parts WHERE file_id = ? AND number = ?",
            file["file_id"],
            query.get("partNumber"),
        )
        if file is None or row is None:
            raise _no_upload()
        if int(exchange.request.headers[hdrs.CONTENT_LENGTH]) != row["size"]:
            raise ObjectRefusedError(400, "InvalidArgument", "The part has another size")
        if exchange.strike.has("lost-upload"):
            await _drain(exchange)
            forget_upload(self._service, file["file_id"], file["user_id"])
            raise _no_upload()
        slot, mine = (file["file_id"], row["number"]), object()
        digest = self._digest(file, Part.stored(row))
        self._forget(file, row["number"])
        self._latest[slot] = mine
        try:
            end_state, end_digest = await self._written(exchange, file, row, digest, slot)
        finally:
            if self._latest.get(slot) is mine:
                del self._latest[slot]
        kept = store.run(
            "UPDATE parts SET end_state = ?, end_digest = ? WHERE file_id = ? AND number = ?",
            WORDS.pack(*end_state),
            end_digest,
            *slot,
        )
        if not kept:
            raise _no_upload()
        return web.Response(headers={hdrs.ETAG: digest.etag})

    def _digest(self, file: sqlite3.Row, part: Part) -> PartDigest:
        """Return the digest to go on with: from ``hashCtx``, or from the part before this one.

        :raises ObjectRefusedError: in a sequential upload, when the part before has not arrived.
        """
        md5 = self._service.settings.etags
        if part.number == 1 or part.hash_ctx is not None:
            return PartDigest(part.hash_ctx, tail=b"", offset=part.offset, size=part.size, md5=md5)
        words: bytes | None = self._service.store.value(
            "SELECT end_state FROM parts WHERE file_id = ? AND number = ?",
            file["file_id"],
            part.number - 1,
        )
        if words is None:
            raise ObjectRefusedError(
                400,
                "InvalidPartOrder",
                f"Without hashCtx, part {part.number} must come after part {part.number - 1}",
            )
        boundary = part.offset // BLOCK * BLOCK
        tail = self._service.blobs.read(file["blob"], boundary, part.offset)
        state: Sequence[int] = WORDS.unpack(words)
        return PartDigest(state, tail=tail, offset=part.offset, size=part.size, md5=md5)

    def _forget(self, file: sqlite3.Row, number: int) -> None:
        """Take a part as missing until all of it has come, and in a sequence all behind it too."""
        self._service.store.run(
            "UPDATE parts SET end_state = NULL, end_digest = NULL"
            " WHERE file_id = ? AND (number = ? OR (number > ? AND NOT ?))",
            file["file_id"],
            number,
            number,
            file["concurrent"],
        )

    async def _written(
        self,
        exchange: Exchange,
        file: sqlite3.Row,
        row: sqlite3.Row,
        digest: PartDigest,
        slot: tuple[str, int],
    ) -> tuple[tuple[int, ...], str]:
        position, mine = row["offset"], self._latest[slot]
        corrupt = exchange.strike.has("corrupt")
        with self._service.blobs.writing(file["blob"]) as fd:
            async with aclosing(exchange.chunks()) as chunks:
                async for data in chunks:
                    self._check_latest(slot, mine)
                    stored = _flipped(data) if corrupt and position == row["offset"] else data
                    digest.update(stored)
                    write_at(fd, stored, position)
                    position += len(data)
        self._check_latest(slot, mine)
        if position != row["offset"] + row["size"]:
            raise BodyLostError
        return digest.end()

    def _check_latest(self, slot: tuple[str, int], mine: object) -> None:
        """Rule: of two PUTs of a part, the one that began later counts."""
        if self._latest.get(slot) is not mine:
            raise ObjectRefusedError(
                409, "OperationAborted", "The part is being sent again by another PUT"
            )

    async def _get(self, exchange: Exchange, key: str) -> web.StreamResponse:
        file = self._service.store.row(
            "SELECT * FROM files WHERE object_key = ? AND completed IS NOT NULL", key
        )
        if file is None:
            raise ObjectRefusedError(404, "NoSuchKey", "The object does not exist")
        size = file["length"]
        honoured = self._service.dialect.ranges == "honoured"
        header = exchange.request.headers.get(hdrs.RANGE) if honoured else None
        wanted = byte_range(header, size)
        start, end = wanted or (0, size)
        status = 200 if wanted is None else 206
        headers = {
            hdrs.CONTENT_TYPE: file["mime_type"] or "application/octet-stream",
            hdrs.CONTENT_LENGTH: str(end - start),
            hdrs.ACCEPT_RANGES: "bytes" if honoured else "none",
            hdrs.ETAG: f'"{file["sha256"][:32]}"',
        }
        if wanted is not None:
            headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{end - 1}/{size}"
        await exchange.stop("after")
        exchange.lose_answer()
        if exchange.strike.spoiled is not None:
            body = self._service.blobs.read(file["blob"], start, end) if size else b""
            return web.Response(status=status, headers=headers, body=body)
        response = web.StreamResponse(status=status, headers=headers)
        exchange.stamp(response)
        await response.prepare(exchange.request)
        await self._send(exchange, response, file["blob"], start, end)
        return response

    async def _send(
        self,
        exchange: Exchange,
        response: web.StreamResponse,
        blob: str,
        start: int,
        end: int,
    ) -> None:
        if start == end:  # nothing was ever written for a file of no bytes
            exchange.leave()
            return
        stop_at = (start + end) // 2 if exchange.strike.stops("middle") else None
        with self._service.blobs.reading(blob) as fd:
            while start < end:
                if stop_at is not None and start >= stop_at:
                    await exchange.stop("middle")
                stop = end if stop_at is None else max(stop_at, start + 1)
                data = os.pread(fd, min(exchange.piece_size(SENT_AT_ONCE), stop - start), start)
                if not data:
                    raise CutError(reset=True)
                await exchange.pace(len(data))
                start += len(data)
                if start == end:
                    exchange.leave()
                await response.write(data)


def check_headers(exchange: Exchange) -> None:
    """Rules: no second way of signing in, and a body of known length."""
    headers = exchange.request.headers
    for name in FOREIGN_HEADERS:
        if name in headers:
            raise ObjectRefusedError(
                400, "InvalidArgument", f"Only one auth mechanism allowed; {name} does not belong"
            )
    if exchange.route == PART_PUT and hdrs.CONTENT_LENGTH not in headers:
        raise ObjectRefusedError(
            411, "MissingContentLength", "The header Content-Length is missing"
        )


def check_content_type(exchange: Exchange, dialect: Dialect) -> None:
    """Rule of some dialects: what the PUT of a part says about its type."""
    rule, given = dialect.part_content_type, exchange.request.headers.get(hdrs.CONTENT_TYPE)
    if exchange.route != PART_PUT or rule == "ignored":
        return
    if given != "application/octet-stream":
        raise ObjectRefusedError(
            400, "InvalidArgument", "A part has the Content-Type application/octet-stream"
        )


async def _drain(exchange: Exchange) -> None:
    async with aclosing(exchange.chunks()) as chunks:
        async for _ in chunks:
            pass


def _flipped(data: bytes) -> bytes:
    """Return the bytes with a bit of the first one turned over."""
    return bytes([data[0] ^ 1]) + data[1:]


def _no_upload() -> ObjectRefusedError:
    return ObjectRefusedError(404, "NoSuchUpload", "The upload does not exist, or is complete")


def _ordered(fault: Fault, dialect: Dialect) -> ObjectRefusedError:
    status, retry_after = fault.answer_status, fault.answer_after
    if fault.kind == "throttle" and dialect.rate_limit != "429-retry-after":
        status, retry_after = (429 if dialect.rate_limit == "429" else 503), None
    code = fault.code or ("SlowDown" if status in SLOW_DOWN else "InternalError")
    headers: dict[str, str] = {}
    if retry_after is not None:
        headers[hdrs.RETRY_AFTER] = seconds_text(retry_after)
    return ObjectRefusedError(status, code, fault.msg, headers=headers)
