"""California's cigarette sales and Proposition 99: Linden (2015), Stata Journal 15(2), 480-500.

The command's worked example: one series, and its difference from the mean of the other states. The coefficients are
printed to seven digits in the help file of its companion `power multi_itsa` (treated: level 132.2258, slope -1.779474,
step -20.0581, slope after -3.274126; controls: 135.4995, -.5477701, -17.25168, -1.051279; difference of the steps
-2.806417).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sendap import interrupted_series


@pytest.fixture
def sales(oracles) -> pd.DataFrame:
    rows = pd.read_csv(oracles / "synthdid_prop99" / "data.csv.gz", sep=None, engine="python")
    rows = rows.assign(california=rows["State"] == "California")
    return rows.groupby(["Year", "california"])["PacksPerCapita"].mean().unstack()


def row(found, name: str) -> pd.Series:
    return found.frame[found.frame["term"] == name].iloc[0]


def test_single_series(sales):
    found = interrupted_series(sales[True], start=1989, errors="newey_west", lag=1)
    fit = found.parts["interrupted_series"]
    # Printed to seven digits, from data stored to single precision.
    np.testing.assert_allclose(fit.coefficients[:3], [132.2258, -1.779474, -20.0581], rtol=2e-6)
    assert fit.coefficients[1] + fit.coefficients[3] == pytest.approx(-3.274126, rel=2e-6)
    assert row(found, "level")["dof"] == 27


def test_controls_and_difference(sales):
    controls = interrupted_series(sales[False], start=1989, errors="newey_west", lag=1).parts["interrupted_series"]
    np.testing.assert_allclose(controls.coefficients[:3], [135.4995, -0.5477701, -17.25168], rtol=2e-6)
    assert controls.coefficients[1] + controls.coefficients[3] == pytest.approx(-1.051279, rel=2e-6)
    found = interrupted_series(sales[True], start=1989, control=sales[False], errors="newey_west", lag=1)
    assert row(found, "level")["estimate"] == pytest.approx(-2.806417, rel=2e-6)
    assert row(found, "slope")["estimate"] == pytest.approx(-3.274126 + 1.779474 + 1.051279 - 0.5477701, rel=2e-6)
