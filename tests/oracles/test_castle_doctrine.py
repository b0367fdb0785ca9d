"""Stand-your-ground laws and homicide: Cheng and Hoekstra (2013), doi:10.3368/jhr.48.3.821.

Data from the package causaldata (castle), estimates from pyfixest 0.60: l_homicide on post with state and year effects,
clustered by state, unweighted and by population. Their factor is G/(G-1) (N-1)/(N-2), with no effects in k; ours counts
the ten year effects, which don't lie inside states, as pyfixest and fixest do by default.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from sendap.cells import Cells, OutcomeInfo
from sendap.estimators import fit_two_way
from sendap.inference.cluster_robust import crv1_variance


@pytest.mark.parametrize(("name", "weights"), [("unweighted", "areas"), ("popwt", "children")])
def test_two_way_effect_of_the_laws(oracles, name, weights):
    folder = oracles / "causaldata_castle"
    expected = json.loads((folder / "expected.json").read_text())
    frame = pd.read_csv(folder / "data.csv.gz", usecols=["sid", "year", "post", "l_homicide", "popwt"])
    starts = frame[frame["post"] == 1].groupby("sid")["year"].min()
    frame["cohort"] = frame["sid"].map(starts)
    # The start says all that the published dummy says.
    assert ((frame["year"] >= frame["cohort"]) == (frame["post"] == 1)).all()
    assert len(frame) == expected["nobs"]
    rows = {
        "outcome": "l_homicide",
        "cluster": frame["sid"],
        "period": frame["year"],
        "cohort": frame["cohort"],
        "n": 1.0,
        "n_observed": 1.0,
        "weight": frame["popwt"],
        "sum": frame["popwt"] * frame["l_homicide"],
        "sum_squares": frame["popwt"] * frame["l_homicide"] ** 2,
    }
    fit = fit_two_way(Cells(pd.DataFrame(rows), {"l_homicide": OutcomeInfo()}).panel(weights=weights))
    clusters, cells = 50, len(frame)
    assert fit.crv1_factor == pytest.approx(clusters / (clusters - 1) * (cells - 1) / (cells - 12), rel=1e-12)
    found = (fit.estimate[0], np.sqrt(crv1_variance(fit)[0] * (cells - 12) / (cells - 2)))
    np.testing.assert_allclose(found, expected[name], atol=expected["tolerance"])
