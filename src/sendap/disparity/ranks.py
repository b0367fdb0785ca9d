"""How far an area's rank is known, for someone who asks for ranks: never a league table.

Source: Klein, Wright and Wieczorek (2020), A joint confidence region for an overall ranking of populations,
doi:10.1111/rssc.12402.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from sendap.errors import DesignError

CAVEAT = (
    "An area's place in an order isn't known more closely than its interval, and says nothing about why. Areas aren't "
    "sorted by it."
)


def rank_intervals(names: np.ndarray, estimate: np.ndarray, error: np.ndarray, *, level: float = 0.95) -> pd.DataFrame:
    """For each of K areas the lowest and highest rank (1 is the largest figure) that its figure allows.

    All intervals hold together with a chance of at least ``level``: an area ranks below another for sure only where
    their simultaneous intervals (Sidak, independent areas) don't overlap. Columns ``name, first, last, areas``, in the
    order of ``names``. Raises DesignError for fewer than two areas or an error that isn't above zero.
    """
    estimate, error = np.asarray(estimate, dtype=float), np.asarray(error, dtype=float)
    if len(estimate) < 2 or not (error > 0).all():
        raise DesignError("Ranks need at least two areas, each with a standard error above zero.")
    each = level ** (1 / len(estimate))
    half = stats.norm.ppf(0.5 + each / 2) * error
    low, high = estimate - half, estimate + half
    surely_above = (low[None, :] > high[:, None]).sum(axis=1)
    surely_below = (high[None, :] < low[:, None]).sum(axis=1)
    return pd.DataFrame(
        {"name": names, "first": 1 + surely_above, "last": len(estimate) - surely_below, "areas": len(estimate)}
    )
