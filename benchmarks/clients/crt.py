"""The S3 client of awscrt: C, with an event loop of its own."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from awscrt.auth import AwsCredentialsProvider
from awscrt.http import HttpHeaders, HttpRequest
from awscrt.io import (
    ClientBootstrap,
    ClientTlsContext,
    DefaultHostResolver,
    EventLoopGroup,
    TlsContextOptions,
)
from awscrt.s3 import (
    S3ChecksumAlgorithm,
    S3ChecksumConfig,
    S3ChecksumLocation,
    S3Client,
    S3RequestTlsMode,
    S3RequestType,
)

from benchmarks.contenders import Job
from benchmarks.meter import Meter


def upload(job: Job, meter: Meter, *, checksum: bool = False) -> None:
    """Upload every file, as many at a time as there are connections.

    :param checksum: Whether SHA-256 checksums go with the parts.
    """
    client = _client(job)
    checksums = S3ChecksumConfig(
        algorithm=S3ChecksumAlgorithm.SHA256, location=S3ChecksumLocation.TRAILER
    )
    host = urlsplit(job.endpoint).netloc
    room = threading.Semaphore(job.connections)
    paths = job.paths()
    with meter.work():
        requests = []
        for path in paths:
            room.acquire()
            request = client.make_request(
                type=S3RequestType.PUT_OBJECT,
                request=_put(path, host, job.files.size),
                send_filepath=str(path),
                checksum_config=checksums if checksum else None,
                on_done=lambda **_: room.release(),
            )
            requests.append(request.finished_future)
        for finished in requests:
            finished.result()


def _client(job: Job) -> Any:
    group = EventLoopGroup()
    bootstrap = ClientBootstrap(group, DefaultHostResolver(group))
    tls = None
    if job.ca is not None:
        options = TlsContextOptions()
        options.override_default_trust_store(Path(job.ca).read_bytes())
        tls = ClientTlsContext(options).new_connection_options()
    return S3Client(
        bootstrap=bootstrap,
        region="us-east-1",
        credential_provider=AwsCredentialsProvider.new_static("benchmark", "benchmark"),
        tls_mode=S3RequestTlsMode.ENABLED if job.ca else S3RequestTlsMode.DISABLED,
        tls_connection_options=tls,
        part_size=job.part_size,
        max_active_connections_override=job.connections,
    )


def _put(path: Path, host: str, size: int) -> Any:
    headers = HttpHeaders(
        [
            ("Host", host),
            ("Content-Length", str(size)),
            ("Content-Type", "application/octet-stream"),
        ]
    )
    return HttpRequest("PUT", f"/bucket/{path.name}", headers)
