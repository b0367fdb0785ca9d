"""Curves equal those of statsmodels; cells give what records give; what is exact with losses, and what is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from episode_records import CAUSES, cases, duration_cells, intervals
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.duration.survfunc import CumIncidenceRight, SurvfuncRight

from sendap import effects
from sendap.errors import DesignError, UsageError
from sendap.estimators.incidence import Curves, Target, incidence_cells, incidence_curves

# With everybody gone statsmodels divides by zero in a variance that is not used here.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:statsmodels")

# Sums and products of at most a few hundred fractions: 1e-10 is far above rounding and far below any error of method.
CLOSE = 1e-10


def random_cases(
    seed: int, size: int, length: int, causes: int, late: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    last = draw.integers(1, length + 1, size)
    first = np.minimum(draw.integers(0, 4, size), last - 1) if late else np.zeros(size, dtype=int)
    return first, last, draw.integers(0, causes + 1, size)


def arrays(first, last, kind, length: int, causes: int) -> tuple[np.ndarray, np.ndarray]:
    """One cell: at risk (1 by J) and events (1 by K by J), counted in the plain way."""
    weeks = np.arange(1, length + 1)
    n = ((first[:, None] < weeks) & (last[:, None] >= weeks)).sum(axis=0)
    events = [((last[:, None] == weeks) & (kind[:, None] == k)).sum(axis=0) for k in range(1, causes + 1)]
    return n[None].astype(float), np.array(events)[None].astype(float)


def at_times(times, values, length: int, before: float) -> np.ndarray:
    """A step function, given where it jumps, after 0, 1, ..., length."""
    place = np.searchsorted(times, np.arange(length + 1), side="right")
    return np.r_[before, values][place]


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 60), length=st.integers(1, 12), causes=st.integers(1, 3))
def test_curves_are_those_of_statsmodels(seed, size, length, causes):
    first, last, kind = random_cases(seed, size, length, causes, late=False)
    curves = Curves.of(*arrays(first, last, kind, length, causes))
    known = np.isfinite(curves.survival[0])
    theirs = SurvfuncRight(last, (kind > 0).astype(int))
    survival = at_times(theirs.surv_times, theirs.surv_prob, length, 1.0)
    np.testing.assert_allclose(curves.survival[0][known], survival[known], atol=CLOSE)
    competing = CumIncidenceRight(last, kind)
    for k in range(int(kind.max())):
        reached = at_times(competing.times, competing.cinc[k], length, 0.0)
        np.testing.assert_allclose(curves.incidence[0, k][known], reached[known], atol=CLOSE)
    # What is unknown lies after the last case was lost from sight; until then it's known.
    assert known[: last.max() + 1].all()
    # Shares add to one, and times lost to the horizon (Andersen, Canudas-Romo and Keiding 2013).
    total = curves.survival[0] + curves.incidence[0].sum(axis=0)
    np.testing.assert_allclose(total[known], 1.0, atol=CLOSE)
    horizon = int(last.max())
    lost = sum(horizon - curves.time_until(k, horizon)[0] for k in range(causes))
    assert curves.restricted_mean(horizon)[0] + lost == pytest.approx(horizon, abs=CLOSE)
    # The restricted mean is the area under statsmodels' step function.
    assert curves.restricted_mean(horizon)[0] == pytest.approx(survival[:horizon].sum(), abs=CLOSE)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), size=st.integers(5, 60))
def test_late_entry_is_that_of_statsmodels(seed, size):
    length = 8
    first, last, kind = random_cases(seed, size, length, 2, late=True)
    first[:2], last[:2] = 0, length  # somebody is at risk throughout, so that the curve is known
    curves = Curves.of(*arrays(first, last, kind, length, 2))
    theirs = SurvfuncRight(last, (kind > 0).astype(int), entry=first)
    survival = at_times(theirs.surv_times, theirs.surv_prob, length, 1.0)
    np.testing.assert_allclose(curves.survival[0], survival, atol=CLOSE)


def pseudo_values(first, last, kind, length: int, causes: int, target: Target) -> tuple[np.ndarray, float]:
    """n F - (n - 1) F without each case, and F."""
    names = [str(k) for k in range(1, causes + 1)]
    n, events = arrays(first, last, kind, length, causes)
    whole = target.value(Curves.of(n, events), names)[0]
    every = [np.arange(len(last)) != case for case in range(len(last))]
    parts = [arrays(first[keep], last[keep], kind[keep], length, causes) for keep in every]
    curves = Curves.of(np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]))
    return len(last) * whole - (len(last) - 1) * target.value(curves, names), whole


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), size=st.integers(12, 50), kind_of=st.sampled_from(["share", "time"]))
def test_pseudo_observations_average_to_the_cell(seed, size, kind_of):
    length, target = 9, Target(kind_of, "1", 6)
    first, last, kind = random_cases(seed, size, length, 2, late=False)
    # Two are seen beyond the horizon, so nobody's absence leaves the curve unknown (the exception of Stute and Wang).
    last[:2], kind[:2] = length, 0
    pseudo, whole = pseudo_values(first, last, kind, length, 2, target)
    assert pseudo.mean() == pytest.approx(whole, abs=CLOSE)
    # Without a loss before the horizon each pseudo-observation is the case's own outcome.
    kind[(last < 6) & (kind == 0)] = 1
    pseudo, _ = pseudo_values(first, last, kind, length, 2, target)
    happened = kind == 1
    own = happened & (last <= 6) if kind_of == "share" else np.where(happened, np.minimum(last, 6), 6)
    np.testing.assert_allclose(pseudo, own.astype(float), atol=CLOSE)


def followed(seed: int, lost: float) -> tuple[pd.DataFrame, object]:
    frame = cases(seed, areas=10, periods=6, each=15, lost=lost)
    return frame, duration_cells(frame)


def test_without_losses_differences_are_those_of_the_records():
    frame, cells = followed(1, lost=0.0)
    horizon = 10
    made = incidence_cells(cells, [horizon], [*CAUSES, None])
    rows = intervals(frame).merge(frame[["area", "start"]].drop_duplicates())
    treated = (rows["period"] >= rows["start"]).fillna(False).astype(float)
    dummies = pd.get_dummies(rows[["area", "period"]].astype(str), drop_first=True, dtype=float)
    design = sm.add_constant(dummies.assign(treated=treated.to_numpy()))
    for cause in (*CAUSES, None):
        happened = rows["event"].notna() if cause is None else rows["event"] == cause
        outcomes = {
            f"{cause or 'any event'} within {horizon} weeks": 100.0 * (happened & (rows["last"] <= horizon)),
            f"weeks until {cause or 'any event'} (of {horizon})": np.where(
                happened, np.minimum(rows["last"], horizon), horizon
            ).astype(float),
        }
        for name, values in outcomes.items():
            fit = sm.OLS(np.asarray(values, dtype=float), design).fit(
                cov_type="cluster", cov_kwds={"groups": pd.factorize(rows["area"])[0]}
            )
            ours = effects.two_way(made, name, weights="children", inference="auto")
            # Least squares on 900 rows with 16 columns: solved to about 1e-12 of figures up to 100.
            assert ours.frame["estimate"].iloc[0] == pytest.approx(fit.params["treated"], abs=1e-9)
            scores = ours.parts["two_way"].scores[:, 0]
            factor = 10 / 9 * (len(rows) - 1) / (len(rows) - design.shape[1])
            assert np.sqrt(factor * (scores**2).sum()) == pytest.approx(fit.bse["treated"], rel=1e-8)
            one = made.only(name).frame
            by_cell = pd.Series(np.asarray(values, dtype=float)).groupby([rows["area"], rows["period"]])
            # The same sums of whole numbers in another order.
            np.testing.assert_allclose(one["sum"], by_cell.sum(), rtol=1e-12)
            np.testing.assert_allclose(one["sum_squares"], by_cell.apply(lambda y: (y**2).sum()), rtol=1e-12)
            before, after = by_cell.mean().unstack()[2], by_cell.mean().unstack()[3]
            change = after - before
            by_hand = change[:5].mean() - change[5:].mean()
            pair = effects.two_by_two(made, name, before=2, after=3)
            assert pair.aggregate()["estimate"].iloc[0] == pytest.approx(by_hand, abs=1e-12 * 100)


def test_with_losses_the_cell_has_the_aalen_johansen_figure_and_all_its_cases():
    frame, cells = followed(2, lost=0.4)
    made = incidence_cells(cells, [4, 8])
    rows = intervals(frame)
    part = rows[(rows["area"] == "A03") & (rows["period"] == 4)]
    kind = part["event"].map({"agreed": 1, "appealed": 2}).fillna(0).astype(int)
    theirs = CumIncidenceRight(part["last"].to_numpy(), kind.to_numpy())
    row = made.only("agreed within 8 weeks").filter(cluster="A03", period=4).frame.iloc[0]
    assert row["n"] == row["weight"] == len(part)
    assert row["sum"] / row["weight"] == pytest.approx(
        100 * at_times(theirs.times, theirs.cinc[0], 8, 0.0)[8], abs=1e-9
    )
    assert made.outcomes["agreed within 8 weeks"].unit == "per cent"
    assert made.outcomes["weeks until agreed (of 8)"].unit == "weeks"


def test_a_cell_with_nobody_left_has_no_figure_and_is_counted():
    frame, _ = followed(3, lost=0.0)
    here = (frame["area"] == "A02") & (frame["period"] == 2)
    frame.loc[here, "event"] = "moved"
    frame.loc[here, "ended"] = frame["decided"] + 20
    made = incidence_cells(duration_cells(frame), [2, 8])
    row = made.only("agreed within 8 weeks").filter(cluster="A02", period=2).frame.iloc[0]
    assert (row["n_observed"], row["weight"]) == (0, 0)
    assert made.metadata["not_followed"]["agreed within 8 weeks"] == int(here.sum())
    assert made.metadata["not_followed"]["agreed within 2 weeks"] == 0


def test_pooled_curves_and_their_jackknife():
    frame, cells = followed(4, lost=0.3)
    found = incidence_curves(cells, by=["cohort"], horizon=12)
    rows = intervals(frame).merge(frame[["area", "start"]].drop_duplicates())
    part = rows[rows["start"].notna()]

    def figures(some: pd.DataFrame) -> tuple[float, float]:
        kind = some["event"].map({"agreed": 1, "appealed": 2}).fillna(0).astype(int)
        theirs = CumIncidenceRight(some["last"].to_numpy(), kind.to_numpy())
        steps = at_times(theirs.times, theirs.cinc[0], 12, 0.0)
        return steps[12], 12 - steps[:12].sum()

    shown = found[(found["cohort"] == 3) & (found["cause"] == "agreed") & (found["time"] == 12)].iloc[0]
    share, until = figures(part)
    assert shown["incidence"] == pytest.approx(share, abs=CLOSE)
    assert shown["time_until"] == pytest.approx(until, abs=CLOSE)
    without = np.array([figures(part[part["area"] != area]) for area in part["area"].unique()])
    errors = np.sqrt(4 / 5 * ((without - [share, until]) ** 2).sum(axis=0))
    assert shown["incidence_se"] == pytest.approx(errors[0], abs=CLOSE)
    assert shown["time_until_se"] == pytest.approx(errors[1], abs=CLOSE)
    # log(-log) of the share, plus and minus t(4) standard errors by the delta method.
    moved = stats.t.ppf(0.975, 4) * errors[0] / abs(share * np.log(share))
    assert shown["ci_low"] == pytest.approx(np.exp(-np.exp(np.log(-np.log(share)) + moved)), abs=CLOSE)
    assert shown["ci_high"] == pytest.approx(np.exp(-np.exp(np.log(-np.log(share)) - moved)), abs=CLOSE)
    assert shown["clusters"] == 5
    one = incidence_curves(cells, by=["cluster"], horizon=3)
    assert one["ci_low"].isna().all()
    assert len(incidence_curves(cells, horizon=3)) == 3 * 4


def test_what_cannot_be_asked():
    _, cells = followed(5, lost=0.0)
    with pytest.raises(DesignError, match="whole_periods"):
        incidence_cells(cells, [8, 10_000])
    with pytest.raises(UsageError, match="don't count 'agree'"):
        incidence_cells(cells, [8], ["agree"])
    with pytest.raises(UsageError, match="whole number of intervals"):
        incidence_cells(cells, [0])
    with pytest.raises(UsageError, match="kept apart by 'sx'"):
        incidence_curves(cells, by=["sx"])
