"""Every public estimator refuses a design that can't answer, and says why and how to mend it."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from panels import as_cells, made_up
from pydantic import ValidationError

import sendap
from sendap.cells import Cells
from sendap.cells.durations import Clock, DurationCells
from sendap.errors import DataError, DesignError, SendapError
from sendap.protocol import Outcome, read_protocol

YEARS = 18
FIRST, START = 2016, 2025
MEND = re.compile(
    r"\b(Add|Use|Choose|Check|Compare|Give|Wait|Divide|Make|Leave|Expected|leave it missing|take its start away)\b"
)


def panel_of(**options: object) -> pd.DataFrame:
    given = {"areas": 14, "years": YEARS, "starts": (float(START),), "seed": 5, "regions": 2}
    return made_up(**{**given, **options})


def two_groups(frame: pd.DataFrame) -> Cells:
    parts = [frame.assign(sex="Female"), frame.assign(sex="Male", y=frame["y"] * 1.5 + frame["year"] % 3)]
    if frame["y"].nunique() == 1:
        parts[1] = frame.assign(sex="Male")
    both = pd.concat(parts)
    return Cells.from_rates(both, cluster="area", period="year", cohort="cohort", outcome="y", rate="y", strata=["sex"])


def pupils(frame: pd.DataFrame):
    """Three pupils an area, seen every year."""
    rows = pd.concat([frame.assign(pupil=frame["area"] + f"-{number}") for number in range(3)])
    return sendap.compress_paths(rows, unit="pupil", cluster="area", period="year", cohort="cohort", outcomes=["y"])


def episodes(frame: pd.DataFrame) -> DurationCells:
    """A hundred cases an area and year: as many agreed in the first interval as y says, half of the rest later."""
    agreed = frame["y"].round().clip(5, 95).astype(int)
    shared = {"cluster": frame["area"], "period": frame["year"], "cohort": frame["cohort"], "censored": 0}
    first = pd.DataFrame({**shared, "interval": 1, "entered": 100, "n": 100, "events[agreed]": agreed})
    second = pd.DataFrame(
        {**shared, "interval": 2, "entered": 0, "n": 100 - agreed, "events[agreed]": 50 - agreed // 2}
    )
    periods = pd.DataFrame({"period": sorted(frame["year"].unique()), "followed": 2})
    return DurationCells(pd.concat([first, second]), ("agreed",), Clock("decision", 7, "weeks"), periods)


def amounts(cells: Cells) -> pd.Series:
    starts = cells.frame.drop_duplicates("cluster").set_index("cluster")["cohort"].dropna()
    return pd.Series(np.linspace(0.2, 0.9, len(starts)), index=starts.index)


def sizes(cells: Cells) -> pd.DataFrame:
    names = sorted(cells.frame["cluster"].unique())
    return pd.DataFrame({"cluster": names, "size": np.random.default_rng(1).normal(size=len(names))})


def on_cells(estimator: Callable, **options: object) -> Callable:
    return lambda frame: estimator(as_cells(frame), **options)


ESTIMATORS: dict[str, Callable[[pd.DataFrame], object]] = {
    "dose": lambda frame: sendap.dose(as_cells(frame), doses=amounts(as_cells(frame)), permute=False),
    "event_study": on_cells(sendap.event_study, permute=False),
    "event_study_paths": lambda frame: sendap.event_study_paths(pupils(frame)),
    "extended_two_way": on_cells(sendap.extended_two_way, permute=False),
    "group_time": on_cells(sendap.group_time, permute=False),
    "group_time_covariates": lambda frame: sendap.group_time_covariates(
        as_cells(frame), covariates=sizes(as_cells(frame)), permute=False
    ),
    "group_time_lagged": on_cells(sendap.group_time_lagged, permute=False),
    "hazard_effects": lambda frame: sendap.hazard_effects(episodes(frame), horizon=2, permute=False),
    "imputation": on_cells(sendap.imputation, permute=False),
    "incidence_effects": lambda frame: sendap.incidence_effects(episodes(frame), horizons=[2], permute=False),
    "interrupted_series": on_cells(sendap.interrupted_series, errors="newey_west"),
    "local_projections": on_cells(sendap.local_projections, permute=False),
    "stacked": on_cells(sendap.stacked, permute=False),
    "sun_abraham": on_cells(sendap.sun_abraham, permute=False),
    "synthetic_did": on_cells(sendap.synthetic_did, draws=20),
    "triple_difference": lambda frame: sendap.triple_difference(
        two_groups(frame), stratum="sex", group="Female", reference="Male", permute=False
    ),
    "two_by_two": on_cells(sendap.two_by_two, before=START - 1, after=START, permute=False),
    "two_stage": on_cells(sendap.two_stage, permute=False),
    "two_way": on_cells(sendap.two_way, permute=False),
    "two_way_paths": lambda frame: sendap.two_way_paths(pupils(frame)),
}
OTHERS = {
    "__version__", "Cells", "DurationCells", "Estimates", "PathCells", "compress", "compress_durations",
    "compress_paths", "gaps", "incidence_cells", "incidence_curves",
}  # fmt: skip
every = pytest.mark.parametrize("name", sorted(ESTIMATORS))


def refused(name: str, frame: pd.DataFrame, reason: str, kind: type[SendapError] = DesignError) -> str:
    with pytest.raises(kind) as caught:
        ESTIMATORS[name](frame)
    text = str(caught.value)
    assert re.search(reason, text), text
    assert MEND.search(text), f"no mend: {text}"
    return text


def test_every_public_estimator_is_here():
    assert set(ESTIMATORS) | OTHERS == set(sendap.__all__)


@every
def test_a_design_that_can_answer_is_answered(name):
    found = ESTIMATORS[name](panel_of())
    assert np.isfinite(found.frame["estimate"]).any()


@every
def test_no_period_before_treatment(name):
    # Between two periods, an area treated by the first is what stands in the way.
    reason = "treated by 2024 already" if name == "two_by_two" else r"no period before|0 period\(s\) before treatment"
    refused(name, panel_of(starts=(float(FIRST),)), reason)


@every
def test_nobody_is_treated(name):
    refused(name, panel_of(starts=(2050.0,)), "[Nn]o area is treated|nobody|treated by")


@every
def test_all_are_treated_at_once(name):
    frame = panel_of(share_treated=1.0)
    if name == "interrupted_series":
        # A single series is made for this, and says what it can't know.
        note = ESTIMATORS[name](frame).frame["note"].iloc[0]
        assert note.startswith("A single interrupted series has no comparison")
        with pytest.raises(DesignError, match="no area to compare with.*Use compare=False"):
            sendap.interrupted_series(as_cells(frame), compare=True)
        return
    refused(name, frame, "no area to compare with|can't be told apart|[Nn]o untreated area|every area has a dose")


@pytest.mark.parametrize(
    "name", ["dose", "group_time", "group_time_covariates", "incidence_effects", "synthetic_did", "two_by_two"]
)
def test_nobody_is_never_treated(name):
    """All start, one half later than the other: these compare with the never treated unless told otherwise."""
    frame = panel_of(share_treated=1.0, starts=(float(START), float(START + 1)))
    if name in ("two_by_two", "synthetic_did"):
        # These take one start only.
        frame = frame.assign(cohort=START)
    refused(name, frame, "no area to compare with|every area has a dose")


@pytest.mark.parametrize("name", ["stacked", "local_projections", "sun_abraham", "imputation", "extended_two_way"])
def test_later_treated_areas_serve_until_they_start(name):
    found = ESTIMATORS[name](panel_of(share_treated=1.0, starts=(float(START), float(START + 3))))
    overall = found.headline().query("term == 'overall'").iloc[0]
    assert np.isfinite(overall["estimate"])
    assert overall["treated_clusters"] == 7


@every
def test_treatment_that_switches_off(name):
    """A start that changes inside an area, as a mark of being treated does that goes off again."""
    frame = panel_of()
    off = frame.assign(cohort=frame["cohort"].where(frame["year"] < START + 3))
    refused(name, off, "more than one cohort|isn't the same in all", DataError)


@every
def test_a_mark_of_being_treated_in_place_of_the_first_treated_period(name):
    """Always 1 for the treated and 0 for the others; and 0 for the never treated, as other software has it."""
    frame = panel_of()
    ever = frame.assign(cohort=frame["cohort"].notna().astype(float))
    zero = frame.assign(cohort=frame["cohort"].fillna(0.0))
    for wrong, words in ((ever, "0 and 1"), (zero, "0")):
        found = refused(name, wrong, f"areas have {words} as their start|{words} as their start")
        assert "leave it missing for the never treated" in found


@every
def test_an_outcome_that_never_varies(name):
    # A hazard may vary with the time since the decision, and still with nothing else.
    refused(name, panel_of().assign(y=40.0), "never varies")


def test_too_few_points_for_a_series():
    with pytest.raises(DesignError, match=r"needs 8 on each side.*Use terms or months"):
        sendap.interrupted_series(as_cells(panel_of(years=15)))


@pytest.mark.parametrize("family", ["primary", "secondary"])
def test_a_population_of_pupils_with_sen_now_is_refused_where_an_effect_is_judged(workspace, family):
    protocol = read_protocol(workspace.analysis, "CP")
    given = next(each for each in protocol.outcomes if each.current_sen_population).model_dump(exclude_none=True)
    assert Outcome(**given).family == "exploratory"
    with pytest.raises(ValidationError, match="population is pupils with SEN now.*can only be exploratory"):
        Outcome(**{**given, "family": family, "smallest_effect": 1.0})


@pytest.mark.parametrize(("shift", "words"), [(0.0, "to [0-9.]+,"), (-90.0, "runs from -[0-9.]+ to -[0-9.]+,")])
def test_a_rate_outside_0_to_1_under_a_logit(shift, words):
    frame = panel_of().assign(y=lambda rows: rows["y"] + shift)
    with pytest.raises(DesignError, match=f"{words} and a logit needs shares from 0 to 1. Divide a percentage by 100"):
        sendap.extended_two_way(as_cells(frame), family="logit")
    share = frame.assign(y=(frame["y"] - shift) / 200)
    assert np.isfinite(sendap.extended_two_way(as_cells(share), family="logit").frame["estimate"].iloc[0])


def test_starts_without_any_period_before_are_named_in_the_note():
    """Cohorts that the overall effect leaves out, whichever method of inference its rows have."""
    frame = panel_of(areas=40, starts=(float(FIRST), float(START)))
    found = sendap.group_time(as_cells(frame), draws=99).frame
    overall = found[found["term"] == "overall"]
    assert len(overall) > 1
    said = "Areas that start in 2016 have no period before they could be affected, so no effect can be estimated"
    assert overall["note"].str.contains(said).all()
    assert not found[found["term"] != "overall"]["note"].str.contains("2016").any()
    covered = sendap.group_time_covariates(as_cells(frame), covariates=sizes(as_cells(frame)), permute=False).frame
    assert covered[covered["term"] == "overall"]["note"].str.contains(said).all()
    apart = frame.assign(region=np.where(frame["cohort"] == FIRST, "north", "south"), cohort=frame["cohort"] + 2)
    alone = sendap.group_time(as_cells(apart), within="region", permute=False).frame
    note = alone[alone["term"] == "overall"]["note"].iloc[0]
    assert note.startswith("Areas that start in 2018 have no area to compare with")
