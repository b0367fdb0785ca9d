"""What a published table by group can't answer: from what it crosses and from its description."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from sendap.groups import stratum_words
from sendap.sources.group_catalog import GroupTable


def unanswerable(
    table: GroupTable, margins: Sequence[Sequence[str]], *, by_area: bool, prior_results: bool
) -> list[str]:
    """Questions that the table leaves open, each a sentence. ``margins`` are the strata that it crosses."""
    held = [set(margin) for margin in margins]
    said = [
        f"How {stratum_words(first)} and {stratum_words(second)} go together: the table doesn't cross them, and "
        "margins can't say. It needs records."
        for first, second in combinations(table.strata, 2)
        if not any({first, second} <= margin for margin in held)
    ]
    if table.gradient is None:
        strata = " and ".join(stratum_words(name) for name in table.strata)
        said.append(f"A social gradient: the table holds {strata}, and no measure of deprivation.")
    if not by_area:
        said.append("Whether a gap lies between areas or inside them: groups are published for England only.")
    if not prior_results:
        said.append("How far apart children with similar earlier results are: the table doesn't hold them.")
    return [*said, *table.cannot]
