"""The log of what came in, for tests: bounded, thread-safe, without secrets in its repr."""

from __future__ import annotations

import threading
from collections import Counter, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import attrs

from koodrive_async.callbacks import check_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from multidict import CIMultiDictProxy

KEPT: Final = 10_000


@attrs.frozen(kw_only=True)
class SeenRequest:
    """One request and what became of it.

    :param route: its name, or ``unknown``.
    :param method: HTTP method.
    :param raw_path: path and query as received; not in the repr, it may hold a signature.
    :param status: HTTP status of the answer; ``None`` when the connection was cut instead.
    :param headers: as received, names in any case; not in the repr.
    :param body_size: bytes of the request's body that were read.
    :param part_number: number of the part, for ``part.put``.
    :param at: when it came, in epoch seconds of the emulator's clock.
    """

    route: str
    method: str
    raw_path: str = attrs.field(repr=False)
    status: int | None
    headers: CIMultiDictProxy[str] = attrs.field(repr=False)
    body_size: int
    part_number: int | None = None
    at: float

    @property
    def path(self) -> str:
        """The path without its query."""
        return self.raw_path.partition("?")[0]

    @property
    def lock_id(self) -> str | None:
        """The backup lock that it was sent under."""
        return self.headers.get("x-backup-lock-id")


class Seen:
    """The latest requests in the order of their answers; safe to use from any thread.

    A request is in the log before its answer goes out, so whoever has the answer finds it here.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._changed = threading.Condition()
        self._requests: deque[SeenRequest] = deque(maxlen=kept)
        self._active: Counter[str] = Counter()
        self._peak: Counter[str] = Counter()
        self._actions: list[tuple[str, int, Callable[[], object]]] = []

    def requests(self, route: str | None = None) -> tuple[SeenRequest, ...]:
        """Return the requests of a route, or all."""
        with self._changed:
            return tuple(self._requests) if route is None else self._of(route)

    def count(self, route: str | None = None, *, status: int | None = None) -> int:
        """Return how many requests of a route, or of all, were answered; or with one status."""
        requests = self.requests(route)
        return sum(1 for each in requests if status is None or each.status == status)

    def active(self, route: str) -> int:
        """Return how many requests of a route are being handled now."""
        with self._changed:
            return self._active[route]

    def peak(self, route: str) -> int:
        """Return the highest number of requests of a route handled at the same time."""
        with self._changed:
            return self._peak[route]

    def wait(self, route: str, *, count: int = 1, timeout: float = 10.0) -> bool:
        """Block this thread until a route was answered so often; not for an event loop.

        :param timeout: seconds to wait at most.
        :returns: whether it happened.
        """
        with self._changed:
            return self._changed.wait_for(lambda: len(self._of(route)) >= count, timeout)

    def wait_active(self, route: str, *, count: int = 1, timeout: float = 10.0) -> bool:
        """Block this thread until so many requests of a route are handled at the same time.

        :param timeout: seconds to wait at most.
        :returns: whether it happened.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._active[route] >= count, timeout)

    def wait_idle(self, route: str, *, timeout: float = 10.0) -> bool:
        """Block this thread until no request of a route is handled any more.

        :param timeout: seconds to wait at most.
        :returns: whether it happened.
        """
        with self._changed:
            return self._changed.wait_for(lambda: not self._active[route], timeout)

    def then(self, route: str, action: Callable[[], object], *, count: int = 1) -> None:
        """Do something once a route was answered so often, before the last of these answers goes.

        :param action: Called in the service's thread, which waits for it; a plain function that
            must not raise.
        :raises ValueError: ``action`` is async.
        """
        check_plain("action", action)
        with self._changed:
            self._actions.append((route, count, action))

    def clear(self) -> None:
        """Forget all requests and peaks."""
        with self._changed:
            self._requests.clear()
            self._peak = +self._active

    @contextmanager
    def handling(self, route: str) -> Iterator[None]:
        """Count a request as being handled."""
        with self._changed:
            self._active[route] += 1
            self._peak[route] = max(self._peak[route], self._active[route])
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._active[route] -= 1
                self._changed.notify_all()

    def add(self, request: SeenRequest) -> None:
        """Put a request into the log."""
        with self._changed:
            self._requests.append(request)
            due = [
                each
                for each in self._actions
                if each[0] == request.route and len(self._of(request.route)) >= each[1]
            ]
            self._actions = [each for each in self._actions if each not in due]
            self._changed.notify_all()
        for _, _, action in due:
            action()

    def __len__(self) -> int:
        with self._changed:
            return len(self._requests)

    def __iter__(self) -> Iterator[SeenRequest]:
        return iter(self.requests())

    def __repr__(self) -> str:
        return f"<Seen: {len(self)} requests>"

    def _of(self, route: str) -> tuple[SeenRequest, ...]:
        return tuple(each for each in self._requests if each.route == route)
