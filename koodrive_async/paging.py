"""Listings that come in pages: :class:`Pager` and :class:`Page`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio
import attrs

from koodrive_async import html
from koodrive_async.errors import InvalidArgument, PagingError
from koodrive_async.threads import in_thread
from koodrive_async.wording import count_text

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

MAX_PAGE_SIZE = 100
MAX_CURSOR_LENGTH = 1000


@attrs.frozen
class Page(Generic[T]):
    """Items of one answer, and where the next ones are.

    :ivar items: What the service returned; may be empty although more pages follow.
    :ivar next_cursor: Cursor of the next page, or None at the end.
    """

    items: tuple[T, ...]
    next_cursor: str | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __bool__(self) -> bool:
        # an empty page is still a page
        return True

    def _repr_html_(self) -> str:
        caption = f"Page of {count_text(len(self.items), 'item')}"
        return html.listing(
            caption, self.items, more="there are more pages" * bool(self.next_cursor)
        )


FetchPage = Callable[[str | None], Awaitable[Page[T]]]


class Pager(Generic[T]):
    """A listing that is fetched page by page while it is iterated.

    ``async for item in pager`` goes over everything; while the caller works on a page, the next one
    is fetched. Iterating again starts again at the beginning. Leaving a loop early leaves nothing
    running, and :attr:`cursor` says where to continue.

    Any number of tasks may share one *iterator* (``items = aiter(pager)``): each item, or page, is
    handed out once, and all of their loops end. An error is raised in the task whose fetch failed;
    the next task asks for the same page again. A task that is cancelled loses nothing.

    :param fetch: Fetches the page at a cursor (None: the first).
    :param cursor: Where to start.
    :param model: What the items are: :meth:`to_pandas` has its columns from it.
    """

    def __init__(
        self, fetch: FetchPage[T], *, cursor: str | None = None, model: type[T] | None = None
    ) -> None:
        self._fetch = fetch
        self._model = model
        self._start = cursor
        self._cursor = cursor

    @property
    def cursor(self) -> str | None:
        """Cursor of the first page that the latest iteration has not handed out completely.

        A listing resumed from it misses nothing; items of a page that was left in its middle are
        seen again. None before the first page and after the last.
        """
        return self._cursor

    def __aiter__(self) -> ItemIterator[T]:
        """Iterate over all items.

        :raises KooDriveError: What fetching a page raises.
        :raises PagingError: The service returned a cursor twice.
        """
        return ItemIterator(self, self._walk())

    def pages(self) -> PageIterator[T]:
        """Iterate over pages, the empty ones too; raises what iterating over items raises."""
        return PageIterator(self, self._walk())

    async def first(self) -> T | None:
        """Return the first item or None, fetching no more than it takes."""
        items = await self.collect(limit=1)
        return items[0] if items else None

    async def collect(self, limit: int | None = None) -> list[T]:
        """Return all items as a list, or the first ``limit`` of them.

        :param limit: Stop after so many items; no page is fetched that is not needed.
        :raises InvalidArgument: ``limit`` is negative.
        """
        if limit is not None and limit < 0:
            raise InvalidArgument(f"limit must not be negative: {limit}")
        collected: list[T] = []
        walk = self._walk()
        while limit is None or len(collected) < limit:
            page = await walk.next()
            if page is None:
                break
            room = len(page) if limit is None else limit - len(collected)
            if room > len(page) or limit is None:
                walk.look_ahead()
            collected.extend(page.items[:room])
            if room >= len(page):
                self._cursor = page.next_cursor
        return collected

    async def to_pandas(self, limit: int | None = None) -> pd.DataFrame:
        """Return all items as rows of a DataFrame, or the first ``limit`` of them.

        Columns are named as the fields are, those of a nested model with its name before them
        (``device_id``, ``device_create_time``), and are the same when there are no rows. Times are
        in UTC, enumerations are categories of their names, whole numbers ``int64`` (``Int64`` where
        some are missing) and texts ``string``. It is put together in a worker thread.

        :param limit: Stop after so many items; no page is fetched that is not needed.
        :raises ModuleNotFoundError: pandas is missing; the message says how to get it.
        :raises InvalidArgument: ``limit`` is negative.
        """
        frame_of = await in_thread(_load_frames)
        items = await self.collect(limit)
        return await in_thread(frame_of, items, self._model)

    def __repr__(self) -> str:
        of = "" if self._model is None else f" of {self._model.__name__}"
        return (
            f"<Pager{of}: iterate with 'async for', or await .collect(), .first() or .to_pandas()>"
        )

    def _walk(self) -> _Walk[T]:
        self._cursor = self._start
        return _Walk(self._fetch, self._start)


def _load_frames() -> Callable[[Sequence[object], type[object] | None], pd.DataFrame]:
    from koodrive_async.frames import frame_of  # noqa: PLC0415 - of an extra, and slow

    return frame_of


def check_page_request(page_size: int, cursor: str | None) -> None:
    """Refuse what the service would refuse (pages ``listBackupRecord`` and ``listBackupFile``).

    :raises InvalidArgument: The page size is not 1..100, or the cursor is no text or over 1,000
        characters.
    """
    given: object = cursor
    if not isinstance(given, str | None):
        raise InvalidArgument(f"a cursor is a text, not {type(given).__name__}")
    if type(page_size) is not int or not 1 <= page_size <= MAX_PAGE_SIZE:
        raise InvalidArgument(f"page_size must be 1 to {MAX_PAGE_SIZE}, not {page_size!r}")
    if cursor is not None and len(cursor) > MAX_CURSOR_LENGTH:
        raise InvalidArgument(
            f"a cursor has at most {MAX_CURSOR_LENGTH} characters, this one {len(cursor)}"
        )


class _Walk(Generic[T]):
    """One pass over the pages, in order; notices a listing that goes round in circles."""

    def __init__(self, fetch: FetchPage[T], cursor: str | None) -> None:
        self._fetch = fetch
        self._next = cursor
        self._more = True
        self._closed = False
        self._seen: set[str | None] = set()
        self._prefetch: asyncio.Task[Page[T] | Exception] | None = None
        self._fetching: anyio.CancelScope | None = None
        self.turn: asyncio.Lock = asyncio.Lock()
        """Is held by the task that takes the next page: there is one at a time."""

    async def next(self) -> Page[T] | None:
        """Return the next page, or None after the last; called by one task at a time."""
        if not self._more or self._closed:
            return None
        if self._next in self._seen:
            raise PagingError(
                f"the service returned the cursor {self._next!r} a second time: "
                "the listing would never end"
            )
        page: Page[T] | None = None
        with anyio.CancelScope() as self._fetching:
            page = await self._take()
        self._fetching = None
        if page is None or self._closed:
            return None
        self._seen.add(self._next)
        self._next = page.next_cursor
        self._more = self._next is not None
        return page

    def look_ahead(self) -> None:
        """Begin to fetch the next page while the caller works on this one."""
        if self._more and not self._closed and self._next not in self._seen:
            self._prefetch = asyncio.create_task(_outcome(self._fetch, self._next))

    def close(self) -> None:
        """End the pass, and give up the page that is being fetched ahead; from any thread."""
        self._closed = True
        task, self._prefetch = self._prefetch, None
        if task is None or task.done():
            return
        loop = task.get_loop()
        if loop is _running_loop():
            task.cancel()
        elif not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)

    async def aclose(self) -> None:
        """End the pass, and see the page that is being fetched given up, by whichever task."""
        task = self._prefetch
        self.close()
        if self._fetching is not None:
            self._fetching.cancel()
        if task is not None:
            await asyncio.wait([task])

    async def _take(self) -> Page[T]:
        if self._prefetch is None:
            return await self._fetch(self._next)
        task, self._prefetch = self._prefetch, None
        outcome = await task  # whoever is cancelled here cancels the task with it
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    # A loop that is left early just drops its iterator, which has no other way to hear of that.
    __del__ = close


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _outcome(fetch: FetchPage[T], cursor: str | None) -> Page[T] | Exception:
    # An error nobody comes back for must not end as "exception was never retrieved".
    try:
        return await fetch(cursor)
    except Exception as error:  # noqa: BLE001 - raised again by whoever takes the page
        return error


class PageIterator(Generic[T]):
    """Hands out pages."""

    def __init__(self, pager: Pager[T], walk: _Walk[T]) -> None:
        self._pager = pager
        self._walk = walk

    def __aiter__(self) -> AsyncIterator[Page[T]]:
        return self

    async def __anext__(self) -> Page[T]:
        async with self._walk.turn:
            page = await self._walk.next()
            if page is None:
                raise StopAsyncIteration
            self._walk.look_ahead()
            self._pager._cursor = page.next_cursor  # noqa: SLF001 - the pager's own iterator
        return page

    async def aclose(self) -> None:
        """Leave the iteration: nothing goes on running."""
        await self._walk.aclose()


class ItemIterator(Generic[T]):
    """Hands out the items of one page after another."""

    def __init__(self, pager: Pager[T], walk: _Walk[T]) -> None:
        self._pager = pager
        self._walk = walk
        self._page: Page[T] = Page(())
        self._handed_out = 0

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        while not self._has_item:
            async with self._walk.turn:
                if self._has_item:  # of the page that another task has fetched meanwhile
                    break
                page = await self._walk.next()
                if page is None:
                    raise StopAsyncIteration
                self._walk.look_ahead()
                self._page, self._handed_out = page, 0
                self._note_progress()
        return self._take()

    @property
    def _has_item(self) -> bool:
        return self._handed_out < len(self._page)

    def _take(self) -> T:
        item = self._page.items[self._handed_out]
        self._handed_out += 1
        self._note_progress()
        return item

    def _note_progress(self) -> None:
        if self._handed_out >= len(self._page):
            self._pager._cursor = self._page.next_cursor  # noqa: SLF001 - the pager's own iterator

    async def aclose(self) -> None:
        """Leave the iteration: nothing goes on running."""
        self._page, self._handed_out = Page(()), 0
        await self._walk.aclose()
