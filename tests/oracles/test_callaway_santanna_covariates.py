"""Group-time effects of minimum wages, to all digits: reference output of the R package did 2.5 (data mpdta).

att_gt(lemp, year, countyreal, first.treat) with never treated controls and varying base, analytic errors: doubly robust
and weighting without covariates, regression with lpop. Stored by the Python package csdid for its own tests. Errors
have no small-sample factor; averages count the estimation of cohort shares.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from sendap.cells import Cells
from sendap.estimators.group_time_covariates import fit_group_time_covariates

KINDS = {"simple": "overall", "group": "group", "dynamic": "event", "calendar": "calendar"}
COLUMN = {"group": "cohort", "dynamic": "event_time", "calendar": "period"}


@pytest.fixture(scope="module", params=["nev_dr", "nev_ipw", "nev_reg_cov"])
def case(request, oracles):
    expected = json.loads((oracles / f"cs_mpdta_{request.param}" / "expected.json").read_text())
    frame = pd.read_csv(oracles / "callaway_santanna_mpdta" / "mpdta.csv")
    frame["cohort"] = frame["first.treat"].replace(0, np.nan)
    panel = Cells.from_rates(
        frame, cluster="countyreal", period="year", cohort="cohort", outcome="lemp", rate="lemp"
    ).panel()
    covariates = frame[["countyreal", "lpop"]].drop_duplicates().rename(columns={"countyreal": "cluster"})
    method = {"nev_dr": "doubly_robust", "nev_ipw": "weighting", "nev_reg_cov": "regression"}[request.param]
    given = covariates if request.param.endswith("cov") else None
    fit = fit_group_time_covariates(panel, given, method=method, base="varying")
    rows = fit.terms.assign(estimate=fit.estimate, error=np.sqrt((fit.scores**2).sum(axis=0)))
    return expected, fit, rows


def test_every_pair(case):
    expected, _, rows = case
    pairs = rows[rows["term"] == "att"].set_index(["cohort", "period"])
    assert len(pairs) == len(expected["attgt"]) == 12
    for item in expected["attgt"]:
        found = pairs.loc[(item["group"], item["t"])]
        assert found["estimate"] == pytest.approx(item["att"], abs=expected["tolerance"]["att"])
        assert found["error"] == pytest.approx(item["se"], abs=expected["tolerance"]["se"])


def test_every_average(case):
    expected, _, rows = case
    for item in expected["aggte"]:
        chosen = rows[rows["term"] == KINDS[item["type"]]]
        if item["type"] == "simple":
            found, wanted = chosen.iloc[0], (item["overall_att"], item["overall_se"])
        else:
            found = chosen.set_index(COLUMN[item["type"]]).loc[item["egt"]]
            wanted = (item["att_egt"], item["se_egt"])
        assert found["estimate"] == pytest.approx(wanted[0], abs=expected["tolerance"]["att"])
        assert found["error"] == pytest.approx(wanted[1], abs=expected["tolerance"]["se"])


def test_averages_of_averages_and_the_joint_test_before_treatment(case):
    """Means over event times from the start on, and over calendar periods; a Wald test of all pairs before it."""
    expected, fit, rows = case
    for kind, chosen in (
        ("dynamic", (rows["term"] == "event") & (rows["event_time"] >= 0)),
        ("calendar", rows["term"] == "calendar"),
    ):
        item = next(each for each in expected["aggte"] if each["type"] == kind)
        assert fit.estimate[chosen].mean() == pytest.approx(item["overall_att"], abs=1e-8)
        error = np.sqrt((fit.scores[:, chosen].mean(axis=1) ** 2).sum())
        assert error == pytest.approx(item["overall_se"], abs=1e-6)
    before = ((rows["term"] == "att") & (rows["event_time"] < 0)).to_numpy()
    scores = fit.scores[:, before]
    statistic = fit.estimate[before] @ np.linalg.solve(scores.T @ scores, fit.estimate[before])
    assert statistic == pytest.approx(expected["pretest"][0]["W"], rel=1e-6)
