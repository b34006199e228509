"""Nothing of the asynchronous interface is missing from the synchronous one."""

from __future__ import annotations

import inspect

import pytest

import koodrive_async
from koodrive_async import resources, sync

PAIRS = {
    koodrive_async.KooDrive: sync.KooDrive,
    koodrive_async.BackupSession: sync.BackupSession,
    koodrive_async.UploadBatch: sync.UploadBatch,
    koodrive_async.Events: sync.Events,
    koodrive_async.Pager: sync.Pager,
    koodrive_async.ItemIterator: sync.ItemIterator,
    koodrive_async.PageIterator: sync.PageIterator,
    **{getattr(resources, name): getattr(sync, name) for name in resources.__all__},
}

NAMES = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aclose": "close",
}

WITHOUT = {
    "Lease.run": "a blocking function cannot be stopped when the lock is lost",
    "Lease.quoted": "what a session does around its own calls",
    "Records.creation": "something to be cancelled and run again, for sessions",
    "Events.put": "for those who tell, not for those who hear",
    "Events.end": "the same",
}

# the last two say that a plain "with" is wanted
ADDED = {"KooDrive.of", "Events.missed", "KooDrive.__aenter__", "KooDrive.__aexit__"}

SAME = [
    (original, name, facade)
    for original, facade in PAIRS.items()
    for name, value in vars(original).items()
    if inspect.isfunction(value)
    and not name.startswith("_")
    and name not in NAMES
    and f"{original.__name__}.{name}" not in WITHOUT
]


def public(kind):
    own = {name for each in kind.__mro__[:-1] for name in vars(each)}
    return {name for name in own if not name.startswith("_") or name in NAMES}


@pytest.mark.parametrize("original", PAIRS, ids=lambda kind: kind.__name__)
def test_every_public_method_has_a_counterpart(original):
    wanted = {
        NAMES.get(name, name)
        for name in public(original)
        if f"{original.__name__}.{name}" not in WITHOUT
    }
    facade = PAIRS[original]
    missing = {name for name in wanted if not hasattr(facade, name)}
    assert not missing
    added = {f"{original.__name__}.{name}" for name in public(facade) - wanted}
    assert added <= ADDED


@pytest.mark.parametrize(
    ("original", "name", "facade"), SAME, ids=lambda each: getattr(each, "__name__", each)
)
def test_a_counterpart_takes_the_same_and_is_documented(original, name, facade):
    theirs, ours = getattr(original, name), getattr(facade, name)
    assert list(inspect.signature(ours).parameters.values()) == list(
        inspect.signature(theirs).parameters.values()
    )
    assert inspect.getdoc(ours)
    assert not inspect.iscoroutinefunction(ours)


def test_the_attributes_of_a_client_are_there_too(koodrive_emulator):
    client = koodrive_async.testing.connect(koodrive_emulator)
    facade = sync.KooDrive.of(client)
    wanted = {name for name in vars(client) if not name.startswith("_")}
    assert wanted <= set(vars(facade))


def test_every_class_of_the_synchronous_interface_is_exported():
    assert {kind.__name__ for kind in PAIRS.values()} <= set(sync.__all__)
    assert all(getattr(sync, name).__doc__ for name in sync.__all__)


@pytest.mark.anyio
async def test_async_with_is_told_what_to_use():
    client = sync.KooDrive("https://host", auth=koodrive_async.BearerToken("t"), user_id="1")
    with pytest.raises(TypeError, match="use a plain 'with', or the KooDrive of koodrive_async"):
        async with client:
            pass
