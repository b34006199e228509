"""What parts cost: the seconds they hold a slot, as a line over their size."""

from __future__ import annotations

import math

import attrs

_SAME_SIZE = 1e-6
"""Relative variance of sizes below which no line can be fitted."""

_STRAGGLER = 4.0
"""A part that takes longer than this many times the expected tells about itself only."""

_INSTANT = 1e-6
"""Seconds to expect at the least, for clocks too coarse to see a part."""


@attrs.frozen
class PartCost:
    """Seconds for the request itself, and for each byte."""

    request: float
    byte: float

    def of(self, size: int) -> float:
        """Return the seconds that a part of ``size`` bytes takes."""
        return max(_INSTANT, self.request + self.byte * size)


@attrs.frozen
class PartSums:
    """Sums over parts, from which their cost follows."""

    parts: float = 0.0
    size: float = 0.0
    squares: float = 0.0
    seconds: float = 0.0
    products: float = 0.0

    def with_part(self, size: int, seconds: float) -> PartSums:
        """Return these and one part more."""
        return PartSums(
            self.parts + 1,
            self.size + size,
            self.squares + size * size,
            self.seconds + seconds,
            self.products + size * seconds,
        )

    def followed_by(self, newer: PartSums) -> PartSums:
        """Return these with half their weight, and newer ones."""
        pairs = zip(attrs.astuple(self), attrs.astuple(newer), strict=True)
        return PartSums(*(older / 2 + new for older, new in pairs))

    def cost(self) -> PartCost:
        """Fit the line by least squares, with neither of its numbers below zero."""
        by_size = PartCost(0.0, self.seconds / self.size) if self.size else None
        by_count = PartCost(self.seconds / self.parts, 0.0)
        spread = self.parts * self.squares - self.size * self.size
        if by_size is None or spread <= _SAME_SIZE * self.parts * self.squares:
            return by_size or by_count
        byte = (self.parts * self.products - self.size * self.seconds) / spread
        request = (self.seconds - byte * self.size) / self.parts
        if byte < 0:
            return by_count
        return PartCost(request, byte) if request >= 0 else by_size


@attrs.define
class Epoch:
    """The parts that were sent under one limit, compared with what another let expect.

    :param known: The cost of parts under the other limit; None when that is not known.
    """

    known: PartCost | None = None
    sums: PartSums = attrs.field(default=PartSums(), init=False)
    _expected: float = attrs.field(default=0.0, init=False)
    _taken: float = attrs.field(default=0.0, init=False)
    _ratios: float = attrs.field(default=0.0, init=False)
    _squares: float = attrs.field(default=0.0, init=False)

    def add(self, size: int, seconds: float) -> None:
        """Count one part.

        :param size: Bytes.
        :param seconds: How long it held its slot.
        """
        self.sums = self.sums.with_part(size, seconds)
        if self.known is None:
            return
        expected = self.known.of(size)
        ratio = min(seconds / expected, _STRAGGLER)
        self._expected += expected
        self._taken += expected * ratio
        self._ratios += ratio
        self._squares += ratio * ratio

    @property
    def stretch(self) -> float:
        """How many times as long as expected the parts took; 1 when nothing was expected."""
        return self._taken / self._expected if self._taken else 1.0

    @property
    def doubt(self) -> float:
        """How far the stretch may be off, as a share of it: two standard errors."""
        if not self._ratios:
            return 0.0
        variance = max(0.0, self.sums.parts * self._squares / self._ratios**2 - 1)
        return 2 * math.sqrt(variance / self.sums.parts)
