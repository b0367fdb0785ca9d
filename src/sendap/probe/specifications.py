"""What other reasonable choices would have given: the specification curve.

Estimator, comparison areas, who counts as untreated, weights, years before, partly exposed periods, regions and form
are varied together. The curve names the headline and never picks another. Source: Simonsohn, Simmons and Nelson
(2020), doi:10.1038/s41562-020-0912-z.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import pandas as pd

from sendap.cells import Cells, Panel
from sendap.cells.core import Weights
from sendap.errors import DesignError
from sendap.estimators import fit_group_time, fit_group_time_lagged, fit_two_way
from sendap.estimators.fit import Fit, treated_cohorts
from sendap.estimators.group_time import Control
from sendap.estimators.imputation import fit_imputation
from sendap.estimators.interacted import fit_sun_abraham
from sendap.probe.linear import LinearEffect, in_units, overall_term, treated_mean, without

ALL_AREAS, ALL_YEARS, LEVELS, LOGS = "all comparison areas", "all years", "levels", "logs"
SHORT_WINDOW = 3
MANY_CLUSTERS = 300
"""Clusters above which only the headline gets an interval: each leaves every cluster out in turn."""
DIMENSIONS = ("estimator", "comparison", "control", "weights", "window", "anticipation", "region", "form")


@dataclass(frozen=True)
class Specification:
    """One way to estimate the effect. ``control`` is empty for estimators that have a rule of their own."""

    estimator: str
    comparison: str
    control: str
    weights: str
    window: str
    anticipation: int
    region: str
    form: str


@dataclass(frozen=True)
class SpecificationCurve:
    """Every specification that could be estimated, and the headline among them.

    ``frame`` has the columns of ``Specification``, ``estimate`` in outcome units, ``low`` and ``high`` (95% cluster
    jackknife; for the group-time estimator only, since it's costly for others), and ``headline``; ordered by estimate.
    ``refused`` counts specifications that couldn't be estimated, by their reason.
    """

    frame: pd.DataFrame
    refused: Mapping[str, int]

    @property
    def headline(self) -> pd.Series:
        return self.frame[self.frame["headline"]].iloc[0]

    @property
    def same_sign(self) -> float:
        """Share of the specifications whose estimate points the way of the headline's."""
        return float((np.sign(self.frame["estimate"]) == np.sign(self.headline["estimate"])).mean())

    @property
    def inside(self) -> float:
        """Share of the estimates that lie inside the headline's interval; missing where it has none."""
        row = self.headline
        if not np.isfinite([row["low"], row["high"]]).all():
            return float("nan")
        return float(self.frame["estimate"].between(row["low"], row["high"]).mean())

    def clear(self) -> tuple[int, int, int]:
        """Of those with an interval: how many there are, how many lie above zero, how many below it."""
        known = self.frame.dropna(subset=["low", "high"])
        return len(known), int((known["low"] > 0).sum()), int((known["high"] < 0).sum())

    def choices(self) -> pd.DataFrame:
        """One row an option of each choice: ``choice, option, count, median, same_sign``; choices with one option are
        left out."""
        sign = np.sign(self.headline["estimate"])
        rows = []
        for name in DIMENSIONS:
            # An estimator with a rule of its own is no option of the rule.
            own = self.frame[self.frame[name] != ""]
            if own[name].nunique() < 2:
                continue
            for option, part in own.groupby(name, sort=False):
                alike = float((np.sign(part["estimate"]) == sign).mean())
                rows.append((name, str(option), len(part), float(part["estimate"].median()), alike))
        return pd.DataFrame(rows, columns=["choice", "option", "count", "median", "same_sign"])

    def largest_choice(self) -> str:
        """The choice whose options differ most in their median estimate, or an empty text where there is none."""
        table = self.choices()
        if table.empty:
            return ""
        return str(table.groupby("choice", sort=False)["median"].agg(np.ptp).idxmax())


def specification_curve(
    cells: Cells,
    *,
    control: Control = "never",
    weights: Weights = "areas",
    within: str | None = None,
    anticipation: int = 0,
    left_out: Mapping[str, frozenset[str]] | None = None,
    headline: str = "group_time",
) -> SpecificationCurve:
    """All combinations of choices for the one outcome of ``cells``; the arguments are the headline's.

    ``left_out`` names sets of clusters to leave out in turn ("without areas of other programmes"). Children serve as
    weights only where cells hold more than one, regions only where clusters have one, logarithms only where every
    figure is above zero. Effects on logarithms are put back into outcome units at the mean of the treated.

    Raises DesignError where the headline itself can't be estimated.
    """
    rows: list[dict[str, object]] = []
    refused: dict[str, int] = {}
    for weighed in _first(weights, _weights(cells)):
        for region in _first(within, _regions(cells, within)):
            whole = cells.panel(weights=weighed, within=region)
            fixed = {"weights": weighed, "region": region or "none"}
            for comparison, gone in {ALL_AREAS: frozenset[str](), **(left_out or {})}.items():
                panel = without(whole, gone)
                main = (weighed, region, comparison) == (weights, within, ALL_AREAS)
                for plan in _plans(panel, anticipation):
                    sure = plan.interval and (main or len(panel.clusters) <= MANY_CLUSTERS)
                    try:
                        rows += _estimates(panel, plan, {**fixed, "comparison": comparison}, interval=sure)
                    except DesignError as error:
                        refused[str(error)] = refused.get(str(error), 0) + 1
    chosen = asdict(
        Specification(
            headline, ALL_AREAS, control, weights, ALL_YEARS, anticipation, within or "none", LEVELS
        )
    )  # fmt: skip
    frame = pd.DataFrame(rows, columns=[*DIMENSIONS, "estimate", "low", "high"])
    # With a single start the two rules for the untreated are one, and only "never" is fitted.
    if chosen["control"] not in set(frame["control"]):
        chosen["control"] = "never"
    frame["headline"] = np.logical_and.reduce([frame[name] == value for name, value in chosen.items()])
    if not frame["headline"].any():
        raise DesignError(next(iter(refused), f"'{next(iter(cells.outcomes))}' can't be estimated as the headline is."))
    order = frame.sort_values(["estimate", *DIMENSIONS], kind="stable")
    return SpecificationCurve(order.reset_index(drop=True), refused)


def _first(chosen: object, options: list) -> list:  # type: ignore[type-arg]
    return [chosen, *(each for each in options if each != chosen)]


def _weights(cells: Cells) -> list[Weights]:
    return ["areas", "children"] if (cells.frame["weight"] != 1).any() else ["areas"]


def _regions(cells: Cells, within: str | None) -> list[str | None]:
    known = cells.clusters is not None and "region" in cells.clusters.columns
    return [None, within or "region"] if known else [None]


@dataclass(frozen=True)
class _Plan:
    fit: Callable[[Panel], Fit]
    estimator: str
    control: str
    window: str
    anticipation: int
    interval: bool


def _plans(panel: Panel, anticipation: int) -> Iterator[_Plan]:
    """Estimator, control rule, window and anticipation; rules that come to the same are tried once."""
    starts = np.unique(panel.cohort[np.isfinite(panel.cohort)])
    controls: tuple[Control, ...] = ("never", "not_yet") if len(starts) > 1 else ("never",)
    for shift in (anticipation, anticipation + 1):
        for control in controls:
            for name, fitter in (("group_time", fit_group_time), ("group_time_lagged", fit_group_time_lagged)):
                chosen = partial(fitter, control=control, anticipation=shift)
                yield _Plan(chosen, name, control, ALL_YEARS, shift, True)
        yield _Plan(partial(fit_sun_abraham, anticipation=shift), "sun_abraham", "", ALL_YEARS, shift, False)
        early = int((panel.periods < starts.min() - shift).sum()) if len(starts) else 0
        for window in (ALL_YEARS, f"{SHORT_WINDOW} years before")[: 1 + (early > SHORT_WINDOW)]:
            for name, estimator in (("imputation", fit_imputation), ("two_way", fit_two_way)):
                yield _Plan(partial(estimator, anticipation=shift), name, "", window, shift, False)


def _windowed(panel: Panel, plan: _Plan) -> Panel:
    if plan.window == ALL_YEARS:
        return panel
    clean = panel.periods[panel.periods < treated_cohorts(panel).min() - plan.anticipation]
    return panel.select(panel.periods[panel.periods >= clean[-SHORT_WINDOW]])


def _estimates(
    panel: Panel, plan: _Plan, fixed: Mapping[str, object], *, interval: bool
) -> Iterator[dict[str, object]]:
    """The effect in levels and, where every figure is above zero, on logarithms."""
    data = _windowed(panel, plan)
    fit = plan.fit(data)
    said = {
        **fixed,
        "estimator": plan.estimator,
        "control": plan.control,
        "window": plan.window,
        "anticipation": plan.anticipation,
    }
    known = data.mean[np.isfinite(data.mean) & (data.weight > 0)]
    values = {LEVELS: data.mean}
    # Given the past in levels, the change of logarithms has no such meaning.
    if known.min() > 0 and plan.estimator != "group_time_lagged":
        values[LOGS] = np.log(np.where(np.isfinite(data.mean), data.mean, 1.0))
    linear = LinearEffect.of(fit) if interval else None
    full = linear.full if linear else fit.weights()[overall_term(fit)]
    mean = treated_mean(data) if LOGS in values else float("nan")
    for form, each in values.items():
        if linear is not None:
            found = linear.on(each)
            numbers = [found.estimate, found.low, found.high]
        else:
            numbers = [float((full * np.nan_to_num(each)).sum()), float("nan"), float("nan")]
        if form == LOGS:
            numbers = [in_units(number, mean) for number in numbers]
        yield {**said, "form": form, **dict(zip(("estimate", "low", "high"), numbers, strict=True))}
