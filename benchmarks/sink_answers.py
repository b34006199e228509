"""What the sink says: the least of KooDrive and of S3 with which an upload goes through."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs

PREFIX = "/koodrive/ose/v1"
COUNTERS = "/sink/counters"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_ids = itertools.count(10**15)
_SIGNATURE = "0123456789abcdef" * 12
"""About as long as what presigned URLs carry."""

_XML = '<?xml version="1.0" encoding="UTF-8"?>'


@attrs.frozen(kw_only=True)
class Request:
    """A request, of which the body was kept if it may be JSON or XML.

    :ivar received: Bytes of bodies that the sink has taken.
    """

    method: str
    target: str
    body: bytes
    content_md5: str
    origin: str
    received: int


@attrs.frozen
class Answer:
    """A status, a body and the headers that say more than its length."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


def answer_to(request: Request) -> Answer:
    """Answer a request whose body has arrived."""
    if request.target == COUNTERS:
        return _json({"received": request.received})
    if request.target.startswith(PREFIX):
        return _interface(request)
    return _object_store(request)


def _json(fields: dict[str, Any]) -> Answer:
    body = json.dumps(fields, separators=(",", ":")).encode()
    return Answer(200, body, (("Content-Type", "application/json"),))


# --- KooDrive ----------------------------------------------------------------------------------


def _interface(request: Request) -> Answer:
    path = urlsplit(request.target).path.removeprefix(PREFIX)
    kind = _kind(path)
    fields = json.loads(request.body) if request.body else {}
    answers: dict[str, Callable[[], dict[str, Any]]] = {
        "device": lambda: {"data": {"deviceId": str(next(_ids)), **fields}},
        "lock": lambda: {"data": {"lockId": f"{next(_ids)}@100"}},
        "record": lambda: {"data": {"recordId": str(next(_ids)), "status": 0}},
        "file": lambda: _created(request.origin, fields),
        "uploadUrl": lambda: {
            "multiParts": _with_urls(request.origin, fields["fileId"], fields["multiParts"])
        },
    }
    payload = answers[kind]() if kind in answers else {}
    return _json({**payload, "code": 0, "msg": "success"})


def _kind(path: str) -> str:
    """Return the last word of a path, or for a record by its id the word before."""
    *_, before, last = path.split("/")
    return "record-completed" if before == "record" else last


def _created(origin: str, fields: dict[str, Any]) -> dict[str, Any]:
    file_id = f"file{next(_ids)}"
    return {
        "fileId": file_id,
        "rapidUpload": False,
        "containerId": "container",
        "fileName": fields["fileName"],
        "uploadId": file_id,
        "parentFolder": ["root"],
        "exist": False,
        "multiParts": _with_urls(origin, file_id, fields.get("multiParts", [])),
    }


def _with_urls(origin: str, file_id: str, parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **part,
            "uploadUrl": f"{origin}/bucket/{file_id}?uploadId={file_id}"
            f"&partNumber={part['partNumber']}&Signature={_SIGNATURE}",
        }
        for part in parts
    ]


# --- S3 ----------------------------------------------------------------------------------------


def _object_store(request: Request) -> Answer:
    url = urlsplit(request.target)
    query = parse_qs(url.query, keep_blank_values=True)
    _, bucket, *key = url.path.split("/", 2)
    if request.method == "PUT":
        return Answer(200, headers=(("ETag", _etag(request.content_md5)),))
    if request.method == "POST" and "uploads" in query:
        return _xml(
            f"<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket>"
            f"<Key>key</Key><UploadId>{next(_ids)}</UploadId></InitiateMultipartUploadResult>"
        )
    if request.method == "POST":
        return _xml(
            f"<CompleteMultipartUploadResult><Location>/</Location>"
            f"<Bucket>{bucket}</Bucket><Key>key</Key><ETag>{_etag('')}</ETag>"
            "</CompleteMultipartUploadResult>"
        )
    if request.method == "HEAD":
        return Answer(404 if any(key) else 200)
    if request.method == "DELETE":
        return Answer(204)
    return _xml(
        f"<ListBucketResult><Name>{bucket}</Name><KeyCount>0</KeyCount>"
        "<IsTruncated>false</IsTruncated></ListBucketResult>"
    )


def _etag(content_md5: str) -> str:
    digest = base64.b64decode(content_md5).hex() if content_md5 else "0" * 32
    return f'"{digest}"'


def _xml(text: str) -> Answer:
    return Answer(200, (_XML + text).encode(), (("Content-Type", "application/xml"),))
