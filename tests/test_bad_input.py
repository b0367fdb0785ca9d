"""Bad input at the command line: each a clear error with its exit code, no traceback, and no half-written run.

Files are copies of the synthetic tables, broken in one place. Every message must say which file, which column or
field and which row it means, what was found and what was expected.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TABLE = "lait_send_absence_exclusion_long.csv.gz"
APPEALS = "SEND_Tribunals_and_appeal_rate_2014-2024.csv"
LIMIT_SECONDS = 300  # only so that a hung command doesn't hang the tests


@pytest.fixture
def sendap(checkout, tmp_path):
    """Run the command in a folder of its own, as a user would: exit code, standard output, standard error."""

    def run(*arguments, data=None, home=None):
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("SENDAP_DATA", "SENDAP_HOME", "PYTHONPATH")
        }
        environment["SENDAP_HOME"] = str(home or checkout)
        environment["PYTHONPATH"] = str(checkout / "src")
        environment["PYTHONWARNINGS"] = "ignore"
        where = tmp_path / "cwd"
        where.mkdir(exist_ok=True)
        options = ["--data-dir", str(data)] if data is not None else []
        return subprocess.run(
            [sys.executable, "-m", "sendap.cli", *arguments, *options],
            cwd=where, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False,
        )  # fmt: skip

    return run


def refused(done, *said, code=1):
    """The command ended with this code and a message that holds all of these pieces, and nothing of Python's own."""
    text = " ".join(done.stderr.split())
    assert done.returncode == code, done.stderr
    assert "Error: " in text
    assert "Traceback" not in done.stderr
    assert 'File "' not in done.stderr
    for piece in said:
        assert piece in text, f"{piece!r} isn't in: {done.stderr}"


def row_of(broken, name, start):
    """The first row of a file that begins so, counted as errors count."""
    return next(number for number, line in enumerate(broken.lines(name), 1) if line.startswith(start))


# One change of the data folder each; what it returns must be in the message.


def missing_file(broken):
    broken.path(broken.APPEALS).unlink()
    return f"{broken.path(broken.APPEALS)} doesn't exist", "Download it from https://", "--data-dir or SENDAP_DATA"


def unknown_la_code(broken):
    broken.set(broken.NEW_PLANS, 3, "new_la_code", "E06009999")
    return (
        "newplans.csv.gz, column 'new_la_code', row 3: found 'E06009999'",
        "expected a code of data-catalog/codes/local-authorities.csv",
    )


def unknown_la_code_in_the_tool(broken):
    row = row_of(broken, broken.LAIT, "SEN_EHC_All_20wks,")
    broken.set(broken.LAIT, row, "LA Number", "199.0")
    return f"{TABLE}, column 'LA Number', row {row}: found '199'", "expected a code of"


def unknown_la_name(broken):
    row = row_of(broken, broken.APPEALS, "Hartlepool,")
    broken.change(broken.APPEALS, row, "Hartlepool", "Hartlepond")
    return (
        f"{APPEALS}, column 'Local Authority', row {row}: found 'Hartlepond', expected the name of a local authority",
        "Did you mean 'Hartlepool'?",
    )


def duplicated_key(broken):
    lines = broken.lines(broken.NEW_PLANS)
    broken.write(broken.NEW_PLANS, [*lines, lines[4]])
    return (
        f"newplans.csv.gz, rows 5, {len(lines) + 1}: the key is repeated (time_period '2019'",
        "Each row must have a key of its own: remove the copy",
    )


def duplicated_key_in_the_tool(broken):
    lines = broken.lines(broken.LAIT)
    row = row_of(broken, broken.LAIT, "SEN_EHC_All_20wks,")
    broken.write(broken.LAIT, [*lines, lines[row - 1]])
    return (
        f"{TABLE}, rows {row}, {len(lines) + 1}: the key is repeated (Short Desc 'SEN_EHC_All_20wks'",
        "remove the copy",
    )


def text_in_a_number(broken):
    row = row_of(broken, broken.LAIT, "SEN_EHC_All_20wks,")
    broken.set(broken.LAIT, row, "Values", "about 60")
    return f"{TABLE}, column 'Values', row {row}: found 'about 60', expected a number or one of the symbols '-'"


def comma_for_a_point(broken):
    row = row_of(broken, broken.LAIT, "SEN_EHC_All_20wks,")
    broken.set(broken.LAIT, row, "Values", "61,5")
    return f"{TABLE}, column 'Values', row {row}: found '61,5', expected a number"


def negative_denominator(broken):
    broken.set(broken.NEW_PLANS, 4, "new_ehc_plans", "-200")
    return "newplans.csv.gz, column 'new_ehc_plans', row 4: found -200, expected a whole number of at least 0"


def numerator_over_denominator(broken):
    broken.set(broken.NEW_PLANS, 4, "new_ehc_plans", "10")
    broken.set(broken.NEW_PLANS, 4, "mainstream_total", "11")
    return (
        "newplans.csv.gz, row 4: column 'mainstream_total' is larger than 'new_ehc_plans': found 11 of 10, expected a "
        "numerator of at most its denominator",
    )


def rate_of_140_per_cent(broken):
    row = row_of(broken, broken.LAIT, "SEN_EHC_All_20wks,")
    broken.set(broken.LAIT, row, "Values", "140")
    return f"{TABLE}, column 'Values', row {row}: found 140, expected a number of at least 0 and at most 100"


def extra_column(broken):
    lines = broken.lines(broken.NEW_PLANS)
    broken.write(broken.NEW_PLANS, [lines[0] + ",surprise", *(f"{line},1" for line in lines[1:])])
    return "newplans.csv.gz has the column 'surprise', which isn't described", "data-catalog/datasets"


def missing_column(broken):
    broken.change(broken.NEW_PLANS, 1, "mainstream_total,", "mainstream_sum,")
    return (
        "newplans.csv.gz lacks the column 'mainstream_total', which its description expects",
        "It has 'mainstream_sum', which isn't described.",
    )


def shifted_columns(broken):
    lines = broken.lines(broken.NEW_PLANS)
    broken.write(broken.NEW_PLANS, [lines[0], *(f"{line},1" for line in lines[1:])])
    return "newplans.csv.gz: its first row of data has more fields than the heading, which has 60", "Expected as many"


def truncated_gzip(broken):
    path = broken.path(broken.NEW_PLANS)
    path.write_bytes(path.read_bytes()[:2000])
    return "newplans.csv.gz can't be read as a table: ", "Download it again"


def not_utf8(broken):
    path = broken.path(broken.APPEALS)
    path.write_bytes(path.read_bytes() + b"Note: caf\xe9\n")
    return f"{APPEALS} isn't UTF-8 text (byte ", "Save it as UTF-8"


def label_that_names_no_year(broken):
    broken.set(broken.NEW_PLANS, 3, "time_period", "201920")
    return "newplans.csv.gz, row 3: time_period '201920' doesn't fit time_identifier 'Calendar year'"


def unknown_level(broken):
    broken.set(broken.NEW_PLANS, 3, "geographic_level", "Parish")
    return (
        "newplans.csv.gz, column 'geographic_level', row 3: found 'Parish', expected one of National, Regional, Local "
        "authority",
    )


BROKEN_DATA = [
    missing_file, unknown_la_code, unknown_la_code_in_the_tool, unknown_la_name, duplicated_key,
    duplicated_key_in_the_tool, text_in_a_number, comma_for_a_point, negative_denominator, numerator_over_denominator,
    rate_of_140_per_cent, extra_column, missing_column, shifted_columns, truncated_gzip, not_utf8,
    label_that_names_no_year, unknown_level,
]  # fmt: skip


@pytest.mark.parametrize("breaks", BROKEN_DATA, ids=lambda each: each.__name__)
def test_broken_data_are_refused_with_file_field_row_found_and_expected(sendap, broken, breaks):
    said = breaks(broken)
    refused(sendap("check", "CP", data=broken.folder), *([said] if isinstance(said, str) else said))


def test_several_broken_files_are_all_named_at_once(sendap, broken):
    said = [negative_denominator(broken), *unknown_la_name(broken), rate_of_140_per_cent(broken)]
    refused(sendap("check", "CP", data=broken.folder), *said)


# The protocol, the rollout and the catalogue.

PROTOCOL = Path("analysis") / "cp" / "protocol.yaml"
ROLLOUT = Path("data-catalog") / "rollouts" / "change-programme.yaml"


@pytest.mark.parametrize(
    ("file", "found", "put", "said"),
    [
        pytest.param(
            PROTOCOL, "series: appeal_rate", "series: appeals_rate",
            ["analysis/cp/protocol.yaml, outcome 'appeal_rate':", "has no series 'appeals_rate'",
             "Did you mean 'appeal_rate'?"],
            id="an unknown series",
        ),
        pytest.param(
            PROTOCOL, "dataset: send-tribunal-appeal-rate", "dataset: tribunal",
            ["analysis/cp/protocol.yaml, outcome 'appeal_rate': There is no dataset 'tribunal'"],
            id="an unknown dataset",
        ),
        pytest.param(
            PROTOCOL, "  - sen2_person_level\n", "",
            ["analysis/cp/protocol.yaml, breaks_crossed doesn't declare 'sen2_person_level'", "Add it to the list"],
            id="an undeclared break",
        ),
        pytest.param(
            PROTOCOL, "family: secondary", "family: primary",
            ["analysis/cp/protocol.yaml",
             "there must be one primary outcome, found 2: plans_within_20_weeks_all, plans_within_20_weeks"],
            id="two primaries",
        ),
        pytest.param(
            PROTOCOL,
            "family: exploratory\n    population: Pupils of special schools",
            "family: primary\n    smallest_effect: 1\n    population: Pupils of special schools",
            ["analysis/cp/protocol.yaml", "number 8", "outcome 'absence_special'", "can only be exploratory"],
            id="an exploratory population as primary",
        ),
        pytest.param(
            PROTOCOL, "control: never", "control: perhaps",
            ["analysis/cp/protocol.yaml: comparison, control: should be 'never' or 'not_yet', found 'perhaps'"],
            id="a value that isn't one of its kind",
        ),
        pytest.param(
            PROTOCOL, "weights: areas", "weights: areas\nweights: children",
            ["protocol.yaml, line 36: the key 'weights' is there twice"],
            id="a key given twice",
        ),
        pytest.param(
            ROLLOUT, "la_code: E09000003", "la_code: E09000099",
            ["data-catalog/rollouts, CP: area code 'E09000099' (Barnet) isn't a code of today"],
            id="an unknown area in the rollout",
        ),
        pytest.param(
            ROLLOUT, "started: '2023-09'", "started: '2009-09'",
            ["Rollout of CP: Barnet (E09000003) starts in 2009-09, outside the data, which run from 2014-01 to 2025-07",
             "Correct 'started' in data-catalog/rollouts"],
            id="a start before the data",
        ),
        pytest.param(
            ROLLOUT, "stopped: '2025-08'", "stopped: '2022-08'",
            ["change-programme.yaml", "Barnet) starts in 2023-09, after the programme stopped in 2022-08"],
            id="a start after the programme stopped",
        ),
    ],
)  # fmt: skip
def test_a_broken_protocol_or_rollout_is_refused_by_file_and_field(
    sendap, home, stand_in, replace_in, file, found, put, said
):
    replace_in(home / file, found, put)
    refused(sendap("check", "CP", data=stand_in, home=home), *said)


# Wrong use: exit code 2.


def test_an_unknown_pilot_is_wrong_use(sendap, stand_in):
    done = sendap("run", "XX", "--runs-dir", "runs", data=stand_in)
    refused(done, "There is no pilot 'XX'.", code=2)


@pytest.mark.parametrize("command", [("check",), ("run", "CP", "--runs-dir", "runs"), ("pilots",)])
def test_a_data_folder_that_does_not_exist_is_wrong_use(sendap, tmp_path, command):
    done = sendap(*command, data=tmp_path / "nowhere")
    refused(done, f"The data folder {tmp_path / 'nowhere'} doesn't exist. Correct --data-dir or SENDAP_DATA", code=2)


def test_a_home_that_is_not_a_workspace_is_wrong_use(sendap, tmp_path):
    refused(sendap("check", home=tmp_path), "SENDAP_HOME names", "isn't a workspace", code=2)


def test_an_unknown_command_is_wrong_use(sendap):
    done = sendap("chek")
    assert done.returncode == 2
    assert "chek" in done.stderr
    assert "Traceback" not in done.stderr


# A run that fails leaves nothing behind.


def runs_left(folder):
    """Every run, finished or not, of a folder of runs."""
    return [path.relative_to(folder).as_posix() for path in folder.glob("*/*")] + [
        path.name for path in folder.rglob("*.tmp")
    ]


@pytest.mark.parametrize("breaks", [missing_file, numerator_over_denominator], ids=lambda each: each.__name__)
def test_a_run_on_broken_data_leaves_no_run_and_no_part_of_one(sendap, broken, tmp_path, breaks):
    said = breaks(broken)
    runs = tmp_path / "runs"
    done = sendap("run", "CP", "--runs-dir", str(runs), data=broken.folder)
    refused(done, "1 of 1 pilot(s) failed and left no run", *([said] if isinstance(said, str) else said))
    assert runs_left(runs) == []


def test_a_run_of_a_broken_protocol_leaves_no_run_and_the_earlier_one_untouched(
    sendap, home, stand_in, replace_in, tmp_path
):
    runs = tmp_path / "runs"
    earlier = runs / "CP" / "0123456789ab"
    earlier.mkdir(parents=True)
    (earlier / "manifest.json").write_text("{}", encoding="utf-8")
    (runs / "CP" / "latest.json").write_text('{"run": "0123456789ab"}', encoding="utf-8")
    replace_in(home / PROTOCOL, "series: appeal_rate", "series: appeals_rate")
    done = sendap("run", "CP", "--runs-dir", str(runs), data=stand_in, home=home)
    refused(done, "has no series 'appeals_rate'")
    assert sorted(runs_left(runs)) == ["CP/0123456789ab", "CP/latest.json"]
    assert (runs / "CP" / "latest.json").read_text(encoding="utf-8") == '{"run": "0123456789ab"}'


def test_sound_data_pass_the_same_check(sendap, stand_in, tmp_path):
    """The other side of all of the above: the same folder, unbroken."""
    done = sendap("check", "CP", "SV", data=shutil.copytree(stand_in, tmp_path / "sound"))
    assert done.returncode == 0, done.stderr
    assert "CP: ready, " in done.stdout
    assert "SV: ready, " in done.stdout
    assert "outcomes read from" in done.stdout
