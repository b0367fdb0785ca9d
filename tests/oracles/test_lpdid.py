"""Local projections difference in differences: the authors' command in Stata, and the package lpdid in R.

Both sets of data come with the package pyfixest, whose own tests hold the printed results. Simulated data of the
command (2,000 units, 50 periods, 20 starts): -0.042566 five periods before the start, 72.635834 ten after it, 31.79438
over all eleven from the start on; pyfixest's read-me prints the error of the latter as 0.755459. Data of the package
did2s (1,500 units, 31 years): -0.073055295 twenty years before the start and 2.911501018 twenty after it.

The printed error has the factor G/(G-1) and nothing else. Ours also counts the 20 periods in which units start, so it
is one part in a thousand larger.

Plain least squares (variance weights), not yet treated controls, changes from the last period before the start.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyfixest
import pytest

from sendap.cells import Cells
from sendap.estimators.local_projections import LocalProjectionsFit, fit_local_projections
from sendap.inference.cluster_robust import crv1_variance

DATA = Path(pyfixest.__file__).parent / "did" / "data"


def fitted(frame: pd.DataFrame, unit: str, period: str, cohort: str, outcome: str) -> LocalProjectionsFit:
    cells = Cells.from_rates(frame, cluster=unit, period=period, cohort=cohort, outcome=outcome, rate=outcome)
    return fit_local_projections(cells.panel(), weighting="variance", after=10)


def events(fit: LocalProjectionsFit) -> pd.Series:
    rows = fit.terms.assign(estimate=fit.estimate)
    return rows[rows["term"] == "event"].set_index("event_time")["estimate"]


def test_the_command_in_stata():
    frame = pd.read_stata(DATA / "lpdidtestdata1.dta").astype({"unit": int, "time": int})
    fit = fitted(frame, "unit", "time", "event_date", "Y")
    assert fit.panel.mean.shape == (2000, 50)
    # Printed to six digits after the point.
    assert events(fit).loc[[-5.0, 10.0]].tolist() == pytest.approx([-0.042566, 72.635834], abs=5e-6)
    (overall,) = fit.estimate[(fit.terms["term"] == "overall").to_numpy()]
    assert overall == pytest.approx(31.79438, abs=5e-6)
    at = int(np.flatnonzero(fit.terms["term"] == "overall")[0])
    assert fit.crv1_factor[at] > 2000 / 1999
    error = np.sqrt(crv1_variance(fit)[at] / fit.crv1_factor[at] * 2000 / 1999)
    assert error == pytest.approx(0.755459, abs=5e-7)


def test_the_package_in_r():
    frame = pd.read_csv(DATA / "df_het.csv")
    fit = fitted(frame.assign(cohort=frame["g"].replace(0, np.nan)), "unit", "year", "cohort", "dep_var")
    assert fit.panel.mean.shape == (1500, 31)
    # Printed to nine digits after the point.
    assert events(fit).loc[[-20.0, 20.0]].tolist() == pytest.approx([-0.073055295, 2.911501018], abs=5e-10)
