"""Event study with unit and period effects and a covariate: the walkthrough of the R package fixest (base_did).

feols(y ~ x1 + i(period, treat, 5) | id + period, cluster = ~id), coefficients printed there, errors from fixest 0.12.2
with its default factor G/(G-1) (N-1)/(N-k), unit effects nested in clusters and not counted.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from sendap.cells import Cells
from sendap.estimators.interacted import fit_sun_abraham
from sendap.estimators.least_squares import LeastSquaresFit, fit_event_study
from sendap.inference.cluster_robust import crv1_variance


def load(oracles):
    folder = oracles / "fixest_base_did"
    frame = pd.read_csv(folder / "data.csv.gz")
    frame["cohort"] = np.where(frame["treat"] == 1, 6.0, np.nan)
    cells = Cells.from_rates(frame, cluster="id", period="period", cohort="cohort", outcome="y", rate="y")
    return frame, cells.panel(), json.loads((folder / "expected.json").read_text())


def test_coefficients_and_errors_with_the_covariate(oracles):
    frame, panel, expected = load(oracles)
    covariate = frame.pivot(index="id", columns="period", values="x1").to_numpy()
    periods = [period for period in panel.periods if period != 5]
    treated = np.isfinite(panel.cohort)[:, None]
    columns = [covariate, *((treated & (panel.periods == period)[None, :]).astype(float) for period in periods)]
    names = ["x1", *map(str, periods)]
    terms = pd.DataFrame({"term": names, "event_time": np.nan})
    observed = np.isfinite(panel.mean)
    fit = LeastSquaresFit(panel, "event_study", "", terms, np.stack(columns, axis=2), observed)
    errors = np.sqrt(crv1_variance(fit))
    assert set(names) == set(expected["coef"])
    np.testing.assert_allclose(fit.estimate, [expected["coef"][name] for name in names], atol=1e-9)
    np.testing.assert_allclose(errors, [expected["se"][name] for name in names], atol=1e-9)


def test_with_one_start_the_interaction_weighted_study_is_the_event_study(oracles):
    """Without the covariate, which panels of cells don't hold by period."""
    _, panel, _ = load(oracles)
    plain, weighted = fit_event_study(panel), fit_sun_abraham(panel)
    events = (weighted.terms["term"] == "event").to_numpy()
    assert events.sum() == len(plain.estimate) == 9
    np.testing.assert_allclose(weighted.estimate[events], plain.estimate, rtol=1e-9)
    np.testing.assert_allclose(crv1_variance(weighted)[events], crv1_variance(plain), rtol=1e-9)
