"""What an estimator hands to inference.

All estimators here are linear in the outcome once areas, periods and starts are given: the estimate is a
weighted sum of cell means. So inference needs only the weights, the contribution of each cluster, and the
estimates when a cluster is left out or when the starts are dealt out anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from sendap.cells import Panel
from sendap.errors import DesignError


@dataclass(frozen=True)
class Permuted:
    """Estimates under R other allocations of the starts, for each of K terms.

    ``outcome`` and ``planted`` are R by K: the estimate on the outcome, and on an effect of one planted where
    treatment really was. The three sums of squared cluster contributions give the studentised statistic for
    any hypothesised effect, so an interval by test inversion needs no further draw.
    """

    outcome: np.ndarray
    planted: np.ndarray
    square_outcome: np.ndarray
    cross: np.ndarray
    square_planted: np.ndarray


class Fit(Protocol):
    """An estimator applied to a panel: K terms, G clusters."""

    estimator: str
    contrast: str
    panel: Panel
    terms: pd.DataFrame
    estimate: np.ndarray
    scores: np.ndarray
    crv1_factor: float

    def leave_one_out(self) -> np.ndarray:
        """Estimates without each cluster, G by K; missing where a term can't be estimated without it."""
        ...

    def weights(self) -> np.ndarray:
        """The linear map from cell means to estimates, K by U by T."""
        ...

    def leave_one_out_weights(self, term: int) -> np.ndarray:
        """The linear map for one term without each cluster, G by U by T."""
        ...

    def permute(self, cohorts: np.ndarray, terms: np.ndarray) -> Permuted:
        """Estimates of some terms with starts dealt out as in ``cohorts`` (R by G, first treated periods)."""
        ...


def by_cluster(values: np.ndarray, cluster: np.ndarray, count: int) -> np.ndarray:
    """Sum over the units of each cluster, along the first axis."""
    total = np.zeros((count, *values.shape[1:]))
    np.add.at(total, cluster, values)
    return total


def treated_cohorts(panel: Panel) -> np.ndarray:
    """The cohorts that are treated inside the window of the data.

    Raises DesignError where nobody is treated in the data, or nobody is left to compare with.
    """
    last = panel.periods.max()
    cohorts = np.unique(panel.cohort[np.isfinite(panel.cohort)])
    inside = cohorts[cohorts <= last]
    if inside.size == 0:
        raise DesignError(
            f"No area is treated by {last}, the last period of '{panel.outcome}'. "
            "Wait for later data, or check the start dates in the rollout."
        )
    return inside


def refuse_constant(panel: Panel) -> None:
    """Raises DesignError for an outcome that has the same value wherever it was observed."""
    known = panel.mean[np.isfinite(panel.mean) & (panel.weight > 0)]
    # A rate divided out of counts differs in its last digits.
    if known.size == 0 or np.ptp(known) <= 1e-12 * np.abs(known).max():
        value = f"{known[0]:g}" if known.size else "missing"
        raise DesignError(
            f"'{panel.outcome}' never varies: it's {value} in every area and period. "
            "Check that the right column was read, or choose another outcome."
        )
