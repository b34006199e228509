"""How a page of a cursor-paginated listing is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from koodrive_async.paging import FetchPage, Page
from koodrive_async.transport.call import Call
from koodrive_async.transport.wire import Json, entities

if TYPE_CHECKING:
    from collections.abc import Mapping

    from koodrive_async.transport.http import InterfaceHttp

T = TypeVar("T")


def fetch_page(
    http: InterfaceHttp,
    path: str,
    query: Mapping[str, str],
    model: type[T],
    *,
    name: str,
    lock_id: str | None = None,
) -> FetchPage[T]:
    """Return the function that fetches the page at a cursor.

    :param name: Of the kind of call, which may want a lock.
    :param lock_id: A lock to quote in any case.
    """
    read_items = entities(model)

    def read(answer: Json) -> Page[T]:
        # missing, null and empty all mean that this was the last page
        cursor = answer.get("nextCursor") or None
        return Page(read_items(answer), None if cursor is None else str(cursor))

    async def fetch(cursor: str | None) -> Page[T]:
        where = query if cursor is None else {**query, "cursor": cursor}
        call = Call(
            method="GET",
            path=path,
            query=where,
            lock_id=lock_id,
            may_want_lock=name,
            repeatable=True,
        )
        return await http.send(call, read)

    return fetch
