"""Rows of results by methods that draw: permutation of the starts, and the wild cluster bootstrap."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sendap.errors import DesignError
from sendap.inference.permutation import permutation_test, possible_allocations
from sendap.inference.rows import Asked, ends, unavailable
from sendap.inference.selector import SOME
from sendap.inference.wild_bootstrap import Kind, agreement, wild_bootstrap

FEWEST_ALLOCATIONS = 20


def permutation_rows(asked: Asked, method: str, positions: list[int]) -> list[dict[str, Any]]:
    """Each term among the allocations of the starts inside regions, studentised unless one cluster is treated.

    Where regions leave too few allocations to judge by (one treated area among eleven others), starts are dealt out
    over all of them, and the note says so.
    """
    fit, terms = asked.fit, np.array(positions)
    groups = fit.panel.cluster_group if asked.regions is None else asked.regions
    if np.ptp(groups) > 0:
        ways = possible_allocations(fit.panel.cluster_cohort, groups)
        if ways < FEWEST_ALLOCATIONS:
            rows = permutation_rows(replace(asked, regions=np.zeros_like(groups)), method, positions)
            said = f"Starts are dealt out over all regions: inside them there are only {ways} ways."
            return [{**row, "note": f"{row['note']} {said}".strip()} for row in rows]
    studentised = fit.terms["treated_clusters"].to_numpy()[terms] > 1
    try:
        tested = permutation_test(
            fit, terms, groups, draws=asked.draws, seed=asked.seed, levels=asked.levels, studentised=studentised
        )
    except DesignError as error:
        # Where nothing else is valid for any term, the reason is all that there is to say.
        if all(choice.headline == method for choice in asked.choices.values()):
            raise
        return [unavailable(asked, at, method, str(error)) for at in positions]
    rows = []
    for at, found in zip(positions, tested, strict=True):
        if found.exact and found.draws < FEWEST_ALLOCATIONS:
            reason = f"there are only {found.draws} ways to deal the starts out"
            rows.append(unavailable(asked, at, method, reason))
            continue
        values = {"p_value": found.p_value, "draws": found.draws, **ends(found.intervals)}
        rows.append(asked.row(at, method, **values))
    return rows


def bootstrap_rows(asked: Asked, method: str, positions: list[int]) -> list[dict[str, Any]]:
    """The wild cluster bootstrap of a least-squares fit; invalid where its two versions disagree."""
    rows = []
    for at in positions:
        treated, clusters = (int(asked.base[at][name]) for name in ("treated_clusters", "clusters"))
        options = {"term": at, "kind": bootstrap_kind(treated, clusters - treated), "draws": asked.draws}
        both = agreement(asked.fit, seed=asked.seed, **options)  # type: ignore[arg-type]
        if not both.agree:
            rows.append(unavailable(asked, at, method, both.reason))
            continue
        wide, narrow = (
            wild_bootstrap(asked.fit, restricted=method == "wcr", seed=asked.seed, level=each, **options)  # type: ignore[arg-type]
            for each in asked.levels
        )
        values = {
            "p_value": wide.p_value,
            "draws": wide.draws,
            **ends(((wide.low, wide.high), (narrow.low, narrow.high))),
        }
        rows.append(asked.row(at, method, **values))
    return rows


def bootstrap_kind(treated: int, controls: int) -> Kind:
    """Webb's six points with 12 or fewer clusters on a side, else signs (evaluation standard, 4.1 and 4.2)."""
    return "webb" if min(treated, controls) <= SOME else "rademacher"
