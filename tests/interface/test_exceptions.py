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
    Attempt,
    AuthenticationError,
    BackupIncomplete,
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
    OutOfThreads,
    PagingError,
    PartRejected,
    PermissionDenied,
    ProxyFailed,
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
        # what begins with an underscore is shared by several and is no name to catch
        parent, *further = [name for base in each.__bases__ if (name := base.__name__)[0] != "_"]
        real[each.__name__] = (parent, further[0] if further else None)
    assert drawn_tree() == real


def test_every_exception_is_a_public_name():
    names = {each.__name__ for each in EVERY_CLASS}
    assert names | {"Attempt"} == set(errors.__all__)
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
    OutOfThreads("not one"),
    WrongEventLoop("another loop"),
    ForkedClient("another process"),
    TokenRefreshFailed("the token function failed"),
    RecordInUse("1842862763295184641"),
    BackupIncomplete("1842862763295184641", arrived=12, batches=2, unknown=1),
    failed(TransportError, sent=False),
    failed(ConnectionFailed, sent=False),
    failed(DeadlineExceeded),
    failed(ProxyFailed, proxy="proxy.example:3128", status=407),
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


WAIT = "the service asks to wait 3600 s, more than RetryPolicy.max_retry_after (120 s)"


def tell_of_attempts(error):
    if isinstance(error, TransportError | ApiError | PartRejected):
        error.attempts = 4
        error.history = (Attempt("it broke", 0.5), Attempt("it broke again", 1.25))
        error.gave_up = WAIT


def test_the_examples_below_are_complete():
    assert {type(example) for example in EXAMPLES} == EVERY_CLASS
    assert len(EXAMPLES) == len(EVERY_CLASS)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
@pytest.mark.parametrize(
    "copied", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy]
)
def test_an_exception_pickles_and_copies_with_all_its_attributes(example, copied):
    tell_of_attempts(example)
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


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_an_exception_with_a_history_reads_as_one_line_without_gaps(example):
    other = copy.copy(example)
    tell_of_attempts(other)
    test_an_exception_reads_as_one_line_without_gaps(other)


@pytest.mark.parametrize("kind", [TransportError, ApiError, PartRejected])
def test_whatever_is_repeated_tells_of_its_attempts(kind):
    error = next(example for example in EXAMPLES if type(example) is kind)
    new = copy.copy(error)
    vars(new).pop("attempts", None)
    vars(new).pop("history", None)
    vars(new).pop("gave_up", None)
    assert (new.attempts, new.history, new.gave_up) == (1, (), None)
    tell_of_attempts(new)
    assert str(new).endswith(f"; 4 attempts; given up: {WAIT}")


def test_an_attempt_is_a_value():
    attempt = Attempt("it broke", 0.5)
    assert (attempt.error, attempt.delay) == ("it broke", 0.5)
    assert attempt == Attempt(error="it broke", delay=0.5)
    with pytest.raises(AttributeError):
        attempt.delay = 1.0  # type: ignore[misc]  # that is what is tested


HOSTILE = "a\x00b\r\n\x1b[31mc\u202ed\ud800 see https://h/p?X-Amz-Signature=feed " + "x" * 100_000


@pytest.mark.parametrize(
    "error",
    [
        ApiError(status=400, code=HOSTILE, msg=HOSTILE, method="GET", path="/x"),
        ConnectionFailed(HOSTILE, method="GET", path="/x"),
        PartRejected(part_number=1, status=400, code=HOSTILE, msg=HOSTILE),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_other_side_wrote_is_shown_in_one_line_cut_and_without_urls(error):
    text = str(error)
    assert text.isprintable()
    assert text.encode()
    assert len(text) < 1200
    assert "a b [31mc d see <URL> xxx" in text
    assert "feed" not in text


def test_words_in_any_script_are_shown_as_they_are():
    error = ServerFault(status=500, code="1", msg="备份失败 é 🙂", method="GET", path="/x")
    assert str(error) == "GET /x: HTTP 500, code 1: 备份失败 é 🙂"


@pytest.mark.parametrize("existing", [{"a": 1}, ["1"], None, "", 0])
def test_an_existing_file_id_that_is_no_id_is_none(existing):
    error = refused(DuplicateFileName, answer={"existFileId": existing})
    assert error.existing_file_id is None


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
