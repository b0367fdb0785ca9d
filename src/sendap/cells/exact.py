"""Sums that neither overflow nor lose digits, the same to the last bit on every engine.

A sum of floating-point numbers depends on the order in which threads add them, and it loses digits as it
grows. So each value is turned into a whole number first, and whole numbers are added without any error:

1. *Centre.* Where all values lie within a factor of two of each other (round 1,000,000,000, say), their middle
   is taken off. The subtraction is exact (Sterbenz 1974, Floating-Point Computation, theorem 4.3.1), and the
   squares keep the digits that tell the values apart. Otherwise the centre is zero.
2. *Scale.* The value is multiplied by a power of two, so that the largest has 59 bits, and rounded down. A
   double has 53 bits, so values within a factor of 64 of the largest keep every bit, and smaller ones are
   rounded by less than 2 ** -58 of the largest.
3. *Add.* The whole number is cut into its upper 29 and its lower 30 bits, each added for itself (``exact_sums``).
   Neither sum leaves 64 bits before 2 ** 33 records (eight thousand million) of one cell, whatever the engine does
   with larger ones.

Whole numbers beyond 2 ** 53 become doubles before step 1, which rounds them. Products (weight times value times
value) are rounded once for each factor, as doubles are, before step 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import numpy as np

BITS = 59  # 2 ** 59 is the largest power of two with at most 18 decimal digits
LOWER_BITS = 30
MOST_SHIFT = 1000  # beyond it, 2 ** shift is no longer a double


@dataclass(frozen=True)
class Bounds:
    """Smallest and largest known value of a column, both missing (NaN) where it holds none."""

    low: float
    high: float

    @property
    def centre(self) -> float:
        """What may be taken off each value without any rounding, zero where nothing may."""
        near, far = sorted((abs(self.low), abs(self.high)))
        if not math.isfinite(far) or self.low * self.high <= 0 or far > 2 * near:
            return 0.0
        return self.low if self.low == self.high else self.low + (self.high - self.low) / 2

    @property
    def reach(self) -> float:
        """The largest distance from the centre."""
        if not math.isfinite(self.low):
            return 0.0
        return max(abs(self.low - self.centre), abs(self.high - self.centre))


def shift_for(largest: float) -> int:
    """The power of two that brings numbers of up to this size to at most 59 bits."""
    if largest == 0 or not math.isfinite(largest):
        return 0
    return min(BITS - math.frexp(largest)[1], MOST_SHIFT)


@ibis.udf.agg.builtin(name="sum", signature=((dt.int32,), dt.Decimal(38, 0)))
def _wide_sum(value):  # type: ignore[no-untyped-def]
    """The engine's own sum, without the claim that it has 64 bits: DuckDB's has 128, and must be cut to 64 itself."""


def exact_sums(value: ir.FloatingColumn, *, largest: float) -> tuple[ir.IntegerScalar, ir.IntegerScalar]:
    """The sums of the upper and of the lower bits of a column, as whole numbers; ``restore`` puts them together."""
    scale = ibis.literal(2.0 ** shift_for(largest), type="float64")
    whole = (value * scale).floor().cast("int64")
    # Both parts have 32 bits, and for those an engine keeps half the memory in each group.
    upper, lower = (whole >> LOWER_BITS).cast("int32"), (whole & (2**LOWER_BITS - 1)).cast("int32")
    return _wide_sum(upper).cast("int64"), _wide_sum(lower).cast("int64")


def restore(upper: np.ndarray, lower: np.ndarray, *, largest: float) -> np.ndarray:
    """Sums as doubles from the two sums of bits (64-bit whole numbers of any shape).

    One rounding where a cell has fewer than 2 ** 23 records, at most two otherwise: the same on every engine.
    """
    carried = upper + (lower >> LOWER_BITS)
    left = lower & (2**LOWER_BITS - 1)
    # Multiplying by a power of two is what ldexp does, in a fraction of its time.
    return (carried * 2.0**LOWER_BITS + left) * 2.0 ** -shift_for(largest)
