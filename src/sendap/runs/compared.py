"""Comparison areas chosen because they were alike before the start: beside the headline, never in its place."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from sendap.cells import Cells
from sendap.comparison import ComparisonGroup, entropy_balance, match, profiles, statistical_neighbours
from sendap.errors import SendapError
from sendap.protocol import Outcome, Protocol
from sendap.results import BALANCED, MATCHED, NEIGHBOURS


def comparison_groups(
    cells: Cells, protocol: Protocol, outcome: Outcome, neighbours: pd.DataFrame | None = None
) -> dict[str, ComparisonGroup | str]:
    """By the words of its contrast each group of comparison areas, or why there is none."""
    anticipation = int(cells.metadata["anticipation"][outcome.id])  # type: ignore[index]

    def attempt(choose: Callable[[], ComparisonGroup]) -> ComparisonGroup | str:
        try:
            return choose()
        except SendapError as error:
            return str(error)

    try:
        known = profiles(cells, outcome.id, anticipation=anticipation, weights=protocol.weights)
    except SendapError as error:
        return {BALANCED: str(error)}
    found = {BALANCED: attempt(lambda: entropy_balance(known)), MATCHED: attempt(lambda: match(known))}
    if neighbours is not None and protocol.cluster_column == "la_code":
        found[NEIGHBOURS] = attempt(lambda: statistical_neighbours(known, neighbours))
    return found
