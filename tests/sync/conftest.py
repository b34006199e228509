"""A synchronous client of an emulator, and a way to press Ctrl-C."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager

import pytest

from koodrive_async.sync import KooDrive
from koodrive_async.testing import connect


@pytest.fixture
def open_client(koodrive_emulator):
    """Return a function that makes a client, to be entered with ``with``."""

    def make(**settings):
        return KooDrive.of(connect(koodrive_emulator, **settings))

    return make


@pytest.fixture
def drive(open_client):
    with open_client() as client:
        yield client


@pytest.fixture
def device_id(drive):
    return drive.devices.bind("testmachine").device_id


@pytest.fixture(autouse=True)
def ctrl_c_raises():
    """Have SIGINT raise KeyboardInterrupt, also where whoever runs the tests ignores it (nohup)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def interrupting(koodrive_emulator):
    """Return a context manager: SIGINT arrives when a request of a route is being handled."""

    main = threading.main_thread().ident
    assert main is not None

    @contextmanager
    def interrupt(route, number=signal.SIGINT):
        def wait_and_interrupt():
            assert koodrive_emulator.seen.wait_active(route)
            signal.pthread_kill(main, number)

        thread = threading.Thread(target=wait_and_interrupt)
        thread.start()
        try:
            yield
        finally:
            thread.join()

    return interrupt


def threads_since(before):
    """Return the threads that have begun since and go on.

    Those whose last act was to say that they are done are given time to end.
    """
    begun = set(threading.enumerate()) - before
    for thread in begun:
        if thread.name in {"AnyIO worker thread", "koodrive end"}:
            thread.join(10)
    return {thread for thread in begun if thread.is_alive()}


def portals():
    """Return the threads of clients that are alive."""
    return [each for each in threading.enumerate() if each.name == "koodrive portal"]
