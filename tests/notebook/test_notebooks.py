"""The notebooks among the examples run from top to bottom, and are stored clean."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from tests.notebook.kernels import executed

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))


def notebook(name):
    return nbformat.read(EXAMPLES / name, as_version=4)


def outputs_of(cells, name):
    (cell,) = (cell for cell in cells if cell.id == name)
    return [output["data"] for output in cell.outputs if "data" in output]


def texts_of(cells, name):
    return "".join(data["text/plain"] for data in outputs_of(cells, name))


def pictures_of(cells, name):
    contents = [data["image/png"] for data in outputs_of(cells, name) if "image/png" in data]
    return [Image.open(io.BytesIO(base64.b64decode(content))) for content in contents]


def check_nothing_went_wrong(cells):
    for cell in cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.text


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_stored_without_outputs_and_without_a_trace_of_who_ran_it(name):
    stored = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
    assert stored["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in stored["cells"]:
        assert cell["metadata"] == {}
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert not cell["id"].isalnum() or cell["id"].isalpha()  # named, and not drawn by lot


@pytest.mark.timeout(180)
def test_the_quickstart_runs(tmp_path):
    cells = executed(notebook("quickstart.ipynb"), tmp_path).cells
    check_nothing_went_wrong(cells)
    for name in ("backup", "session", "outcomes", "receipt", "record", "page", "pandas"):
        assert "<table" in outputs_of(cells, name)[-1]["text/html"]
    assert "10 files, 44.4 MB" in texts_of(cells, "backup")
    assert "completed" in texts_of(cells, "session")
    assert "to_pandas" in texts_of(cells, "pager")
    assert "holiday.mp4" in texts_of(cells, "receipt")
    assert "44400011" in texts_of(cells, "sum")
    assert texts_of(cells, "download") == "True"
    for name in ("timeline", "timeline-of-a-file"):
        (picture,) = pictures_of(cells, name)
        assert picture.width == 2000
    assert not list(tmp_path.iterdir())


@pytest.mark.timeout(180)
def test_the_tuning_notebook_runs(tmp_path):
    cells = executed(notebook("tuning.ipynb"), tmp_path).cells
    check_nothing_went_wrong(cells)
    for name, count in {
        "timelines": 2,
        "auto": 1,
        "part-size-timelines": 3,
        "small-files-timelines": 2,
    }.items():
        assert len(pictures_of(cells, name)) == count
    for name in ("connections", "part-size", "small-files"):
        assert "MB/s" in texts_of(cells, name)
