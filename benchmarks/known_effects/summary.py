"""From the rows of all seeds to what the page shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.known_effects.designs import Design


def summarise(designs: Sequence[Design], rows: pd.DataFrame) -> list[dict[str, Any]]:
    """One entry a design, with one result for each measure and comparison."""
    found = []
    for design in designs:
        own = rows[rows["design"] == design.key]
        if own.empty:
            continue
        groups = own.groupby(["measure", own["comparison"].fillna("")], sort=False)
        found.append(
            {
                "key": design.key,
                "pilot": design.pilot,
                "name": design.name,
                "treated": design.treated,
                "controls": design.controls,
                "planted": design.planted,
                "records": int(own["records"].median()),
                "results": [
                    {"measure": measure, "comparison": comparison, **_result(part)}
                    for (measure, comparison), part in groups
                ],
            }
        )
    return found


def _result(rows: pd.DataFrame) -> dict[str, Any]:
    """Bias and coverage with the effect, false alarms without, each with its Monte Carlo error.

    Seeds without an interval count as seeds in which the truth wasn't inside.
    """
    methods = rows["inference"].unique()
    planted, null = rows[~rows["null"]], rows[rows["null"]]
    error = planted["estimate"] - planted["truth"]
    held = (planted["ci_low"] <= planted["truth"]) & (planted["truth"] <= planted["ci_high"])
    found = (planted["ci_low"] > 0) | (planted["ci_high"] < 0)
    alarm = ~((null["ci_low"] <= 0) & (null["ci_high"] >= 0))
    return {
        "inference": "/".join(sorted(methods)),
        "seeds": len(planted),
        "truth": _digits(planted["truth"].mean()),
        "bias": _digits(error.mean()),
        "bias_error": _digits(error.std() / np.sqrt(len(error))),
        "spread": _digits(error.std()),
        "width": _digits((planted["ci_high"] - planted["ci_low"]).median()),
        "no_interval": int(planted["ci_low"].isna().sum()),
        "held": int(held.sum()),
        "found": int(found.sum()),
        "null_seeds": len(null),
        "alarms": int(alarm.sum()),
    }


def _digits(value: float) -> float:
    return float(f"{value:.5g}")
