"""Two-way effect of mathematics reforms as a weighted sum of pairs: README of the R package bacondecomp.

Goodman (2019), state by graduating class; Goodman-Bacon (2021), doi:10.1016/j.jeconom.2021.03.014. The printed weights
and averages of the three kinds of comparison, to five digits, add up to the two-way estimate.
"""

from __future__ import annotations

import json

import pandas as pd
import pytest

from sendap.cells import Cells
from sendap.estimators import fit_two_way


def test_two_way_effect_is_the_printed_weighted_sum(oracles):
    folder = oracles / "goodman_bacon_math_reform"
    expected = json.loads((folder / "expected.json").read_text())
    frame = pd.read_csv(folder / "math_reform.csv")
    starts = frame[frame["reform_math"] == 1].groupby("state")["class"].min()
    frame["cohort"] = frame["state"].map(starts)
    panel = Cells.from_rates(
        frame, cluster="state", period="class", cohort="cohort", outcome="income", rate="incearn_ln"
    ).panel()
    assert sum(weight for weight, _ in expected["summary"].values()) == pytest.approx(1.0, abs=2e-5)
    total = sum(weight * estimate for weight, estimate in expected["summary"].values())
    assert fit_two_way(panel).estimate[0] == pytest.approx(total, abs=2e-5)
