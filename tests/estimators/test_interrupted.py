"""Interrupted series, against statsmodels, formulas by hand, a published example's data and made-up series."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import as_cells, made_up
from scipy import stats
from statsmodels.stats.stattools import durbin_watson
from statsmodels.tsa.statespace.sarimax import SARIMAX

from sendap import interrupted_series
from sendap.cells import Cells
from sendap.cells.compress import compress
from sendap.errors import DataError, DesignError, UsageError
from sendap.estimators.interrupted import Interrupted, fit_interrupted, series_of

EXACT = {"rtol": 1e-8, "atol": 1e-10}


def noise(count: int, rho: float, seed: int) -> np.ndarray:
    """Autocorrelated errors, run in for 50 periods."""
    drawn = np.random.default_rng(seed).normal(size=count + 50)
    for time in range(1, len(drawn)):
        drawn[time] += rho * drawn[time - 1]
    return drawn[50:]


def series(
    before: int = 15, after: int = 12, *, level: float = 4.0, slope: float = -0.5, rho: float = 0.4, seed: int = 1
) -> pd.Series:
    years = np.arange(2000, 2000 + before + after)
    event = years - (2000 + before)
    values = 20 + 0.3 * (years - 2000) + (event >= 0) * (level + slope * event) + noise(len(years), rho, seed)
    return pd.Series(values, index=years, name="waits")


def design(given: pd.Series, start: int) -> np.ndarray:
    time = given.index.to_numpy()
    post = (time >= start).astype(float)
    return np.column_stack([np.ones(len(time)), time - time[0], post, (time - start) * post])


def plain(given: pd.Series, start: int) -> Interrupted:
    return Interrupted("waits", given.index.to_numpy(), given.to_numpy(), start)


def term(frame: pd.DataFrame, name: str) -> pd.Series:
    return frame[frame["term"] == name].iloc[0]


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    before=st.integers(8, 30),
    after=st.integers(8, 30),
    lag=st.integers(0, 5),
    rho=st.sampled_from([-0.3, 0.0, 0.6]),
)
def test_newey_west_equals_statsmodels(seed, before, after, lag, rho):
    data = series(before, after, rho=rho, seed=seed)
    start = 2000 + before
    other = sm.OLS(data.to_numpy(), design(data, start)).fit(
        cov_type="HAC", cov_kwds={"maxlags": lag, "use_correction": True}, use_t=True
    )
    found = interrupted_series(data, start=start, errors="newey_west", lag=lag).frame
    for name, column in (("level", 2), ("slope", 3)):
        row = term(found, name)
        assert row["estimate"] == pytest.approx(other.params[column], rel=1e-8, abs=1e-10)
        assert row["std_error"] == pytest.approx(other.bse[column], rel=1e-8)
        assert row["p_value"] == pytest.approx(other.pvalues[column], rel=1e-6, abs=1e-12)
        np.testing.assert_allclose(row[["ci_low", "ci_high"]].astype(float), other.conf_int()[column], rtol=1e-7)
    mean = np.array([0, 0, 1, (after - 1) / 2])
    overall = other.t_test(mean)
    row = term(found, "overall")
    assert row["estimate"] == pytest.approx(float(np.squeeze(overall.effect)), rel=1e-8, abs=1e-10)
    assert row["std_error"] == pytest.approx(float(np.squeeze(overall.sd)), rel=1e-8)
    assert row["dof"] == before + after - 4


def test_newey_west_by_hand_with_a_missing_period():
    """Sum over pairs of points no further apart than the lag, weight 1 - distance / (lag + 1); distance in years."""
    data = series(16, 12).drop(index=[2005, 2020])
    fit = fit_interrupted(plain(data, 2016), errors="newey_west", lag=2)
    columns = design(data, 2016)
    bread = np.linalg.inv(columns.T @ columns)
    coefficients = bread @ columns.T @ data.to_numpy()
    scores = columns * (data.to_numpy() - columns @ coefficients)[:, None]
    inner = np.zeros((4, 4))
    for one, year in zip(scores, data.index, strict=True):
        for other, second in zip(scores, data.index, strict=True):
            inner += max(0.0, 1 - abs(year - second) / 3) * np.outer(one, other)
    covariance = bread @ inner @ bread * 26 / 22
    np.testing.assert_allclose(fit.coefficients, coefficients, **EXACT)
    np.testing.assert_allclose(fit.covariance, covariance, **EXACT)


def restricted_likelihood(rho: float, values: np.ndarray, columns: np.ndarray, times: np.ndarray):
    """Minus twice the log restricted likelihood of an AR(1) in dense algebra, and the regression at it."""
    correlation = rho ** np.abs(np.subtract.outer(times, times)) / (1 - rho**2)
    weight = np.linalg.inv(correlation)
    inner = columns.T @ weight @ columns
    coefficients = np.linalg.solve(inner, columns.T @ weight @ values)
    residual = values - columns @ coefficients
    square, free = residual @ weight @ residual, len(values) - columns.shape[1]
    value = free * np.log(square) + np.linalg.slogdet(correlation)[1] + np.linalg.slogdet(inner)[1]
    return value, coefficients, square / free * np.linalg.inv(inner)


@pytest.mark.parametrize(("seed", "gaps"), [(1, []), (2, []), (3, [2004, 2019])])
def test_autoregressive_errors_are_the_best_by_restricted_likelihood(seed, gaps):
    data = series(20, 15, rho=0.5, seed=seed).drop(index=gaps)
    fit = fit_interrupted(plain(data, 2020))
    columns, times, values = design(data, 2020), data.index.to_numpy(), data.to_numpy()
    rho = float(fit.arma[0])
    assert -0.9 < rho < 0.95
    best, coefficients, covariance = restricted_likelihood(rho, values, columns, times)
    np.testing.assert_allclose(fit.coefficients, coefficients, rtol=1e-7)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-7)
    others = [restricted_likelihood(each, values, columns, times)[0] for each in np.linspace(-0.95, 0.98, 60)]
    assert best <= min(others) + 1e-9


def test_moving_average_and_second_order_errors_are_generalised_least_squares_at_their_parameters():
    data = series(30, 25, rho=0.5, seed=5)
    values, columns = data.to_numpy(), design(data, 2030)
    for order in ((0, 1), (2, 0), (1, 1)):
        fit = fit_interrupted(plain(data, 2030), order=order)
        ar, ma = np.r_[1, -fit.arma[: order[0]]], np.r_[1, fit.arma[order[0] :]]
        # Psi weights of the infinite moving average give the covariances without the library's own routine.
        psi = np.zeros(4000)
        for lag in range(len(psi)):
            psi[lag] = ma[lag] if lag < len(ma) else 0.0
            psi[lag] -= sum(ar[back] * psi[lag - back] for back in range(1, min(len(ar), lag + 1)))
        by_lag = np.array([psi[: len(psi) - lag] @ psi[lag:] for lag in range(len(values))])
        correlation = by_lag[np.abs(np.subtract.outer(np.arange(len(values)), np.arange(len(values))))]
        other = sm.GLS(values, columns, sigma=correlation).fit()
        np.testing.assert_allclose(fit.coefficients, other.params, rtol=1e-6)
        np.testing.assert_allclose(np.diag(fit.covariance), other.bse**2, rtol=1e-6)


def test_long_series_give_what_plain_maximum_likelihood_gives():
    """statsmodels' SARIMAX: restricted and plain likelihood differ by the order of one over the length."""
    data = series(300, 300, rho=0.5, seed=4)
    fit = fit_interrupted(plain(data, 2300), order=(1, 1))
    columns = design(data, 2300)
    # Its search settles only where the columns are of one size.
    scale = np.abs(columns).max(axis=0)
    model = SARIMAX(data.to_numpy(), columns / scale, order=(1, 0, 1))
    other = model.fit(model.fit(disp=0, method="powell").params, disp=0)
    np.testing.assert_allclose(fit.arma, np.r_[other.arparams, other.maparams], atol=0.03)
    error = np.sqrt(np.diag(fit.covariance))
    np.testing.assert_allclose(fit.coefficients / error, other.params[:4] / scale / error, atol=0.03)
    np.testing.assert_allclose(error, other.bse[:4] / scale, rtol=0.06)


@pytest.mark.parametrize("errors", ["newey_west", "arma"])
def test_known_changes_are_found(errors):
    data = series(60, 50, level=6.0, slope=0.4, rho=0.3, seed=6)
    found = interrupted_series(data, start=2060, errors=errors, times=[0, 10]).frame
    truth = {"level": 6.0, "slope": 0.4, "overall": 6.0 + 0.4 * 24.5}
    for name, value in truth.items():
        row = term(found, name)
        assert row["estimate"] == pytest.approx(value, abs=4 * row["std_error"])
        assert row["std_error"] < 1.5
    events = found[found["term"] == "event"].set_index("event_time")["estimate"]
    assert events[10.0] == pytest.approx(term(found, "level")["estimate"] + 10 * term(found, "slope")["estimate"])
    assert events[0.0] == term(found, "level")["estimate"]


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), level=st.floats(-50, 50), slope=st.floats(-5, 5))
def test_a_level_and_a_trend_of_all_years_change_nothing(seed, level, slope):
    data = series(seed=seed)
    moved = data + level + slope * (data.index.to_numpy() - 2000)
    for errors in ("newey_west", "arma"):
        first, second = (
            interrupted_series(each, start=2015, errors=errors).frame[["estimate", "std_error"]]
            for each in (data, moved)
        )
        # The search for the ARMA parameters stops some seven digits in.
        np.testing.assert_allclose(first, second, rtol=1e-8 if errors == "newey_west" else 2e-4, atol=1e-5)


def test_seasons_are_dummies_or_waves_where_the_series_is_short():
    months = pd.RangeIndex(24240, 24240 + 60)
    season = np.array([3.0, 1, 0, -2, -4, 0, 5, 6, 1, 0, -3, -7])
    event = months.to_numpy() - 24270
    values = season[months.to_numpy() % 12] + 0.1 * event + (event >= 0) * 8.0 + noise(60, 0.2, 7)
    data = pd.Series(values, index=months)
    found = interrupted_series(data, start=24270, season=12, errors="newey_west", lag=3)
    dummies = np.eye(12)[months.to_numpy() % 12][:, 1:]
    other = sm.OLS(values, np.column_stack([design(data, 24270), dummies])).fit(
        cov_type="HAC", cov_kwds={"maxlags": 3, "use_correction": True}, use_t=True
    )
    row = term(found.frame, "level")
    assert row["estimate"] == pytest.approx(other.params[2], rel=1e-8)
    assert row["std_error"] == pytest.approx(other.bse[2], rel=1e-8)
    assert "12 parts of the year" in row["note"]
    # Whole years after the start, where there is a season.
    assert found.frame.query("term == 'event'")["event_time"].tolist() == [0.0, 12.0, 24.0]
    short = interrupted_series(data.iloc[15:48], start=24270, season=12, errors="newey_west")
    assert "1 wave(s) a year" in short.frame["note"].iloc[0]
    turn = 2 * np.pi * (data.index[15:48].to_numpy() % 12) / 12
    waves = np.column_stack([design(data.iloc[15:48], 24270), np.sin(turn), np.cos(turn)])
    plain_fit = sm.OLS(values[15:48], waves).fit()
    assert term(short.frame, "slope")["estimate"] == pytest.approx(plain_fit.params[3], rel=1e-8)
    half = interrupted_series(data, start=24270, season=2, errors="newey_west")
    assert "2 parts of the year" in half.frame["note"].iloc[0]
    given_waves = interrupted_series(data, start=24270, season=12, harmonics=6, errors="newey_west", lag=3)
    # Six waves are all there is to know of twelve months.
    assert term(given_waves.frame, "level")["estimate"] == pytest.approx(other.params[2], rel=1e-8)


def long_panel(**options) -> pd.DataFrame:
    return made_up(**{"areas": 20, "years": 20, "starts": (2026.0,), "counts": True, **options})


def test_cells_are_taken_together_and_compared_with_the_untreated():
    """The treated areas' children less the untreated areas', year by year, by pandas."""
    frame = long_panel(seed=8, effect=6.0)
    sums = frame.assign(total=frame["n"] * frame["y"], treated=frame["cohort"].notna())
    sums = sums.groupby(["treated", "year"])[["total", "n"]].sum()
    rate = (sums["total"] / sums["n"]).unstack("treated")
    found = interrupted_series(as_cells(frame), errors="newey_west", lag=1)
    expected = interrupted_series(rate[True], start=2026, control=rate[False], errors="newey_west", lag=1)
    columns = ["term", "event_time", "estimate", "std_error", "ci_low", "ci_high", "p_value"]
    pd.testing.assert_frame_equal(found.frame[columns], expected.frame[columns], rtol=1e-8)
    row = found.frame.iloc[0]
    assert (row["clusters"], row["treated_clusters"], row["weight"]) == (20, 8, "children")
    assert row["note"].startswith("Difference from a control series of 12 areas.")
    assert row["n"] == frame["n"].sum()
    alone = interrupted_series(as_cells(frame), compare=False, errors="newey_west", lag=1).frame
    single = interrupted_series(rate[True], start=2026, errors="newey_west", lag=1).frame
    pd.testing.assert_frame_equal(alone[columns], single[columns], rtol=1e-8)
    assert alone["note"].iloc[0].startswith("A single interrupted series has no comparison")
    everybody = long_panel(seed=8, share_treated=1.0, areas=6, regions=1)
    assert interrupted_series(as_cells(everybody)).frame["clusters"].iloc[0] == 6


def test_relabelling_areas_and_periods_changes_nothing_but_names():
    frame = long_panel(seed=9)
    names = frame["area"].unique()
    other_names = dict(zip(names, np.random.default_rng(9).permutation(names), strict=True))
    renamed = frame.assign(area=frame["area"].map(other_names))
    later = frame.assign(year=frame["year"] + 100, cohort=frame["cohort"] + 100)
    first, *others = (interrupted_series(as_cells(each), errors="newey_west").frame for each in (frame, renamed, later))
    for other in others:
        np.testing.assert_allclose(other[["estimate", "std_error"]], first[["estimate", "std_error"]], rtol=1e-8)


def test_cells_give_what_rows_give():
    frame = long_panel(seed=10, areas=6, counts=False)
    generator = np.random.default_rng(10)
    rows = frame.drop(columns="n").loc[frame.index.repeat(generator.integers(1, 7, len(frame)))].reset_index(drop=True)
    rows["y"] += generator.normal(0, 5, len(rows))
    cells = compress(rows, cluster="area", cohort="cohort", outcomes=["y"])
    means = rows.groupby([rows["cohort"].notna(), "year"])["y"].mean().unstack(0)
    found, expected = (
        interrupted_series(cells, errors="newey_west").frame,
        interrupted_series(means[True], start=2026, control=means[False], errors="newey_west").frame,
    )
    np.testing.assert_allclose(found["estimate"], expected["estimate"], **EXACT)
    np.testing.assert_allclose(found["std_error"], expected["std_error"], **EXACT)


def test_areas_without_every_period_are_left_out_and_counted():
    frame = long_panel(seed=11)
    partly = frame[~((frame["area"] == "A000") & (frame["year"] == 2020))]
    found = series_of(as_cells(partly).panel(weights="children"))
    whole = series_of(as_cells(frame[frame["area"] != "A000"]).panel(weights="children"))
    np.testing.assert_allclose(found.values, whole.values, **EXACT)
    assert found.note == "1 area(s) without every period are left out."
    assert "left out" in interrupted_series(as_cells(partly)).frame["note"].iloc[0]


def test_periods_before_a_start_that_it_may_affect_are_left_out():
    data = series(20, 15, seed=12)
    spoiled = data.copy()
    spoiled[[2018, 2019]] += 100
    first, second = (
        interrupted_series(each, start=2020, anticipation=2, errors="newey_west").frame for each in (data, spoiled)
    )
    pd.testing.assert_frame_equal(first, second)
    assert "2018" not in first["periods_before"].iloc[0]
    assert first["periods_after"].iloc[0].startswith("2020, 2021")


def test_diagnostics_say_what_is_left_in_the_residuals():
    data = series(40, 40, rho=0.6, seed=13)
    by_hand = sm.OLS(data.to_numpy(), design(data, 2040)).fit()
    found = fit_interrupted(plain(data, 2040), errors="newey_west")
    assert found.diagnostics["durbin_watson"] == pytest.approx(durbin_watson(by_hand.resid), rel=1e-10)
    left = by_hand.resid - by_hand.resid.mean()
    assert found.diagnostics["autocorrelation"] == pytest.approx((left[1:] @ left[:-1]) / (left @ left), rel=1e-10)
    shares = [(left[lag:] @ left[:-lag]) ** 2 / (left @ left) ** 2 / (80 - lag) for lag in range(1, 11)]
    statistic = 80 * 82 * sum(shares)
    assert found.diagnostics["ljung_box_p"] == pytest.approx(stats.chi2.sf(statistic, 10), rel=1e-6)
    assert found.diagnostics["ljung_box_p"] < 0.05
    modelled = fit_interrupted(plain(data, 2040), errors="arma").diagnostics
    assert modelled["ljung_box_p"] > 0.05
    assert abs(modelled["autocorrelation"]) < 0.2
    assert "Durbin-Watson" in found.words
    assert f"lag {found.lag}" in found.words


def test_restricted_likelihood_covers_better_than_newey_west():
    """120 series of 24 points, errors with an autocorrelation of 0.4: why it's the default. See the module's source."""
    covered = {"arma": 0, "newey_west": 0}
    for seed in range(120):
        data = series(12, 12, level=0.0, slope=0.0, rho=0.4, seed=seed)
        for errors in covered:
            fit = fit_interrupted(plain(data, 2012), errors=errors)
            reach = stats.t.ppf(0.975, fit.dof) * np.sqrt(fit.variance[0])
            covered[errors] += bool(abs(fit.estimate[0]) < reach)
    # In 120 draws of 95%, fewer than 100 would happen once in 100,000.
    assert covered["arma"] >= 100
    assert covered["newey_west"] < covered["arma"] - 10


def test_series_that_cannot_work_are_refused():
    data = series()
    refusals = [
        ({"start": 2000}, DesignError, "no period before treatment.*Add earlier periods"),
        ({"start": 2007}, DesignError, r"has 7 point\(s\) before the start and 20.*needs 8 on each side.*months"),
        ({"start": 2020}, DesignError, r"20 point\(s\) before the start and 7"),
        ({}, UsageError, "needs its start"),
        ({"start": 2015, "errors": "ols"}, UsageError, "errors must be"),
        ({"start": 2015, "lag": -1}, UsageError, "lag must be"),
        ({"start": 2015, "season": 1}, UsageError, "season is the number"),
        ({"start": 2015, "harmonics": 1}, UsageError, "needs season"),
        ({"start": 2015, "order": (0, 0)}, UsageError, "together 1 to 4"),
        ({"start": 2015, "anticipation": -1}, UsageError, "anticipation must be"),
        ({"start": 2015, "times": [12]}, UsageError, "no effect 12 periods after the start: the series holds 0 to 11"),
        ({"start": 2015, "compare": True}, UsageError, "compare is for cells"),
        ({"start": 2015, "season": 24, "harmonics": 12}, DesignError, "can't tell level, slope and season apart"),
    ]
    for options, error, match in refusals:
        with pytest.raises(error, match=match):
            interrupted_series(data, **options)
    with pytest.raises(DesignError, match="never varies: it's 3 in every period"):
        interrupted_series(data * 0 + 3, start=2015)
    with pytest.raises(DataError, match="indexed by whole numbers.*Number the periods"):
        interrupted_series(data.set_axis(data.index.astype(str)), start=2015)
    with pytest.raises(DataError, match="Period 2000: found text"):
        interrupted_series(data.astype(object).where(data.index != 2000, "c"), start=2015)
    with pytest.raises(UsageError, match="has a period twice"):
        interrupted_series(pd.concat([data, data.iloc[:1]]), start=2015)


def test_cells_that_make_no_series_are_refused():
    def cells(**options) -> Cells:
        return as_cells(long_panel(**options))

    with pytest.raises(DesignError, match="start at different times.*one start.*filter"):
        interrupted_series(cells(starts=(2026.0, 2027.0)))
    with pytest.raises(DesignError, match="No area is treated by 2035"):
        interrupted_series(cells(starts=(2040.0,)))
    with pytest.raises(UsageError, match="Cells hold their starts"):
        interrupted_series(cells(), start=2026)
    with pytest.raises(DesignError, match="no area to compare with.*compare=False"):
        interrupted_series(cells(share_treated=1.0), compare=True)
    panel = cells().panel()
    holes = replace(panel, mean=np.where(np.eye(20, dtype=bool), np.nan, panel.mean))
    with pytest.raises(DesignError, match="no treated area has a figure for every period"):
        series_of(holes)
