"""Every fault at every stage ends in success or in the one exception that the page says.

Whatever it is: no file is torn or there twice, no lock, task, thread, open or temporary file is
left, and a resume with the fault gone brings every byte. Each test is a line of the tables in
``docs/reliability.md``, which ``python -m tests.faults.table --write`` makes.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import pytest

from koodrive_async.emulator.fault import Kind
from tests.faults.matrix import FOR_EVER, ONCE, ROWS, all_rows, cells
from tests.faults.sources import CHANGES, tried_change
from tests.faults.table import (
    PAGE,
    WRITE,
    page,
    rendered,
    rendered_change,
    titles,
    written_line,
    written_lines,
)
from tests.faults.trial import LESS_HASTY, open_below, tried_all, write_tree

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at what is open in /proc"),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    write_tree(folder)
    return folder


@pytest.fixture
def spools(tmp_path, monkeypatch):
    """Return the folder where temporary files of this test go."""
    folder = tmp_path / "spools"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def nothing_left(tmp_path, tree, spools):
    """Return a context manager that looks at its end for what should be gone."""

    @contextmanager
    def look():
        tasks = asyncio.all_tasks()
        yield
        gc.collect()
        assert asyncio.all_tasks() == tasks
        assert [t.name for t in threading.enumerate() if t.name.startswith("koodrive")] == []
        assert open_below(tmp_path) + open_below(tree) == []
        assert list(spools.iterdir()) == []

    return look


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("row", "often"), [pytest.param(*both, id=f"{both[0].name}, {both[1]}") for both in all_rows()]
)
async def test_a_fault_ends_at_every_stage_as_the_page_says(
    row, often, tmp_path, tree, nothing_left
):
    page_says = written_line(titles()[often], row.name)
    with nothing_left():
        outcomes = await tried_all(cells(row, often), tmp_path / "tried", tree)
    if row.waits and (wrong_of(outcomes) or rendered(row, often, outcomes) != page_says):
        # on a busy machine a sound answer, too, may take longer than the short deadline
        with nothing_left():
            outcomes = await tried_all(cells(row, often), tmp_path / "again", tree, LESS_HASTY)
    assert wrong_of(outcomes) == []
    assert rendered(row, often, outcomes) == page_says, f"{WRITE} writes the page"


def wrong_of(outcomes):
    return [f"{cell}: {each}" for cell, found in outcomes.items() for each in found.wrong]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
async def test_a_file_that_changes_ends_as_the_page_says(
    change, tmp_path, blocking_calls_fail, nothing_left
):
    blocking_calls_fail.deactivate()  # the change is made by this test, in a callback
    with nothing_left():
        found = await tried_change(change, tmp_path / "tried")
    assert found.wrong == ()
    line = rendered_change(change, found.outcomes)
    assert line == written_line(titles()["source"], change.name), f"{WRITE} writes the page"


async def test_the_page_has_these_tables_and_no_other_line():
    lines = {often: written_lines(title) for often, title in titles().items()}
    assert [len(found) for found in lines.values()] == [len(ROWS), len(ROWS), len(CHANGES)]
    text = PAGE.read_text(encoding="utf-8")
    assert page(text, lines) == text, f"{WRITE} writes the page"


async def test_every_kind_of_fault_is_in_the_matrix():
    assert {row.kind for row in ROWS} == set(get_args(Kind))
    assert {often for _, often in all_rows()} == {ONCE, FOR_EVER}
