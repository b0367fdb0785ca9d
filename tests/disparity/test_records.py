"""Synthetic pupil records: planted differences found through the whole way from records to words."""

from __future__ import annotations

import pytest

from sendap.cells import Cells, OutcomeInfo
from sendap.cells.compress import compress
from sendap.disparity.adjust import adjusted_gaps
from sendap.disparity.gaps import gaps
from sendap.disparity.intersections import intersections
from sendap.disparity.programme import programme_gaps
from sendap.disparity.rates import harmonise
from sendap.disparity.words import gap_sentence
from sendap.groups import MINORS
from sendap.sources.pupils import Effect
from sendap.sources.records import synthesise

ABSENCE = {"absence": OutcomeInfo("per cent", "absence", "academic year")}
YEARS = range(2020, 2024)


def made(folder, effect: Effect) -> tuple[Cells, dict]:
    """150,000 pupil-years; 60 areas start in 2022."""
    from sendap.sources.marginals import read_marginals

    rollout = dict.fromkeys(list(read_marginals().authorities)[::2], 2022)
    path = folder / "pupils.parquet"
    truth = synthesise(path, 150_000, seed=8, effect=effect, rollout=rollout, years=YEARS)
    return compress(path, outcomes=ABSENCE, strata=["sex", "ethnicity", "fsm", "sen_baseline"]), truth


@pytest.fixture(scope="module")
def narrowing(tmp_path_factory):
    """The programme lowers absence of FSM pupils by 3 points and of others not at all."""
    return made(tmp_path_factory.mktemp("narrowing"), Effect(0.0, by_group={"fsm": {"Eligible": -3.0}}))


def test_gaps_of_records_by_harmonised_group(narrowing):
    cells, _ = narrowing
    found = gaps(harmonise(cells), by="ethnicity", better="lower")
    assert set(found["group"]) <= set(MINORS)
    assert found["group"].iloc[-1] == "Unknown"
    assert (found["unit"] == "per cent").all()
    assert found["odds_ratio"].isna().all()
    fsm = gaps(cells.filter(period=2020), by="fsm", better="lower")
    row = fsm[(fsm["group"] == "Eligible") & (fsm["against"] != "all pupils")].iloc[0]
    assert row["difference_low"] > 0
    assert "higher" in gap_sentence(row)
    assert "pupils not eligible for free school meals" in gap_sentence(row)


def test_a_planted_narrowing_is_found_in_records(narrowing):
    cells, truth = narrowing
    found = programme_gaps(
        cells, by="fsm", reference="Not eligible", better="lower", smallest=1.0, margin=1.0, draws=199
    )
    row = found.frame.iloc[0]
    happened = truth["effect_happened"]["by_group"]["fsm"]
    assert row["effect_low"] < happened["Eligible"]["effect"] < row["effect_high"]
    assert row["reference_effect_low"] < happened["Not eligible"]["effect"] < row["reference_effect_high"]
    assert row["verdict"] == "narrowed by gains"
    assert found.guard.verdict == "no harm beyond the margin"


def test_nothing_is_found_by_sex_where_nothing_was_planted(narrowing):
    cells, _ = narrowing
    row = programme_gaps(cells, by="sex", reference="Male", better="lower", smallest=1.0, draws=199).frame.iloc[0]
    assert row["gap_effect_low"] < 0 < row["gap_effect_high"]


def test_a_planted_narrowing_by_loss_is_found_and_worded(tmp_path):
    cells, _ = made(tmp_path, Effect(3.0, by_group={"fsm": {"Eligible": -3.0}}))
    found = programme_gaps(
        cells, by="fsm", reference="Not eligible", better="lower", smallest=1.0, margin=1.0, draws=199
    )
    row = found.frame.iloc[0]
    assert row["verdict"] == "narrowed by loss: not a success"
    assert "That isn't a success" in row["sentence"]
    assert found.guard.verdict == "serious harm"


def test_adjustment_takes_away_what_goes_with_fsm_and_sen(narrowing):
    """Absence of the records depends on SEN, FSM and sex but not on ethnicity, so adjusted gaps shrink to chance."""
    cells, _ = narrowing
    before = harmonise(cells, level="major").filter(period=[2020, 2021])
    found = adjusted_gaps(
        before, by="ethnicity", ladder={"M0": (), "M2": ("sex", "fsm", "sen_baseline", "cluster")}, draws=99
    ).set_index(["model", "group"])
    groups = [name for name in found.loc["M0"].index if name != "Unknown"]
    crude = found.loc["M0"].loc[groups, "difference"].abs().mean()
    assert found.loc["M2"].loc[groups, "difference"].abs().mean() < crude
    inside = (found.loc["M2"]["difference_low"] <= 0) & (found.loc["M2"]["difference_high"] >= 0)
    assert inside.mean() >= 0.75


def test_intersections_of_records(narrowing):
    cells, _ = narrowing
    crossed = intersections(harmonise(cells, level="major").filter(period=[2020, 2021]), by=["ethnicity", "sex", "fsm"])
    assert len(crossed.frame) == 24
    assert 0 < crossed.vpc < 0.1
    assert crossed.pcv > 0.5
