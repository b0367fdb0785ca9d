"""Unit and period effects, taken out of many samples or weightings at once.

Estimates, cluster jackknife and permutation differ only in which cells serve as untreated or are kept, that is in
weights. So one routine takes R weightings of the same U by T cells. The period effects solve a system of T by T
for each weighting and group, the graph Laplacian of units and periods, so nothing grows with the units.

Source: Borusyak, Jaravel and Spiess (2024, doi:10.1093/restud/rdae007) for the weights that imputation implies;
Frisch and Waugh (1933) and Lovell (1963) for partialling out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from sendap.cells import Panel
from sendap.errors import DesignError
from sendap.estimators.fit import Permuted, by_cluster

ESTIMABLE = 1e-7
RANK = 1e-11
MOST_CELLS = 2_000_000
"""Weightings times cells worked on at once: some 16 MB an array."""
MOST_KEPT = 40_000_000
"""Numbers kept of the linear maps without each cluster: some 320 MB."""


@dataclass(frozen=True)
class Effects:
    """Unit effects and period effects inside each group, fitted by weighted least squares to R weightings.

    ``weight`` is R by U by T, zero where a cell isn't used. ``level`` (U) numbers the unit effects, so that strata
    of one area may share one; ``group`` (U) numbers the sets of period effects, constant inside a level.
    """

    weight: np.ndarray
    level: np.ndarray
    group: np.ndarray

    @cached_property
    def _own(self) -> bool:
        return bool((self.level == np.arange(len(self.level))).all())

    @cached_property
    def _one_hot(self) -> np.ndarray:
        return np.eye(int(self.level.max()) + 1)[self.level]

    def _to_levels(self, values: np.ndarray) -> np.ndarray:
        """Sum R by U by P values over the units of each level, R by E by P."""
        return values if self._own else self._one_hot.T @ values

    def _to_units(self, values: np.ndarray) -> np.ndarray:
        return values if self._own else values[:, self.level]

    @cached_property
    def _group_of_level(self) -> np.ndarray:
        if self._own:
            return self.group
        found = np.zeros(self._one_hot.shape[1], dtype=int)
        found[self.level] = self.group
        return found

    @cached_property
    def _level_weight(self) -> np.ndarray:
        return self._to_levels(self.weight)

    @cached_property
    def _share(self) -> np.ndarray:
        """Share of each period in the weight of its level, R by E by T."""
        total = self._level_weight.sum(axis=2, keepdims=True)
        return np.divide(self._level_weight, total, out=np.zeros_like(self._level_weight), where=total > 0)

    @cached_property
    def _inverse(self) -> tuple[np.ndarray, np.ndarray]:
        """Pseudo-inverse of the Laplacian and the projection on its null space, both R by Q by T by T."""
        draws, _, periods = self.weight.shape
        groups = int(self.group.max()) + 1
        laplacian = np.zeros((draws, groups, periods, periods))
        for group in range(groups):
            members = self._group_of_level == group
            weight, share = self._level_weight[:, members], self._share[:, members]
            laplacian[:, group] = -np.swapaxes(weight, 1, 2) @ share
            laplacian[:, group, np.arange(periods), np.arange(periods)] += weight.sum(axis=1)
        size, vectors = np.linalg.eigh((laplacian + np.swapaxes(laplacian, 2, 3)) / 2)
        known = size > RANK * np.maximum(size[..., -1:], 1e-300)
        inverse = np.where(known, 1.0 / np.where(known, size, 1.0), 0.0)
        turned = np.swapaxes(vectors, 2, 3)
        return (vectors * inverse[..., None, :]) @ turned, (vectors * ~known[..., None, :]) @ turned

    def _by_group(self, values: np.ndarray) -> np.ndarray:
        """Sum R by E by P values over the levels of each group, R by Q by P."""
        groups = int(self.group.max()) + 1
        return np.stack([values[:, self._group_of_level == group].sum(axis=1) for group in range(groups)], axis=1)

    def residual(self, values: np.ndarray) -> np.ndarray:
        """One variable (R or 1 by U by T) without the effects fitted to it, for all cells, R by U by T."""
        mean = self._divide(self._to_levels(self.weight * values))
        centred = values - self._to_units(mean)
        period = self._period_effects(self._by_group(self._to_levels(self.weight * centred)))
        level = (self._share * period).sum(axis=2, keepdims=True)
        return centred - self._to_units(period - level)

    def column(self, values: np.ndarray) -> np.ndarray:
        """A regressor (R by U by T) without the effects, zero where no weight lies.

        One that the effects explain leaves rounding errors, which would pass for variation: it becomes zero.
        """
        left = np.where(self.weight > 0, self.residual(values), 0.0)
        size, before = ((self.weight * each**2).sum(axis=(1, 2), keepdims=True) for each in (left, values))
        return np.where(size > 1e-18 * before, left, 0.0)

    def _divide(self, sums: np.ndarray) -> np.ndarray:
        total = self._level_weight.sum(axis=2, keepdims=True)
        return np.divide(sums.sum(axis=2, keepdims=True), total, out=np.zeros((*sums.shape[:2], 1)), where=total > 0)

    def _period_effects(self, moments: np.ndarray) -> np.ndarray:
        """Solve for period effects (R by Q by T), given to each level (R by E by T)."""
        solved = (self._inverse[0] @ moments[..., None])[..., 0]
        return solved[:, self._group_of_level]

    def estimable(self) -> np.ndarray:
        """Which cells have their unit and period effect fixed by the cells that carry weight, R by U by T."""
        null = self._inverse[1][:, self._group_of_level]
        free = null - self._share[:, :, None, :] @ null
        found = (np.abs(free).max(axis=3) < ESTIMABLE) & (self._level_weight.sum(axis=2, keepdims=True) > 0)
        return self._to_units(found)

    def balance(self, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What a weighted sum of fitted values, ``target`` (R by U by T), asks of the cells that were fitted to.

        Returns their weights in it, R by U by T, and the part of these that multiplies residuals (the rest is
        constant inside a level, where residuals sum to zero).
        """
        asked = self._to_levels(target)
        total = asked.sum(axis=2, keepdims=True)
        period = self._period_effects(self._by_group(asked - total * self._share))
        level_total = self._level_weight.sum(axis=2, keepdims=True)
        mean = np.divide(total, level_total, out=np.zeros_like(total), where=level_total > 0)
        own = mean + period - (self._share * period).sum(axis=2, keepdims=True)
        return self.weight * self._to_units(own), self.weight * self._to_units(period)


@dataclass
class Batch:
    """K terms under R allocations: estimates V by R by K, contributions V by R by U by K, weights R by K by U by T."""

    estimate: np.ndarray
    contributions: np.ndarray | None
    weights: np.ndarray | None


Allocate = Callable[..., Batch]


def _chunks(count: int, cells: int) -> Iterator[slice]:
    step = max(1, MOST_CELLS // max(cells, 1))
    yield from (slice(start, min(start + step, count)) for start in range(0, count, step))


def without_each_cluster(panel: Panel, allocate: Allocate, *, width: int = 1) -> np.ndarray:
    """Estimates without each cluster, G by K. ``width``: arrays of the size of the panel that one allocation needs."""
    return np.concatenate([batch.estimate[0] for batch in _each_left_out(panel, allocate, None, False, width)])


def weights_without_each_cluster(
    panel: Panel, allocate: Allocate, term: int, *, kept: dict[str, np.ndarray], terms: int, width: int = 1
) -> np.ndarray:
    """The linear map of one term without each cluster, G by U by T.

    Those of all ``terms`` come in one pass and stay in ``kept`` where they fit into memory with ease.
    """
    if len(panel.clusters) * terms * panel.mean.size > MOST_KEPT:
        found = _each_left_out(panel, allocate, np.array([term]), True, width)
        return np.concatenate([batch.weights[:, 0] for batch in found if batch.weights is not None])
    if "weights" not in kept:
        found = _each_left_out(panel, allocate, None, True, max(width, terms))
        kept["weights"] = np.concatenate([batch.weights for batch in found if batch.weights is not None])
    return kept["weights"][:, term]


def _each_left_out(
    panel: Panel, allocate: Allocate, terms: np.ndarray | None, weights: bool, width: int
) -> Iterator[Batch]:
    count = len(panel.clusters)
    for part in _chunks(count, panel.mean.size * width):
        keep = (np.arange(count)[part, None] != panel.cluster[None, :]).astype(float)
        yield allocate(np.broadcast_to(panel.cohort, keep.shape), keep=keep, terms=terms, weights=weights)


def permuted(panel: Panel, allocate: Allocate, cohorts: np.ndarray, terms: np.ndarray, *, width: int = 1) -> Permuted:
    """Estimates with starts dealt out to clusters as in ``cohorts`` (R by G), and their cluster contributions.

    Raises DesignError where areas of one cluster start at different times, for then starts aren't the clusters' own.
    """
    if (panel.cluster_cohort[panel.cluster] != panel.cohort).any():
        raise DesignError(
            "Permutation deals starts out to clusters, but some cluster has units with different starts. "
            "Use clusters that start as one."
        )
    planted = (panel.periods[None, :] >= panel.cohort[:, None]).astype(float)
    variables = np.stack([np.nan_to_num(panel.mean), planted])
    parts: list[list[np.ndarray]] = []
    for part in _chunks(len(cohorts), panel.mean.size * width):
        batch = allocate(cohorts[part][:, panel.cluster], variables=variables, terms=terms, contributions=True)
        assert batch.contributions is not None
        moved = np.moveaxis(batch.contributions, 2, 0)
        outcome, effect = np.moveaxis(by_cluster(moved, panel.cluster, len(panel.clusters)), 0, 2)
        squares = [(outcome**2).sum(axis=1), (outcome * effect).sum(axis=1), (effect**2).sum(axis=1)]
        parts.append([batch.estimate[0], batch.estimate[1], *squares])
    return Permuted(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def describe(
    panel: Panel,
    name: str,
    weights: np.ndarray,
    exposed: np.ndarray,
    *,
    cohort: float,
    event_time: float,
    period: float,
) -> dict[str, object]:
    """The description of a term from its weights and its exposed cells (both U by T); n: records of the units used."""
    used = np.abs(weights) > 0
    known = np.isfinite(panel.mean) & (panel.weight > 0)
    treated = np.unique(panel.cluster[(used & exposed).any(axis=1)])
    others = np.setdiff1d(panel.cluster[used.any(axis=1)], treated)
    return {
        "term": name,
        "cohort": cohort,
        "period": period,
        "event_time": event_time,
        "treated_clusters": len(treated),
        "control_clusters": len(others),
        "n": float(panel.n[used.any(axis=1)[:, None] & known].sum()),
        "note": "",
    }


def without_dust(weights: np.ndarray) -> np.ndarray:
    """K by U by T weights with what is left of cancelled ones (in the last digits) set to zero."""
    most = np.abs(weights).max(axis=(1, 2), keepdims=True)
    return np.where(np.abs(weights) > 1e-13 * most, weights, 0.0)


def periods_before(panel: Panel, anticipation: int) -> None:
    """Raises DesignError where no treated unit was observed before it could be affected."""
    event = panel.periods[None, :] - panel.cohort[:, None]
    seen = np.isfinite(panel.mean) & (panel.weight > 0) & np.isfinite(panel.cohort)[:, None]
    if not (seen & (event < -anticipation)).any():
        raise DesignError(
            f"'{panel.outcome}' has no period before treatment, so there is nothing to compare with. "
            "Add earlier periods, or choose another outcome."
        )


def term_frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Descriptions of terms as a frame with numbers as numbers."""
    return pd.DataFrame(rows).astype({"cohort": float, "period": float, "event_time": float, "n": float})


class Allocated:
    """What inference asks of a fit that re-estimates itself in batches of allocations, by ``_allocate``.

    A fit gives ``panel``, ``_allocate``, ``_width`` (arrays of the size of the panel that one allocation needs),
    ``_weights`` (K by U by T) and an empty ``_kept``.
    """

    panel: Panel
    _allocate: Allocate
    _weights: np.ndarray
    _kept: dict[str, np.ndarray]

    @property
    def _width(self) -> int:
        raise NotImplementedError

    def leave_one_out(self) -> np.ndarray:
        """Estimates without each cluster, G by K."""
        return without_each_cluster(self.panel, self._allocate, width=self._width)

    def weights(self) -> np.ndarray:
        """The linear map from cell means to estimates, K by U by T."""
        return self._weights

    def leave_one_out_weights(self, term: int) -> np.ndarray:
        """The linear map of one term without each cluster, G by U by T."""
        return weights_without_each_cluster(
            self.panel, self._allocate, term, kept=self._kept, terms=len(self._weights), width=self._width
        )

    def permute(self, cohorts: np.ndarray, terms: np.ndarray) -> Permuted:
        """Estimates of some terms with starts dealt out as in ``cohorts`` (R by G)."""
        return permuted(self.panel, self._allocate, cohorts, terms, width=self._width)
