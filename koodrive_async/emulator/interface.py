"""The interface: every documented call, from the request line to the JSON answer."""

from __future__ import annotations

import logging
import re
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import attrs

from koodrive_async.emulator.answers import (
    API_NOT_FOUND,
    BODY_TOO_LARGE,
    INNER_INVOKE_FAILURE,
    PARAMETER_INVALID,
    THROTTLED,
    RefusalKind,
    RefusedError,
    invalid,
)
from koodrive_async.emulator.auth import Caller, Received
from koodrive_async.emulator.call import Call
from koodrive_async.emulator.calls import CALLS
from koodrive_async.emulator.calls.locks import expire_lock, used_lock
from koodrive_async.emulator.calls.uploads import forget_upload
from koodrive_async.emulator.cut import CutError
from koodrive_async.emulator.exchange import BodyLostError, Exchange, exchanged
from koodrive_async.emulator.routes import UNKNOWN, find_route
from koodrive_async.emulator.rules import BODIES, QUERIES, checked_body, checked_query
from koodrive_async.emulator.wording import worded_refusal, worded_success

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from koodrive_async.emulator.dialect import Dialect
    from koodrive_async.emulator.fault import Fault
    from koodrive_async.emulator.routes import Route
    from koodrive_async.emulator.service import Service

logger: logging.Logger = logging.getLogger(__name__)

MAX_BODY: Final = 16 * 2**20
TRACE_ID: Final = re.compile(r"[A-Za-z0-9_]{58}")
SUCCESS_MSG: Final[Mapping[str, str]] = {
    "files.create": "Success.",
    "files.create_ordinary": "Success.",
    "files.list": "Success.",
    "files.part_urls": "Success.",
    "files.complete": "success.",
    "tokens.login": "Success",
    "tokens.refresh": "Success",
}


def is_offered(route: str, dialect: Dialect) -> bool:
    """Return whether the edition has a call."""
    if route == "files.details":
        return dialect.details_call == "offered"
    if route == "spaces.get":
        return dialect.space_calls in {"both", "v1"}
    if route == "spaces.list":
        return dialect.space_calls in {"both", "v2"}
    return True


class Interface:
    """Answers the requests of the interface's site.

    :param service: what the calls work with.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        found = find_route(request.method, request.raw_path.partition("?")[0])
        name = UNKNOWN if found is None else found[0].name
        return await exchanged(self._service, request, name, partial(self._answer, found))

    async def _answer(
        self, found: tuple[Route, Mapping[str, str]] | None, exchange: Exchange
    ) -> web.StreamResponse:
        if exchange.strike.early_answer is not None:
            return worded_refusal(_ordered(exchange.strike.early_answer), self._service.dialect)
        try:
            return self._act(found, exchange, await _whole_body(exchange))
        except RefusedError as refusal:
            return worded_refusal(refusal, self._service.dialect)
        except (CutError, BodyLostError):
            raise CutError(reset=True) from None
        except Exception:
            logger.exception("The emulator failed at %s", exchange.route)
            failure = RefusedError(500, INNER_INVOKE_FAILURE, "INNER_INVOKE_FAILURE")
            return worded_refusal(failure, self._service.dialect)

    def _act(
        self, found: tuple[Route, Mapping[str, str]] | None, exchange: Exchange, body: bytes
    ) -> web.Response:
        if exchange.strike.error is not None:
            raise _ordered(exchange.strike.error)
        if found is None or not is_offered(found[0].name, self._service.dialect):
            raise RefusedError(404, API_NOT_FOUND, "The API does not exist.")
        route, ids = found
        service, request = self._service, exchange.request
        now = service.clock()
        check_trace_id(request.headers.get("X-Traceid"))
        received = Received(
            method=request.method, raw_path=request.raw_path, headers=request.headers, body=body
        )
        if exchange.strike.has("expired-token"):
            service.doorkeeper.expire(request.headers.get("Authorization", ""), now)
        caller = self._admitted(route, received, now)
        pairs = _query_pairs(request.raw_path)
        lock_id = _lock_header(request.headers)
        if exchange.strike.has("expired-lock"):
            expire_lock(service, lock_id, now)
        check_content_type(request.headers, body, service.dialect)
        call = Call(
            service=service,
            route=route.name,
            user_id=caller.user_id,
            origin=caller.origin,
            session=caller.session,
            now=now,
            ids=ids,
            query=checked_query(QUERIES.get(route.name, ()), pairs),
            body=checked_body(BODIES.get(route.name), body),
            headers=request.headers,
        )
        call = attrs.evolve(call, lock_id=used_lock(call, route, lock_id))
        if exchange.strike.has("lost-upload"):
            forget_upload(service, call.body["fileId"], caller.user_id)
        msg = SUCCESS_MSG.get(route.name, "success")
        return worded_success(CALLS[route.name](call), msg, route.name, service.dialect)

    def _admitted(self, route: Route, received: Received, now: float) -> Caller:
        if route.name.startswith("tokens."):
            return Caller(user_id="", origin="")  # these calls sign in themselves
        return self._service.doorkeeper.admit(received, now)


def check_content_type(headers: Mapping[str, str], body: bytes, dialect: Dialect) -> None:
    """Rule of some dialects: a body says that it is JSON."""
    given = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if dialect.api_content_type == "required" and body and given != "application/json":
        raise RefusedError(
            415, PARAMETER_INVALID, "Verify parameters failed. Content-Type must be JSON"
        )


def check_trace_id(value: str | None) -> None:
    """Rule: X-Traceid, when given, is 58 letters, digits and underscores."""
    if value is not None and not TRACE_ID.fullmatch(value):
        raise invalid("the header X-Traceid must be 58 letters, digits or underscores")


async def _whole_body(exchange: Exchange) -> bytes:
    body = bytearray()
    async with aclosing(exchange.chunks()) as chunks:
        async for data in chunks:
            body += data
            if len(body) > MAX_BODY:
                msg = f"The body is larger than {MAX_BODY} bytes."
                raise RefusedError(413, BODY_TOO_LARGE, msg)
    return bytes(body)


def _lock_header(headers: Mapping[str, str]) -> str | None:
    value = headers.get("x-backup-lock-id")
    # Bytes that are no text cannot be looked up; with question marks it is an unknown lock.
    return value and value.encode("ascii", "replace").decode()


def _query_pairs(raw_path: str) -> list[tuple[str, str]]:
    query = raw_path.partition("?")[2]
    items = (item.partition("=") for item in query.split("&") if item)
    return [(unquote(name), unquote(value)) for name, _, value in items]


def _ordered(fault: Fault) -> RefusedError:
    code: int | str = INNER_INVOKE_FAILURE
    kind: RefusalKind | None = None
    if fault.kind == "throttle":
        code, kind = THROTTLED, "rate_limit"
    if fault.code is not None:
        code = int(fault.code) if fault.code.isdecimal() else fault.code
    return RefusedError(
        fault.answer_status, code, fault.msg, retry_after=fault.answer_after, kind=kind
    )
