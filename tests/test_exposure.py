"""Treatment is dated by months of exposure, never by label."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendap.catalog import Area, Series
from sendap.errors import DesignError
from sendap.exposure import cohorts, exposure_matrix, overlaps, status, term_label, term_of
from sendap.periods import Month, Period, PeriodKind
from sendap.protocol import Exposed

CALENDAR, ACADEMIC, FINANCIAL = PeriodKind.CALENDAR, PeriodKind.ACADEMIC, PeriodKind.FINANCIAL
RULE = Exposed(minimum_months=6, anticipation_months=0, reason="test")


def area(code, started, confidence="high"):
    return Area(la_code=code, name=code, started=started, confidence=confidence, source="s1")


def series(kind, measured=None):
    return Series(id="s", file="f", label="Something", unit="per cent", period_kind=kind, value="v", measured=measured)


@pytest.mark.parametrize(
    ("kind", "year", "measured", "expected"),
    [
        # A start in September 2023.
        (CALENDAR, 2022, None, "before"),
        (CALENDAR, 2023, None, "partly"),  # four months of twelve
        (CALENDAR, 2024, None, "after"),
        (ACADEMIC, 2022, None, "before"),  # ends in August 2023
        (ACADEMIC, 2023, None, "after"),
        (ACADEMIC, 2023, (1, 1), "partly"),  # January 2024: the programme has run for five months
        (ACADEMIC, 2024, (1, 1), "after"),
        (ACADEMIC, 2023, (5, 5), "after"),  # May 2024: nine months
        (FINANCIAL, 2022, None, "before"),
        (FINANCIAL, 2023, None, "after"),  # seven months of twelve
    ],
)
def test_one_start_falls_into_different_periods_of_different_years(kind, year, measured, expected):
    window = Period(kind, year).window(measured)
    assert status(Month.parse("2023-09"), window, RULE) == expected


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("2023-07", "after"),  # six of twelve months, six months run
        ("2023-08", "partly"),  # five of twelve
        ("2023-12", "partly"),
        ("2024-01", "before"),
    ],
)
def test_half_the_months_count_as_after_and_one_fewer_does_not(start, expected):
    assert status(Month.parse(start), Period(CALENDAR, 2023).window(), RULE) == expected


@pytest.mark.parametrize(("minimum", "expected"), [(5, "after"), (6, "partly")])
def test_the_programme_must_have_run_for_the_minimum_by_the_end(minimum, expected):
    rule = Exposed(minimum_months=minimum, reason="test")
    window = Period(ACADEMIC, 2023).window((1, 1))  # January 2024, five months after the start
    assert status(Month.parse("2023-09"), window, rule) == expected


@pytest.mark.parametrize(("months", "expected"), [(0, "before"), (1, "before"), (8, "before"), (9, "partly")])
def test_anticipation_takes_months_from_before(months, expected):
    # 2022 ends eight whole months before September 2023.
    rule = Exposed(minimum_months=6, anticipation_months=months, reason="test")
    assert status(Month.parse("2023-09"), Period(CALENDAR, 2022).window(), rule) == expected


@given(st.integers(2000 * 12, 2030 * 12), st.integers(2001, 2028), st.sampled_from(list(PeriodKind)))
def test_a_later_start_never_makes_a_period_more_exposed(start, year, kind):
    order = ["before", "partly", "after"]
    window = Period(kind, year).window()
    states = [order.index(status(Month(start + more), window, RULE)) for more in range(3)]
    assert states == sorted(states, reverse=True)


def test_a_calendar_outcome_of_the_change_programme_is_treated_from_2024_with_2023_partly():
    found = cohorts([area("A", "2023-09"), area("B", "2023-09")], series(CALENDAR), range(2019, 2025), RULE)
    assert found.first_treated == {"A": 2024, "B": 2024}
    assert found.anticipation == 1
    assert found.table.to_dict("records") == [
        {"started": "September 2023", "areas": 2, "first_treated": "2024", "partly": "2023", "months_running": 16}
    ]


def test_a_january_count_is_treated_a_year_after_tests_in_may():
    areas = [area("A", "2023-09")]
    census = cohorts(areas, series(ACADEMIC, (1, 1)), range(2018, 2025), RULE)
    tests = cohorts(areas, series(ACADEMIC, (5, 5)), range(2018, 2025), RULE)
    assert (census.first_treated["A"], census.anticipation) == (2024, 1)
    assert census.table.loc[0, "partly"] == "2023/24"
    assert (tests.first_treated["A"], tests.anticipation) == (2023, 0)
    assert tests.table.loc[0, "partly"] == "none"


def test_staggered_starts_make_one_row_each_in_the_order_of_time():
    areas = [area("C", "2024-03"), area("A", "2021-03"), area("B", "2023-03")]
    found = cohorts(areas, series(CALENDAR), range(2019, 2025), RULE)
    assert found.first_treated == {"A": 2021, "B": 2023, "C": 2024}
    assert found.table["started"].tolist() == ["March 2021", "March 2023", "March 2024"]
    assert found.table["months_running"].tolist() == [10, 10, 10]


def test_an_area_that_starts_too_late_is_treated_after_the_data():
    found = cohorts([area("A", "2024-09")], series(CALENDAR), range(2019, 2025), RULE)
    assert found.first_treated == {"A": 2025}
    assert found.table.loc[0, "first_treated"] == "after the data"
    assert found.table.loc[0, "months_running"] == 0
    assert found.anticipation == 0  # nothing of it is estimated, so it may not shift anybody's base


def test_years_without_figures_still_count_as_steps():
    # No tests in 2020 and 2021: a start in January 2020 leaves 2019/20 (May 2020) partly exposed.
    found = cohorts([area("A", "2020-01")], series(ACADEMIC, (5, 5)), [2016, 2017, 2018, 2021, 2022], RULE)
    assert found.first_treated == {"A": 2020}
    assert found.table.loc[0, "partly"] == "2019/20"


def test_a_series_without_a_known_value_is_refused_in_words():
    with pytest.raises(DesignError, match=r"Series 's' \(Something\) has no known value"):
        cohorts([area("A", "2023-09")], series(CALENDAR), [], RULE)


@pytest.mark.parametrize(
    ("month", "label"),
    [
        ("2023-08", "2022/23 summer"),
        ("2023-09", "2023/24 autumn"),
        ("2023-12", "2023/24 autumn"),
        ("2024-01", "2023/24 spring"),
        ("2024-03", "2023/24 spring"),
        ("2024-04", "2023/24 summer"),
    ],
)
def test_months_lie_in_their_school_terms(month, label):
    assert term_label(term_of(Month.parse(month))) == label


def test_the_matrix_shows_each_area_and_term_with_all_its_programmes(catalog):
    matrix = exposure_matrix(catalog)
    assert matrix.shape == (153, 15)
    assert list(matrix.columns[[0, 9, 14]]) == ["2020/21 autumn", "2023/24 autumn", "2024/25 summer"]
    barnet = matrix.loc["E09000003"]
    assert barnet["2022/23 summer"] == "ELSEC*"
    assert barnet["2023/24 autumn"] == "CP+ELSEC*"
    # Its list is incomplete, so Delivering Better Value is marked.
    assert matrix.loc["E06000056", "2023/24 autumn"] == "CP+DBV*"
    assert (matrix.loc["E09000001"] == "").all()


def test_a_programme_leaves_the_matrix_when_it_stops(catalog):
    matrix = exposure_matrix(catalog, first="2025-04", last="2025-12")
    assert "CP" in matrix.loc["E08000032", "2024/25 summer"].split("+")
    assert "CP" not in matrix.loc["E08000032", "2025/26 autumn"].split("+")


def codes(catalog, programme):
    return [area.la_code for area in catalog.rollout(programme).areas]


def test_overlaps_of_the_change_programme_name_areas_of_both(catalog):
    found = overlaps(catalog, "CP", codes(catalog, "CP")).set_index("other")
    assert "CP" not in found.index
    assert found.loc["SV", "treated_areas"] == 0
    assert found.loc["SV", "other_areas"] == 38
    assert found.loc["DBV", "areas"] == "Central Bedfordshire"
    assert not found.loc["DBV", "complete"]
    assert found.loc["ELSEC", "treated_areas"] == 7
    for name in ("Bradford", "Enfield", "Leeds", "Leicester", "Manchester"):
        assert name in found.loc["APST", "areas"]
    assert found.loc["APST", "treated_areas"] == 5


def test_every_area_of_the_safe_taskforces_is_also_in_the_ap_taskforces(catalog):
    assert overlaps(catalog, "SAFE", codes(catalog, "SAFE")).set_index("other").loc["APST", "treated_areas"] == 10
