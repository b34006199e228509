"""``drive.spaces``: the storage spaces that files go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from koodrive_async.errors import InvalidArgument
from koodrive_async.models import Space
from koodrive_async.transport.call import Call, check_id, path
from koodrive_async.transport.wire import Json, structure

if TYPE_CHECKING:
    from koodrive_async.transport.http import InterfaceHttp

_PERSONAL = "1"
_KINDS = frozenset({0, 1, 2})


class Spaces:
    """Find the spaces of a user.

    Every method raises :class:`~koodrive_async.errors.ApiError` and
    :class:`~koodrive_async.errors.TransportError`; cancelling one closes its connection.
    """

    def __init__(self, http: InterfaceHttp) -> None:
        self._http = http

    async def get(self, owner_id: str | None = None, container_id: str | None = None) -> Space:
        """Return the personal space of a user (carrier page ``GetSpace``).

        :param owner_id: KooDrive user id; by default the one that the client signs in with.
        :param container_id: Which space, for a user who has several.
        :raises NotFound: The user has no such space.
        """
        query = {"type": _PERSONAL}
        if container_id is not None:
            query["containerId"] = check_id(container_id, "container_id")
        call = Call(
            method="GET",
            path=path("space", self._owner(owner_id)),
            query=query,
            repeatable=True,
        )
        return await self._http.send(call, _read_space)

    async def list(self, owner_id: str | None = None, kind: int = 1) -> tuple[Space, ...]:
        """Return all spaces of a user, which come in one answer (page ``GetSpaceV2``).

        :param owner_id: KooDrive user id; by default the one that the client signs in with.
        :param kind: ``type`` of the spaces: 0, 1 or 2; 1 are the personal ones.
        :raises InvalidArgument: There is no such kind.
        """
        given: object = kind
        if not isinstance(given, int) or given not in _KINDS:
            raise InvalidArgument(f"kind must be 0, 1 or 2, not {kind!r}")
        call = Call(
            method="GET",
            path=path("space", self._owner(owner_id), version="v2"),
            query={"type": str(int(kind))},
            repeatable=True,
        )
        return await self._http.send(call, _read_spaces)

    def _owner(self, owner_id: str | None) -> str:
        return self._http.user_id if owner_id is None else check_id(owner_id, "owner_id")


def _read_space(answer: Json) -> Space:
    spaces = _read_spaces(answer)
    if not spaces:
        raise ValueError("the answer has no space")
    return spaces[0]


def _read_spaces(answer: Json) -> tuple[Space, ...]:
    # the name of the payload could not be read on the carrier page: data, or the answer itself
    data = answer.get("data")
    if data is None and "containerId" in answer:
        data = answer
    given = data if isinstance(data, list) else [] if data is None else [data]
    return tuple(structure(each, Space) for each in given)
