"""Permutation with pupil effects equals dealing the starts out in every way and fitting each, record by record."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from path_records import draw_records, residualised, used_rows

from sendap.cells.compress_paths import compress_paths
from sendap.effects_paths import infer_paths
from sendap.estimators.paths import fit_two_way_paths

DRAWS = 5000


def every_statistic(rows: pd.DataFrame) -> tuple[float, np.ndarray]:
    """The studentised effect with the starts as they are, and under each different way to deal them out.

    Pupil and year dummies are taken out of all columns, row by row. A cluster's contribution is the sum over its rows
    of residual times the regressor without year effects, less the regressor's mean in the cluster; where nobody moves
    that's its score.
    """
    clusters, cluster = np.unique(rows["la_code"], return_inverse=True)
    starts = rows.drop_duplicates("la_code").set_index("la_code")["first_treated"].reindex(clusters).to_numpy()
    free = residualised(rows, np.eye(len(rows)), np.ones(len(rows)))
    years = pd.get_dummies(rows["year"]).to_numpy(dtype=float)[:, 1:]
    outcome = free @ rows["absence"].to_numpy()
    pupils = pd.get_dummies(rows["pupil"]).to_numpy(dtype=float)
    within = np.eye(len(rows)) - pupils @ np.linalg.pinv(pupils)
    dealt = sorted({tuple(np.nan_to_num(each, nan=np.inf)) for each in permutations(starts)})
    inside = pd.get_dummies(cluster).to_numpy(dtype=float)

    def statistic(dealt_out: np.ndarray) -> float:
        exposed = (rows["year"].to_numpy() >= dealt_out[cluster]).astype(float)
        left = free @ exposed
        if left @ left < 1e-9:
            return np.nan
        effect = left @ outcome / (left @ left)
        without_years = exposed - years @ np.linalg.lstsq(within @ years, within @ exposed, rcond=None)[0]
        centred = without_years - inside @ (inside.T @ without_years / inside.sum(axis=0))
        contributions = inside.T @ (centred * (outcome - effect * left))
        return abs(effect) * (left @ left) / np.sqrt((contributions**2).sum())

    return statistic(np.nan_to_num(starts, nan=np.inf)), np.array([statistic(np.array(each)) for each in dealt])


@pytest.mark.parametrize("moving", [0.0, 0.4])
@pytest.mark.parametrize("seed", [1, 5])
def test_permutation_equals_every_allocation_record_by_record(seed, moving):
    records = draw_records(seed, pupils=60, clusters=6, treated=3, moving=moving)
    if moving == 0:
        visits = records.groupby("pupil")["la_code"].transform("nunique") > 1
        records = records[~visits].reset_index(drop=True)
    fit = fit_two_way_paths(compress_paths(records, unit="pupil", outcomes=["absence"]))
    found = infer_paths(fit, draws=DRAWS).frame.iloc[0]
    own, others = every_statistic(used_rows(records))
    others = others[np.isfinite(others)]
    assert found["inference"] == "permutation"
    assert 20 <= found["draws"] < DRAWS  # all there are
    # Equal statistics differ in their last digits, so nearly equal counts as extreme on both sides.
    assert found["p_value"] == pytest.approx((others >= own * (1 - 1e-9)).mean(), abs=1e-12)
