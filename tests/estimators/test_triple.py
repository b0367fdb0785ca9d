"""Triple differences, against saturated regressions on rows and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyfixest
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import made_up

from sendap.cells import Cells
from sendap.errors import DesignError, UsageError
from sendap.estimators.least_squares import fit_two_way
from sendap.estimators.triple import fit_triple, gap_panel, of_group
from sendap.inference.cluster_robust import crv1_variance

CLOSE = {"rtol": 1e-7, "atol": 1e-8}
CHOSEN = {"stratum": "sex", "group": "Female", "reference": "Male"}


def two_groups(*, seed: int = 1, missing: float = 0.0, effects: tuple[float, float] = (0.0, 0.0), **options):
    """A long panel with two groups in each area, each with levels, drift and records of its own."""
    first = made_up(seed=seed, counts=True, missing=missing, effect=effects[0], **options)
    second = made_up(seed=seed + 50_000, counts=True, missing=missing, effect=effects[1], **options)
    region = first.drop_duplicates("area").set_index("area")["region"]
    both = pd.concat([first.assign(sex="Female"), second.assign(sex="Male")], ignore_index=True)
    return both.assign(region=both["area"].map(region)).dropna(subset=["region"])


def as_strata(frame: pd.DataFrame, strata=("sex",)) -> Cells:
    """As counts, on a scale on which every outcome lies between 0 and 1; its level tells nothing."""
    return Cells.from_rates(
        frame.assign(part=(frame["y"] + 500) * frame["n"] / 1000),
        cluster="area",
        period="year",
        cohort="cohort",
        outcome="y",
        numerator="part",
        denominator="n",
        scale=1000,
        strata=strata,
        clusters=frame[["area", "region"]].drop_duplicates().rename(columns={"area": "cluster"}),
    )


@settings(max_examples=5, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.1]),
    weights=st.sampled_from(["areas", "children"]),
)
def test_equals_the_regression_with_all_pairs_of_effects(seed, missing, weights):
    """y on the triple interaction with area by group, group by year and area by year effects."""
    frame = two_groups(seed=seed, missing=missing, areas=20)
    found = fit_triple(as_strata(frame).panel(weights=weights), **CHOSEN)
    after = (frame["year"] >= frame["cohort"]).astype(float)
    rows = frame.assign(d=after * (frame["sex"] == "Female"), after=after)
    options = {"vcov": {"CRV1": "area"}, "ssc": pyfixest.ssc(k_adj=False, G_adj=False)}
    options |= {"fixef_tol": 1e-13, "fixef_maxiter": 100_000}
    options |= {"weights": "n"} if weights == "children" else {}
    other = pyfixest.feols("y ~ d | area^sex + sex^year + area^year", rows, **options)
    assert found.gap.estimate[0] == pytest.approx(other.coef()["d"], rel=1e-7, abs=1e-8)
    # Cluster contributions without small-sample factors, which count cells of the gap here and rows there.
    assert np.sqrt((found.gap.scores[:, 0] ** 2).sum()) == pytest.approx(other.se()["d"], rel=1e-6)
    for name, fit in zip(found.names, (found.group, found.reference), strict=True):
        alone = pyfixest.feols("y ~ after | area + year", rows[rows["sex"] == name], **options)
        assert fit.estimate[0] == pytest.approx(alone.coef()["after"], rel=1e-7, abs=1e-8)
        assert np.sqrt((fit.scores[:, 0] ** 2).sum()) == pytest.approx(alone.se()["after"], rel=1e-6)


def test_inside_regions_equals_region_by_group_by_year_effects():
    frame = two_groups(seed=3, areas=30)
    found = fit_triple(as_strata(frame).panel(within="region"), **CHOSEN)
    rows = frame.assign(d=((frame["year"] >= frame["cohort"]) & (frame["sex"] == "Female")).astype(float))
    other = pyfixest.feols(
        "y ~ d | area^sex + region^sex^year + area^year", rows, fixef_tol=1e-13, fixef_maxiter=100_000
    )
    assert found.gap.estimate[0] == pytest.approx(other.coef()["d"], rel=1e-7)


def test_with_one_start_it_is_the_difference_of_eight_means():
    frame = two_groups(seed=4, starts=(2019.0,))
    found = fit_triple(as_strata(frame).panel(), **CHOSEN)
    keys = [frame["sex"], frame["cohort"].notna().rename("treated"), (frame["year"] >= 2019).rename("after")]
    means = frame.groupby(keys)["y"].mean()
    change = means.xs(True, level="after") - means.xs(False, level="after")
    effect = change.xs(True, level="treated") - change.xs(False, level="treated")
    assert found.gap.estimate[0] == pytest.approx(effect["Female"] - effect["Male"], rel=1e-9)
    assert found.group.estimate[0] == pytest.approx(effect["Female"], rel=1e-9)
    assert found.reference.estimate[0] == pytest.approx(effect["Male"], rel=1e-9)


@pytest.mark.parametrize("method", ["two_way", "group_time", "imputation"])
def test_the_gap_is_the_difference_of_both_effects_where_all_weigh_alike(method):
    found = fit_triple(as_strata(two_groups(seed=5)).panel(), method=method, **CHOSEN)
    keys = ["term", "cohort", "period", "event_time"]
    parts = [
        fit.terms[keys].assign(**{name: fit.estimate})
        for name, fit in (("gap", found.gap), ("one", found.group), ("two", found.reference))
    ]
    joined = parts[0].merge(parts[1], on=keys).merge(parts[2], on=keys)
    assert len(joined) == len(found.gap.terms)
    np.testing.assert_allclose(joined["gap"], joined["one"] - joined["two"], **CLOSE)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), method=st.sampled_from(["two_way", "group_time", "imputation"]))
def test_shocks_to_areas_years_and_groups_change_nothing(seed, method):
    """Anything common to both groups of an area and year, or to a group in a year, or lasting in an area's group."""
    frame = two_groups(seed=seed, areas=16, missing=0.1)
    generator = np.random.default_rng(seed)
    moved = frame.copy()
    for keys in (["area", "year"], ["sex", "year"], ["area", "sex"]):
        shock = frame[keys].drop_duplicates()
        shock["shock"] = generator.normal(0, 15, len(shock))
        moved["y"] += frame.merge(shock, on=keys, how="left")["shock"].to_numpy()
    first, second = (
        fit_triple(as_strata(each).panel(weights="children"), method=method, **CHOSEN).gap for each in (frame, moved)
    )
    np.testing.assert_allclose(first.estimate, second.estimate, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(crv1_variance(first), crv1_variance(second), rtol=1e-6, atol=1e-7)
    swapped = fit_triple(
        as_strata(frame).panel(weights="children"), method=method, stratum="sex", group="Male", reference="Female"
    )
    np.testing.assert_allclose(swapped.gap.estimate, -first.estimate, **CLOSE)


def test_known_effects_are_found():
    found = fit_triple(as_strata(two_groups(seed=6, areas=300, effects=(5.0, 2.0))).panel(), **CHOSEN)
    for fit, truth in ((found.gap, 3.0), (found.group, 5.0), (found.reference, 2.0)):
        error = float(np.sqrt(crv1_variance(fit)[0]))
        assert fit.estimate[0] == pytest.approx(truth, abs=4 * error)
        assert error < 0.6


def test_the_gap_panel_can_be_permuted():
    found = fit_triple(as_strata(two_groups(seed=7)).panel(), **CHOSEN).gap
    again = found.permute(found.panel.cluster_cohort[None, :], np.array([0]))
    assert again.outcome[0, 0] == pytest.approx(found.estimate[0], rel=1e-9)


def test_areas_with_one_group_only_do_not_count():
    frame = two_groups(seed=8)
    lonely = frame[(frame["area"] != "A004") | (frame["sex"] == "Male")]
    panel = as_strata(lonely).panel()
    gap = gap_panel(panel, "sex", "Female", "Male")
    assert "A004" not in gap.clusters
    without = fit_two_way(gap_panel(as_strata(frame[frame["area"] != "A004"]).panel(), "sex", "Female", "Male"))
    assert fit_triple(panel, **CHOSEN).gap.estimate[0] == pytest.approx(without.estimate[0], rel=1e-10)


def test_designs_that_cannot_work_are_refused():
    frame = two_groups(seed=9)
    panel = as_strata(frame).panel()
    with pytest.raises(UsageError, match="no stratum 'gender'"):
        fit_triple(panel, stratum="gender", group="Female", reference="Male")
    with pytest.raises(UsageError, match="has no group 'Femal'. Did you mean 'Female'"):
        fit_triple(panel, stratum="sex", group="Femal", reference="Male")
    with pytest.raises(UsageError, match="two different groups"):
        fit_triple(panel, stratum="sex", group="Male", reference="Male")
    with pytest.raises(UsageError, match="method must be"):
        fit_triple(panel, method="stacked", **CHOSEN)
    apart = frame[(frame["area"] < "A015") == (frame["sex"] == "Male")]
    with pytest.raises(DesignError, match="No area has 'y' for both"):
        fit_triple(as_strata(apart).panel(), **CHOSEN)
    with pytest.raises(DesignError, match="never varies"):
        fit_triple(as_strata(frame.assign(y=4.0)).panel(), **CHOSEN)
    finer = pd.concat([frame.assign(fsm="Yes"), frame.assign(fsm="No")])
    with pytest.raises(UsageError, match=r"several units.*keep=\['sex'\]"):
        of_group(as_strata(finer, ("sex", "fsm")).panel(), "sex", "Male")
