"""MAIHDA from cells, against statsmodels' mixed model on the records."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from disparity.made_groups import from_records, shares
from scipy import optimize, special, stats

from sendap.disparity.intersections import _mean_error, area_under_curve, fit_component, intersections
from sendap.disparity.random_logit import fit_logit
from sendap.errors import DesignError, UsageError


def made(seed=1, *, n=4000, extra=0.0, groups=5):
    """Ethnic group by sex by FSM with main effects; ``extra`` is the SD of what they don't add up to."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "ethnicity": draw.choice(
                [f"G{k}" for k in range(groups)], n, p=[0.5, *[0.5 / (groups - 1)] * (groups - 1)]
            ),
            "sex": draw.choice(["Female", "Male"], n),
            "fsm": draw.choice(["FSM", "Not FSM"], n, p=[0.3, 0.7]),
        }
    )
    strata = frame.groupby(["ethnicity", "sex", "fsm"]).ngroup()
    planted = draw.normal(0, extra, strata.max() + 1)
    frame["y"] = (
        10 + 1.5 * (frame["fsm"] == "FSM") + 0.5 * (frame["sex"] == "Male") + planted[strata] + draw.normal(0, 3, n)
    )
    return frame.assign(stratum=strata)


def test_both_models_equal_statsmodels():
    """Restricted maximum likelihood on cells and on records; statsmodels' search (Powell's; its default fails
    here without saying so) stops at about 1e-4 of the estimate."""
    frame = made(extra=0.8)
    found = intersections(
        from_records(frame, strata=["ethnicity", "sex", "fsm"], unit="days"), by=["ethnicity", "sex", "fsm"]
    )
    a = smf.mixedlm("y ~ 1", frame, groups=frame["stratum"]).fit(reml=True, method="powell")
    b = smf.mixedlm("y ~ ethnicity + sex + fsm", frame, groups=frame["stratum"]).fit(reml=True, method="powell")
    assert found.between_a == pytest.approx(float(a.cov_re.iloc[0, 0]), rel=2e-3)
    assert found.between_b == pytest.approx(float(b.cov_re.iloc[0, 0]), rel=2e-3)
    assert found.within == pytest.approx(a.scale, rel=1e-4)
    names = frame.drop_duplicates("stratum").set_index(["ethnicity", "sex", "fsm"])["stratum"]
    for _, row in found.frame.iterrows():
        at = names[(row["ethnicity"], row["sex"], row["fsm"])]
        assert row["shrunk"] == pytest.approx(a.fe_params.iloc[0] + a.random_effects[at].iloc[0], abs=2e-3)
        assert row["beyond"] == pytest.approx(b.random_effects[at].iloc[0], abs=2e-3)
    assert found.vpc == pytest.approx(found.between_a / (found.between_a + found.within))
    assert found.pcv == pytest.approx(1 - found.between_b / found.between_a)
    assert "per cent of the variation" in found.sentence()


def test_main_effects_alone_leave_nothing_and_planted_extras_are_left():
    plain = intersections(from_records(made(3), strata=["ethnicity", "sex", "fsm"]), by=["ethnicity", "sex", "fsm"])
    assert plain.pcv > 0.8
    assert (plain.frame["beyond_low"] <= 0).all()
    planted = intersections(from_records(made(3, extra=1.5, n=20000), strata=["ethnicity", "sex", "fsm"]),
                            by=["ethnicity", "sex", "fsm"])  # fmt: skip
    # Twenty strata: the standard deviation of 1.5 is known to about a sixth.
    assert np.sqrt(planted.between_b) == pytest.approx(1.5, rel=0.5)
    assert ((planted.frame["beyond_low"] > 0) | (planted.frame["beyond_high"] < 0)).any()


def test_shrunken_means_cover_what_was_planted():
    """40 sets of 20 strata: 95% of 800 intervals within 3 points."""
    inside = total = 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        strata = pd.DataFrame({"a": np.repeat(list("vwxyz"), 4), "b": np.tile(list("pqrs"), 5)})
        truth = draw.normal(10, 1, 20)
        rows = strata.loc[np.repeat(np.arange(20), draw.integers(12, 60, 20))]
        rows = rows.assign(y=truth[rows.index] + draw.normal(0, 3, len(rows))).reset_index(drop=True)
        found = intersections(from_records(rows, strata=["a", "b"]), by=["a", "b"]).frame
        inside += int(((found["low"] <= truth) & (truth <= found["high"])).sum())
        total += 20
    assert inside / total == pytest.approx(0.95, abs=0.03)


def test_small_strata_are_hidden_and_little_is_refused():
    frame = made(5)
    frame = frame.drop(frame[(frame["ethnicity"] == "G4") & (frame["sex"] == "Male")].index[5:])
    found = intersections(from_records(frame, strata=["ethnicity", "sex"]), by=["ethnicity", "sex"]).frame
    small = found[found["status"] == "too few to say"]
    assert small[["ethnicity", "sex"]].to_numpy().tolist() == [["G4", "Male"]]
    assert small[["rate", "shrunk", "beyond"]].isna().all(axis=None)
    cells = from_records(frame, strata=["ethnicity", "sex", "fsm"])
    with pytest.raises(UsageError, match="at least two"):
        intersections(cells, by=["sex"])
    with pytest.raises(DesignError, match="make 4 strata"):
        intersections(cells, by=["sex", "fsm"])
    alike = frame.assign(y=np.tile([0.0, 1.0], len(frame))[: len(frame)])
    same = intersections(from_records(alike, strata=["ethnicity", "sex"]), by=["ethnicity", "sex"])
    assert same.vpc < 0.01


def test_the_logistic_model_is_the_maximum_of_its_likelihood():
    """Against the same integral on a fine even grid, maximised by Nelder and Mead."""
    draw = np.random.default_rng(19)
    n = draw.integers(30, 200, 12)
    y = draw.binomial(n, special.expit(-1 + draw.normal(0, 0.6, 12)))
    found = fit_logit(y, n, np.ones((12, 1)))
    grid = np.linspace(-6, 6, 3001)

    def likelihood(point):
        chance = stats.binom.pmf(y[:, None], n[:, None], special.expit(point[0] + grid))
        return -np.log((chance * stats.norm.pdf(grid, scale=np.exp(point[1]))).sum(axis=1)).sum()

    other = optimize.minimize(likelihood, [-1.0, -0.5], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
    assert found.coefficients[0] == pytest.approx(other.x[0], abs=1e-4)
    assert np.sqrt(found.between) == pytest.approx(np.exp(other.x[1]), rel=1e-3)


def test_a_share_gets_a_logistic_model_that_covers():
    """40 sets of 20 strata with rare outcomes: 95% of 800 intervals within 3 points, none below zero."""
    inside = total = 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        table = pd.DataFrame({"a": np.repeat(list("vwxyz"), 4), "b": np.tile(list("pqrs"), 5)})
        truth = special.expit(-2.5 + draw.normal(0, 0.5, 20))
        table["n"] = draw.integers(40, 600, 20)
        table["yes"] = draw.binomial(table["n"], truth)
        found = intersections(shares(table, strata=["a", "b"]), by=["a", "b"])
        inside += int(((found.frame["low"] <= 100 * truth) & (100 * truth <= found.frame["high"])).sum())
        total += 20
        assert (found.frame["low"] > 0).all()
    assert inside / total == pytest.approx(0.95, abs=0.03)
    assert found.within == pytest.approx(np.pi**2 / 3)
    assert found.vpc == pytest.approx(found.between_a / (found.between_a + np.pi**2 / 3))


def test_errors_are_those_of_the_mixed_model_equations():
    """Henderson's equations, inverted in full, for given variances: exact."""
    draw = np.random.default_rng(29)
    n = draw.integers(5, 80, 12).astype(float)
    x = np.column_stack([np.ones(12), np.tile([0.0, 1.0], 6), np.repeat([0.0, 1.0, 0.0], 4)])
    mean = draw.normal(10, 1, 12)
    for design in (x, np.ones((12, 1))):
        found = fit_component(n, mean, 9.0 * (n - 1), design)
        assert found.between > 0
        weight = np.diag(n / found.within)
        top = np.concatenate([design.T @ weight @ design, design.T @ weight], axis=1)
        bottom = np.concatenate([weight @ design, weight + np.eye(12) / found.between], axis=1)
        inverse = np.linalg.inv(np.concatenate([top, bottom]))
        width = design.shape[1]
        right = np.concatenate([design.T @ weight @ mean, weight @ mean])
        assert found.shrunk == pytest.approx((inverse @ right)[width:], rel=1e-6, abs=1e-9)
        assert found.error**2 == pytest.approx(np.diag(inverse)[width:], rel=1e-6)
    both = np.concatenate([np.ones((12, 1)), np.eye(12)], axis=1)
    assert _mean_error(found, n) ** 2 == pytest.approx(np.diag(both @ inverse @ both.T), rel=1e-6)


def test_the_area_under_the_curve_is_that_of_mann_and_whitney():
    """Over every pair of a child with and one without the event, ties as a half."""
    draw = np.random.default_rng(4)
    n, score = draw.integers(1, 30, 9), np.round(draw.random(9), 1)
    events = draw.binomial(n, 0.4)
    yes, no = np.repeat(score, events), np.repeat(score, n - events)
    pairs = stats.mannwhitneyu(yes, no).statistic / (len(yes) * len(no))
    assert area_under_curve(score, events, n) == pytest.approx(pairs)
    assert area_under_curve(np.ones(9), events, n) == pytest.approx(0.5)
