"""Who took part: from the catalogue, or from the user's list, which is refused with every problem in it."""

from __future__ import annotations

import pytest

from sendap.adopters import Adopters, find_adopters, list_path, needed, starts_outside
from sendap.errors import Problems
from sendap.protocol import Protocol, Supply, read_protocol

HEADING = "cluster,started,confidence,source\n"


@pytest.fixture
def protocol(workspace) -> Protocol:
    return read_protocol(workspace.analysis, "CP")


def supplied(protocol, folder, rows):
    path = list_path(protocol, folder)
    path.parent.mkdir(exist_ok=True)
    path.write_text(HEADING + rows, encoding="utf-8")
    return path


def test_areas_of_low_confidence_are_named_for_a_sensitivity_run(workspace, catalog, tmp_path):
    unsure = {
        pilot: find_adopters(read_protocol(workspace.analysis, pilot), catalog, tmp_path).unsure
        for pilot in ("CP", "SV")
    }
    assert unsure["CP"] == []
    assert sorted(unsure["SV"]) == ["E06000021", "E06000024", "E06000041", "E08000022", "E09000028"]


def test_the_users_list_goes_before_the_catalogues(protocol, catalog, tmp_path):
    supplied(protocol, tmp_path, "E09000003,2022-01,high,own record\nE06000001,2023-09,low,a letter\n")
    found = find_adopters(protocol, catalog, tmp_path)
    assert [(each.name, str(each.start), each.confidence) for each in found.members] == [
        ("Barnet", "2022-01", "high"),
        ("Hartlepool", "2023-09", "low"),
    ]
    assert found.unsure == ["E06000001"]
    again = Adopters.of_content("CP", found.content(tmp_path))
    assert again.members == found.members
    assert str(again.path) == "rollouts/cp.csv"


def test_every_problem_of_the_users_list_is_told_with_its_row(protocol, catalog, tmp_path):
    supplied(
        protocol, tmp_path,
        "E09000003,2022-01,high,record\nE09000003,2022-02,high,record\nE99999999,2022-01,high,record\n"
        "E06000001,September,high,record\nE06000002,2022-01,sure,record\nE06000003,2022-01,high,\n",
    )  # fmt: skip
    with pytest.raises(Problems) as caught:
        find_adopters(protocol, catalog, tmp_path)
    said = caught.value.problems
    assert [text.split(":")[0].split(",")[0] for text in said] == ["row 3", "row 4", "row 5", "row 6", "row 7"]
    assert "is there twice" in said[0]
    assert "found 'E99999999', expected a code of today" in said[1]
    assert "'September' isn't a month" in said[2]
    assert "found 'sure', expected one of high, medium, low" in said[3]
    assert "'source' is empty" in said[4]


def test_without_any_list_nothing_is_known_and_what_is_needed_is_said(protocol, catalog, tmp_path):
    supply = Supply(list="The areas that changed their form.", treated=3, controls=9, starts=("2022-09",))
    unknown = protocol.model_copy(update={"id": "XX", "programme": "XX", "supply": supply})
    assert find_adopters(unknown, catalog, tmp_path) is None
    said = needed(unknown, tmp_path)
    assert str(tmp_path / "rollouts" / "xx.csv") in said
    assert "The areas that changed their form." in said
    assert "cluster, started, confidence, source" in said


def test_a_start_outside_the_months_of_the_data_is_named_with_both(protocol, catalog, tmp_path):
    members = find_adopters(protocol, catalog, tmp_path).members
    found = starts_outside(protocol, catalog, members, {"plans_within_20_weeks_all": [2019, 2022]})
    assert len(found) == 32
    assert found[0] == (
        "Rollout of CP: Barnet (E09000003) starts in 2023-09, outside the data, which run from 2019-01 to 2022-12. "
        "Correct 'started' in data-catalog/rollouts, or add data."
    )
    assert starts_outside(protocol, catalog, members, {"plans_within_20_weeks_all": [2019, 2023]}) == []
    assert starts_outside(protocol, catalog, members, {"pupils_with_plan": [2018, 2022]}) != []  # until January 2023
    assert starts_outside(protocol, catalog, members, {}) == []
