"""A made-up table by group and its counts, in the form that the reader gives, with a truth that tests know."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from sendap.sources.group_catalog import GroupTable
from sendap.sources.groups_tables import GroupCounts


def made_table(**changes: object) -> GroupTable:
    return GroupTable.model_validate(
        {
            "id": "MADE",
            "title": "Made-up plans",
            "question": "Is it the same for all?",
            "who": "pupils",
            "publisher": "Nobody",
            "publication": "Made up",
            "licence": "none",
            "access": "published",
            "address": "https://example.org",
            "folder": "made",
            "release": "2024",
            "file": "made.csv",
            "level": "Local authority",
            "period_kind": "calendar year",
            "periods": [2022, 2024],
            "symbols": {"x": "not available"},
            "blocks": [
                {"select": {"topic": "Ethnicity"}, "strata": {"ethnicity": "label"}},
                {"select": {"topic": "Sex"}, "strata": {"sex": "label"}},
            ],
            "measures": [
                {"id": "placed", "label": "Plans placed", "means": "plans placed", "numerator": ["placed"],
                 "denominator": ["plans"], "better": "higher"},
            ],
            "cannot": ["How long the moon has been up."],
            **changes,
        }
    )  # fmt: skip


def made_counts(table: GroupTable, rows: Sequence[dict[str, object]], *, measure: str = "placed") -> GroupCounts:
    """``rows``: area, period, one stratum or more, yes and n; strata that a row lacks are marked as added up."""
    frame = pd.DataFrame(rows).rename(columns={"yes": "numerator", "n": "denominator"})
    for name in table.strata:
        frame[name] = frame[name].fillna("(all)") if name in frame else "(all)"
    frame = frame.assign(measure=measure, reason=None)
    frame[["numerator", "denominator"]] = frame[["numerator", "denominator"]].astype(float)
    codes = sorted(frame["area"].unique())
    names = pd.DataFrame({"area": codes, "name": [f"Area {code}" for code in codes], "region": "London"})
    return GroupCounts(table, frame, None, frame.iloc[:0], names, {"made.csv": "0"})
