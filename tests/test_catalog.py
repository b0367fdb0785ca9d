"""The catalogue describes what it says it does, and a description that contradicts itself is refused."""

from __future__ import annotations

import shutil

import pytest

from sendap.catalog import Catalog, Rollout, read_yaml
from sendap.errors import DataError, ProtocolError
from sendap.periods import Month, PeriodKind
from sendap.workspace import Workspace, find_root


@pytest.fixture
def copied(checkout, tmp_path):
    """A catalogue that a test may break, and its folder."""
    folder = tmp_path / "data-catalog"
    shutil.copytree(checkout / "data-catalog", folder)
    return Catalog(folder), folder


def test_every_dataset_says_where_it_comes_from_and_who_may_use_it(catalog):
    assert {"ehc-plans-2025", "lait", "send-tribunal-appeal-rate", "npd-pupil-years"} <= set(catalog.datasets)
    for dataset in catalog.datasets.values():
        assert dataset.address.startswith("https://"), dataset.id
        assert dataset.publisher
        assert dataset.licence
        assert dataset.what
        if dataset.access == "published" and dataset.files:
            assert dataset.licence == "Open Government Licence v3.0", dataset.id
            assert dataset.quirks, dataset.id
        if dataset.access != "published":
            assert dataset.route, dataset.id
            assert dataset.wait, dataset.id


def test_every_series_of_the_first_evaluation_has_its_kind_of_year(catalog):
    kinds = {series.id: series.period_kind for dataset in catalog.datasets.values() for series in dataset.series}
    calendar, academic, financial = PeriodKind.CALENDAR, PeriodKind.ACADEMIC, PeriodKind.FINANCIAL
    expected = {
        "plans_within_20_weeks_all": calendar,
        "plans_within_20_weeks": calendar,
        "requests_refused": calendar,
        "new_plans_in_mainstream": calendar,
        "plan_not_issued": calendar,
        "appeal_rate": calendar,
        "all_plans_in_mainstream": academic,
        "pupils_with_plan": academic,
        "pupils_with_sen_support": academic,
        "absence_special": academic,
        "key_stage_2_plan": academic,
        "key_stage_2_sen_support": academic,
        "attainment_8_plan": academic,
        "attainment_8_sen_support": academic,
        "sen_spend": financial,
    }
    assert {name: kinds[name] for name in expected} == expected


def test_every_break_that_a_series_names_is_described_with_its_month(catalog):
    named = {name for dataset in catalog.datasets.values() for series in dataset.series for name in series.breaks}
    assert named <= set(catalog.breaks)
    assert catalog.breaks["sen2_person_level"].month == Month.parse("2023-01")
    assert catalog.breaks["key_stage_2_pandemic"].month == Month.parse("2020-03")


@pytest.mark.parametrize(
    ("programme", "areas", "complete"),
    [
        ("CP", 32, True),
        ("SV", 38, True),
        ("APST", 21, True),
        ("SAFE", 10, True),
        ("ELSEC", 7, False),
        ("DBV", 3, False),
    ],
)
def test_rollouts_have_the_published_numbers_of_areas(catalog, programme, areas, complete):
    rollout = catalog.rollout(programme)
    assert len(rollout.areas) == areas
    assert rollout.complete is complete


def test_the_change_programme_began_everywhere_in_september_2023_with_high_confidence(catalog):
    areas = catalog.rollout("CP").areas
    assert {area.started for area in areas} == {"2023-09"}
    assert {area.confidence for area in areas} == {"high"}


def test_safety_valve_began_in_four_waves_with_three_low_and_two_medium_rows(catalog):
    areas = catalog.rollout("SV").areas
    waves = {}
    for area in areas:
        waves[area.started] = waves.get(area.started, 0) + 1
    assert waves == {"2021-03": 5, "2022-03": 9, "2023-03": 20, "2024-03": 4}
    confidence = [area.confidence for area in areas]
    assert (confidence.count("low"), confidence.count("medium")) == (3, 2)


def test_every_area_of_a_rollout_has_a_public_source_and_its_name_and_code_agree(catalog):
    for rollout in catalog.rollouts.values():
        for area in rollout.areas:
            assert rollout.sources[area.source].startswith("https://")
            assert catalog.places.code_of_name(area.name) == area.la_code


def test_figures_that_cannot_be_right_are_listed_with_a_reason(catalog):
    (swapped,) = catalog.dataset("send-tribunal-appeal-rate").doubtful
    assert (set(swapped.areas), swapped.period) == ({"E06000056", "E10000003"}, 2024)
    assert "swapped the decisions" in swapped.reason
    region, *unknown = sorted(catalog.dataset("ehc-plans-2025").doubtful, key=lambda each: -len(each.areas))
    assert {(each.period, area) for each in unknown for area in each.areas} == {
        (2024, "E10000003"), (2024, "E06000012"), (2022, "E06000003"), (2022, "E06000023")
    }  # fmt: skip
    yorkshire = {area.la_code for area in catalog.places.current if area.region == "Yorkshire and The Humber"}
    assert (set(region.areas), region.period) == (yorkshire, 2022)
    assert "total of the region" in region.reason


def test_an_unknown_dataset_series_or_rollout_is_answered_with_the_nearest_name(catalog):
    with pytest.raises(ProtocolError, match=r"no dataset 'liat'\. Did you mean 'lait'\?"):
        catalog.dataset("liat")
    with pytest.raises(ProtocolError, match=r"no series 'sen_spent'\. Did you mean 'sen_spend'\?.*datasets/lait\.yaml"):
        catalog.dataset("lait").find_series("sen_spent")
    with pytest.raises(ProtocolError, match=r"no rollout of 'XX'\. Use one of: APST, CP, DBV, ELSEC, SAFE, SV"):
        catalog.rollout("XX")


@pytest.mark.parametrize(
    ("file", "found", "put", "expected"),
    [
        ("datasets/lait.yaml", "reader: lait", "reader: odd",
         r"lait\.yaml: reader: .*'ees', 'lait', 'tribunal'.*, found 'odd'"),
        ("datasets/lait.yaml", "licence: Open", "license: Open", r"lait\.yaml: licence: is missing"),
        ("datasets/lait.yaml", "licence: Open", "license: Open", r"license: isn't a known key"),
        ("datasets/lait.yaml", "    value: Values\n", "", r"number 1: give either 'value', or both"),
        (
            "datasets/ehc-plans-2025.yaml",
            "numerator: mainstream_total",
            "numerator: mainstream_sum",
            r"'new_plans_in_mainstream' names column 'mainstream_sum', which 'newplans\.csv\.gz' lacks",
        ),
        ("datasets/ehc-plans-2025.yaml", "    file: newplans.csv.gz", "    file: new.csv", r"names file 'new\.csv'"),
        ("datasets/send-tribunal-appeal-rate.yaml", "series: [appeal_rate]", "series: [rate]", r"no series 'rate'"),
        ("datasets/lait.yaml", "release: April 2026", "release: April 2026\nrelease: May",
         r"line 10: the key 'release' is there twice"),
        ("datasets/lait.yaml", "publisher: Dep", "publisher: [Dep", r"lait\.yaml, line \d+: .*Correct the line"),
    ],
)  # fmt: skip
def test_a_description_that_breaks_its_own_rules_is_refused_by_file_and_field(
    copied, replace_in, file, found, put, expected
):
    catalog, folder = copied
    replace_in(folder / file, found, put)
    with pytest.raises(DataError, match=expected):
        _ = catalog.datasets


@pytest.mark.parametrize(
    ("found", "put", "expected"),
    [
        ("E09000003", "E09000099", r"rollouts, CP: area code 'E09000099' \(Barnet\) isn't a code of today"),
        ("E09000003", "'302'", r"area code '302' \(Barnet\) isn't a code of today.*Use 'E09000003'"),
        ("E09000003", "E09000004", r"area code 'E09000004' \(Barnet\) belongs to Bexley"),
        ("name: SEND", "names: SEND", r"change-programme\.yaml: name: is missing"),
        ("started: '2023-09'", "started: 'autumn'", r"Barnet\): 'autumn' isn't a month"),
        ("started: '2023-09'", "started: '2031-01'",
         r"Barnet\) starts in 2031-01, after the programme stopped in 2025-08"),
        ("source: s1", "source: s9", r"Barnet\) names source 's9', which isn't listed"),
        ("stopped: '2025-08'", "stopped: 'soon'", r"change-programme\.yaml: .*stopped: 'soon' isn't a month"),
        ('la_code: E06000055, name: "Bedford"', 'la_code: E09000003, name: "Barnet"',
         r"E09000003 \(Barnet\) is listed twice"),
        ("confidence: high", "confidence: sure",
         r"areas, number 1, confidence: .*'high', 'medium' or 'low', found 'sure'"),
    ],
)  # fmt: skip
def test_a_rollout_with_a_wrong_area_month_or_source_is_refused(copied, replace_in, found, put, expected):
    catalog, folder = copied
    replace_in(folder / "rollouts" / "change-programme.yaml", found, put)
    with pytest.raises(DataError, match=expected):
        _ = catalog.rollouts


def test_two_files_of_one_rollout_are_refused_not_overwritten(copied):
    catalog, folder = copied
    shutil.copy(folder / "rollouts" / "elsec.yaml", folder / "rollouts" / "elsec-2.yaml")
    with pytest.raises(DataError, match=r"programme 'ELSEC' is taken by another file"):
        _ = catalog.rollouts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", r"breaks\.yaml: expected a list"),
        ("id: a\n", r"breaks\.yaml: expected a list"),
        ("- {id: a, what: b, from_month: 2023-13}\n", r"breaks\.yaml, number 1: from_month: .*found '2023-13'"),
        (
            "- {id: a, what: b, from_month: 2023-01}\n- {id: a, what: c, from_month: 2023-01}\n",
            r"breaks\.yaml, number 2: the break 'a' is there twice",
        ),
    ],
)
def test_a_break_calendar_that_is_not_one_is_refused(copied, text, expected):
    catalog, folder = copied
    (folder / "breaks.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=expected):
        _ = catalog.breaks


def test_yaml_that_is_missing_or_is_not_utf8_is_refused_plainly(tmp_path):
    with pytest.raises(DataError, match=r"a\.yaml doesn't exist"):
        read_yaml(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(DataError, match=r"a\.yaml isn't UTF-8 text \(byte 9\)"):
        read_yaml(tmp_path / "a.yaml")


def test_what_was_read_cannot_be_changed(catalog):
    with pytest.raises(ValueError, match="frozen"):
        catalog.rollout("CP").areas[0].started = "2020-01"


def test_an_area_starts_in_january_of_a_bare_year():
    rollout = Rollout.model_validate(
        {
            "programme": "T", "name": "Test", "complete": True, "description": "d", "sources": {"s1": "https://a.example"},
            "areas": [
                {"la_code": "E09000003", "name": "Barnet", "started": "2022", "confidence": "low", "source": "s1"}
            ],
        }
    )  # fmt: skip
    assert rollout.areas[0].start == Month.parse("2022-01")


def test_a_workspace_is_found_from_a_folder_inside_it(home, monkeypatch):
    monkeypatch.delenv("SENDAP_HOME", raising=False)
    assert find_root(home / "analysis" / "cp") == home


def test_a_home_that_is_not_a_workspace_is_refused_not_passed_over(tmp_path, home, monkeypatch):
    from sendap.errors import UsageError

    monkeypatch.setenv("SENDAP_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="SENDAP_HOME names .* isn't a workspace"):
        find_root()
    monkeypatch.setenv("SENDAP_HOME", str(home))
    assert find_root() == home


def test_a_data_folder_is_taken_from_the_option_then_the_variable_then_the_usual_place(home, tmp_path, monkeypatch):
    monkeypatch.setenv("SENDAP_HOME", str(home))
    monkeypatch.delenv("SENDAP_DATA", raising=False)
    assert Workspace.find().data_dir is None
    (home / "data").mkdir()
    assert Workspace.find().data_dir == home / "data"
    (tmp_path / "named").mkdir()
    monkeypatch.setenv("SENDAP_DATA", str(tmp_path / "named"))
    assert Workspace.find().data_dir == tmp_path / "named"
    assert Workspace.find(home / "data").data_dir == home / "data"
