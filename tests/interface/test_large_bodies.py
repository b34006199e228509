"""What takes long is not done on the caller's event loop."""

from __future__ import annotations

import json
import threading
from collections import UserDict
from typing import Any

import pytest

from koodrive_async import MultiPartInfo, NewBackupFile
from koodrive_async.transport.call import Call, path
from koodrive_async.transport.wire import entities
from tests.interface.scripted import LOCK, answer

pytestmark = pytest.mark.anyio

DIGEST = "c0ad38a9864a3261a92a3e9daf0d325c5ca45a7a9039ee681d608a5392350286"
URL = "https://obs.example/e24ce0b4?partNumber={}&X-Amz-Signature=" + "c" * 64
WORDS = (4294967295,) * 8


def parts(count, **more):
    return [
        MultiPartInfo(part_number=n, part_size=2**23, part_offset=2**23 * n, hash_ctx=WORDS, **more)
        for n in range(1, count + 1)
    ]


def answered_parts(count):
    return answer(
        {
            "multiParts": [
                {"partNumber": n, "partSize": 2**23, "uploadUrl": URL.format(n)}
                for n in range(1, count + 1)
            ],
            "code": 0,
        }
    )


class Probe(UserDict[str, str]):
    """A value that notes which thread writes it."""

    def __init__(self):
        super().__init__()
        self.threads: list[int] = []

    def items(self):
        self.threads.append(threading.get_ident())
        return super().items()


@pytest.mark.parametrize(("count", "on_the_loop"), [(10_000, False), (1, True)])
async def test_a_large_answer_is_read_in_a_worker_thread(client, scripted, count, on_the_loop):
    scripted.replies(answered_parts(count))
    read_parts = entities(MultiPartInfo, "multiParts")
    threads = []

    def read(decoded):
        threads.append(threading.get_ident())
        return read_parts(decoded)

    call = Call(method="GET", path=path("anything"), repeatable=True)
    read_back = await client._http.send(call, read)
    assert len(read_back) == count
    assert (threads == [threading.get_ident()]) is on_the_loop


@pytest.mark.parametrize(("count", "on_the_loop"), [(10_000, False), (1, True)])
async def test_a_large_body_is_written_in_a_worker_thread(client, scripted, count, on_the_loop):
    scripted.replies({"code": 0})
    probe = Probe()
    scene: Any = probe
    file = NewBackupFile(
        file_name="a", sha256=DIGEST, length=1, multi_parts=parts(count), scene=scene
    )
    await client.files.create("19", file, lock_id=LOCK)
    assert (probe.threads == [threading.get_ident()]) is on_the_loop
    assert len(scripted.request.json["multiParts"]) == count


async def test_ten_thousand_parts_make_the_whole_way(client, scripted):
    scripted.replies(answered_parts(10_000))
    asked = parts(10_000, upload_url="https://an.old/url")
    fresh = await client.files.part_urls("F1", asked)
    assert [part.part_number for part in fresh] == list(range(1, 10_001))
    assert fresh[-1].upload_url == URL.format(10_000)
    sent = json.loads(scripted.request.body)["multiParts"]
    assert len(sent) == 10_000
    assert sent[-1] == {
        "partNumber": 10_000,
        "partSize": 2**23,
        "partOffset": 2**23 * 10_000,
        "hashCtx": list(WORDS),
    }
