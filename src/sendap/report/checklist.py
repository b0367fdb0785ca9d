"""The design checklist: 22 items that every report carries, each filled from protocol, catalogue, data and results.

Built from Roth, Sant'Anna, Bilinski and Poe (2023), doi:10.1016/j.jeconom.2023.03.008, and Baker, Callaway,
Cunningham, Goodman-Bacon and Sant'Anna, arXiv:2503.13323. An item that can't apply says why. An empty one fails the
run, because a reader can't tell an item that was forgotten from one that was fine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from sendap.errors import DesignError
from sendap.report import checklist_items as items
from sendap.report.context import Evaluated
from sendap.report.output import Html, paragraphs
from sendap.report.tables import table

Item = Callable[[Evaluated], str]
ITEMS: Mapping[str, Item] = {
    "Target parameter": items.target,
    "Treatment timing": items.timing,
    "Assignment story": items.assignment,
    "Comparison group": items.comparison,
    "Parallel trends": items.parallel,
    "Raw series": items.raw_series,
    "Pre-trends": items.trends,
    "No anticipation": items.anticipation,
    "Spillover": items.spillover,
    "Covariates": items.covariates,
    "Estimator": items.estimator,
    "Overlap": items.overlap,
    "Composition": items.composition,
    "Functional form": items.form,
    "Inference": items.inference,
    "Sensitivity to trend failure": items.drift,
    "Placebos": items.placebos,
    "Heterogeneity": items.heterogeneity,
    "Guards": items.guards,
    "What could be found": items.detectable,
    "Deviations": items.deviations,
    "Data breaks": items.breaks,
}


def checklist(evaluated: Evaluated) -> Html:
    """The table of the design checklist.

    Raises DesignError naming every item that is empty.
    """
    filled = {name: item(evaluated).strip() for name, item in ITEMS.items()}
    require_all(filled)
    rows = [{"Item": f"{at}. {name}", "What was done": text} for at, (name, text) in enumerate(filled.items(), 1)]
    file = f"{evaluated.protocol.id.lower()}-checklist.csv"
    return paragraphs("Twenty-two things that a reader should be told before believing a comparison of areas.") + (
        Html(table(pd.DataFrame(rows), "Design checklist", file=file))
    )


def require_all(filled: Mapping[str, str]) -> None:
    """Raises DesignError where an item is missing or empty."""
    empty = [f"{at} ({name})" for at, name in enumerate(ITEMS, 1) if not filled.get(name, "").strip()]
    if empty:
        raise DesignError(
            f"The design checklist has nothing for item{'s' if len(empty) > 1 else ''} {', '.join(empty)}. Fill in the "
            "protocol, or say why it can't apply; a report with an empty item isn't made."
        )
