"""Extended two-way effects of minimum wages with a covariate: the README of the R package etwfe (data mpdta).

etwfe(lemp ~ lpop, tvar = year, gvar = first.treat, vcov = ~ countyreal), emfx(type = "event"), printed to four digits.
The published regression has cohort effects and slopes where ours has unit effects: the same effects in a balanced
panel, but lpop and its interactions with three cohorts count as four more coefficients in the small-sample factor,
and the printed coefficient of lpop itself is no part of a model with unit effects.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from sendap.cells import Cells
from sendap.estimators.interacted import fit_extended_two_way
from sendap.inference.cluster_robust import crv1_variance

COEFFICIENTS = 4 + 18 + 1
"""Period effects; seven cohort-by-period effects with their slopes and four slopes by period; one for the mean."""


def test_event_time_effects_and_errors(oracles):
    expected = json.loads((oracles / "etwfe_mpdta" / "expected.json").read_text())
    frame = pd.read_csv(oracles / "callaway_santanna_mpdta" / "mpdta.csv")
    frame["cohort"] = frame["first.treat"].replace(0, np.nan)
    covariates = frame[["countyreal", "lpop"]].drop_duplicates().rename(columns={"countyreal": "cluster"})
    panel = Cells.from_rates(
        frame, cluster="countyreal", period="year", cohort="cohort", outcome="lemp", rate="lemp"
    ).panel()
    fit = fit_extended_two_way(panel, covariates=covariates)
    cells = len(frame)
    assert fit.crv1_factor == pytest.approx(500 / 499 * (cells - 1) / (cells - COEFFICIENTS), rel=1e-12)
    more = np.sqrt((cells - COEFFICIENTS) / (cells - COEFFICIENTS - 4))
    rows = fit.terms.assign(estimate=fit.estimate, error=np.sqrt(crv1_variance(fit)) * more)
    events = rows[rows["term"] == "event"].set_index("event_time")[["estimate", "error"]]
    assert len(events) == len(expected["event"]) == 4
    for event, item in expected["event"].items():
        np.testing.assert_allclose(events.loc[float(event)], item, atol=expected["tolerance"]["coef"])
