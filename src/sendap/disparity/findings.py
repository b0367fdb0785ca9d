"""Everything that one published table by group can say, each part worked out when first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from sendap import groups
from sendap.catalog import Catalog
from sendap.cells import Cells
from sendap.disparity.adjust import BEFORE, adjusted_gaps, ladder_for
from sendap.disparity.arms import arms_of
from sendap.disparity.decomposition import PARTS, PlaceParts, place_parts, place_parts_change
from sendap.disparity.fairlie import Fairlie, fairlie
from sendap.disparity.funnel import Funnel, funnel
from sendap.disparity.gaps import ALL_PUPILS, gaps, summarise
from sendap.disparity.gradient import Gradient, gradient
from sendap.disparity.intersections import Intersections, intersections
from sendap.disparity.oaxaca import Oaxaca, oaxaca
from sendap.disparity.place import area_gaps, shrunken_shares
from sendap.disparity.programme import ProgrammeGaps, programme_gaps
from sendap.disparity.published import area_cells, group_cells
from sendap.disparity.series import gap_series, unknown_share
from sendap.disparity.spread import SpreadChange, spread_by_period, spread_change
from sendap.disparity.unanswerable import unanswerable
from sendap.errors import DesignError
from sendap.periods import period_label
from sendap.sources.group_catalog import GroupTable
from sendap.sources.groups_tables import ENGLAND, GroupCounts

DRAWS = 999
ENOUGH = 100
"""Fewest children of an area whose rate counts in the spread between areas: those of the smallest are mostly chance."""


@dataclass(frozen=True)
class Findings:
    """One table by group: its description, its cells, and what they say.

    ``cells`` hold every measure by every stratum; ``areas`` the first measure by area, or None where no area is
    published. ``england`` are the publisher's own figures for England, to check sums against. ``left_out`` are areas of
    the programme that began too late for either arm.
    """

    table: GroupTable
    cells: Cells
    areas: Cells | None
    england: pd.DataFrame
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, counts: GroupCounts, catalog: Catalog, *, synthetic: bool) -> Findings:
        arms = arms_of(counts.table, catalog)
        about = {"report": counts.table.id, "synthetic": synthetic, "inputs": counts.digests}
        cohorts = None if arms is None else arms.first_treated
        return cls(
            table=counts.table,
            cells=group_cells(counts, cohorts=cohorts, metadata=about),
            areas=area_cells(counts, cohorts=cohorts),
            england=counts.england,
            left_out=() if arms is None else arms.left_out,
        )

    @property
    def synthetic(self) -> bool:
        return self.cells.synthetic

    @property
    def main(self) -> str:
        return self.table.main.id

    @property
    def by_area(self) -> bool:
        """Whether groups are published for areas, and not for England only."""
        return self.table.level != "National"

    def label(self, period: int) -> str:
        return period_label(period, self.table.period_kind)

    def last_period(self, measure: str) -> int:
        return int(self.cells.only(measure).frame["period"].max())

    def current(self, measure: str) -> Cells:
        """The last year of a measure."""
        return self.cells.only(measure).filter(period=[self.last_period(measure)])

    def reference(self, by: str) -> str:
        """The group that others of a stratum are compared with."""
        rows = self.gaps[(self.gaps["measure"] == self.main) & (self.gaps["by"] == by)]
        return str(rows.loc[rows["against"] != ALL_PUPILS, "against"].iloc[0])

    @cached_property
    def gaps(self) -> pd.DataFrame:
        """Every measure and stratum in its last year, against the reference and against all: ``gaps``' columns."""
        parts = []
        for measure in self.table.measures:
            cells = self.current(measure.id)
            for by in self.table.by:
                found = gaps(cells, by=by, reference=self.table.references.get(by), better=measure.better)
                parts.append(found.assign(measure=measure.id, role=measure.role, period=self.last_period(measure.id)))
        return pd.concat(parts, ignore_index=True)

    def compared(self, by: str, *, measure: str | None = None, against_all: bool = False) -> pd.DataFrame:
        """The rows of one stratum and measure, one a group."""
        rows = self.gaps[(self.gaps["measure"] == (measure or self.main)) & (self.gaps["by"] == by)]
        return rows[(rows["against"] == ALL_PUPILS) == against_all].reset_index(drop=True)

    def others(self, by: str) -> list[str]:
        """Groups with enough children that can be compared with the reference, Unknown left out."""
        rows = self.compared(by)
        return list(rows.loc[(rows["status"] == "ok") & (rows["group"] != groups.UNKNOWN), "group"])

    def widest(self, by: str) -> str | None:
        """The group furthest from the reference, or None where no group can be compared."""
        rows = self.compared(by).set_index("group").reindex(self.others(by))
        return None if rows.empty else str(rows["difference"].abs().idxmax())

    @cached_property
    def summaries(self) -> pd.DataFrame:
        """Spread over the groups of each stratum: ``by`` and the parts of ``Summary``."""
        rows = []
        for by in self.table.by:
            if len(self.others(by)) + 1 < 2:
                continue
            found = summarise(self.current(self.main), by=by, reference=self.table.references.get(by))
            rows.append({"by": by, **{name: value for name, value in vars(found).items() if name != "left_out"}})
        return pd.DataFrame(rows)

    def rungs(self, by: str) -> dict[str, tuple[str, ...]]:
        """The rungs of the ladder that the table can climb, with what it has beside those of the standard."""
        cells = self.current(self.main)
        made = ladder_for(cells, by=by)
        crossed = {name for margin in cells.margins if by in margin for name in margin}
        extra = tuple(name for name in self.table.adjust_for if name in crossed and name != by)
        if extra:
            made = {name: (*extra, *factors) if name != "M0" else factors for name, factors in made.items()}
            made = {"M0": made.pop("M0"), **({} if "M1" in made else {"M1": extra}), **made}
        return made

    @cached_property
    def ladder(self) -> pd.DataFrame:
        """Gaps among children who are alike in what the table holds, drawing whole areas; empty for England only."""
        if not self.by_area:
            return pd.DataFrame()
        parts = []
        for by in self.table.by:
            reference = self.reference(by)
            rungs = self.rungs(by)
            parts.append(adjusted_gaps(self.current(self.main), by=by, reference=reference, ladder=rungs).assign(by=by))
        return pd.concat(parts, ignore_index=True)

    @property
    def prior_results(self) -> bool:
        """Whether the table holds results at an earlier age, for rung M3."""
        return bool(set(BEFORE) & set(self.table.strata))

    @cached_property
    def funnel(self) -> Funnel | None:
        if self.areas is None:
            return None
        return funnel(self.areas.filter(period=[self.last_period(self.main)]))

    @cached_property
    def place(self) -> pd.DataFrame:
        """Areas in the order of their names: ``cluster, name, region, n, rate, shrunk, ..., position, status``."""
        if self.areas is None or self.funnel is None:
            return pd.DataFrame()
        cells = self.areas.filter(period=[self.last_period(self.main)])
        frame = self.funnel.frame.merge(shrunken_shares(cells), on="cluster", validate="one_to_one")
        assert cells.clusters is not None
        frame = frame.merge(cells.clusters, on="cluster", validate="one_to_one")
        few = frame["status"] != "ok"
        frame.loc[few, ["shrunk", "shrunk_low", "shrunk_high"]] = np.nan
        columns = ["cluster", "name", "region", "n", "rate", "shrunk", "shrunk_low", "shrunk_high", "z_adjusted"]
        return frame.sort_values("name")[[*columns, "position", "status"]].reset_index(drop=True)

    @cached_property
    def spread(self) -> pd.DataFrame:
        """How far apart areas are in each year; empty where no area is published."""
        return pd.DataFrame() if self.areas is None else spread_by_period(self.areas, threshold=ENOUGH)

    def _both_arms(self, cells: Cells) -> Cells | None:
        """Cells of the years before and after a programme, without areas that began too late, or None without arms."""
        programme = self.table.programme
        if programme is None or not programme.after or not cells.frame["cohort"].notna().any():
            return None
        return cells.without_clusters(self.left_out).filter(period=[*programme.before, *programme.after])

    @cached_property
    def spread_change(self) -> SpreadChange | None:
        """How the spread between areas changed, treated against others."""
        cells = None if self.areas is None else self._both_arms(self.areas)
        if cells is None:
            return None
        programme = self.table.programme
        assert programme is not None
        return spread_change(cells, before=programme.before, after=programme.after, threshold=ENOUGH)

    @cached_property
    def area_gaps(self) -> pd.DataFrame:
        """The gap inside each area, for every stratum; empty for England only."""
        if not self.by_area:
            return pd.DataFrame()
        cells = self.current(self.main)
        parts = [area_gaps(cells, by=by, reference=self.reference(by)).assign(by=by) for by in self.table.by]
        assert cells.clusters is not None
        return pd.concat(parts, ignore_index=True).merge(cells.clusters, on="cluster", validate="many_to_one")

    def place_parts(self, by: str, group: str) -> PlaceParts:
        return place_parts(self.current(self.main), by=by, group=group, reference=self.reference(by), draws=DRAWS)

    @cached_property
    def parts(self) -> pd.DataFrame:
        """Each gap between and within areas: ``by, group, reference, sentence`` and each part with its limits."""
        rows = []
        for by in self.table.by if self.by_area else ():
            for group in self.others(by):
                found = self.place_parts(by, group)
                rows.append(
                    {
                        "by": by,
                        "group": group,
                        "reference": found.reference,
                        "sentence": found.sentence(who=self.table.who),
                        **_wide(found),
                    }
                )
        return pd.DataFrame(rows)

    @cached_property
    def parts_of_change(self) -> pd.DataFrame:
        """The same for the change of each gap, in the arms of a programme where there is one."""
        periods = sorted(self.cells.only(self.main).frame["period"].unique())
        if not self.by_area or len(periods) < 2:
            return pd.DataFrame()
        cells = self._both_arms(self.cells.only(self.main))
        before, after = [int(periods[0])], [int(periods[-1])]
        if cells is not None and self.table.programme is not None:
            before, after = list(self.table.programme.before), list(self.table.programme.after)
        rows = []
        for by in self.table.by:
            for group in self.others(by):
                try:
                    found = place_parts_change(
                        self.cells.only(self.main) if cells is None else cells,
                        by=by, group=group, reference=self.reference(by), before=before, after=after, draws=DRAWS,
                    )  # fmt: skip
                except DesignError:
                    continue
                said = found.sentence(who=self.table.who)
                for arm in found.frame["arm"].unique():
                    rows.append({"by": by, "group": group, "arm": arm, "sentence": said, **_wide(found, arm)})
        return pd.DataFrame(rows)

    @cached_property
    def decomposed(self) -> list[tuple[Oaxaca, Fairlie]]:
        """Each stratum's widest gap and what goes with the strata crossed with it, straight and curved."""
        made = []
        cells = self.current(self.main)
        for by in self.table.by:
            group = self.widest(by)
            crossed = [margin for margin in cells.margins if by in margin and len(margin) > 1]
            if group is None or not crossed or not self.by_area:
                continue
            factors = tuple(name for name in max(crossed, key=len) if name != by)
            if len(factors) < 2:
                continue  # the ladder says the same
            known = cells.margin(keep=[by, *factors]).filter(**{by: [group, self.reference(by)]})
            for name in factors:
                known = known.filter(**{name: sorted(set(known.frame[name].astype(str)) - {groups.UNKNOWN})})
            asked = {"by": by, "group": group, "reference": self.reference(by), "factors": factors}
            made.append((oaxaca(known, **asked, draws=DRAWS), fairlie(known, **asked)))
        return made

    @cached_property
    def gradient(self) -> Gradient | None:
        asked = self.table.gradient
        return None if asked is None else gradient(self.current(self.main), by=asked.stratum, order=asked.order)

    @cached_property
    def intersections(self) -> Intersections | None:
        """Strata crossed as far as the table crosses them, or None where it holds margins only."""
        crossed = self.table.crossed
        return intersections(self.current(self.main), by=crossed) if crossed else None

    @cached_property
    def unknown(self) -> pd.DataFrame:
        """How many children have no group recorded: ``by, arm, period, n, unknown, share``."""
        parts = []
        for by in self.table.by:
            cells = self.cells.only(self.main)
            held = set(cells.frame[by].astype(str))
            if groups.UNKNOWN in held:
                parts.append(unknown_share(cells, by=by).assign(by=by))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    @cached_property
    def series(self) -> pd.DataFrame:
        """Each group's gap year by year: ``by, group`` and ``gap_series``' columns; empty for a single year."""
        cells = self.cells.only(self.main).without_clusters(self.left_out)
        periods = sorted(int(each) for each in cells.frame["period"].unique())
        parts = []
        for by in self.table.by if len(periods) > 1 else ():
            for group in self.others(by):
                asked = {"by": by, "group": group, "reference": self.reference(by)}
                found = gap_series(cells, **asked) if self.by_area else self._england_series(cells, periods, **asked)
                parts.append(found.assign(by=by, group=group))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def _england_series(self, cells: Cells, periods: list[int], *, by: str, group: str, reference: str) -> pd.DataFrame:
        rows = []
        for period in periods:
            found = gaps(cells.filter(period=[period]), by=by, reference=reference)
            row = found[(found["group"] == group) & (found["against"] == reference)].iloc[0]
            rows.append(
                {
                    "arm": ENGLAND, "period": period, "n_group": row["n"], "rate_group": row["rate"],
                    "rate_reference": row["rate_against"], "gap": row["difference"], "low": row["difference_low"],
                    "high": row["difference_high"], "ratio": row["ratio"], "status": row["status"],
                }
            )  # fmt: skip
        return pd.DataFrame(rows)

    @cached_property
    def programme(self) -> dict[str, ProgrammeGaps]:
        """What the programme did to the gaps of each stratum, where there are years before and after it."""
        return self.narrowed()

    def narrowed(self, **options: Any) -> dict[str, ProgrammeGaps]:
        """The gaps of each stratum before and after the programme; ``options`` of ``programme_gaps``."""
        cells = self._both_arms(self.cells.only(self.main))
        if cells is None or not self.by_area:
            return {}
        better = self.table.main.better
        return {
            by: programme_gaps(cells, by=by, reference=self.reference(by), better=better, **options)
            for by in self.table.by
        }

    @cached_property
    def checks(self) -> pd.DataFrame:
        """Sums over areas against published England: ``measure, period, compared, largest_difference``."""
        if self.england.empty:
            return pd.DataFrame()
        keys = ["outcome", "period", *self.table.strata]
        sums = self.cells.frame.groupby(keys, as_index=False)[["sum", "weight"]].sum()
        known = self.england.dropna(subset=["numerator", "denominator"]).rename(columns={"measure": "outcome"})
        both = known.merge(sums, on=keys, how="left").fillna({"sum": 0.0, "weight": 0.0})
        both["off"] = np.maximum(
            (both["sum"] / 100 - both["numerator"]).abs(), (both["weight"] - both["denominator"]).abs()
        )
        grouped = both.groupby(["outcome", "period"])["off"]
        made = grouped.agg(compared="size", largest_difference="max").reset_index()
        return made.rename(columns={"outcome": "measure"})

    @cached_property
    def unanswerable(self) -> list[str]:
        """Questions that the table can't answer, from what it crosses and from its description."""
        margins = self.cells.only(self.main).margins
        return unanswerable(self.table, margins, by_area=self.by_area, prior_results=self.prior_results)

    def tables(self) -> dict[str, pd.DataFrame]:
        """What the run writes as CSV, by file name; parts that the table can't answer are left out."""
        programme = [found.frame.assign(by=by) for by, found in self.programme.items()]
        made = {
            "gaps": self.gaps,
            "gaps-alike": self.ladder,
            "gaps-by-area": self.area_gaps,
            "gaps-by-year": self.series,
            "gaps-programme": pd.concat(programme, ignore_index=True) if programme else pd.DataFrame(),
            "between-and-within-areas": self.parts,
            "between-and-within-areas-change": self.parts_of_change,
            "areas": self.place,
            "spread-by-year": self.spread,
            "spread-change": pd.DataFrame() if self.spread_change is None else self.spread_change.frame,
            "spread-over-groups": self.summaries,
            "gradient": pd.DataFrame() if self.gradient is None else self.gradient.frame,
            "intersections": pd.DataFrame() if self.intersections is None else self.intersections.frame,
            "not-recorded": self.unknown,
            "checks": self.checks,
        }
        return {name: frame for name, frame in made.items() if len(frame)}


def _wide(found: PlaceParts, arm: str | None = None) -> dict[str, float]:
    row: dict[str, float] = {}
    for name in PARTS:
        part = found.part(name, arm=arm)
        row |= {name: part["estimate"], f"{name}_low": part["low"], f"{name}_high": part["high"]}
    return {**row, "areas": float(found.areas)}
