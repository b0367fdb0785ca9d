"""England's local authorities as equal tiles in blocks of their regions: a map on which no area is larger than another.

The layout is our own: each region is a block, placed roughly where the region lies, and its areas stand in it in the
order of the alphabet, never of their figures.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.patches import Patch, Rectangle

from sendap.disparity.funnel import FAR_BEYOND
from sendap.numerals import show
from sendap.report.disparity_figures import Said
from sendap.report.disparity_tables import UNSURE
from sendap.report.figures import Figure, canvas

BLOCKS: dict[str, tuple[int, int, int]] = {
    "North East": (6, 0, 4),
    "North West": (0, 2, 5),
    "Yorkshire and The Humber": (6, 5, 4),
    "East Midlands": (6, 11, 4),
    "West Midlands": (0, 9, 5),
    "East of England": (11, 11, 4),
    "South West": (0, 14, 5),
    "London": (11, 16, 6),
    "South East": (6, 16, 4),
}
"""Column and row of a region's first tile, and how many tiles wide its block is."""

SHADES = (("#BFDDF5", "black"), ("#5694CA", "black"), ("#12436D", "white"))
UNKNOWN_SHADE = ("#E3E3E3", "black")


def placed(areas: pd.DataFrame) -> pd.DataFrame:
    """``column, row`` for each area. ``areas``: name, region; an area of another region is left out."""
    parts = []
    for region, (column, row, width) in BLOCKS.items():
        inside = areas[areas["region"] == region].sort_values("name").reset_index(drop=True)
        at = np.arange(len(inside))
        parts.append(inside.assign(column=column + at % width, row=row + at // width))
    return pd.concat(parts, ignore_index=True)


def short_names(names: pd.Series) -> pd.Series:
    """Four letters for each name, so that a reader finds an area in its block; the table has the names in full."""
    words = names.str.replace(r"[^A-Za-z ]", " ", regex=True).str.split()
    small = {"and", "of", "upon", "the", "on", "in", "with", "City", "County"}

    def letters(parts: list[str]) -> str:
        kept = [part for part in parts if part not in small] or parts
        return kept[0][:4] if len(kept) == 1 else kept[0][:2] + kept[1][:2]

    return words.map(letters)


def tile_figure(areas: pd.DataFrame, said: Said, *, title: str) -> Figure:
    """Each area's shrunken rate.

    ``areas``: ``name, region, n, rate, shrunk, shrunk_low, shrunk_high, position, status``.
    """
    drawing, axes = canvas(width=8.4, height=11.2, synthetic=said.synthetic)
    tiles = placed(areas)
    known = tiles["shrunk"].dropna()
    cuts = np.quantile(known, [1 / 3, 2 / 3])
    for tile, short in zip(tiles.itertuples(), short_names(tiles["name"]), strict=True):
        sure = bool(np.isfinite(tile.shrunk))
        shade, ink = SHADES[int(np.searchsorted(cuts, tile.shrunk, side="right"))] if sure else UNKNOWN_SHADE
        axes.add_patch(Rectangle((tile.column, tile.row), 0.94, 0.94, facecolor=shade, edgecolor="white"))
        mark = "*" if tile.position == FAR_BEYOND else ""
        value = f"{show(tile.shrunk, 1 if known.max() < 20 else 0)}{mark}" if sure else UNSURE
        axes.text(tile.column + 0.47, tile.row + 0.33, short, ha="center", va="center", fontsize=7.5, color=ink)
        axes.text(tile.column + 0.47, tile.row + 0.67, value, ha="center", va="center", fontsize=8.5, color=ink,
                  weight="bold")  # fmt: skip
    for region, (column, row, _) in BLOCKS.items():
        axes.text(column, row - 0.12, region, fontsize=9.5, weight="bold", va="bottom")
    axes.set_xlim(-0.1, 17.1)
    axes.set_ylim(tiles["row"].max() + 1.2, -0.8)
    axes.set_aspect("equal")
    axes.axis("off")
    at = 1 if known.max() < 20 else 0
    low, high = (show(value, at) for value in cuts)
    words = (f"under {low} per cent", f"{low} to {high} per cent", f"over {high} per cent")
    handles = [
        Patch(facecolor=shade, edgecolor="#6B6B6B", label=text) for (shade, _), text in zip(SHADES, words, strict=True)
    ]
    axes.legend(handles=handles, loc="upper right", frameon=False, fontsize=10, bbox_to_anchor=(1.0, 1.0))
    lowest, highest = known.min(), known.max()
    text = (
        f"{said.measure}: {len(known)} areas as equal tiles in their regions, from {show(lowest, 1)} to "
        f"{show(highest, 1)} per cent once drawn towards the mean."
    )
    caption = said.caption(
        "Each tile is an area, in its region's block and in the order of the alphabet. The figure is its rate, drawn "
        "towards England's by as much as it is unsure. A star: further from England's rate than chance and ordinary "
        "variation explain (99.8% limits). Blocks lie roughly where regions do. "
        f"{UNSURE}: fewer than ten children."
    )
    shown = pd.DataFrame(
        {
            "Area": areas["name"],
            "Region": areas["region"],
            "Children": areas["n"],
            "Per cent": areas["rate"].round(1),
            "Drawn to the mean": areas["shrunk"].round(1),
            "95% low": areas["shrunk_low"].round(1),
            "95% high": areas["shrunk_high"].round(1),
            "Place": np.where(areas["status"] == "ok", areas["position"], "too few to say"),
        }
    ).sort_values(["Region", "Area"])
    return Figure(drawing, title, caption, said.alt("Tile map.", text), shown, said.name, said.synthetic)
