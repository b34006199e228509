"""The questions that the reference leaves open, as settings: one field for each question."""

from __future__ import annotations

from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final, Literal, Self, get_args, get_type_hints

import attrs

from koodrive_async.emulator.questions import QUESTIONS
from koodrive_async.sequences import check_many

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

UNKNOWN_CODE: Final = 13000901
"""A code that no page lists."""

LockRefusal = Literal[
    "400-13000102",
    "400-13000101",
    "400-13000309",
    "400-13000901",
    "403-13000410",
    "403-13000901",
    "404-13000309",
    "404-13000901",
    "409-13000102",
    "409-13000901",
    "410-13000309",
    "410-13000901",
    "423-13000102",
    "423-13000901",
]
CredentialRefusal = Literal[
    "401-APIGW.0301",
    "401-13000101",
    "400-APIGW.0301",
    "400-13000101",
    "403-APIGW.0301",
    "403-13000410",
]
RateRefusal = Literal["429-retry-after", "429", "503", "400-APIGW.0308"]
MissingRefusal = Literal[
    "400-13000309", "400-13000102", "400-13000901", "404-13000309", "404-13000901", "200-null"
]
LockHeader = Literal["documented", "parts-too", "reads-too", "everywhere", "refused-elsewhere"]


@attrs.frozen(kw_only=True)
class Dialect:
    """Which of the plausible answers the emulator gives where the reference is silent.

    Each field is a question, each of its values an answer; the default is what the emulator
    answers unless a dialect says otherwise. The page *Dialects* of the reference lists them all.

    :raises ValueError: A value is not an answer to its question; the message lists those that are.
    """

    # --- listings ---------------------------------------------------------------------------
    unfinished_files: Literal["hidden", "listed"] = "hidden"
    listed_description: Literal["given", "absent"] = "given"
    record_order: Literal["newest-first", "oldest-first"] = "newest-first"
    file_order: Literal["oldest-first", "newest-first"] = "oldest-first"
    pages: Literal["full", "short", "empty"] = "full"
    end_of_list: Literal["absent", "null", "empty", "empty-page"] = "absent"
    device_info: Literal["absent", "given"] = "absent"

    # --- names ------------------------------------------------------------------------------
    unique_names: Literal["record", "folder", "space", "nowhere"] = "record"
    rename_style: Literal["timestamp", "counter", "after-extension"] = "timestamp"
    default_rename: Literal["rename", "refuse", "skip"] = "rename"
    same_file: Literal["complete", "unfinished-too"] = "complete"
    duplicate_name: Literal["13000405-with-id", "13000405", "0-with-id"] = "13000405-with-id"

    # --- locks ------------------------------------------------------------------------------
    held_lock: LockRefusal = "400-13000102"
    lost_lock: LockRefusal = "400-13000102"
    foreign_lock: LockRefusal = "400-13000102"
    unknown_lock: LockRefusal = "400-13000102"
    lock_scope: Literal["user-and-module", "device", "user"] = "user-and-module"
    expired_lock: Literal["dead", "renewable"] = "dead"
    lock_header: LockHeader = "documented"
    second_release: Literal["refused", "accepted"] = "refused"

    # --- refusals ---------------------------------------------------------------------------
    refusal_status: Literal["documented", "200"] = "documented"
    bad_credentials: CredentialRefusal = "401-APIGW.0301"
    rate_limit: RateRefusal = "429-retry-after"
    missing_record: MissingRefusal = "400-13000309"

    # --- devices and scopes -----------------------------------------------------------------
    bound_machine: Literal["same-device", "another-device", "refused"] = "same-device"
    unbound_device: Literal["records-stay", "records-go", "refused-with-records"] = "records-stay"
    added_scopes: Literal["scopes", "ids", "absent"] = "scopes"
    failed_scopes: Literal["array", "object", "null"] = "array"

    # --- records ----------------------------------------------------------------------------
    unfinished_record: Literal["completed", "refused"] = "completed"
    completed_record: Literal["refused", "accepted"] = "refused"
    deleted_record: Literal["gone", "status-2"] = "gone"
    left_out_properties: Literal["kept", "cleared"] = "kept"
    properties_limit: Literal["none", "1024", "124"] = "none"

    # --- new files --------------------------------------------------------------------------
    description_limit: Literal["none", "512"] = "none"
    flash_upload: Literal["any-content", "own-content", "never"] = "any-content"
    flash_hit: Literal["complete", "to-be-completed"] = "complete"
    empty_file: Literal["either", "one-part", "no-parts", "at-creation", "refused"] = "either"
    container_in_answer: Literal["given", "absent"] = "given"
    container_in_request: Literal["optional", "required"] = "optional"
    proof_origin: Literal["header", "token"] = "header"
    proof_seed: Literal["hex", "bytes"] = "hex"

    # --- parts ------------------------------------------------------------------------------
    multipart: Literal["offered", "refused", "one-url"] = "offered"
    hash_ctx: Literal["optional", "required"] = "optional"
    created_parts: Literal["all", "reversed", "first-only", "none"] = "all"
    part_urls_at_once: Literal["unlimited", "5"] = "unlimited"
    complete_part_urls: Literal["refused", "given"] = "refused"
    forgotten_upload: Literal["gone", "entry-stays"] = "gone"
    completed_file: Literal["0", "13000401", "13000402", "13000901"] = "0"

    # --- presigned URLs ---------------------------------------------------------------------
    signed_headers: Literal["content-length;host", "host", "content-type;host"] = (
        "content-length;host"
    )
    url_life: Literal["3600", "60"] = "3600"
    url_scheme: Literal["same", "http", "https"] = "same"
    url_host: Literal["address", "name", "final-dot"] = "address"
    api_content_type: Literal["ignored", "required"] = "ignored"
    part_content_type: Literal["ignored", "required"] = "ignored"

    # --- looking and downloading ------------------------------------------------------------
    ranges: Literal["honoured", "ignored"] = "honoured"
    unfinished_links: Literal["refused", "given"] = "refused"
    unfinished_details: Literal["refused", "given"] = "refused"
    details_call: Literal["offered", "absent"] = "offered"
    space_calls: Literal["both", "v1", "v2", "neither"] = "both"

    # --- forms ------------------------------------------------------------------------------
    numbers: Literal["numbers", "text"] = "numbers"
    ids: Literal["text", "numbers"] = "text"
    absent_fields: Literal["left-out", "null"] = "left-out"
    unknown_fields: Literal["none", "some"] = "none"

    # --- signing in -------------------------------------------------------------------------
    app_signature: Literal["offered", "refused"] = "offered"
    signing_string: Literal["two-lines", "with-date"] = "two-lines"
    login_answer: Literal["AT-space", "Bearer-plus", "Bearer-space", "bare"] = "AT-space"
    refreshed_session: Literal["wrapped", "flat"] = "wrapped"

    def __attrs_post_init__(self) -> None:
        for name, choices in self.choices().items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(
                    f"no answer to {name} is called {value!r}; there are {', '.join(choices)}"
                )

    @classmethod
    def choices(cls) -> Mapping[str, tuple[str, ...]]:
        """Return the answers to each question by its name, the default first."""
        return _choices()

    @classmethod
    def questions(cls) -> Mapping[str, str]:
        """Return each question in words by its name."""
        return QUESTIONS

    @classmethod
    def parse(cls, settings: Iterable[str]) -> Self:
        """Read settings of the form ``NAME=VALUE``, such as ``lost_lock=423-13000901``.

        :param settings: Later ones win; a hyphen in a name counts as an underscore.
        :raises ValueError: A name or a value does not exist; the message lists those that do.
        """
        given: dict[str, Any] = {}
        for setting in check_many("settings", settings, "settings"):
            name, equals, value = setting.partition("=")
            name = name.strip().replace("-", "_")
            if name not in cls.choices():
                raise ValueError(
                    f"dialect {setting!r}: no question is called {name!r}; there are "
                    f"{', '.join(cls.choices())}"
                )
            choices = cls.choices()[name]
            if not equals or value not in choices:
                raise ValueError(f"dialect {setting!r}: {name} is one of {', '.join(choices)}")
            given[name] = value
        return cls(**given)

    @classmethod
    def deviations(cls) -> tuple[Self, ...]:
        """Return every dialect that differs from the default in one answer."""
        return tuple(cls(**{name: value}) for name, value in _deviations())

    @classmethod
    def pairs(cls) -> Iterator[Self]:
        """Yield every dialect that differs from the default in the answers to two questions.

        There are thousands: for a sample, or a long run.
        """
        for (one, first), (other, second) in combinations(_deviations(), 2):
            if one != other:
                yield cls(**{one: first, other: second})

    @property
    def settings(self) -> tuple[str, ...]:
        """The answers that differ from the default, in the form that :meth:`parse` reads."""
        return tuple(
            f"{name}={getattr(self, name)}"
            for name, choices in self.choices().items()
            if getattr(self, name) != choices[0]
        )

    def __str__(self) -> str:
        return ", ".join(self.settings) or "default"


@cache
def _choices() -> Mapping[str, tuple[str, ...]]:
    hints = get_type_hints(Dialect)
    return {field.name: get_args(hints[field.name]) for field in attrs.fields(Dialect)}


def _deviations() -> list[tuple[str, Any]]:
    return [(name, value) for name, choices in _choices().items() for value in choices[1:]]
