"""Regressions with effects of units and of periods, from textbooks, on data that linearmodels and statsmodels carry.

- Vella and Verbeek (1998), 545 men in 1980 to 1987: Wooldridge, Introductory Econometrics, example 14.4 and table 14.2.
- Munnell (1990), 48 states in 1970 to 1986: Croissant and Millo (2008), doi:10.18637/jss.v027.i02, the package plm,
  `plm(log(gsp) ~ log(pcap) + log(pc) + log(emp) + unemp, Produc, effect = "twoways")`, all printed digits.
- Grunfeld (1958), ten firms in 1935 to 1954: Baltagi, Econometric Analysis of Panel Data, table 3.1, row "within".
  statsmodels carries an eleventh firm, American Steel, which isn't in the book's data.

All use ordinary least squares with errors alike for all units and periods, and units + periods - 1 + coefficients
degrees of freedom; our cluster-robust errors aren't theirs. The men's experience grows by one each year, so with year
effects it drops out and its square doesn't.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from linearmodels.datasets import munnell, wage_panel
from statsmodels.datasets import grunfeld

from sendap.cells import Cells
from sendap.estimators.least_squares import LeastSquaresFit

Printed = dict[str, tuple[str, str]]


def wages() -> tuple[pd.DataFrame, str, str, str]:
    return wage_panel.load(), "nr", "year", "lwage"


def states() -> tuple[pd.DataFrame, str, str, str]:
    frame = munnell.load()
    for name in ("GSP", "P_CAP", "PC", "EMP"):
        frame[f"log {name}"] = np.log(frame[name])
    return frame, "ST_ABB", "YR", "log GSP"


def firms() -> tuple[pd.DataFrame, str, str, str]:
    frame = grunfeld.load_pandas().data
    kept = frame[frame["firm"] != "American Steel"]
    return kept.assign(year=kept["year"].astype(int)), "firm", "year", "invest"


CASES: dict[str, tuple] = {
    "wages": (
        wages,
        (545, 8),
        {"expersq": ("-.0052", ".0007"), "married": (".0467", ".0183"), "union": (".0800", ".0193")},
    ),
    "states": (
        states,
        (48, 17),
        {
            "log P_CAP": ("-0.0301761", "0.0269365"),
            "log PC": ("0.1688280", "0.0276563"),
            "log EMP": ("0.7693062", "0.0281418"),
            "UNEMP": ("-0.0042211", "0.0011388"),
        },
    ),
    "firms": (firms, (10, 20), {"value": (".118", ".014"), "capital": (".358", ".023")}),
}


def half_a_digit(printed: str) -> float:
    """Half a unit of the last printed digit: what rounding may hide."""
    return 0.5 * 10.0 ** Decimal(printed).as_tuple().exponent  # type: ignore[operator]


@pytest.mark.parametrize("name", CASES)
def test_two_way_coefficients_and_errors(name):
    load, shape, printed = CASES[name]
    frame, unit, period, outcome = load()
    panel = Cells.from_rates(
        frame.assign(cohort=np.nan), cluster=unit, period=period, cohort="cohort", outcome=outcome, rate=outcome
    ).panel()
    assert panel.mean.shape == shape
    regressors = np.stack(
        [frame.pivot(index=unit, columns=period, values=name).to_numpy(dtype=float) for name in printed], axis=2
    )
    terms = pd.DataFrame({"term": list(printed), "event_time": np.nan})
    fit = LeastSquaresFit(panel, "two_way", "", terms, regressors, np.isfinite(panel.mean))
    net = panel.mean - regressors @ fit.estimate
    residual = net - net.mean(axis=1, keepdims=True) - net.mean(axis=0) + net.mean()
    free = panel.mean.size - sum(shape) + 1 - len(printed)
    errors = np.sqrt((residual**2).sum() / free * (fit.weights() ** 2).sum(axis=(1, 2)))
    for (estimate, error), found, spread in zip(printed.values(), fit.estimate, errors, strict=True):
        assert found == pytest.approx(float(estimate), abs=half_a_digit(estimate))
        assert spread == pytest.approx(float(error), abs=half_a_digit(error))
