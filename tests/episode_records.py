"""Made-up cases for tests of durations, and the plain loops that count them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sendap.cells.compress_durations import compress_durations
from sendap.cells.durations import DurationCells

CAUSES = ("agreed", "appealed")
END = 2000


def cases(
    seed: int,
    *,
    areas: int = 8,
    periods: int = 4,
    each: int = 12,
    lost: float = 0.1,
    late: bool = False,
    end: int = END,
    effect: float = 0.0,
) -> pd.DataFrame:
    """One row a case, moments in whole days: half the areas start in the third period."""
    draw = np.random.default_rng(seed)
    n = areas * periods * each
    area, period = np.arange(n) % areas, np.arange(n) // areas % periods + 1
    treated = (area < areas // 2) & (period >= 3)
    decided = period * 100 + draw.integers(0, 100, n)
    rate = np.array([0.012, 0.008])[None] * np.exp(draw.normal(0, 0.3, areas))[area][:, None]
    rate[:, 0] *= np.exp(effect * treated)
    time = draw.exponential(1 / rate.sum(axis=1)).astype(int)
    gone = draw.exponential(1 / (lost / 50), n).astype(int) if lost else np.full(n, 10**6)
    kind = np.where(draw.random(n) < rate[:, 0] / rate.sum(axis=1), *CAUSES).astype(object)
    kind = np.where(gone < time, "moved", kind)
    ended = decided + np.minimum(time, gone)
    seen = ended <= end
    frame = pd.DataFrame(
        {
            "case": np.arange(n),
            "area": [f"A{number:02d}" for number in area],
            "period": period,
            "start": pd.array(np.where(area < areas // 2, 3, 0), dtype="Int64"),
            "sex": draw.choice(["Female", "Male"], n),
            "decided": decided,
            "ended": pd.array(np.where(seen, ended, 0), dtype="Int64"),
            "event": np.where(seen, kind, None),
        }
    )
    frame.loc[frame["start"] == 0, "start"] = pd.NA
    frame.loc[~seen, "ended"] = pd.NA
    if late:
        frame["seen_from"] = decided + draw.integers(-20, 40, n)
    return frame


def duration_cells(frame: pd.DataFrame, **options: object) -> DurationCells:
    given: dict = {
        "unit": "case",
        "clock": "decided",
        "starts": "decision",
        "ended": "ended",
        "event": "event",
        "causes": list(CAUSES),
        "leaving": ["moved"],
        "until": END,
        "cluster": "area",
        "period": "period",
        "cohort": "start",
        "width": 7,
    }
    return compress_durations(frame, **{**given, **options})


def intervals(frame: pd.DataFrame, *, until: int = END, width: int = 7) -> pd.DataFrame:
    """First and last interval at risk of each case, and how it ended there, by the rule in words."""
    rows = []
    for case in frame.itertuples():
        whole = (until - case.decided) // width
        first = 0
        if hasattr(case, "seen_from"):
            first = max(0, -(-(case.seen_from - case.decided) // width))
        last, event = whole, None
        if not pd.isna(case.ended):
            if hasattr(case, "seen_from") and case.ended < case.seen_from:
                continue
            reached = (case.ended - case.decided) // width + 1
            if reached <= whole:
                last, event = reached, case.event
        if last > first:
            rows.append((case.area, case.period, case.sex, first, last, event))
    return pd.DataFrame(rows, columns=["area", "period", "sex", "first", "last", "event"])
