"""Duration cells count what a loop over cases counts, and refuse clocks, events and records that mislead."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from episode_records import CAUSES, cases, duration_cells, intervals
from hypothesis import given, settings
from hypothesis import strategies as st

from sendap.cells.durations import DurationCells, event_column
from sendap.errors import DataError, DesignError, UsageError


def counted(frame: pd.DataFrame, until: int) -> dict[tuple, tuple]:
    """At risk, entered, events of each cause and censored, by cell and interval, in plain loops."""
    rows = intervals(frame, until=until)
    found = {}
    for key, part in rows.groupby(["area", "period", "sex"]):
        for j in range(1, part["last"].max() + 1):
            here = part["last"] == j
            found[(*key, j)] = (
                ((part["first"] < j) & (part["last"] >= j)).sum(),
                (part["first"] == j - 1).sum(),
                *((here & (part["event"] == cause)).sum() for cause in CAUSES),
                (here & ~part["event"].isin(CAUSES)).sum(),
            )
    return found


@settings(max_examples=12)
@given(seed=st.integers(0, 10_000), late=st.booleans(), until=st.integers(520, 900))
def test_cells_count_what_a_loop_counts(seed, late, until):
    frame = cases(seed, areas=4, periods=3, each=8, lost=0.5, late=late, end=until)
    cells = duration_cells(frame, until=until, strata=["sex"], **({"entered": "seen_from"} if late else {}))
    columns = ["n", "entered", *(event_column(cause) for cause in CAUSES), "censored"]
    rows = cells.frame[cells.frame["n"] > 0]
    found = {
        tuple(row[:4]): tuple(row[4:]) for row in rows[["cluster", "period", "sex", "interval", *columns]].to_numpy()
    }
    wanted = {key: tuple(row) for key, row in counted(frame, until).items() if row[0] > 0}
    assert found == wanted
    followed = frame.groupby("period")["decided"].max().map(lambda day: (until - day) // 7)
    assert cells.periods.set_index("period")["followed"].to_dict() == followed.to_dict()


def test_an_event_in_the_unfinished_last_interval_is_not_counted():
    # Decided on day 0, data until day 10, so one whole week: of two cases alike but for the event, both leave after it.
    frame = (
        cases(1, areas=2, periods=1, each=1)
        .iloc[:2]
        .assign(decided=0, ended=pd.array([9, pd.NA], dtype="Int64"), event=["agreed", None])
    )
    cells = duration_cells(frame, until=10)
    assert cells.frame["interval"].tolist() == [1, 1]
    assert cells.frame[event_column("agreed")].sum() == 0
    assert cells.frame["censored"].tolist() == [1, 1]


def test_dates_and_whole_days_give_the_same_cells():
    frame = cases(2, late=True)
    start = pd.Timestamp("2020-01-01")
    dated = frame.assign(
        **{
            name: start + pd.to_timedelta(frame[name].astype("Float64"), unit="D")
            for name in ("decided", "ended", "seen_from")
        }
    )
    first = duration_cells(frame, until=700, entered="seen_from")
    second = duration_cells(dated, until=(start + pd.Timedelta(days=700)).date(), entered="seen_from")
    pd.testing.assert_frame_equal(first.frame, second.frame)
    third = duration_cells(dated.assign(end=start + pd.Timedelta(days=700)), until="end", entered="seen_from")
    pd.testing.assert_frame_equal(first.frame, third.frame)


def test_margins_filters_and_files(tmp_path):
    frame = cases(3)
    cells = duration_cells(frame, strata=["sex"])
    pd.testing.assert_frame_equal(cells.margin(keep=[]).frame, duration_cells(frame).frame)
    girls = cells.filter(sex="Female", period=[1, 2])
    own = duration_cells(frame[(frame["sex"] == "Female") & (frame["period"] <= 2)], strata=["sex"])
    pd.testing.assert_frame_equal(girls.frame, own.frame)
    assert girls.periods["period"].tolist() == [1, 2]
    cells.write(tmp_path / "cells.parquet")
    again = DurationCells.read(tmp_path / "cells.parquet")
    pd.testing.assert_frame_equal(again.frame, cells.frame, check_column_type=False)
    assert (again.causes, again.clock, again.strata) == (cells.causes, cells.clock, cells.strata)
    arrays = cells.arrays(5)
    assert arrays.cases.sum() == len(frame)
    assert arrays.events.shape == (len(arrays.keys), 2, 5)
    with pytest.raises(UsageError, match="sex"):
        cells.margin(keep=["sx"])
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="can't be read"):
        DurationCells.read(tmp_path / "cut.parquet")
    with pytest.raises(DataError, match="doesn't exist"):
        DurationCells.read(tmp_path / "none.parquet")


def test_periods_that_cannot_be_followed_are_refused_with_the_mend():
    cells = duration_cells(cases(4), until=700)
    followed = cells.periods.set_index("period")["followed"]
    horizon = int(followed[3])
    cells.whole_periods(horizon).refuse_unfollowed(horizon)
    assert cells.whole_periods(horizon).periods["period"].tolist() == [1, 2, 3]
    with pytest.raises(DesignError, match=rf"period\(s\) 4 .*whole_periods\({horizon}\).* at most {followed[4]} weeks"):
        cells.refuse_unfollowed(horizon)
    with pytest.raises(DesignError, match="No decision period"):
        cells.whole_periods(10_000)


def changed(frame: pd.DataFrame, row: int, **values: object) -> pd.DataFrame:
    frame = frame.copy()
    for column, value in values.items():
        frame.loc[row, column] = value
    return frame


def test_what_misleads_is_refused_by_row_and_without_values():
    frame = cases(5)
    decided = int(frame.loc[7, "decided"])
    for wrong, words in [
        (changed(frame, 7, ended=decided - 1, event="agreed"), "ended before the decision"),
        (changed(frame, 7, ended=decided + 5, event="secret words"), "type of event"),
        (changed(frame, 7, ended=decided + 5, event=None), "only one of 'ended' and 'event'"),
        (changed(frame, 7, ended=pd.NA, event="agreed"), "only one of 'ended' and 'event'"),
        (changed(frame, 7, decided=5000, ended=pd.NA, event=None), "after the end of the data"),
    ]:
        with pytest.raises(DataError, match=words) as caught:
            duration_cells(wrong)
        assert "row 8 of" in str(caught.value)
        assert "secret" not in str(caught.value)
    with pytest.raises(DataError, match="more than once.*row 4 .* and row 8"):
        duration_cells(changed(frame, 7, case=3))
    with pytest.raises(DataError, match="isn't the same in all records of 1 'area'"):
        duration_cells(changed(frame, 7, start=2))
    with pytest.raises(DataError, match="no column 'dcided'.*'decided'"):
        duration_cells(frame, clock="dcided")
    with pytest.raises(UsageError, match="named twice among causes"):
        duration_cells(frame, leaving=["agreed"])
    with pytest.raises(UsageError, match="as the clock is"):
        duration_cells(frame, until=dt.date(2024, 1, 1))
    with pytest.raises(UsageError, match="two parts"):
        duration_cells(frame, strata=["area"])


def test_a_clock_at_the_service_is_refused():
    frame = cases(6)
    wait = np.random.default_rng(1).integers(1, 30, len(frame))
    served = (frame["ended"] - frame["decided"] > wait).fillna(True) & frame["start"].notna()
    frame["service"] = (frame["decided"] + wait).where(served).astype("Int64")
    frame["clocked"] = frame["service"].fillna(frame["decided"])
    assert duration_cells(frame, service="service").frame["n"].sum() > 0
    with pytest.raises(UsageError, match="Name the column with the moment of the decision"):
        duration_cells(frame, clock=None)
    with pytest.raises(UsageError, match="both as the clock and as the service"):
        duration_cells(frame, clock="service", service="service")
    with pytest.raises(DataError, match="the clock was started at the service"):
        duration_cells(frame, clock="clocked", service="service")
    # Without the service's column the periods still give it away: those of the decision don't follow this clock.
    with pytest.raises(DataError, match="periods in 'period' don't follow the moments in 'clocked'"):
        duration_cells(frame, clock="clocked")


def test_late_entry_leaves_out_those_who_had_ended():
    frame = cases(7, late=True)
    cells = duration_cells(frame, entered="seen_from")
    kept = intervals(frame)
    assert cells.metadata["never_at_risk"] == len(frame) - len(kept)
    assert cells.arrays().cases.sum() == len(kept) < len(frame)
