"""The same three requests for each file as an upload makes, by aiohttp alone.

Nothing is hashed, signed or checked, and bodies are ready before the clock starts.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.contenders import Job
from benchmarks.meter import Meter
from benchmarks.sink_answers import PREFIX

HEADERS = {"Content-Type": "application/json", "Authorization": "token", "X-User-Id": "benchmark"}


def upload(job: Job, meter: Meter) -> None:
    """Upload every file, as many at a time as there are connections."""
    asyncio.run(_upload(job, meter))


async def _upload(job: Job, meter: Meter) -> None:
    paths = iter(job.paths())
    tls = ssl.create_default_context(cafile=job.ca) if job.ca else True
    connector = aiohttp.TCPConnector(limit=job.connections, ssl=tls)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        meter.async_work(),
        asyncio.TaskGroup() as group,
    ):
        for _ in range(job.connections):
            group.create_task(_upload_some(session, job, paths))


async def _upload_some(session: aiohttp.ClientSession, job: Job, paths: Iterator[Path]) -> None:
    size = job.files.size
    for path in paths:
        new = {
            "fileName": path.name,
            "sha256": "0" * 64,
            "length": size,
            "multiParts": [{"partNumber": 1, "partSize": size, "partOffset": 0, "hashCtx": []}],
        }
        created = await _call(session, f"{job.endpoint}{PREFIX}/backup/record/1/file", new)
        content = path.read_bytes()
        async with session.put(created["multiParts"][0]["uploadUrl"], data=content) as answer:
            assert answer.ok
            await answer.read()
        done = {"fileId": created["fileId"], "sha256": "0" * 64}
        await _call(session, f"{job.endpoint}{PREFIX}/files/complete", done)


async def _call(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> dict[str, Any]:
    async with session.post(url, data=json.dumps(body), headers=HEADERS) as answer:
        fields: dict[str, Any] = json.loads(await answer.read())
    assert fields["code"] == 0
    return fields
