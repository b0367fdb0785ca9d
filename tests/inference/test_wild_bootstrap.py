"""The bootstrap from cross-products equals the bootstrap that forms new outcomes row by row, on the same draws.

Tolerance 1e-8: both sides solve the same small systems in another order, so they agree to about 1e-12.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from path_records import draw_records, used_rows

from sendap.cells import Cells, Panel
from sendap.cells.compress_paths import compress_paths
from sendap.errors import UsageError
from sendap.estimators import fit_event_study, fit_two_way
from sendap.estimators.paths import fit_event_study_paths, fit_two_way_paths
from sendap.inference import infer
from sendap.inference.wild_bootstrap import Agreement, agreement, distinct_draws, multipliers, wild_bootstrap

EXACT = {"rel": 1e-8, "abs": 1e-10}


def area_panel(seed: int, *, clusters: int = 10, periods: int = 6, effect: float = 0.5) -> Panel:
    """Published rates of areas, some missing, some areas treated; weights are children."""
    draw = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(clusters), periods)
    year = 2014 + np.tile(np.arange(periods), clusters)
    start = np.where(np.arange(clusters) < clusters // 2, 2016.0 + np.arange(clusters) % 2, np.nan)
    size = draw.integers(50, 500, clusters * periods).astype(float)
    rate = 0.5 + 0.05 * draw.normal(size=clusters * periods) + 0.03 * draw.normal(size=clusters)[cluster]
    rate = np.clip(rate + 0.05 * effect * (year >= start[cluster]), 0, 1)
    frame = pd.DataFrame(
        {
            "la_code": [f"E{number:03d}" for number in cluster],
            "year": year,
            "first_treated": start[cluster],
            "children": size,
            "ill": rate * size,
        }
    )
    frame = frame[draw.random(len(frame)) > 0.1]
    columns = {"cluster": "la_code", "period": "year", "cohort": "first_treated"}
    cells = Cells.from_rates(frame, outcome="rate", numerator="ill", denominator="children", scale=100, **columns)
    return cells.panel(weights="children")


@dataclass
class Rows:
    """A regression with a dummy for every unit and period. ``design`` (N by P), the tested column first."""

    design: np.ndarray
    outcome: np.ndarray
    weight: np.ndarray
    cluster: np.ndarray

    @classmethod
    def of_panel(cls, panel: Panel, regressors: np.ndarray) -> Rows:
        unit, time = np.nonzero(np.isfinite(panel.mean))
        dummies = np.column_stack([unit[:, None] == np.unique(unit), time[:, None] == np.unique(time)[1:]])
        return cls(
            np.column_stack([regressors[unit, time], dummies]).astype(float),
            panel.mean[unit, time],
            panel.weight[unit, time],
            panel.cluster[unit],
        )

    @classmethod
    def of_pupils(cls, frame: pd.DataFrame, regressors: np.ndarray) -> Rows:
        pupils, years = pd.get_dummies(frame["pupil"]).to_numpy(), pd.get_dummies(frame["year"]).to_numpy()[:, 1:]
        cluster = np.unique(frame["la_code"], return_inverse=True)[1]
        design = np.column_stack([regressors, pupils, years]).astype(float)
        return cls(design, frame["absence"].to_numpy(), np.ones(len(frame)), cluster)

    def fit(self, outcome: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        root = np.sqrt(self.weight)
        design = self.design if columns is None else self.design[:, columns]
        return np.linalg.lstsq(design * root[:, None], outcome * root, rcond=None)[0]

    def error(self, residual: np.ndarray, term: int) -> float:
        """CRV1 standard error of one column, without small-sample factor."""
        inverse = np.linalg.pinv((self.design * self.weight[:, None]).T @ self.design)
        scores = np.zeros((self.cluster.max() + 1, self.design.shape[1]))
        np.add.at(scores, self.cluster, self.design * (self.weight * residual)[:, None])
        return float(np.sqrt(((scores @ inverse[term]) ** 2).sum()))

    def bootstrap(self, draws: np.ndarray, term: int, *, restricted: bool, effect: float = 0.0) -> np.ndarray:
        """t* of each draw, from new outcomes, row by row."""
        if restricted:
            others = np.arange(self.design.shape[1]) != term
            coefficients = np.zeros(self.design.shape[1])
            coefficients[others] = self.fit(self.outcome - effect * self.design[:, term], others)
            coefficients[term] = effect
        else:
            coefficients = self.fit(self.outcome)
            effect = coefficients[term]
        fitted = self.design @ coefficients
        residual = self.outcome - fitted
        found = []
        for draw in draws:
            outcome = fitted + draw[self.cluster] * residual
            again = self.fit(outcome)
            found.append((again[term] - effect) / self.error(outcome - self.design @ again, term))
        return np.array(found)


@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.parametrize("kind", ["rademacher", "webb"])
def test_cells_equal_rows_on_the_same_draws(kind, restricted):
    panel = area_panel(1)
    draws = multipliers(len(panel.clusters), kind=kind, draws=40, seed=5)
    for fit in (fit_two_way(panel), fit_event_study(panel)):
        rows = Rows.of_panel(panel, fit.regressors)
        for term in range(min(len(fit.estimate), 3)):
            found = wild_bootstrap(fit, term=term, restricted=restricted, given=draws)
            expected = rows.bootstrap(draws, term, restricted=restricted)
            assert found.bootstrapped * np.sqrt(fit.crv1_factor) == pytest.approx(expected, **EXACT)
            own = rows.fit(rows.outcome)
            t = own[term] / rows.error(rows.outcome - rows.design @ own, term)
            assert found.statistic * np.sqrt(fit.crv1_factor) == pytest.approx(t, **EXACT)
            assert found.p_value == (np.abs(expected) >= abs(t)).mean()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([0.0, 0.5]))
def test_paths_of_movers_equal_rows_on_the_same_draws(seed, restricted, moving):
    frame = draw_records(seed, pupils=60, clusters=6, treated=3, moving=moving)
    cells = compress_paths(frame, unit="pupil", outcomes=["absence"])
    fit = fit_two_way_paths(cells)
    pupils = used_rows(frame)
    rows = Rows.of_pupils(pupils, pupils[["exposed"]].to_numpy())
    draws = multipliers(len(fit.panel.clusters), kind="webb", draws=8, seed=seed)
    found = wild_bootstrap(fit, restricted=restricted, given=draws).bootstrapped
    assert found * np.sqrt(fit.crv1_factor) == pytest.approx(rows.bootstrap(draws, 0, restricted=restricted), **EXACT)


def test_event_study_of_movers_equals_rows():
    frame = draw_records(3, pupils=80, clusters=8, treated=4)
    fit = fit_event_study_paths(compress_paths(frame, unit="pupil", outcomes=["absence"]))
    pupils = used_rows(frame)
    event = (pupils["year"] - pupils["first_treated"]).to_numpy()
    rows = Rows.of_pupils(pupils, np.column_stack([event == value for value in fit.terms["event_time"]]))
    draws = multipliers(len(fit.panel.clusters), draws=5, kind="webb")
    for term in (0, len(fit.estimate) - 1):
        found = wild_bootstrap(fit, term=term, given=draws).bootstrapped * np.sqrt(fit.crv1_factor)
        assert found == pytest.approx(rows.bootstrap(draws, term, restricted=True), **EXACT)


def test_enumerated_draws_are_all_of_them():
    found = multipliers(5)
    assert found.shape == (16, 5)
    assert {tuple(row) for row in np.concatenate([found, -found])} == set(product([-1.0, 1.0], repeat=5))
    assert (found[0] == 1.0).all()
    assert multipliers(5, draws=15).shape == (15, 5)
    assert multipliers(5, kind="webb", draws=40).shape == (40, 5)


def test_enumerated_p_value_is_the_share_of_all_sign_patterns():
    panel = area_panel(2, clusters=8)
    fit = fit_two_way(panel)
    rows = Rows.of_panel(panel, fit.regressors)
    every = np.array(list(product([-1.0, 1.0], repeat=8)))
    for restricted in (True, False):
        found = wild_bootstrap(fit, restricted=restricted)
        assert found.exact
        assert found.draws == distinct_draws(8) == 128
        own = rows.fit(rows.outcome)
        t = abs(own[0] / rows.error(rows.outcome - rows.design @ own, 0))
        again = np.abs(rows.bootstrap(every, 0, restricted=restricted))
        assert found.p_value == (again >= t * (1 - 1e-9)).mean()


@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.parametrize("moving", [0.0, 0.5])
def test_equals_wildboottest_on_the_same_draws(restricted, moving):
    package = pytest.importorskip("wildboottest.wildboottest")
    frame = draw_records(4, pupils=60, clusters=8, treated=4, moving=moving)
    fit = fit_two_way_paths(compress_paths(frame, unit="pupil", outcomes=["absence"]))
    pupils = used_rows(frame)
    rows = Rows.of_pupils(pupils, pupils[["exposed"]].to_numpy())
    tested = np.r_[1.0, np.zeros(rows.design.shape[1] - 1)]
    clusters = len(fit.panel.clusters)
    other = package.WildboottestCL(
        X=rows.design, Y=rows.outcome, cluster=rows.cluster, R=tested, B=2**clusters + 1, seed=1
    )
    other.get_scores(bootstrap_type="11", impose_null=restricted, adj=False, cluster_adj=False)
    _, _, enumerated = other.get_weights(weights_type="rademacher")
    assert enumerated
    other.get_numer()
    other.get_denom()
    other.get_tboot()
    other.get_vcov()
    other.get_tstat()
    factor = np.sqrt(fit.crv1_factor)
    same = wild_bootstrap(fit, restricted=restricted, given=other.v.T.astype(float))
    assert same.bootstrapped * factor == pytest.approx(other.t_boot, **EXACT)
    assert same.statistic * factor == pytest.approx(float(np.squeeze(other.t_stat)), **EXACT)
    # Their p-value leaves out draws as large as the sample's own statistic, so it's counted here from theirs.
    p_value = (np.abs(other.t_boot) >= np.abs(other.t_stat) * (1 - 1e-9)).mean()
    assert wild_bootstrap(fit, restricted=restricted).p_value == pytest.approx(p_value, abs=1e-12)


@pytest.mark.parametrize("restricted", [True, False])
def test_interval_holds_the_effects_that_are_not_rejected(restricted):
    panel = area_panel(5, clusters=9)
    fit = fit_two_way(panel)
    found = wild_bootstrap(fit, restricted=restricted, level=0.9)
    rows = Rows.of_panel(panel, fit.regressors)
    own = rows.fit(rows.outcome)
    error = rows.error(rows.outcome - rows.design @ own, 0)
    draws = multipliers(9)

    def p_at(effect: float) -> float:
        again = rows.bootstrap(draws, 0, restricted=restricted, effect=effect)
        return float((np.abs(again) >= abs(own[0] - effect) / error * (1 - 1e-9)).mean())

    step = 1e-6 * error
    assert np.isfinite([found.low, found.high]).all()
    assert p_at(found.low + step) > 0.1 >= p_at(found.low - step)
    assert p_at(found.high - step) > 0.1 >= p_at(found.high + step)


def test_interval_that_cannot_end_is_infinite():
    # Four clusters have eight distinct draws, so no p-value is below 1/8 and nothing is rejected at 5%.
    found = wild_bootstrap(fit_two_way(area_panel(6, clusters=4)))
    assert found.p_value >= 1 / 8
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_draws_are_seeded_and_chunks_change_nothing(monkeypatch):
    from sendap.inference import wild_bootstrap as module

    fit = fit_two_way(area_panel(7, clusters=20))
    first, again = (wild_bootstrap(fit, draws=999, seed=4) for _ in range(2))
    assert (first.bootstrapped == again.bootstrapped).all()
    assert not (first.bootstrapped == wild_bootstrap(fit, draws=999, seed=5).bootstrapped).all()
    draws = multipliers(20, draws=999, seed=4)
    assert first.bootstrapped == pytest.approx(wild_bootstrap(fit, given=draws).bootstrapped, rel=1e-12)
    monkeypatch.setattr(module, "CHUNK", 1000)
    assert len(wild_bootstrap(fit, draws=999, seed=4).bootstrapped) == 999


def test_multipliers_have_mean_zero_and_variance_one():
    for kind in ("rademacher", "webb"):
        drawn = multipliers(50, kind=kind, draws=4000, seed=1)
        # 200,000 numbers of variance one: the mean's standard error is 0.0022, the variance's below 0.003.
        assert abs(drawn.mean()) < 0.012
        assert abs(drawn.var() - 1) < 0.015
        assert len(np.unique(drawn)) == (2 if kind == "rademacher" else 6)


def test_an_outcome_that_never_varies_has_no_p_value():
    fit = fit_two_way(area_panel(9))
    # The estimators refuse it; what comes from elsewhere has no spread to judge by.
    flat = replace(fit, panel=replace(fit.panel, mean=np.where(np.isfinite(fit.panel.mean), 0.0, np.nan)))
    found = wild_bootstrap(flat, draws=99)
    assert np.isnan([found.p_value, found.low, found.high, found.statistic]).all()


def test_wrong_use():
    fit = fit_two_way(area_panel(9))
    with pytest.raises(UsageError, match="'rademacher' or 'webb'"):
        wild_bootstrap(fit, kind="mammen")
    with pytest.raises(UsageError, match="There is no term 1"):
        wild_bootstrap(fit, term=1)
    with pytest.raises(UsageError, match="one column a cluster"):
        wild_bootstrap(fit, given=np.ones((3, 4)))


@pytest.mark.parametrize(
    ("restricted", "unrestricted", "agree"),
    [
        (0.04, 0.02, True),
        (0.06, 0.02, True),
        (0.0601, 0.02, False),
        (0.02, 0.07, False),
        (0.0, 0.0, True),
        (0.003, 0.0, True),
    ],
)
def test_a_factor_of_three_between_the_two_bootstraps_makes_both_invalid(restricted, unrestricted, agree):
    # With 999 draws the smallest share that counts is one in a thousand.
    assert Agreement(restricted, unrestricted, 999).agree is agree


def test_disagreement_takes_the_interval_away_and_says_why():
    """Eight treated of 30, one of them with errors twenty times as large: WCU rejects, WCR doesn't."""
    panel = area_panel(3, clusters=30, effect=0.0)
    treated = np.isfinite(panel.cohort)
    draw = np.random.default_rng(1)
    few = np.flatnonzero(treated)[:6]
    cohort = np.where(np.isin(np.arange(30), few), panel.cohort, np.inf)
    mean = draw.normal(size=panel.mean.shape)
    mean[few[0]] += 20 * (panel.periods >= cohort[few[0]])
    fit = fit_two_way(replace(panel, cohort=cohort, mean=mean))
    both = agreement(fit, kind="webb", draws=999)
    singles = [wild_bootstrap(fit, restricted=each, kind="webb", draws=999).p_value for each in (True, False)]
    assert [both.restricted, both.unrestricted] == singles
    assert not both.agree
    rows = infer(fit, draws=999).frame.set_index("inference")
    assert rows.loc["wcr", "status"] == "not_estimable"
    assert rows.loc["wcr", ["ci_low", "ci_high", "p_value"]].isna().all()
    assert "restricted and the unrestricted wild bootstrap disagree" in rows.loc["wcr", "note"]
    assert rows.loc["crv3", "status"] == "ok"
    calm = fit_two_way(replace(panel, cohort=cohort, mean=draw.normal(size=panel.mean.shape)))
    assert infer(calm, draws=999).frame.set_index("inference").loc["wcr", "status"] == "ok"
