"""From trials to the small table that is kept: false alarms, width, coverage, bias and power."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

SIZES = (0.25, 0.5, 1.0, 1.5, 2.0)
"""Effects at which power is told, in units of the spread of an area around its own mean and the year's."""


def summarise(frame: pd.DataFrame) -> dict[str, Any]:
    """``methods``: by method, number treated and way of choosing; ``estimators``: likewise, pooled over ways too."""
    methods = frame[frame["part"] == "method"]
    estimators = frame[frame["part"] == "estimator"]
    return {
        "methods": _records(methods, ["estimator", "method", "treated", "scheme"], _alarms),
        "selector": _records(methods[methods["headline"]], ["estimator", "treated", "scheme"], _method),
        "estimators": _records(estimators, ["estimator", "treated", "scheme"], _estimator),
    }


def _records(frame: pd.DataFrame, keys: list[str], measure: Any) -> list[dict[str, Any]]:
    found = []
    for names, rows in frame.groupby(keys, sort=True):
        found.append({**dict(zip(keys, names, strict=True)), **measure(rows)})
    return [{key: _plain(value) for key, value in row.items()} for row in found]


def _method(rows: pd.DataFrame) -> dict[str, Any]:
    """False alarms at 5% with their Monte Carlo error, the share without an interval, and power by size of effect."""
    known = rows[rows["low"].notna() & rows["high"].notna()]
    if known.empty:
        return {"trials": len(rows), "no_interval": 1.0, "rejects": None, "error": None, "refused": _share(rows)}
    low, high = known["low"].to_numpy(), known["high"].to_numpy()
    rejects = float(np.mean((low > 0) | (high < 0)))
    power = {
        f"power_{size:g}": float(np.mean([np.mean((low > at) | (high < at)) for at in (-size, size)])) for size in SIZES
    }
    width = high - low
    return {
        "trials": len(rows),
        "no_interval": 1 - len(known) / len(rows),
        "rejects": rejects,
        "error": float(np.sqrt(rejects * (1 - rejects) / len(known))),
        "bias": float(known["estimate"].mean()),
        "spread": float(known["estimate"].std()),
        "width": float(np.median(width[np.isfinite(width)])) if np.isfinite(width).any() else None,
        "refused": _share(rows),
        **power,
    }


def _alarms(rows: pd.DataFrame) -> dict[str, Any]:
    """What the page tells of every method: the table is kept, so it's kept small."""
    shown = ("trials", "no_interval", "rejects", "error", "refused")
    return {name: value for name, value in _method(rows).items() if name in shown}


def _share(rows: pd.DataFrame) -> float:
    return float(rows["refused"].mean())


def _estimator(rows: pd.DataFrame) -> dict[str, Any]:
    """Bias against the mean of the planted effect, spread, and coverage of the headline interval."""
    miss = rows["estimate"] - rows["truth"]
    known = rows[rows["low"].notna() & rows["high"].notna()]
    covers = (known["low"] <= known["truth"]) & (known["truth"] <= known["high"])
    share = float(covers.mean()) if len(known) else None
    return {
        "trials": len(rows),
        "bias": float(miss.mean()),
        "bias_error": float(miss.std() / np.sqrt(len(rows))),
        "spread": float(miss.std()),
        "covers": share,
        "covers_error": None if share is None else float(np.sqrt(share * (1 - share) / len(known))),
    }


def _plain(value: Any) -> Any:
    """A number with as many digits as a table needs."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    return None if not np.isfinite(value) else round(float(value), 4)
