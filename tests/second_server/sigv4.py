"""AWS Signature Version 4 in the query string, written from Amazon's public description.

It signs for the stores of the second server: part URLs, download links, and the calls that the
front itself makes. Only ``host`` is signed, and the payload stays unsigned, as the presigned URLs
of real object stores have it.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import quote

import attrs

ALGORITHM = "AWS4-HMAC-SHA256"


@attrs.frozen(kw_only=True)
class Signer:
    """Signs URLs of one store.

    :param endpoint: The store, such as ``http://127.0.0.1:8333``.
    """

    endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"

    def presign(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        *,
        life: int = 900,
        age: float = 0.0,
    ) -> str:
        """Return a presigned URL.

        :param path: Bucket and key, not encoded, from ``/``.
        :param life: Seconds that it is valid for.
        :param age: Seconds since it was signed: a greater one than ``life`` makes an expired URL.
        """
        moment = datetime.fromtimestamp(datetime.now(UTC).timestamp() - age, UTC)
        day, stamp = moment.strftime("%Y%m%d"), moment.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{day}/{self.region}/s3/aws4_request"
        fields = {
            **(query or {}),
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self.access_key}/{scope}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(life),
            "X-Amz-SignedHeaders": "host",
        }
        encoded = sorted(
            (quote(name, safe="-_.~"), quote(text, safe="-_.~")) for name, text in fields.items()
        )
        canonical_query = "&".join(f"{name}={text}" for name, text in encoded)
        uri, host = quote(path, safe="/-_.~"), self.endpoint.partition("://")[2]
        request = f"{method}\n{uri}\n{canonical_query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
        text = f"{ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{self.secret_key}".encode()
        for step in (day, self.region, "s3", "aws4_request"):
            key = hmac.digest(key, step.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        return f"{self.endpoint}{uri}?{canonical_query}&X-Amz-Signature={signature}"
