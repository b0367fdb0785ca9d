"""The line through the years before: against a fit of a line, and on paths whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from panels import as_cells, made_up

from sendap.errors import DesignError
from sendap.estimators import fit_group_time
from sendap.probe.drift import straight_drift
from sendap.probe.robust_sets import EventPath

TIMES = np.array([-4.0, -3.0, -2.0, 0.0, 1.0])


def path(estimate, covariance=None, times=TIMES):
    return EventPath(np.asarray(times), np.asarray(estimate, dtype=float), np.eye(len(times)) if covariance is None
                     else covariance, base=-1.0)  # fmt: skip


def test_an_exact_line_leaves_the_effect():
    """Drift of 2 a year, effects of 7 and 9 on top: the line makes 2 and 4 of them."""
    found = straight_drift(path([-6, -4, -2, 2 + 7, 4 + 9]), target="average")
    assert [found.slope, found.level, found.expected, found.estimate, found.rest] == pytest.approx([2, 2, 3, 11, 8])
    assert (found.points, found.largest) == (4, 6)


def test_it_is_a_least_squares_line_through_the_base_and_its_interval_that_of_the_combination():
    generator = np.random.default_rng(5)
    root = generator.normal(size=(5, 5))
    estimate, covariance = generator.normal(size=5), root @ root.T
    found = straight_drift(path(estimate, covariance), target="first")
    slope, level = np.polyfit([*TIMES[:3], -1], [*estimate[:3], 0], 1)
    assert [found.slope, found.level] == pytest.approx([slope, level], rel=1e-10)
    assert found.rest == pytest.approx(estimate[3] - level, rel=1e-10)
    draws = generator.multivariate_normal(estimate, covariance, size=40_000)
    rests = [each[3] - np.polyval(np.polyfit([*TIMES[:3], -1], [*each[:3], 0], 1), 0) for each in draws[:8_000]]
    # 8,000 draws know a standard deviation to 0.8%.
    assert (found.rest_high - found.rest_low) / 2 / 1.959964 == pytest.approx(np.std(rests), rel=0.03)


def test_partly_exposed_years_are_neither_line_nor_effect():
    skipped = EventPath(np.array([-4.0, -3.0, -1.0, 0.0]), np.array([-2.0, -1.0, 99.0, 12.0]), np.eye(4), base=-2.0)
    found = straight_drift(skipped, target="average")
    assert [found.slope, found.expected, found.rest] == pytest.approx([1, 2, 10])


def test_on_cells_a_planted_drift_is_taken_out():
    frame = made_up(areas=120, years=8, starts=(2021.0,), seed=4, regions=1)
    frame["y"] += np.where(frame["cohort"].notna(), 1.5 * (frame["year"] - 2020) + 6.0 * (frame["year"] >= 2021), 0.0)
    found = straight_drift(fit_group_time(as_cells(frame).panel()))
    # Five years and 48 areas with noise of 2: slope to 0.1, what is left to some 0.7.
    assert found.slope == pytest.approx(1.5, abs=0.4)
    assert found.rest_low < 6 < found.rest_high
    assert found.estimate == pytest.approx(6 + 1.5 * 2, abs=2)


def test_two_points_are_no_line():
    with pytest.raises(DesignError, match="too few to draw a line"):
        straight_drift(path([1, 2], np.eye(2), times=[-2.0, 0.0]), target="average")
