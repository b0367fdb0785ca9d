"""Hazard ratios on cells equal those of other software on one row for each case and interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyfixest as pf
import pytest
import statsmodels.api as sm
from episode_records import cases, duration_cells, intervals
from scipy import stats

from sendap.effects_durations import hazard_effects
from sendap.errors import DesignError, UsageError
from sendap.estimators.hazards import Counts, fit_hazard, solve
from sendap.inference.cluster_robust import crv1_variance, crv3_variance

HORIZON = 8


@pytest.fixture(scope="module")
def frame():
    return cases(11, areas=10, periods=4, each=25, lost=0.2, effect=0.5)


@pytest.fixture(scope="module")
def expanded(frame):
    """One row a case and interval at risk."""
    rows = intervals(frame).merge(frame[["area", "start"]].drop_duplicates())
    rows = rows.loc[rows.index.repeat(np.minimum(rows["last"], HORIZON))].reset_index(names="case")
    rows["interval"] = rows.groupby("case").cumcount() + 1
    here = rows["interval"] == rows["last"]
    rows["agreed"] = (here & (rows["event"] == "agreed")).astype(float)
    rows["treated"] = (rows["period"] >= rows["start"]).fillna(False).astype(float)
    return rows


def design(rows: pd.DataFrame) -> pd.DataFrame:
    dummies = pd.get_dummies(rows[["area", "period", "interval"]].astype(str), drop_first=True, dtype=float)
    return sm.add_constant(dummies.assign(treated=rows["treated"]))


def glm(rows: pd.DataFrame, link: str, **options: object):
    links = {"cloglog": sm.families.links.CLogLog(), "logit": sm.families.links.Logit()}
    family = sm.families.Binomial(link=links[link])
    return sm.GLM(rows["agreed"], design(rows), family=family).fit(tol=1e-14, maxiter=200, **options)


@pytest.mark.parametrize("link", ["cloglog", "logit"])
def test_the_fit_is_that_of_statsmodels_on_rows(frame, expanded, link):
    ours = fit_hazard(duration_cells(frame), "agreed", horizon=HORIZON, link=link)
    groups = pd.factorize(expanded["area"])[0]
    theirs = glm(expanded, link, cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False})
    # Both stop when a step is smaller than 1e-11 or so; the error left is of that order.
    assert ours.estimate[0] == pytest.approx(theirs.params["treated"], abs=1e-8)
    assert ours.crv1_factor == pytest.approx(10 / 9)
    assert np.sqrt((ours.scores**2).sum()) == pytest.approx(theirs.bse["treated"], rel=1e-8)
    assert ours.terms["n"].iloc[0] == expanded["case"].nunique()
    for cluster in (0, 7):
        kept = expanded[expanded["area"] != f"A{cluster:02d}"]
        assert ours.leave_one_out()[cluster, 0] == pytest.approx(glm(kept, link).params["treated"], abs=1e-8)


def test_the_logit_is_that_of_pyfixest(frame, expanded):
    ours = fit_hazard(duration_cells(frame), "agreed", horizon=HORIZON, link="logit")
    theirs = pf.feglm(
        "agreed ~ treated | area + period + interval",
        expanded,
        family="logit",
        vcov={"CRV1": "area"},
        ssc=pf.ssc(k_adj=False, G_adj=True),
        fixef_tol=1e-12,
        iwls_tol=1e-12,
    )
    # pyfixest takes fixed effects out by alternating projections, to about 1e-10.
    assert ours.estimate[0] == pytest.approx(theirs.coef()["treated"], abs=1e-7)
    assert np.sqrt(crv1_variance(ours)[0]) == pytest.approx(theirs.se()["treated"], rel=1e-6)


def test_intervals_are_those_of_the_jackknife_and_permutation(frame):
    cells = duration_cells(cases(12, areas=16, periods=4, each=25, lost=0.2, effect=0.5))
    found = hazard_effects(cells, horizon=HORIZON, causes=["agreed"], draws=199)
    fit = found.parts["agreed"]
    row = found.frame[found.frame["inference"] == "crv3"].iloc[0]
    error = np.sqrt(crv3_variance(fit.leave_one_out(), fit.estimate)[0])
    assert row["std_error"] == pytest.approx(error)
    assert row["ci_low"] == pytest.approx(fit.estimate[0] - stats.t.ppf(0.975, row["dof"]) * error)
    assert 2 < row["dof"] < 15
    assert row["unit"] == "log hazard ratio"
    assert row["family"] == "secondary"
    ratios = np.exp(row[["estimate", "ci_low", "ci_high"]].astype(float))
    assert row["note"].startswith("Hazard ratio {:.2f} ({:.2f} to {:.2f}). Secondary: ".format(*ratios))
    dealt = found.frame[found.frame["inference"] == "permutation"].iloc[0]
    assert dealt["ci_low"] < fit.estimate[0] < dealt["ci_high"]


def fitted_hazard(fit, link: str) -> np.ndarray:
    periods = fit.counts.n.shape[1]
    period, interval = np.r_[0, fit._solved.rest[: periods - 1]], np.r_[0, fit._solved.rest[periods - 1 : -1]]
    eta = (fit._solved.cluster[:, None] + period + fit._solved.effect * fit.counts.exposed)[:, :, None] + interval
    return 1 / (1 + np.exp(-eta)) if link == "logit" else 1 - np.exp(-np.exp(eta))


@pytest.mark.parametrize("link", ["cloglog", "logit"])
def test_weights_are_derivatives_in_standard_deviations(frame, link):
    fit = fit_hazard(duration_cells(frame), "agreed", horizon=HORIZON, link=link)
    weights = fit.weights()[0].reshape(10, HORIZON, 4)
    counts = fit.counts
    for g, t, j in [(0, 3, 0), (6, 1, 2), (3, 2, 5)]:
        size, step = counts.n[g, t, j], 1e-4
        moved = [counts.events.copy() for _ in range(2)]
        moved[0][g, t, j] += step
        moved[1][g, t, j] -= step
        effects = [solve(Counts(counts.n, each, counts.exposed), link).effect for each in moved]
        hazard = fitted_hazard(fit, link)[g, t, j]
        variance = hazard * (1 - hazard)
        by_mean = size * (effects[0] - effects[1]) / (2 * step)
        # A central difference: its error is of the order of the step squared.
        assert weights[g, j, t] == pytest.approx(by_mean * np.sqrt(variance / size), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("link", ["cloglog", "logit"])
def test_permutation_is_weighted_least_squares_on_the_working_response(frame, link):
    fit = fit_hazard(duration_cells(frame), "agreed", horizon=HORIZON, link=link)
    solved, counts = fit._solved, fit.counts
    starts = fit.panel.cluster_cohort
    draw = np.random.default_rng(1)
    dealt = np.stack([starts, *(draw.permutation(starts) for _ in range(3))])
    found = fit.permute(dealt, np.array([0]))
    shape = counts.n.shape
    g, t, j = (axis.ravel() for axis in np.indices(shape))
    weight = solved.weight.ravel()
    dummies = np.hstack([np.eye(size)[index] for size, index in zip(shape, (g, t, j), strict=True)])
    planted = np.broadcast_to(counts.exposed[:, :, None], shape).ravel()
    with np.errstate(invalid="ignore", divide="ignore"):
        response = np.where(weight > 0, solved.effect * planted + solved.residual.ravel() / weight, 0.0)
    root = np.sqrt(weight)

    def left(values: np.ndarray) -> np.ndarray:
        scaled = dummies * root[:, None]
        return values - dummies @ np.linalg.lstsq(scaled, values * root, rcond=None)[0]

    for draw_at, row in enumerate(dealt):
        exposed = np.broadcast_to((fit.panel.periods[None] >= row[:, None])[:, :, None], shape).ravel().astype(float)
        regressor = left(exposed)
        size = (weight * regressor**2).sum()
        given = []
        for variable in (left(response), left(planted)):
            estimate = (weight * regressor * variable).sum() / size
            parts = np.bincount(g, weight * regressor * (variable - estimate * regressor)) / size
            given.append((estimate, parts))
        (outcome, first), (effect, second) = given
        # Two ways to solve least squares on 320 cells.
        assert found.outcome[draw_at, 0] == pytest.approx(outcome, abs=1e-8)
        assert found.planted[draw_at, 0] == pytest.approx(effect, abs=1e-8)
        assert found.square_outcome[draw_at, 0] == pytest.approx((first**2).sum(), abs=1e-9)
        assert found.cross[draw_at, 0] == pytest.approx((first * second).sum(), abs=1e-9)
        assert found.square_planted[draw_at, 0] == pytest.approx((second**2).sum(), abs=1e-9)
    assert found.outcome[0, 0] == pytest.approx(solved.effect, abs=1e-9)
    assert found.planted[0, 0] == pytest.approx(1.0, abs=1e-9)


def test_an_area_without_events_changes_nothing(frame):
    quiet = cases(13, areas=2, periods=4, each=10).assign(area=lambda f: f["area"].str.replace("A", "Q"))
    quiet = quiet.assign(case=quiet["case"] + 10**6, event=quiet["event"].replace("agreed", "appealed"))
    both = fit_hazard(duration_cells(pd.concat([frame, quiet])), "agreed", horizon=HORIZON)
    alone = fit_hazard(duration_cells(frame), "agreed", horizon=HORIZON)
    assert both.estimate[0] == pytest.approx(alone.estimate[0], abs=1e-9)
    assert both.scores[:10] == pytest.approx(alone.scores, abs=1e-9)
    assert both.crv1_factor == alone.crv1_factor
    assert "2 area(s) without such an event" in both.terms["note"].iloc[0]


def test_what_has_no_finite_ratio_is_refused(frame):
    never = frame.copy()
    treated = (never["period"] >= never["start"]).fillna(False)
    never.loc[treated & (never["event"] == "agreed"), "event"] = "appealed"
    with pytest.raises(DesignError, match="no finite estimate"):
        fit_hazard(duration_cells(never), "agreed", horizon=HORIZON)
    with pytest.raises(DesignError, match="no period before treatment"):
        fit_hazard(duration_cells(frame).filter(period=[3, 4]), "agreed", horizon=HORIZON)
    with pytest.raises(UsageError, match="cloglog"):
        fit_hazard(duration_cells(frame), "agreed", horizon=HORIZON, link="probit")
    with pytest.raises(UsageError, match="1 or more intervals"):
        fit_hazard(duration_cells(frame), "agreed", horizon=0)
