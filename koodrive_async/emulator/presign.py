"""Presigned URLs: made for one method, object, host and length."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

import attrs

from koodrive_async.emulator.answers import ObjectRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ALGORITHM: Final = "AWS4-HMAC-SHA256"
REGION: Final = "north-4"
DOWNLOAD_HEADERS: Final = ("host",)
SIGNATURE: Final = re.compile(r"(?P<signed>.*)&X-Amz-Signature=(?P<signature>[0-9a-f]{64})")


@attrs.frozen(kw_only=True)
class Presigner:
    """Makes and checks the URLs of one object store.

    :param access_key: name of the key, printed in every URL.
    :param secret_key: the key.
    :param origin: scheme, host and port of the object store, without a final slash.
    :param lifetime: how long a URL holds, in seconds.
    :param part_headers: the headers that the URL of a part signs, in their order.
    """

    access_key: str
    secret_key: str = attrs.field(repr=False)
    origin: str
    lifetime: float
    part_headers: tuple[str, ...] = ("content-length", "host")

    def upload_url(
        self,
        *,
        now: float,
        key: str,
        upload_id: str,
        number: int,
        size: int,
        offset: int,
        hash_ctx: Sequence[int] | None,
        content_type: str,
    ) -> str:
        """Return the URL that takes one part of exactly ``size`` bytes with PUT.

        :param hash_ctx: the state before the part; ``None`` for a first or a sequential part.
        :param content_type: what the PUT must say, where the header is signed.
        """
        extra = {}
        if hash_ctx is not None:
            extra["X-Amz-Iteration-Hash-Ctx"] = iteration_hash_ctx(hash_ctx, offset)
        query = self._query(
            now,
            self.part_headers,
            first={"partNumber": str(number), "uploadId": upload_id},
            last=extra,
        )
        known = {"content-length": str(size), "content-type": content_type, "host": self._host}
        headers = {name: known[name] for name in self.part_headers}
        return self._url("PUT", f"/{key}", query, headers)

    def download_url(self, *, now: float, key: str) -> str:
        """Return the URL that gives one object with GET."""
        query = self._query(now, DOWNLOAD_HEADERS, first={}, last={})
        return self._url("GET", f"/{key}", query, {"host": self._host})

    def check(
        self, *, method: str, raw_path: str, headers: Mapping[str, str], now: float
    ) -> Mapping[str, str]:
        """Check a request by what was received and return its query.

        An upload is checked byte for byte. A link to download may be opened by anything, such as a
        browser that decodes what needs no encoding; for it the query counts in canonical form, as
        it does for real object stores.

        :param raw_path: path and query as on the request line.
        :raises ObjectRefusedError: when the signature is absent, does not match, or is too old.
        """
        path, _, query = raw_path.partition("?")
        match = SIGNATURE.fullmatch(query)
        if match is None:
            raise ObjectRefusedError(403, "AccessDenied", "The request carries no signature")
        fields = query_fields(match["signed"])
        signed = fields.get("X-Amz-SignedHeaders", "").split(";")
        received = {name: headers.get(name, "") for name in signed}
        query = _encoded(fields) if method == "GET" else match["signed"]
        expected = self._signature(method, path, query, received)
        if not hmac.compare_digest(expected, match["signature"]):
            raise ObjectRefusedError(
                403,
                "SignatureDoesNotMatch",
                "The signature does not match the method, path, query and signed headers received",
            )
        made = datetime.strptime(fields["X-Amz-Date"] + "+0000", "%Y%m%dT%H%M%SZ%z").timestamp()
        if now >= made + int(fields["X-Amz-Expires"]):
            raise request_expired()
        return fields

    @property
    def _host(self) -> str:
        return self.origin.partition("://")[2]

    def _query(
        self,
        now: float,
        headers: Sequence[str],
        *,
        first: Mapping[str, str],
        last: Mapping[str, str],
    ) -> str:
        moment = datetime.fromtimestamp(math.floor(now), UTC)
        scope = f"{self.access_key}/{moment:%Y%m%d}/{REGION}/s3/aws4_request"
        fields = {
            **first,
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Date": f"{moment:%Y%m%dT%H%M%SZ}",
            "X-Amz-SignedHeaders": ";".join(headers),
            "X-Amz-Expires": str(math.ceil(self.lifetime)),
            "X-Amz-Credential": scope,
            **last,
        }
        return _encoded(fields)

    def _url(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> str:
        signature = self._signature(method, path, query, headers)
        return f"{self.origin}{path}?{query}&X-Amz-Signature={signature}"

    def _signature(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> str:
        lines = [method, path, query, *(f"{name}:{value}" for name, value in headers.items())]
        text = "\n".join(lines).encode("utf-8", "surrogateescape")
        return hmac.new(self.secret_key.encode(), text, hashlib.sha256).hexdigest()


def _encoded(fields: Mapping[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items())


def request_expired() -> ObjectRefusedError:
    """Return the refusal of a URL whose time is over."""
    return ObjectRefusedError(403, "AccessDenied", "Request has expired")


def query_fields(query: str) -> dict[str, str]:
    """Return the fields of a query string; a plus sign stays one, as in a canonical query."""
    pairs = (item.partition("=") for item in query.split("&") if item)
    return {unquote(name): unquote(value) for name, _, value in pairs}


def iteration_hash_ctx(words: Sequence[int], offset: int) -> str:
    """Print a midstate as the running context that part URLs carry (page ``uploadUrl``).

    :param words: the eight words of the state after ``offset`` bytes.
    """
    bits = offset * 8
    context = {
        "md_len": 32,
        "num": 0,
        "h": list(words),
        "nh": bits >> 32,
        "nl": bits & 0xFFFF_FFFF,
        "hash_type": "sha256",
    }
    return base64.b64encode(json.dumps(context, separators=(",", ":")).encode()).decode()
