"""Two-stage difference in differences: the example of the R package did2s (data df_het), 2.152 (0.0476).

did2s(first_stage = ~ 0 | state + year, second_stage = ~ i(treat), cluster = state), README of kylebutts/did2s; more
digits in the tests of pyfixest. The error has no small-sample factor. States hold units of three cohorts and share one
effect, so a unit here is a state's units of one cohort: 46,500 rows become 120 units by 31 years.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from sendap.cells.panel import OutcomeInfo, Panel
from sendap.estimators.imputation import fit_imputation, fit_two_stage


@pytest.fixture
def panel(oracles):
    frame = pd.read_csv(oracles / "did2s_df_het" / "data.csv.gz")
    frame["cohort"] = frame["g"].replace(0, np.inf)
    cells = frame.groupby(["state", "cohort", "year"])["dep_var"].agg(["mean", "size"]).unstack("year")
    units = cells.index.to_frame(index=False).rename(columns={"state": "cluster"})
    clusters, cluster = np.unique(units["cluster"], return_inverse=True)
    count = cells["size"].fillna(0).to_numpy(dtype=float)
    return Panel(
        outcome="dep_var",
        clusters=clusters,
        units=units,
        periods=cells["mean"].columns.to_numpy(dtype=int),
        cohort=units["cohort"].to_numpy(),
        cluster=cluster,
        group=np.zeros(len(units), dtype=int),
        group_names=("all",),
        mean=cells["mean"].to_numpy(),
        weight=count,
        n=count,
        weights="children",
        info=OutcomeInfo(),
    )


def test_static_effect_and_its_error(oracles, panel):
    expected = json.loads((oracles / "did2s_df_het" / "expected.json").read_text())
    assert panel.n.sum() == 46_500
    fit = fit_two_stage(panel, unit_effects="cluster")
    assert fit.estimate[0] == pytest.approx(expected["att"][0], abs=1e-6)
    assert np.sqrt((fit.scores[:, 0] ** 2).sum()) == pytest.approx(expected["att"][1], abs=1e-6)


def test_imputation_has_the_same_estimate_and_a_smaller_error(panel):
    """Effects grow over time by design here, which imputation's error doesn't count as noise."""
    first, second = fit_two_stage(panel, unit_effects="cluster"), fit_imputation(panel, unit_effects="cluster")
    assert second.estimate[0] == pytest.approx(first.estimate[0], rel=1e-10)
    squares = [(fit.scores[:, 0] ** 2).sum() for fit in (first, second)]
    assert squares[1] < 0.7 * squares[0]
