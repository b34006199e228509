"""The exceptions: their tree, how they read, and that they pickle."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

import koodrive_async
from koodrive_async import errors
from koodrive_async.errors import (
    ApiError,
    AuthenticationError,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    DeadlineExceeded,
    DuplicateFileName,
    FileTooLarge,
    ForkedClient,
    InsufficientSpace,
    IntegrityCheckFailed,
    InvalidArgument,
    InvalidFileName,
    InvalidRequest,
    KooDriveError,
    LockLost,
    LockRefused,
    MalformedResponse,
    NotFound,
    PagingError,
    PartRejected,
    PermissionDenied,
    RateLimited,
    RecordInUse,
    ServerFault,
    SourceChanged,
    TokenRefreshFailed,
    TransportError,
    UntrustedCertificate,
    UploadError,
    UploadTaskGone,
    WrongEventLoop,
)

EVERY_CLASS = {
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, KooDriveError)
}
TRACE_ID = "t" * 58


def drawn_tree():
    """Read the tree in the docstring: each name, the one above it, and further bases."""
    tree: dict[str, tuple[str, str | None]] = {}
    above: list[str] = []
    drawing = str(errors.__doc__).partition("::\n\n")[2].partition("\n\n")[0]
    for line in inspect.cleandoc(drawing).splitlines():
        ((indent, name, further),) = re.findall(r"^([│├└─ ]*)(\w+)(?: \((\w+)\))?", line)
        depth = len(indent) // 4
        del above[depth:]
        tree[name] = (above[-1] if above else "Exception", further or None)
        above.append(name)
    return tree


def test_the_tree_in_the_docstring_is_the_real_one():
    real = {}
    for each in EVERY_CLASS:
        parent, *further = [base.__name__ for base in each.__bases__]
        real[each.__name__] = (parent, further[0] if further else None)
    assert drawn_tree() == real


def test_every_exception_is_a_public_name():
    names = {each.__name__ for each in EVERY_CLASS}
    assert names == set(errors.__all__)
    assert names <= set(koodrive_async.__all__)


def refused(kind, **more):
    return kind(
        status=400,
        code="13000102",
        msg="Verify parameters failed.",
        method="POST",
        path="/koodrive/ose/v1/backup/lock",
        trace_id=TRACE_ID,
        **more,
    )


def failed(kind, **more):
    return kind("it broke", method="GET", path="/backup/device", trace_id=TRACE_ID, **more)


EXAMPLES = [
    KooDriveError("anything"),
    InvalidArgument("page_size must be 1 to 100, not 0"),
    InvalidFileName("a file name cannot be '.'"),
    FileTooLarge("too large"),
    ConfigurationError("not set"),
    ClientClosed("not open"),
    WrongEventLoop("another loop"),
    ForkedClient("another process"),
    TokenRefreshFailed("the token function failed"),
    RecordInUse("1842862763295184641"),
    failed(TransportError, sent=False),
    failed(ConnectionFailed, sent=False),
    failed(DeadlineExceeded),
    failed(UntrustedCertificate),
    failed(MalformedResponse, status=200),
    PagingError("the cursor 'a' a second time"),
    refused(ApiError),
    refused(InvalidRequest),
    refused(AuthenticationError),
    refused(PermissionDenied),
    refused(NotFound),
    refused(LockRefused),
    refused(DuplicateFileName, answer={"existFileId": 17}),
    refused(InsufficientSpace),
    refused(IntegrityCheckFailed),
    refused(RateLimited, retry_after=2.5),
    refused(ServerFault),
    refused(UploadTaskGone),
    UploadError("it did not get there"),
    PartRejected(part_number=3, status=403, code="SignatureDoesNotMatch", msg="no", retry_after=1),
    SourceChanged("a.txt", "size 10 -> 12"),
    LockLost("78e41c7e@102", "its renewal was refused"),
]


def test_the_examples_below_are_complete():
    assert {type(example) for example in EXAMPLES} == EVERY_CLASS
    assert len(EXAMPLES) == len(EVERY_CLASS)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
@pytest.mark.parametrize(
    "copied", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy]
)
def test_an_exception_pickles_and_copies_with_all_its_attributes(example, copied):
    if hasattr(example, "attempts"):
        example.attempts = 4
    example.__notes__ = ["at the same time: something else"]
    other = copied(example)
    assert type(other) is type(example)
    assert other.args == example.args
    assert vars(other) == vars(example)
    assert str(other) == str(example)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_an_exception_reads_as_one_line_without_gaps(example):
    text = str(example)
    assert text
    assert "\n" not in text
    assert "None" not in text
    assert not re.search(r"(^[;:, ])|([:;,] ?[:;,])|  |[;:, ]$", text)


def test_a_refusal_says_what_where_and_what_to_do():
    error = refused(InsufficientSpace, retry_after=3.0)
    error.attempts = 2
    assert str(error) == (
        "POST /koodrive/ose/v1/backup/lock: HTTP 400, code 13000102: Verify parameters failed; "
        "free some space or choose another space; going on would fail for every file; "
        f"retry after 3 s; trace id {TRACE_ID}; 2 attempts"
    )


def test_a_refusal_without_a_code_reads_well():
    error = ServerFault(status=502, code="", msg="not JSON", method="GET", path="/x")
    assert str(error) == "GET /x: HTTP 502: not JSON"


def test_a_failure_of_transport_says_what_and_where():
    error = ConnectionFailed("refused", method="GET", path="/x", trace_id="t", sent=False)
    assert str(error) == "GET /x: refused; trace id t"
    error.attempts = 5
    assert str(error) == "GET /x: refused; trace id t; 5 attempts"


def test_a_rejected_part_says_which_and_why():
    error = PartRejected(part_number=3, status=403, code="AccessDenied", msg="expired")
    assert str(error) == "part 3 was refused: HTTP 403 AccessDenied: expired"


def test_bad_arguments_are_value_errors():
    for kind in (InvalidArgument, InvalidFileName, FileTooLarge):
        assert issubclass(kind, ValueError)
