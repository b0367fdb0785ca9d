"""A window that crosses a break must say so: by the months of the data, not by what a description remembers."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as some

from sendap.catalog import Break
from sendap.cli import main
from sendap.datasets import Series
from sendap.errors import Problems
from sendap.periods import Month, Period, PeriodKind
from sendap.protocol import Protocol, breaks_between, problems_with, read_protocol, undeclared_breaks
from sendap.runs.cells_of import read_all

# What each publisher or the Plan says of its own series; months as announced.
CALENDAR = {
    "sen2_person_level": "2023-01",
    "appealable_decisions": "2023-01",
    "tribunal_ethnicity_2019": "2019-09",
    "tribunal_times_2024": "2024-12",
    "key_stage_1_pandemic": "2020-03",
    "key_stage_1_optional": "2023-09",
    "key_stage_2_pandemic": "2020-03",
    "key_stage_4_pandemic": "2020-03",
    "progress_8_gap": "2024-09",
    "early_years_profile_pandemic": "2020-03",
    "early_years_profile_reform": "2021-09",
    "phonics_pandemic": "2020-03",
    "absence_pandemic": "2020-03",
    "absence_codes_2024": "2024-08",
    "exclusions_pandemic": "2020-03",
    "ofsted_grades_2024": "2024-09",
    "health_boards_2022": "2022-07",
    "areas_2019": "2019-04",
    "areas_2020": "2020-04",
    "areas_2021": "2021-04",
    "areas_2023": "2023-04",
    "ethnic_codes_2024": "2024-09",
}


def test_the_calendar_holds_every_known_break_with_its_month(catalog):
    assert {name: catalog.breaks[name].from_month for name in CALENDAR} == CALENDAR


def test_every_break_says_what_it_touches(catalog):
    assert [each.id for each in catalog.breaks.values() if not each.touches] == []


def test_area_breaks_fall_in_the_months_in_which_the_code_list_changes(catalog):
    begins = {str(area.first_month) for area in catalog.places.authorities if area.first_month is not None}
    months = {each.from_month for each in catalog.breaks.values() if "areas" in each.touches}
    # Buckinghamshire kept its boundary in April 2020, so no area of the list begins there.
    assert months - {"2020-04"} == begins


@dataclass
class OneSeries:
    """A catalogue's view of one series, without a file behind it."""

    series: Series
    breaks: dict[str, Break]
    source: str = ""
    records: object = None

    def dataset(self, _: str) -> OneSeries:
        return self

    def find_series(self, _: str) -> Series:
        return self.series

    def source_of(self, _: Series) -> str:
        return self.source


def one(kind, measured, month, *, source="KS2", touches=("KS2",), breaks=()):
    series = Series(
        id="s", file="f", label="l", unit="per cent", period_kind=kind, measured=measured, value="v", breaks=breaks
    )
    return OneSeries(series, {"b": Break(id="b", what="It changed.", from_month=month, touches=touches)}, source)


@pytest.fixture(scope="module")
def any_outcome(workspace):
    return read_protocol(workspace.analysis, "CP").primary


@pytest.mark.parametrize(
    ("kind", "measured", "month", "years", "crossed"),
    [
        ("academic year", (5, 5), "2020-03", (2018, 2021), True),  # tests of May 2019 and of May 2022
        ("academic year", (5, 5), "2020-03", (2021, 2024), False),
        ("academic year", (5, 5), "2020-03", (2015, 2018), False),
        ("academic year", (1, 1), "2023-01", (2021, 2022), True),  # a count of January 2022 and one of January 2023
        ("academic year", (1, 1), "2023-01", (2022, 2024), False),  # the first count is the first of the new kind
        ("academic year", (1, 1), "2023-02", (2021, 2022), False),
        ("calendar year", None, "2023-01", (2022, 2023), True),
        ("calendar year", None, "2023-01", (2023, 2024), False),
        ("calendar year", None, "2022-07", (2022,), True),  # inside the one year
        ("financial year", None, "2023-04", (2022, 2022), False),  # ends in March 2023
        ("financial year", None, "2023-03", (2022, 2022), True),
    ],
)
def test_a_break_is_crossed_where_months_lie_on_both_sides(any_outcome, kind, measured, month, years, crossed):
    found = breaks_between(one(kind, measured, month), any_outcome, years)
    assert list(found) == (["b"] if crossed else [])


@given(
    kind=some.sampled_from(list(PeriodKind)),
    measured=some.one_of(some.none(), some.sampled_from([(1, 1), (5, 6), (9, 7)])),
    first=some.integers(2010, 2024),
    more=some.integers(0, 5),
    month=some.integers(2009 * 12, 2026 * 12),
)
def test_the_rule_is_that_of_single_months(any_outcome, kind, measured, first, more, month):
    years = range(first, first + more + 1)
    found = breaks_between(one(kind, measured, str(Month(month))), any_outcome, years)
    months = set()
    for year in years:
        opens, closes = Period(kind, year).window(measured)
        months.update(range(opens.index, closes.index + 1))
    assert bool(found) == (any(each < month for each in months) and any(each >= month for each in months))


def test_a_break_of_another_source_is_not_crossed_unless_the_series_names_it(any_outcome):
    other = one("calendar year", None, "2022-07", source="S251")
    assert breaks_between(other, any_outcome, (2020, 2024)) == {}
    named = one("calendar year", None, "2022-07", source="S251", breaks=("b",))
    assert list(breaks_between(named, any_outcome, (2020, 2024))) == ["b"]


def test_a_series_without_periods_crosses_nothing(any_outcome):
    assert breaks_between(one("calendar year", None, "2022-07"), any_outcome, ()) == {}


def test_area_breaks_fall_on_published_series_and_ethnic_codes_on_records(catalog, workspace):
    protocol = read_protocol(workspace.analysis, "NS")
    published = set(breaks_between(catalog, protocol.outcome("pupils_with_sen_support"), range(2015, 2025)))
    records = set(breaks_between(catalog, protocol.outcome("first_sen_support"), range(2015, 2025)))
    assert {"areas_2019", "areas_2020", "areas_2021", "areas_2023"} == published
    assert "ethnic_codes_2024" in records
    assert not {"areas_2019", "areas_2023"} & records


def test_a_census_count_does_not_cross_the_break_of_another_collection(catalog, workspace):
    protocol = read_protocol(workspace.analysis, "CP")
    crossed = breaks_between(catalog, protocol.outcome("pupils_with_plan"), range(2015, 2025))
    assert "sen2_person_level" not in crossed


@pytest.fixture
def cp(checkout):
    return yaml.safe_load((checkout / "analysis" / "cp" / "protocol.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("gone", ["areas_2021", "key_stage_2_pandemic", "absence_codes_2024", "sen2_person_level"])
def test_each_break_that_the_change_programme_declares_is_needed(cp, catalog, stand_in, gone):
    cp["breaks_crossed"].remove(gone)
    with pytest.raises(Problems) as caught:
        read_all(Protocol.model_validate(cp), catalog, stand_in)
    (said,) = caught.value.problems
    assert said.startswith("analysis/cp/protocol.yaml, breaks_crossed doesn't declare '" + gone + "'")
    assert said.endswith("Add it to the list.")


def test_a_break_that_no_series_names_is_found_by_the_window(cp, catalog):
    """The publisher's description forgot it, the calendar didn't."""
    cp["breaks_crossed"] = [name for name in cp["breaks_crossed"] if name != "areas_2023"]
    protocol = Protocol.model_validate(cp)
    assert problems_with(protocol, catalog) == []
    assert undeclared_breaks(protocol, catalog, {"sen_spend": range(2016, 2023)}) == []
    (said,) = undeclared_breaks(protocol, catalog, {"sen_spend": range(2016, 2024), "appeal_rate": [2022, 2023]})
    assert "'areas_2023', which falls inside the data of appeal_rate and 1 more (from April 2023)" in said


def test_the_check_command_fails_on_an_undeclared_break(home, stand_in, replace_in, monkeypatch, capsys):
    replace_in(home / "analysis" / "cp" / "protocol.yaml", "  - areas_2021\n", "")
    monkeypatch.setenv("SENDAP_HOME", str(home))
    monkeypatch.setattr("sys.argv", ["sendap", "check", "CP", "--data-dir", str(stand_in)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    assert "doesn't declare 'areas_2021'" in " ".join(capsys.readouterr().err.split())


def test_records_are_checked_before_they_are_there(workspace, catalog):
    """The window of records is the one that the protocol plans for."""
    protocol = read_protocol(workspace.analysis, "SENIF")
    content = protocol.model_dump(mode="json")
    content["breaks_crossed"] = [name for name in content["breaks_crossed"] if name != "ethnic_codes_2024"]
    (said,) = problems_with(Protocol.model_validate(content), catalog)
    assert "doesn't declare 'ethnic_codes_2024'" in said
