"""Slope and relative index of inequality, against statsmodels and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from disparity.made_groups import shares

from sendap.disparity.gradient import gradient, ridits
from sendap.errors import DesignError, UsageError


def table(seed=1, *, slope=-0.2, bend=0.0, areas=40):
    draw = np.random.default_rng(seed)
    rows = [
        {"area": f"A{area:02d}", "idaci": str(decile), "n": int(draw.integers(20, 200))}
        for area in range(areas)
        for decile in range(1, 11)
    ]
    frame = pd.DataFrame(rows)
    x = (frame["idaci"].astype(int) - 0.5) / 10
    return frame.assign(yes=draw.binomial(frame["n"], 0.5 + slope * (x - 0.5) + bend * (x - 0.5) ** 2))


def test_ridits_are_the_middles_of_the_shares():
    assert ridits(np.array([10.0, 30.0, 60.0])) == pytest.approx([0.05, 0.25, 0.70])


def test_indices_equal_statsmodels():
    """Least squares and Poisson on the ten categories: exact up to the convergence of each (1e-8)."""
    frame = table()
    found = gradient(shares(frame, strata=["idaci"]), by="idaci", draws=50)
    sums = frame.assign(decile=frame["idaci"].astype(int)).groupby("decile")[["yes", "n"]].sum()
    share = sums["n"] / sums["n"].sum()
    x = sm.add_constant((share.cumsum() - share / 2).to_numpy())
    line = sm.WLS((100 * sums["yes"] / sums["n"]).to_numpy(), x, weights=sums["n"].to_numpy()).fit()
    assert found.value("slope index")["estimate"] == pytest.approx(line.params[1], rel=1e-9)
    relative = (line.params[0] + line.params[1]) / line.params[0]
    assert found.value("relative index (Kunst-Mackenbach)")["estimate"] == pytest.approx(relative, rel=1e-9)
    poisson = sm.GLM(sums["yes"].to_numpy(), x, family=sm.families.Poisson(), offset=np.log(sums["n"].to_numpy())).fit(
        tol=1e-12
    )
    expected = np.exp(poisson.params[1])
    assert found.value("relative index (Poisson)")["estimate"] == pytest.approx(expected, rel=1e-8)
    square = sm.WLS((100 * sums["yes"] / sums["n"]).to_numpy(), np.column_stack([x, x[:, 1] ** 2]), weights=sums["n"])
    assert found.value("curvature")["estimate"] == pytest.approx(square.fit().params[2], rel=1e-6)
    # Deciles sort as numbers: 10 comes last, not after 1.
    assert found.categories["category"].tolist() == [str(decile) for decile in range(1, 11)]


def test_a_planted_gradient_is_found_and_worded():
    found = gradient(shares(table(slope=-0.2), strata=["idaci"]), by="idaci", draws=500)
    slope = found.value("slope index")
    # -20 points planted; with 44,000 children the standard error is about 0.8.
    assert slope["estimate"] == pytest.approx(-20, abs=2.5)
    assert slope["low"] < -20 < slope["high"]
    assert found.linear
    assert "lower at the least than at the most deprived end" in found.sentence()
    none = gradient(shares(table(seed=6, slope=0.0), strata=["idaci"]), by="idaci", draws=500)
    assert "can't tell" in none.sentence()
    bent = gradient(shares(table(slope=0.0, bend=1.0), strata=["idaci"]), by="idaci", draws=500)
    assert not bent.linear
    assert "straight line" in bent.sentence()


def test_order_unknown_and_refusals():
    frame = table(areas=6).assign(
        idaci=lambda rows: rows["idaci"].map(lambda d: "low" if int(d) < 4 else "middle" if int(d) < 8 else "high")
    )
    frame = frame.groupby(["area", "idaci"], as_index=False)[["n", "yes"]].sum()
    extra = pd.DataFrame({"area": ["A00"], "idaci": ["Unknown"], "n": [30], "yes": [10]})
    cells = shares(pd.concat([frame, extra], ignore_index=True), strata=["idaci"])
    found = gradient(cells, by="idaci", order=["low", "middle", "high"], draws=50)
    assert found.categories["status"].tolist() == ["ok", "ok", "ok", "outside the order"]
    assert found.categories["ridit"].iloc[0] < found.categories["ridit"].iloc[2]
    with pytest.raises(UsageError, match="aren't whole numbers"):
        gradient(cells, by="idaci")
    with pytest.raises(UsageError, match="no category 'top'"):
        gradient(cells, by="idaci", order=["low", "middle", "top"])
    with pytest.raises(DesignError, match="at least 3"):
        gradient(cells, by="idaci", order=["low", "high"])
    with pytest.raises(UsageError, match="have none"):
        gradient(cells, by="ethnicity")
