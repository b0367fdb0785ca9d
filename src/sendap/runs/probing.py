"""What could be wrong with the headline effects: computed once for a run, kept as plain content."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd

from sendap.cells import Cells, Panel
from sendap.errors import DesignError
from sendap.estimators import fit_group_time, fit_two_way
from sendap.estimators.group_time import Control, GroupTimeFit
from sendap.probe.composition import composition
from sendap.probe.decomposition import decompose, negative_weights
from sendap.probe.drift import straight_drift
from sendap.probe.forms import functional_forms
from sendap.probe.linear import overall_effect
from sendap.probe.placebos import placebo_groups, placebo_outcomes
from sendap.probe.planned import plan_power
from sendap.probe.power import error_rates, trend_power
from sendap.probe.robustness import leave_one_out, placebo_dates
from sendap.probe.sensitivity import sensitivity
from sendap.probe.specifications import specification_curve
from sendap.probe.spillover import donut
from sendap.probe.variations import leave_one_region_out, vary_anticipation
from sendap.protocol import Outcome, Protocol
from sendap.runs.leading import Lead, lead_of

Content = dict[str, Any]
LeftOut = Mapping[str, frozenset[str]]
PLACEBO_PROGRAMMES, PLACEMENTS, BINS = 499, 499, 25
PARTS = (
    "robust", "power", "influence", "placebo", "weights", "curve", "forms", "anticipation", "donut", "groups",
    "outcomes", "composition", "drift", "regions", "mixture", "detectable",
)  # fmt: skip


FOR_EXPLORATORY = ("robust", "power", "influence", "placebo", "weights")


def probe_all(
    cells: Cells,
    protocol: Protocol,
    *,
    left_out: Mapping[str, Collection[str]] | None = None,
    placebo: Collection[str] = (),
) -> dict[str, Content]:
    """By outcome, what could be wrong with its headline effect; each of ``PARTS`` is there, or holds its ``reason``.

    ``left_out`` names sets of clusters to leave out in turn, such as areas of other programmes; ``placebo`` lists the
    outcomes that the programme can't move. A protocol without a comparison has no effect to probe, and gives nothing.
    """
    if protocol.comparison is None:
        return {}
    gone = {name: frozenset(clusters) for name, clusters in (left_out or {}).items() if clusters}
    fixed = [outcome for outcome in protocol.outcomes if outcome.id in placebo]
    return {
        outcome.id: _Probes(cells, protocol, outcome, gone, [each for each in fixed if each.id != outcome.id]).all()
        for outcome in protocol.outcomes
    }


@dataclass
class _Probes:
    """The probes of one outcome. Each method that ``PARTS`` names gives plain content."""

    everything: Cells
    protocol: Protocol
    outcome: Outcome
    left_out: LeftOut
    fixed: list[Outcome]

    def all(self) -> dict[str, Content]:
        try:
            _ = self.fit
        except DesignError as error:
            return {name: {"reason": str(error)} for name in PARTS}
        if self.outcome.family != "exploratory":
            return {name: _attempt(getattr(self, name)) for name in PARTS}
        reason = {"reason": "The outcome is exploratory, and no claim rests on it."}
        return {name: _attempt(getattr(self, name)) if name in FOR_EXPLORATORY else reason for name in PARTS}

    @cached_property
    def cells(self) -> Cells:
        return self.everything.only(self.outcome.id)

    @property
    def control(self) -> Control:
        assert self.protocol.comparison is not None
        return self.protocol.comparison.control

    @property
    def within(self) -> str | None:
        assert self.protocol.comparison is not None
        return self.protocol.comparison.within

    def anticipated(self, outcome: str) -> int:
        return int(self.everything.metadata["anticipation"][outcome])  # type: ignore[index]

    @cached_property
    def panel(self) -> Panel:
        return self.cells.panel(weights=self.protocol.weights, within=self.within)

    @cached_property
    def ahead(self) -> int:
        return self.anticipated(self.outcome.id)

    @cached_property
    def lead(self) -> Lead:
        return lead_of(self.cells, self.protocol, self.ahead)

    @cached_property
    def fit(self) -> GroupTimeFit:
        return self.lead.fitter(self.panel, control=self.control, anticipation=self.ahead)

    @cached_property
    def differences(self) -> GroupTimeFit:
        """The difference in differences that leads or stands beside the headline: what bounds on trends are about."""
        return fit_group_time(self.panel, control=self.control, anticipation=self.ahead)

    @cached_property
    def places(self) -> np.ndarray | None:
        """The region of each cluster, where it's known."""
        table = self.cells.clusters
        if table is None or "region" not in table.columns:
            return None
        return table.set_index("cluster")["region"].reindex(self.panel.clusters).astype(str).to_numpy()

    def robust(self) -> Content:
        found = sensitivity(self.differences, anticipation=self.ahead, target="overall")
        return {
            "sentence": found.sentence(),
            "breakdown_relative": plain(found.breakdown_relative),
            "breakdown_smooth": plain(found.breakdown_smooth),
            "largest_step": plain(found.largest_step),
            "largest_bend": plain(found.largest_bend),
            "periods_before": found.periods_before,
            "note": found.note,
            "sets": records(found.frame()),
        }

    def power(self) -> Content:
        found = trend_power(self.differences, anticipation=self.ahead, target="overall")
        return {
            "slope_50": found.slope_50,
            "slope_80": found.slope_80,
            "bias_50": plain(found.bias_if_passed),
            "sentence": found.sentence(),
        }

    def influence(self) -> Content:
        found, table = leave_one_out(self.fit), self.cells.clusters
        names = {} if table is None else dict(zip(table["cluster"], table.get("name", table["cluster"]), strict=True))
        shown = found.areas.assign(name=[str(names.get(each, each)) for each in found.areas["cluster"]])
        return {
            "low": plain(found.low),
            "high": plain(found.high),
            "changes_sign": len(found.changes_sign),
            "areas": records(shown.head(12)),
            "sentence": found.sentence(names),
        }

    def placebo(self) -> Content:
        fitter = partial(self.lead.fitter, control=self.control)
        found = placebo_dates(self.panel, anticipation=self.ahead, fitter=fitter).frame
        return {"rows": records(found[["event_time", "estimate", "ci_low", "ci_high", "status", "note"]])}

    def weights(self) -> Content:
        found = negative_weights(fit_two_way(self.panel, anticipation=self.ahead))
        return {
            "cells": int(found.cells),
            "negative": int(found.negative_cells),
            "sum": plain(found.negative_sum),
            "sentence": found.sentence(),
        }

    def curve(self) -> Content:
        found = specification_curve(
            self.cells,
            control=self.control,
            weights=self.protocol.weights,
            within=self.within,
            anticipation=self.ahead,
            left_out=self.left_out,
            headline=self.lead.name,
        )
        count, above, below = found.clear()
        return {
            "columns": list(found.frame.columns),
            "rows": [[plain(value) for value in row] for row in found.frame.itertuples(index=False)],
            "same_sign": found.same_sign,
            "inside": plain(found.inside),
            "intervals": count,
            "above": above,
            "below": below,
            "choices": records(found.choices()),
            "largest_choice": found.largest_choice(),
            "refused": [{"reason": reason, "count": number} for reason, number in sorted(found.refused.items())],
        }

    def forms(self) -> Content:
        found = functional_forms(self.differences)
        return {
            "rows": records(found.frame),
            "sign_depends": found.sign_depends,
            "clear_both_ways": found.clear_both_ways,
        }

    def anticipation(self) -> Content:
        found = vary_anticipation(
            self.panel, control=self.control, anticipation=self.ahead, fitter=self.lead.fitter
        )  # fmt: skip
        return {"rows": records(found)}

    def donut(self) -> Content:
        found = donut(
            self.panel,
            self.places,
            control=self.control,
            anticipation=self.ahead,
            left_out=self.left_out,
            fitter=self.lead.fitter,
        )
        return {"rows": records(found.frame), "near": plain(found.near), "furthest": plain(found.furthest())}

    def groups(self) -> Content:
        found = placebo_groups(
            self.panel,
            self.places,
            control=self.control,
            anticipation=self.ahead,
            draws=PLACEBO_PROGRAMMES,
            seed=self.protocol.seed,
            fitter=self.lead.fitter,
        )
        counts, edges = np.histogram(found.estimates, bins=BINS)
        low, high = found.range()
        return {
            "draws": len(found.estimates),
            "real": found.real,
            "as_large": found.as_large,
            "spread": found.spread,
            "low": low,
            "high": high,
            "treated": found.treated,
            "untreated": found.untreated,
            "counts": counts.tolist(),
            "edges": edges.tolist(),
        }

    def outcomes(self) -> Content:
        if not self.fixed:
            raise DesignError("The protocol names no outcome that the programme can't move, so none could be tried.")
        panels = {
            each.id: self.everything.panel(each.id, weights=self.protocol.weights, within=self.within)
            for each in self.fixed
        }
        ahead = {name: self.anticipated(name) for name in panels}
        found = placebo_outcomes(panels, control=self.control, anticipation=ahead, fitter=self.lead.fitter)
        return {"rows": records(found)}

    def composition(self) -> Content:
        found = composition(self.panel, control=self.control, anticipation=self.ahead)
        (before, after), (other_before, other_after) = found.missing
        made: Content = {
            "missing": [before, after, other_before, other_after],
            "missing_change": found.missing_change,
            "threat": found.threat,
        }
        if found.counted is not None:
            ends = (found.counted.estimate, found.counted.low, found.counted.high)
            made["counted"] = [plain(100 * np.expm1(each)) for each in ends]
        return made

    def drift(self) -> Content:
        found = straight_drift(self.differences, anticipation=self.ahead)
        return {name: plain(value) for name, value in vars(found).items()}

    def regions(self) -> Content:
        if self.places is None:
            raise DesignError("The regions of areas aren't known.")
        found = leave_one_region_out(
            self.panel, self.places, control=self.control, anticipation=self.ahead, fitter=self.lead.fitter
        )  # fmt: skip
        return {"rows": records(found)}

    def mixture(self) -> Content:
        found = decompose(self.cells.panel(weights="areas", within=self.within))
        return {
            "already_treated": found.already_treated,
            "two_way": found.two_way,
            "areas": found.areas,
            "rows": records(found.summary()),
            "sentence": found.sentence(),
        }

    def detectable(self) -> Content:
        panel = self.panel
        treated = int((panel.cluster_cohort <= panel.periods.max()).sum())
        start = float(panel.cohort.min())
        after = int((panel.periods >= start).sum())
        effect = overall_effect(self.fit)
        made: Content = {"treated": treated, "after": after}
        least = self.outcome.smallest_effect or (self.outcome.guard.margin if self.outcome.guard else None)
        if least is not None and math.isfinite(effect.std_error) and effect.std_error > 0:
            rates = error_rates(least, std_error=effect.std_error)
            made |= {"smallest": least, "chance": rates.power, "wrong_sign": rates.wrong_sign,
                     "exaggeration": rates.exaggeration}  # fmt: skip
        try:
            found = plan_power(
                panel,
                before=start - self.ahead,
                treated=[treated],
                after=[after],
                anticipation=self.ahead,
                draws=PLACEMENTS,
                seed=self.protocol.seed,
                fitter=self.lead.fitter,
                past=self.lead.past,
            )
        except DesignError as error:
            return {**made, "why": str(error)}
        row = found.designs.iloc[0]
        return {**made, "formula": plain(row["formula"]), "simulated": plain(row["simulated"]), "why": row["note"]}


def _attempt(part: Callable[[], Content]) -> Content:
    try:
        return part()
    except DesignError as error:
        return {"reason": str(error)}


def records(frame: pd.DataFrame) -> list[Content]:
    """Rows as plain content."""
    return [{key: plain(value) for key, value in row.items()} for row in frame.to_dict("records")]


def plain(value: Any) -> Any:
    """A value that JSON holds: a missing number as None, an infinite one in a word."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    number = float(value)
    if math.isnan(number):
        return None
    return number if math.isfinite(number) else "infinite"
