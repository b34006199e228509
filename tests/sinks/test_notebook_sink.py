"""Notebooks, run by a kernel against an emulator."""

from __future__ import annotations

import re

import nbclient
import nbformat
import pytest

from koodrive_async.sinks.notebook import ended_page, running_page
from koodrive_async.sinks.standing import Standing

CONNECT = """
import os
from koodrive_async import KooDrive, Module
from koodrive_async.sinks import NotebookSink, TqdmSink, show
"""

BACK_UP = """
async with KooDrive.from_env() as drive:
    device = await drive.devices.bind("notebook")
    async with drive.backup(device.device_id, Module.FOLDER) as session:
        async with show(session{sink}):
            for number in range(3):
                await session.upload(os.urandom(6 * 2**20), name=f"file & {{number}}.bin")
            {end}
"""


@pytest.fixture
def run(koodrive_environment, socket_enabled):  # noqa: ARG001 - an emulator, and how to reach a kernel
    """Run cells in a kernel; return the notebook."""

    def execute(*cells, allow_errors=False):
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in (CONNECT, *cells)]
        )
        nbclient.NotebookClient(
            notebook, timeout=50, allow_errors=allow_errors, kernel_name="python3"
        ).execute()
        return notebook

    return execute


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def shown_html(notebook):
    return [output.data["text/html"] for output in outputs(notebook) if "data" in output]


def test_a_notebook_keeps_a_table_of_what_became_of_everything(run):
    notebook = run(BACK_UP.format(sink="", end=""))
    (html,) = shown_html(notebook)
    assert "3 files backed up" in html
    assert "18.9 MB" in html
    (output,) = outputs(notebook)
    assert output.data["text/plain"].startswith("3 files, 18.9 MB in ")


def test_each_cell_has_a_table_of_its_own(run):
    cell = BACK_UP.format(sink=", NotebookSink(total=20 * 2**20)", end="")
    notebook = run(cell, cell)
    first, second = shown_html(notebook)
    assert "3 files backed up" in first
    assert "3 files backed up" in second


def test_the_synchronous_face_shows_it_as_well(run):
    cell = """
from koodrive_async import sync
with sync.KooDrive.from_env() as drive:
    device = drive.devices.bind("notebook")
    with drive.backup(device.device_id, Module.FOLDER) as session, show(session):
        session.upload(b"hello", name="hello")
"""
    notebook = run(cell, cell)
    assert ["1 file backed up" in html for html in shown_html(notebook)] == [True, True]
    assert [len(cell.outputs) for cell in notebook.cells] == [0, 1, 1]


def test_a_sink_may_be_used_again(run):
    cell = BACK_UP.format(sink=", sink", end="")
    notebook = run("sink = NotebookSink()", cell, cell)
    first, second = shown_html(notebook)
    assert "3 files backed up" in first
    assert "3 files backed up" in second


def test_an_interrupted_cell_leaves_a_table_too(run):
    end = "raise asyncio.CancelledError"
    notebook = run("import asyncio", BACK_UP.format(sink="", end=end), allow_errors=True)
    (html,) = shown_html(notebook)
    assert "3 files backed up, then interrupted" in html
    (text,) = [output.data["text/plain"] for output in outputs(notebook) if "data" in output]
    assert text.startswith("interrupted: 3 files, 18.9 MB in ")
    for shown in (html, text):
        assert "go on with resume= (docs/how-to/resuming.md)" in shown


def test_an_exception_leaves_a_table_too(run):
    notebook = run(BACK_UP.format(sink="", end="1 / 0"), allow_errors=True)
    (html,) = shown_html(notebook)
    assert "ZeroDivisionError: division by zero" in html
    assert [output.ename for output in outputs(notebook) if "ename" in output] == [
        "ZeroDivisionError"
    ]


def test_tqdm_shows_widgets(run):
    notebook = run(BACK_UP.format(sink=", TqdmSink()", end=""))
    kinds = [set(output.data) for output in outputs(notebook)]
    assert kinds == [{"text/plain", "application/vnd.jupyter.widget-view+json"}] * 2
    # as it was left in the end
    states = notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    texts = [state["state"].get("value") for state in states.values()]
    assert sum(value == 3 * 6 * 2**20 for value in texts) == 2
    # tqdm pads with figure spaces since 4.66.3
    assert any("3 files done" in str(value).replace("\u2007", " ") for value in texts)


# --- pages -------------------------------------------------------------------------------------


@pytest.fixture
def standing(story):
    def after():
        result = Standing()
        for event in story.taken():
            result.take(event)
        return result

    return after


EVIL = "<script>alert('1')</script>\n\x1b[2J\u202e&.txt"


def test_names_and_reasons_are_escaped(story, standing):
    story.begun(EVIL)
    story.failed(EVIL, ValueError(EVIL))
    after = standing()
    for page in (running_page(after, after.began + 5), ended_page(after, 5.0, ValueError(EVIL))):
        assert "<script" not in page
        assert "&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;" in page
        assert page.isprintable()


def test_a_page_takes_its_colours_from_where_it_is(story, standing):
    story.begun("a", 1000)
    after = standing()
    for page in (running_page(after, after.began + 5), ended_page(after, 5.0, None)):
        colours = set(re.findall(r"(?:color|border):[^;\"]*", page))
        assert colours
        for colour in colours:
            assert colour.endswith(("inherit", "currentColor"))


def test_the_headline_counts_what_failed(story, standing):
    story.finished("a")
    story.failed("b", ValueError())
    page = ended_page(standing(), 5.0, None)
    assert "1 file backed up, 1 failed" in page
    assert "resume=" not in page


def test_a_run_that_sent_nothing_shows_no_speed(story, standing):
    story.finished("a", 10**9, "rapid")
    after = standing()
    assert running_page(after, after.began + 5).count("B/s") == 1  # of hashing
    assert "speed" not in ended_page(after, 5.0, None)


def test_what_goes_on_when_the_block_has_ended_is_still_under_way(story, standing):
    story.finished("a")
    story.begun("b")
    page = ended_page(standing(), 5.0, KeyboardInterrupt())
    assert "1 file backed up, then interrupted" in page
    assert "still under way" in page


def test_only_so_many_files_are_shown(story, standing):
    for number in range(50):
        story.begun(f"file {number}")
        story.failed(f"failed {number}", ValueError())
    after = standing()
    assert running_page(after, after.began + 5).count("<bdi") == 8
    page = ended_page(after, 5.0, None)
    assert page.count("<bdi") == 20
    assert "… and 30 more" in page
