"""Adjusted gaps by marginal standardisation, against statsmodels on the records."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from disparity.made_groups import from_records

from sendap.disparity.adjust import adjusted_gaps, ladder_for
from sendap.errors import DesignError, UsageError


@pytest.fixture(scope="module")
def records():
    """Group A does no worse than B at the same FSM status and area, but is poorer and lives in worse areas; C does."""
    draw = np.random.default_rng(23)
    n = 12000
    frame = pd.DataFrame({"area": draw.integers(0, 30, n), "year": draw.choice([2022, 2023], n)})
    weak = (frame["area"] < 10).to_numpy()
    chance = np.where(weak[:, None], [0.5, 0.4, 0.1], [0.15, 0.75, 0.1])
    frame["g"] = np.array(["A", "B", "C"])[(draw.random(n)[:, None] > chance.cumsum(axis=1)).sum(axis=1)]
    frame["fsm"] = np.where(draw.random(n) < np.where(frame["g"] == "A", 0.5, 0.2), "FSM", "Not FSM")
    linear = 0.6 - 0.9 * (frame["fsm"] == "FSM") - 0.8 * weak - 0.5 * (frame["g"] == "C")
    frame["y"] = (draw.random(n) < 1 / (1 + np.exp(-linear))).astype(float)
    return frame.assign(area=frame["area"].astype(str))


RUNGS = {"M0": (), "M1": ("period", "fsm"), "M2": ("period", "fsm", "cluster")}


def test_each_rung_equals_statsmodels_on_the_records(records):
    """The same likelihood on cells and on records; both converge to 1e-8 or better."""
    found = adjusted_gaps(
        from_records(records, strata=["g", "fsm"], unit=""), by="g", reference="B", ladder=RUNGS, draws=5
    ).set_index(["model", "group"])
    for model, formula in {
        "M0": "y ~ g", "M1": "y ~ g + fsm + C(year)", "M2": "y ~ g + fsm + C(year) + area"
    }.items():  # fmt: skip
        fit = smf.glm(formula, records, family=sm.families.Binomial()).fit(tol=1e-12)
        base = fit.predict(records.assign(g="B")).mean()
        for group in ("A", "C"):
            own = fit.predict(records.assign(g=group)).mean()
            row = found.loc[(model, group)]
            assert row["rate"] == pytest.approx(own, rel=1e-7)
            assert row["difference"] == pytest.approx(own - base, rel=1e-6, abs=1e-9)
            assert row["ratio"] == pytest.approx(own / base, rel=1e-7)


def test_the_ladder_takes_a_planted_confounding_away_and_leaves_a_planted_gap(records):
    cells = from_records(records.assign(y=100 * records["y"]), strata=["g", "fsm"])
    found = adjusted_gaps(cells, by="g", reference="B", ladder=RUNGS, draws=99).set_index(["model", "group"])
    assert found.loc[("M0", "A"), "difference_high"] < 0
    last = found.loc[("M2", "A")]
    assert last["difference_low"] < 0 < last["difference_high"]
    assert abs(last["difference"]) < 0.3 * abs(found.loc[("M0", "A"), "difference"])
    assert found.loc[("M2", "C"), "difference_high"] < 0
    assert found.loc[("M2", "C"), "ratio_high"] < 1
    assert found.loc[("M2", "C"), "adjusted_for"] == "period, fsm, cluster"


def test_bootstrap_errors_are_near_the_cluster_robust_ones(records):
    """Crude difference: the interval's half-width over 1.96 within a quarter of statsmodels' clustered error.

    Both are estimates from 30 areas, so each is uncertain by about 13%.
    """
    found = adjusted_gaps(
        from_records(records, strata=["g"], unit=""), by="g", reference="B", ladder={"M0": ()}, draws=999
    ).set_index("group")
    fit = smf.ols("y ~ C(g, Treatment('B'))", records).fit(
        cov_type="cluster", cov_kwds={"groups": records["area"].astype(int)}
    )
    for position, group in enumerate(("A", "C"), 1):
        row = found.loc[group]
        half = (row["difference_high"] - row["difference_low"]) / 2
        assert half / 1.96 == pytest.approx(fit.bse.iloc[position], rel=0.25)


def test_one_step_a_draw_is_as_good_as_a_full_refit(records):
    """25 draws of areas, refitted in full by statsmodels: within a twentieth of the spread between draws."""
    from sendap.disparity import adjust

    frame = records[records["area"].astype(int) < 15]
    cells = from_records(frame, strata=["g", "fsm"], unit="")
    parts = adjust.rates(cells, by=("cluster", "g", "fsm")).frame
    clusters, area = np.unique(parts["cluster"].to_numpy(dtype=object), return_inverse=True)
    copies = np.random.default_rng(1).multinomial(15, np.full(15, 1 / 15), size=25).astype(float)
    drawn = adjust._rung(parts, "g", ("B", "A", "C"), ("fsm", "cluster"), area, copies, True)
    full = []
    for draw in copies:
        times = dict(zip(clusters, draw, strict=True))
        rows = parts.assign(times=parts["cluster"].map(times) * parts["observed"]).query("times > 0")
        fit = smf.glm(
            "rate ~ g + fsm + cluster", rows, family=sm.families.Binomial(), freq_weights=rows["times"].to_numpy()
        ).fit(tol=1e-12)
        full.append([np.average(fit.predict(rows.assign(g=name)), weights=rows["times"]) for name in "BAC"])
    full = np.array(full)
    spread = full.std(axis=0)
    assert (np.abs(drawn[1:] - full).max(axis=0) < spread / 20).all()


def test_means_are_adjusted_by_a_linear_model(records):
    draw = np.random.default_rng(2)
    frame = records.assign(
        y=5 + 2 * (records["fsm"] == "FSM") - (records["g"] == "C") + draw.normal(0, 1, len(records))
    )
    found = adjusted_gaps(
        from_records(frame, strata=["g", "fsm"], unit="days"), by="g", reference="B",
        ladder={"M2": ("fsm", "cluster")}, draws=5,
    ).set_index("group")  # fmt: skip
    fit = smf.ols("y ~ C(g, Treatment('B')) + fsm + area", frame).fit()
    assert found.loc["A", "difference"] == pytest.approx(fit.params.iloc[1], abs=1e-9)
    assert found.loc["C", "difference"] == pytest.approx(fit.params.iloc[2], rel=1e-8)


def test_small_groups_margins_and_rungs(records):
    few = records.copy()
    few.loc[few.index[:6], "g"] = "Z"
    found = adjusted_gaps(from_records(few, strata=["g", "fsm"]), by="g", reference="B", ladder=RUNGS, draws=3)
    small = found[found["group"] == "Z"]
    assert (small["status"] == "too few to say").all()
    assert small["difference"].isna().all()
    cells = from_records(records, strata=["g", "fsm"])
    assert ladder_for(cells, by="g") == {"M0": (), "M1": ("period",), "M2": ("period", "fsm", "cluster")}
    with pytest.raises(UsageError, match="adjusts for 'fsm'"):
        adjusted_gaps(cells, by="fsm", ladder={"M1": ("fsm",)})
    margins = cells.frame.copy()
    one = margins.groupby(["outcome", "cluster", "period", "g"], as_index=False).sum(numeric_only=True)
    two = margins.groupby(["outcome", "cluster", "period", "fsm"], as_index=False).sum(numeric_only=True)
    frame = pd.concat([one.assign(fsm="(all)"), two.assign(g="(all)")], ignore_index=True).assign(cohort=np.nan)
    from dataclasses import replace

    with pytest.raises(DesignError, match="not crossed"):
        adjusted_gaps(replace(cells, frame=frame), by="g", reference="B", ladder={"M1": ("fsm",)})


def test_the_last_rung_asks_another_question(records):
    """Results at the end of the early years take away part of the pathway, so M3 stands apart and says so."""
    draw = np.random.default_rng(3)
    early = np.where(draw.random(len(records)) < np.where(records["g"] == "B", 0.7, 0.4), "good", "not yet")
    cells = from_records(records.assign(eyfsp=early), strata=["g", "fsm", "eyfsp"])
    found = ladder_for(cells, by="g")
    assert found["M3"] == ("period", "fsm", "cluster", "eyfsp")
    rows = adjusted_gaps(cells, by="g", reference="B", ladder={"M3": found["M3"]}, draws=5)
    assert rows["note"].str.startswith("A different question").all()
    assert "isn't the real gap" in rows["note"].iloc[0]
    one_area = cells.filter(cluster=cells.frame["cluster"].iloc[0], period=[int(cells.frame["period"].iloc[0])])
    assert ladder_for(one_area, by="g") == {"M0": (), "M2": ("fsm",), "M3": ("fsm", "eyfsp")}
