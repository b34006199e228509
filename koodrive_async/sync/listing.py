"""Listings that are fetched page by page, and the iterators over them."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import (
    TYPE_CHECKING,
    Concatenate,
    Final,
    Generic,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
)

from koodrive_async import paging as aio
from koodrive_async.paging import Page
from koodrive_async.sync.call import Call
from koodrive_async.sync.facade import Facade, blocking, described_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from koodrive_async.sync.portal import Portal
    from koodrive_async.sync.relay import Relay

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class AsyncIteration(Protocol[T_co]):
    """What can be iterated over, and left."""

    async def __anext__(self) -> T_co:
        """Return the next one."""
        ...

    async def aclose(self) -> None:
        """Leave the iteration."""
        ...


class Iteration(Facade[AsyncIteration[T]]):
    """Waits for each item of an asynchronous iteration; ends its work when it is dropped."""

    _relay: Relay | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        try:
            return self._portal.finish(Call(self._of.__anext__), self._relay)
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """Leave the iteration: nothing goes on running."""
        self._portal.call(self._of.aclose)


class ItemIterator(Iteration[T]):
    """Hands out the items of one page after another."""

    def __init__(self, of: aio.ItemIterator[T], portal: Portal) -> None:
        super().__init__(of, portal)
        self._items = of
        self._turn = threading.Lock()

    def __next__(self) -> T:
        with self._turn:
            # the way through the portal would cost more than all else
            with suppress(IndexError):  # another thread may close it at any moment
                return self._items._take()  # noqa: SLF001 - of the same package
            return super().__next__()


class PageIterator(Iteration[Page[T]]):
    """Hands out pages."""


class Pager(Facade[aio.Pager[T]], Generic[T]):
    """A listing that is fetched page by page while it is iterated.

    ``for item in pager`` goes over everything; while the caller works on a page, the next one is
    already on its way. Iterating again starts again at the beginning. Leaving a loop early leaves
    nothing running, and :attr:`cursor` says where to go on.

    Any number of threads may share one *iterator*: each item, or page, is handed out once, and all
    of their loops end. An error is raised in one of them; the next call asks for the same page
    again.
    """

    def __iter__(self) -> ItemIterator[T]:
        """Iterate over all items.

        :raises KooDriveError: What fetching a page raises.
        :raises PagingError: The service returned a cursor twice.
        """
        return ItemIterator(self._of.__aiter__(), self._portal)

    def pages(self) -> PageIterator[T]:
        """Iterate over pages, the empty ones too; raises what iterating over items raises."""
        return PageIterator(self._of.pages(), self._portal)

    first: Final = blocking(aio.Pager[T].first)
    collect: Final = blocking(aio.Pager[T].collect)
    to_pandas: Final = blocking(aio.Pager[T].to_pandas)

    @property
    def cursor(self) -> str | None:
        """Cursor of the first page that the latest iteration has not handed out completely.

        A listing resumed from it misses nothing; items of a page that was left in its middle are
        seen again. None before the first page and after the last.
        """
        return self._of.cursor

    def __repr__(self) -> str:
        told = repr(self._of).partition(":")[0]
        return f"{told}: iterate over it, or call .collect(), .first() or .to_pandas()>"


def listing(
    method: Callable[Concatenate[A, P], aio.Pager[T]],
) -> Callable[Concatenate[Facade[A], P], Pager[T]]:
    """Return a method that lists what an asynchronous one does; the same in all else."""

    def begin(facade: Facade[A], /, *args: P.args, **kwargs: P.kwargs) -> Pager[T]:
        pager = method(facade._of, *args, **kwargs)  # noqa: SLF001 - its own method
        return Pager(pager, facade._portal)  # noqa: SLF001 - the same

    described: Callable[Concatenate[Facade[A], P], Pager[T]] = described_by(method, begin)
    return described
