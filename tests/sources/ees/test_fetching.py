"""``sendap fetch``: published files in the data folder, known by version and checksum, and never worse than before."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys

import pytest
from sources.ees.service import Held, Release, drop, status

from sendap.errors import Problems, UsageError
from sendap.files import sha256
from sendap.runs.fetching import fetch, fetch_instructions
from sendap.sources.ees.cache import read_record
from sendap.sources.ees.client import Client, Patience
from sendap.sources.locate import SYNTHETIC_MARK
from sendap.sources.read import read_series
from sendap.workspace import Workspace

TITLES = {
    "newplans.csv.gz": "Number of new EHC plans during the calendar year",
    "caseload.csv.gz": "Number of education, health (EHC) plans as at January each year",
    "assessments.csv.gz": "Number of EHC needs assessments, and the assessment outcomes",
    "annual_reviews.csv.gz": "Number and outcome of annual reviews of education, health and care plans",
}
LACKING = "annual_reviews.csv.gz"
"""The file that the stand-in service doesn't hold."""
FOLDER = "ehc_plans_2025"
ROWS = 400
DATASET = "ehc-plans-2025"


@pytest.fixture
def publisher(service, stand_in, catalog):
    """The service holding the catalogue's EHC plans, with synthetic figures, but for one file."""
    held = {}
    for number, (name, title) in enumerate(TITLES.items()):
        if name == LACKING:
            continue
        path = stand_in / FOLDER / name
        raw = b"".join(gzip.decompress(path.read_bytes()).splitlines(keepends=True)[:ROWS])
        columns = catalog.dataset(DATASET).file(name).columns
        indicators = tuple(column.name for column in columns if column.type in ("integer", "number"))
        release = Release("1.0", raw)
        held[name] = service.hold(Held(f"a1b2c3d4-0000-4000-8000-{number:012d}", title, indicators, [release]))
    return held


@pytest.fixture
def go(service, checkout, catalog, tmp_path, monkeypatch):
    """Fetch into a folder of the test; returns the lines said."""
    monkeypatch.setattr("sources.ees.service.PUBLICATION", "88312cc0-fe1d-4ab5-81df-33fd708185cb")
    data = tmp_path / "data"
    data.mkdir()
    here = Workspace(checkout, data)
    here.__dict__["catalog"] = catalog  # read once for all tests

    def run(*names, replace=False):
        said = []
        patience = Patience(attempts=2, sleep=lambda seconds: None)
        client = Client(service.address, patience=patience)
        try:
            fetch(list(names) or [DATASET], here, say=said.append, replace=replace, client=client)
        except Problems as error:
            said.append(str(error))
        return "\n".join(said)

    run.data = data
    return run


def test_files_are_fetched_with_their_checksums_and_are_read_by_the_catalogue(publisher, go, catalog, tmp_path):
    said = go()
    path = go.data / FOLDER / "newplans.csv.gz"
    assert f"newplans.csv.gz: fetched version 1.0, {path.stat().st_size:,} bytes." in said
    record = read_record(path)
    assert record.sha256 == sha256(path)
    assert (record.version, record.data_set) == ("1.0", publisher["newplans.csv.gz"].id)
    assert record.title == TITLES["newplans.csv.gz"]
    (tmp_path / "same" / FOLDER).mkdir(parents=True)
    (tmp_path / "same" / FOLDER / "newplans.csv").write_bytes(publisher["newplans.csv.gz"].releases[0].table)
    expected = read_series(catalog, DATASET, "new_plans_in_mainstream", tmp_path / "same")
    got = read_series(catalog, DATASET, "new_plans_in_mainstream", go.data)
    assert got.frame.equals(expected.frame)


def test_a_file_that_the_api_lacks_is_left_to_be_downloaded_by_hand(publisher, go):
    said = go()
    assert f"{LACKING}: missing, and the API has no data set '{TITLES[LACKING]}' in this publication." in said
    assert "These are still missing or don't fit:" in said
    assert (
        f"Download '{TITLES[LACKING]}' from https://explore-education-statistics.service.gov.uk/find-statistics/"
        f"education-health-and-care-plans and save it as {go.data / FOLDER / LACKING.removesuffix('.gz')}."
    ) in said


def test_a_second_fetch_downloads_nothing(service, publisher, go):
    go()
    before = len(service.asked("/csv"))
    said = go()
    assert len(service.asked("/csv")) == before == len(publisher)
    assert "newplans.csv.gz: version 1.0 is there and unchanged." in said


def test_a_new_version_is_noticed_and_what_changed_is_said(publisher, go):
    go()
    held = publisher["newplans.csv.gz"]
    plain = held.releases[0].table
    option = {"id": "abc12", "label": "Age 26"}
    renamed = {"previousState": {"id": "x", "label": "Plans"}, "currentState": {"id": "x", "label": "New EHC plans"}}
    minor = {
        "majorChanges": {},
        "minorChanges": {
            "filterOptions": [{"filter": {"id": "f", "label": "Age", "column": "age"},
                               "options": [{"currentState": option}]}],
            "indicators": [renamed],
        },
        "notes": "Age 26 was added.",
    }  # fmt: skip
    major = {"majorChanges": {"timePeriods": [{"previousState": {"label": "2019", "code": "CY"}}]}, "minorChanges": {}}
    held.releases += [Release("1.1", plain, "Minor", minor), Release("2.0", plain + b"", "Major", major)]
    said = go()
    assert "newplans.csv.gz: the publisher has changed it, from version 1.0 to 2.0." in said
    assert "1.1, minor: added option 'Age 26' of Age (age)" in said
    assert "1.1, minor: renamed indicator 'Plans' to 'New EHC plans'" in said
    assert "1.1, the publisher's note: Age 26 was added." in said
    assert "2.0, major: removed period '2019'" in said
    assert "fetched version 2.0" in said
    assert "the same text as before" in said
    assert read_record(go.data / FOLDER / "newplans.csv.gz").version == "2.0"


def test_a_new_version_that_no_longer_fits_lies_beside_the_old_which_stays(publisher, go):
    go()
    path = go.data / FOLDER / "newplans.csv.gz"
    before = path.read_bytes()
    held = publisher["newplans.csv.gz"]
    held.releases.append(Release("2.0", held.releases[0].table.replace(b"mainstream_total,", b"in_mainstream,", 1)))
    said = go()
    beside = path.with_name("newplans.version-2.0.csv.gz")
    assert path.read_bytes() == before
    assert read_record(path).version == "1.0"
    assert beside.is_file()
    assert f"version 2.0 lies in {beside}. newplans.csv.gz lacks the column 'mainstream_total'" in said
    assert f"The older file stays in use. Compare: sendap catalog diff {path} {beside}." in said


def test_a_file_put_there_by_hand_is_left_alone_until_it_may_be_replaced(service, publisher, go):
    path = go.data / FOLDER / "newplans.csv.gz"
    path.parent.mkdir()
    path.write_bytes(b"by hand")
    assert "newplans.csv.gz: there, but not from here, so its version isn't known. --replace fetches 1.0." in go()
    assert path.read_bytes() == b"by hand"
    go(replace=True)
    assert read_record(path).sha256 == sha256(path)


def test_a_file_that_was_changed_afterwards_is_noticed_by_its_checksum(publisher, go):
    go()
    path = go.data / FOLDER / "newplans.csv.gz"
    path.write_bytes(path.read_bytes()[:-1])
    said = go()
    assert "newplans.csv.gz: it isn't what was fetched (its checksum differs). Fetch it again with --replace" in said
    go(replace=True)
    assert read_record(path).sha256 == sha256(path)


def test_a_service_that_is_down_is_asked_once_and_everything_is_left_by_hand(service, publisher, go):
    service.fault("/data-sets", drop, times=99)
    said = go()
    assert len(service.asked("/data-sets")) == 2  # the two attempts of one request
    assert "can't be read from" in said
    for name, title in TITLES.items():
        assert f"{name}: missing, and the service can't be reached." in said
        assert f"Download '{title}' from https://" in said


def test_what_is_there_is_enough_when_the_service_is_down(service, publisher, go, stand_in):
    for name in TITLES:
        path = go.data / FOLDER / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"by hand")
    service.fault("/data-sets", status(503), times=99)
    said = go()
    assert "newplans.csv.gz: there. Whether there is a newer one wasn't asked: the service can't be reached." in said
    assert "still missing" not in said


@pytest.mark.parametrize("by", ["title", "id"])
def test_the_catalogue_may_keep_to_one_version_and_name_a_data_set_by_its_id(
    publisher, service, home, replace_in, tmp_path, by, monkeypatch
):
    monkeypatch.setattr("sources.ees.service.PUBLICATION", "88312cc0-fe1d-4ab5-81df-33fd708185cb")
    held = publisher["newplans.csv.gz"]
    held.releases.append(Release("2.0", held.releases[0].table))
    held.superseded_by = "a1b2c3d4-0000-4000-8000-999999999999"
    named = f'title: "{held.title}"' if by == "title" else f"id: {held.id}"
    description = home / "data-catalog" / "datasets" / f"{DATASET}.yaml"
    replace_in(description, f'{{title: "{held.title}"}}', f'{{{named}, version: "1.*"}}')
    said, data = [], tmp_path / "data"
    data.mkdir()
    client = Client(service.address, patience=Patience(attempts=1))
    with pytest.raises(Problems):  # the file that the service lacks
        fetch([DATASET], Workspace(home, data), say=said.append, client=client)
    assert any("newplans.csv.gz: fetched version 1.0" in line for line in said)
    assert f"  newplans.csv.gz: the publisher has replaced its data set by {held.superseded_by}." in said


def test_datasets_without_an_api_say_where_to_look(service, go):
    said = go("lait")
    assert "missing, and the publisher has no API for it" in said
    assert "Download 'lait_send_absence_exclusion_long.csv' from https://www.gov.uk/government/publications/" in said
    assert service.log == []


def test_real_files_never_lie_among_synthetic_ones(go):
    (go.data / SYNTHETIC_MARK).write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match="holds synthetic tables"):
        go()


def test_an_unknown_dataset_is_wrong_use(go):
    with pytest.raises(UsageError, match="no dataset 'lajt'. Did you mean 'lait'?"):
        go("lajt")


def test_the_list_asks_nobody(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("SENDAP_API", "http://127.0.0.1:9/nothing")
    said = fetch_instructions([DATASET], Workspace(checkout, tmp_path))
    assert f"missing  {tmp_path / FOLDER / 'newplans.csv.gz'}  (sendap fetch can)" in said
    assert "from https://explore-education-statistics.service.gov.uk/" in said


# The command itself.


@pytest.fixture
def command(service, checkout, tmp_path, monkeypatch):
    monkeypatch.setattr("sources.ees.service.PUBLICATION", "88312cc0-fe1d-4ab5-81df-33fd708185cb")

    def run(*arguments, address=service.address):
        environment = {name: value for name, value in os.environ.items() if name != "SENDAP_DATA"}
        environment |= {"SENDAP_HOME": str(checkout), "SENDAP_API": address, "NO_PROXY": "127.0.0.1"}
        return subprocess.run(
            [sys.executable, "-m", "sendap.cli", "fetch", *arguments, "--data-dir", str(tmp_path)],
            capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120, check=False,
        )  # fmt: skip

    return run


def test_the_command_fetches_from_a_mirror_and_ends_with_what_is_missing(publisher, command, tmp_path):
    done = command(DATASET)
    assert done.returncode == 1
    assert f"{LACKING}: Download '{TITLES[LACKING]}' from https://" in done.stderr
    assert "fetched version 1.0" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr  # no bar where nobody is looking
    record = json.loads((tmp_path / FOLDER / "newplans.csv.gz.source.json").read_text(encoding="utf-8"))
    assert record["version"] == "1.0"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["lajt"], 2, "Error: There is no dataset 'lajt'. Did you mean 'lait'?"),
        (["lait"], 1, "Error: These are still missing or don't fit:"),
    ],
)
def test_exit_codes(command, arguments, code, said):
    done = command(*arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mirror_that_is_no_address_is_wrong_use(command):
    done = command(DATASET, address="nowhere")
    assert done.returncode == 2
    assert "Correct SENDAP_API" in done.stderr
