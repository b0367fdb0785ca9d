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
    crv1_factor: float | np.ndarray

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

    Raises DesignError where nobody is treated in the data, or starts are marks (0 or 1) in place of periods.
    """
    last = panel.periods.max()
    cohorts = np.unique(panel.cohort[np.isfinite(panel.cohort)])
    flags = cohorts[np.isin(cohorts, (0, 1))]
    if flags.size and panel.periods.min() > 1:
        # Other software writes 0 for the never treated, and a mark of being treated is 0 or 1.
        raise DesignError(
            f"'{panel.outcome}': areas have {' and '.join(f'{each:g}' for each in flags)} as their start, and periods "
            f"begin in {panel.periods.min()}. A start is the first treated period: leave it missing for the never "
            "treated, and give the year, not a mark of being treated."
        )
    inside = cohorts[cohorts <= last]
    if inside.size == 0:
        raise DesignError(
            f"No area is treated by {last}, the last period of '{panel.outcome}'. "
            "Wait for later data, or check the start dates in the rollout."
        )
    return inside


def refuse_constant(panel: Panel, inside: np.ndarray | None = None) -> None:
    """Raises DesignError for an outcome that has the same value wherever it was observed.

    ``inside`` (U) numbers sets of units, and an outcome that varies between them only is refused as well.
    """
    seen = np.isfinite(panel.mean) & (panel.weight > 0)
    sets = np.zeros(len(panel.mean)) if inside is None else inside
    parts = [panel.mean[sets == each][seen[sets == each]] for each in np.unique(sets)]
    known = np.concatenate(parts)
    # A rate divided out of counts differs in its last digits.
    if all(part.size == 0 or np.ptp(part) <= 1e-12 * np.abs(part).max() for part in parts):
        value = f"{known[0]:g}" if known.size else "missing"
        raise DesignError(
            f"'{panel.outcome}' never varies: it's {value} in every area and period. "
            "Check that the right column was read, or choose another outcome."
        )
