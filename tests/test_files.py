"""Files are written whole or not at all, and the same content has the same fingerprint."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendap.files import fingerprint, sha256, whole, write_json, write_text


def test_a_file_appears_under_its_name_with_nothing_beside_it(tmp_path):
    write_text(tmp_path / "deep" / "note.txt", "Grüße\n")
    assert (tmp_path / "deep" / "note.txt").read_bytes() == "Grüße\n".encode()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["note.txt"]


def stopped_half_way(path):
    with whole(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise RuntimeError


def test_a_write_that_fails_leaves_the_old_file_and_no_debris(tmp_path):
    path = tmp_path / "note.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError):
        stopped_half_way(path)
    assert path.read_text(encoding="utf-8") == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["note.txt"]


def test_a_write_that_fails_leaves_nothing_where_there_was_nothing(tmp_path):
    with pytest.raises(RuntimeError):
        stopped_half_way(tmp_path / "new.txt")
    assert list(tmp_path.iterdir()) == []


def test_the_file_can_be_read_by_others(tmp_path):
    write_text(tmp_path / "note.txt", "x")
    assert (tmp_path / "note.txt").stat().st_mode & 0o777 == 0o644


def test_json_is_sorted_and_keeps_its_letters(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "£"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "a": "£",\n  "b": 1\n}\n'


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_fingerprint_does_not_depend_on_the_order_of_keys():
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": [1, 2]}) != fingerprint({"a": [2, 1]})
    assert fingerprint({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_a_fingerprint_survives_json(content):
    assert fingerprint(content) == fingerprint(json.loads(json.dumps(content)))
