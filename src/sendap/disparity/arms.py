"""Which areas of a programme count as treated in a published table by group, whose years are few."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sendap.catalog import Catalog
from sendap.periods import Period
from sendap.sources.group_catalog import GroupTable


@dataclass(frozen=True)
class Arms:
    """Areas of a programme and others: first treated period, and areas that began too late to be in either arm."""

    first_treated: Mapping[str, float]
    left_out: tuple[str, ...]


def arms_of(table: GroupTable, catalog: Catalog) -> Arms | None:
    """Areas that were in the table's programme when the first period after it began, or None without one."""
    if table.programme is None or not table.programme.after:
        return None
    after = table.programme.after[0]
    opens, _ = Period(table.period_kind, after).window()
    areas = catalog.rollout(table.programme.rollout).areas
    late = tuple(sorted(area.la_code for area in areas if area.start > opens))
    return Arms({area.la_code: float(after) for area in areas if area.start <= opens}, late)
