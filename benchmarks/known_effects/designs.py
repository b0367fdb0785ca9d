"""The register's designs for four pilots, on records with a known effect: one seed each.

Every design returns one row for each thing that it estimates: truth, estimate, interval and method of inference.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.known_effects.records import Layout, Shape, records
from sendap.cells import Cells
from sendap.cells.compress import compress
from sendap.cells.compress_durations import compress_durations
from sendap.cells.durations import DurationCells
from sendap.comparison import match, profiles
from sendap.effects import group_time
from sendap.effects_durations import hazard_effects, incidence_effects
from sendap.effects_more import triple_difference
from sendap.results import Estimates
from sendap.sources.episode_model import MEDIATION, PLACEMENT, EpisodeModel
from sendap.sources.episodes import EpisodePlan, episodes, plan_episodes, truth_of
from sendap.sources.marginals import read_marginals

Rows = list[dict[str, Any]]
DRAWS = 999
REGIONS = 9
CASES = 30_000
LEAST_AREAS = ("E09000001", "E06000053")
"""The two areas that every protocol leaves out, because they have fewer than ten plans a year."""
HORIZONS = (26, 52)
MATCHED = {2: 8, 5: 5, 12: 3}
"""Comparison areas for each treated one, by how many are treated: enough to infer from, few enough to be alike."""
READY = 0.8
"""By how many standard deviations of readiness treated areas stand above the others, on average."""


@dataclass(frozen=True)
class Design:
    """A pilot's design: ``treated`` and ``controls`` clusters, in words what is planted, and what one seed of it does.

    ``run`` takes the design, a generator, a seed and whether the programme does nothing.
    """

    key: str
    pilot: str
    name: str
    treated: int
    controls: int
    planted: str
    run: Callable[[Design, np.random.Generator, int, bool], Rows]

    def seed(self, number: int, null: bool) -> Rows:
        """What one seed finds."""
        return self.run(self, np.random.default_rng([number, int(null)]), 2 * number + int(null), null)


def kept(found: Estimates, truth: float, measure: str, **more: Any) -> dict[str, Any]:
    """The headline row of the overall effect, with its truth."""
    (row,) = found.headline().to_dict("records")
    return _row(row, truth, measure, **more)


def _row(row: dict[str, Any], truth: float, measure: str, **more: Any) -> dict[str, Any]:
    names = ("estimate", "std_error", "ci_low", "ci_high", "p_value", "inference", "treated_clusters", "clusters", "n")
    return {"measure": measure, "truth": float(truth), **{name: row[name] for name in names}, **more}


def cells_of(frame: pd.DataFrame, layout: Layout, strata: Sequence[str] = ()) -> Cells:
    """Cells of the records, with the region of each cluster."""
    cells = compress(
        pa.Table.from_pandas(frame, preserve_index=False),
        cluster="cluster",
        period="period",
        cohort="first_treated",
        outcomes=["outcome"],
        strata=list(strata),
    )
    return replace(cells, clusters=layout.table[["cluster", "region"]])


def _effects(draw: np.random.Generator, layout: Layout, base: float, each: float, spread: float) -> np.ndarray:
    """The effect in each cluster and period: it differs between clusters and grows with time."""
    since = np.arange(1, layout.periods + 1) - layout.start
    own = base + spread * draw.standard_normal(len(layout.clusters))
    reached = (since >= 0) & layout.treated[:, None]
    return np.where(reached, own[:, None] + each * np.maximum(since, 0), 0.0)


def _layout(
    draw: np.random.Generator, treated: int, controls: int, *, ready: float, schools: int, sizes: tuple[int, int],
    periods: int, start: int,
) -> Layout:  # fmt: skip
    """Treated clusters spread over the regions, the others too; sizes differ and don't change."""
    count = treated + controls
    is_treated = np.arange(count) < treated
    region = np.concatenate([np.arange(treated) % REGIONS, np.arange(controls) % REGIONS])
    return Layout(
        clusters=np.array([f"A{number:03d}" for number in range(count)]),
        region=np.array([f"region {number}" for number in region]),
        treated=is_treated,
        readiness=draw.standard_normal(count) + ready * is_treated,
        schools=schools,
        in_school=draw.integers(*sizes, count),
        periods=periods,
        start=start,
    )


def _truth(layout: Layout, added: np.ndarray, *, by_children: bool) -> float:
    """The effect that was put there, over treated clusters and periods after the start."""
    effects = added[layout.treated][:, layout.start - 1 :].mean(axis=1)
    return float(np.average(effects, weights=layout.in_school[layout.treated] if by_children else None))


def elsec(design: Design, draw: np.random.Generator, seed: int, null: bool) -> Rows:
    """Schools in nine sites and in other sites of the same regions, six years; clusters are sites."""
    layout = _layout(draw, design.treated, design.controls, ready=0, schools=8, sizes=(12, 40), periods=6, start=4)
    shape = Shape(mean=7, level=0.8, shock=0.35, pupil=6, region=0.4, school=0.7, school_shock=0.5)
    added = _effects(draw, layout, -0.8, -0.2, 0.2) * (not null)
    frame = records(draw, layout, shape, np.repeat(added[:, None, :], layout.schools, axis=1))
    cells = cells_of(frame, layout, ["school"])
    found = group_time(cells, weights="children", within="region", permute=False, only=("overall",))
    return [kept(found, _truth(layout, added, by_children=True), "absence, percentage points", records=len(frame))]


def elsec_triple(design: Design, draw: np.random.Generator, seed: int, null: bool) -> Rows:
    """Schools that take part less the others, in areas of the Change Programme with and without ELSEC.

    The whole programme moves all schools of all these areas, and each site's own shocks move all its schools. The
    triple difference is to find what ELSEC adds in the schools that take part, and nothing else.
    """
    layout = _layout(draw, design.treated, design.controls, ready=0, schools=8, sizes=(15, 45), periods=6, start=4)
    shape = Shape(mean=7, level=0.8, shock=0.6, pupil=6, region=0.4, school=0.7, school_shock=0.5)
    kinds = np.where(np.arange(layout.schools) < layout.schools // 2, "takes part", "other")
    own = _effects(draw, layout, -0.9, -0.1, 0.2) * (not null)
    added = own[:, None, :] * (kinds == "takes part")[None, :, None]
    added = added - 0.7 * (np.arange(1, layout.periods + 1) >= layout.start)
    frame = records(draw, layout, shape, added, kinds)
    cells = cells_of(frame, layout, ["kind"])
    found = triple_difference(
        cells,
        stratum="kind",
        group="takes part",
        reference="other",
        method="group_time",
        weights="areas",
        within="region",
        permute=False,
        only=("overall",),
    )
    gap = found.frame[found.frame["stratum"] == "takes part minus other"]
    truth = _truth(layout, own, by_children=False)
    return [kept(Estimates(gap), truth, "gap in absence, percentage points", records=len(frame))]


def apst(design: Design, draw: np.random.Generator, seed: int, null: bool) -> Rows:
    """Pupil-terms in alternative provision schools, three of 150 others matched to each school on its area.

    Schools were chosen in areas with much violence, where absence also moves differently: without matching the effect
    is found wrong.
    """
    layout = _layout(draw, design.treated, 150, ready=READY, schools=1, sizes=(20, 80), periods=12, start=7)
    shape = Shape(mean=35, level=5, shock=2.0, pupil=25, drift=0.15)
    added = _effects(draw, layout, -3.0, -0.2, 0.8) * (not null)
    frame = records(draw, layout, shape, added[:, None, :])
    truth = _truth(layout, added, by_children=True)
    return _matched(cells_of(frame, layout), layout, truth, "absence, percentage points", "children", 3, len(frame))


def tailored(design: Design, draw: np.random.Generator, seed: int, null: bool) -> Rows:
    """Plans with a place in an independent special school, yes or no, like areas matched to each on readiness."""
    layout = _layout(draw, design.treated, design.controls, ready=READY, schools=1, sizes=(40, 160), periods=6, start=5)
    shape = Shape(mean=14, level=3, shock=1.2, drift=0.3, binary=True)
    added = _effects(draw, layout, -4.0, 0.0, 0.5) * (not null)
    frame = records(draw, layout, shape, added[:, None, :])
    truth = _truth(layout, added, by_children=False)
    measure = "plans placed in independent special schools, percentage points"
    nearest = MATCHED[design.treated]
    return _matched(cells_of(frame, layout), layout, truth, measure, "areas", nearest, len(frame))


def _matched(
    cells: Cells, layout: Layout, truth: float, measure: str, weights: Any, nearest: int, rows: int
) -> Rows:  # fmt: skip
    """The effect with matched comparison areas, and with all others for contrast."""
    covariates = layout.table[["cluster", "readiness"]]
    known = profiles(cells, levels="none", slope=False, covariates=covariates, weights=weights)
    group = match(known, nearest=nearest, replacement=False)
    found = []
    for name, each in (("matched", group.apply(cells)), ("all others", cells)):
        # Matched areas come from any region; a start may be dealt to any of them.
        each = replace(each, clusters=each.clusters.drop(columns="region"))  # type: ignore[union-attr]
        made = group_time(each, weights=weights, permute=False, only=("overall",), draws=DRAWS)
        found.append(kept(made, truth, measure, comparison=name, records=rows))
    return found


def durations(plan: EpisodePlan, cases: int) -> tuple[DurationCells, list[dict[str, Any]]]:
    """Duration cells of the cases of a plan, and what is true of them."""
    blocks = list(episodes(plan, cases))
    cells = compress_durations(
        pa.concat_tables([table for table, _ in blocks]),
        unit="case_id",
        clock="decision_date",
        starts=plan.model.starts,
        service="service_date",
        ended="ended",
        event="event",
        causes=list(plan.model.names),
        leaving=[plan.model.lost],
        until=dt.date(1970, 1, 1) + dt.timedelta(days=int(plan.until)),
        period="decision_period",
    )
    return cells, truth_of(plan, sum(treated for _, treated in blocks), HORIZONS)


def _plan(
    design: Design, draw: np.random.Generator, seed: int, null: bool, model: EpisodeModel, **given: int
) -> EpisodePlan:
    """Areas drawn from the current authorities, whose sizes they have; the first ``treated`` start half-way."""
    known = [code for code in read_marginals().authorities if code not in LEAST_AREAS]
    codes = draw.permutation(known)[: design.treated + design.controls]
    return plan_episodes(
        seed=seed,
        model=model,
        areas=[str(code) for code in codes],
        rollout={str(code): 5 for code in codes[: design.treated]},
        periods=8,
        hazard_ratios={} if null else None,
        **given,
    )


def _incidence(cells: DurationCells, truth: list[dict[str, Any]], causes: Sequence[str | None], cases: int) -> Rows:
    unit, known = cells.clock.unit, {}
    for entry in truth:
        cause, at = entry["cause"] or "any event", entry["horizon"]
        name = f"{cause} within {at} {unit}" if entry["kind"] == "share" else f"{unit} until {cause} (of {at})"
        known[name] = entry["by_areas"]
    found = incidence_effects(cells, horizons=HORIZONS, causes=causes, permute=False, only=("overall",), draws=DRAWS)
    return [
        _row(row, known[row["outcome"]], row["outcome"], records=cases) for row in found.headline().to_dict("records")
    ]


def apst_time(design: Design, draw: np.random.Generator, seed: int, null: bool) -> Rows:
    """Time from entering alternative provision until reintegration, against exclusion, leaving at 16 and moving on.

    Authorities stand for schools. A period is a term.
    """
    plan = _plan(design, draw, seed, null, PLACEMENT, months_each=4)
    cells, truth = durations(plan, CASES)
    return _incidence(cells, truth, ["reintegrated"], CASES)


def mediation(design: Design, draw: np.random.Generator, seed: int, null: bool) -> Rows:
    """Time from the appealable decision until agreement, appeal or withdrawal; a period is a quarter."""
    cells, truth = durations(_plan(design, draw, seed, null, MEDIATION), CASES)
    return _incidence(cells, truth, ["agreed"], CASES)


def mediation_hazard(design: Design, draw: np.random.Generator, seed: int, null: bool) -> Rows:
    """The hazards themselves, on cases for which hazards are proportional, as the method takes them to be.

    In all other designs they aren't, so there is no one true ratio to hold them against.
    """
    plain = tuple(replace(cause, groups={}) for cause in MEDIATION.causes)
    plan = _plan(design, draw, seed, null, replace(MEDIATION, causes=plain, common=1e-12))
    cells, _ = durations(plan, CASES)
    found = hazard_effects(cells, horizon=HORIZONS[0], causes=["agreed"], permute=False)
    truth = np.log(plan.kinds.ratios[plan.model.names.index("agreed")])
    return [kept(found, truth, "hazard of agreement, logarithm of the ratio", records=CASES)]


TAILORED = (
    "New plans in {} areas that give families a list of settings, and in 117 others. The list cuts the share placed in "
    "independent special schools, a yes or no for each plan, by 4 percentage points on average, more or less in each "
    "area. Areas get the list because they are ready for it, and in ready areas the share moves by another course. "
    "{} areas that are as ready are matched to each."
)
MEDIATED = (
    "Cases from the appealable decision on, in {} areas with stronger mediation and in {} others. Agreement comes 1.35 "
    "times as fast, appeals 0.8 times, withdrawal as before, and some families move away."
)
DESIGNS = (
    Design(
        "elsec",
        "ELSEC",
        "Schools in nine sites",
        9,
        33,
        "Absence of pupils in eight schools of each of nine sites, one a region, and of 33 other sites. The programme "
        "cuts absence by 0.8 percentage points of sessions in its first year and 0.2 more in each later one, more or "
        "less in each site. Sites and schools have shocks of their own that last, and regions courses of their own.",
        elsec,
    ),
    Design(
        "elsec-triple",
        "ELSEC",
        "Partnership areas with and without the programme",
        9,
        23,
        "Half of the schools take part in nine areas of the Change Programme. All 32 areas get the rest of the Change "
        "Programme, which cuts absence by 0.7 percentage points everywhere, and each area has shocks that move all its "
        "schools. In the schools that take part absence falls by another 0.9 in the first year and 0.1 more in each "
        "later one. The triple difference is to find that alone.",
        elsec_triple,
    ),
    Design(
        "apst",
        "APST",
        "Absence in alternative provision schools",
        22,
        66,
        "Absence of pupils in each term, in 22 schools with a taskforce. It cuts absence by 3 percentage points in its "
        "first term and 0.2 more in each later one, more or less in each school. The schools were chosen in areas in "
        "which absence moves by another course. Three of 150 other schools are matched to each, in like areas.",
        apst,
    ),
    Design(
        "apst-time",
        "APST",
        "Time until return to mainstream",
        22,
        66,
        "Spells from entering alternative provision on, in 22 schools with a taskforce and 66 without. Return to "
        "mainstream comes 1.3 times as fast, exclusion 0.8 times, turning 16 and leaving as before, and some are lost "
        "from sight.",
        apst_time,
    ),
    Design("tl-12", "TL", "Lists in 12 areas", 12, 117, TAILORED.format("twelve", "Three"), tailored),
    Design("tl-5", "TL", "Lists in 5 areas", 5, 117, TAILORED.format("five", "Five"), tailored),
    Design("tl-2", "TL", "Lists in 2 areas", 2, 117, TAILORED.format("two", "Eight"), tailored),
    Design("med-12", "MED", "Mediation in 12 areas", 12, 117, MEDIATED.format("twelve", 117), mediation),
    Design("med-2", "MED", "Mediation in 2 areas", 2, 117, MEDIATED.format("two", 117), mediation),
    Design(
        "med-hazard",
        "MED",
        "Hazards of agreement in 12 areas",
        12,
        40,
        MEDIATED.format("twelve", 40) + " Here hazards are proportional everywhere, as the method takes them to be: "
        "elsewhere they aren't, so there is no one true ratio.",
        mediation_hazard,
    ),
)
