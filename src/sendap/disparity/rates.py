"""Cells to the rates of groups: which margin answers, whether an outcome is a share, how exact each rate is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sendap import groups
from sendap.cells import Cells, OutcomeInfo
from sendap.cells.moments import ALL, add_up, margins_held, squared_deviations
from sendap.errors import DataError, DesignError, UsageError, did_you_mean

THRESHOLD = 10
"""Fewest children in a group for which anything is said: the default of standard 7.1."""

TOO_FEW = "too few to say"
_SCALES = (1.0, 100.0)


@dataclass(frozen=True)
class Rates:
    """Rates of one outcome, one row of ``frame`` a group (or a group in an area).

    ``frame``: the columns of ``by``, then ``n`` (records), ``observed`` (those whose outcome is known), ``rate`` (a
    proportion for a share, else the mean in the outcome's unit) and ``variance`` of the rate (unbiased, as if records
    were independent; missing for a mean of one record). ``scale`` turns a rate into the outcome's unit: 100 where a
    share is held in per cent. ``clusters`` is the number of areas behind each row, the effective n.
    """

    frame: pd.DataFrame
    by: tuple[str, ...]
    share: bool
    scale: float
    outcome: str
    info: OutcomeInfo


def harmonise(
    cells: Cells, *, ethnicity: str | None = "ethnicity", sex: str | None = "sex", level: groups.Level = "minor"
) -> Cells:
    """The same cells with harmonised names of ethnic groups and sexes, in the strata that are named.

    Labels that mean the same are added up; rows of totals, of another level and of overlapping groups are left out.
    ``level="major"`` adds the minor groups up. Raises DataError for a label that isn't known.
    """
    frame = cells.frame.copy()
    for stratum in (ethnicity, sex):
        if stratum is None or stratum not in cells.strata:
            continue
        labels = frame[stratum].astype(object)
        together = labels == ALL
        if stratum == ethnicity:
            named = groups.ethnicity(labels[~together], level=level, where=f"stratum '{stratum}'")
        else:
            named = groups.sex(labels[~together], where=f"stratum '{stratum}'")
        frame[stratum] = named.reindex(frame.index).mask(together, ALL)
        frame = frame[frame[stratum].notna()]
    return replace(cells, frame=add_up(frame, cells.keys, cells.covariates))


def margin_of(cells: Cells, wanted: Sequence[str]) -> Cells:
    """The margin of cells that keeps some strata apart.

    Raises UsageError for an unknown stratum, DesignError where the cells hold the strata only one at a time, as
    published margins do: what they hold together can't be known from them.
    """
    for name in wanted:
        if name not in cells.strata:
            raise UsageError(f"These cells have no stratum '{name}'.{did_you_mean(name, cells.strata)}")
    held = margins_held(cells.frame, cells.strata)
    if not any(set(wanted) <= set(margin) for margin in held):
        raise DesignError(
            f"These figures were published {', and '.join(f'by {name}' for name in wanted)}, each on its own, not "
            f"crossed. {' by '.join(wanted)} can't be answered from them; it needs records."
        )
    return cells.margin(keep=list(wanted))


def share_scale(frame: pd.DataFrame) -> float | None:
    """The size of one success where every record is a success or not (1, or 100 for per cent), else None.

    For such an outcome the sum of squares is that size times the sum, in every cell.
    """
    total, squares = frame["sum"].to_numpy(dtype=float), frame["sum_squares"].to_numpy(dtype=float)
    counted = frame["weight"].to_numpy(dtype=float) * (1 + 1e-9)
    for scale in _SCALES:
        close = np.abs(squares - scale * total) <= 1e-9 * np.maximum(np.abs(squares), 1.0)
        # A bare rate is a "record" of its own, and no share of children, so its cells don't count as one.
        if close.all() and (total <= scale * counted).all() and (frame["n_observed"] > 1).any():
            return scale
    return None


def rates(cells: Cells, outcome: str | None = None, *, by: str | Sequence[str]) -> Rates:
    """The rate of each group of one or more strata, with its variance.

    ``by`` names strata, and may name ``cluster`` and ``period``; whatever it doesn't name is added up.

    Raises UsageError for an unknown outcome or stratum; DesignError where margins can't answer, or where records are
    weighted, since cells don't hold the squared weights that an interval needs.
    """
    by = (by,) if isinstance(by, str) else tuple(by)
    if outcome is None:
        if len(cells.outcomes) != 1:
            raise UsageError(f"Name the outcome: {', '.join(cells.outcomes)}.")
        outcome = next(iter(cells.outcomes))
    one = margin_of(cells.only(outcome), [name for name in by if name not in ("cluster", "period")])
    frame = one.frame[one.frame["weight"] > 0]
    if frame.empty:
        raise DataError(f"No cell of '{outcome}' has a known figure.")
    if not np.allclose(frame["weight"], frame["n_observed"], rtol=1e-9):
        raise DesignError(
            f"The records of '{outcome}' are weighted, and cells don't hold the squared weights that an interval of a "
            "gap needs. Compress them without weights."
        )
    scale = share_scale(frame)
    behind = frame.groupby(list(by), observed=True)["cluster"].nunique()
    # The cohort belongs to areas, so it means nothing once areas are added up.
    made = add_up(frame.assign(cohort=np.nan), by)
    made = made.merge(behind.rename("clusters").reset_index(), on=list(by), validate="one_to_one")
    count = made["weight"].to_numpy(dtype=float)
    mean = made["sum"].to_numpy(dtype=float) / count / (scale or 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = mean * (1 - mean) if scale else squared_deviations(made).to_numpy() / count
        variance = np.where(count > 1, spread / (count - 1), np.nan)
    found = pd.DataFrame(
        {
            **{name: made[name] for name in by},
            "n": made["n"].to_numpy(dtype=float),
            "observed": made["n_observed"].to_numpy(dtype=float),
            "clusters": made["clusters"].to_numpy(dtype=int),
            "rate": mean,
            "variance": variance,
        }
    )
    return Rates(found, by, scale is not None, scale or 1.0, outcome, one.outcomes[outcome])


def everyone(found: Rates) -> tuple[float, float, float]:
    """Count, rate and variance of the rate of all groups together (records observed)."""
    frame = found.frame
    count = frame["observed"].to_numpy()
    total = count.sum()
    mean = float((count * frame["rate"]).sum() / total)
    if found.share:
        return float(total), mean, mean * (1 - mean) / (total - 1)
    inside = (frame["variance"].fillna(0.0) * count * (count - 1)).sum()
    return float(total), mean, float((inside + (count * (frame["rate"] - mean) ** 2).sum()) / (total * (total - 1)))
