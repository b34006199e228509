"""What runs the examples notices when they are wrong."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.docs import running
from tests.docs.running import PageRun


@pytest.fixture
def follow(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "DOCS", tmp_path)

    def run(text):
        (tmp_path / "page.md").write_text(text)
        page = PageRun("page.md", tmp_path, environment=os.environ, port=9, names={})
        with asyncio.Runner() as loop:
            page.follow(loop)

    return run


def test_names_stay_and_output_is_compared(follow):
    follow("```python\nx = 2\n```\n\n```python\nprint(x)\nx + 1\n```\n```text\n2\n3\n```\n")


def test_await_works_at_the_top(follow):
    follow("```python\nimport asyncio\nawait asyncio.sleep(0, 7)\n```\n```text\n7\n```\n")


def test_what_is_new_in_every_run_is_not_compared(follow):
    follow("```console\n$ echo 12345678901234567; echo 0.5 s\n0.1 s\n99999999999999999\n```\n")


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("```python\nprint(1)\n```\n```text\n2\n```\n", "it is\n1"),
        ("```python\nprint(1)\n```\n```text\n1\n1\n```\n", "it is\n1"),
        ("```python\n1 / 0\n```\n", "division by zero"),
        ("```console\n$ echo 1\n2\n```\n", "it is\n1"),
        ("```console\n$ echo no; false\n...\n```\n", "false: 1, no"),
        ("```sh\nfalse\n```\n", "page.md:2: false"),
        ("```{code-block} python\n:caption: a.py\n\n1\n```\n", "never runs {'a.py'}"),
        ("```ruby\nputs 1\n```\n", "nobody runs blocks of 'ruby'"),
    ],
)
def test_a_wrong_page_fails(follow, page, told):
    with pytest.raises((AssertionError, ZeroDivisionError)) as failed:
        follow(page)
    assert told in str(failed.value)


def test_a_file_is_written_and_run(follow):
    file = "```{code-block} python\n:caption: a.py\n\nprint(1)\n```\n"
    follow(f"{file}\n```console\n$ python a.py\n1\n```\n")


def test_a_command_that_is_meant_to_fail_may(follow):
    follow("```console\n$ (exit 4)\n$ echo $?\n4\n```\n")
