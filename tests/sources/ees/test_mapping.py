"""From ids to the columns of a file and back: a query of everything is the CSV file."""

from __future__ import annotations

import gzip
import io

import pandas as pd
import pytest
from sources.ees.conftest import DATA_SET, INDICATORS, table
from sources.ees.service import Held, Release, sqid

from sendap.catalog import Series
from sendap.errors import DataError, UsageError
from sendap.periods import PeriodKind
from sendap.sources.ees.mapping import Names, to_table
from sendap.sources.ees.models import Meta
from sendap.sources.ees.query import Query


def as_file(raw: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(raw), dtype=str, keep_default_na=False, encoding="utf-8-sig")


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    columns = sorted(frame.columns)
    return frame[columns].sort_values(columns, ignore_index=True)


def test_every_row_of_a_query_is_the_row_of_the_file(client, held):
    rows = client.query(DATA_SET, Query())
    got = to_table(rows, client.meta(DATA_SET))
    pd.testing.assert_frame_equal(in_order(got), in_order(as_file(held.releases[0].table)))


def test_a_synthetic_file_of_the_catalogue_comes_through_the_api_unchanged(service, client, stand_in, catalog):
    """The same text by two ways, so that the readers of the catalogue read the same either way."""
    described = catalog.dataset("ehc-plans-2025").file("newplans.csv.gz")
    raw = (stand_in / "ehc_plans_2025" / "newplans.csv.gz").read_bytes()
    frame = as_file(gzip.decompress(raw))
    frame = frame[frame["new_la_code"] < "E06000020"]
    indicators = tuple(column.name for column in described.columns if column.type in ("integer", "number"))
    release = Release("1.0", frame.to_csv(index=False).encode())
    service.hold(Held(DATA_SET, "New plans", indicators, [release]))
    got = to_table(client.query(DATA_SET, Query(page_size=200)), client.meta(DATA_SET))
    blank = [column for column in frame.columns if (frame[column] == "").all() and column not in got.columns]
    assert set(blank) <= {"region_code", "region_name"}  # the service has no place without a code
    shared = frame.drop(columns=blank)
    if "region_name" in shared and "region_name" not in got:
        shared = shared.drop(columns="region_name")
    pd.testing.assert_frame_equal(in_order(got), in_order(shared))


def test_a_series_of_the_catalogue_becomes_a_query_of_its_rows_and_columns(service, client):
    raw = table(extra=["202324,Academic year,Local authority,E92000001,England,E12000001,North East,805,E06000001,"
                       "Hartlepool,Special,12,48"])  # fmt: skip
    service.hold(Held(DATA_SET, "Absence", INDICATORS, [Release("1.0", raw)]))
    series = Series(
        id="absence", file="x.csv", label="Absence", unit="per cent", period_kind=PeriodKind.ACADEMIC,
        select={"school_type": "  SPECIAL "}, numerator="sess_authorised", denominator="enrolments",
    )  # fmt: skip
    meta = client.meta(DATA_SET)
    got = to_table(client.query(DATA_SET, Names(meta).of_series(series)), meta)
    columns = ["time_period", "new_la_code", "sess_authorised", "enrolments"]
    assert sorted(map(tuple, got[columns].to_numpy().tolist())) == [
        ("202122", "E06000047", "1002", str(202122 % 97 + 2)),
        ("202223", "E06000047", "c", str(202223 % 97 + 2)),
        ("202324", "E06000001", "12", "48"),
        ("202324", "E06000047", "1002", str(202324 % 97 + 2)),
    ]  # fmt: skip


def test_names_are_found_by_column_or_label_and_refused_with_the_nearest(client, held):
    names = Names(client.meta(DATA_SET))
    assert names.option("school_type", "total") == names.option("School type", "Total") == sqid("school_type", "Total")
    assert names.indicator("enrolments") == sqid("indicator", "enrolments")
    assert names.time("202223", "Academic year").model_dump() == {"period": "2022/2023", "code": "AY"}
    with pytest.raises(UsageError, match="no filter 'school_typ'. Did you mean 'school_type'?"):
        names.filter("school_typ")
    with pytest.raises(UsageError, match="no option 'Specials'. Did you mean 'Special'?"):
        names.option("school_type", "Specials")
    with pytest.raises(UsageError, match="no indicator 'enrolment'. Did you mean 'enrolments'?"):
        names.indicator("enrolment")
    with pytest.raises(UsageError, match="time_identifier 'Academic yeer' isn't known"):
        names.time("202223", "Academic yeer")


def test_an_id_that_the_metadata_lack_is_refused_not_passed_on(client, held):
    rows = client.query(DATA_SET, Query())
    meta = client.meta(DATA_SET)
    for lacking, said in [
        ({"filters": ()}, "option"), ({"indicators": ()}, "indicator"), ({"locations": ()}, "location"),
    ]:  # fmt: skip
        with pytest.raises(DataError, match=f"The service names {said} .*which its metadata lack"):
            to_table(rows, meta.model_copy(update=lacking))


def test_the_older_documentation_calls_a_location_by_name():
    old = {"level": {"code": "REG"}, "options": [{"id": "e0768", "name": "North East", "code": "E12000001"}]}
    assert Meta.model_validate({"locations": [old]}).place_by_id["REG", "e0768"].label == "North East"
