"""The public estimators beyond the first four: what they return, and which designs they refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from panels import as_cells, made_up

from sendap import effects_more
from sendap.cells import Cells
from sendap.effects import group_time
from sendap.errors import DataError, DesignError, UsageError
from sendap.estimators.imputation import fit_imputation
from sendap.results import COLUMNS

LINEAR = {
    "imputation": effects_more.imputation,
    "two_stage": effects_more.two_stage,
    "sun_abraham": effects_more.sun_abraham,
    "extended_two_way": effects_more.extended_two_way,
}


def overall(found) -> pd.Series:
    rows = found.headline()
    return rows[rows["term"] == "overall"].iloc[0]


def with_groups(**options) -> Cells:
    """Two strata, sex and fsm, in each area."""
    cohort = made_up(**options).drop_duplicates("area").set_index("area")["cohort"]
    parts = []
    for number, (sex, fsm) in enumerate([(sex, fsm) for sex in ("Female", "Male") for fsm in ("Yes", "No")]):
        part = made_up(**{**options, "seed": 100 + number, "counts": True}).assign(sex=sex, fsm=fsm)
        parts.append(part.assign(cohort=part["area"].map(cohort)))
    frame = pd.concat(parts)
    return Cells.from_rates(
        frame.assign(part=frame["y"] * frame["n"] / 200),
        cluster="area",
        period="year",
        cohort="cohort",
        outcome="y",
        numerator="part",
        denominator="n",
        scale=200,
        strata=["sex", "fsm"],
    )


@pytest.mark.parametrize("name", sorted(LINEAR))
def test_results_have_one_shape(name):
    cells = replace(as_cells(made_up(seed=1, effect=6.0, areas=40, counts=True)), metadata={"synthetic": True})
    found = LINEAR[name](cells, "y", weights="children", draws=99)
    assert list(found.frame.columns) == list(COLUMNS)
    row = overall(found)
    assert row["estimator"] == name
    assert row["weight"] == "children"
    assert row["synthetic"]
    assert row["ci_low"] < row["estimate"] < row["ci_high"]
    assert row["ci_low"] < 6.0 < row["ci_high"]
    assert row["treated_clusters"] == 16
    assert row["inference"] == "crv3"
    # Permutation as the second method of the headline term.
    assert "permutation" in set(found.frame.query("term == 'overall'")["inference"])
    assert {"overall", "group", "event"} <= set(found.frame["term"])
    assert (found.frame.query("term == 'event'")["event_time"] < 0).any() == (name != "extended_two_way")


@pytest.mark.parametrize("name", sorted(LINEAR))
def test_with_few_treated_areas_the_headline_is_permutation(name):
    frame = made_up(seed=2, effect=20.0, share_treated=0.1)
    row = overall(LINEAR[name](as_cells(frame), draws=199))
    assert row["treated_clusters"] == 3
    assert row["inference"] == "permutation"
    assert row["p_value"] < 0.05
    assert row["ci_low"] < 20 < row["ci_high"]
    with pytest.raises(UsageError, match="'crv1' isn't valid here"):
        LINEAR[name](as_cells(frame), inference="crv1")


def test_without_an_effect_few_intervals_miss_zero():
    """Imputation on twenty panels without an effect: at 95%, seven or more misses would happen once in 10,000."""
    missed = 0
    for seed in range(20):
        row = overall(effects_more.imputation(as_cells(made_up(seed=seed, areas=24)), permute=False))
        missed += not row["ci_low"] < 0 < row["ci_high"]
    assert missed < 7


def test_arguments_reach_the_estimators():
    frame = made_up(seed=3, areas=40, counts=True)
    cells = as_cells(frame)
    panel = cells.panel(within="region")
    found = effects_more.imputation(cells, within="region", anticipation=1, leads=1, permute=False, contrast="main")
    fit = fit_imputation(panel, anticipation=1, leads=1)
    assert overall(found)["estimate"] == pytest.approx(fit.estimate[0], rel=1e-12)
    assert overall(found)["contrast"] == "main"
    assert set(found.frame.query("term == 'event'")["event_time"]) == {-2.0, -1.0, 0.0, 1.0, 2.0}
    covariates = pd.DataFrame({"cluster": panel.clusters, "size": np.arange(40.0)})
    plain = effects_more.extended_two_way(cells, permute=False)
    adjusted = effects_more.extended_two_way(cells, covariates=covariates, permute=False)
    assert overall(plain)["estimate"] != pytest.approx(overall(adjusted)["estimate"], rel=1e-3)
    never = effects_more.extended_two_way(cells, control="never", permute=False)
    groups = group_time(cells, permute=False)
    # With every area in every year, effects against the never treated are those of Callaway and Sant'Anna.
    assert overall(never)["estimate"] == pytest.approx(overall(groups)["estimate"], rel=1e-9)


@pytest.mark.parametrize("method", ["doubly_robust", "regression", "weighting"])
def test_group_time_effects_given_covariates(method):
    frame = made_up(seed=12, areas=60, effect=6.0)
    cells = as_cells(frame)
    size = np.random.default_rng(1).normal(0, 1, 60)
    covariates = pd.DataFrame({"cluster": cells.panel().clusters, "size": size})
    found = effects_more.group_time_covariates(cells, covariates=covariates, method=method, draws=99)
    row = overall(found)
    assert row["estimator"] == f"group_time_{method}"
    assert (row["treated_clusters"], row["clusters"], row["inference"]) == (24, 60, "crv3")
    assert row["ci_low"] < 6 < row["ci_high"]
    assert row["estimate"] != pytest.approx(overall(group_time(cells, permute=False))["estimate"], rel=1e-6)


@pytest.mark.parametrize("family", ["poisson", "logit"])
def test_other_families(family):
    frame = made_up(seed=4, areas=40, effect=6.0)
    cells = as_cells(frame.assign(y=frame["y"].clip(1, 99) / 100))
    row = overall(effects_more.extended_two_way(cells, family=family))
    assert row["estimator"] == f"extended_two_way_{family}"
    assert row["ci_low"] < 0.06 < row["ci_high"]
    with pytest.raises(UsageError, match="takes no covariates"):
        effects_more.extended_two_way(cells, family=family, control="never")
    few = made_up(seed=4, share_treated=0.1)
    with pytest.raises(DesignError, match=r"Permutation isn't defined.*use family='gaussian'"):
        effects_more.extended_two_way(as_cells(few.assign(y=few["y"].clip(1, 99) / 100)), family=family)


def test_a_percentage_under_a_logit_is_refused():
    with pytest.raises(DesignError, match="a logit needs shares from 0 to 1"):
        effects_more.extended_two_way(as_cells(made_up()), family="logit")


@pytest.mark.parametrize("method", ["two_way", "group_time", "imputation"])
def test_triple_difference_gives_the_gap_and_both_groups(method):
    cells = with_groups(seed=5, areas=30)
    found = effects_more.triple_difference(
        cells, stratum="sex", group="Female", reference="Male", method=method, permute=False
    )
    rows = found.headline().query("term == 'overall'").set_index("stratum")
    assert list(rows.index) == ["Female minus Male", "Female", "Male"]
    assert rows.loc["Female minus Male", "estimate"] == pytest.approx(
        rows.loc["Female", "estimate"] - rows.loc["Male", "estimate"], rel=1e-9
    )
    assert rows["estimator"].tolist() == [f"triple_{method}", method, method]
    assert (rows["clusters"] == 30).all()
    with pytest.raises(UsageError, match="no stratum 'age'"):
        effects_more.triple_difference(cells.margin(keep=["sex"]), stratum="age", group="a", reference="b")


def test_synthetic_rows_name_their_placebos():
    frame = made_up(areas=25, years=10, starts=(2022.0,), share_treated=0.04, seed=6, effect=15.0)
    found = effects_more.synthetic_did(as_cells(frame))
    assert list(found.frame.columns) == list(COLUMNS)
    rows = found.frame.query("term == 'overall'").set_index("inference")
    assert set(rows.index) == {"placebo_rank", "placebo_variance", "placebo_ratio"}
    assert rows["headline"].tolist() == [True, False, False]
    assert overall(found)["inference"] == "placebo_rank"
    assert overall(found)["p_value"] == pytest.approx(1 / 25)
    ranked = rows.drop("placebo_variance")
    assert (ranked["ci_low"] < 15).all()
    assert (ranked["ci_high"] > 15).all()
    # With few treated areas the placebos' spread gives no interval.
    assert rows.loc["placebo_variance", "std_error"] > 0
    assert rows.loc["placebo_variance", ["ci_low", "ci_high", "p_value"]].isna().all()
    assert np.isnan(rows.loc["placebo_rank", "std_error"])
    assert overall(found)["draws"] == 24
    events = found.frame.query("term == 'event'")
    assert events["event_time"].tolist() == [float(each) for each in range(-6, 4)]
    after = events[events["event_time"] >= 0]
    assert after["estimate"].mean() == pytest.approx(overall(found)["estimate"], rel=1e-9)
    control = effects_more.synthetic_did(as_cells(frame), method="synthetic_control")
    assert overall(control)["inference"] == "placebo_ratio"
    many = made_up(areas=60, years=8, starts=(2022.0,), share_treated=0.25, seed=7)
    assert overall(effects_more.synthetic_did(as_cells(many), draws=40))["inference"] == "placebo_variance"
    few = made_up(areas=8, years=8, starts=(2022.0,), share_treated=0.1, seed=8)
    row = overall(effects_more.synthetic_did(as_cells(few)))
    assert np.isinf(row["ci_low"])
    assert "Too few placebos" in row["note"]


@pytest.mark.parametrize("name", [*sorted(LINEAR), "synthetic_did"])
def test_bad_designs_are_refused_with_the_reason_and_the_mend(name):
    estimate = getattr(effects_more, name)
    refused = {
        "before treatment": ({"starts": (2016.0,)}, "Add earlier periods"),
        "area to compare with": ({"share_treated": 1.0, "starts": (2019.0,)}, ""),
        "No area is treated by 2021": ({"starts": (2030.0,)}, "Wait for later data"),
    }
    for reason, (options, mend) in refused.items():
        with pytest.raises(DesignError, match=reason) as caught:
            estimate(as_cells(made_up(**options)))
        assert mend in str(caught.value)
    with pytest.raises(DesignError, match=r"never varies.*Check that the right column was read"):
        estimate(as_cells(made_up().assign(y=1.0)))


def test_treatment_that_switches_off_cannot_be_written_down():
    """Cells hold one start for each area, so an area whose treatment stops and starts again is refused there."""
    frame = made_up(seed=9)
    again = frame.assign(cohort=frame["cohort"].where(~((frame["area"] == "A001") & (frame["year"] > 2019))))
    with pytest.raises(DataError, match=r"'A001' has more than one cohort.*The cohort is the first treated period"):
        as_cells(again)
