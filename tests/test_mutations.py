"""The list of mutations is in step with the code; ``make mutations`` tries them."""

from __future__ import annotations

import pytest

from tests.mutations import MUTATIONS, ROOT, changed


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.belief)
def test_each_mutation_changes_one_place_and_leaves_python(mutation):
    path = ROOT / "koodrive_async" / mutation.file
    text = path.read_text()
    after = changed(text, mutation)
    assert after != text
    compile(after, str(path), "exec")
    assert all((ROOT / "tests" / name).is_file() for name in mutation.tests)


def test_ten_places_at_least_are_tried():
    assert len(MUTATIONS) >= 10
