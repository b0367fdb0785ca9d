"""Heat-maps of programmes over school terms. Every tile carries its number, so nobody needs colour to read it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.collections import PatchCollection
from matplotlib.patches import Patch, Rectangle

from sendap.report.figures import Figure, canvas

SHADES = ((0, "#F3F5F7", "#1C1C1C"), (1, "#C5D9E8", "#1C1C1C"), (2, "#6FA3C7", "#1C1C1C"), (3, "#12436D", "#FFFFFF"))
"""For 0, 1, 2 and 3 or more programmes: the ground and the ink on it, at 4.5 to 1 or more."""

ROW_HEIGHT, TOP_HEIGHT = 0.3, 1.5
STEPS = 4
MARK_AREA = 42


def shade(count: int) -> int:
    """The step of the scale for a number of programmes: 0, 1, 2, or 3 for three or more."""
    return min(count, 3)


def programmes_heat_map(counts: pd.DataFrame, *, place: str, name: str) -> Figure:
    """How many programmes each area was in, term by term.

    ``counts``: one row an area (its name the index), one column a term, whole numbers.
    """
    steps = np.minimum(counts.to_numpy(dtype=int), 3)
    drawing = _tiles(counts, steps, ("0", "1", "2", "3 or more"), "Programmes at once")
    most = int(counts.to_numpy().max())
    at = counts.max(axis=1)
    title = f"{place}: {int((at > 0).sum())} of {len(counts)} areas were in a programme, at most {most} at once"
    caption = (
        f"Number of programmes that each local authority of {place} was in, by school term, "
        f"{counts.columns[0]} to {counts.columns[-1]}. Only programmes with a published list count, and some lists "
        "aren't complete, so there may be more."
    )
    alt = (
        f"Heat-map of {len(counts)} areas by {counts.shape[1]} terms. {int((at > 1).sum())} areas were in two or more "
        "programmes at once. The table beside it names them."
    )
    return Figure(drawing, title, caption, alt, counts.rename_axis("Area").reset_index(), name)


def areas_heat_map(counts: pd.DataFrame, *, name: str) -> Figure:
    """How many areas were in each programme, term by term. ``counts``: one row a programme, one column a term."""
    values = counts.to_numpy(dtype=int)
    steps = np.digitize(values, [1, 11, 26])
    drawing = _tiles(counts, steps, ("0", "1 to 10", "11 to 25", "over 25"), "Areas")
    first, last = counts.columns[0], counts.columns[-1]
    totals = counts.sum()
    title = f"Programmes had {int(totals[first])} areas in {first} and {int(totals[last])} in {last}"
    caption = (
        "Number of local authorities in each programme, by school term. An area in two programmes counts twice. "
        "Only programmes with a published list of areas; a star marks lists that aren't complete."
    )
    alt = f"Heat-map of {len(counts)} programmes by {counts.shape[1]} terms, with the number of areas in each tile."
    shown = counts.rename_axis("Programme").reset_index()
    return Figure(drawing, title, caption, alt, shown, name)


def _tiles(counts: pd.DataFrame, steps: np.ndarray, words: Sequence[str], measure: str) -> object:
    rows, columns = counts.shape
    drawing, axes = canvas(width=9.0, height=TOP_HEIGHT + ROW_HEIGHT * rows)
    values = counts.to_numpy(dtype=int)
    for step, (_, ground, ink) in enumerate(SHADES):
        at = np.argwhere(steps == step)
        tiles = [Rectangle((column, row), 0.96, 0.94) for row, column in at]
        axes.add_collection(PatchCollection(tiles, facecolor=ground, edgecolor="#B4B4B4", linewidth=0.5), autolim=False)
        # Numbers are drawn as markers, one kind at a time: thousands of texts would take half a minute.
        for value in np.unique(values[steps == step]):
            row, column = np.nonzero((values == value) & (steps == step))
            size = MARK_AREA * len(str(value)) ** 0.8
            axes.scatter(column + 0.48, row + 0.49, marker=f"${value}$", s=size, color=ink, linewidths=0, zorder=3)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    axes.set_xticks(np.arange(columns) + 0.48, list(counts.columns), rotation=50, ha="left", fontsize=9)
    axes.xaxis.tick_top()
    axes.set_yticks(np.arange(rows) + 0.49, list(counts.index), fontsize=9.5)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    handles = [
        Patch(facecolor=ground, edgecolor="#6B6B6B", label=text)
        for (_, ground, _), text in zip(SHADES, words, strict=True)
    ]
    drawing.legend(handles=handles, title=measure, loc="outside lower left", ncols=STEPS, frameon=False, fontsize=9.5,
                   title_fontsize=9.5, alignment="left")  # fmt: skip
    return drawing
