"""Files arrive whole or not at all, whatever happens on the way."""

from __future__ import annotations

import gzip
import hashlib

import pytest
from sources.ees.conftest import DATA_SET, table
from sources.ees.service import Release, body, cut, drop, status

from sendap.sources.ees.client import ApiError, Unreachable
from sendap.sources.ees.download import download


@pytest.fixture
def large(held):
    """A table that compression doesn't shrink to nothing, so that there is something to cut."""
    noise = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(3000)]
    extra = [
        f"202324,Academic year,National,E92000001,England,,,,,,{text},{text},{at}" for at, text in enumerate(noise)
    ]  # fmt: skip
    held.releases = [Release("1.0", table(extra=extra))]
    return held.releases[0].table


@pytest.fixture
def get(client, tmp_path):
    def run(name="data.csv.gz", **options):
        return download(client, DATA_SET, "1.0", tmp_path / name, parts=tmp_path / "parts", **options)

    return run


def left(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz"])
def test_the_text_is_the_publishers_whatever_the_form(service, get, large, tmp_path, encoding, name):
    service.encoding = encoding
    arrived = get(name)
    raw = (tmp_path / name).read_bytes()
    assert (gzip.decompress(raw) if name.endswith(".gz") else raw) == large
    assert arrived.sha256 == hashlib.sha256(raw).hexdigest()
    assert arrived.content_sha256 == hashlib.sha256(large).hexdigest()
    assert arrived.size == len(raw)
    assert not arrived.resumed
    assert left(tmp_path) == [name]


def test_a_cut_download_goes_on_where_it_stopped(service, get, large, tmp_path, waits):
    whole = len(gzip.compress(large, mtime=0))
    service.fault("/csv", cut(50_000))
    arrived = get()
    assert arrived.resumed
    assert gzip.decompress((tmp_path / "data.csv.gz").read_bytes()) == large
    first, second = service.asked("/csv")
    assert "Range" not in first
    assert second["Range"] == "bytes=50000-"
    assert second["If-Range"].startswith('"')
    assert len(waits) == 1
    assert whole > 50_000


def test_work_that_was_stopped_goes_on_in_the_next_run(service, get, large, tmp_path):
    """The part file outlives the command: a second run asks for the rest only."""
    service.fault("/csv", cut(50_000))
    service.fault("/csv", drop, times=3)
    with pytest.raises(Unreachable):
        get()
    assert left(tmp_path) == [f"parts/{DATA_SET}-1.0.json", f"parts/{DATA_SET}-1.0.part"]
    arrived = get()
    assert arrived.resumed
    assert service.asked("/csv")[-1]["Range"] == "bytes=50000-"
    assert gzip.decompress((tmp_path / "data.csv.gz").read_bytes()) == large


def test_without_ranges_it_starts_again(service, get, large, tmp_path):
    service.ranges = False
    service.fault("/csv", cut(50_000))
    arrived = get()
    assert not arrived.resumed
    assert gzip.decompress((tmp_path / "data.csv.gz").read_bytes()) == large


def test_without_a_validator_nothing_is_joined(service, get, large, tmp_path):
    """Where the service gives neither ETag nor date, the rest might be of another file."""
    service.validators = False
    service.fault("/csv", cut(50_000))
    assert not get().resumed
    assert all("Range" not in headers for headers in service.asked("/csv"))
    assert gzip.decompress((tmp_path / "data.csv.gz").read_bytes()) == large


def test_a_file_that_changes_in_between_never_mixes_with_the_old(service, held, get, large, tmp_path):
    service.fault("/csv", cut(50_000))

    def changed(handler):
        held.releases[0].table = large + b"202324,Academic year,National,E92000001,England,,,,,,New,1,1\n"
        return False

    service.fault("/csv", changed)
    arrived = get()
    assert not arrived.resumed
    assert gzip.decompress((tmp_path / "data.csv.gz").read_bytes()) == held.releases[0].table


def test_a_part_that_no_longer_fits_is_thrown_away(service, get, large, tmp_path):
    service.fault("/csv", cut(50_000))
    service.fault("/csv", body(b"", "text/csv", 416))
    assert not get().resumed
    assert gzip.decompress((tmp_path / "data.csv.gz").read_bytes()) == large


def test_a_part_from_another_place_is_thrown_away(service, get, large, tmp_path):
    service.fault("/csv", cut(50_000))
    service.fault("/csv", body(b"abc", "text/csv", 206, Content_Range="bytes 10-12/99"))
    assert not get().resumed
    assert gzip.decompress((tmp_path / "data.csv.gz").read_bytes()) == large


def test_without_a_length_the_checksum_finds_a_cut_file(service, get, large, tmp_path, waits):
    """No Content-Length, so that the end of the connection looks like the end of the file: the checksum tells."""
    service.lengths = False
    service.fault("/csv", cut(50_000))
    arrived = get()
    assert len(waits) == 1
    assert not arrived.resumed
    assert gzip.decompress((tmp_path / "data.csv.gz").read_bytes()) == large


def test_a_part_that_ends_too_early_is_gone_on_with_not_taken_for_the_whole(service, get, large, tmp_path, waits):
    """A partial answer of fewer bytes than are left, each of them announced: only the whole length tells."""
    service.encoding = "identity"
    service.fault("/csv", cut(50_000))
    few = f"bytes 50000-50009/{len(large)}"
    service.fault("/csv", body(large[50_000:50_010], "text/csv", 206, Content_Range=few))
    assert get("data.csv").resumed
    assert [headers.get("Range") for headers in service.asked("/csv")] == [None, "bytes=50000-", "bytes=50010-"]
    assert (tmp_path / "data.csv").read_bytes() == large


def test_without_length_and_checksum_the_number_of_rows_finds_a_cut_file(service, get, large, tmp_path, waits):
    service.lengths, service.encoding = False, "identity"
    service.fault("/csv", cut(50_000))
    get(rows=large.count(b"\n") - 1)
    assert len(waits) == 1
    assert gzip.decompress((tmp_path / "data.csv.gz").read_bytes()) == large


def test_a_damaged_file_is_found_by_its_checksum_and_fetched_again(service, get, large, tmp_path, waits):
    raw = bytearray(gzip.compress(large, mtime=0))
    raw[len(raw) // 2] ^= 0xFF
    service.fault("/csv", body(bytes(raw), "text/csv", Content_Encoding="gzip"))
    get()
    assert len(waits) == 1
    assert gzip.decompress((tmp_path / "data.csv.gz").read_bytes()) == large


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (status(500), Unreachable, "HTTP 500"),
        (cut(10), Unreachable, "RemoteProtocolError|bytes arrived"),
        (body(b"", "text/csv"), Unreachable, "the file is empty"),
        (body(b"not gzip at all", "text/csv", Content_Encoding="gzip"), Unreachable, "the file is damaged"),
        (body(b"<html>Sign in</html>", "text/html"), ApiError, "a web page, not a table"),
        (body(b"?", "text/csv", Content_Encoding="br"), ApiError, "in the encoding 'br', which wasn't asked for"),
        (status(404), ApiError, "answered 404"),
    ],
    ids=["500", "always cut", "empty", "not gzip", "a web page", "another encoding", "404"],
)  # fmt: skip
def test_what_never_succeeds_leaves_the_older_file_alone(service, get, large, tmp_path, fault, error, said):
    (tmp_path / "data.csv.gz").write_bytes(b"the older file")
    service.fault("/csv", fault, times=99)
    service.ranges = False
    with pytest.raises(error, match=said):
        get()
    assert (tmp_path / "data.csv.gz").read_bytes() == b"the older file"
    assert [name for name in left(tmp_path) if not name.startswith("parts/")] == ["data.csv.gz"]
    assert not list(tmp_path.rglob("*.tmp"))


def test_progress_counts_up_to_the_announced_length(get, large):
    seen = []
    arrived = get(show=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (arrived.size, arrived.size)


def test_the_same_text_gives_the_same_bytes(service, get, large):
    """Compressed here, without a time stamp, so that checksums of two machines agree."""
    service.encoding = "identity"
    assert get("one.csv.gz").sha256 == get("two.csv.gz").sha256
