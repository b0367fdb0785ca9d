"""The gap year by year and the share without a recorded group, against pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from disparity.made_groups import shares

from sendap.disparity.series import gap_series, unknown_share
from sendap.errors import UsageError


@pytest.fixture(scope="module")
def table():
    draw = np.random.default_rng(13)
    rows = []
    for area in range(24):
        start = 2023.0 if area < 12 else np.nan
        for year in range(2021, 2025):
            for name, p, n in (("A", 0.4 + 0.1 * (year >= start), 80), ("B", 0.6, 200), ("Unknown", 0.5, 5 + area % 3)):
                rows.append({"area": f"L{area:02d}", "year": year, "start": start, "g": name, "n": n,
                             "yes": draw.binomial(n, p)})  # fmt: skip
    return pd.DataFrame(rows)


def test_the_series_of_a_gap_is_that_of_pooled_children(table):
    found = gap_series(shares(table, strata=["g"]), by="g", group="A", reference="B", draws=300)
    assert found["arm"].tolist() == ["treated"] * 4 + ["comparison"] * 4
    sums = table.assign(arm=np.where(table["start"].notna(), "treated", "comparison"))
    sums = sums.groupby(["arm", "year", "g"])[["yes", "n"]].sum()
    rate = (100 * sums["yes"] / sums["n"]).unstack("g")
    for row in found.itertuples():
        assert row.gap == pytest.approx(rate.loc[(row.arm, row.period), "A"] - rate.loc[(row.arm, row.period), "B"])
        assert row.low < row.gap < row.high
        assert row.n_group == 12 * 80
    at = found.set_index(["arm", "period"])
    # -20 points before, -10 in treated areas after; the standard error of a gap is about 1.9.
    assert at.loc[("treated", 2024), "low"] < -10 < at.loc[("treated", 2024), "high"]
    assert at.loc[("comparison", 2024), "low"] < -20 < at.loc[("comparison", 2024), "high"]


def test_small_periods_are_kept_and_said(table):
    few = table[(table["g"] != "A") | (table["area"] == "L00") | (table["year"] < 2024)]
    few = few.assign(n=np.where((few["g"] == "A") & (few["year"] == 2024), 8, few["n"]))
    few = few.assign(yes=np.minimum(few["yes"], few["n"]))
    found = gap_series(shares(few, strata=["g"]), by="g", group="A", reference="B", draws=50)
    last = found[found["period"] == 2024]
    assert last["status"].tolist() == ["too few to say"] * 2
    assert last["gap"].isna().all()
    with pytest.raises(UsageError, match="no group 'C'"):
        gap_series(shares(table, strata=["g"]), by="g", group="C", reference="B")


def test_the_share_without_a_group(table):
    found = unknown_share(shares(table, strata=["g"]), by="g")
    assert len(found) == 8
    mine = table[(table["start"].notna()) & (table["year"] == 2022)]
    row = found[(found["arm"] == "treated") & (found["period"] == 2022)].iloc[0]
    assert row["share"] == pytest.approx(mine.loc[mine["g"] == "Unknown", "n"].sum() / mine["n"].sum())
    nobody = unknown_share(shares(table.assign(start=np.nan), strata=["g"]), by="g")
    assert set(nobody["arm"]) == {"all"}
