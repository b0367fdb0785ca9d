"""Every estimate that a protocol asks for, from its cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from sendap.adopters import Adopters
from sendap.catalog import Catalog
from sendap.cells import Cells
from sendap.effects import event_study, group_time, two_way
from sendap.effects_designs import local_projections, stacked
from sendap.effects_more import extended_two_way, imputation, sun_abraham, synthetic_did, two_stage
from sendap.errors import DesignError
from sendap.inference.multiplicity import ADJUSTMENT_WORDS, adjust_family
from sendap.probe import TrendCheck, base_years, check_trends
from sendap.protocol import Outcome, Protocol
from sendap.results import ACROSS, APART, MAIN, SINGLE, SURE, WIDER, Estimates, tidy
from sendap.runs.compared import comparison_groups
from sendap.runs.leading import DIFFERENCES, Lead, lead_of

Progress = Callable[[str], None]
_ESTIMATOR = {"base_years": "two_by_two", "_synthetic": "synthetic_did"}
OVERALL: dict[str, Any] = {"permute": False, "only": ("overall",)}
ALTERNATIVES: tuple[tuple[Callable[..., Estimates], dict[str, Any]], ...] = (
    (two_way, {}),
    (event_study, {}),
    (imputation, OVERALL),
    (two_stage, OVERALL),
    (sun_abraham, OVERALL),
    (extended_two_way, OVERALL),
    (stacked, OVERALL),
    (local_projections, OVERALL),
)


FOR_EXPLORATORY = ("two_way", "event_study")
"""No claim rests on exploratory outcomes: the headline and the years before and after are enough for them."""


def estimate_all(
    cells: Cells, protocol: Protocol, catalog: Catalog, neighbours: pd.DataFrame | None = None
) -> tuple[Estimates, dict[str, TrendCheck]]:
    """Headline, alternatives and sensitivity for every outcome, and the check of earlier trends.

    ``neighbours``: the published statistical neighbours of areas, where they are there. An outcome that can't be
    estimated gives a row that says why; it never stops the others.
    """
    results: list[Estimates] = []
    headlines: dict[str, Estimates] = {}
    trends: dict[str, TrendCheck] = {}
    for outcome in protocol.outcomes:
        own = cells.only(outcome.id)
        lead = lead_of(own, protocol, _anticipation(own, outcome))
        main = _headline(own, protocol, outcome, lead)
        found = [_noted(main, lead.instead) if lead.instead else main]
        if main.parts:
            headlines[outcome.id] = main
            trends[outcome.id] = check_trends(main.parts[lead.name], _anticipation(own, outcome))
            if lead.name != DIFFERENCES.name:
                found.append(_headline(own, protocol, outcome, DIFFERENCES, permute=False, band=False))
            found += _alternatives(own, protocol, outcome)
            if outcome.family != "exploratory":
                found += _sensitivity(own, protocol, outcome, catalog, lead)
        if main.parts and outcome.id == protocol.primary.id:
            found += _compared(own, protocol, outcome, neighbours)
        results.append(_labelled(Estimates.concat(found), outcome))
    combined = Estimates.concat(results).with_columns(pilot=protocol.id, synthetic=cells.synthetic)
    return Estimates(_adjusted(combined.frame, headlines, protocol, cells)), trends


def _anticipation(cells: Cells, outcome: Outcome) -> int:
    return int(cells.metadata["anticipation"][outcome.id])  # type: ignore[index]


def _common(cells: Cells, protocol: Protocol, outcome: Outcome) -> dict[str, Any]:
    return {
        "weights": protocol.weights,
        "anticipation": _anticipation(cells, outcome),
        "seed": protocol.seed,
        "draws": protocol.draws,
    }


def _headline(cells: Cells, protocol: Protocol, outcome: Outcome, lead: Lead, **options: Any) -> Estimates:
    assert protocol.comparison is not None
    return _attempt(
        lead.estimator,
        cells,
        MAIN,
        control=protocol.comparison.control,
        within=protocol.comparison.within,
        **{"band": True, **_common(cells, protocol, outcome), **options},
    )


def _noted(found: Estimates, said: str) -> Estimates:
    return found.with_columns(note=[f"{note} {said}".strip() for note in found.frame["note"]])


def _labelled(found: Estimates, outcome: Outcome) -> Estimates:
    labelled = found.with_columns(family=outcome.family, population=outcome.population, stratum="all")
    if outcome.family != "exploratory":
        return labelled
    ok = labelled.frame["status"] == "ok"
    return Estimates(labelled.frame.assign(status=labelled.frame["status"].mask(ok, "exploratory")))


def _attempt(call: Callable[..., Estimates], cells: Cells, contrast: str, **arguments: Any) -> Estimates:
    """An estimator on the cells of one outcome, or the row that says why it can't be applied."""
    try:
        return call(cells, contrast=contrast, **arguments)
    except DesignError as error:
        return _not_estimable(cells, contrast, _ESTIMATOR.get(call.__name__, call.__name__), str(error))


def _not_estimable(cells: Cells, contrast: str, estimator: str, reason: str) -> Estimates:
    (name,) = cells.outcomes
    row = {
        "outcome": name,
        "contrast": contrast,
        "estimator": estimator,
        "term": "overall",
        "inference": "none",
        "unit": cells.outcomes[name].unit,
        "status": "not_estimable",
        "headline": True,
        "note": reason,
    }
    return Estimates(tidy([row]))


def _alternatives(cells: Cells, protocol: Protocol, outcome: Outcome) -> list[Estimates]:
    assert protocol.comparison is not None
    common, within = _common(cells, protocol, outcome), protocol.comparison.within
    found = [
        _attempt(call, cells, MAIN, within=within, **{**common, **options})
        for call, options in ALTERNATIVES
        if call.__name__ in protocol.alternatives
        and (outcome.family != "exploratory" or call.__name__ in FOR_EXPLORATORY)
    ]
    if outcome.family == "exploratory":
        return found
    if "synthetic_did" in protocol.alternatives:
        found.append(_attempt(_synthetic, cells, MAIN, seed=protocol.seed))
    if "two_by_two" in protocol.alternatives:
        frame = cells.frame
        starts = frame["cohort"].dropna()
        before = sorted(int(year) for year in frame["period"].unique() if year < starts.min() - common["anticipation"])
        after = int(frame["period"].max())
        found.append(
            _attempt(base_years, cells, SINGLE, before=before, after=after, weights=common["weights"], within=None)
        )
    return found


def _synthetic(cells: Cells, *, contrast: str, seed: int) -> Estimates:
    """Synthetic difference in differences on the areas without a gap, which it needs; the note counts the others."""
    seen = cells.frame[cells.frame["n_observed"] > 0].groupby("cluster")["period"].nunique()
    complete = seen[seen == cells.frame["period"].nunique()].index
    gaps = frozenset(set(cells.frame["cluster"]) - set(complete))
    found = synthetic_did(cells.without_clusters(gaps) if gaps else cells, contrast=contrast, seed=seed)
    said = f"Areas with a gap left out: {len(gaps)}." if gaps else ""
    return _noted(found, said)


def left_out(cells: Cells, protocol: Protocol, catalog: Catalog) -> dict[str, frozenset[str]]:
    """Sets of clusters that a sensitivity run leaves out, by the words of its contrast."""
    adopters: Any = cells.metadata["adopters"]
    others = {
        area.la_code
        for programme in protocol.overlaps
        if programme in catalog.rollouts
        for area in catalog.rollout(programme).areas
    }
    unsure = Adopters.of_content(protocol.programme, adopters).unsure
    found = {SURE: frozenset(unsure), APART: frozenset(others) & set(cells.frame["cluster"])}
    return {words: clusters for words, clusters in found.items() if clusters}


def _sensitivity(cells: Cells, protocol: Protocol, outcome: Outcome, catalog: Catalog, lead: Lead) -> list[Estimates]:
    """The overall effect again under other choices of areas and base; only its overall term is kept."""
    assert protocol.comparison is not None
    common, within = _common(cells, protocol, outcome), protocol.comparison.within
    plans: list[tuple[str, Cells, dict[str, Any]]] = [(ACROSS, cells, {"within": None})] if within else []
    for words, clusters in left_out(cells, protocol, catalog).items():
        plans.append((words, cells.without_clusters(clusters), {"within": within}))
    plans.append((WIDER, cells, {"within": within, "anticipation": common["anticipation"] + 1}))
    fixed = {"control": protocol.comparison.control, **OVERALL}
    return [
        Estimates(_attempt(lead.estimator, subset, contrast, **{**common, **fixed, **change}).headline())
        for contrast, subset, change in plans
    ]


def _compared(cells: Cells, protocol: Protocol, outcome: Outcome, neighbours: pd.DataFrame | None) -> list[Estimates]:
    """The overall effect against comparison areas that were chosen because they were alike before the start."""
    assert protocol.comparison is not None
    common = {**_common(cells, protocol, outcome), **OVERALL, "control": protocol.comparison.control}
    found = []
    for words, group in comparison_groups(cells, protocol, outcome, neighbours).items():
        if isinstance(group, str):
            found.append(_not_estimable(cells, words, "group_time", group))
        else:
            estimates = _attempt(group_time, group.apply(cells), words, **common)
            found.append(Estimates(group.noted(estimates).headline()))
    return found


def _adjusted(frame: pd.DataFrame, headlines: dict[str, Estimates], protocol: Protocol, cells: Cells) -> pd.DataFrame:
    """p-values of the headline effects, adjusted within each family by the family's own rule."""
    leading = frame["outcome"].map({name: next(iter(found.parts)) for name, found in headlines.items()})
    headline = (
        (frame["estimator"] == leading) & (frame["term"] == "overall") & (frame["contrast"] == MAIN) & frame["headline"]
    )
    table = cells.clusters
    regions = None
    if table is not None and "region" in table.columns:
        regions = dict(zip(table["cluster"], table["region"].astype(str), strict=True))
    frame = frame.copy()
    for family in ("primary", "secondary", "guard", "exploratory"):
        members = {
            outcome.id: headlines[outcome.id]
            for outcome in protocol.outcomes
            if outcome.family == family and outcome.id in headlines
        }
        if not members:
            continue
        adjusted = adjust_family(family, members, regions=regions, draws=protocol.draws, seed=protocol.seed)
        for row in adjusted.to_dict("records"):
            chosen = headline & (frame["outcome"] == row["member"])
            frame.loc[chosen, "p_adjusted"] = row["p_adjusted"]
            if row["adjustment"] != "none":
                said = f" Adjusted p-value: {ADJUSTMENT_WORDS[row['adjustment']]}."
                frame.loc[chosen, "note"] = (frame.loc[chosen, "note"] + said).str.strip()
    return frame
