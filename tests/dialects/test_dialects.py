"""The story of :mod:`tests.dialects.scenario` in every dialect that is one or two answers away."""

from __future__ import annotations

import random

import pytest

from koodrive_async.emulator import Dialect
from tests.dialects.known import KNOWN
from tests.dialects.scenario import play

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

PAIRS = 8
SEED = 11


# Two answers that hide from a client what one of them alone would show.
TOGETHER = [
    Dialect(unfinished_files="listed", forgotten_upload="entry-stays"),
    Dialect(unfinished_files="listed", unfinished_links="given"),
    Dialect(unique_names="folder", same_file="unfinished-too"),
    Dialect(unique_names="space", duplicate_name="13000405"),
    Dialect(flash_hit="to-be-completed", completed_file="13000401"),
    Dialect(empty_file="at-creation", completed_file="13000901"),
    Dialect(completed_file="13000901", ranges="ignored"),
    Dialect(multipart="one-url", created_parts="none"),
    Dialect(lost_lock="404-13000309", lock_header="everywhere"),
    Dialect(lost_lock="400-13000309", refusal_status="200"),
    Dialect(unknown_lock="404-13000309", lock_header="everywhere"),
    Dialect(foreign_lock="403-13000410", lock_scope="user"),
    Dialect(lost_lock="400-13000101", bad_credentials="400-13000101"),
    Dialect(lost_lock="403-13000410", bad_credentials="400-APIGW.0301"),
    Dialect(container_in_request="required", description_limit="512"),
    Dialect(url_scheme="https", url_host="final-dot"),
    Dialect(unfinished_record="refused", unfinished_details="given"),
    Dialect(unfinished_record="refused", forgotten_upload="entry-stays"),
    Dialect(unique_names="space", unfinished_details="given"),
]


def deviations():
    for dialect in Dialect.deviations():
        name = str(dialect)
        marks = []
        if name in KNOWN:
            marks.append(pytest.mark.xfail(reason=KNOWN[name], strict=True))
        yield pytest.param(dialect, id=name, marks=marks)


def pairs():
    """The pairs above, and a sample of those whose answers are survived one by one."""
    sound = [pair for pair in Dialect.pairs() if not KNOWN.keys() & set(pair.settings)]
    for pair in [*TOGETHER, *random.Random(SEED).sample(sound, PAIRS)]:
        yield pytest.param(pair, id=str(pair))


async def test_the_story_ends_well_as_the_emulator_answers_by_default(tmp_path):
    await play(tmp_path / "story", Dialect())


@pytest.mark.parametrize("dialect", list(deviations()))
async def test_the_story_ends_well_whatever_one_question_is_answered(
    tmp_path, dialect, certificates
):
    await play(tmp_path / "story", dialect, certificates)


@pytest.mark.parametrize("dialect", list(pairs()))
async def test_the_story_ends_well_whatever_two_questions_are_answered(
    tmp_path, dialect, certificates
):
    await play(tmp_path / "story", dialect, certificates)


def test_what_is_known_to_fail_names_dialects_that_there_are():
    assert KNOWN.keys() <= {str(dialect) for dialect in Dialect.deviations()}
