"""The page of the dialects, and the class."""

from __future__ import annotations

import re
from pathlib import Path

from koodrive_async.emulator import Dialect
from tests.dialects.known import KNOWN

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "dialects.md"
ROW = re.compile(r"\| `(\w+)`: (.*\?) \| (.*?) \| (.+) \|")


def rows():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [match.groups() for line in lines if (match := ROW.fullmatch(line))]


def test_the_page_has_the_questions_and_answers_of_the_class_in_their_order():
    written = {name: (question, answers) for name, question, answers, _ in rows()}
    assert written == {
        name: (Dialect.questions()[name], ", ".join(f"`{choice}`" for choice in choices))
        for name, choices in Dialect.choices().items()
    }
    assert list(written) == list(Dialect.choices())
    assert len(rows()) == len(written)


def test_the_page_says_what_is_done_with_each():
    for name, _, _, done in rows():
        assert done.endswith((".", ".**")), name
        assert done.count("**") % 2 == 0, name


def test_what_is_not_survived_is_an_assumption_in_bold():
    bold = {name for name, _, _, done in rows() if "**" in done}
    assert {setting.partition("=")[0] for setting in KNOWN} <= bold
