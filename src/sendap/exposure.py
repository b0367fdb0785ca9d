"""Who was treated by what, when: cohorts by months of exposure, the area-by-term matrix, overlaps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from sendap.adopters import Adopter
from sendap.catalog import Area, Catalog, Series
from sendap.errors import DesignError
from sendap.periods import Month, Period, period_label
from sendap.protocol import Exposed

Status = Literal["before", "partly", "after"]
TERMS = (("autumn", 9, 12), ("spring", 1, 3), ("summer", 4, 8))


def status(start: Month, window: tuple[Month, Month], rule: Exposed) -> Status:
    """Whether a period lies before, partly in, or after the start of treatment, in months."""
    opens, closes = window
    if closes < start.plus(-rule.anticipation_months):
        return "before"
    months = closes - opens + 1
    exposed = max(0, closes - max(opens, start) + 1)
    since_start = closes - start + 1
    if 2 * exposed >= months and since_start >= rule.minimum_months:
        return "after"
    return "partly"


@dataclass(frozen=True)
class Cohorts:
    """First treated period of each treated area for one outcome, and how many periods before it are partly exposed.

    ``first_treated``: cluster to period, or to the period after the last where none is treated yet.
    ``table``: one row a start month: ``started, areas, first_treated, partly`` and ``months_running``, the months
    that the programme has run by the end of the first treated period.
    """

    first_treated: dict[str, int]
    anticipation: int
    table: pd.DataFrame


def cohorts(adopters: Iterable[Adopter | Area], series: Series, periods: Iterable[int], rule: Exposed) -> Cohorts:
    """Assign each treated area to the first period in which it counts as treated.

    Aligned by months of exposure, never by label: the same start falls into different periods for outcomes
    of calendar, school and financial years, and for counts in January.
    """
    years = sorted(set(periods))
    if not years:
        raise DesignError(
            f"Series '{series.id}' ({series.label}) has no known value, so nobody can be called treated or untreated. "
            "Check its rows in the data folder, or take the outcome out of the protocol."
        )
    span = range(years[0], years[-1] + 2)
    windows = {year: Period(series.period_kind, year).window(series.measured) for year in span}
    first: dict[str, int] = {}
    rows: dict[Month, dict[str, object]] = {}
    anticipation = 0
    for area in sorted(adopters, key=lambda adopter: (adopter.start.index, adopter.cluster)):
        states = {year: status(area.start, windows[year], rule) for year in span}
        treated = next((year for year in span if states[year] == "after"), span[-1])
        partly = [year for year in span if states[year] == "partly" and year < treated]
        first[area.cluster] = treated
        if treated in years:
            # Counted in calendar steps, so that a missing year (no tests in 2020) still lies between.
            anticipation = max(anticipation, treated - min(partly, default=treated))
        row = rows.setdefault(
            area.start,
            {
                "started": area.start.words,
                "areas": 0,
                "first_treated": period_label(treated, series.period_kind) if treated in years else "after the data",
                "partly": ", ".join(period_label(year, series.period_kind) for year in partly) or "none",
                "months_running": windows[treated][1] - area.start + 1 if treated in years else 0,
            },
        )
        row["areas"] = int(row["areas"]) + 1  # type: ignore[call-overload]
    return Cohorts(first, anticipation, pd.DataFrame(list(rows.values())))


def term_of(month: Month) -> tuple[int, int]:
    """The school term of a month: (year in which the school year starts, 0 autumn, 1 spring, 2 summer)."""
    year = month.year if month.month >= 9 else month.year - 1
    for number, (_, first, last) in enumerate(TERMS):
        if first <= month.month <= last:
            return year, number
    raise AssertionError("every month lies in a term")


def term_label(term: tuple[int, int]) -> str:
    return f"{period_label(term[0], 'academic year')} {TERMS[term[1]][0]}"


def exposure_matrix(catalog: Catalog, *, first: str = "2020-09", last: str = "2025-08") -> pd.DataFrame:
    """Areas by terms: which programmes each area was in, as sorted codes joined by ``+``, empty for none.

    Only programmes with a rollout in the catalogue are known. Those whose list is incomplete are marked with
    ``*``, since an area without the mark may still take part.
    """
    opens, closes = term_of(Month.parse(first)), term_of(Month.parse(last))
    terms = [
        (year, number)
        for year in range(opens[0], closes[0] + 1)
        for number in range(3)
        if opens <= (year, number) <= closes
    ]
    found = {area.la_code: dict.fromkeys(terms, "") for area in catalog.places.current}
    for programme, rollout in sorted(catalog.rollouts.items()):
        mark = programme if rollout.complete else f"{programme}*"
        stops = term_of(Month.parse(rollout.stopped)) if rollout.stopped else (9999, 2)
        for area in rollout.areas:
            begins = term_of(area.start)
            for term in terms:
                if begins <= term <= stops:
                    row = found[catalog.places.by_code[area.la_code].la_code]
                    row[term] = f"{row[term]}+{mark}" if row[term] else mark
    matrix = pd.DataFrame.from_dict(found, orient="index", columns=terms)
    matrix.columns = [term_label(term) for term in matrix.columns]
    return matrix.rename_axis("la_code").sort_index()


def overlaps(catalog: Catalog, programme: str, own: Iterable[str]) -> pd.DataFrame:
    """How many areas of a programme, ``own``, were ever in each other programme, and which.

    Columns ``other, name, complete, treated_areas, other_areas, areas``: ``treated_areas`` are areas of the
    programme that are also in the other, ``other_areas`` the other's areas outside it, which would otherwise
    stand among the comparison areas.
    """
    own = set(own)
    rows = []
    for other, rollout in sorted(catalog.rollouts.items()):
        if other == programme:
            continue
        theirs = {area.la_code for area in rollout.areas}
        both = sorted(own & theirs)
        rows.append(
            {
                "other": other,
                "name": rollout.name,
                "complete": rollout.complete,
                "treated_areas": len(both),
                "other_areas": len(theirs - own),
                "areas": ", ".join(catalog.places.name_of(code) for code in both),
            }
        )
    return pd.DataFrame(rows, columns=["other", "name", "complete", "treated_areas", "other_areas", "areas"])
