"""Asking for what ``koodrive login`` needs, or taking it from options and standard input."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import attrs
import click

from koodrive_async.cli.credentials import same_service
from koodrive_async.cli.interruption import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

T = TypeVar("T")

_NOT_TEXT: Final = "{} is no text in {}, the encoding that is set here"


class Way(StrEnum):
    """How somebody signs in."""

    TOKEN = "token"  # noqa: S105 - the name of a way, not a token
    APP = "app"
    ACCOUNT = "account"


_PROMPTS: Final = {
    Way.TOKEN: "Token (the whole Authorization value, such as Bearer+...)",
    Way.APP: "App secret",
    Way.ACCOUNT: "Password",
}
_SECRETS: Final = {Way.TOKEN: "token", Way.APP: "app secret", Way.ACCOUNT: "password"}
"""What has to be kept from everybody else."""


@attrs.define(kw_only=True)
class Answers:
    """What is known so far; the rest is asked for on a terminal.

    :ivar offers: What is taken when nothing is typed, by the names of settings: one mapping for
        each place that offers something, the strongest first.
    """

    given: Mapping[str, str | None]
    offers: Sequence[Mapping[str, str]]
    missing: list[str] = attrs.field(factory=list)

    def get(self, name: str, question: str) -> str:
        """Return an answer; ask for it, where somebody can be asked."""
        if given := (self.given.get(name) or "").strip():
            return given
        offer = next((each[name] for each in self.offers if name in each), None)
        if somebody_is_there():
            return ask(question, default=offer)
        if offer is not None:
            return offer
        self.missing.append(f"--{name.replace('_', '-')}")
        return ""

    def go_with(self, endpoint: str) -> None:
        """Withdraw the offers that belong to another service."""
        self.offers = [
            offers
            for offers in self.offers
            if same_service(offers.get("endpoint", endpoint), endpoint)
        ]

    def complete(self) -> None:
        """Refuse to go on without what nobody could be asked for.

        :raises click.UsageError: Something is missing; all of it is listed.
        """
        if self.missing:
            raise click.UsageError(
                f"this is no terminal to ask on: {', '.join(self.missing)} must be given"
            )


def way_of(answers: Answers, streams: Mapping[Way, bool]) -> Way:
    """Return how to sign in, by what is given; ask, where nothing says it.

    :param streams: Whether the secret of a way comes from standard input.
    :raises click.UsageError: More than one way is given.
    """
    named = {way for way, given in streams.items() if given}
    if answers.given.get("app_id"):
        named.add(Way.APP)
    if answers.given.get("account"):
        named.add(Way.ACCOUNT)
    if len(named) > 1:
        raise click.UsageError(f"one way to sign in is enough: {' or '.join(sorted(named))}")
    if named:
        return named.pop()
    if not somebody_is_there():
        answers.missing.append("--token-stdin, --app-secret-stdin or --password-stdin")
        return Way.TOKEN
    return Way(ask("Sign in with", default=Way.TOKEN.value, choices=[way.value for way in Way]))


def secret_of(way: Way, answers: Answers, *, from_stream: bool) -> str:
    """Return the secret, from standard input or typed without being shown.

    :raises click.UsageError: Something else is missing (all of it is listed), or the input is not
        one secret.
    """
    name = _SECRETS[way]
    if from_stream and not sys.stdin.isatty():
        answers.complete()
        return _only_line(name, _standard_input())
    if not somebody_is_there():
        option = f"--{name.replace(' ', '-')}-stdin"
        if not any(option in each for each in answers.missing):
            answers.missing.append(option)
    answers.complete()
    return ask(_PROMPTS[way], hidden=True)


def _standard_input() -> str:
    try:
        return sys.stdin.read().removeprefix("\ufeff")  # as editors on Windows write it
    except UnicodeDecodeError as error:
        raise click.UsageError(_NOT_TEXT.format("standard input", error.encoding)) from None


def _only_line(name: str, text: str) -> str:
    secret = text.strip()
    if not secret:
        raise click.UsageError(f"there is no {name} on standard input")
    if len(secret.splitlines()) > 1:
        raise click.UsageError(f"there is more than one line on standard input, not a {name}")
    return secret


def somebody_is_there() -> bool:
    """Whether questions can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(
    question: str,
    *,
    default: str | None = None,
    choices: Sequence[str] | None = None,
    hidden: bool = False,
) -> str:
    """Return what somebody types.

    :param default: What is taken when nothing is typed.
    :param choices: What may be typed; anything by default.
    :param hidden: Whether nobody else may see it.
    :raises click.Abort: The input has ended.
    :raises Interrupted: A signal came.
    """
    kind = click.STRING if choices is None else click.Choice(choices)
    # on standard error: what is written to standard output may go to a file
    answer = _answer_of(
        partial(click.prompt, question, default=default, type=kind, hide_input=hidden, err=True),
        ends_line=not hidden,
    )
    return str(answer).strip()


def agrees(question: str, *, otherwise: str) -> bool:
    """Return whether the person at the terminal says yes; no is the default.

    :param otherwise: What holds after an interruption, such as ``nothing was deleted``.
    :raises click.Abort: The input has ended.
    :raises Interrupted: A signal came; its words say what holds.
    """
    try:
        return _answer_of(partial(click.confirm, question, err=True), ends_line=True)
    except Interrupted as interrupted:
        raise Interrupted(interrupted.number, f"interrupted; {otherwise}") from None


def _answer_of(prompt: Callable[[], T], *, ends_line: bool) -> T:
    """Return an answer; a signal is not the end of the input, as it is for click.

    :param ends_line: Whether a question without an answer leaves the cursor in its line; click
        itself ends the line of a hidden answer.
    """
    try:
        with _questions_shown_by_us():
            return prompt()
    except click.Abort as abort:
        if ends_line:
            click.echo(err=True)
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise abort.__context__ from None
        raise
    except UnicodeDecodeError as error:
        # its text would show a byte of what may be a secret
        raise click.UsageError(_NOT_TEXT.format("what was typed", error.encoding)) from None


@contextmanager
def _questions_shown_by_us() -> Iterator[None]:
    """Show questions before click has ``input()`` read an answer.

    ``input()`` drops an exception of the flush that shows its question, and with it a Ctrl-C that
    comes at that moment.
    """
    read = click.termui.visible_prompt_func

    def show_and_read(question: str) -> str:
        click.echo(question, nl=False, err=True)
        return read("")

    click.termui.visible_prompt_func = show_and_read
    try:
        yield
    finally:
        click.termui.visible_prompt_func = read
