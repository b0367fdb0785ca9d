"""One thing changed at a time, and who is counted: against fits of the changed data."""

from __future__ import annotations

import numpy as np
import pytest
from panels import as_cells, made_up

from sendap.estimators import fit_group_time
from sendap.probe.composition import composition
from sendap.probe.linear import overall_effect
from sendap.probe.variations import leave_one_region_out, vary_anticipation


def regions_of(panel):
    return np.array([panel.group_names[group] for group in panel.cluster_group])


def test_each_row_counts_so_many_periods_as_partly_exposed():
    panel = as_cells(made_up(areas=40, years=6, starts=(2019.0,), seed=3)).panel(within="region")
    found = vary_anticipation(panel, anticipation=1)
    assert list(found["anticipation"]) == [0, 1, 2, 3]
    assert list(found["headline"]) == [False, True, False, False]
    for row in found.iloc[:3].itertuples():
        real = overall_effect(fit_group_time(panel, anticipation=row.anticipation))
        assert [row.estimate, row.low, row.high] == [real.estimate, real.low, real.high]
    assert np.isnan(found["estimate"].iloc[3])
    assert "no period before treatment" in found["note"].iloc[3]


def test_a_change_that_came_a_year_early_moves_the_estimate():
    frame = made_up(areas=80, years=8, starts=(2021.0,), seed=3, regions=1)
    frame["y"] += 10.0 * (frame["year"] >= frame["cohort"] - 1)
    found = vary_anticipation(as_cells(frame).panel())["estimate"]
    # Noise of 2 in areas and years: a standard error of some 0.5.
    assert found[0] == pytest.approx(0, abs=2)
    assert found[1] == pytest.approx(10, abs=2)


def test_leaving_out_a_region_is_a_fit_of_the_others():
    frame = made_up(areas=45, seed=6, regions=4)
    frame.loc[frame["region"] == "region 3", "cohort"] = np.nan
    panel = as_cells(frame).panel(within="region")
    found = leave_one_region_out(panel, regions_of(panel)).set_index("region")
    assert sorted(found.index) == ["region 0", "region 1", "region 2"]
    for region in found.index:
        again = fit_group_time(as_cells(frame[frame["region"] != region]).panel(within="region"))
        expected = float(again.estimate[(again.terms["term"] == "overall").to_numpy()][0])
        assert found.loc[region, "estimate"] == pytest.approx(expected, rel=1e-9)
    one = as_cells(made_up(areas=20, regions=1)).panel()
    assert "no area" in leave_one_region_out(one, np.full(20, "all"))["note"].item().lower()


@pytest.mark.parametrize(("change", "threat"), [(1.0, "low"), (1.07, "moderate"), (1.4, "high")])
def test_a_change_in_who_is_counted_is_found(change, threat):
    frame = made_up(areas=60, starts=(2019.0,), seed=2, regions=1)
    generator = np.random.default_rng(1)
    size = dict(zip(frame["area"].unique(), generator.uniform(200, 900, 60), strict=True))
    frame["n"] = frame["area"].map(size) * np.exp(generator.normal(0, 0.02, len(frame)))
    frame["n"] *= np.where(frame["year"] >= frame["cohort"], change, 1.0)
    found = composition(as_cells(frame).panel())
    # Noise of 2% in sixty areas and years: a standard error under 1%.
    assert found.counted is not None
    assert np.exp(found.counted.estimate) == pytest.approx(change, abs=0.02)
    assert found.threat == threat


def test_rates_without_counts_say_so_and_gaps_are_told_apart():
    frame = made_up(areas=40, years=6, starts=(2019.0,), share_treated=0.5, regions=1)
    gone = frame["cohort"].notna() & (frame["year"] >= 2019) & (frame["area"] < "A005")
    found = composition(as_cells(frame[~gone]).panel())
    assert found.counted is None
    assert found.threat is None
    assert found.missing[0] == pytest.approx((0, 0.25))
    assert found.missing[1] == (0, 0)
    assert found.missing_change == pytest.approx(0.25)
