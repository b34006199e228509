"""A wall clock that a test moves, with or without those who sleep noticing."""

from __future__ import annotations

import asyncio


class WallClock:
    """Time stands still until a test moves it; who sleeps is woken when his time has passed."""

    def __init__(self, now: float = 1_766_000_000.5) -> None:
        self.now = now
        self._awake = 0.0
        self._asleep: dict[asyncio.Event, float] = {}
        self._changed = asyncio.Event()

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        self._asleep[event] = self._awake + seconds
        self._changed.set()
        try:
            await event.wait()
        finally:
            self._asleep.pop(event, None)

    def suspend(self, seconds: float) -> None:
        """Move the wall clock only: the machine is suspended, or the clock set (also back)."""
        self.now += seconds

    async def advance(self, seconds: float) -> None:
        """Let time pass; ends when somebody sleeps again."""
        end = self._awake + seconds
        while True:
            event, due = await self._next()
            if due > end:
                self._move(end - self._awake)
                return
            self._move(due - self._awake)
            del self._asleep[event]
            event.set()

    async def _next(self) -> tuple[asyncio.Event, float]:
        while not self._asleep:
            self._changed.clear()
            await self._changed.wait()
        return min(self._asleep.items(), key=lambda sleeper: sleeper[1])

    def _move(self, seconds: float) -> None:
        self.now += seconds
        self._awake += seconds
