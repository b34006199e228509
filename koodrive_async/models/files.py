"""Files inside a record, their parts, and links to download them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import datetime
from enum import IntEnum

import attrs

from koodrive_async import html
from koodrive_async.sequences import check_many

ProofOf = Callable[[str], Awaitable[str | None]]
"""Computes the proof code for the header value (``originValue``) of the request that carries it."""


class AutoRename(IntEnum):
    """``autoRename``: what to do when the record has a file of this name."""

    RENAME = 2
    """Store under a name with a time stamp appended."""
    REJECT = 3
    """Refuse: :class:`~koodrive_async.errors.DuplicateFileName`."""
    SKIP = 4
    """Do nothing when name and SHA-256 are the same, otherwise rename."""


@attrs.frozen(kw_only=True)
class MultiPartInfo:
    """One part of a multipart upload.

    :param part_number: From 1 to 10,000.
    :param part_size: Bytes; 5 MiB to 5 GiB, the last part from 0.
    :param part_offset: Bytes before this part, a multiple of 64.
    :param hash_ctx: SHA-256 midstate before this part: eight words; empty for the first part.
    :ivar upload_url: Presigned URL for the PUT; only in answers.
    """

    part_number: int
    part_size: int = 0
    part_offset: int | None = None
    hash_ctx: tuple[int, ...] | None = None
    upload_url: str | None = attrs.field(default=None, repr=False)
    part_id: str | None = None


def _as_parts(parts: Iterable[MultiPartInfo]) -> tuple[MultiPartInfo, ...]:
    return check_many("multi_parts", parts, "MultiPartInfo", MultiPartInfo)


def _as_ids(ids: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if ids is None else check_many("parent_folder", ids, "ids")


@attrs.frozen(kw_only=True)
class NewBackupFile:
    """A file to create in a record (page ``createBackupFile``).

    :param file_name: At most 250 characters, none of ``< > | : " * ? /``.
    :param sha256: Digest of the whole file, 64 lower-case hexadecimal digits.
    :param length: Bytes, at most 200 GB.
    :param proof_code: The proof, or an async function that computes it from the header value the
        request is going to carry (so that a refreshed token gets a fresh proof). Left out for
        an empty file.
    :param file_type: Free; the page's example uses 15 for an image.
    :param parent_folder: Ids of parent folders, of which the service uses the first.
    """

    file_name: str
    sha256: str
    length: int
    multi_parts: tuple[MultiPartInfo, ...] = attrs.field(
        default=(), converter=_as_parts, metadata={"omit_empty": True}
    )
    proof_code: str | ProofOf | None = attrs.field(default=None, repr=False)
    description: str | None = None
    mime_type: str | None = None
    file_type: str | None = attrs.field(default=None, converter=attrs.converters.optional(str))
    parent_folder: tuple[str, ...] | None = attrs.field(default=None, converter=_as_ids)
    upload_mode: str = "multipart"
    upload_type: int = 1
    auto_rename: AutoRename = AutoRename.RENAME
    container_id: str | None = None
    hidden: bool | None = None
    scene: str | None = None


@attrs.frozen(kw_only=True)
class CreatedBackupFile:
    """The answer to creating a file.

    :ivar rapid_upload: The service had these bytes: the file is complete.
    :ivar exist: The record has this file (only with ``AutoRename.SKIP``): nothing to do.
    :ivar file_name: The name it is stored under, perhaps with a time stamp.
    :ivar multi_parts: Parts with their URLs, in any order and perhaps not all.
    """

    file_id: str | None = None
    rapid_upload: bool = False
    container_id: str | None = None
    file_name: str | None = None
    upload_id: str | None = None
    parent_folder: tuple[str, ...] = ()
    exist: bool = False
    multi_parts: tuple[MultiPartInfo, ...] = ()
    matched_pre_hash: bool | None = None
    exist_file_id: str | None = None

    def _html_row_(self) -> html.Cells:
        return {
            "name": html.text(self.file_name),
            "file": html.code(self.file_id),
            "sending": html.text("not needed" if self.rapid_upload or self.exist else "to be done"),
            "parts with a URL": html.text(len(self.multi_parts)),
            "container": html.code(self.container_id),
            "upload": html.detail(html.code(self.upload_id)),
        }

    def _repr_html_(self) -> str:
        return html.card("Created file", self._html_row_())


@attrs.frozen(kw_only=True)
class BackupFile:
    """A file inside a record.

    :ivar size: Bytes.
    """

    file_id: str
    file_name: str | None = None
    sha256: str | None = None
    size: int | None = None
    description: str | None = None
    create_time: datetime | None = None

    def _html_row_(self) -> html.Cells:
        return {
            "name": html.text(self.file_name),
            "size": html.size(self.size),
            "description": html.text(self.description),
            "created": html.moment(self.create_time),
            "SHA-256": html.digest(self.sha256),
            "file": html.code(self.file_id),
        }

    def _repr_html_(self) -> str:
        return html.card("Backup file", self._html_row_())


@attrs.frozen(kw_only=True)
class Download:
    """A link to download one file, or the reason why there is no link.

    :ivar url: Presigned URL for a GET, or None.
    """

    file_id: str
    file_name: str | None = None
    url: str | None = attrs.field(default=None, repr=False)
    code: str | None = None
    msg: str | None = None

    def _html_row_(self) -> html.Cells:
        return {
            "name": html.text(self.file_name),
            "file": html.code(self.file_id),
            "link": html.text("yes" if self.url else "none"),
            "code": html.code(self.code),
            "message": html.text(self.msg),
        }

    def _repr_html_(self) -> str:
        return html.card("Download", self._html_row_())


@attrs.frozen(kw_only=True)
class Downloads:
    """Links for a batch of files.

    :ivar batch_code: 0 some succeeded, 1 all succeeded, 2 all failed.
    """

    batch_code: int | None = None
    downloads: tuple[Download, ...] = ()

    def _repr_html_(self) -> str:
        return html.listing("Downloads", self.downloads)

    def __len__(self) -> int:
        return len(self.downloads)

    def __iter__(self) -> Iterator[Download]:
        return iter(self.downloads)

    def __getitem__(self, index: int) -> Download:
        return self.downloads[index]
