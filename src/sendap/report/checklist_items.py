"""Each item of the design checklist, in words computed from protocol, catalogue, data, results and probes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sendap import __version__
from sendap.errors import DesignError
from sendap.numerals import show
from sendap.periods import period_label
from sendap.protocol import Comparison, series_of
from sendap.report import given_past
from sendap.report import probe_words as words
from sendap.report.context import DIFFERENCES, Evaluated
from sendap.report.tables import ESTIMATOR_WORDS, METHOD_WORDS
from sendap.results import ACROSS, MAIN

REFERENCES: Mapping[str, str] = {
    "group_time": "Callaway and Sant'Anna (2021), doi:10.1016/j.jeconom.2020.12.001",
    "group_time_lagged": "Ding and Li (2019), doi:10.1017/pan.2019.25, for the cohorts and periods of Callaway and "
    "Sant'Anna (2021), doi:10.1016/j.jeconom.2020.12.001",
}
WEIGHTS = {
    "areas": "Every area counts once, because places are what was chosen",
    "children": "Areas count by their children, because children are what matters",
}


def _comparison(evaluated: Evaluated) -> Comparison:
    found = evaluated.protocol.comparison
    if found is None:
        raise DesignError(f"{evaluated.protocol.id} compares nobody, so it has no design to check.")
    return found


def _primary(evaluated: Evaluated) -> pd.DataFrame:
    return evaluated.cells.only(evaluated.protocol.primary.id).frame


def _starts(evaluated: Evaluated) -> pd.Series:
    """First treated periods of the primary outcome and how many clusters have each."""
    frame = _primary(evaluated).drop_duplicates("cluster")
    last = evaluated.cells.only(evaluated.protocol.primary.id).frame["period"].max()
    inside = frame["cohort"][frame["cohort"] <= last]
    return inside.astype(int).value_counts().sort_index()


def _whole(value: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else "[x]"


def _year(evaluated: Evaluated, year: float) -> str:
    _, series = series_of(evaluated.catalog, evaluated.protocol.primary)
    return period_label(int(year), series.period_kind)


def _places(evaluated: Evaluated) -> int:
    return words.places_of(evaluated, evaluated.protocol.primary)


def _probe(evaluated: Evaluated, name: str) -> words.Part:
    return words.part(evaluated, evaluated.protocol.primary, name)


def target(evaluated: Evaluated) -> str:
    if not evaluated.protocol.primary.population.strip():
        return ""
    row = evaluated.headline(evaluated.protocol.primary)
    after = str(row["periods_after"]) or "no period yet"
    return (
        f"The average effect on {_whole(row['treated_clusters'])} treated areas in {after}, on "
        f"{evaluated.protocol.primary.name}. Population: {evaluated.protocol.primary.population}. "
        f"{WEIGHTS[evaluated.protocol.weights]}."
    )


def timing(evaluated: Evaluated) -> str:
    starts, ahead = _starts(evaluated), evaluated.ahead(evaluated.protocol.primary)
    listed = ", ".join(f"{_year(evaluated, year)} ({count} areas)" for year, count in starts.items())
    kind = f"Staggered: {len(starts)} starts" if len(starts) > 1 else "Not staggered: one start"
    partly = (
        f"{ahead} period{'' if ahead == 1 else 's'} before the start count{'s' if ahead == 1 else ''} as partly exposed"
        if ahead
        else "No period before the start counts as partly exposed"
    )
    exposure = evaluated.protocol.exposure
    why = f" {exposure.reason}" if exposure is not None else ""
    return (
        f"{kind}, first treated period {listed or 'after the data'}. {partly}.{why} Each area's dates and their source "
        "are on the data page."
    )


def assignment(evaluated: Evaluated) -> str:
    if not evaluated.protocol.assignment.strip():
        return ""
    shared = evaluated.overlaps
    both = [f"{row.name} ({row.treated_areas})" for row in shared.itertuples() if row.treated_areas]
    also = (
        f"In other programmes at the same time: {', '.join(both)}" if both else "No area was in another known programme"
    )
    return f"{evaluated.protocol.assignment} {also}."


def comparison(evaluated: Evaluated) -> str:
    found, row = _comparison(evaluated), evaluated.headline(evaluated.protocol.primary)
    if not found.rule.strip():
        return ""
    count = _whole(row["clusters"] - row["treated_clusters"])
    out = [f"{evaluated.catalog.places.name_of(each.la_code)} ({each.reason.lower()})" for each in found.exclude]
    gone = f"Left out: {'; '.join(out)}" if out else "None was left out by the protocol"
    rule = (
        "Areas that start later are compared until then" if found.control == "not_yet" else "Never treated areas only"
    )
    return f"{found.rule} {rule}. {count} areas are compared. {gone}."


def parallel(evaluated: Evaluated) -> str:
    within = _comparison(evaluated).within
    where = f"inside each {within}" if within else "across the country"
    gap = evaluated.raw_means(evaluated.protocol.primary).dropna()
    early = gap[gap["period"] < _primary(evaluated)["cohort"].min() - evaluated.ahead(evaluated.protocol.primary)]
    shared = (
        "Areas of a region share funding rounds, regional bodies and the pandemic,"
        if within
        else "All areas share national rules, funding rounds and the pandemic,"
    )
    plain = "the years before hold no figure of both groups."
    if len(early):
        last = early.iloc[-1]
        plain = (
            f"in {_year(evaluated, last['period'])} programme areas stood at {show(last['treated'], 1)} and others at "
            f"{show(last['comparison'], 1)}."
        )
    if evaluated.given_past(evaluated.protocol.primary):
        return given_past.assumption_words(where, shared, plain)
    return (
        f"Assumed in levels, {where}, without covariates: areas would have moved by the same amount. {shared} which "
        f"makes that plausible. Being chosen makes it less so: {plain}"
    )


def raw_series(evaluated: Evaluated) -> str:
    frame = evaluated.raw_means(evaluated.protocol.primary).dropna()
    if frame.empty:
        return "On the data page, though no period has figures of both groups."
    first, last = frame.iloc[0], frame.iloc[-1]
    apart = [show(row["treated"] - row["comparison"], 1) for row in (first, last)]
    return (
        f"On the data page, unadjusted, for all {len(evaluated.protocol.outcomes)} outcomes. For the primary, "
        f"programme areas differ from others by {apart[0]} in {_year(evaluated, first['period'])} and {apart[1]} in "
        f"{_year(evaluated, last['period'])}."
    )


def trends(evaluated: Evaluated) -> str:
    primary = evaluated.protocol.primary
    trend, power = evaluated.trends.get(primary.id), _probe(evaluated, "power")
    if trend is None or trend.periods == 0:
        text = "Too few years or areas before the start to test."
    elif trend.lags:
        text = given_past.earlier_words(evaluated, primary, trend)
    else:
        text = (
            f"Joint test of {trend.periods} periods: p = {trend.p_value:.2f}, largest difference "
            f"{words.size(evaluated, primary, trend.largest)}. No area was dropped to make it pass."
        )
    if "slope_50" in power:
        half, most = (words.size(evaluated, primary, power[name]) for name in ("slope_50", "slope_80"))
        it = "It" if trend is None or not trend.lags else "The test of the difference in differences"
        return (
            f"{text} {it} finds a drift of {half} a year half of the time and {most} four times in five. A pass is no "
            "proof."
        )
    return f"{text} Its power can't be told: {words.reason(power, primary)}"


def anticipation(evaluated: Evaluated) -> str:
    primary, places = evaluated.protocol.primary, words.places_of(evaluated, evaluated.protocol.primary)
    if evaluated.given_past(primary):
        shown = "The last two unexposed periods are the same by design, so they have no difference to show. "
        return shown + given_past.partly_exposed_words(evaluated) + words.anticipation_words(evaluated, primary)
    rows = evaluated.rows(primary, estimator=DIFFERENCES, term="event", contrast=MAIN).set_index("event_time")
    near = [
        f"{show(rows.loc[time, 'estimate'], places)} at {show(time, 0)}" for time in (-2.0, -1.0) if time in rows.index
    ]
    shown = f"Differences just before the start: {', '.join(near)} (the base is zero by definition). " if near else ""
    return shown + words.anticipation_words(evaluated, primary)


def spillover(evaluated: Evaluated) -> str:
    said = words.donut_words(evaluated, evaluated.protocol.primary)
    return f"{said} Shared schools and health boards aren't in the data."


def covariates(evaluated: Evaluated) -> str:
    within, primary = _comparison(evaluated).within, evaluated.protocol.primary
    past = evaluated.given_past(primary)
    if within is None and not past:
        return "None: the protocol names none. So there is no estimate with and without."
    rows, places = evaluated.rows(primary, estimator=evaluated.lead(primary), term="overall"), _places(evaluated)
    across = rows.loc[rows["contrast"] == ACROSS, "estimate"]
    main = show(evaluated.headline(primary)["estimate"], places)
    beside = f", without the {within} {show(across.iloc[0], places)}" if within and len(across) else ""
    if past:
        used = f"The {within} and the" if within else "The"
        plain = show(evaluated.differences(primary)["estimate"], places)
        return (
            f"{used} outcome itself in the last two unexposed periods, all from before treatment. With them the "
            f"estimate is {main}, without the past {plain}{beside}."
        )
    return f"The {within} only, fixed before treatment. With it the estimate is {main}{beside}."


def estimator(evaluated: Evaluated) -> str:
    primary = evaluated.protocol.primary
    name = evaluated.lead(primary)
    beside = evaluated.rows(primary, estimator="two_way", term="overall", contrast=MAIN)
    places, weights = words.places_of(evaluated, primary), _probe(evaluated, "weights")
    two_way = (
        f" Two-way fixed effects beside it: {show(beside['estimate'].iloc[0], places)}."
        if len(beside) and np.isfinite(beside["estimate"].iloc[0])
        else " Two-way fixed effects couldn't be estimated."
    )
    share = ""
    if "cells" in weights:
        share = f" It gives {weights['negative']} of {weights['cells']} treated areas and periods a negative weight."
    return (
        f"{ESTIMATOR_WORDS.get(name, name).capitalize()}, {REFERENCES.get(name, 'see the methods page')}; sendap "
        f"{__version__}.{two_way}{share}"
    )


def overlap(evaluated: Evaluated) -> str:
    row = evaluated.headline(evaluated.protocol.primary)
    effective = row["effective_clusters"]
    shown = f"{effective:.0f} effective areas" if np.isfinite(effective) else "effective areas not computed"
    regions = evaluated.cells.clusters
    past = given_past.overlap_words(evaluated) if evaluated.given_past(evaluated.protocol.primary) else ""
    if _comparison(evaluated).within is None or regions is None or "region" not in regions.columns:
        none = past or "No covariates, so no propensity and no trimming."
        return f"{none} {shown.capitalize()} of {_whole(row['clusters'])}."
    frame = _primary(evaluated).drop_duplicates("cluster")
    where = regions.set_index("cluster")["region"]
    counts = frame.assign(region=frame["cluster"].map(where), treated=frame["cohort"].notna())
    table_of = counts.groupby("region")["treated"].agg(["sum", "size"])
    table_of = table_of[table_of["sum"] > 0]
    least = (table_of["size"] - table_of["sum"]).sort_values()
    must = past or "No covariates, so no propensity and no trimming; what must overlap is the region."
    return (
        f"{must} The {len(table_of)} regions with treated areas hold from {least.iloc[0]} ({least.index[0]}) to "
        f"{least.iloc[-1]} ({least.index[-1]}) others to compare with. {shown.capitalize()} of "
        f"{_whole(row['clusters'])}."
    )


def composition(evaluated: Evaluated) -> str:
    current = [each.heading for each in evaluated.outcomes if each.current_sen_population]
    said = words.composition_words(evaluated, evaluated.protocol.primary)
    if not current:
        return f"{said} No outcome is limited to pupils who have SEN now."
    return (
        f"{said} {len(current)} outcome{'s are' if len(current) > 1 else ' is'} of pupils who have SEN now, whom the "
        f"programme may change, and so {'are' if len(current) > 1 else 'is'} exploratory only."
    )


def form(evaluated: Evaluated) -> str:
    return words.forms_words(evaluated, evaluated.protocol.primary)


def inference(evaluated: Evaluated) -> str:
    row = evaluated.headline(evaluated.protocol.primary)
    frame = evaluated.estimates
    others = frame[
        (frame["outcome"] == evaluated.protocol.primary.id)
        & (frame["estimator"] == evaluated.lead(evaluated.protocol.primary))
        & (frame["term"] == "overall")
        & (frame["contrast"] == MAIN)
        & ~frame["headline"]
    ]
    listed = [METHOD_WORDS.get(name, name) for name in others["inference"].unique()]
    second = f"second: {', '.join(listed)}" if listed else "no second method is valid"
    effective = row["effective_clusters"]
    count = f", {effective:.0f} effective" if np.isfinite(effective) else ""
    method = METHOD_WORDS.get(row["inference"], row["inference"])
    return (
        f"{_whole(row['clusters'])} areas, {_whole(row['treated_clusters'])} treated{count}. Headline: {method}; "
        f"{second}. The number of treated areas decides the method."
    )


def drift(evaluated: Evaluated) -> str:
    found = _probe(evaluated, "robust")
    if "sets" not in found:
        return f"Not estimable: {words.reason(found, evaluated.protocol.primary)}"
    places = words.places_of(evaluated, evaluated.protocol.primary)
    relative = words.number(found["breakdown_relative"], 2)
    smooth = words.number(found["breakdown_smooth"], places)
    relative = f"not estimable ({found['note']})" if found["breakdown_relative"] is None else relative
    line = words.drift_words(evaluated, evaluated.protocol.primary)
    return (
        f"Rambachan and Roth (2023). Breakdown by relative magnitudes: {relative}; by smoothness: {smooth}. 0 means "
        f"that the interval includes no change even with no drift. {line}"
    )


def placebos(evaluated: Evaluated) -> str:
    primary = evaluated.protocol.primary
    dates = _probe(evaluated, "placebo")
    if "rows" in dates:
        known = [row for row in dates["rows"] if row["ci_low"] is not None]
        moved = sum(row["ci_low"] > 0 or row["ci_high"] < 0 for row in known)
        said = f"Fake dates: {moved} of {len(known)} intervals exclude no change."
    else:
        said = f"Fake dates: {words.reason(dates, primary)}"
    return (
        f"{said} Fake programmes: {words.groups_words(evaluated, primary)} Untreated outcomes: "
        f"{words.outcomes_words(evaluated, primary)} Single areas: {words.influence_words(evaluated, primary)}"
    )


def heterogeneity(evaluated: Evaluated) -> str:
    primary = evaluated.protocol.primary
    places = words.places_of(evaluated, primary)
    lead = evaluated.lead(primary)
    groups = evaluated.rows(primary, estimator=lead, term="group", contrast=MAIN)
    events = evaluated.rows(primary, estimator=lead, term="event", contrast=MAIN)
    after = events[events["event_time"] >= 0]

    def listed(rows: pd.DataFrame, column: str) -> str:
        return ", ".join(
            f"{show(value, places)} ({show(at, 0) if column == 'event_time' else _year(evaluated, at)})"
            for value, at in zip(rows["estimate"], rows[column], strict=True)
        )

    by_start = f"By start: {listed(groups, 'cohort')}." if len(groups) > 1 else "By start: there is one."
    by_year = (
        f"By years since: {listed(after, 'event_time')}." if len(after) > 1 else "By years since: there is one year."
    )
    return (
        f"{by_start} {by_year} {words.regions_words(evaluated, primary)} By group of children: the cells hold "
        f"{', '.join(evaluated.cells.strata) or 'no groups'}. Nothing is shrunk, so the extremes of small groups are "
        "overstated."
    )


def guards(evaluated: Evaluated) -> str:
    found = [
        f"{outcome.guard.concern}: margin {outcome.guard.margin:g}, {evaluated.guard(outcome)[0]}"
        for outcome in evaluated.of_family("guard")
        if outcome.guard is not None
    ]
    return "; ".join(found) + "." if found else "The protocol names no guard."


def detectable(evaluated: Evaluated) -> str:
    primary = evaluated.protocol.primary
    row, places = evaluated.headline(primary), words.places_of(evaluated, primary)
    after = (
        f"After: values outside {words.span(row['ci_low'], row['ci_high'], places)} are ruled out."
        if np.isfinite([row["ci_low"], row["ci_high"]]).all()
        else "After: no interval, so nothing is ruled out."
    )
    least = (
        "" if primary.smallest_effect is None else f" The smallest change that matters is {primary.smallest_effect:g}."
    )
    return f"{words.detectable_words(evaluated, primary)} {after}{least}"


def deviations(evaluated: Evaluated) -> str:
    count = len(evaluated.protocol.deviations)
    listed = f"{count} recorded, listed below with the result under both." if count else "None is recorded."
    if evaluated.protocol.registered:
        return listed
    return f"{listed} The protocol wasn't registered before outcomes were published, so others can't be ruled out."


def breaks(evaluated: Evaluated) -> str:
    crossed = evaluated.protocol.breaks_crossed
    if not crossed:
        return "The window crosses none of the breaks in the catalogue."
    own = [evaluated.catalog.breaks[name].what for name in evaluated.breaks(evaluated.protocol.primary)]
    touched = f"The primary outcome crosses: {' '.join(own)}" if own else "The primary outcome crosses none of them."
    return f"{len(crossed)} breaks are crossed by some outcome; they are listed below. {touched}"
