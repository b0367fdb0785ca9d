"""How large is the gap between groups: absolute and relative, against a named reference and against all.

Standard 6.3. The ratio of reaching an outcome and the ratio of not reaching it can move opposite ways (Scanlan), so
both are given beside the absolute gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from sendap import groups
from sendap.cells import Cells
from sendap.disparity import intervals
from sendap.disparity.rates import THRESHOLD, TOO_FEW, Rates, everyone, rates
from sendap.errors import DataError, DesignError, UsageError, did_you_mean

Better = Literal["higher", "lower", "neither"]

ALL_PUPILS = "all pupils"
FOUR_FIFTHS = (0.80, 1.25)
FLAG_RULE = (
    "Flagged where the ratio lies outside 0.80 to 1.25 (the four-fifths rule) and its interval excludes 1. A flag is a "
    "prompt to look, not a finding."
)
NOTHING = (np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class Summary:
    """Spread over all groups with enough children, Unknown left out (standard 6.3).

    ``between_variance``: sum of w_k (r_k - mean)^2 in squared units of the outcome; ``corrected``: the same without
    what chance alone adds, at least zero; ``index_of_disparity``: mean of |r_k - r_ref| over r_ref, over the groups
    but the reference; ``theil``: sum of w_k (r_k / mean) ln(r_k / mean). ``left_out`` names the groups not used.
    """

    between_variance: float
    corrected: float
    index_of_disparity: float
    theil: float
    groups: int
    left_out: tuple[str, ...]


def gaps(
    cells: Cells,
    outcome: str | None = None,
    *,
    by: str,
    reference: str | None = None,
    better: Better = "neither",
    level: float = 0.95,
    threshold: int = THRESHOLD,
) -> pd.DataFrame:
    """Each group of a stratum against the reference group and against all pupils: two rows a group, none dropped.

    Areas and periods are added up: filter the cells first for one of them. Rates and differences are in the outcome's
    unit (percentage points for a share in per cent), ratios without one.

    Columns: ``outcome, unit, by, group, against`` (the reference or "all pupils"), ``n`` (records), ``observed``,
    ``clusters`` (areas behind the group), ``rate, rate_low, rate_high, rate_against``; for ``difference``, ``ratio``
    (of the outcome), ``adverse_ratio`` (of the worse side: not reaching it where ``better="higher"``) and
    ``odds_ratio`` the estimate and ``_low``, ``_high``; ``flag`` and ``adverse_flag`` (see ``FLAG_RULE``); ``status``
    ("ok", "reference", or "too few to say" under ``threshold`` children, whose figures are left blank) and ``note``.

    Shares get Newcombe, Katz and Woolf intervals, means a Welch interval and a ratio by its logarithm. Records count as
    independent here. Children of one area are alike, so where areas differ a good deal the intervals are too narrow for
    a claim about any but these areas: ``sendap.disparity.adjust.adjusted_gaps`` gives the same gap on its rung M0 with
    whole areas drawn. A group is part of all pupils, and its interval against them allows for that.
    ``reference``: White British for ethnicity, else the largest group.

    Raises UsageError for an unknown stratum, reference or option; DesignError where margins can't answer, records are
    weighted, or the reference has too few children.
    """
    if better not in ("higher", "lower", "neither"):
        raise UsageError(f"better must be 'higher', 'lower' or 'neither', not '{better}'.")
    found = rates(cells, outcome, by=by)
    frame = found.frame.rename(columns={by: "group"})
    frame["group"] = frame["group"].astype(str)
    frame = frame.set_index("group").loc[groups.in_order(frame["group"])].reset_index()
    reference = choose_reference(frame, by, reference, threshold)
    few = (frame["observed"] < threshold).to_numpy()
    against = frame[frame["group"] == reference].iloc[0]
    total, mean, variance = everyone(found)
    parts = []
    for name in (reference, ALL_PUPILS):
        if name == ALL_PUPILS:
            measured, other = _against_all(frame, found, total, mean, variance, level), mean
        else:
            measured, other = _against_group(frame, found, against, level), float(against["rate"])
        part = _described(frame, found, by, level).assign(against=name, rate_against=other * found.scale)
        own = (frame["group"] == name).to_numpy()
        part["status"] = np.select([few, own], [TOO_FEW, "reference"], "ok")
        parts.append(_filled(part, measured, found, better, blank=few, own=own, threshold=threshold))
    made = pd.concat(parts)
    made["order"] = list(range(len(frame))) * 2
    return made.sort_values("order", kind="stable").drop(columns="order").reset_index(drop=True)


def choose_reference(frame: pd.DataFrame, by: str, wanted: str | None, threshold: int) -> str:
    """The group that others are compared with: the one wanted, White British for ethnicity, else the largest known one.

    ``frame``: ``group, observed``. Raises UsageError for an unknown group, DesignError for one with too few children.
    """
    known = list(frame["group"])
    if wanted is None:
        # School-census labels differ from the harmonised name, so the label itself is looked up.
        white_british = [name for name in known if by == "ethnicity" and _means_reference(name)]
        largest = frame[frame["group"] != groups.UNKNOWN].sort_values("observed", kind="stable")["group"]
        if not len(largest):
            raise DesignError(f"Every record has an unknown {by}, so no groups can be compared.")
        wanted = white_british[0] if white_british else str(largest.iloc[-1])
    if wanted not in known:
        raise UsageError(f"The stratum '{by}' has no group '{wanted}'.{did_you_mean(wanted, known)}")
    count = float(frame.loc[frame["group"] == wanted, "observed"].iloc[0])
    if count < threshold:
        raise DesignError(
            f"The reference group '{wanted}' has fewer than {threshold} children with a known outcome, so nothing can "
            "be compared with it. Choose another reference, or add periods or areas."
        )
    return wanted


def _means_reference(name: str) -> bool:
    try:
        return groups.read_ethnicity(name).minor == groups.REFERENCE_ETHNICITY
    except DataError:
        return False


def _described(frame: pd.DataFrame, found: Rates, by: str, level: float) -> pd.DataFrame:
    rate, count = frame["rate"].to_numpy(), frame["observed"].to_numpy()
    if found.share:
        low, high = intervals.wilson(rate, count, level=level)
    else:
        zero = np.zeros_like(rate)
        _, low, high = intervals.welch(rate, frame["variance"].to_numpy(), count, zero, zero, zero + 2, level=level)
    return pd.DataFrame(
        {
            "outcome": found.outcome,
            "unit": found.info.unit,
            "by": by,
            "group": frame["group"],
            "against": "",
            "n": frame["n"],
            "observed": frame["observed"],
            "clusters": frame["clusters"],
            "rate": rate * found.scale,
            "rate_low": low * found.scale,
            "rate_high": high * found.scale,
        }
    )


def _against_group(
    frame: pd.DataFrame, found: Rates, against: pd.Series, level: float
) -> dict[str, intervals.Interval]:
    rate, count = frame["rate"].to_numpy(), frame["observed"].to_numpy()
    other = np.full_like(rate, against["rate"])
    size = np.full_like(rate, against["observed"])
    if found.share:
        return {
            "difference": intervals.newcombe(rate, count, other, size, level=level),
            "ratio": intervals.risk_ratio(rate, count, other, size, level=level),
            "complement": intervals.risk_ratio(1 - rate, count, 1 - other, size, level=level),
            "odds": intervals.odds_ratio(rate, count, other, size, level=level),
        }
    variance, fixed = frame["variance"].to_numpy(), np.full_like(rate, against["variance"])
    return {
        "difference": intervals.welch(rate, variance, count, other, fixed, size, level=level),
        "ratio": intervals.mean_ratio(rate, variance, other, fixed, level=level),
    }


def _against_all(
    frame: pd.DataFrame, found: Rates, total: float, mean: float, variance: float, level: float
) -> dict[str, intervals.Interval]:
    rate, count = frame["rate"].to_numpy(), frame["observed"].to_numpy()
    if found.share:
        return intervals.part_of_whole(rate, count, mean, total, level=level)
    # The rest of the pupils are independent of the group, and the gap to all is (1 - w) times the gap to the rest.
    w, left = count / total, total - count
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = (mean - w * rate) / (1 - w)
        own = frame["variance"].to_numpy()
        squares = variance * total * (total - 1) - own * count * (count - 1)
        squares = squares - count * (rate - mean) ** 2 - left * (rest - mean) ** 2
        fixed = np.where(left > 1, np.maximum(squares, 0.0) / (left * (left - 1)), np.nan)
        difference = tuple((1 - w) * part for part in intervals.welch(rate, own, count, rest, fixed, left, level=level))
        spread = (1 / rate - w / mean) ** 2 * own + ((1 - w) / mean) ** 2 * fixed
        ratio = np.where((rate > 0) & (mean > 0), rate / mean, np.nan)
        half = intervals.critical(level) * np.sqrt(spread)
    return {"difference": difference, "ratio": (ratio, ratio * np.exp(-half), ratio * np.exp(half))}  # type: ignore[dict-item]


def _filled(
    part: pd.DataFrame,
    measured: dict[str, intervals.Interval],
    found: Rates,
    better: Better,
    *,
    blank: np.ndarray,
    own: np.ndarray,
    threshold: int,
) -> pd.DataFrame:
    """The measures as columns, blank for groups too small, and without intervals for the reference itself."""
    adverse = {"higher": "complement", "lower": "ratio", "neither": ""}[better] if found.share else ""
    chosen = {
        "difference": tuple(found.scale * values for values in measured["difference"]),
        "ratio": measured["ratio"],
        "adverse_ratio": measured.get(adverse, NOTHING),
        "odds_ratio": measured.get("odds", NOTHING),
    }
    part = part.copy()
    for name, (estimate, low, high) in chosen.items():
        part[name] = np.where(blank, np.nan, estimate)
        part[f"{name}_low"], part[f"{name}_high"] = (np.where(blank | own, np.nan, bound) for bound in (low, high))
    for name in ("rate", "rate_low", "rate_high"):
        part.loc[blank, name] = np.nan
    part["flag"], part["adverse_flag"] = four_fifths(part, "ratio"), four_fifths(part, "adverse_ratio")
    note = pd.Series("", index=part.index)
    without = part["ratio"].notna() & part["ratio_low"].isna() & ~own
    note[without] = "The ratio has no interval: a count is zero, or a mean isn't above zero."
    note[blank] = f"Fewer than {threshold} children with a known outcome."
    part["note"] = note
    return part


def four_fifths(frame: pd.DataFrame, measure: str = "ratio") -> pd.Series:
    """Which ratios lie outside 0.80 to 1.25 with an interval that excludes 1. See ``FLAG_RULE``."""
    low, high = FOUR_FIFTHS
    outside = (frame[measure] < low) | (frame[measure] > high)
    return outside & ((frame[f"{measure}_high"] < 1) | (frame[f"{measure}_low"] > 1))


def summarise(
    cells: Cells,
    outcome: str | None = None,
    *,
    by: str,
    reference: str | None = None,
    threshold: int = THRESHOLD,
) -> Summary:
    """Spread over many groups: between-group variance with and without chance, index of disparity, Theil.

    The expected between-group variance of groups that don't differ is sum of w_k (1 - w_k) v_k, where v_k is the
    variance of the rate of group k and w_k its share of children; that is taken out. Arguments and errors as ``gaps``;
    DesignError also where fewer than two groups have enough children.

    Sources: Harper and Lynch (2005), Methods for Measuring Cancer Disparities, National Cancer Institute; Pearcy and
    Keppel (2002), doi:10.1093/phr/117.3.273.
    """
    found = rates(cells, outcome, by=by)
    frame = found.frame.rename(columns={by: "group"}).assign(group=lambda rows: rows["group"].astype(str))
    named = choose_reference(frame, by, reference, threshold)
    used = (frame["observed"] >= threshold) & (frame["group"] != groups.UNKNOWN)
    kept = frame[used]
    if len(kept) < 2:
        raise DesignError(f"Fewer than two groups of '{by}' have {threshold} children or more, so they have no spread.")
    share = (kept["observed"] / kept["observed"].sum()).to_numpy()
    rate, variance = kept["rate"].to_numpy(), kept["variance"].to_numpy()
    mean = float(share @ rate)
    between = float(share @ (rate - mean) ** 2)
    chance = float((share * (1 - share)) @ variance)
    against = float(frame.loc[frame["group"] == named, "rate"].iloc[0])
    others = rate[(kept["group"] != named).to_numpy()]
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = rate / mean
        theil = float(share @ np.where(relative > 0, relative * np.log(np.where(relative > 0, relative, 1.0)), 0.0))
        index = float(np.abs(others - against).mean() / against) if against > 0 else np.nan
    square = found.scale**2
    return Summary(
        between_variance=between * square,
        corrected=max(between - chance, 0.0) * square,
        index_of_disparity=index,
        theil=theil if (relative >= 0).all() else np.nan,
        groups=len(kept),
        left_out=tuple(groups.in_order(frame.loc[~used, "group"])),
    )
