"""What one run costs: seconds, processor time, memory, and how late the event loop becomes."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

MIB = 1 << 20
TICK = 0.005
"""Seconds between two looks at the event loop."""

SAMPLE = 0.02
"""Seconds between two looks at the memory."""

POINTS = 240
"""Points of a curve that are kept."""

QUANTILES = 200
_CLEAR_PEAK = "5"


class Meter:
    """Measures the work of this process; ``result`` has the numbers when it is done."""

    def __init__(self) -> None:
        self.result: dict[str, Any] = {}
        self._started = 0.0
        self._cpu = 0.0
        self._child: int | None = None

    @contextmanager
    def work(self) -> Iterator[None]:
        """Measure what happens inside."""
        gc.collect()
        idle = _reset_peak()
        sampled = _Memory(self)
        with sampled.sampling():
            self._cpu = cpu_seconds()
            self._started = time.perf_counter()
            yield
            self.result["seconds"] = time.perf_counter() - self._started
            self.result["cpu_seconds"] = cpu_seconds() - self._cpu
        if self._child is not None:
            idle = 0.0
        self.result |= {
            "idle_mib": idle,
            "peak_mib": sampled.peak if self._child is not None else max(sampled.peak, _peak()),
            "memory": thinned(sampled.curve),
        }

    @asynccontextmanager
    async def async_work(self) -> AsyncIterator[None]:
        """Measure what happens inside, and the lag of the event loop meanwhile."""
        lags: list[tuple[float, float]] = []
        with self.work():
            ticker = asyncio.create_task(_tick(lags))
            try:
                yield
            finally:
                ticker.cancel()
                await asyncio.wait([ticker])
        values = sorted(lag for _, lag in lags)
        if values:
            self.result["lag_ms"] = {
                name: 1000 * values[min(len(values) - 1, int(len(values) * share))]
                for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
            }
            self.result["lag_curve"] = thinned([(at, 1000 * lag) for at, lag in lags])
            self.result["lag_quantiles"] = [
                round(1000 * values[round(step / QUANTILES * (len(values) - 1))], 3)
                for step in range(QUANTILES + 1)
            ]

    def mark_put(self) -> None:
        """Note that from here on bytes are sent: the processor time until now was for hashing."""
        self.result["cpu_before_put"] = cpu_seconds() - self._cpu

    def watch(self, child: int) -> None:
        """Take memory from another process, which does the work, instead of this one."""
        self._child = child

    @property
    def watched(self) -> str:
        """Name of the measured process below ``/proc``."""
        return "self" if self._child is None else str(self._child)


class _Memory:
    """The resident memory of the measured process over time, in MiB."""

    def __init__(self, meter: Meter) -> None:
        self.curve: list[tuple[float, float]] = []
        self.peak = 0.0
        self._meter = meter
        self._ended = threading.Event()

    @contextmanager
    def sampling(self) -> Iterator[None]:
        thread = threading.Thread(target=self._sample, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _sample(self) -> None:
        started = time.perf_counter()
        while True:
            with suppress(OSError, KeyError):  # no such file system, or the child has ended
                now = _status(self._meter.watched)
                self.peak = max(self.peak, now["VmRSS"])
                if self._meter.watched != "self":
                    self.peak = max(self.peak, now["VmHWM"])
                self.curve.append((time.perf_counter() - started, now["VmRSS"]))
            if self._ended.wait(SAMPLE):
                return


async def _tick(lags: list[tuple[float, float]]) -> None:
    started = time.perf_counter()
    while True:
        before = time.perf_counter()
        await asyncio.sleep(TICK)
        now = time.perf_counter()
        lags.append((now - started, max(0.0, now - before - TICK)))


def cpu_seconds() -> float:
    """Return the processor time of this process and of those it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def thinned(curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Keep few enough points for a plot: of every stretch the highest."""
    step = -(-len(curve) // POINTS) or 1
    stretches = (curve[start : start + step] for start in range(0, len(curve), step))
    highest = (max(stretch, key=lambda point: point[1]) for stretch in stretches)
    return [(round(at, 3), round(value, 3)) for at, value in highest]


def _status(process: str) -> dict[str, float]:
    """Return the sizes in ``/proc/*/status``, in MiB."""
    text = Path("/proc", process, "status").read_text(encoding="ascii", errors="replace")
    fields = (line.split() for line in text.splitlines())
    return {
        words[0].rstrip(":"): int(words[1]) / 1024
        for words in fields
        if len(words) == 3 and words[2] == "kB"  # noqa: PLR2004 - name, number, unit
    }


def _reset_peak() -> float:
    """Make the kernel forget the highest memory so far, where it can; return what is in use."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK, encoding="ascii")
        return _status("self")["VmRSS"]
    return _peak()


def _peak() -> float:
    """Return the highest resident memory of this process, in MiB."""
    with suppress(OSError):
        return _status("self")["VmHWM"]
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def cores() -> int:
    """Return the number of processors that may be used."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
