"""Effects on time to event: the truth is found, and a clock at the service finds what isn't there."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import sendap
from sendap.effects_durations import hazard_effects, incidence_cells, incidence_effects, partly_exposed
from sendap.errors import DesignError, UsageError
from sendap.sources.episodes import episodes, plan_episodes, truth_of
from sendap.sources.marginals import read_marginals

AREAS = read_marginals().authorities[:40]


def draw(seed: int, cases: int, **options: object):
    plan = plan_episodes(seed=seed, areas=AREAS, periods=6, **{"rollout": dict.fromkeys(AREAS[::3], 4), **options})
    blocks = list(episodes(plan, cases))
    return plan, pa.concat_tables([table for table, _ in blocks]).to_pandas(), sum(counted for _, counted in blocks)


def compressed(plan, frame, **options: object):
    given = {
        "unit": "case_id",
        "clock": "decision_date",
        "starts": plan.model.starts,
        "service": "service_date",
        "ended": "ended",
        "event": "event",
        "causes": plan.model.names,
        "leaving": [plan.model.lost],
        "until": dt.date(1970, 1, 1) + dt.timedelta(days=int(plan.until)),
        "period": "decision_period",
        "metadata": {"synthetic": True},
    }
    return sendap.compress_durations(frame, **{**given, **options})


def test_the_truth_lies_in_the_intervals():
    held, errors = 0, []
    for seed in range(1, 5):
        plan, frame, treated = draw(seed, 40_000)
        found = incidence_effects(compressed(plan, frame), horizons=[26, 52], estimator="two_way", permute=False)
        rows = found.headline().set_index("outcome")
        assert rows["synthetic"].all()
        for entry in truth_of(plan, treated, (26, 52)):
            if entry["cause"] is None:
                continue
            share = entry["kind"] == "share"
            at, cause = entry["horizon"], entry["cause"]
            row = rows.loc[f"{cause} within {at} weeks" if share else f"weeks until {cause} (of {at})"]
            assert row["unit"] == ("per cent" if share else "weeks")
            assert row["inference"] == "crv3"
            held += row["ci_low"] <= entry["by_areas"] <= row["ci_high"]
            errors.append((row["estimate"] - entry["by_areas"]) / row["std_error"])
    # 36 intervals, in sets of nine that hang together: at 95% coverage fewer than 29 are rarer than one in a thousand.
    assert held >= 29
    assert abs(np.mean(errors)) < 0.8
    assert np.std(errors) < 1.7


def test_a_clock_at_the_service_shows_an_effect_where_there_is_none():
    plan, frame, _ = draw(7, 60_000, hazard_ratios={})
    proper = incidence_effects(
        compressed(plan, frame), horizons=[13], causes=[None], estimator="two_way", permute=False
    )
    late = frame.assign(
        clocked=frame["service_date"].fillna(frame["decision_date"]),
    )
    day = (pd.to_datetime(late["clocked"]) - pd.Timestamp(1970, 1, 1)).dt.days
    late["clocked_period"] = np.searchsorted(plan.edges, day, side="right")
    late = late[late["clocked_period"] < len(plan.edges)]
    trap = compressed(plan, late, clock="clocked", service=None, period="clocked_period")
    artefact = incidence_effects(trap, horizons=[13], causes=[None], estimator="two_way", permute=False)
    for name in ("any event within 13 weeks", "weeks until any event (of 13)"):
        right = proper.headline().set_index("outcome").loc[name]
        wrong = artefact.headline().set_index("outcome").loc[name]
        assert right["ci_low"] < 0 < right["ci_high"]
        assert not wrong["ci_low"] < 0 < wrong["ci_high"]
        assert abs(wrong["estimate"]) > 4 * wrong["std_error"]


@pytest.fixture(scope="module")
def cells():
    plan, frame, _ = draw(3, 20_000)
    return compressed(plan, frame, strata=["sex", "fsm"])


def test_effects_are_those_of_the_estimators_on_the_cells(cells):
    made = incidence_cells(cells.margin(keep=[]), [26], ["agreed", None])
    ours = incidence_effects(cells, horizons=[26], causes=["agreed", None], permute=False)
    assert ours.headline().query("term == 'overall'")["outcome"].tolist() == list(made.outcomes)
    for name in made.outcomes:
        theirs = sendap.group_time(made, name, permute=False)
        pd.testing.assert_frame_equal(
            ours.frame[ours.frame["outcome"] == name].reset_index(drop=True), theirs.frame, check_dtype=False
        )


def test_one_effect_for_each_group(cells):
    found = incidence_effects(
        cells, horizons=[26], causes=["agreed"], stratum="fsm", estimator="two_way", permute=False
    )
    own = incidence_effects(
        cells.filter(fsm="Eligible"), horizons=[26], causes=["agreed"], estimator="two_way", permute=False
    )
    assert sorted(found.frame["stratum"].unique()) == ["Eligible", "Not eligible"]
    mine = found.frame.query("stratum == 'Eligible'")["estimate"].to_numpy()
    np.testing.assert_array_equal(mine, own.frame["estimate"].to_numpy())


def test_open_cases_that_the_programme_reaches_are_kept_out_of_the_base(cells):
    assert partly_exposed(26, "decision", None) == 0
    assert [partly_exposed(h, "calendar", 13) for h in (1, 13, 14, 26, 27)] == [1, 1, 2, 2, 3]
    options = {"horizons": [26], "causes": ["agreed"], "permute": False}
    reached = incidence_effects(cells, exposure="calendar", period_length=13, **options)
    named = incidence_effects(cells, anticipation=2, **options)
    pd.testing.assert_frame_equal(reached.frame, named.frame)
    overall = reached.frame.query("term == 'overall' and headline").iloc[0]
    assert overall["periods_before"] == "1"
    with pytest.raises(UsageError, match="period_length=13"):
        incidence_effects(cells, exposure="calendar", **options)
    with pytest.raises(UsageError, match="two_by_two takes no anticipation"):
        incidence_effects(cells, estimator="two_by_two", before=1, after=5, anticipation=1, **options)
    with pytest.raises(UsageError, match="'decision' or 'calendar'"):
        incidence_effects(cells, exposure="both", **options)
    with pytest.raises(UsageError, match="estimator must be one of"):
        incidence_effects(cells, estimator="cox", **options)
    with pytest.raises(DesignError, match="whole_periods"):
        incidence_effects(cells, horizons=[500], permute=False)


def test_hazard_ratios_are_secondary_and_say_so(cells):
    found = hazard_effects(cells, horizon=26, permute=False)
    rows = found.headline()
    assert rows["outcome"].tolist() == ["hazard of agreed", "hazard of appealed", "hazard of withdrawn"]
    assert (rows["family"] == "secondary").all()
    assert rows["note"].str.contains("isn't collapsible").all()
    odds = hazard_effects(cells, horizon=26, causes=["agreed"], link="logit", permute=False).frame
    assert odds["unit"].iloc[0] == "log odds ratio"
    assert odds["note"].str.startswith("Odds ratio of the hazard").all()


def test_public_names_are_there():
    for name in ("compress_durations", "incidence_effects", "incidence_curves", "incidence_cells", "hazard_effects"):
        assert callable(getattr(sendap, name))
