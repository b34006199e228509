"""Spaces that files are stored in, and what the service knows of one file in them."""

from __future__ import annotations

from datetime import datetime

import attrs

from koodrive_async import html


@attrs.frozen(kw_only=True)
class Space:
    """A storage space (``SpaceInfo``, ``SpaceInfoV2``); what an edition leaves out is None.

    :ivar container_id: Id of the space; downloads ask for it.
    :ivar capacity: As the service counts it; no page names the unit.
    :ivar space_used: The same.
    :ivar status: As the service gives it; no page lists the values.
    """

    container_id: str
    root_file_id: str | None = None
    owner_id: str | None = None
    tenant_id: str | None = None
    capacity: int | str | None = None
    space_used: int | str | None = None
    status: str | None = None

    def _html_row_(self) -> html.Cells:
        return {
            "space": html.code(self.container_id),
            "used": html.text(self.space_used),
            "capacity": html.text(self.capacity),
            "status": html.text(self.status),
            "root folder": html.detail(html.code(self.root_file_id)),
        }

    def _repr_html_(self) -> str:
        return html.card("Space", self._html_row_())


@attrs.frozen(kw_only=True)
class FileDetails:
    """The details that the service has of one file (page ``getFile``).

    No page says that only complete files have details, nor that size and digest were computed from
    the stored bytes: they may be what was announced.

    :ivar size: Bytes.
    :ivar recycled: Whether the file is in the recycle bin.
    """

    file_id: str
    file_name: str | None = None
    size: int | None = None
    sha256: str | None = None
    recycled: bool | None = None
    parent_folder: tuple[str, ...] = ()
    created_time: datetime | None = None
    edited_time: datetime | None = None

    def _html_row_(self) -> html.Cells:
        return {
            "name": html.text(self.file_name),
            "size": html.size(self.size),
            "in the recycle bin": html.text("yes" if self.recycled else None),
            "created": html.moment(self.created_time),
            "SHA-256": html.digest(self.sha256),
            "file": html.code(self.file_id),
        }

    def _repr_html_(self) -> str:
        return html.card("File details", self._html_row_())
