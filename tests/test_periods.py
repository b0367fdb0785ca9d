"""Labels of the three publishers land on the right months, and labels that name no single year are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendap.errors import DataError
from sendap.periods import Month, Period, PeriodKind, parse_dfe, parse_lait, period_label

CALENDAR, ACADEMIC, FINANCIAL = PeriodKind.CALENDAR, PeriodKind.ACADEMIC, PeriodKind.FINANCIAL


def test_months_are_subtracted_across_years():
    assert Month.parse("2024-02") - Month.parse("2023-11") == 3
    assert Month.of(2023, 12).plus(1) == Month.of(2024, 1)
    assert Month.of(2024, 1).plus(-1) == Month.of(2023, 12)


def test_a_bare_year_is_its_january():
    assert Month.parse("2022") == Month.of(2022, 1)


def test_a_month_shows_itself_in_figures_and_in_words():
    assert str(Month.of(2023, 9)) == "2023-09"
    assert Month.of(2023, 9).words == "September 2023"
    assert (Month.of(2023, 12).year, Month.of(2023, 12).month) == (2023, 12)


@pytest.mark.parametrize(
    "text", ["2023-13", "2023-00", "2023-9", "23-09", "September 2023", "", "2023-09-01", "2023/09"]
)
def test_what_is_not_a_month_is_refused_with_an_example(text):
    with pytest.raises(DataError, match=r"isn't a month.*for example 2023-09"):
        Month.parse(text)


@given(st.integers(1000, 9999), st.integers(1, 12))
def test_a_month_survives_writing_and_reading(year, month):
    assert Month.parse(str(Month.of(year, month))) == Month.of(year, month)


@given(st.integers(1000 * 12, 9998 * 12), st.integers(-5000, 5000))
def test_adding_months_and_subtracting_agree(index, months):
    assert Month(index).plus(months) - Month(index) == months


@pytest.mark.parametrize(
    ("kind", "first", "last"),
    [
        (CALENDAR, "2023-01", "2023-12"),
        (ACADEMIC, "2023-09", "2024-08"),
        (FINANCIAL, "2023-04", "2024-03"),
    ],
)
def test_years_of_one_name_cover_different_months(kind, first, last):
    assert tuple(map(str, Period(kind, 2023).window())) == (first, last)


@pytest.mark.parametrize(
    ("kind", "measured", "first", "last"),
    [
        (ACADEMIC, (1, 1), "2024-01", "2024-01"),  # the January census of 2023/24
        (ACADEMIC, (5, 5), "2024-05", "2024-05"),  # key stage 2 tests
        (ACADEMIC, (9, 7), "2023-09", "2024-07"),  # absence, without August
        (ACADEMIC, (5, 6), "2024-05", "2024-06"),  # GCSE examinations
        (FINANCIAL, (3, 3), "2024-03", "2024-03"),
        (CALENDAR, (1, 1), "2023-01", "2023-01"),
    ],
)
def test_a_figure_of_a_moment_lies_in_its_months(kind, measured, first, last):
    assert tuple(map(str, Period(kind, 2023).window(measured))) == (first, last)


@pytest.mark.parametrize(
    ("kind", "label"), [(CALENDAR, "1999"), (ACADEMIC, "1999/00"), (FINANCIAL, "1999-00"), ("academic year", "1999/00")]
)
def test_labels_are_written_as_their_publishers_write_them(kind, label):
    assert period_label(1999, kind) == label
    assert Period(PeriodKind(kind), 1999).label == label


@pytest.mark.parametrize(
    ("time_period", "identifier", "expected"),
    [
        ("2024", "Calendar year", Period(CALENDAR, 2024)),
        ("2024", "Reporting year", Period(CALENDAR, 2024)),
        ("202324", "Academic year", Period(ACADEMIC, 2023)),
        ("202324", "ACADEMIC YEAR ", Period(ACADEMIC, 2023)),
        (" 202324 ", "Financial year", Period(FINANCIAL, 2023)),
        ("199900", "Academic year", Period(ACADEMIC, 1999)),
        ("202324", "Tax year", Period(FINANCIAL, 2023)),
    ],
)
def test_department_files_name_years_in_two_columns(time_period, identifier, expected):
    assert parse_dfe(time_period, identifier) == expected


@pytest.mark.parametrize(
    ("time_period", "identifier"),
    [
        ("202325", "Academic year"),  # not consecutive
        ("202322", "Academic year"),
        ("2023", "Academic year"),  # four digits don't say which of two years
        ("202324", "Calendar year"),
        ("2023/24", "Academic year"),
        ("2O24", "Calendar year"),  # a letter O
        ("", "Calendar year"),
        ("2024.0", "Calendar year"),
    ],
)
def test_labels_that_do_not_fit_their_identifier_are_refused(time_period, identifier):
    with pytest.raises(DataError, match="doesn't fit time_identifier"):
        parse_dfe(time_period, identifier)


def test_an_unknown_identifier_is_refused_with_the_known_ones():
    with pytest.raises(DataError, match=r"'Week 12' isn't known.*academic year, calendar year"):
        parse_dfe("202324", "Week 12")


@given(st.integers(1000, 9998))
def test_department_labels_round_trip(year):
    assert parse_dfe(f"{year}{(year + 1) % 100:02d}", "Academic year") == Period(ACADEMIC, year)
    assert parse_dfe(str(year), "Calendar year") == Period(CALENDAR, year)


@given(st.integers(1000, 9998), st.integers(0, 99))
def test_six_digits_are_refused_unless_the_years_follow_each_other(year, second):
    text = f"{year}{second:02d}"
    if second == (year + 1) % 100:
        assert parse_dfe(text, "Financial year").year == year
    else:
        with pytest.raises(DataError):
            parse_dfe(text, "Financial year")


@pytest.mark.parametrize(
    ("years", "kind", "expected"),
    [
        ("2016", "Academic Year", Period(ACADEMIC, 2015)),  # named by the year in which it ends
        ("2024", "Annual - January", Period(ACADEMIC, 2023)),
        ("2016", "Calendar Year", Period(CALENDAR, 2016)),
        ("2016-17 (OT)", "Financial Year", Period(FINANCIAL, 2016)),
        ("2016-17", "Financial Year", Period(FINANCIAL, 2016)),
        ("2017", "Financial Year", Period(FINANCIAL, 2016)),
        ("2024 (Rev)", "Academic Year", Period(ACADEMIC, 2023)),
        ("2025 (prov)", "Calendar Year", Period(CALENDAR, 2025)),
        ("1999-00 (BUD)", "Financial Year", Period(FINANCIAL, 1999)),
    ],
)
def test_the_interactive_tool_names_years_by_their_end(years, kind, expected):
    assert parse_lait(years, kind) == expected


@pytest.mark.parametrize(
    ("years", "kind"),
    [
        ("2014-16", "Academic Year"),  # three years together
        ("0", "Academic Year"),
        ("2016-17", "Calendar Year"),
        ("2016-18", "Financial Year"),
        ("", "Calendar Year"),
        ("1816", "Calendar Year"),
    ],
)
def test_labels_of_the_tool_that_name_no_single_year_are_refused(years, kind):
    with pytest.raises(DataError, match="doesn't name one"):
        parse_lait(years, kind)


def test_an_unknown_kind_of_year_of_the_tool_is_refused():
    with pytest.raises(DataError, match="Year_Type 'Week' isn't known"):
        parse_lait("2016", "Week")


@given(st.integers(1900, 2098), st.sampled_from(["", " (OT)", " (Rev)", " (prov)", "(BUD)"]))
def test_labels_of_the_tool_round_trip_whatever_their_marker(year, marker):
    assert parse_lait(f"{year + 1}{marker}", "Academic Year") == Period(ACADEMIC, year)
    assert parse_lait(f"{period_label(year, FINANCIAL)}{marker}", "Financial Year") == Period(FINANCIAL, year)


@given(st.text(max_size=12), st.sampled_from(["Calendar Year", "Academic Year", "Financial Year"]))
def test_any_text_gives_a_year_or_a_plain_refusal(text, kind):
    try:
        period = parse_lait(text, kind)
    except DataError:
        return
    assert 1899 <= period.year <= 2099
    assert str(period.year)[:2] in text or str(period.year + 1)[:2] in text
