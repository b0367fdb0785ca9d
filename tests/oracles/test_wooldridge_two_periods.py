"""Job training grants in two years: Wooldridge, Introductory Econometrics, section 13.4.

Holzer, Block, Cheatham and Knott (1993), 54 firms in 1987 and 1988, grants in 1988 only: the scrap rate changes by
-.739 (.683) more with a grant, its logarithm by -.317 (.164), and by -.564 (.405) and -.057 (.097) without. Data from
the package linearmodels (jobtraining). The book regresses changes on the grant with errors alike for all firms.
"""

from __future__ import annotations

import numpy as np
import pytest
from linearmodels.datasets import jobtraining

from sendap.cells import Cells
from sendap.estimators import fit_two_by_two

PRINTED = {"scrap": (-0.739, 0.683, -0.564, 0.405), "lscrap": (-0.317, 0.164, -0.057, 0.097)}
HALF_A_DIGIT = 0.0005


@pytest.mark.parametrize("outcome", PRINTED)
def test_effect_of_the_grant(outcome):
    frame = jobtraining.load()
    frame = frame[frame["year"].isin([1987, 1988])]
    granted = frame[(frame["year"] == 1988) & (frame["grant"] == 1)]["fcode"]
    frame = frame.assign(cohort=np.where(frame["fcode"].isin(granted), 1988.0, np.nan))
    frame = frame[frame.groupby("fcode")[outcome].transform("count") == 2]
    panel = Cells.from_rates(
        frame, cluster="fcode", period="year", cohort="cohort", outcome=outcome, rate=outcome
    ).panel()
    assert panel.mean.shape == (54, 2)
    fit = fit_two_by_two(panel, before=1987, after=1988)
    position = fit.terms.index[fit.terms["term"] == "overall"][0]
    treated = np.isfinite(panel.cohort)
    change = panel.mean[:, 1] - panel.mean[:, 0]
    left = change - np.where(treated, change[treated].mean(), change[~treated].mean())
    spread = np.sqrt((left**2).sum() / (54 - 2))
    weights = fit.weights()[position][:, 1]
    without = change[~treated]
    found = (
        fit.estimate[position],
        spread * np.sqrt((weights**2).sum()),
        without.mean(),
        spread / np.sqrt(len(without)),
    )
    np.testing.assert_allclose(found, PRINTED[outcome], atol=HALF_A_DIGIT)
