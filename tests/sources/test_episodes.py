"""Synthetic cases follow the chances that their truth is computed from, and can't be taken for real ones."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sendap.cells.compress_durations import compress_durations
from sendap.errors import UsageError
from sendap.sources.episode_model import MEDIATION, PLACEMENT
from sendap.sources.episodes import CASES_IN_BLOCK, episodes, plan_episodes, synthesise_episodes, truth_of
from sendap.sources.marginals import read_marginals
from sendap.sources.records import truth_path

AREAS = read_marginals().authorities[:6]
CASES = 60_000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("episodes") / "cases.parquet"
    truth = synthesise_episodes(
        path, CASES, seed=4, areas=AREAS, rollout={AREAS[0]: 5, AREAS[1]: 4}, periods=8, horizons=(13, 26)
    )
    return path, truth, pd.read_parquet(path)


def test_the_file_says_that_it_is_synthetic_and_is_the_same_each_time(made, tmp_path):
    path, truth, frame = made
    assert json.loads(pq.read_schema(path).metadata[b"sendap"])["synthetic"] is True
    assert json.loads(truth_path(path).read_text(encoding="utf-8")) == json.loads(json.dumps(truth))
    assert len(frame) == CASES == truth["cases"]
    assert frame["case_id"].is_unique
    again = tmp_path / "again.parquet"
    given = {"areas": AREAS, "rollout": {AREAS[0]: 5, AREAS[1]: 4}, "periods": 8, "horizons": (13, 26)}
    synthesise_episodes(again, CASES, seed=4, **given)
    assert again.read_bytes() == path.read_bytes()
    # The first block doesn't depend on how many follow.
    synthesise_episodes(again, CASES_IN_BLOCK, seed=4, **given)
    pd.testing.assert_frame_equal(pd.read_parquet(again), frame.iloc[:CASES_IN_BLOCK])


def test_records_hold_together(made):
    _, truth, frame = made
    until = dt.date.fromisoformat(truth["until"])
    assert (frame["ended"].isna() == frame["event"].isna()).all()
    known = frame["ended"].notna()
    assert (frame.loc[known, "ended"] >= frame.loc[known, "decision_date"]).all()
    assert (frame.loc[known, "ended"] <= until).all()
    assert set(frame["event"].dropna()) == {*MEDIATION.names, MEDIATION.lost}
    served = frame["service_date"].notna()
    assert served.any()
    assert (frame.loc[served, "decision_period"] >= frame.loc[served, "first_treated"]).all()
    assert (frame.loc[served, "service_date"] > frame.loc[served, "decision_date"]).all()
    assert (frame.loc[served & known, "service_date"] < frame.loc[served & known, "ended"]).all()
    months = pd.to_datetime(frame["decision_date"])
    month = (months.dt.year - 2021) * 12 + months.dt.month - 9
    assert (frame["decision_period"] == month // 3 + 1).all()
    assert frame["sex"].value_counts(normalize=True)["Male"] == pytest.approx(read_marginals().male, abs=0.01)


def test_cases_end_as_often_as_the_chances_say():
    plan = plan_episodes(seed=6, areas=AREAS, rollout={AREAS[0]: 2, AREAS[1]: 2}, periods=2)
    row = np.array([3, plan.kinds.untreated - 1, plan.kinds.untreated + 3])
    n = 200_000
    draw = np.random.default_rng(1)
    for kind in row:
        week, cause = plan.kinds.draw(np.full(n, kind), draw.random(n))
        chance = plan.kinds.probability[kind]
        for k in range(3):
            for horizon in (4, 13, 40):
                wanted = chance[:horizon, k].sum()
                share = ((cause == k) & (week <= horizon)).mean()
                assert share == pytest.approx(wanted, abs=4.5 * np.sqrt(wanted * (1 - wanted) / n))
    # The chances are those of competing hazards: what's left after each week is the product of what each week left.
    untreated, treated = plan.kinds.probability[3], plan.kinds.probability[plan.kinds.untreated + 3]
    left = 1 - np.r_[0, untreated.sum(axis=1).cumsum()[:-1]]
    left_treated = 1 - np.r_[0, treated.sum(axis=1).cumsum()[:-1]]
    rate = -np.log1p(-untreated.sum(axis=1) / left) * untreated[:, 0] / untreated.sum(axis=1)
    rate_treated = -np.log1p(-treated.sum(axis=1) / left_treated) * treated[:, 0] / treated.sum(axis=1)
    np.testing.assert_allclose(rate_treated[:60] / rate[:60], MEDIATION.hazard_ratios["agreed"], rtol=1e-9)


def test_the_truth_is_the_difference_between_two_worlds():
    """The same cases drawn with and without the programme: their difference is the truth, but for chance."""
    rollout = dict.fromkeys(AREAS[:3], 2)
    options = {"seed": 8, "areas": AREAS, "rollout": rollout, "periods": 3}
    found = {}
    for name, ratios in {"with": None, "without": {}}.items():
        plan = plan_episodes(**options, hazard_ratios=ratios)
        blocks = list(episodes(plan, 150_000))
        frame = pa.concat_tables([table for table, _ in blocks]).to_pandas()
        treated = frame[frame["decision_period"] >= frame["first_treated"]]
        days = (pd.to_datetime(treated["ended"]) - pd.to_datetime(treated["decision_date"])).dt.days
        # A case lost before the horizon counts as having no event: the same small share in both worlds.
        found[name] = 100 * ((treated["event"] == "agreed") & (days // 7 < 26)).mean(), len(treated)
        if ratios is None:
            truth = truth_of(plan, sum(counted for _, counted in blocks), (26,))
    entry = next(e for e in truth if e["cause"] == "agreed" and e["kind"] == "share")
    size = found["with"][1]
    assert size == found["without"][1]
    # Three standard errors of a difference of two shares near a half, and two per cent of losses.
    assert found["with"][0] - found["without"][0] == pytest.approx(
        entry["by_cases"], abs=300 * np.sqrt(0.5 / size) + 0.2
    )
    every = sum(e["by_cases"] for e in truth if e["kind"] == "share" and e["cause"] is not None)
    assert next(e for e in truth if e["kind"] == "share" and e["cause"] is None)["by_cases"] == pytest.approx(every)
    nothing = truth_of(plan_episodes(**options, hazard_ratios={}), sum(counted for _, counted in blocks), (26,))
    assert all(e["by_areas"] == 0 and e["by_cases"] == 0 for e in nothing)


def test_trends_are_parallel_at_every_horizon_whatever_the_area():
    plan = plan_episodes(seed=9, areas=AREAS, hazard_ratios={}, periods=6)
    quick, slow = plan.kinds.probability[plan.kinds.untreated - 2 : plan.kinds.untreated]
    assert quick[:26].sum() > slow[:26].sum()
    own = plan.kinds.probability[: plan.kinds.untreated - 2].reshape(len(AREAS), plan.kinds.in_area, -1, 3)[:, 0]
    share = plan.quick.mean(axis=0)[None, :, None, None]
    mixed = (1 - MEDIATION.common) * own[:, None] + MEDIATION.common * (share * quick + (1 - share) * slow)
    reached = np.cumsum(mixed, axis=2)
    change = np.diff(reached, axis=1)
    np.testing.assert_allclose(change, np.broadcast_to(change[:1], change.shape), atol=1e-12)


def test_the_model_of_alternative_provision_compresses():
    plan = plan_episodes(seed=2, areas=AREAS, model=PLACEMENT, periods=4)
    table, _ = next(episodes(plan, 3000))
    cells = compress_durations(
        table,
        unit="case_id",
        clock="decision_date",
        starts=PLACEMENT.starts,
        service="service_date",
        ended="ended",
        event="event",
        causes=PLACEMENT.names,
        leaving=[PLACEMENT.lost],
        until=dt.date(1970, 1, 1) + dt.timedelta(days=int(plan.until)),
        period="decision_period",
        strata=["sex", "ethnicity", "fsm"],
    )
    assert cells.synthetic
    assert cells.causes == ("reintegrated", "excluded", "post-16", "left")
    assert cells.arrays().cases.sum() == 3000


def test_what_cannot_be_made(tmp_path):
    for wrong in (
        {"areas": ["X1"]},
        {"rollout": {AREAS[0]: 1}, "areas": AREAS},
        {"hazard_ratios": {"agree": 2.0}},
        {"periods": 1},
        {"horizons": (0,)},
        {"horizons": (5000,)},
    ):
        with pytest.raises(UsageError):
            synthesise_episodes(tmp_path / "none.parquet", 10, seed=1, **wrong)
    with pytest.raises(UsageError, match="at least 1"):
        synthesise_episodes(tmp_path / "none.parquet", 0, seed=1)
    assert not list(tmp_path.iterdir())
