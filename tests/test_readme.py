"""The examples of the README run as they stand."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp.test_utils import TestClient, TestServer

from koodrive_async import Module
from koodrive_async.testing import connect

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("koodrive_environment")]

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def example(name):
    found = re.search(rf"<!-- example: {name} -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found, f"the README has no example named {name}"
    lines = [line for line in found[1].splitlines() if line.strip()]
    assert len(lines) <= 20
    return found[1]


async def files_of_newest_record(emulator):
    async with connect(emulator) as drive:
        records = await drive.records.list(Module.FOLDER).collect()
        newest = max(records, key=lambda record: str(record.create_time))
        assert newest.end_time is not None
        return {
            (file.file_name, file.description) async for file in drive.files.list(newest.record_id)
        }


def test_the_uploader_example(koodrive_emulator, tmp_path):
    folder = tmp_path / "photos"
    (folder / "2026").mkdir(parents=True)
    (folder / "2026" / "a.jpg").write_bytes(b"a")
    (folder / "b.jpg").write_bytes(b"b")
    (folder / "c.tmp").write_bytes(b"c")
    ran = subprocess.run(
        [sys.executable, "-c", example("uploader")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert sorted(ran.stdout.splitlines()) == ["uploaded 2026/a.jpg 1", "uploaded b.jpg 1"]
    assert anyio.run(files_of_newest_record, koodrive_emulator) == {
        ("a.jpg", "2026/a.jpg"),
        ("b.jpg", "b.jpg"),
    }


def test_the_resuming_example(koodrive_emulator, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"a")
    (folder / "b.jpg").write_bytes(b"b")

    async def interrupted():
        async with connect(koodrive_emulator) as drive:
            device = await drive.devices.bind("my_laptop")
            async with drive.backup(device.device_id, Module.FOLDER, root=folder) as session:
                await session.upload(folder / "a.jpg", description="a.jpg")
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        anyio.run(interrupted)
    ran = subprocess.run(
        [sys.executable, "-c", example("resume")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert re.findall(r"outcome='(\w+)'", ran.stdout) == ["exists", "uploaded"]
    assert anyio.run(files_of_newest_record, koodrive_emulator) == {
        ("a.jpg", "a.jpg"),
        ("b.jpg", "b.jpg"),
    }


async def test_the_service_example(koodrive_emulator):
    names: dict[str, Any] = {"__name__": "service"}
    exec(compile(example("service"), "README.md", "exec"), names)
    async with TestClient(TestServer(names["app"])) as client:
        response = await client.put("/cat.jpg", data=b"meow" * 1000)
        assert response.status == 200
        assert len((await response.json())["sha256"]) == 64
    assert await files_of_newest_record(koodrive_emulator) == {("cat.jpg", None)}


async def test_the_notebook_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("a")
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(example("notebook"), "README.md", "exec", flags=flags)
    names: dict[str, Any] = {}
    try:
        await eval(code, names)
        assert [file.completed for file in names["emulator"].files()] == [True]
    finally:
        names["emulator"].stop()
    assert list(names["table"]["file_name"]) == ["a.md"]


def test_the_example_without_async(koodrive_emulator, capsys):
    exec(compile(example("sync"), "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("hello.txt 5 2cf24dba")
    assert anyio.run(files_of_newest_record, koodrive_emulator) == {("hello.txt", None)}
