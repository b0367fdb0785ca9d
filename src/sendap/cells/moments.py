"""Arithmetic on the rows of cells: names of the covariate columns, adding cells up, margins.

Columns of covariate sums (``x``, ``z`` are names of covariates; each over the records of the row's outcome whose
outcome and covariates are all known):

- ``sum[x]``: weight times covariate;
- ``sum[x*outcome]``: weight times covariate times outcome;
- ``sum[x*x]``, ``sum[x*z]``: weight times the two covariates, each pair once, in the order of ``covariates``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sendap.errors import UsageError

ALL = "(all)"
"""Marks a stratum that was summed over. A value that nobody recorded is ``UNKNOWN`` instead."""

UNKNOWN = "Unknown"

SQUARED_DEVIATIONS = "squared_deviations"
"""Optional column: the sum of weight times squared distance from the cell's own mean. It keeps the digits that
``sum_squares`` loses where the mean is large and the variation small."""

ADDED = ("n", "n_observed", "weight", "sum", "sum_squares")


def covariate_pairs(covariates: Sequence[str]) -> list[tuple[str, str]]:
    """Each pair of covariates once, a covariate with itself included."""
    return [(first, second) for index, first in enumerate(covariates) for second in covariates[index:]]


def covariate_columns(covariates: Sequence[str]) -> list[str]:
    return [
        *(f"sum[{name}]" for name in covariates),
        *(f"sum[{name}*outcome]" for name in covariates),
        *(f"sum[{first}*{second}]" for first, second in covariate_pairs(covariates)),
    ]


def squared_deviations(frame: pd.DataFrame) -> pd.Series:
    """Sum of weight times squared distance from the cell's mean, for each row; zero where nothing is known."""
    if SQUARED_DEVIATIONS in frame.columns:
        return frame[SQUARED_DEVIATIONS].fillna(0.0)
    weight = frame["weight"].astype(float)
    return (frame["sum_squares"] - frame["sum"] ** 2 / weight.where(weight > 0)).clip(lower=0.0).fillna(0.0)


def add_up(frame: pd.DataFrame, keys: Sequence[str], covariates: Sequence[str] = ()) -> pd.DataFrame:
    """Add the rows that share ``keys``: one row for each, sorted by them.

    Counts and sums add. Squared deviations also gain what lies between the means that are joined (Chan, Golub and
    LeVeque 1983, doi:10.1080/00031305.1983.10483115). The cohort must be the same in rows that are joined.
    """
    keys = list(keys)
    grouped = frame.groupby(keys, sort=True, dropna=False, observed=True)
    sums = [column for column in (*ADDED, *covariate_columns(covariates)) if column in frame.columns]
    result = grouped[sums].sum()
    result.insert(0, "cohort", grouped["cohort"].first())
    if SQUARED_DEVIATIONS in frame.columns:
        weight = frame["weight"].astype(float)
        mean = (frame["sum"] / weight.where(weight > 0)).fillna(0.0)
        total = grouped["weight"].transform("sum").astype(float)
        together = (grouped["sum"].transform("sum") / total.where(total > 0)).fillna(0.0)
        between = weight * (mean - together) ** 2
        inside = squared_deviations(frame) + between
        result[SQUARED_DEVIATIONS] = inside.groupby([frame[key] for key in keys], dropna=False, observed=True).sum()
    return result.reset_index()[[column for column in frame.columns if column in (*keys, *result.columns)]]


def margins_held(frame: pd.DataFrame, strata: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The margins in a frame, each as the strata that it keeps apart: largest first."""
    if not strata:
        return ((),)
    marked = pd.DataFrame({stratum: frame[stratum].astype(object) == ALL for stratum in strata})
    patterns = marked.drop_duplicates().to_numpy()
    found = {tuple(s for s, gone in zip(strata, pattern, strict=True) if not gone) for pattern in patterns}
    return tuple(sorted(found, key=lambda kept: (-len(kept), kept)))


def in_margin(frame: pd.DataFrame, strata: Sequence[str], kept: Sequence[str]) -> np.ndarray:
    """Which rows belong to the margin that keeps these strata."""
    rows = np.ones(len(frame), dtype=bool)
    for stratum in strata:
        rows &= (frame[stratum].astype(object) != ALL).to_numpy() == (stratum in kept)
    return rows


def margin_rows(frame: pd.DataFrame, strata: Sequence[str], keep: Sequence[str]) -> pd.DataFrame:
    """Rows of one margin that may be added up to the strata in ``keep``: the smallest margin that holds them.

    Raises UsageError where no margin keeps all of these strata apart.
    """
    held = margins_held(frame, strata)
    enough = [margin for margin in held if set(keep) <= set(margin)]
    if not enough:
        raise UsageError(
            f"These cells hold the margins {words(held)}, so they can't give {' by '.join(keep)}. "
            "Compress the records again with this margin."
        )
    return frame[in_margin(frame, strata, min(enough, key=len))]


def words(margins: Sequence[Sequence[str]]) -> str:
    """Margins as a reader knows them: "sex by ethnicity; sex; (all)"."""
    return "; ".join(" by ".join(margin) or ALL for margin in margins)
