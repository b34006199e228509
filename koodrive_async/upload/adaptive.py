"""How many parts to send at the same time: a fixed number, or the one that turns out best.

Nothing here waits, reads a clock or draws a number: the limit is told of every part, and answers.

How good a limit is shows in the time that parts hold their slots. With ``n`` slots taken, ``n``
seconds of slot time pass in each second. So going from ``n`` to ``m`` pays if parts take less than
``m / n`` times as long as parts *of the same sizes* took before::

    gain = m / n * seconds expected from the parts sent under n / seconds taken under m

What is expected is read off a line over the size, fitted to the parts before. Therefore the mix of
sizes does not matter, an epoch has no edges at which parts would count half, and only what was
acknowledged counts, not what a buffer has swallowed.
"""

from __future__ import annotations

import math
from typing import Protocol

from koodrive_async.upload.part_cost import Epoch, PartCost, PartSums

_WORTH_MORE = 1.05
"""The gain that more connections must bring, and more than may be noise."""

_WORTH_FEWER = 0.97
"""The goodput that fewer connections must keep."""

_HARM = 0.1
"""The loss of goodput by which more connections do harm."""

_SPARE = 1.1
"""Connections to have for each one that would be enough if it were as fast as among fewer."""

_CHANGED = 1.25
"""The factor by which parts take longer or shorter when the link is no longer the same."""

_GROWTH = 2
"""Factor of a raise while raises bring at least half of what they could."""

_PROBE = 1.5
"""Factor of any other trial, up or down."""

_BEYOND = 1.25
"""Factor of a trial that goes as far as what had been refused, so that success can be seen."""

_BACK_OFF = 0.7
"""What an overload leaves of a limit that had been good."""

_FEW_PARTS = 4
"""Parts of an epoch at the least, while growing; or half the limit."""

_PARTS = 12
"""Parts of an epoch at the least; or as many as the limit."""

_COVERED = 1 / 3
"""Share of the time of all slots that the parts of the first epoch of a limit must have taken."""

_HOLD_MORE, _LONGEST_HOLD_MORE = 3, 6
"""Epochs until more is tried: at first, and at the most. Each vain trial doubles them."""

_HOLD_FEWER, _LONGEST_HOLD_FEWER = 16, 64
"""Epochs until fewer is tried, which costs goodput when it is vain."""

_HOLD_AFTER_FEWER = 2
"""Epochs until more is tried, when fewer turned out to be enough."""

_LONGEST_HOLD_AFTER_HARM = 32
"""Epochs until more is tried at the most, when it was refused or did harm."""

_PARDONED = 1 / 8
"""Refusals for each acknowledged part that are taken for chance."""

_PARDONS = 4.0
"""Refusals in a row that are."""


class ConnectionLimit(Protocol):
    """How many parts may be sent at the same time; told in the event loop what becomes of them."""

    @property
    def limit(self) -> int:
        """How many parts may be on their way now."""
        ...

    @property
    def most(self) -> int:
        """The limit will never be more."""
        ...

    def arrived(self, size: int, began: float, now: float, *, contended: bool) -> None:
        """Take note that a part was acknowledged.

        :param size: Its bytes.
        :param began: When it got its slot, in seconds of a monotonic clock.
        :param now: When it was acknowledged.
        :param contended: All slots were taken: the limit is what holds us, not a lack of parts.
        """

    def overloaded(self, began: float, now: float) -> None:
        """Take note that a part was refused or lost, as happens when there are too many.

        :param began: When it got its slot, in seconds of a monotonic clock.
        :param now: When that showed.
        """


class FixedLimit:
    """The number the user gave.

    :param number: Parts.
    """

    def __init__(self, number: int) -> None:
        self.limit: int = number
        self.most: int = number

    def arrived(self, size: int, began: float, now: float, *, contended: bool) -> None:
        """Nothing follows from it."""

    def overloaded(self, began: float, now: float) -> None:
        """Nothing follows from it."""


class AdaptiveLimit:
    """Looks for the smallest number of connections that carries the most, and goes on looking.

    The limit doubles as long as the goodput gains at least half of what it could. Then it settles,
    and now and then some more and some fewer are tried: more must carry more, fewer need only carry
    as much. When parts are refused, it steps back, and comes nearer to what was refused by halves.

    :param first: Parts to begin with, or ``most`` if that is less.
    :param least: Never fewer, at least 1.
    :param most: Never more.
    """

    def __init__(self, *, first: int = 8, least: int = 1, most: int = 64) -> None:
        self.most: int = most
        self._least = least
        self._limit = self._settled = max(least, min(first, most))
        self._sums: PartSums | None = None  # of parts sent under the settled limit
        self._cost: PartCost | None = None  # of the same
        self._epoch = Epoch()
        self._moved = -math.inf  # parts that began before were sent under another limit
        self._measuring: float | None = None  # when the epoch began
        self._full = -math.inf  # parts that began before had company of fewer than the limit
        self._growing = True
        self._refused_at: int | None = None
        self._chance = _Chance()
        self._hold_more, self._until_more = _HOLD_MORE, 0
        self._hold_fewer = self._until_fewer = _HOLD_FEWER

    @property
    def limit(self) -> int:
        """How many parts may be on their way now."""
        return self._limit

    def arrived(self, size: int, began: float, now: float, *, contended: bool) -> None:
        """Take note that a part was acknowledged; see :class:`ConnectionLimit`."""
        self._chance.acknowledged()
        if not contended:
            self._full = now
            self._measure_from(None)
            return
        if began < max(self._moved, self._full):
            return
        if self._measuring is None:
            self._measuring = began
        self._epoch.add(size, now - began)
        if self._is_enough(self._epoch.sums, now - self._measuring):
            epoch = self._epoch
            self._measure_from(now)
            self._judge(epoch, now)

    def overloaded(self, began: float, now: float) -> None:
        """Take note that a part was refused or lost; see :class:`ConnectionLimit`.

        One in eight, and four in a row, are taken for chance and change nothing.
        """
        if began < self._moved or self._chance.pardons():
            return
        if self._refused_at is None or not self._chance.silent:
            self._refused_at = self._limit
        self._chance = _Chance(silent=True)
        if self._limit <= self._settled:
            self._settle(max(self._least, int(self._limit * _BACK_OFF)), None)
        self._growing = self._refused_at > self._settled * _BEYOND
        if self._growing:
            self._until_more = 1
        else:
            self._hold_after_vain_raise(_LONGEST_HOLD_AFTER_HARM)
        self._until_fewer = self._hold_fewer
        self._move(self._settled, now)

    # --- what an epoch tells --------------------------------------------------------------------

    def _is_enough(self, sums: PartSums, seconds: float) -> bool:
        """Return whether these parts speak for all; the short ones of a mix are always first."""
        few = max(_FEW_PARTS, self._limit / 2)
        enough = few if self._growing else max(_PARTS, self._limit)
        return sums.parts >= enough and sums.seconds >= _COVERED * self._limit * seconds

    def _judge(self, epoch: Epoch, now: float) -> None:
        if self._limit > self._settled:
            self._judge_more(epoch, now)
        elif self._limit < self._settled:
            self._judge_fewer(epoch, now)
        else:
            self._hold(epoch, now)

    def _hold(self, epoch: Epoch, now: float) -> None:
        """Watch whether parts still cost what they did, as they should under the same limit."""
        changed = max(_CHANGED, 1 + 2 * epoch.doubt)
        if not 1 / changed < epoch.stretch < changed:
            self._sums = None
            self._hold_more, self._until_more = _HOLD_MORE, 0
            self._hold_fewer, self._until_fewer = _HOLD_FEWER, _HOLD_MORE
        self._until_more -= 1
        self._until_fewer -= 1
        known = self._sums
        self._settle(self._limit, epoch.sums if known is None else known.followed_by(epoch.sums))
        self._try_another(now)

    def _judge_more(self, epoch: Epoch, now: float) -> None:
        raised = self._limit / self._settled
        gain = raised / epoch.stretch
        half = (1 + raised) / 2  # of what the raise could bring
        if gain < min(half, max(_WORTH_MORE, 1 + epoch.doubt)):
            if self._growing and self._refused_at is None:  # fewer have never been tried
                self._until_fewer = 0
            self._growing = False
            harm = gain < 1 - max(_HARM, epoch.doubt)
            self._hold_after_vain_raise(_LONGEST_HOLD_AFTER_HARM if harm else _LONGEST_HOLD_MORE)
            self._move(self._settled, now)
            return
        self._growing = gain >= half and self._limit < self.most
        self._hold_more = _HOLD_MORE
        self._until_more = 0 if self._growing else _HOLD_MORE
        self._until_fewer = self._hold_fewer
        enough = math.ceil(self._settled * gain * _SPARE)
        if self._growing or enough >= self._limit:
            self._settle(self._limit, epoch.sums)
            self._try_another(now)
        else:
            self._settle(enough, None)
            self._move(enough, now)

    def _judge_fewer(self, epoch: Epoch, now: float) -> None:
        if self._limit / self._settled / epoch.stretch < _WORTH_FEWER:
            self._hold_fewer = min(2 * self._hold_fewer, _LONGEST_HOLD_FEWER)
            self._until_fewer = self._hold_fewer
            self._move(self._settled, now)
            return
        self._hold_fewer, self._until_fewer = _HOLD_FEWER, 0
        self._until_more = max(self._until_more, _HOLD_AFTER_FEWER)
        self._settle(self._limit, epoch.sums)
        self._try_another(now)

    def _hold_after_vain_raise(self, longest: int) -> None:
        self._until_more = self._hold_more
        self._hold_more = min(2 * self._hold_more, longest)

    # --- where to go ----------------------------------------------------------------------------

    def _try_another(self, now: float) -> None:
        if self._until_more <= 0 and self._limit < self.most:
            self._move(self._more(), now)
        elif self._until_fewer <= 0 and self._limit > self._least:
            fewer = min(self._limit - 1, math.ceil(self._limit / _PROBE))
            self._move(max(self._least, fewer), now)

    def _more(self) -> int:
        more = int(self._limit * (_GROWTH if self._growing else _PROBE))
        if self._refused_at is not None and more >= self._refused_at:
            half_way = (self._limit + self._refused_at) // 2
            beyond = max(self._refused_at, int(self._limit * _BEYOND))
            more = half_way if half_way >= self._limit * _SPARE else beyond
        return min(max(more, self._limit + 1), self.most)

    def _settle(self, limit: int, sums: PartSums | None) -> None:
        """Take this for the best limit known.

        :param sums: Of parts sent under it, if there were any.
        """
        self._settled = limit
        self._sums = sums
        self._cost = None if sums is None else sums.cost()
        self._epoch = Epoch(self._cost)
        if sums is not None and self._refused_at is not None and limit >= self._refused_at:
            self._refused_at = None

    def _move(self, limit: int, now: float) -> None:
        # a part of this very moment began before the limit was lowered, or after it was raised
        self._moved = math.nextafter(now, math.inf) if limit < self._limit else now
        self._limit = limit
        self._measure_from(now)

    def _measure_from(self, moment: float | None) -> None:
        """Begin an epoch, at this moment or with the first part that counts."""
        self._measuring = moment
        self._epoch = Epoch(self._cost)


class _Chance:
    """Tells refusals that just happen from those that too many connections bring about.

    :param silent: Nothing has been acknowledged yet.
    """

    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent
        self._pardons = _PARDONS

    def acknowledged(self) -> None:
        self.silent = False
        self._pardons = min(_PARDONS, self._pardons + _PARDONED)

    def pardons(self) -> bool:
        """Tell whether a refusal may be chance, and remember that it was taken for it."""
        if self._pardons < 1:
            return False
        self._pardons -= 1
        return True
