"""Which local paths go to which cloud folders."""

from __future__ import annotations

from datetime import datetime

import attrs

from koodrive_async import html
from koodrive_async.models.modules import Module


@attrs.frozen(kw_only=True)
class NewScope:
    """A pair to add; at least one of the two is given.

    :param local_path: Path on the device, from ``/`` and separated by ``/`` (write a Windows
        path as ``/C:/Users/...``), at most 10,000 characters.
    :param target_folder_path: Folder in the cloud, by the same rules.
    """

    local_path: str | None = None
    target_folder_path: str | None = None


@attrs.frozen(kw_only=True)
class Scope:
    """A pair of local path and cloud folder (``ScopeInfo``)."""

    scope_id: str
    local_path: str | None = None
    target_folder_path: str | None = None
    module: Module | str | None = attrs.field(default=None, metadata={"wire": "moduleCode"})
    create_time: datetime | None = None

    def _html_row_(self) -> html.Cells:
        return {
            "scope": html.code(self.scope_id),
            "local path": html.text(self.local_path),
            "folder in the cloud": html.text(self.target_folder_path),
            "module": html.name_of(self.module),
            "added": html.moment(self.create_time),
        }

    def _repr_html_(self) -> str:
        return html.card("Scope", self._html_row_())


@attrs.frozen(kw_only=True)
class FailedScope:
    """A scope the service did not add or delete, and why."""

    scope_id: str | None = None
    error_code: str | None = None
    msg: str | None = None

    def _html_row_(self) -> html.Cells:
        return {
            "scope": html.code(self.scope_id),
            "code": html.code(self.error_code),
            "why": html.text(self.msg),
        }

    def _repr_html_(self) -> str:
        return html.card("Scope that failed", self._html_row_())


@attrs.frozen(kw_only=True)
class DeletedScopes:
    """What became of a batch: some may fail although the call succeeded.

    :ivar scope_ids: Ids that were deleted.
    :ivar failed: The ones that were not.
    """

    scope_ids: tuple[str, ...] = attrs.field(default=(), metadata={"wire": "scopeIdList"})
    failed: tuple[FailedScope, ...] = attrs.field(default=(), metadata={"wire": "failedScopeList"})

    def _repr_html_(self) -> str:
        deleted = html.listing("Deleted scopes", [_Id(each) for each in self.scope_ids])
        return deleted + _failed(self.failed)


@attrs.frozen(kw_only=True)
class AddedScopes:
    """What became of a batch; the documentation does not print this answer.

    :ivar scopes: The scopes that were added, as far as the service describes them.
    :ivar scope_ids: Their ids, when the service returns only those.
    :ivar failed: The ones that were not added.
    """

    scopes: tuple[Scope, ...] = attrs.field(default=(), metadata={"wire": "scopeList"})
    scope_ids: tuple[str, ...] = attrs.field(default=(), metadata={"wire": "scopeIdList"})
    failed: tuple[FailedScope, ...] = attrs.field(default=(), metadata={"wire": "failedScopeList"})

    def _repr_html_(self) -> str:
        added = html.listing("Added scopes", self.scopes or [_Id(each) for each in self.scope_ids])
        return added + _failed(self.failed)


@attrs.frozen
class _Id:
    scope_id: str

    def _html_row_(self) -> html.Cells:
        return {"scope": html.code(self.scope_id)}


def _failed(scopes: tuple[FailedScope, ...]) -> str:
    return html.listing("Scopes that failed", scopes) if scopes else ""
