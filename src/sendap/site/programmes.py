"""Which areas were in which programme, from when, how we know, and where programmes meet."""

from __future__ import annotations

import pandas as pd

from sendap.catalog import Catalog, Rollout
from sendap.exposure import overlaps
from sendap.report.tables import table
from sendap.site.banners import head
from sendap.site.catalogue import started_words
from sendap.site.markup import anchor, details, facts, front_matter, heading, link, linked_table, paragraph, raw, text

CONFIDENCE = {
    "high": "sure",
    "medium": "fairly sure",
    "low": "not sure",
}
EXPOSURE_FILE = "areas-and-programmes-by-term.csv"


def programmes_page(catalog: Catalog) -> str:
    """Every programme with its areas and sources, the overlaps, and the table of areas by programmes."""
    rollouts = sorted(catalog.rollouts.values(), key=lambda rollout: rollout.name)
    parts = [
        front_matter(title="Which areas were in which programme"),
        head(synthetic=False),
        raw(
            paragraph(
                "One area can be in several programmes at once. Then nobody can tell from figures alone which of them "
                "made a difference, so each report says how many of its areas were also in something else. Where an "
                "area's start isn't sure, the report is made again without it."
            )
        ),
        heading("Where programmes meet", "overlaps"),
        raw(_overlaps(catalog, rollouts)),
        heading("Areas and their programmes", "areas"),
        raw(_areas(catalog, rollouts)),
        *(_programme(catalog, rollout) for rollout in rollouts),
    ]
    return "\n".join(parts)


def _overlaps(catalog: Catalog, rollouts: list[Rollout]) -> str:
    shared: dict[str, dict[str, int]] = {}
    for rollout in rollouts:
        found = overlaps(catalog, rollout.programme, [area.la_code for area in rollout.areas])
        shared[rollout.programme] = dict(zip(found["other"], found["treated_areas"].astype(int), strict=True))
    rows = [
        {
            "Programme": f"{rollout.name} ({rollout.programme})",
            **{
                other.programme: len(rollout.areas)
                if other.programme == rollout.programme
                else shared[rollout.programme][other.programme]
                for other in rollouts
            },
            "List complete": "yes" if rollout.complete else "no",
        }
        for rollout in rollouts
    ]
    note = paragraph(
        "Number of areas in both programmes. The number where a programme meets itself is all its areas. Where a "
        "list isn't complete, more areas may take part than are shown."
    )
    return note + table(pd.DataFrame(rows), "Areas in each pair of programmes")


def _areas(catalog: Catalog, rollouts: list[Rollout]) -> str:
    starts = {
        rollout.programme: {catalog.places.by_code[area.la_code].la_code: area.started for area in rollout.areas}
        for rollout in rollouts
    }
    rows = []
    for place in sorted(catalog.places.current, key=lambda place: place.name):
        own = {programme: begun[place.la_code] for programme, begun in starts.items() if place.la_code in begun}
        if own:
            rows.append(
                {
                    "Area": place.name,
                    "Region": place.region,
                    **{
                        rollout.programme: started_words(own[rollout.programme])
                        if rollout.programme in own
                        else ("no" if rollout.complete else "not listed")
                        for rollout in rollouts
                    },
                }
            )
    outside = len(catalog.places.current) - len(rows)
    summary = f"All {len(rows)} areas that are in at least one programme, with start months"
    note = paragraph(
        f"{len(rows)} areas are in at least one programme of these lists. {outside} are in none. “Not listed” means "
        "that the list isn't complete, so the area may still take part."
    )
    file = f'<p><a href="downloads/{EXPOSURE_FILE}" download>Areas and programmes by school term (CSV)</a></p>'
    return note + file + details(summary, table(pd.DataFrame(rows), "Start month of each area in each programme"))


def _programme(catalog: Catalog, rollout: Rollout) -> str:
    complete = "Yes, all areas are here" if rollout.complete else "No, other areas may take part"
    columns = ("Area", "Start", "Part played", "How sure we are", "Source", "Note")
    rows = [
        [
            text(catalog.places.name_of(area.la_code)),
            text(started_words(area.started)),
            text(area.role or "not stated"),
            text(CONFIDENCE[area.confidence]),
            _source(rollout, area.source),
            text(area.note or "none"),
        ]
        for area in rollout.areas
    ]
    about = {
        "Short name": text(rollout.programme),
        "Areas": text(len(rollout.areas)),
        "Is the list complete": text(complete),
        **({"Ended": text(started_words(rollout.stopped))} if rollout.stopped else {}),
    }
    listing = linked_table(f"Areas of {rollout.name}", columns, rows)
    return "\n".join(
        [
            heading(rollout.name, anchor("programme", rollout.programme)),
            raw(
                paragraph(rollout.description)
                + facts(about)
                + details(f"All {len(rollout.areas)} areas of {rollout.name}, with sources", listing)
            ),
        ]
    )


def _source(rollout: Rollout, name: str) -> str:
    number = list(rollout.sources).index(name) + 1
    host = rollout.sources[name].split("://")[-1].split("/")[0]
    return link(f"Source {number}: {host}", rollout.sources[name])
