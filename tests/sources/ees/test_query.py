"""Every query that can be built is JSON of the service's grammar, and comes back from it as the same query."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sources.ees.conftest import DATA_SET, HEADING, INDICATORS, table
from sources.ees.service import Held, Release, holds, meta, period_of, places_of, sqid

from sendap.errors import UsageError
from sendap.sources.ees.codes import LEVELS, SPANNING, TIME_CODES, api_period, csv_period
from sendap.sources.ees.models import Meta
from sendap.sources.ees.query import (
    Among,
    And,
    Facets,
    Levels,
    Not,
    Or,
    Place,
    Places,
    Query,
    Sort,
    Time,
    Times,
    check_query,
)

HELD = Held(DATA_SET, "Absence", INDICATORS, [Release("1.0", table())])
META = Meta.model_validate(meta(HELD, HELD.releases[0]))
ROWS = HELD.releases[0].rows

# The grammar of the service, written out from its description: what each part of a body may hold.
ALWAYS = {"eq", "notEq", "in", "notIn"}
COMPARATORS = {
    "filters": ALWAYS, "geographicLevels": ALWAYS, "locations": ALWAYS,
    "timePeriods": ALWAYS | {"gt", "gte", "lt", "lte"},
}  # fmt: skip


def fits_grammar(criteria):
    assert isinstance(criteria, dict)
    assert criteria
    if set(criteria) & {"and", "or", "not"}:
        assert len(criteria) == 1
        [(key, inner)] = criteria.items()
        for each in [inner] if key == "not" else inner:
            fits_grammar(each)
        assert key == "not" or (isinstance(inner, list) and inner)
        return
    for facet, comparisons in criteria.items():
        assert comparisons
        assert set(comparisons) <= COMPARATORS[facet]
        for comparator, value in comparisons.items():
            values = value if comparator in ("in", "notIn") else [value]
            assert isinstance(value, list) == (comparator in ("in", "notIn"))
            assert values
            for each in values:
                value_fits(facet, each)


def value_fits(facet, value):
    if facet == "filters":
        assert isinstance(value, str)
        assert value
    elif facet == "geographicLevels":
        assert value in LEVELS
    elif facet == "locations":
        assert value["level"] in LEVELS
        assert len(value) == 2
    else:
        assert set(value) == {"period", "code"}
        first, _, second = value["period"].partition("/")
        assert value["code"] in TIME_CODES
        assert not second or int(second) == int(first) + 1


def comparisons(model, value, more=()):
    lists = st.lists(value, min_size=1, max_size=3).map(tuple)
    parts = {"eq": value, "not_eq": value, "in_": lists, "not_in": lists} | dict.fromkeys(more, value)
    return st.fixed_dictionaries({}, optional=parts).filter(bool).map(lambda given: model(**given))


def queries(options, indicators, places, times):
    facets = st.fixed_dictionaries(
        {},
        optional={
            "filters": comparisons(Among, options),
            "geographic_levels": comparisons(Levels, st.sampled_from(["NAT", "REG", "LA"])),
            "locations": comparisons(Places, places),
            "time_periods": comparisons(Times, times, ("gt", "gte", "lt", "lte")),
        },
    )  # fmt: skip
    leaves = facets.filter(bool).map(lambda given: Facets(**given))

    def deeper(inner):
        several = st.lists(inner, min_size=1, max_size=3).map(tuple)
        return st.one_of(
            several.map(lambda parts: And(all=parts)), several.map(lambda parts: Or(any=parts)),
            inner.map(lambda part: Not(none=part)),
        )  # fmt: skip

    sorts = st.one_of(
        st.sampled_from(["timePeriod", "geographicLevel", "location|LA"]),
        st.sampled_from([each.id for each in META.filters]).map("filter|{}".format),
        indicators.map("indicator|{}".format),
    )
    return st.builds(
        Query,
        criteria=st.none() | st.recursive(leaves, deeper, max_leaves=6),
        indicators=st.none() | st.lists(indicators, min_size=1, max_size=3).map(tuple),
        sorts=st.lists(st.builds(Sort, field=sorts, direction=st.sampled_from(["Asc", "Desc"])), max_size=3).map(tuple),
        page=st.integers(1, 10**6),
        page_size=st.integers(1, 10_000),
    )


ANY_ID = st.from_regex(r"\S{1,8}", fullmatch=True)
ANY_TIME = st.sampled_from(sorted(TIME_CODES)).flatmap(
    lambda code: st.integers(1990, 2090).flatmap(
        lambda year: st.sampled_from([f"{year}", f"{year}/{year + 1}"] if code in SPANNING else [f"{year}"]).map(
            lambda period: Time(period=period, code=code)
        )
    )
)
ANY_PLACE = st.builds(
    lambda level, name, value: Place(level=level, **{name: value}),
    st.sampled_from(sorted(LEVELS)), st.sampled_from(["id", "code", "old_code", "urn", "la_estab", "ukprn"]),
    st.text(min_size=1, max_size=10),
)  # fmt: skip
HELD_TIMES = st.sampled_from([Time(period=each.period, code=each.code) for each in META.time_periods])
HELD_PLACES = st.sampled_from(
    [Place(level=group.level.code, id=each.id) for group in META.locations for each in group.options]
    + [Place(level="LA", code="E06000047"), Place(level="LA", old_code="840")]
)
HELD_OPTIONS = st.sampled_from(sorted(META.options))
HELD_INDICATORS = st.sampled_from(sorted(META.indicator_by_id))


@given(queries(ANY_ID, ANY_ID, ANY_PLACE, ANY_TIME))
def test_every_query_is_of_the_services_grammar_and_comes_back_the_same(query):
    content = json.loads(query.to_json())
    assert set(content) <= {"criteria", "indicators", "sorts", "debug", "page", "pageSize"}
    if "criteria" in content:
        fits_grammar(content["criteria"])
    for sort in content["sorts"]:
        assert set(sort) == {"field", "direction"}
    assert Query.model_validate_json(query.to_json()) == query


@given(queries(HELD_OPTIONS, HELD_INDICATORS, HELD_PLACES, HELD_TIMES))
def test_every_query_of_what_the_data_set_holds_passes_its_check(query):
    check_query(query, META)


@given(queries(HELD_OPTIONS, HELD_INDICATORS, HELD_PLACES, HELD_TIMES), st.text(alphabet="#", min_size=1))
def test_an_id_that_is_not_held_is_always_found_however_deep(query, strange):
    """No id of the service holds a hash sign."""
    inside = Facets(filters=Among(eq=strange))
    criteria = inside if query.criteria is None else Or(any=(query.criteria, Not(none=And(all=(inside,)))))
    with pytest.raises(UsageError, match="there is no filter option '#"):
        check_query(query.model_copy(update={"criteria": criteria}), META)


@given(queries(HELD_OPTIONS, HELD_INDICATORS, HELD_PLACES, HELD_TIMES))
def test_not_takes_the_complement_and_and_or_their_sets(query):
    """The criteria mean what sets mean: evaluated by the stand-in service, which shares no code with them."""
    if query.criteria is None:
        return

    def chosen(criteria):
        content = json.loads(Query(criteria=criteria).to_json())["criteria"]
        return {number for number, row in enumerate(ROWS) if holds(row, content, ["school_type"])}

    everything = set(range(len(ROWS)))
    assert chosen(Not(none=query.criteria)) == everything - chosen(query.criteria)
    assert chosen(And(all=(query.criteria, query.criteria))) == chosen(query.criteria)
    assert chosen(Or(any=(query.criteria, Not(none=query.criteria)))) == everything


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Among(), "give one of eq, notEq, in, notIn"),
        (lambda: Among(in_=()), "at least 1 item"),
        (lambda: Among(eq=""), "at least 1 character"),
        (lambda: Among(eq="two words"), "should match pattern"),
        (lambda: Levels(eq="LOCAL"), "'LA'"),
        (lambda: Facets(), "give at least one of filters"),
        (lambda: And(all=()), "at least 1 item"),
        (lambda: Time(period="2022/2024", code="AY"), "second year must follow"),
        (lambda: Time(period="2022/2023", code="CY"), "Calendar year is named by one year"),
        (lambda: Time(period="22", code="AY"), "String should match"),
        (lambda: Time(period="2022", code="XX"), "'AY'"),
        (lambda: Place(level="LA"), "name a location by one of"),
        (lambda: Place(level="LA", id="a", code="b"), "name a location by one of"),
        (lambda: Place(level="LA", code="E" * 31), "at most 30"),
        (lambda: Sort(field="year"), "sort by timePeriod"),
        (lambda: Query(page=0), "greater than or equal to 1"),
        (lambda: Query(page_size=10_001), "less than or equal to 10000"),
        (lambda: Query(colour="red"), "Extra inputs"),
    ],
)  # fmt: skip
def test_what_the_service_would_refuse_cannot_be_built(build, said):
    with pytest.raises(ValidationError, match=said):
        build()


@pytest.mark.parametrize(
    ("facets", "said"),
    [
        (Facets(geographic_levels=Levels(eq="SCH")), "no geographic level 'SCH'. Use one of: LA, NAT, REG"),
        (Facets(locations=Places(eq=Place(level="PROV", id="x"))), "no locations of level PROV"),
        (Facets(locations=Places(eq=Place(level="LA", code="E06000048"))), "Did you mean 'E06000047'?"),
        (Facets(time_periods=Times(eq=Time(period="2030/2031", code="AY"))), "no period 2030/2031 AY. It holds"),
    ],
    ids=["level", "locations of a level", "location", "period"],
)  # fmt: skip
def test_levels_places_and_periods_are_checked_too(facets, said):
    with pytest.raises(UsageError) as caught:
        check_query(Query(criteria=facets), META)
    assert said in str(caught.value)


def test_a_bound_need_not_be_a_period_that_is_held():
    check_query(Query(criteria=Facets(time_periods=Times(gte=Time(period="1990", code="AY")))), META)


@given(st.integers(1900, 2099))
def test_periods_come_back_from_the_csv_form(year):
    two = f"{year}/{year + 1}"
    assert csv_period(two) == f"{year}{(year + 1) % 100:02d}"
    assert api_period(csv_period(two)) == two
    assert api_period(csv_period(str(year))) == str(year)


def test_the_stand_in_reads_its_own_rows_as_the_service_would():
    """Held against the table itself, so that what is tested with it means something."""
    assert HEADING.split(",")[-2:] == list(INDICATORS)
    assert period_of(ROWS[0]) == {"code": "AY", "period": "2021/2022"}
    assert places_of(ROWS[-1])["LA"] == sqid("LA", "E06000047")
