"""The client against a service on loopback: what it reads, what it waits for, and what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from sources.ees.conftest import DATA_SET
from sources.ees.service import PUBLICATION, Held, Release, body, cut, drop, slow, sqid, status

from sendap.errors import DataError, UsageError
from sendap.sources.ees.client import ADDRESS, ApiError, Client, Patience, Unreachable, asked_wait
from sendap.sources.ees.query import Among, Facets, Levels, Query, Sort


def test_publications_and_data_sets_are_read_over_all_their_pages(service, client, held):
    for number in range(45):  # more than two pages of twenty
        service.hold(Held(f"{number:08d}", f"Data set {number}", held.indicators, held.releases))
    assert [each.slug for each in client.publications("plans")] == ["education-health-and-care-plans"]
    assert client.publication(PUBLICATION).title == "Education, health and care plans"
    found = client.data_sets(PUBLICATION)
    assert len(found) == 46
    assert found[0].title == "Absence by school type"
    assert found[0].latest_version.number == "1.0"
    assert len(service.asked("/data-sets")) == 3


def test_versions_are_in_order_of_number_and_a_wildcard_names_the_newest(client, held):
    held.releases = [Release(number, held.releases[0].table) for number in ("1.0", "1.9", "1.10", "2.0")]
    assert [each.number for each in client.versions(DATA_SET)] == ["1.0", "1.9", "1.10", "2.0"]
    assert client.version(DATA_SET, "1.*").number == "1.10"
    assert client.version(DATA_SET, "*").number == "2.0"


def test_metadata_give_ids_with_their_labels_and_columns(client, held):
    meta = client.meta(DATA_SET)
    assert [(each.column, len(each.options)) for each in meta.filters] == [("school_type", 3)]
    option = next(option for option in meta.filters[0].options if option.is_aggregate)
    assert (option.id, option.label) == (sqid("school_type", "Total"), "Total")
    assert meta.place_by_id["LA", sqid("LA", "E06000047")].old_code == "840"
    assert meta.time_periods[0].model_dump(exclude={"label"}) == {"period": "2021/2022", "code": "AY"}


def test_a_query_reads_every_page_of_one_version(service, client, held):
    rows = client.query(DATA_SET, Query(page_size=4))
    assert len(rows) == 27
    assert len(service.asked("/query")) == 7
    asked = [path for _, path, _ in service.log if "/query" in path]
    assert all("dataSetVersion=1.0" in path for path in asked)
    assert {row.time_period.period for row in rows[:9]} == {"2023/2024"}  # the newest first, as the service orders


def test_a_symbol_comes_through_as_text(client, held):
    only = Facets(filters=Among(eq=sqid("school_type", "Special")), geographic_levels=Levels(eq="LA"))
    rows = client.query(DATA_SET, Query(criteria=only, indicators=(sqid("indicator", "sess_authorised"),)))
    assert {row.time_period.period: next(iter(row.values.values())) for row in rows} == {
        "2023/2024": "1002", "2022/2023": "c", "2021/2022": "1002",
    }  # fmt: skip


def test_no_row_is_an_empty_answer_with_the_services_warning(client, held):
    warned = []
    none = Facets(filters=Among(eq=sqid("school_type", "Total"), not_eq=sqid("school_type", "Total")))
    assert client.query(DATA_SET, Query(criteria=none), warn=warned.append) == []
    assert [warning.code for warning in warned] == ["QueryNoResults"]


def test_rows_that_change_while_they_are_read_are_refused(service, client, held):
    def shrink(handler):
        held.releases = [Release("1.0", b"\n".join(held.releases[0].table.splitlines()[:-3]) + b"\n")]
        return False

    service.fault("/query", lambda handler: False)  # the first page is sound
    service.fault("/query", shrink)
    with pytest.raises(DataError, match=r"version 1.0: read 20 rows, expected 27.*run the command again"):
        client.query(DATA_SET, Query(page_size=10))


# Bad days.


@pytest.mark.parametrize(
    "fault",
    [
        status(500), status(502), status(503), status(504), status(429), drop, cut(20),
        body(b'{"id": "half', "application/json"),
    ],
    ids=["500", "502", "503", "504", "429", "a broken connection", "a cut body", "half an answer"],
)  # fmt: skip
def test_what_may_pass_is_tried_again(service, client, held, waits, fault):
    service.fault(DATA_SET, fault, times=3)
    assert client.data_set(DATA_SET).title == "Absence by school type"
    assert len(service.asked(DATA_SET)) == 4
    # Doubling from 0.1, each with a random part of at most 0.1.
    assert [0.1 * 2**n <= wait <= 0.1 * 2**n + 0.1 for n, wait in enumerate(waits)] == [True] * 3


def test_a_slow_answer_is_given_up_and_asked_again(service, held, waits):
    service.fault(DATA_SET, slow(1.0))
    with Client(service.address, patience=Patience(attempts=2, read=0.2, sleep=waits.append)) as client:
        assert client.data_set(DATA_SET).id == DATA_SET
    assert len(waits) == 1


def test_the_wait_that_the_service_asks_for_is_kept(service, client, held, waits):
    service.fault(DATA_SET, status(429, Retry_After="7"))
    client.data_set(DATA_SET)
    assert waits == [7.0]


def test_a_wait_that_is_too_long_ends_the_work_and_is_said(service, client, held, waits):
    service.fault(DATA_SET, status(429, Retry_After="3600"))
    with pytest.raises(Unreachable, match=r"HTTP 429.*asks for a wait of 3600 seconds") as caught:
        client.data_set(DATA_SET)
    assert waits == []
    assert caught.value.status == 429


def test_a_wait_may_be_a_date():
    soon = datetime.now(UTC) + timedelta(seconds=90)
    assert asked_wait(format_datetime(soon, usegmt=True)) == pytest.approx(90, abs=5)  # the clock runs meanwhile
    assert asked_wait(format_datetime(soon - timedelta(days=1), usegmt=True)) == 0
    assert asked_wait("12") == 12
    assert asked_wait("soon") is None
    assert asked_wait(None) is None


def test_a_service_that_never_answers_is_said_with_what_to_do(service, client, held, waits):
    service.fault(DATA_SET, status(503), times=99)
    with pytest.raises(
        Unreachable, match=r"HTTP 503.*tried 4 times.*Try again later, or name a mirror with SENDAP_API"
    ):
        client.data_set(DATA_SET)
    assert len(waits) == 3
    assert len(service.asked(DATA_SET)) == 4


def test_nobody_there_is_unreachable(service, waits):
    address = service.address
    service.server_close()
    with (
        Client(address, patience=Patience(attempts=2, sleep=waits.append)) as client,
        pytest.raises(Unreachable, match="ConnectError"),
    ):
        client.publications()


# Refusals, which no second attempt can mend.


def test_a_refusal_is_said_in_the_services_own_words_and_not_tried_again(service, client, held, waits):
    unknown = body(
        b'{"title":"There are validation errors with the request.","status":400,"errors":[{"message":"One or more '
        b'indicators could not be found.","code":"IndicatorsNotFound","path":"$.indicators",'
        b'"detail":{"items":["zz"]}}]}',
        "application/problem+json", 400,
    )  # fmt: skip
    service.fault("/query", unknown)
    with pytest.raises(ApiError, match=r"400: One or more indicators could not be found \(IndicatorsNotFound at "
                                       r"\$.indicators\): zz") as caught:  # fmt: skip
        client.query(DATA_SET, Query())
    assert caught.value.status == 400
    assert waits == []
    assert len(service.asked("/query")) == 1


def test_the_services_own_checks_are_the_same_as_ours(service, client, held):
    service.largest_page = 5
    with pytest.raises(ApiError, match=r"Must be between 1 and 5 \(InclusiveBetween at \$.pageSize\)"):
        client.query(DATA_SET, Query(page_size=6))
    with pytest.raises(ApiError, match="at least 3 characters"):
        client.publications("eh")


def test_an_unknown_data_set_is_a_refusal(client, held):
    with pytest.raises(ApiError, match="404: Not Found") as caught:
        client.data_set("nothing")
    assert caught.value.status == 404


def test_an_answer_of_another_form_is_refused_by_field(service, client, held):
    service.fault(DATA_SET, body(b'{"id": "x", "title": 3}', "application/json"))
    with pytest.raises(ApiError, match="in another form than described: title"):
        client.data_set(DATA_SET)


def test_a_query_of_unknown_ids_is_refused_before_it_is_sent(service, client, held):
    asked = Query(
        criteria=Facets(filters=Among(eq=sqid("school_type", "Total")[:-1])), indicators=("zz",),
        sorts=(Sort(field="filter|yy"),),
    )  # fmt: skip
    with pytest.raises(UsageError) as caught:
        client.query(DATA_SET, asked)
    said = str(caught.value)
    assert f"Did you mean '{sqid('school_type', 'Total')}'?" in said
    assert "there is no indicator 'zz'" in said
    assert "there is no filter to sort by 'yy'" in said
    assert service.asked("/query") == []


def test_the_address_is_that_of_the_argument_then_the_variable_then_the_service(monkeypatch):
    monkeypatch.setenv("SENDAP_API", "http://mirror.example/v1/")
    with Client() as client:
        assert client.address == "http://mirror.example/v1"
    with Client("http://other.example") as client:
        assert client.address == "http://other.example"
    monkeypatch.delenv("SENDAP_API")
    with Client() as client:
        assert client.address == ADDRESS == "https://api.education.gov.uk/statistics/v1"


def test_an_address_that_is_none_is_refused():
    with pytest.raises(UsageError, match="'nowhere at all' isn't the address of an API.*Correct SENDAP_API"):
        Client("nowhere at all")
