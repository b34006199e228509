"""One run of the emulator: a thread with an event loop of its own, and the two sites in it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
from aiohttp import web

from koodrive_async.emulator.credentials import Credentials
from koodrive_async.emulator.interface import Interface
from koodrive_async.emulator.objects import ObjectStore
from koodrive_async.emulator.ports import listening, remember, remembered
from koodrive_async.emulator.service import MIB, Clock, Service, Settings

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from koodrive_async.emulator.faults import Faults
    from koodrive_async.emulator.seen import Seen

    Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

T = TypeVar("T")

STOPPED: Final = "the emulator has stopped"
# Far less and the loop wakes up for every few kilobytes of a part.
READ_BUFFER: Final = MIB
WILDCARD_HOSTS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - not bound to here
# How the host of presigned URLs is written, where it is not written as an address.
HOST_NAMES: Final = {"name": "localhost", "final-dot": "localhost."}
# Requests in flight are cancelled at once; this is for connections that do not notice.
SHUTDOWN_SECONDS: Final = 1.0
# Rounds of the loop in which sockets, TLS ones included, become connections or are let go.
SETTLING_ROUNDS: Final = 4


@attrs.define(kw_only=True, eq=False)
class Run:
    """One run of the emulator, from its start to its stop; ``ready`` fails when it cannot start."""

    directory: Path
    host: str
    ports: tuple[int, int]
    users: tuple[str, ...]
    settings: Settings
    faults: Faults
    seen: Seen
    ssl_context: ssl.SSLContext | None
    clock: Clock
    ready: Future[None] = attrs.field(factory=Future)
    ended: Future[None] = attrs.field(factory=Future)
    url: str = ""
    object_url: str = ""
    credentials: Credentials = attrs.field(init=False, repr=False)
    thread: threading.Thread = attrs.field(init=False)
    _stop: asyncio.Event = attrs.field(init=False)
    _service: Service = attrs.field(init=False)
    _loop: asyncio.AbstractEventLoop = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.thread = threading.Thread(target=self._main, name="koodrive-emulator", daemon=True)
        # Of a known kind, whatever event loop policy the caller has installed.
        self._loop = asyncio.SelectorEventLoop()
        self._stop = asyncio.Event()
        # From here on nobody who waits for them can cancel them.
        self.ready.set_running_or_notify_cancel()
        self.ended.set_running_or_notify_cancel()

    def ask(self, question: Callable[[Service], T]) -> T:
        """Ask the service something in its own thread, and wait for the answer.

        :raises RuntimeError: when it stops before it answers.
        """
        answer: Future[T] = Future()

        def put_question() -> None:
            try:
                answer.set_result(question(self._service))
            except Exception as error:  # noqa: BLE001 - whoever asks gets it
                answer.set_exception(error)

        try:
            self._loop.call_soon_threadsafe(put_question)
        except RuntimeError:  # the loop is closed
            raise RuntimeError(STOPPED) from None
        either: list[Future[Any]] = [answer, self.ended]
        wait(either, return_when=FIRST_COMPLETED)
        if not answer.done():
            raise RuntimeError(STOPPED)
        return answer.result()

    def ask_to_stop(self) -> None:
        """Tell the thread to end; fine when it has ended already."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._stop.set)

    def join(self) -> None:
        """Wait for the thread; after ``ended`` it is about to be over."""
        self.thread.join()

    def _main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - whoever starts the emulator gets it
            if not self.ready.done():
                self.ready.set_exception(error)
        finally:
            self.ended.set_result(None)

    async def _serve(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.credentials = Credentials.kept_in(self.directory / "credentials.json", self.users)
        service = self._service = Service.opened(
            self.directory,
            credentials=self.credentials,
            settings=self.settings,
            faults=self.faults,
            seen=self.seen,
            clock=self.clock,
        )
        async with AsyncExitStack() as stack:
            stack.callback(service.close)
            last = remembered(self.directory)
            store = listening(self.host, self.ports[1], last.get("objects"))
            scheme, written = self.settings.dialect.url_scheme, self.settings.dialect.url_host
            self.object_url = await self._site(
                stack,
                ObjectStore(service),
                store,
                tls=scheme != "http",
                name=HOST_NAMES.get(written),
            )
            service.presigner = attrs.evolve(service.presigner, origin=self.object_url)
            sock = listening(self.host, self.ports[0], last.get("interface"))
            ports = {"interface": sock.getsockname()[1], "objects": store.getsockname()[1]}
            self.url = await self._site(stack, Interface(service), sock, tls=scheme != "https")
            remember(self.directory, ports)
            stack.push_async_callback(_cancel_all, service)
            self.ready.set_result(None)
            await self._stop.wait()

    async def _site(
        self,
        stack: AsyncExitStack,
        handler: Handler,
        sock: socket.socket,
        *,
        tls: bool,
        name: str | None = None,
    ) -> str:
        """Listen, and return the base URL.

        :param tls: whether it is served with TLS, if anything is.
        :param name: how the host is written; the address unless given.
        """
        ssl_context = self.ssl_context if tls else None
        stack.callback(sock.close)
        server = web.Server(
            handler, access_log=None, read_bufsize=READ_BUFFER, auto_decompress=False
        )
        runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        stack.push_async_callback(_close_site, sock, server, runner)
        await web.SockSite(runner, sock, ssl_context=ssl_context).start()
        scheme = "http" if ssl_context is None else "https"
        name = name or WILDCARD_HOSTS.get(self.host, self.host)
        name = f"[{name}]" if ":" in name else name
        return f"{scheme}://{name}:{sock.getsockname()[1]}"


async def _close_site(sock: socket.socket, server: web.Server, runner: web.ServerRunner) -> None:
    # Accept no more, then wait until what was accepted has become a connection: a server that is
    # closed in between would leave such a socket open.
    asyncio.get_running_loop().remove_reader(sock)
    await _settle()
    transports = [connection.transport for connection in server.connections]
    await runner.cleanup()
    for transport in transports:
        if transport is not None:
            transport.abort()  # also when the other side does not read what is left for it
    await _settle()


async def _settle() -> None:
    for _ in range(SETTLING_ROUNDS):
        await asyncio.sleep(0)


async def _cancel_all(service: Service) -> None:
    tasks = list(service.tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
