"""Numbers and groups in the sentences of this room: descriptive, never as a cause."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sendap import groups
from sendap.disparity.rates import TOO_FEW
from sendap.numerals import show


def places(low: float, high: float) -> int:
    """Decimal places that show one significant figure of the uncertainty of a 95% interval, from one to three."""
    error = (high - low) / 4
    if not np.isfinite(error) or error <= 0:
        return 1
    return int(min(max(np.ceil(-np.log10(error)), 1), 3))


def unit_words(unit: str) -> str:
    """The unit of a difference."""
    return "percentage points" if unit == "per cent" else unit or "points"


def side(value: float) -> str:
    return "higher" if value > 0 else "lower"


def gap_sentence(row: pd.Series, *, who: str = "pupils") -> str:
    """One row of ``gaps`` in plain words: rate, absolute gap with its interval, ratio; or that it is too few to say.

    ``who`` names those counted ("children and young people"). It describes a gap, and claims no cause.
    """
    here, there = (
        f"all {who}" if name == "all pupils" else groups.pupils_in(name, of=row["by"], who=who)
        for name in (row["group"], row["against"])
    )
    if row["status"] == TOO_FEW:
        return f"There are too few {here} to say."
    at, unit = places(row["difference_low"], row["difference_high"]), row["unit"]
    after = " per cent" if unit == "per cent" else f" {unit}".rstrip()
    rates = f"{show(row['rate'], at)}{after} for {here}, {show(row['rate_against'], at)}{after} for {there}"
    if row["status"] == "reference" and row["group"] == row["against"]:
        return f"{show(row['rate'], at)}{after} for {here}, the reference."
    low, high = show(row["difference_low"], at), show(row["difference_high"], at)
    if row["difference_low"] <= 0 <= row["difference_high"]:
        return f"{rates}. We can't tell whether the two differ: the gap is between {low} and {high} {unit_words(unit)}."
    ratio = f" The ratio is {row['ratio']:.2f}." if np.isfinite(row["ratio"]) else ""
    return (
        f"{rates}: {show(abs(row['difference']), at)} {unit_words(unit)} {side(row['difference'])} "
        f"(95% confidence interval of the gap {low} to {high}).{ratio}"
    )
