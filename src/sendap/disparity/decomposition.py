"""Where a gap comes from: the mix of children or their rates; the areas where groups live or what happens inside them.

Source: Kitagawa (1955), doi:10.1080/01621459.1955.10501299. A part is an accounting of a gap, not its cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendap import groups
from sendap.cells import Cells
from sendap.disparity.intervals import tails
from sendap.disparity.rates import THRESHOLD, rates
from sendap.disparity.words import places, side, unit_words
from sendap.errors import DesignError, UsageError, did_you_mean
from sendap.numerals import show

PARTS = ("total", "between", "within")
FEWEST_AREAS = 5


@dataclass(frozen=True)
class Kitagawa:
    """A gap as composition plus rates, with the two parts of each category (arrays of K)."""

    total: float
    composition: float
    rates: float
    by_category: pd.DataFrame


def kitagawa(*, w1: np.ndarray, w0: np.ndarray, r1: np.ndarray, r0: np.ndarray) -> Kitagawa:
    """The gap of two groups over K categories: ``w`` their shares of children (sum one), ``r`` their rates.

    composition = sum of (w1 - w0)(r1 + r0) / 2, rates = sum of (r1 - r0)(w1 + w0) / 2; together exactly the gap.
    A category that a group has no children in may have a missing rate; the other group's rate takes its place, so that
    it counts as composition only.

    Raises UsageError for shares that don't sum to one, or a missing rate where a group has children.
    """
    w1, w0, r1, r0 = (np.asarray(values, dtype=float) for values in (w1, w0, r1, r0))
    if not (np.isclose(w1.sum(), 1) and np.isclose(w0.sum(), 1)):
        raise UsageError("The shares of each group must sum to one.")
    if np.isnan(r1[w1 > 0]).any() or np.isnan(r0[w0 > 0]).any():
        raise UsageError("A rate is missing in a category where the group has children.")
    first, second = np.where(np.isnan(r1), r0, r1), np.where(np.isnan(r0), r1, r0)
    first, second = np.nan_to_num(first), np.nan_to_num(second)
    composition, rate = (w1 - w0) * (first + second) / 2, (first - second) * (w1 + w0) / 2
    return Kitagawa(
        float((composition + rate).sum()),
        float(composition.sum()),
        float(rate.sum()),
        pd.DataFrame({"composition": composition, "rates": rate}),
    )


@dataclass(frozen=True)
class PlaceParts:
    """A gap between two groups as what lies between areas and what lies within them.

    ``frame``: one row for each of "total", "between" and "within" (and, for a change, each ``arm``): ``estimate, low,
    high`` in the outcome's unit, from drawing whole areas with replacement. ``areas`` have either group; ``shared`` of
    them have both. ``by_area``: ``cluster, n_group, n_reference, gap`` (inside it), for the areas with both.
    """

    group: str
    reference: str
    by: str
    frame: pd.DataFrame
    areas: int
    shared: int
    by_area: pd.DataFrame
    unit: str
    of_change: bool = False

    def part(self, name: str, *, arm: str | None = None) -> pd.Series:
        rows = self.frame[self.frame["part"] == name]
        return (rows if arm is None else rows[rows["arm"] == arm]).iloc[0]

    def sentence(
        self, *, more: str = "areas with a higher rate", less: str = "areas with a lower rate", who: str = "pupils"
    ) -> str:
        """The parts in plain words. ``more`` and ``less`` name the areas ("faster areas", "slower areas")."""
        if self.of_change:
            return self._change_sentence(who)
        total, between, within = (self.part(name) for name in PARTS)
        at, unit = places(total["low"], total["high"]), unit_words(self.unit)
        here, there = (groups.pupils_in(name, of=self.by, who=who) for name in (self.group, self.reference))

        def size(value: float) -> str:
            return f"{show(abs(value), at)} {unit}"

        bounds = f"({show(total['low'], at)} to {show(total['high'], at)})"
        if _open(total):
            low, high = show(total["low"], at), show(total["high"], at)
            said = [
                f"We can't tell whether the rate differs for {here} and for {there}: the gap is between {low} and "
                f"{high} {unit}."
            ]
        else:
            said = [
                f"The rate is {size(total['estimate'])} {side(total['estimate'])} for {here} than for {there} {bounds}."
            ]
        where = more if between["estimate"] > 0 else less
        if _open(between):
            said.append("We can't tell whether any of that lies between areas.")
        elif between["estimate"] * total["estimate"] < 0:
            said.append(
                f"Where they live works the other way, by {size(between['estimate'])}: {where} are where more "
                f"{here} live."
            )
        else:
            said.append(f"{size(between['estimate'])} lie between areas: {where} are where more {here} live.")
        if _open(within):
            said.append(
                "Inside the same areas we can't tell the two groups apart (best estimate "
                f"{show(within['estimate'], at)})."
            )
        elif within["estimate"] * total["estimate"] < 0:
            said.append(
                f"Inside the same areas the gap runs the other way: the rate is {size(within['estimate'])} "
                f"{side(within['estimate'])}."
            )
        else:
            said.append(
                f"{size(within['estimate'])} lie inside areas: there, the rate is {side(within['estimate'])} for "
                f"{here}."
            )
        return f"{' '.join(said)} This says where the gap lies, not what caused it."

    def _change_sentence(self, who: str) -> str:
        here, there = (groups.pupils_in(name, of=self.by, who=who) for name in (self.group, self.reference))
        names = {"treated": "the programme's areas", "comparison": "other areas", "all": "all areas"}
        said = []
        for arm in [name for name in names if name in set(self.frame["arm"])]:
            total, between, within = (self.part(name, arm=arm) for name in PARTS)
            at = places(total["low"], total["high"])
            said.append(
                f"{show(total['estimate'], at)} in {names[arm]} ({show(total['low'], at)} to "
                f"{show(total['high'], at)}; {show(between['estimate'], at)} of it between areas and "
                f"{show(within['estimate'], at)} inside areas)"
            )
        return (
            f"The gap of {here} to {there} changed, in {unit_words(self.unit)}, by {' and by '.join(said)}. This says "
            "where the change lies, not what caused it."
        )


def _open(part: pd.Series) -> bool:
    """Whether the interval includes no difference."""
    return bool(part["low"] <= 0 <= part["high"])


@dataclass(frozen=True)
class _Pair:
    """Two groups over A areas: children and rates (in the outcome's unit), zero where a group isn't there."""

    clusters: np.ndarray
    n1: np.ndarray
    n0: np.ndarray
    r1: np.ndarray
    r0: np.ndarray

    def parts(self, copies: np.ndarray) -> np.ndarray:
        """Total, between and within for R draws of areas (R by A counts of each area): R by 3."""
        first = np.where(self.n1 > 0, self.r1, self.r0)
        second = np.where(self.n0 > 0, self.r0, self.r1)
        both, gap = (first + second) / 2, (first - second) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = [[copies @ (n * values) / (copies @ n) for values in (both, gap)] for n in (self.n1, self.n0)]
        between, within = mean[0][0] - mean[1][0], mean[0][1] + mean[1][1]
        return np.stack([between + within, between, within], axis=1)


def _pair(cells: Cells, outcome: str | None, by: str, group: str, reference: str, threshold: int) -> tuple[_Pair, str]:
    found = rates(cells, outcome, by=("cluster", by))
    frame = found.frame.assign(**{by: found.frame[by].astype(str)})
    if group == reference:
        raise UsageError(f"A gap needs two different groups, and both are '{group}'.")
    for name in (group, reference):
        if name not in set(frame[by]):
            raise UsageError(f"The stratum '{by}' has no group '{name}'.{did_you_mean(name, set(frame[by]))}")
        if frame.loc[frame[by] == name, "observed"].sum() < threshold:
            raise DesignError(f"The group '{name}' has fewer than {threshold} children: too few to say.")
    table = frame[frame[by].isin([group, reference])].pivot(index="cluster", columns=by, values=["observed", "rate"])
    count = table["observed"].fillna(0.0)
    rate = table["rate"].fillna(0.0) * found.scale
    pair = _Pair(
        table.index.to_numpy(dtype=object),
        *(count[name].to_numpy() for name in (group, reference)),
        *(rate[name].to_numpy() for name in (group, reference)),
    )
    return pair, found.info.unit


def _limits(drawn: np.ndarray, level: float, areas: int) -> tuple[np.ndarray, np.ndarray]:
    """Percentile limits of R draws (R by 3); a draw without one of the groups says nothing and is left out."""
    low, high = np.nanquantile(drawn, tails(level, areas), axis=0)
    return low, high


def _made(
    found: np.ndarray, drawn: np.ndarray, level: float, arm: str, areas: int, drawn_from: int | None = None
) -> pd.DataFrame:
    low, high = _limits(drawn, level, drawn_from or areas)
    return pd.DataFrame({"arm": arm, "part": PARTS, "estimate": found, "low": low, "high": high, "areas": areas})


def place_parts(
    cells: Cells,
    outcome: str | None = None,
    *,
    by: str,
    group: str,
    reference: str,
    level: float = 0.95,
    threshold: int = THRESHOLD,
    draws: int = 1999,
    seed: int = 20230902,
) -> PlaceParts:
    """The gap ``group`` minus ``reference`` between and within areas (Kitagawa, with areas as the categories).

    The between part is what would be left if both groups had the same rate inside each area; the within part what
    would be left if both lived in the same areas. Periods are added up: filter the cells first. An area without one of
    the groups counts in the between part only.

    Raises UsageError for an unknown stratum or group; DesignError where a group has too few children or margins can't
    answer, or for fewer than five areas.
    """
    pair, unit = _pair(cells, outcome, by, group, reference, threshold)
    areas = len(pair.clusters)
    if areas < FEWEST_AREAS:
        raise DesignError(f"Only {areas} areas have either group; at least {FEWEST_AREAS} are needed.")
    found = pair.parts(np.ones((1, areas)))[0]
    copies = np.random.default_rng(seed).multinomial(areas, np.full(areas, 1 / areas), size=draws).astype(float)
    shared = (pair.n1 > 0) & (pair.n0 > 0)
    by_area = pd.DataFrame(
        {
            "cluster": pair.clusters[shared],
            "n_group": pair.n1[shared],
            "n_reference": pair.n0[shared],
            "gap": (pair.r1 - pair.r0)[shared],
        }
    )
    frame = _made(found, pair.parts(copies), level, "all", areas)
    return PlaceParts(group, reference, by, frame, areas, int(shared.sum()), by_area, unit)


def place_parts_change(
    cells: Cells,
    outcome: str | None = None,
    *,
    by: str,
    group: str,
    reference: str,
    before: Sequence[int],
    after: Sequence[int],
    level: float = 0.95,
    threshold: int = THRESHOLD,
    draws: int = 1999,
    seed: int = 20230902,
) -> PlaceParts:
    """The change of a gap, after minus before, and of its parts, in treated and in comparison areas.

    ``frame`` has the arms "treated", "comparison" and "difference" (only "all" where no area is treated, or every one).
    The same areas are drawn in both periods, so areas without a figure in one of them still count where they have one.
    Other arguments and errors as ``place_parts``.
    """
    if set(before) & set(after) or not before or not after:
        raise UsageError("before and after are two lists of periods that don't overlap.")
    treated = set(cells.frame.loc[cells.frame["cohort"].notna(), "cluster"])
    others = set(cells.frame["cluster"]) - treated
    arms = {"treated": treated, "comparison": others} if treated and others else {"all": treated | others}
    generator = np.random.default_rng(seed)
    made, kept, spans, unit = [], [], [], ""
    for arm, members in arms.items():
        mine = cells.without_clusters(set(cells.frame["cluster"]) - members)
        pairs = []
        for periods in (before, after):
            pair, unit = _pair(mine.filter(period=list(periods)), outcome, by, group, reference, threshold)
            pairs.append(pair)
        names = np.union1d(pairs[0].clusters, pairs[1].clusters)
        if len(names) < FEWEST_AREAS:
            raise DesignError(f"Only {len(names)} {arm} areas have either group; at least {FEWEST_AREAS} are needed.")
        copies = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws).astype(float)
        values = []
        for pair in pairs:
            at = np.searchsorted(names, pair.clusters)
            values.append((pair.parts(np.ones((1, len(at))))[0], pair.parts(copies[:, at])))
        found, drawn = values[1][0] - values[0][0], values[1][1] - values[0][1]
        made.append(_made(found, drawn, level, arm, len(names)))
        kept.append((found, drawn))
        spans.append(len(names))
    if len(arms) == 2:
        made.append(
            _made(kept[0][0] - kept[1][0], kept[0][1] - kept[1][1], level, "difference", sum(spans), min(spans))
        )
    frame = pd.concat(made, ignore_index=True)
    return PlaceParts(group, reference, by, frame, sum(spans), sum(spans), pd.DataFrame(), unit, of_change=True)
