"""The published table of statistical neighbours, as published and broken."""

from __future__ import annotations

import pandas as pd
import pytest

from sendap.errors import DataError
from sendap.sources.neighbours import FILE, FOLDER, read_neighbours


def wide(catalog, areas: int = 12) -> pd.DataFrame:
    """Each area's neighbours are the next ten of the list."""
    codes = [area.three_digit_code for area in catalog.places.current][:areas]
    rows = []
    for at, code in enumerate(codes):
        row = {"old_la_code": code, "la_name": "name"}
        for rank in range(1, 11):
            row |= {f"SN_{rank}": codes[(at + rank) % areas], f"SN_{rank}P": "Close "}
        rows.append(row)
    return pd.DataFrame(rows)


@pytest.fixture
def write(tmp_path):
    def save(frame: pd.DataFrame):
        (tmp_path / FOLDER).mkdir(exist_ok=True)
        frame.to_csv(tmp_path / FOLDER / FILE, index=False, encoding="utf-8-sig")
        return tmp_path

    return save


def test_the_wide_table_becomes_ten_rows_an_area(catalog, write):
    found = read_neighbours(catalog.places, write(wide(catalog)))
    codes = [area.la_code for area in catalog.places.current][:12]
    first = found[found["cluster"] == codes[0]]
    assert first["neighbour"].tolist() == codes[1:11]
    assert first["rank"].tolist() == list(range(1, 11))
    assert set(found["closeness"]) == {"Close"}


def test_a_broken_table_is_refused(catalog, write, tmp_path):
    good = wide(catalog)
    with pytest.raises(DataError, match="doesn't exist"):
        read_neighbours(catalog.places, tmp_path / "empty")
    with pytest.raises(DataError, match="lacks the column 'SN_4P'"):
        read_neighbours(catalog.places, write(good.drop(columns="SN_4P")))
    with pytest.raises(DataError, match="found '999', expected a code"):
        read_neighbours(catalog.places, write(good.replace({"SN_3": {good["SN_3"][0]: "999"}})))
    with pytest.raises(DataError, match="is its own neighbour"):
        read_neighbours(catalog.places, write(good.assign(SN_1=good["old_la_code"])))
    with pytest.raises(DataError, match="has one neighbour twice"):
        read_neighbours(catalog.places, write(good.assign(SN_2=good["SN_1"])))
    with pytest.raises(DataError, match="is there twice"):
        read_neighbours(catalog.places, write(pd.concat([good, good.iloc[:1]])))


@pytest.mark.real_data
def test_the_published_table_covers_every_area_of_today(catalog, real_data):
    found = read_neighbours(catalog.places, real_data)
    assert set(found["cluster"]) == {area.la_code for area in catalog.places.current}
    assert len(found) == 1530
    barking = found[found["cluster"] == catalog.places.code_of_name("Barking and Dagenham")]
    assert [catalog.places.name_of(code) for code in barking["neighbour"][:3]] == [
        "Enfield",
        "Luton",
        "Hounslow",
    ]
