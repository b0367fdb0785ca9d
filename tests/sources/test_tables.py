"""Text tables: byte-order marks, gzip, symbols as reasons, and everything else refused by file, column and row."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendap.catalog import Column, DataFile
from sendap.errors import DataError
from sendap.sources.locate import locate
from sendap.sources.tables import check_columns, check_key, check_values, read_text, rows_in_words, to_numbers

PATH = Path("table.csv")
SYMBOLS = {
    "x": "not available",
    "z": "not applicable",
    "c": "suppressed",
    "low": "rounds to zero",
    "-": "zero",
    "": "blank",
}


def put(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


def column(*values, name="measure"):
    return pd.Series(list(values), index=range(2, 2 + len(values)), name=name, dtype=str)


def numbers(*values, symbols=SYMBOLS):
    return to_numbers(column(*values), symbols, path=PATH)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.csv", "a,b\n1,£\n".encode()),
        ("marked.csv", "a,b\n1,£\n".encode("utf-8-sig")),
        ("packed.csv.gz", gzip.compress("a,b\n1,£\n".encode("utf-8-sig"), mtime=0)),
        ("windows.csv", "a,b\r\n1,£\r\n".encode("utf-8-sig")),
        ("unended.csv", "a,b\n1,£".encode()),
    ],
)
def test_marks_gzip_and_line_ends_make_no_difference(tmp_path, name, content):
    frame = read_text(put(tmp_path, name, content))
    assert frame.to_dict("records") == [{"a": "1", "b": "£"}]
    assert frame.index.tolist() == [2]


def test_nothing_is_guessed_all_values_stay_text(tmp_path):
    frame = read_text(put(tmp_path, "a.csv", b"a,b\n007,NA\nnull,\n"))
    assert frame.to_numpy().tolist() == [["007", "NA"], ["null", ""]]


def test_rows_keep_their_numbers_in_the_file_after_blank_lines(tmp_path):
    frame = read_text(put(tmp_path, "a.csv", b"a,b\n\n1,2\n,,\n".replace(b",,", b",") + b"3,4\n"))
    assert frame.index.tolist() == [3, 5]
    assert frame["a"].tolist() == ["1", "3"]


def test_a_table_is_read_anew_when_its_file_changes(tmp_path):
    path = put(tmp_path, "a.csv", b"a\n1\n")
    assert read_text(path)["a"].tolist() == ["1"]
    put(tmp_path, "a.csv", b"a\n1\n2\n")
    assert read_text(path)["a"].tolist() == ["1", "2"]


def test_changing_what_was_read_does_not_change_what_is_read_next(tmp_path):
    path = put(tmp_path, "a.csv", b"a\n1\n")
    frame = read_text(path)
    frame.loc[:, "a"] = "changed"
    assert read_text(path)["a"].tolist() == ["1"]


_WHOLE = gzip.compress(b"a,b\n" + b"1,2\n" * 5000, mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("cut.csv.gz", _WHOLE[: len(_WHOLE) // 2],
         r"cut\.csv\.gz can't be read as a table: .*ended.*Download it again"),
        ("bent.csv.gz", _WHOLE[:20] + b"\xff" * 8 + _WHOLE[28:], r"bent\.csv\.gz can't be read as a table"),
        ("not.csv.gz", b"a,b\n1,2\n", r"not\.csv\.gz can't be read as a table: Not a gzipped file"),
        ("empty.csv", b"", r"empty\.csv can't be read as a table: No columns"),
        ("latin.csv", b"a,b\n1,caf\xe9\n", r"latin\.csv isn't UTF-8 text \(byte 9\)\. Save it as UTF-8"),
        ("wide.csv", "a,b\n1,2\n".encode("utf-16"), r"wide\.csv isn't UTF-8 text"),
        ("packed.csv", gzip.compress(b"a\n1\n", mtime=0), r"packed\.csv isn't UTF-8 text"),
        ("open.csv", b'a,b\n1,"2\n', r"open\.csv can't be read as a table: .*EOF inside string"),
        ("long.csv", b"a,b\n1,2\n3,4,5\n", r"long\.csv can't be read as a table: .*Expected 2 fields in line 3, saw 3"),
        # Pandas would take the first column for an index here and move every value one place to the left.
        ("shifted.csv", b"a,b\n1,2,\n3,4,\n",
         r"shifted\.csv: its first row of data has more fields than the heading, which has 2"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_by_name_with_the_way_to_mend_it(tmp_path, name, content, expected):
    with pytest.raises(DataError, match=expected):
        read_text(put(tmp_path, name, content))


def test_a_file_is_found_gzipped_or_not(tmp_path, catalog):
    dataset = catalog.dataset("lait")
    name = dataset.files[0].name
    folder = tmp_path / dataset.folder
    folder.mkdir()
    with pytest.raises(DataError) as caught:
        locate(dataset, name, tmp_path)
    text = str(caught.value)
    assert str(folder / name) in text
    assert dataset.title in text
    assert dataset.address in text
    assert "--data-dir or SENDAP_DATA" in text
    plain = put(folder, name.removesuffix(".gz"), b"a\n")
    assert locate(dataset, name, tmp_path) == plain
    packed = put(folder, name, gzip.compress(b"a\n", mtime=0))
    assert locate(dataset, name, tmp_path) == packed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12), ("-3.5", -3.5), ("+5", 5), ("1,234", 1234), ("1,234,567.5", 1234567.5), ("12%", 12),
        ("5.40 %", 5.4),
        (" 7 ", 7), ("9.3699999999999992", 9.37), ("1e3", 1000), ("0", 0), ("-", 0), (" - ", 0),
    ],
)  # fmt: skip
def test_numbers_are_read_as_publishers_write_them(text, value):
    found, reasons = numbers(text)
    # The noise of binary fractions in the interactive tool is far below this.
    assert found.iloc[0] == pytest.approx(value, abs=1e-12)
    assert reasons.isna().all()


@pytest.mark.parametrize("symbol", ["x", "z", "c", "low", ""])
def test_a_symbol_is_the_reason_why_a_value_is_missing(symbol):
    found, reasons = numbers("1", symbol)
    assert math.isnan(found.iloc[1])
    assert reasons.iloc[1] == SYMBOLS[symbol]
    assert pd.isna(reasons.iloc[0])


def test_one_sign_can_be_zero_in_one_dataset_and_missing_in_another(catalog):
    tribunal, tool = catalog.dataset("send-tribunal-appeal-rate").symbols, catalog.dataset("lait").symbols
    assert numbers("-", symbols=tribunal)[0].tolist() == [0.0]
    found, reasons = numbers("-", symbols=tool)
    assert math.isnan(found.iloc[0])
    assert reasons.iloc[0].startswith("not given")


@pytest.mark.parametrize(
    "text",
    ["twelve", "1,5", "5,", ",5", "1,23,456", "1.2.3", "--", "X1", "nan", "inf", "-inf", "1e999", "True", "0x10",
     "1_000",
     "½", "£5", "5%%", "1 234", "−5", "N/A", "~", ":"],
)  # fmt: skip
def test_what_is_neither_a_number_nor_a_symbol_is_refused_by_file_column_and_row(text):
    with pytest.raises(DataError) as caught:
        numbers("1", text, "2", text)
    message = str(caught.value)
    assert f"table.csv, column 'measure', rows 3, 5: found '{text}', expected a number or one of the symbols" in message
    assert "'x', 'z', 'c', 'low', '-', ''" in message
    assert "Correct the file, or describe the symbol in data-catalog/datasets." in message


def test_a_value_that_is_not_there_at_all_is_refused_too():
    with pytest.raises(DataError, match=r"row 2: found ''"):
        to_numbers(pd.Series([None, "1"], index=[2, 3], name="measure"), {"x": "gone"}, path=PATH)


def test_a_long_text_is_cut_in_the_message():
    with pytest.raises(DataError) as caught:
        numbers("a" * 500)
    assert "found '" + "a" * 40 + "'," in str(caught.value)


@given(st.floats(-1e12, 1e12, allow_nan=False))
def test_any_number_survives_writing_and_reading(value):
    assert numbers(repr(value))[0].iloc[0] == value


@given(st.integers(-(10**12), 10**12), st.booleans())
def test_commas_between_thousands_change_nothing(value, percent):
    text = f"{value:,}{'%' if percent else ''}"
    assert numbers(text)[0].iloc[0] == value


@given(st.text(max_size=12))
def test_any_text_is_a_finite_number_a_symbol_or_refused(text):
    try:
        found, reasons = numbers(text)
    except DataError:
        assert text.strip() not in SYMBOLS
        return
    if math.isnan(found.iloc[0]):
        assert reasons.iloc[0] == SYMBOLS[text.strip()]
    else:
        assert math.isfinite(found.iloc[0])
        assert pd.isna(reasons.iloc[0])
        assert text.strip() == "-" or any(letter.isdigit() for letter in text)


@given(st.lists(st.sampled_from(["x", "-", "", "3", "1,234", " z ", "12%"]), min_size=1, max_size=20))
def test_every_value_is_either_a_number_or_has_a_reason_never_both(values):
    found, reasons = numbers(*values)
    assert (found.isna() == reasons.notna()).all()
    assert found.index.tolist() == list(range(2, 2 + len(values)))


DESCRIBED = DataFile(
    name="table.csv",
    key=("area", "year"),
    columns=(
        Column(name="area", type="code", codes=("A", "B")),
        Column(name="year", type="code"),
        Column(name="count", type="integer", minimum=0),
        Column(name="share", type="number", minimum=0, maximum=100),
    ),
)


def frame(**columns):
    given = {"area": ["A", "B"], "year": ["2023", "2023"], "count": ["1", "2"], "share": ["1", "2"], **columns}
    return pd.DataFrame(given, index=[2, 3]).loc[:, [name for name in given if given[name] is not None]]


def test_a_table_with_exactly_the_described_columns_passes_in_any_order():
    assert check_columns(frame()[["share", "count", "year", "area"]], DESCRIBED, PATH) is None


def test_a_missing_column_is_named_with_what_stands_near_it():
    with pytest.raises(DataError) as caught:
        check_columns(frame(share=None, shares=["1", "2"]), DESCRIBED, PATH)
    assert "table.csv lacks the column 'share'" in str(caught.value)
    assert "It has 'shares', which isn't described." in str(caught.value)
    assert "data-catalog/datasets" in str(caught.value)
    with pytest.raises(DataError, match=r"lacks the column 'count' and 1 more"):
        check_columns(frame(share=None, count=None), DESCRIBED, PATH)


def test_a_column_that_is_not_described_is_refused_by_name():
    with pytest.raises(DataError, match=r"table\.csv has the column 'extra', which isn't described"):
        check_columns(frame(extra=["1", "2"]), DESCRIBED, PATH)


def test_a_second_copy_of_a_column_is_passed_over_only_while_it_is_a_copy():
    assert check_columns(frame(**{"share.1": ["1", "2"]}), DESCRIBED, PATH) is None
    with pytest.raises(DataError, match=r"has the column 'share' twice, and the two differ in row 3"):
        check_columns(frame(**{"share.1": ["1", "3"]}), DESCRIBED, PATH)
    with pytest.raises(DataError, match=r"the column 'other\.1', which isn't described"):
        check_columns(frame(**{"other.1": ["1", "3"]}), DESCRIBED, PATH)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("count", [1.0, -5.0], r"table\.csv, column 'count', row 3: found -5, expected a whole number of at least 0\."),
        ("count", [1.5, 2.0], r"column 'count', row 2: found 1\.5, expected a whole number of at least 0"),
        ("share", [140.0, 3.0], r"column 'share', row 2: found 140, expected a number of at least 0 and at most 100\."),
        ("share", [-0.001, 100.001], r"column 'share', rows 2, 3: found -0\.001"),
        ("count", [1234567.5, 2.0], r"found 1234567\.5"),
        ("area", ["A", "C"], r"column 'area', row 3: found 'C', expected one of A, B"),
    ],
)
def test_values_out_of_bounds_are_refused_by_column_row_found_and_expected(name, values, expected):
    with pytest.raises(DataError, match=expected):
        check_values(pd.DataFrame({name: values}, index=[2, 3]), [DESCRIBED.by_name[name]], path=PATH)


@pytest.mark.parametrize(("name", "values"), [("count", [0.0, np.nan]), ("share", [0.0, 100.0]), ("area", ["A", "B"])])
def test_values_on_their_bounds_and_missing_ones_pass(name, values):
    assert check_values(pd.DataFrame({name: values}, index=[2, 3]), [DESCRIBED.by_name[name]], path=PATH) is None


def test_a_repeated_key_is_refused_with_its_rows_and_its_content():
    repeated = frame(area=["A", "A"])
    with pytest.raises(DataError) as caught:
        check_key(repeated, DESCRIBED.key, path=PATH)
    assert str(caught.value).startswith("table.csv, rows 2, 3: the key is repeated (area 'A', year '2023').")
    assert check_key(frame(), DESCRIBED.key, path=PATH) is None


def test_rows_are_listed_up_to_five_and_then_counted():
    assert rows_in_words([7]) == "row 7"
    assert rows_in_words([7, 8]) == "rows 7, 8"
    assert rows_in_words(range(1, 9)) == "rows 1, 2, 3, 4, 5 and 3 more"
