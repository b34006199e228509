"""The value that holds the answers to what the reference leaves open."""

from __future__ import annotations

import pickle

import attrs
import pytest

from koodrive_async.emulator import Dialect, Emulator


def made(**answers):
    """Make a dialect of answers that a type checker would refuse."""
    return Dialect(**answers)


def test_the_first_choice_of_each_question_is_the_default():
    default = attrs.asdict(Dialect())
    assert {name: choices[0] for name, choices in Dialect.choices().items()} == default
    assert list(Dialect.questions()) == list(default)
    assert all(question.endswith("?") for question in Dialect.questions().values())


def test_each_question_has_at_least_two_answers_and_no_answer_twice():
    for name, choices in Dialect.choices().items():
        assert len(set(choices)) == len(choices) > 1, name


def test_a_dialect_is_a_value():
    dialect = Dialect(lost_lock="423-13000901")
    assert dialect == Dialect(lost_lock="423-13000901")
    assert len({dialect, Dialect(), Dialect()}) == 2
    assert pickle.loads(pickle.dumps(dialect)) == dialect
    answer = ("lost_lock", "400-13000102")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(dialect, *answer)


def test_an_unknown_answer_is_refused_with_those_that_there_are():
    with pytest.raises(
        ValueError, match=r"no answer to multipart is called 'yes'.*refused, one-url"
    ):
        made(multipart="yes")
    with pytest.raises(ValueError, match="no answer to multipart is called None"):
        made(multipart=None)
    with pytest.raises(ValueError, match="no answer to url_life"):
        made(url_life=60)


def test_settings_are_read_and_written_as_text():
    given = ("multipart=one-url", "url_life=60")
    dialect = Dialect.parse(given)
    assert dialect == Dialect(multipart="one-url", url_life="60")
    assert dialect.settings == given
    assert str(dialect) == "multipart=one-url, url_life=60"
    assert Dialect.parse(["url-life=60"]) == Dialect(url_life="60")
    assert Dialect.parse(["url_life=60", "url_life=3600"]) == Dialect.parse([]) == Dialect()
    assert str(Dialect()) == "default"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("lost_lok=1", "no question is called 'lost_lok'; there are unfinished_files, "),
        ("=1", "no question is called ''"),
        ("", "no question is called ''"),
        ("url_life=61", "url_life is one of 3600, 60"),
        ("url_life", "url_life is one of 3600, 60"),
        ("url_life=", "url_life is one of 3600, 60"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_there_is(setting, message):
    with pytest.raises(ValueError, match=r"^dialect '") as caught:
        Dialect.parse([setting])
    assert message in str(caught.value)


def test_deviations_differ_in_one_answer_and_pairs_in_two():
    deviations, pairs = list(Dialect.deviations()), list(Dialect.pairs())
    assert len(set(deviations)) == len(deviations)
    assert {len(each.settings) for each in deviations} == {1}
    assert len(deviations) == sum(len(choices) - 1 for choices in Dialect.choices().values())
    assert len(set(pairs)) == len(pairs)
    assert {len(each.settings) for each in pairs} == {2}
    counts = [len(choices) - 1 for choices in Dialect.choices().values()]
    assert len(pairs) == (sum(counts) ** 2 - sum(count**2 for count in counts)) // 2


def test_an_emulator_has_the_dialect_that_it_was_given(tmp_path):
    dialect = Dialect(url_life="60")
    assert Emulator(tmp_path).dialect == Dialect()
    assert Emulator(tmp_path, dialect=dialect).dialect is dialect


def test_another_scheme_for_presigned_urls_needs_a_certificate(tmp_path):
    with pytest.raises(ValueError, match="url_scheme=https: needs ssl_context"):
        Emulator(tmp_path, dialect=Dialect(url_scheme="https"))
