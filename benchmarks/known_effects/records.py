"""Pupil records whose true effect is known, because it was put there.

Untreated outcomes are a cluster's level, a course that is common to its region, a course that depends on the cluster's
readiness, shocks of the cluster and of the school in each period, which last, and the pupil's own. A programme adds its
effect on top. All figures are assumptions, and none is a finding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

LASTING = 0.4
"""Correlation of a cluster's or school's shock with that of the period before."""


@dataclass(frozen=True)
class Shape:
    """How outcomes vary: standard deviations in the unit of the outcome, and the course by readiness.

    ``level`` between clusters, ``region`` between regions in one period, ``shock`` of a cluster in one period,
    ``school`` between schools of a cluster, ``school_shock`` of a school in one period, ``pupil`` between records
    (unused where ``binary``: then the outcome is 0 or 100). ``drift`` is what one period adds for each standard
    deviation of readiness.
    """

    mean: float
    level: float
    shock: float
    pupil: float = 0.0
    region: float = 0.0
    school: float = 0.0
    school_shock: float = 0.0
    drift: float = 0.0
    binary: bool = False


@dataclass(frozen=True)
class Layout:
    """Who there is: C clusters in regions, treated or not, with readiness; schools in each, records in a school."""

    clusters: np.ndarray
    region: np.ndarray
    treated: np.ndarray
    readiness: np.ndarray
    schools: int
    in_school: np.ndarray
    periods: int
    start: int

    @property
    def table(self) -> pd.DataFrame:
        """One row a cluster: ``cluster``, ``region`` and ``readiness``."""
        return pd.DataFrame({"cluster": self.clusters, "region": self.region, "readiness": self.readiness})


def lasting(draw: np.random.Generator, rows: int, periods: int, spread: float) -> np.ndarray:
    """Shocks of standard deviation ``spread`` that last (rows by periods)."""
    found = draw.normal(0, spread, (rows, periods))
    for period in range(1, periods):
        found[:, period] = LASTING * found[:, period - 1] + np.sqrt(1 - LASTING**2) * found[:, period]
    return found


def expected(draw: np.random.Generator, layout: Layout, shape: Shape) -> np.ndarray:
    """Mean outcome without the programme, clusters by schools by periods."""
    clusters, periods = len(layout.clusters), layout.periods
    _, region = np.unique(layout.region, return_inverse=True)
    time = np.arange(periods)
    course = draw.normal(0, 1.0, periods) * shape.shock + lasting(draw, region.max() + 1, periods, shape.region)[region]
    course = course + shape.drift * layout.readiness[:, None] * time
    own = draw.normal(0, shape.level, (clusters, 1)) + lasting(draw, clusters, periods, shape.shock)
    schools = clusters * layout.schools
    inside = draw.normal(0, shape.school, (schools, 1)) + lasting(draw, schools, periods, shape.school_shock)
    return shape.mean + (course + own)[:, None, :] + inside.reshape(clusters, layout.schools, periods)


def records(
    draw: np.random.Generator, layout: Layout, shape: Shape, added: np.ndarray, kinds: np.ndarray | None = None
) -> pd.DataFrame:
    """One row a record: ``cluster, school, kind, period, first_treated, outcome``.

    ``added`` (clusters by schools by periods) is the effect; ``kinds`` (schools) names each school's kind.
    """
    mean = expected(draw, layout, shape) + added
    many = np.repeat(layout.in_school, layout.schools)[:, None] * np.ones(layout.periods, dtype=int)
    cell = np.repeat(np.arange(mean.size), many.ravel())
    cluster, school, period = np.unravel_index(cell, mean.shape)
    if shape.binary:
        outcome = 100.0 * (draw.random(len(cell)) < mean.ravel()[cell] / 100)
    else:
        outcome = mean.ravel()[cell] + draw.normal(0, shape.pupil, len(cell))
    return pd.DataFrame(
        {
            "cluster": layout.clusters[cluster],
            "school": school,
            "kind": "all" if kinds is None else kinds[school],
            "period": period + 1,
            "first_treated": np.where(layout.treated[cluster], float(layout.start), np.nan),
            "outcome": outcome,
        }
    )
