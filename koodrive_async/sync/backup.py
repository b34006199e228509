"""A backup session: a lock, a record, and the uploads that go into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, Self, TypeVar

from koodrive_async import backup as aio
from koodrive_async import upload
from koodrive_async.errors import ClientClosed
from koodrive_async.sync.facade import Facade, blocking, described_by, relayed
from koodrive_async.sync.listing import Iteration
from koodrive_async.sync.resources import Lease
from koodrive_async.sync.stay import Stay
from koodrive_async.upload import Event, UploadFailure, UploadReceipt
from koodrive_async.upload.timeline import draw_session

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from matplotlib.figure import Figure

    from koodrive_async.models import BackupRecord
    from koodrive_async.sync.portal import Portal
    from koodrive_async.sync.relay import Relay
    from koodrive_async.upload import FileTrace, Totals

A = TypeVar("A")
P = ParamSpec("P")


class UploadBatch(Iteration[UploadReceipt | UploadFailure]):
    """Outcomes of many uploads, each as its file finishes.

    Sources are taken only as fast as the uploads go, and uploads go on only as fast as outcomes are
    taken. Leaving the loop early, or the session, cancels the uploads that still run; a session of
    which a batch was left early does not complete its record (:exc:`BackupIncomplete`).

    Any number of threads may iterate over one batch: each outcome goes to exactly one of them.
    """

    def __init__(self, of: upload.UploadBatch, portal: Portal, relay: Relay | None = None) -> None:
        super().__init__(of, portal)
        self._relay = relay


class Events(Iteration[Event]):
    """What happens in a session, from the moment when it was asked for to the session's end.

    Iterated over in another thread than the one that uploads. Whoever is slow slows nothing, as
    with :class:`koodrive_async.Events`.
    """

    def __init__(self, of: upload.Events, portal: Portal) -> None:
        super().__init__(of, portal)
        self._events = of

    @property
    def missed(self) -> int:
        """Events that were dropped."""
        return self._events.missed


def uploading(
    method: Callable[Concatenate[A, P], upload.UploadBatch],
) -> Callable[Concatenate[Facade[A], P], UploadBatch]:
    """Return a method that uploads many files as an asynchronous one does."""

    def begin(facade: Facade[A], /, *args: P.args, **kwargs: P.kwargs) -> UploadBatch:
        relay = relayed(kwargs)
        portal = facade._portal  # noqa: SLF001 - its own method
        batch = portal.run(method, facade._of, *args, **kwargs)  # noqa: SLF001 - the same
        return UploadBatch(batch, portal, relay)

    described: Callable[Concatenate[Facade[A], P], UploadBatch] = described_by(method, begin)
    return described


class BackupSession(Facade[aio.BackupSession]):
    """One backup run, from :meth:`KooDrive.backup`, used inside ``with``.

    What :class:`koodrive_async.BackupSession` says holds here. Any number of threads may upload
    meanwhile. A block that is left with anything but a clean end leaves the record unfinished.
    """

    def __init__(self, of: aio.BackupSession, portal: Portal) -> None:
        super().__init__(of, portal)
        self._stay: Stay[aio.BackupSession] | None = None

    # each has the name that it has there
    upload: Final = blocking(aio.BackupSession.upload)
    upload_many: Final = uploading(aio.BackupSession.upload_many)
    upload_tree: Final = uploading(aio.BackupSession.upload_tree)

    def complete_anyway(self) -> None:
        """Have a clean exit complete the record although a loop over uploads was left early.

        Call it where leaving early is meant; what was not uploaded is not in the record then.

        :raises ClientClosed: The session is not open.
        """
        self._portal.run(self._of.complete_anyway)

    def events(self) -> Events:
        """Watch what happens from now on, until the session ends; also before it is entered.

        :returns: An iterator of :data:`~koodrive_async.upload.Event`, for another thread.
        """
        return Events(self._portal.run(self._of.events), self._portal)

    @property
    def lock(self) -> Lease:
        """The lock that is being held.

        :raises ClientClosed: The session is not open.
        """
        return Lease(self._of.lock, self._portal)

    @property
    def record(self) -> BackupRecord:
        """The record as it was created.

        :raises ClientClosed: The session has not been entered.
        """
        return self._of.record

    @property
    def totals(self) -> Totals:
        """How far all files have come, in files and bytes."""
        return self._portal.look(lambda: self._of.totals)

    @property
    def traces(self) -> tuple[FileTrace, ...]:
        """When what happened to the files that are done, the newest ones with 20,000 parts."""
        return self._portal.look(lambda: self._of.traces)

    def timeline(self) -> Figure:
        """Draw what happened so far, connection by connection, to the files of :attr:`traces`.

        :returns: A figure of matplotlib, which a notebook shows and ``savefig`` writes.
        :raises ModuleNotFoundError: matplotlib is missing; the message says how to get it.
        """
        return draw_session(self.traces)

    def _repr_html_(self) -> str:
        return self._portal.look(self._of._repr_html_)

    def __enter__(self) -> Self:
        if self._stay is not None:
            raise ClientClosed("a backup session is entered once: make another one")
        self._stay = Stay(self._of)
        self._stay.enter(self._portal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if self._stay is None:
            raise ClientClosed("this backup session is not open: use it inside 'with'")
        return self._stay.leave(self._portal, error)


def backing_up(
    method: Callable[Concatenate[A, P], aio.BackupSession],
) -> Callable[Concatenate[Facade[A], P], BackupSession]:
    """Return a method that makes a session as an asynchronous one does."""

    def begin(facade: Facade[A], /, *args: P.args, **kwargs: P.kwargs) -> BackupSession:
        portal = facade._portal  # noqa: SLF001 - its own method
        return BackupSession(portal.run(method, facade._of, *args, **kwargs), portal)  # noqa: SLF001 - the same

    described: Callable[Concatenate[Facade[A], P], BackupSession] = described_by(method, begin)
    return described
