"""obstore: the object stores of Rust, from asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from obstore.store import S3Store

from benchmarks.contenders import Job
from benchmarks.meter import Meter


def upload(job: Job, meter: Meter, *, checksum: str | None = None) -> None:
    """Upload every file; connections are shared out over the files.

    :param checksum: Checksum that goes with every part; without it nothing is hashed at all.
    """
    asyncio.run(_upload(job, meter, checksum))


async def _upload(job: Job, meter: Meter, checksum: str | None) -> None:
    settings: dict[str, Any] = {"checksum_algorithm": checksum} if checksum else {}
    store = S3Store(
        "bucket",
        endpoint=job.endpoint,
        region="us-east-1",
        access_key_id="benchmark",
        secret_access_key="benchmark",  # noqa: S106 - the sink takes anything
        virtual_hosted_style_request=False,
        unsigned_payload=checksum is None,
        client_options={"allow_http": True, "allow_invalid_certificates": True},
        **settings,
    )
    paths = job.paths()
    at_a_time = min(job.connections, len(paths))
    async with meter.async_work(), asyncio.TaskGroup() as group:
        waiting = iter(paths)
        for _ in range(at_a_time):
            group.create_task(_upload_some(store, job, waiting, job.connections // at_a_time))


async def _upload_some(store: Any, job: Job, paths: Iterator[Path], connections: int) -> None:
    for path in paths:
        await store.put_async(
            path.name,
            path,
            use_multipart=job.files.size > job.part_size,
            chunk_size=job.part_size,
            max_concurrency=connections,
        )
