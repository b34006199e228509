"""boto3: its classic transfer manager, with and without SHA-256 checksums."""

from __future__ import annotations

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from s3transfer.manager import TransferManager

from benchmarks.contenders import Job
from benchmarks.meter import Meter


def upload(job: Job, meter: Meter, *, checksum: str | None = None) -> None:
    """Upload every file by one transfer manager.

    :param checksum: Checksum that goes with every part; without it nothing is hashed at all.
    """
    settings = Config(
        max_pool_connections=job.connections,
        request_checksum_calculation="when_required",
        # without this the body would be hashed for the signature over plain HTTP
        s3={"addressing_style": "path", "payload_signing_enabled": False},
    )
    client = boto3.client(
        "s3",
        endpoint_url=job.endpoint,
        region_name="us-east-1",
        aws_access_key_id="benchmark",
        aws_secret_access_key="benchmark",  # noqa: S106 - the sink takes anything
        verify=job.ca,
        config=settings,
    )
    transfer = TransferConfig(
        multipart_threshold=job.part_size,
        multipart_chunksize=job.part_size,
        max_concurrency=job.connections,
    )
    extra = {"ChecksumAlgorithm": checksum} if checksum else {}
    paths = job.paths()
    with meter.work(), TransferManager(client, transfer) as manager:
        uploads = [manager.upload(str(path), "bucket", path.name, extra) for path in paths]
        for each in uploads:
            each.result()
