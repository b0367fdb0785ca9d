"""Whether a pilot on records moved the gaps between groups, and whether any group lost: for its primary outcome."""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np

from sendap.cells import Cells
from sendap.cells.moments import ALL
from sendap.disparity.programme import programme_gaps
from sendap.errors import SendapError
from sendap.protocol import Protocol
from sendap.runs.probing import plain

REFERENCES = {
    "sex": "Male",
    "ethnicity": "White",
    "fsm": "Not eligible",
    "sen_baseline": "No SEN",
    "language": "English",
}
DRAWS = 499
COLUMNS = (
    "group", "n", "areas", "gap_before", "effect", "effect_low", "effect_high", "gap_effect", "gap_effect_low",
    "gap_effect_high", "ratio", "ratio_low", "ratio_high", "p_adjusted", "verdict", "status", "note", "sentence",
)  # fmt: skip


def group_effects(cells: Cells | None, protocol: Protocol) -> dict[str, Any]:
    """By stratum ``reference, rows, guard``, or the ``reason`` why there is nothing to tell. Empty without records."""
    primary = protocol.primary
    if cells is None or primary.id not in cells.outcomes or protocol.comparison is None:
        return {}
    if primary.better == "neither":
        return {"": {"reason": "The protocol doesn't say which direction is better, so nobody can have lost by it."}}
    own = cells.only(primary.id)
    return {by: _stratum(own, protocol, by) for by in own.strata if by in protocol.disparity.strata}


def _stratum(cells: Cells, protocol: Protocol, by: str) -> dict[str, Any]:
    primary, comparison = protocol.primary, protocol.comparison
    assert comparison is not None
    others = [name for name in cells.strata if name != by]
    rows = cells.frame[(cells.frame[others] == ALL).all(axis=1) & (cells.frame[by] != ALL)]
    sizes = rows.groupby(by)["n"].sum()
    if sizes.empty:
        return {"reason": "These records hold no such groups."}
    known = sizes.drop("Unknown", errors="ignore")
    reference = REFERENCES.get(by, "")
    reference = reference if reference in known.index else str(known.idxmax())
    margin = primary.smallest_effect
    try:
        found = programme_gaps(
            cells,
            primary.id,
            by=by,
            reference=reference,
            better=cast(Literal["higher", "lower"], primary.better),
            smallest=margin,
            margin=margin,
            within=comparison.within,
            anticipation=int(cast(dict, cells.metadata["anticipation"])[primary.id]),
            draws=DRAWS,
            seed=protocol.seed,
        )
    except SendapError as error:
        return {"reason": str(error)}
    frame = found.frame
    content: dict[str, Any] = {
        "reference": reference,
        "rows": [
            {name: plain(row[name]) if isinstance(row[name], float | np.floating) else row[name] for name in COLUMNS}
            for row in frame[list(COLUMNS)].to_dict("records")
        ],
        "guard": None,
    }
    if found.guard is not None:
        content["guard"] = {
            "verdict": found.guard.verdict,
            "sentence": found.guard.sentence,
            "too_small": list(found.guard.too_small),
        }
    return content
