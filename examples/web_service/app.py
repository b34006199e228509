"""The application: ``uvicorn --factory examples.web_service.app:application``."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping  # noqa: TC003 - FastAPI reads annotations
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from examples.web_service.backups import Backups, NotBackedUp
from examples.web_service.fences import Fences
from examples.web_service.settings import Settings
from koodrive_async import ConfigurationError, KooDrive, Timeouts

PAGE = Path(__file__).parent / "page"

WITHOUT_ACCOUNT = "koodrive emulator -- uvicorn --factory examples.web_service.app:application"

RECONNECT = 1000
"""Milliseconds after which a page that lost its connection makes another one."""

router = APIRouter()


def application(*, uses_emulator: bool = False) -> FastAPI:
    """Put it together, with the settings and the KooDrive account of the environment.

    :param uses_emulator: The page says that it is none but an emulator's.
    :raises SystemExit: A setting is wrong, or the account is missing: one line says which.
    """
    try:
        settings = Settings.from_env()
        environ = dict(os.environ)
        _client(environ)  # so that what is wrong in it is said before there is a server
    except ConfigurationError as error:
        sys.exit(f"{error}\nTo try it without an account: {WITHOUT_ACCOUNT}")
    except ValueError as error:
        sys.exit(str(error))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # one client for all requests of a start: its connections are worth keeping
        async with _client(environ) as drive, Backups(drive, settings) as backups:
            backups.board.set_status(uses_emulator=uses_emulator)
            app.state.backups, app.state.free_tabs = backups, settings.tabs
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.add_middleware(Fences)
    app.add_middleware(
        TrustedHostMiddleware, allowed_hosts=settings.hosts.split(","), www_redirect=False
    )
    app.include_router(router)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


def _client(environ: Mapping[str, str]) -> KooDrive:
    """Make a client; it belongs to one event loop, so each start of the application has its own."""
    return KooDrive.from_env(environ, timeouts=Timeouts(lock=10.0))


def _backups(request: Request) -> Backups:
    found: Backups = request.app.state.backups
    return found


async def _tab(request: Request) -> AsyncIterator[None]:
    """Count a page for as long as it watches; in the loop, for threads would miscount."""
    state = request.app.state
    if not state.free_tabs:
        raise HTTPException(503, "too many pages are open")
    state.free_tabs -= 1
    try:
        yield
    finally:
        state.free_tabs += 1


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


TheBackups = Annotated[Backups, Depends(_backups)]


@router.put("/uploads/{upload_id}")
async def put_upload(
    request: Request,
    backups: TheBackups,
    upload_id: Annotated[str, PathParameter(pattern="^[0-9a-f]{32}$")],
    name: Annotated[str, Query(min_length=1, max_length=1000)],
) -> JSONResponse:
    """Back up the body of a request as one file."""
    size = request.headers.get("content-length", "")
    try:
        receipt = await backups.add(
            upload_id,
            name,
            int(size) if size.isdecimal() else None,
            request.stream(),
            partial(_until_gone, request),
        )
    except ValueError as error:
        return JSONResponse({"error": str(error)}, status_code=409)
    except NotBackedUp as error:
        return JSONResponse({"error": error.text}, status_code=error.status)
    return JSONResponse(
        {
            "file_id": receipt.file_id,
            "name": receipt.name,
            "outcome": receipt.outcome,
            "sha256": receipt.sha256,
            "size": receipt.size,
        }
    )


@router.get("/events", response_class=EventSourceResponse, dependencies=[Depends(_tab)])
async def get_events(
    backups: TheBackups, last_event_id: Annotated[str | None, Header()] = None
) -> AsyncIterator[ServerSentEvent]:
    """Tell a page what there is, and then what changes, until it leaves or the service ends."""
    async for change in backups.board.changes(last_event_id):
        yield ServerSentEvent(event=change.kind, id=change.id, data=change.data, retry=RECONNECT)


@router.get("/health")
async def get_health(backups: TheBackups) -> JSONResponse:
    """Say whether files are taken."""
    is_stopping = backups.board.status.is_stopping
    return JSONResponse(
        {"status": "stopping" if is_stopping else "ok"}, status_code=503 if is_stopping else 200
    )
