"""Nearest-neighbour matching of treated with untreated areas on what they were like before the start.

Sources: Rubin (1980), doi:10.2307/2529981, for the Mahalanobis distance; Rosenbaum (1989, "Optimal matching for
observational studies", Journal of the American Statistical Association 84) for optimal matching without replacement;
Stuart (2010), doi:10.1214/09-STS313, for weights and calipers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from sendap.comparison.group import ComparisonGroup, grouped
from sendap.comparison.profiles import TREATED, Profiles
from sendap.errors import DesignError, UsageError, did_you_mean

Distance = Literal["mahalanobis", "euclid"]
NEGLIGIBLE = 1e-10


def match(
    profiles: Profiles,
    *,
    nearest: int = 1,
    replacement: bool = True,
    distance: Distance = "mahalanobis",
    caliper: float | Mapping[str, float] | None = None,
    within_region: bool = False,
) -> ComparisonGroup:
    """Each treated area with the ``nearest`` untreated areas that are most like it.

    ``distance``: "mahalanobis" with the pooled covariance inside the two sides, or "euclid", each measure divided by
    the pooled standard deviation inside the two sides. ``replacement``: an untreated area may stand for several
    treated ones; ties go to the lower code. Without it, the pairs with the least total distance are found (optimal
    assignment), as many treated areas as possible getting one, then two. ``caliper``: pairs farther apart than this
    are forbidden, a distance, or by measure a number of its pooled standard deviations. ``within_region`` keeps pairs
    inside their region.

    A treated area counts 1 and its matches share that equally. One that finds no match is left out, with the reason:
    the effect is then that on the matched.

    Raises UsageError for a wrong option, DesignError where a measure doesn't vary, where measures repeat each other,
    or where nobody can be matched.
    """
    if nearest < 1:
        raise UsageError("nearest must be 1 or more areas.")
    apart = distances(profiles, distance)
    forbidden = _forbidden(profiles, apart, caliper, within_region)
    cost = np.where(forbidden, np.inf, apart)
    pairs = _with_replacement(cost, nearest) if replacement else _optimal(cost, nearest)
    if not pairs:
        raise DesignError(
            f"'{profiles.outcome}': no treated area has an untreated one near enough. Widen the caliper, or allow "
            "other regions."
        )
    treated, controls = profiles.clusters[profiles.treated], profiles.clusters[~profiles.treated]
    found = pd.Series([first for first, _, _ in pairs]).value_counts()
    chosen = pd.DataFrame(
        {
            "treated": [treated[first] for first, _, _ in pairs],
            "comparison": [controls[second] for _, second, _ in pairs],
            "rank": [rank for _, _, rank in pairs],
            "distance": [apart[first, second] for first, second, _ in pairs],
            "share": [1.0 / found[first] for first, _, _ in pairs],
        }
    )
    base = dict(zip(treated, profiles.base[profiles.treated], strict=True))
    counted = chosen["share"] * chosen["treated"].map(base)
    raw = counted.groupby(chosen["comparison"]).sum().reindex(controls).fillna(0.0).to_numpy()
    lost = sorted(set(treated) - set(chosen["treated"]))
    reasons = pd.DataFrame(
        [{"cluster": each, "role": TREATED, "reason": "no untreated area near enough"} for each in lost],
        columns=["cluster", "role", "reason"],
    )
    how = _how(nearest, replacement, distance, caliper, within_region, profiles)
    return grouped("matching", how, profiles, profiles, raw, chosen, reasons)


def distances(profiles: Profiles, distance: Distance) -> np.ndarray:
    """Treated by untreated areas: how far apart they were before the start."""
    if distance not in ("mahalanobis", "euclid"):
        raise UsageError(f"distance must be 'mahalanobis' or 'euclid', not '{distance}'.")
    spread = profiles.covariance
    size = np.sqrt(np.diag(spread))
    for name, value, column in zip(profiles.names, size, profiles.values.T, strict=True):
        if value <= NEGLIGIBLE * max(np.abs(column).max(), 1.0):
            raise DesignError(f"'{name}' is the same in all areas, so it can't tell who is near. Leave it out.")
    sides = [profiles.values[mark] / size for mark in (profiles.treated, ~profiles.treated)]
    if distance == "euclid":
        return cdist(*sides, metric="euclidean")
    correlation = spread / np.outer(size, size)
    if np.linalg.eigvalsh(correlation)[0] < 1e-8:
        raise DesignError(
            f"The measures {', '.join(profiles.names)} repeat each other, so there is no Mahalanobis distance. Leave "
            "one out, or use distance='euclid'."
        )
    return cdist(*sides, metric="mahalanobis", VI=np.linalg.inv(correlation))


def _forbidden(
    profiles: Profiles, apart: np.ndarray, caliper: float | Mapping[str, float] | None, within_region: bool
) -> np.ndarray:
    treated, others = profiles.treated, ~profiles.treated
    found = np.zeros(apart.shape, dtype=bool)
    if within_region:
        if profiles.regions is None:
            raise UsageError("These cells hold no region for their clusters, so areas can't be matched within it.")
        found |= profiles.regions[treated][:, None] != profiles.regions[others][None, :]
    if isinstance(caliper, Mapping):
        size = np.sqrt(np.diag(profiles.covariance))
        for name, limit in caliper.items():
            if name not in profiles.names:
                raise UsageError(f"There is no measure '{name}'.{did_you_mean(name, profiles.names)}")
            at = profiles.names.index(name)
            gap = np.abs(profiles.values[treated, at][:, None] - profiles.values[others, at][None, :])
            found |= gap > limit * size[at]
    elif caliper is not None:
        found |= apart > caliper
    return found


def _with_replacement(cost: np.ndarray, nearest: int) -> list[tuple[int, int, int]]:
    """Pairs (treated, untreated, rank) by position: the nearest of each treated area, ties to the first."""
    order = np.argsort(cost, axis=1, kind="stable")
    return [
        (row, int(column), rank)
        for row in range(len(cost))
        for rank, column in enumerate(order[row, :nearest], 1)
        if np.isfinite(cost[row, column])
    ]


def _optimal(cost: np.ndarray, nearest: int) -> list[tuple[int, int, int]]:
    """Pairs of least total distance, each untreated area once, among those that match the most areas.

    Each treated area has ``nearest`` places; a place may stay empty at a price above any sum of distances, and an
    area's first place at a price above all the others together, so that nobody gets a second before all that can have
    a first.
    """
    treated, others = cost.shape
    allowed = np.isfinite(cost)
    empty = 1.0 + nearest * treated * (cost[allowed].max() if allowed.any() else 0.0)
    prices = np.tile(empty * (1.0 + np.arange(nearest)[::-1]), treated)
    places = np.repeat(np.where(allowed, cost, 2 * prices.sum()), nearest, axis=0)
    unfilled = np.full((len(places), len(places)), 2 * prices.sum())
    np.fill_diagonal(unfilled, prices)
    rows, columns = linear_sum_assignment(np.hstack([places, unfilled]))
    found: dict[int, list[int]] = {}
    for place, column in zip(rows, columns, strict=True):
        if column < others:
            found.setdefault(int(place) // nearest, []).append(int(column))
    return [
        (row, column, rank)
        for row in sorted(found)
        for rank, column in enumerate(sorted(found[row], key=lambda each: (cost[row, each], each)), 1)
    ]


def _how(
    nearest: int,
    replacement: bool,
    distance: Distance,
    caliper: float | Mapping[str, float] | None,
    within_region: bool,
    profiles: Profiles,
) -> str:
    kind = {"mahalanobis": "Mahalanobis", "euclid": "standardised Euclidean"}[distance]
    who = "the untreated area" if nearest == 1 else f"the {nearest} untreated areas"
    used = "which may stand for several" if replacement else "each used once, with the least total distance"
    limit = ""
    if isinstance(caliper, Mapping):
        listed = ", ".join(f"{value:g} standard deviations of {name}" for name, value in caliper.items())
        limit = f" No pair is farther apart than {listed}."
    elif caliper is not None:
        limit = f" No pair is farther apart than {caliper:g}."
    where = " of its region" if within_region else ""
    return (
        f"Each treated area is matched with {who}{where} nearest to it by {kind} distance in "
        f"{', '.join(profiles.names)}, {used}.{limit}"
    )
