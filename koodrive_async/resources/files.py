"""``drive.files``: files inside a record."""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from types import CoroutineType
from typing import TYPE_CHECKING

import attrs

from koodrive_async.callbacks import FailingAlone
from koodrive_async.errors import FileTooLarge, InvalidArgument, NotFound, PermissionDenied
from koodrive_async.models import (
    BackupFile,
    CreatedBackupFile,
    Downloads,
    FileDetails,
    MultiPartInfo,
    NewBackupFile,
)
from koodrive_async.paging import Pager, check_page_request
from koodrive_async.resources.arguments import check_batch, check_file_name, check_pattern
from koodrive_async.resources.listing import fetch_page
from koodrive_async.sequences import check_many
from koodrive_async.transport.call import Call, check_id, path
from koodrive_async.transport.wire import Json, Refused, entities, nothing, structure, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from koodrive_async.transport.http import InterfaceHttp

MAX_LENGTH = 200 * 10**9
"""Bytes of a multipart upload: 200 GB, taken as the smaller of its two meanings."""

DUPLICATE_FILE_NAME = "13000405"


class Files:
    """List, create and complete backup files, and fetch the URLs of their bytes.

    Every method raises :class:`~koodrive_async.errors.ApiError` and
    :class:`~koodrive_async.errors.TransportError`; cancelling one closes its connection.
    """

    def __init__(self, http: InterfaceHttp) -> None:
        self._http = http

    def list(
        self,
        record_id: str,
        page_size: int = 100,
        cursor: str | None = None,
        *,
        lock_id: str | None = None,
    ) -> Pager[BackupFile]:
        """List the files of a record (page ``listBackupFile``); iterating sends the requests.

        :param page_size: Files fetched at a time, 1 to 100.
        :param cursor: Where to start, from :attr:`Pager.cursor` or :attr:`Page.next_cursor`.
        :param lock_id: A lock to quote: the page's example has one, its table does not.
        :raises InvalidArgument: An argument breaks its rule.
        """
        check_page_request(page_size, cursor)
        where = path("backup", "record", record_id, "files")
        fetch = fetch_page(
            self._http,
            where,
            {"pageSize": str(page_size)},
            BackupFile,
            name="files.list",
            lock_id=lock_id,
        )
        return Pager(fetch, cursor=cursor, model=BackupFile)

    async def create(
        self, record_id: str, file: NewBackupFile, *, lock_id: str
    ) -> CreatedBackupFile:
        """Create a file in a record (page ``createBackupFile``).

        The proof code is computed for the very credential that the request carries.

        :param lock_id: A lock that is alive.
        :returns: Where to send the parts, or that there is nothing to send: see ``rapid_upload``
            and ``exist``. Match parts by ``part_number``: they come in any order, perhaps not all.
        :raises InvalidFileName: The name is not allowed.
        :raises FileTooLarge: It is over 200 GB.
        :raises DuplicateFileName: The name is taken and ``auto_rename`` is ``REJECT``.
        """
        given: object = file
        if not isinstance(given, NewBackupFile):
            raise InvalidArgument(f"file must be a NewBackupFile, not {type(given).__name__}")
        check_file_name(file.file_name)
        check_pattern("sha256", file.sha256, "[0-9a-f]{64}")
        check_length(file.length)

        async def body(origin: str) -> NewBackupFile:
            if not callable(file.proof_code):
                return file
            with FailingAlone("proof_code"):
                proof = file.proof_code(origin)
                if not (isinstance(proof, CoroutineType) or inspect.isawaitable(proof)):
                    raise InvalidArgument(
                        f"proof_code: text or an async function, which a function that returns "
                        f"{type(proof).__name__} is not"
                    )
                return attrs.evolve(file, proof_code=await proof)

        call = Call(
            method="POST",
            path=path("backup", "record", record_id, "file"),
            body=body,
            lock_id=lock_id,
            repeatable=False,
        )
        return await self._http.send(call, _read_created)

    async def part_urls(
        self, file_id: str, parts: Sequence[MultiPartInfo], *, lock_id: str | None = None
    ) -> tuple[MultiPartInfo, ...]:
        """Fetch fresh presigned URLs (page ``uploadUrl``).

        :param parts: The parts as they were announced, with offset and midstate.
        :param lock_id: A lock to quote, which no page asks for.
        :returns: Parts with ``upload_url``, in any order.
        :raises UploadTaskGone: The service no longer knows this upload.
        :raises InvalidArgument: No parts are given, or it is no list of parts.
        """
        parts = check_many("parts", parts, "MultiPartInfo", MultiPartInfo)
        if not parts:
            raise InvalidArgument("parts must have at least one item")
        call = Call(
            method="POST",
            path=path("files", "multipart", "uploadUrl"),
            body=_PartUrlsRequest(
                file_id=check_id(file_id, "file_id"),
                multi_parts=tuple(
                    part if part.upload_url is None else attrs.evolve(part, upload_url=None)
                    for part in parts
                ),
            ),
            lock_id=lock_id,
            may_want_lock="files.part_urls",
            repeatable=True,
        )
        return await self._http.send(call, entities(MultiPartInfo, "multiParts"))

    async def complete(
        self, file_id: str, sha256: str | None = None, *, lock_id: str | None = None
    ) -> None:
        """Have the service merge and check the parts of a file (page ``completeFile``).

        :param sha256: Digest of the whole file, for one more check.
        :param lock_id: A lock to quote, which no page asks for.
        :raises IntegrityCheckFailed: A part is missing or is not what was announced.
        :raises UploadTaskGone: The service no longer knows this upload.
        """
        body = {"fileId": check_id(file_id, "file_id")}
        if sha256 is not None:
            body["sha256"] = check_pattern("sha256", sha256, "[0-9a-f]{64}")
        call = Call(
            method="POST",
            path=path("files", "complete"),
            body=body,
            lock_id=lock_id,
            may_want_lock="files.complete",
            repeatable=True,
            completes=True,
        )
        await self._http.send(call, nothing)

    async def details(self, container_id: str, file_id: str) -> FileDetails:
        """Return the details that the service has of a file (carrier page ``getFile``).

        :param container_id: The space it is in: :attr:`UploadReceipt.container_id`, the record's
            ``properties``, or one of :meth:`Spaces.list`.
        :raises NotFound: No such file exists, or the file is not in this space.
        """
        call = Call(
            method="POST",
            path=path("files", file_id, "detail"),
            body={"containerId": _check_space(container_id)},
            repeatable=True,
        )
        with _saying_where_spaces_are():
            return await self._http.send(call, _read_details)

    async def download_urls(self, container_id: str, file_ids: Sequence[str]) -> Downloads:
        """Fetch links to download up to 100 files (page ``getDownLoadUrl``).

        :param container_id: The space they are in: :attr:`UploadReceipt.container_id`, the record's
            ``properties``, or one of :meth:`Spaces.list`.
        :returns: A link or a reason for each file: some may fail although the call succeeds.
        :raises InvalidArgument: ``file_ids`` has no items, more than 100, or is one id, no list.
        :raises ConfigurationError: The service speaks https and gave a link without TLS, to a host
            that ``KooDrive(allow_plain_part_urls=...)`` does not name.
        """
        file_ids = check_many("file_ids", file_ids, "ids")
        check_batch("file_ids", len(file_ids))
        call = Call(
            method="POST",
            path=path("files", "download"),
            body={
                "containerId": _check_space(container_id),
                "fileIds": [check_id(file_id) for file_id in file_ids],
            },
            repeatable=True,
        )
        with _saying_where_spaces_are():
            found = await self._http.send(call, whole(Downloads))
        for download in found:
            if download.url is not None:
                self._http.check_link("a download", download.url)
        return found


_SPACES = (
    "the id of a space (containerId) is in receipt.container_id, in the properties of a record, "
    "and in drive.spaces.list()"
)


def _check_space(container_id: object) -> str:
    if isinstance(container_id, str) and container_id:
        return check_id(container_id, "container_id")
    raise InvalidArgument(f"container_id cannot be {container_id!r}: {_SPACES}")


@contextmanager
def _saying_where_spaces_are() -> Iterator[None]:
    """Add to a refusal that may be of the space where the id of one is found."""
    try:
        yield
    except (NotFound, PermissionDenied) as refusal:
        refusal.advice = refusal.advice or _SPACES
        raise


_read_fields = whole(CreatedBackupFile)


def _read_created(answer: Json) -> CreatedBackupFile:
    created = _read_fields(answer)
    if created.exist_file_id and not (created.exist or created.rapid_upload):
        # it came with code 0, but the page documents existFileId for refusals only
        raise Refused(DUPLICATE_FILE_NAME, "the record has a file of this name")
    if created.file_id is None and created.exist_file_id:
        return attrs.evolve(created, file_id=created.exist_file_id)
    return created


def _read_details(answer: Json) -> FileDetails:
    # the page calls the id of the file id; where the fields stand could not be read
    data = answer.get("data")
    fields = dict(data) if isinstance(data, dict) else answer
    return structure({"fileId": fields.get("id"), **fields}, FileDetails)


@attrs.frozen(kw_only=True)
class _PartUrlsRequest:
    file_id: str
    multi_parts: tuple[MultiPartInfo, ...]


def check_length(length: int) -> None:
    """Refuse a file that is too large for a multipart upload.

    :raises FileTooLarge: It is over 200 GB.
    :raises InvalidArgument: The length is negative, or no whole number.
    """
    if type(length) is not int:
        raise InvalidArgument(f"a length is a whole number of bytes, not {length!r}")
    if length < 0:
        raise InvalidArgument(f"a length cannot be negative: {length}")
    if length > MAX_LENGTH:
        raise FileTooLarge(
            f"a backup file has at most 200 GB ({MAX_LENGTH} bytes), this one {length} bytes"
        )
