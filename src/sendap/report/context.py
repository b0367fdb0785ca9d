"""What a page is made from: one evaluated pilot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from sendap.adopters import Adopters
from sendap.catalog import Catalog
from sendap.cells import Cells
from sendap.comparison import ComparisonGroup
from sendap.exposure import overlaps
from sendap.probe import TrendCheck
from sendap.protocol import Outcome, Protocol, breaks_between, series_of
from sendap.results import MAIN
from sendap.verdict import Confidence, Finding, GuardVerdict, confidence, earlier_threat, guard, impact, probed_threats

ORDER = ("primary", "secondary", "guard", "exploratory")
DIFFERENCES = "group_time"
"""The estimator of differences in differences: the headline, or beside it."""


@dataclass(frozen=True)
class Evaluated:
    """A protocol with its cells, its results, and what was read, assigned and set aside on the way.

    ``protocol`` holds the outcomes that could be measured, ``awaiting`` those whose data aren't there. ``groups`` holds
    by stratum what happened to gaps, for records; ``compared`` chooses the comparison areas of the primary outcome by
    each rule.
    """

    protocol: Protocol
    awaiting: tuple[Outcome, ...]
    adopters: Adopters
    catalog: Catalog
    cells: Cells
    estimates: pd.DataFrame
    trends: Mapping[str, TrendCheck]
    probes: Mapping[str, Mapping[str, Any]]
    coverage: pd.DataFrame
    cohorts: pd.DataFrame
    set_aside: pd.DataFrame
    missing: pd.DataFrame
    groups: Mapping[str, Mapping[str, Any]]
    compared: Callable[[], Mapping[str, ComparisonGroup | str]]

    @property
    def synthetic(self) -> bool:
        return self.cells.synthetic

    @property
    def outcomes(self) -> list[Outcome]:
        return sorted(self.protocol.outcomes, key=lambda outcome: ORDER.index(outcome.family))

    def of_family(self, family: str) -> list[Outcome]:
        return [outcome for outcome in self.protocol.outcomes if outcome.family == family]

    def rows(self, outcome: Outcome | str, **conditions: object) -> pd.DataFrame:
        """Headline rows of an outcome that meet the conditions (``estimator``, ``term``, ``contrast``)."""
        name = outcome if isinstance(outcome, str) else outcome.id
        frame = self.estimates
        keep = (frame["outcome"] == name) & frame["headline"]
        for column, value in conditions.items():
            keep &= frame[column] == value
        return frame[keep].reset_index(drop=True)

    def lead(self, outcome: Outcome | str) -> str:
        """The estimator of an outcome's headline: the protocol's, or group-time differences where its past is short."""
        wanted = self.protocol.headline
        return wanted if len(self.rows(outcome, estimator=wanted, term="overall", contrast=MAIN)) else DIFFERENCES

    def headline(self, outcome: Outcome | str) -> pd.Series:
        """The overall effect by the headline estimator and method."""
        return self.rows(outcome, estimator=self.lead(outcome), term="overall", contrast=MAIN).iloc[0]

    def differences(self, outcome: Outcome | str) -> pd.Series:
        """The overall effect by difference in differences: the headline itself, or what stands beside it."""
        return self.rows(outcome, estimator=DIFFERENCES, term="overall", contrast=MAIN).iloc[0]

    def ahead(self, outcome: Outcome) -> int:
        """How many periods before the start count as partly exposed."""
        return int(self.cells.metadata["anticipation"][outcome.id])  # type: ignore[index]

    def given_past(self, outcome: Outcome | str) -> bool:
        """Whether the headline compares areas with the same figures in the last periods before the start."""
        return self.lead(outcome) != DIFFERENCES

    def finding(self, outcome: Outcome) -> Finding:
        return impact(self.headline(outcome), outcome, self.trends.get(outcome.id))

    def guard(self, outcome: Outcome) -> tuple[GuardVerdict, str]:
        assert outcome.guard is not None
        return guard(self.headline(outcome), outcome.guard, self.trends.get(outcome.id))

    def source(self, outcome: Outcome) -> str:
        if self.synthetic:
            return "synthetic data"
        dataset, _ = series_of(self.catalog, outcome)
        return f"{dataset.publisher}, {dataset.title}"

    @cached_property
    def overlaps(self) -> pd.DataFrame:
        if self.protocol.cluster_column != "la_code":
            return pd.DataFrame(columns=["other", "name", "complete", "treated_areas", "other_areas", "areas"])
        return overlaps(self.catalog, self.protocol.programme, self.clusters)

    @property
    def stands_in(self) -> str:
        """What to know where another programme's areas stand in for those that nobody has published."""
        return "" if self.adopters.path else self.protocol.stands_in

    @cached_property
    def regions(self) -> dict[str, str]:
        """The region of each cluster, where it's known."""
        table = self.cells.clusters
        if table is None or "region" not in table.columns:
            return {}
        return {str(code): str(name) for code, name in zip(table["cluster"], table["region"], strict=True)}

    @property
    def clusters(self) -> list[str]:
        """The clusters that took part."""
        return [each.cluster for each in self.adopters.members]

    @cached_property
    def confidence(self) -> Confidence:
        """The Board's word on the primary outcome."""
        primary = self.protocol.primary
        row = self.headline(primary)
        cover = self.coverage[self.coverage["outcome"] == primary.name].iloc[0]
        own = set(self.clusters)
        others = {
            area.la_code
            for programme, rollout in self.catalog.rollouts.items()
            if programme != self.protocol.programme
            for area in rollout.areas
        }
        _, series = series_of(self.catalog, primary)
        least = primary.smallest_effect or (primary.guard.margin if primary.guard else None)
        threats = probed_threats(
            self.probes.get(primary.id, {}),
            row,
            registered=self.protocol.registered,
            deviations=len(self.protocol.deviations),
        )
        past = self.given_past(primary)
        if self.stands_in:
            threats = (*threats, ("Other areas stand in for those that took part", "high"))
        if not self.protocol.has_primary:
            threats = (*threats, ("The main outcome isn't measured", "high"))
        possible = cover["known"] + cover["missing"]
        return confidence(
            row,
            least or 0.0,
            missing_share=float(cover["missing"] / possible) if possible else 1.0,
            overlap_share=len(own & others) / len(own),
            break_in_window=bool(series.breaks),
            breakdown=None if past else self.breakdown(primary),
            trends=earlier_threat(row, self.trends.get(primary.id)) if past else None,
            more=threats,
        )

    def breakdown(self, outcome: Outcome) -> float | None:
        """The breakdown value by relative magnitudes, or None where it can't be told."""
        value = self.probes.get(outcome.id, {}).get("robust", {}).get("breakdown_relative")
        return float("inf") if value == "infinite" else value

    @cached_property
    def worst_guard(self) -> str:
        """The gravest verdict over all guards, or an empty text where there are none."""
        order = ("serious harm", "harm", "possible harm", "cannot tell", "no harm beyond the margin")
        found = [self.guard(outcome)[0] for outcome in self.of_family("guard")]
        return min(found, key=order.index) if found else ""

    def breaks(self, outcome: Outcome) -> list[str]:
        """Breaks in the data that the years of an outcome cross, by id: its own, and those of area boundaries."""
        periods = self.cells.only(outcome.id).frame["period"].unique()
        return list(breaks_between(self.catalog, outcome, [int(year) for year in periods]))

    def base_year_range(self, outcome: Outcome) -> tuple[float, float] | None:
        """Lowest and highest estimate over all base years, where they were computed."""
        rows = self.estimates[(self.estimates["outcome"] == outcome.id) & (self.estimates["estimator"] == "two_by_two")]
        values = rows["estimate"][np.isfinite(rows["estimate"])]
        return (float(values.min()), float(values.max())) if len(values) else None

    def raw_means(self, outcome: Outcome) -> pd.DataFrame:
        """Unadjusted means by period: ``period, treated, comparison`` (all areas that are ever treated)."""
        frame = self.cells.only(outcome.id).frame
        mean = frame["sum"] / frame["weight"]
        table = (
            frame.assign(mean=mean, treated=frame["cohort"].notna())
            .pivot_table(index="period", columns="treated", values="mean", aggfunc="mean")
            .rename(columns={True: "treated", False: "comparison"})
        )
        return table.reindex(columns=["treated", "comparison"]).reset_index()
