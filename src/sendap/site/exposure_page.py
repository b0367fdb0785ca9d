"""Which areas were in which programmes, term by term: a heat-map for each region, and the same as a table in words."""

from __future__ import annotations

import base64
import io
from functools import lru_cache

import pandas as pd

from sendap.catalog import Catalog
from sendap.exposure import exposure_matrix
from sendap.report.exposure_figure import areas_heat_map, programmes_heat_map, shade
from sendap.site.banners import head
from sendap.site.markup import anchor, details, front_matter, heading, linked_table, paragraph, raw, text
from sendap.site.programmes import EXPOSURE_FILE

JOINED = "+"
NOBODY = "none"


def exposure_page(catalog: Catalog) -> str:
    """The matrix of areas by terms, areas in the order of the alphabet inside their regions."""
    matrix = exposure_matrix(catalog)
    regions = sorted({place.region for place in catalog.places.current})
    incomplete = any(not rollout.complete for rollout in catalog.rollouts.values())
    parts = [
        front_matter(title="Areas and programmes, term by term"),
        head(synthetic=False),
        raw(_introduction(catalog, matrix, incomplete=incomplete)),
        heading("Each programme", "by-programme"),
        raw(areas_heat_map(_by_programme(catalog, matrix), name="areas-by-programme-and-term").html().html),
        raw(_legend(catalog)),
        *(_region(region, catalog, matrix) for region in regions),
    ]
    return "\n".join(parts)


def codes_in(cell: str) -> list[str]:
    """The programmes of one cell of the matrix."""
    return cell.split(JOINED) if cell else []


def _introduction(catalog: Catalog, matrix: pd.DataFrame, *, incomplete: bool) -> str:
    most = matrix.map(lambda cell: len(codes_in(cell))).max(axis=1)
    star = " A star marks a programme whose list isn't complete: an area without it may still take part."
    return (
        paragraph(
            "Before a programme's effect is looked for, everything else that its areas were in has to be known. Here "
            "each area is shown with its programmes in each school term. Where several meet, figures alone can't tell "
            "which of them made a difference.",
            f"Of {len(matrix)} areas, {int((most > 0).sum())} were in at least one of these programmes, and "
            f"{int((most > 1).sum())} in two or more at once. An area counts in a term if the programme had begun by "
            "the end of it and hadn't stopped before it." + (star if incomplete else ""),
        )
        + '<p><a href="programmes.html">Start months, sources and how sure they are</a></p>'
        + f'<p><a href="downloads/{EXPOSURE_FILE}" download>The whole table (CSV)</a></p>'
    )


def _by_programme(catalog: Catalog, matrix: pd.DataFrame) -> pd.DataFrame:
    """Number of areas by programme (its code, with the star) and term."""
    codes = [code if rollout.complete else f"{code}*" for code, rollout in sorted(catalog.rollouts.items())]
    return pd.DataFrame(
        {term: [int(matrix[term].map(lambda cell, c=code: c in codes_in(cell)).sum()) for code in codes]
         for term in matrix.columns},
        index=codes,
    )  # fmt: skip


def _legend(catalog: Catalog) -> str:
    rows = [
        [
            text(code if rollout.complete else f"{code}*"),
            f'<a href="programmes.html#{anchor("programme", code)}">{text(rollout.name)}</a>',
            text(len(rollout.areas)),
            "yes" if rollout.complete else "no",
        ]
        for code, rollout in sorted(catalog.rollouts.items())
    ]
    return linked_table("Programmes and their short names", ("Short name", "Programme", "Areas", "List complete"), rows)


def _region(region: str, catalog: Catalog, matrix: pd.DataFrame) -> str:
    places = sorted((place for place in catalog.places.current if place.region == region), key=lambda each: each.name)
    own = matrix.loc[[place.la_code for place in places]].set_axis([place.name for place in places])
    counts = own.map(lambda cell: len(codes_in(cell)))
    picture = _picture(region, tuple(own.index), tuple(own.columns), tuple(map(tuple, counts.to_numpy().tolist())))
    caption = f"{region}: programmes of each area by school term"
    rows = [
        [text(name), *(_cell(cell) for cell in cells)]
        for name, cells in zip(own.index, own.to_numpy(dtype=object), strict=True)
    ]
    listing = linked_table(caption, ("Area", *own.columns), rows)
    return "\n".join(
        [
            heading(f"{region} ({len(places)} areas)", anchor("region", region)),
            raw(picture + details(f"Table: which programmes, {region}", f'<div class="sendap-heat">{listing}</div>')),
        ]
    )


def _cell(cell: str) -> str:
    codes = codes_in(cell)
    words = "<br>".join(text(code) for code in codes) or NOBODY
    return f'<span class="sendap-heat-{shade(len(codes))}">{words}</span>'


@lru_cache(maxsize=32)
def _picture(region: str, areas: tuple[str, ...], terms: tuple[str, ...], counts: tuple[tuple[int, ...], ...]) -> str:
    """The heat-map of a region, whose table stands beside it. Drawing takes long, and the same lists draw the same."""
    frame = pd.DataFrame(counts, index=list(areas), columns=list(terms))
    figure = programmes_heat_map(frame, place=region, name=anchor("programmes", region))
    drawn = io.BytesIO()
    # There are nine on one page, so they're kept small. Without software and date, the same lists give the same bytes.
    figure.canvas.savefig(drawn, format="png", dpi=100, metadata={"Software": None}, pil_kwargs={"compress_level": 9})
    image = base64.b64encode(drawn.getvalue()).decode()
    return (
        '<figure class="sendap-figure"><p class="sendap-figure-title">'
        f"<strong>{text(figure.title)}</strong></p>"
        f'<img alt="{text(figure.alt)}" src="data:image/png;base64,{image}">'
        f"<figcaption>{text(figure.caption)}</figcaption></figure>"
    )
