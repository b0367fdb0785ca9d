"""What a pilot could find, judged before its outcomes are opened, from the periods before it began.

By the formula of section 4.4 of the evaluation standard, and by pretending the pilot at earlier dates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sendap.cells import Panel
from sendap.errors import DesignError, UsageError
from sendap.estimators import fit_group_time
from sendap.estimators.group_time import Fitter
from sendap.probe.placements import simulated_power
from sendap.probe.power import minimum_detectable_effect, period_variance

POWER = 0.8
FEWEST_AREAS = 4
FEW_TREATED = 13
"""Treated areas below which the formula is known to be optimistic."""


@dataclass(frozen=True)
class PlannedPower:
    """What could be found in one outcome, from the periods before the programme.

    ``periods`` are those used, ``areas`` how many have a figure in them. ``spread`` is the standard deviation of an
    area in a period, after period effects (inside regions, where they are compared), ``correlation`` that of an area
    with itself in another period, ``change_spread`` the standard deviation of an area's change from one period to the
    next. All in outcome units.

    ``designs`` has one row a number of treated areas and of periods after: ``treated, controls, before, after``,
    ``formula`` (difference in differences), ``ancova`` (with the level before as covariate), ``change`` (last period
    before to first after), ``simulated`` and ``starts`` (how many earlier dates it was pretended at), ``note``. Figures
    that can't be given are missing, for the reason in ``note``. ``curve`` has ``treated, after, effect, power`` of each
    design that could be simulated.
    """

    outcome: str
    unit: str
    periods: tuple[int, ...]
    areas: int
    spread: float
    correlation: float
    change_spread: float
    designs: pd.DataFrame
    curve: pd.DataFrame

    def best(self, treated: int, after: int) -> float:
        """The smallest effect found in 8 of 10: simulated where it could be, else by the formula."""
        rows = self.designs[(self.designs["treated"] == treated) & (self.designs["after"] == after)]
        if rows.empty:
            raise UsageError(f"No design has {treated} treated areas and {after} periods after.")
        row = rows.iloc[0]
        return float(row["simulated"] if np.isfinite(row["simulated"]) else row["formula"])

    def needed(self, effect: float, *, after: int) -> int | None:
        """How many of these areas would have to be treated for the formula to find ``effect``; None where none will."""
        before = len(self.periods)
        for treated in range(1, self.areas // 2 + 1):
            if self._formula(treated, self.areas - treated, before, after)[0] <= effect:
                return treated
        return None

    def _formula(self, treated: int, controls: int, before: int, after: int) -> tuple[float, float, float]:
        return formula_effects(self.spread, self.correlation, self.change_spread, treated, controls, before, after)


def formula_effects(
    spread: float, correlation: float, change_spread: float, treated: int, controls: int, before: int, after: int
) -> tuple[float, float, float]:
    """Minimum detectable effect of difference in differences, of ANCOVA, and of a comparison of changes.

    Sources: McKenzie (2012), doi:10.1016/j.jdeveco.2012.01.002; section 4.4 of the evaluation standard.
    """
    sides = float(np.sqrt(1 / treated + 1 / controls))
    dof = treated + controls - 2

    def found(error: float) -> float:
        return minimum_detectable_effect(error, dof=dof, power=POWER) if error > 0 else float("nan")

    errors = [
        spread * sides * float(np.sqrt(max(period_variance(before, after, correlation, design=design), 0.0)))
        for design in ("did", "ancova")
    ]
    return found(errors[0]), found(errors[1]), found(change_spread * sides)


def plan_power(
    panel: Panel,
    *,
    before: float,
    treated: Sequence[int],
    after: Sequence[int],
    anticipation: int = 0,
    draws: int = 999,
    seed: int = 20230902,
    simulate: bool = True,
    fitter: Fitter = fit_group_time,
    past: int = 1,
) -> PlannedPower:
    """What could be found in one outcome, from its periods earlier than ``before`` only.

    ``treated`` and ``after`` list the designs: numbers of treated areas and of periods after the start. The starts that
    the panel holds aren't looked at, and nothing from ``before`` on is. ``fitter`` is the headline estimator that is
    simulated, and ``past`` how many periods it needs before a start.

    Raises UsageError for numbers out of their range; DesignError with fewer than two periods or four areas.
    """
    if min((*treated, *after), default=0) < 1:
        raise UsageError("Numbers of treated areas and of periods after the start must be 1 or more.")
    early = [int(period) for period in panel.periods if period < before]
    quiet = panel.select(early)
    quiet = replace(quiet, cohort=np.full(len(quiet.units), np.inf))
    if len(early) < 2:
        raise DesignError(
            f"'{panel.outcome}' has {len(early)} period{'' if len(early) == 1 else 's'} before the programme, and two "
            "are needed to see how areas vary."
        )
    spread, correlation, change_spread, areas = _variation(quiet)
    rows, curves = [], []
    for count in treated:
        if areas - count < 2:
            raise UsageError(f"{count} treated areas leave fewer than two of {areas} to compare with.")
        for follow in after:
            formula, ancova, change = formula_effects(
                spread, correlation, change_spread, count, areas - count, len(early), follow
            )
            row = {
                "treated": count,
                "controls": areas - count,
                "before": len(early),
                "after": follow,
                "formula": formula,
                "ancova": ancova,
                "change": change,
                "simulated": float("nan"),
                "starts": 0,
                "note": "" if simulate else "Not simulated.",
            }
            if simulate:
                try:
                    found = simulated_power(
                        quiet,
                        treated=count,
                        after=follow,
                        anticipation=anticipation,
                        draws=draws,
                        seed=seed,
                        fitter=fitter,
                        past=past,
                    )
                    row.update(simulated=found.effect, starts=len(found.starts))
                    curves.append(found.curve.assign(treated=count, after=follow))
                except DesignError as error:
                    row["note"] = str(error)
            rows.append(row)
    columns = ["treated", "after", "effect", "power"]
    curve = pd.concat(curves)[columns].reset_index(drop=True) if curves else pd.DataFrame(columns=columns)
    return PlannedPower(
        panel.outcome,
        panel.info.unit,
        tuple(early),
        areas,
        spread,
        correlation,
        change_spread,
        pd.DataFrame(rows),
        curve,
    )


def _variation(panel: Panel) -> tuple[float, float, float, int]:
    """Spread of areas in a period, their correlation between periods, spread of their changes, and how many areas.

    After period effects inside each group. The correlation is one for all pairs of periods, as the formula supposes.
    """
    known = np.isfinite(panel.mean) & (panel.weight > 0)
    rest = np.where(known, panel.mean, np.nan)
    for group in np.unique(panel.group):
        inside = panel.group == group
        seen = known[inside]
        total = np.where(seen, np.nan_to_num(rest[inside]), 0.0).sum(axis=0)
        rest[inside] -= total / np.maximum(seen.sum(axis=0), 1)
    areas = int(known.any(axis=1).sum())
    if areas < FEWEST_AREAS:
        raise DesignError(f"'{panel.outcome}' has {areas} areas before the programme, too few to see how they vary.")
    lost = len(np.unique(panel.group))
    used = known.sum(axis=0)
    filled = np.nan_to_num(rest)
    variance = float(((filled**2).sum(axis=0) / np.maximum(used - lost, 1)).mean())
    both = known.astype(float).T @ known.astype(float)
    products = filled.T @ filled / np.maximum(both - lost, 1)
    off = ~np.eye(len(used), dtype=bool) & (both > lost)
    correlation = float(np.clip(products[off].mean() / variance, -0.99, 0.99)) if variance > 0 and off.any() else 0.0
    change = np.diff(rest, axis=1)
    change = change[np.isfinite(change)]
    return float(np.sqrt(variance)), correlation, float(np.sqrt((change**2).mean())), areas
