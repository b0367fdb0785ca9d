"""How numbers are written: places by their uncertainty, and a true minus sign."""

from __future__ import annotations

import numpy as np


def decimals(error: float) -> int:
    """Decimal places that show one significant figure of the standard error, at most three."""
    if not np.isfinite(error) or error <= 0:
        return 1
    return int(min(max(-np.floor(np.log10(error)), 0), 3))


def show(value: float, places: int) -> str:
    """A number at so many places, with a true minus sign, never minus zero."""
    text = f"{abs(value):,.{places}f}"
    return f"−{text}" if value < 0 and float(text.replace(",", "")) != 0 else text
