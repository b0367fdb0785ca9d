"""Small sets of pupil records with movers, gaps and missing outcomes, and least squares on them, row by row."""

from __future__ import annotations

import numpy as np
import pandas as pd

FIRST_YEAR = 2014


def draw_records(
    seed: int,
    *,
    pupils: int = 150,
    clusters: int = 12,
    periods: int = 6,
    treated: int = 6,
    moving: float = 0.25,
    gaps: float = 0.1,
    missing: float = 0.1,
    effect: float = 0.5,
) -> pd.DataFrame:
    """Records of pupils: some come late or leave early, miss years, move, or lack an outcome.

    The last cluster is seen in a single year. ``moving``, ``gaps`` and ``missing`` are shares of pupils, of years
    and of records.
    """
    draw = np.random.default_rng(seed)
    pupil = np.repeat(np.arange(pupils), periods)
    time = np.tile(np.arange(periods), pupils)
    home = np.r_[np.arange(clusters - 1), draw.integers(0, clusters - 1, pupils - clusters + 1)][:pupils]
    goes = draw.random(pupils) < moving
    when, where = draw.integers(1, periods, pupils), draw.integers(0, clusters - 1, pupils)
    cluster = np.where(goes[pupil] & (time >= when[pupil]), where[pupil], home[pupil])
    # A few come to the last cluster for one year and go back.
    visitor = (draw.random(pupils) < 0.05)[pupil] & (time == periods // 2)
    cluster = np.where(visitor, clusters - 1, cluster)
    start = np.full(clusters, np.nan)
    start[:treated] = FIRST_YEAR + 2 + np.arange(treated) % max(periods - 3, 1)
    here = draw.random(len(pupil)) >= gaps
    late, early = draw.integers(0, periods, pupils), draw.integers(0, periods, pupils)
    shortened = draw.random(pupils) < 0.3
    here &= ~shortened[pupil] | (time >= np.minimum(late, early)[pupil]) & (time <= np.maximum(late, early)[pupil])
    year = FIRST_YEAR + time
    exposed = (year >= start[cluster]).astype(float)
    common = draw.normal(size=(clusters, periods))
    outcome = draw.normal(size=pupils)[pupil] + 0.2 * time + 0.5 * common[cluster, time] + effect * exposed
    outcome = outcome + draw.normal(size=len(pupil))
    outcome[draw.random(len(pupil)) < missing] = np.nan
    frame = pd.DataFrame(
        {
            "pupil": [f"P{number:06d}" for number in pupil],
            "la_code": [f"E{number:03d}" for number in cluster],
            "year": year,
            "first_treated": start[cluster],
            "absence": outcome,
            "size": (0.5 + draw.random(pupils))[pupil],
            "exposed": exposed,
        }
    )
    return frame[here].sample(frac=1.0, random_state=seed).reset_index(drop=True)


def used_rows(frame: pd.DataFrame, outcome: str = "absence") -> pd.DataFrame:
    """Records with a known outcome of pupils who have two of them."""
    known = frame.dropna(subset=outcome)
    return known[known.groupby("pupil")["pupil"].transform("size") > 1].reset_index(drop=True)


def residualised(frame: pd.DataFrame, columns: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Columns less their least-squares fit on dummies of every pupil and every year, row by row."""
    dummies = pd.get_dummies(frame[["pupil", "year"]].astype(str)).to_numpy(dtype=float)
    root = np.sqrt(weight)[:, None]
    return columns - dummies @ np.linalg.lstsq(dummies * root, columns * root, rcond=None)[0]


def by_rows(
    frame: pd.DataFrame, regressors: np.ndarray, outcome: str = "absence", weights: str | None = None
) -> np.ndarray:
    """Coefficients of regressors (N by K) with a dummy for every pupil and every year."""
    weight = np.ones(len(frame)) if weights is None else frame[weights].to_numpy()
    both = residualised(frame, np.column_stack([regressors, frame[outcome]]), weight)
    root = np.sqrt(weight)
    return np.linalg.lstsq(both[:, :-1] * root[:, None], both[:, -1] * root, rcond=None)[0]
