"""Work in threads is seen through or given up when its caller is cancelled."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from koodrive_async import BearerToken, ClientClosed, KooDrive, OutOfThreads
from koodrive_async.testing import connect
from koodrive_async.threads import AbandonableThread, ThreadPool, call_in_loop, in_thread
from koodrive_async.transport.dialing import Dialer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pool():
    opened = ThreadPool(1)
    yield opened
    await opened.aclose()


class Work:
    """A function that runs until it is let go."""

    def __init__(self):
        self.began = anyio.Event()
        self.let_go = threading.Event()
        self.ended = False
        self._loop = asyncio.get_running_loop()

    def __call__(self):
        self._loop.call_soon_threadsafe(self.began.set)
        self.let_go.wait(30)
        self.ended = True
        return "done"


async def in_scope(pool, work, on_cancel):
    """Cancel a run through a scope."""
    async with anyio.create_task_group() as group:

        async def run():
            await pool.run(work, on_cancel=on_cancel)

        group.start_soon(run)
        await work.began.wait()
        group.cancel_scope.cancel()


async def as_task(pool, work, on_cancel):
    """Cancel a run as a task, more than once."""
    task = asyncio.create_task(pool.run(work, on_cancel=on_cancel))
    await work.began.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- ThreadPool --------------------------------------------------------------------------------


async def test_a_function_runs_in_a_worker_thread_with_its_arguments(pool):
    name = await pool.run(lambda *given: (threading.current_thread().name, given), 1, "2")
    assert name == ("koodrive", (1, "2"))


async def test_what_a_function_raises_reaches_the_caller(pool):
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 / 0)


async def test_closing_a_pool_is_not_taken_for_lag():
    late: list[float] = []
    idle, busy = ThreadPool(1, on_lag=late.append), ThreadPool(1, on_lag=late.append)
    await idle.aclose()
    assert late == []
    await busy.run(int)
    await busy.aclose()
    assert len(late) == 1


@pytest.mark.parametrize("cancel", [in_scope, as_task])
async def test_a_cancelled_function_is_told_once_and_seen_through(pool, cancel):
    told = []

    def hurry():
        told.append(work.ended)
        work.let_go.set()

    work = Work()
    await cancel(pool, work, hurry)
    assert told == [False]
    assert work.ended


async def test_a_cancelled_function_that_fails_is_no_error_of_its_own(pool):
    class Failing(Work):
        def __call__(self):
            super().__call__()
            raise ZeroDivisionError

    work = Failing()
    await as_task(pool, work, work.let_go.set)
    assert work.ended


async def test_a_stray_stop_iteration_is_an_error(pool):
    with pytest.raises(RuntimeError, match="StopIteration"):
        await pool.run(next, iter(()))
    assert await pool.run(str) == ""


async def test_a_function_that_ends_as_its_caller_is_cancelled_keeps_nobody_waiting(pool):
    first, second_began = Work(), threading.Event()
    task = asyncio.create_task(pool.run(first))
    await first.began.wait()
    other = asyncio.create_task(pool.run(second_began.set))
    await asyncio.sleep(0)
    first.let_go.set()
    # with the loop standing still: the end of the first is known there before the cancellation
    second_began.wait(30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await other


async def test_a_function_that_has_not_begun_never_does(pool):
    first, second = Work(), Work()
    running = asyncio.create_task(pool.run(first))
    await first.began.wait()
    waiting = asyncio.create_task(pool.run(second, on_cancel=lambda: pytest.fail("told")))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    first.let_go.set()
    assert await running == "done"
    assert not second.ended


async def test_no_more_functions_run_at_a_time_than_the_pool_is_large():
    pool, running, peaks = ThreadPool(2), [], []
    together = threading.Barrier(2, timeout=30)

    def work():
        running.append(1)
        peaks.append(len(running))
        together.wait()
        running.pop()

    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(pool.run, work)
    await pool.aclose()
    assert max(peaks) == 2


async def test_closing_waits_for_what_is_running_and_takes_nothing_more(pool):
    work = Work()
    running = asyncio.create_task(pool.run(work))
    await work.began.wait()
    closing = asyncio.create_task(pool.aclose())
    await asyncio.sleep(0)
    assert not closing.done()
    work.let_go.set()
    await closing
    assert work.ended
    assert await running == "done"
    with pytest.raises(ClientClosed):
        await pool.run(str)


async def test_a_cancelled_closing_still_closes(pool):
    work = Work()
    running = asyncio.create_task(pool.run(work))
    await work.began.wait()
    with anyio.CancelScope() as scope:
        scope.cancel()
        work.let_go.set()
        await pool.aclose()
    assert work.ended
    await running


async def test_no_thread_is_left_behind():
    before = set(threading.enumerate())
    pool = ThreadPool(3)
    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(pool.run, str)
    await pool.aclose()
    left = {each for each in threading.enumerate() if each.name.startswith("koodrive")} - before
    for each in left:  # the one that shut the others down may still be ending
        each.join(30)
        assert each.name == "koodrive end"


@pytest.fixture
def threads_run_out(monkeypatch):
    """Return a function that leaves the system with so many threads to begin."""
    begin = threading.Thread.start

    def run_out(left):
        def start(thread):
            nonlocal left
            if left == 0:
                raise RuntimeError("can't start new thread")
            left -= 1
            begin(thread)

        monkeypatch.setattr(threading.Thread, "start", start)

    return run_out


@pytest.mark.parametrize("left", [1, 2])
async def test_a_pool_makes_do_with_the_threads_that_there_are(threads_run_out, left):
    threads_run_out(left)
    pool = ThreadPool(4)
    jobs = [asyncio.create_task(pool.run(int, number)) for number in range(10)]
    assert await asyncio.gather(*jobs) == list(range(10))
    await pool.aclose()
    assert not any(thread.is_alive() for thread in pool._threads)


async def test_a_pool_without_a_single_thread_says_so_and_can_be_closed(threads_run_out):
    threads_run_out(0)
    pool = ThreadPool(4)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        await pool.run(str)
    threads_run_out(-1)
    assert await pool.run(str) == ""
    threads_run_out(0)
    await pool.aclose()


async def test_a_source_waits_for_the_thread_of_another(threads_run_out):
    threads_run_out(1)
    work, loop = Work(), asyncio.get_running_loop()
    with AbandonableThread() as second:
        with AbandonableThread() as first:
            running = asyncio.create_task(first.run(work))
            await work.began.wait()
            waiting = asyncio.create_task(second.run(str))
            await asyncio.wait([waiting], timeout=0.05)
            assert not waiting.done()
            loop.call_soon(work.let_go.set)
            assert await running == "done"
        threads_run_out(1)  # the first has ended, and makes room for one
        assert await waiting == ""


async def test_a_source_without_a_thread_says_so_at_once(threads_run_out):
    threads_run_out(0)
    with (
        AbandonableThread(lambda: pytest.fail("it was not begun")) as thread,
        pytest.raises(OutOfThreads, match="can't start new thread"),
    ):
        await thread.run(str)


async def test_a_source_without_a_thread_waits_for_no_look_up_of_a_name(
    threads_run_out, monkeypatch
):
    work = Work()

    def look_up(*_, **__):
        work()
        raise socket.gaierror(socket.EAI_NONAME, "no such host")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    dialing = asyncio.create_task(Dialer().dial(False, "host.example", 80, None))
    await work.began.wait()
    threads_run_out(0)
    with anyio.fail_after(5), AbandonableThread() as thread, pytest.raises(OutOfThreads):
        await thread.run(str)
    work.let_go.set()
    with pytest.raises(socket.gaierror):
        await dialing


async def test_work_in_a_thread_of_anyio_waits_for_one_that_is_busy(threads_run_out):
    work = Work()
    running = asyncio.create_task(in_thread(work))
    await work.began.wait()
    threads_run_out(0)
    waiting = asyncio.create_task(in_thread(str))
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()
    work.let_go.set()
    assert await running == "done"
    assert await waiting == ""


async def test_an_error_of_the_function_is_not_taken_for_a_lack_of_threads():
    def fail():
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else") as error:
        await in_thread(fail)
    assert not isinstance(error.value, OutOfThreads)


@pytest.fixture
def clients_have_no_threads(monkeypatch):
    """Leave clients, and the event loop, without threads to begin; the emulator has its own."""
    begin = threading.Thread.start

    def start(thread):
        if thread.name.startswith(("koodrive", "AnyIO", "asyncio")):
            raise RuntimeError("can't start new thread")
        begin(thread)

    return lambda: monkeypatch.setattr(threading.Thread, "start", start)


async def test_a_client_without_a_thread_says_so_when_it_is_entered(
    clients_have_no_threads, koodrive_emulator
):
    clients_have_no_threads()
    with pytest.raises(OutOfThreads):
        async with connect(koodrive_emulator):
            pass


async def test_a_service_is_not_out_of_reach_for_lack_of_a_thread(
    clients_have_no_threads, koodrive_emulator
):
    url = koodrive_emulator.url.replace("127.0.0.1", "localhost")
    auth, user_id = BearerToken(koodrive_emulator.token), koodrive_emulator.user_id
    async with KooDrive(url, auth=auth, user_id=user_id, proxy=None) as drive:
        # so that the client is entered, and has to look its host up
        clients_have_no_threads()
        with pytest.raises(OutOfThreads):
            await drive.devices.list()


async def test_closing_without_a_thread_to_spare_does_not_keep_the_loop(threads_run_out):
    threads_run_out(1)
    pool, loop = ThreadPool(4), asyncio.get_running_loop()
    work = Work()
    running = asyncio.create_task(pool.run(lambda: (work(), call_in_loop(loop, str))))
    await work.began.wait()
    loop.call_soon(work.let_go.set)
    await pool.aclose()
    assert await running == ("done", "")


# --- AbandonableThread -------------------------------------------------------------------------


async def test_all_calls_of_a_source_come_in_one_thread():
    with AbandonableThread() as thread:
        threads = {await thread.run(threading.get_ident) for _ in range(5)}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


@pytest.mark.parametrize("cancel", ["scope", "task"])
async def test_a_call_that_blocks_for_ever_is_left_behind_at_once(cancel):
    work = Work()
    with AbandonableThread() as thread:
        if cancel == "scope":
            async with anyio.create_task_group() as group:
                group.start_soon(thread.run, work)
                await work.began.wait()
                group.cancel_scope.cancel()
        else:
            task = asyncio.create_task(thread.run(work))
            await work.began.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert not work.ended
    work.let_go.set()


async def test_a_thread_ends_when_it_is_left():
    with AbandonableThread() as thread:
        worker = await thread.run(threading.current_thread)
    worker.join(30)
    assert not worker.is_alive()
    assert worker.daemon  # a call that never returns does not keep the process from ending


async def test_what_a_source_raises_reaches_the_caller():
    with AbandonableThread() as thread:
        with pytest.raises(ZeroDivisionError):
            await thread.run(lambda: 1 / 0)
        assert await thread.run(str) == ""


async def test_a_stray_stop_iteration_is_an_error_and_no_end():
    with AbandonableThread() as thread, pytest.raises(RuntimeError, match="StopIteration"):
        await thread.run(next, iter(()))


def test_a_call_that_returns_when_the_loop_has_gone_is_dropped():
    let_go, ended = threading.Event(), threading.Event()

    def block():
        let_go.wait(30)
        ended.set()

    async def main():
        with AbandonableThread() as thread, anyio.move_on_after(0.01):
            await thread.run(block)

    anyio.run(main)
    let_go.set()
    assert ended.wait(30)


# --- call_in_loop ------------------------------------------------------------------------------


async def test_a_thread_can_call_into_the_loop_and_wait_for_the_answer(pool):
    loop = asyncio.get_running_loop()

    def where(*given):
        return threading.current_thread(), given

    found = await pool.run(call_in_loop, loop, where, 1, "2")
    assert found == (threading.current_thread(), (1, "2"))


async def test_what_is_raised_in_the_loop_reaches_the_thread(pool):
    loop = asyncio.get_running_loop()
    with pytest.raises(ZeroDivisionError):
        await pool.run(call_in_loop, loop, lambda: 1 / 0)


def test_a_loop_that_has_gone_is_an_error_in_the_thread():
    loop = asyncio.new_event_loop()
    loop.close()
    with ThreadPoolExecutor(1) as threads, pytest.raises(RuntimeError, match="closed"):
        threads.submit(call_in_loop, loop, str).result(30)
