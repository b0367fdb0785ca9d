"""Active choice and organ donor registrations in California: Kessler and Roth (2014), doi:10.3386/w20378.

Huntington-Klein, The Effect, chapter 18: -0.022 (0.006). Data from the package causaldata (organ_donations), full
digits from pyfixest 0.60. One state of 27 is treated, so these errors only show that ours are the same as theirs: the
test of this design is by permutation, and ``infer`` refuses the printed one.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from sendap.cells import Cells
from sendap.errors import UsageError
from sendap.estimators import fit_event_study, fit_two_way
from sendap.inference import infer
from sendap.inference.cluster_robust import crv1_variance


@pytest.fixture
def panel(oracles):
    frame = pd.read_csv(oracles / "causaldata_organ_donations" / "data.csv.gz")
    frame["cohort"] = np.where(frame["State"] == "California", 4.0, np.nan)
    return Cells.from_rates(
        frame, cluster="State", period="Quarter_Num", cohort="cohort", outcome="rate", rate="Rate"
    ).panel()


@pytest.fixture
def expected(oracles):
    return json.loads((oracles / "causaldata_organ_donations" / "expected.json").read_text())


def test_two_way_effect(panel, expected):
    fit = fit_two_way(panel)
    assert fit.estimate[0] == pytest.approx(expected["att"][0], abs=1e-9)
    error = np.sqrt(crv1_variance(fit)[0])
    assert error == pytest.approx(expected["att"][1], abs=1e-8)
    # linearmodels counts the state effects in k, although they lie inside clusters, and has no G/(G - 1).
    plain = (fit.scores[:, 0] ** 2).sum()
    assert np.sqrt(plain * 162 / (162 - 27 - 5 - 1)) == pytest.approx(expected["linearmodels_se"], abs=1e-8)


def test_effects_by_quarter(panel, expected):
    fit = fit_event_study(panel)
    # The published errors count no quarter effects in k (five coefficients and one), ours count the five.
    errors = np.sqrt(crv1_variance(fit) * (162 - 11) / (162 - 6))
    found = pd.DataFrame({"estimate": fit.estimate, "error": errors}).set_index(fit.terms["event_time"] + 4)
    assert len(found) == len(expected["event"]) == 5
    for quarter, item in expected["event"].items():
        np.testing.assert_allclose(found.loc[float(quarter)], item, atol=5e-8)


def test_its_printed_error_is_refused_for_one_treated_state(panel):
    with pytest.raises(UsageError, match="With 1 treated cluster"):
        infer(fit_two_way(panel), inference="crv1")
