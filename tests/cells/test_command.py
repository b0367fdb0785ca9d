"""``sendap cells`` as a user runs it: what it refuses, what it shows, and what is left when it's killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sendap.cells import Cells
from sendap.cells.compress import compress
from sendap.files import UNFINISHED, whole

LIMIT_SECONDS = 120  # only so that a hung command doesn't hang the tests
POSIX = pytest.mark.skipif(os.name == "nt", reason="signals and terminals of this kind don't exist on Windows")

SLOW_WRITE = """
import sys, time
import pyarrow.parquet as pq
from sendap.cli import main
usual = pq.write_table
def half(table, path):
    usual(table, path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    print("half-way", flush=True)
    time.sleep(60)
pq.write_table = half
main()
"""

SLOW_ENGINE = """
import sys, time
from sendap.cells import compress as module
def stuck(*parts):
    print("half-way", flush=True)
    time.sleep(60)
module.run = stuck
module.compress(sys.argv[1], outcomes=["absence"])
"""


def make_records() -> pd.DataFrame:
    draw = np.random.default_rng(3)
    area = np.repeat(np.arange(4), 60)
    return pd.DataFrame(
        {
            "pupil": np.tile(np.arange(20), 12) + 100 * area + 987_654_000,
            "la_code": [f"E0{code}" for code in area],
            "year": np.tile(np.repeat([2021, 2022, 2023], 20), 4),
            "first_treated": np.where(area < 2, np.nan, 2022.0),
            "absence": draw.gamma(2, 3, len(area)),
        }
    )


@pytest.fixture
def records(tmp_path) -> Path:
    make_records().to_parquet(tmp_path / "pupils.parquet")
    return tmp_path / "pupils.parquet"


@pytest.fixture
def environment(checkout, tmp_path) -> dict[str, str]:
    (tmp_path / "scratch").mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in ("SENDAP_DATA", "SENDAP_HOME")}
    paths = os.pathsep.join([str(checkout / "src"), *sys.path])
    return {**kept, "SENDAP_HOME": str(checkout), "PYTHONPATH": paths, "TMPDIR": str(tmp_path / "scratch")}


@pytest.fixture
def run(environment, tmp_path):
    def run(records: Path, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sendap.cli", "cells", "CP", "--records", str(records), *more]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
        )

    return run


def kill_half_way(code: str, arguments: list[str], environment: dict[str, str]) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert worker.stdout.readline().strip() == "half-way"
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait(timeout=30)


def truncated(path: Path) -> list[str]:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return [str(path), "cut short"]


def text_in_a_number(path: Path) -> list[str]:
    frame = make_records()
    frame["absence"] = [str(value) for value in frame["absence"]]
    frame.loc[16, "absence"] = "secret"
    frame.to_parquet(path)
    return [f"row 17 of {path}", "column 'absence' has type string", "Expected numbers"]


def lacks_a_column(path: Path) -> list[str]:
    make_records().rename(columns={"absence": "absense"}).to_parquet(path)
    return [str(path), "there is no column 'absence'. Did you mean 'absense'?"]


def repeated_pupil(path: Path) -> list[str]:
    frame = make_records()
    pd.concat([frame, frame.iloc[[4]]]).to_parquet(path)
    return [f"row 5 of {path}", f"row {len(frame) + 1} of {path}", "1 value(s) of 'pupil' appear more than once"]


@pytest.mark.parametrize("breaks", [truncated, text_in_a_number, lacks_a_column, repeated_pupil])
def test_bad_records_are_refused_with_file_and_row_and_leave_nothing(run, records, tmp_path, breaks):
    said = breaks(records)
    done = run(records, "--unit", "pupil", "--out", "cells.parquet")
    message = " ".join(done.stderr.split())
    assert done.returncode == 1
    assert message.startswith("Error: ")  # and nothing of Python's own before it
    for piece in said:
        assert piece in message
    assert "secret" not in message
    assert "987654" not in message
    assert {path.name for path in tmp_path.iterdir()} == {"pupils.parquet", "scratch"}
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_sound_file_becomes_cells_in_silence_where_nobody_looks(run, records, tmp_path):
    done = run(records, "--unit", "pupil", "--out", "cells.parquet")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "cells.parquet: 12 cells of absence\n"
    assert Cells.read(tmp_path / "cells.parquet").frame["n"].sum() == 240


@POSIX
def test_a_terminal_is_shown_what_is_done(environment, records, tmp_path):
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "sendap.cli", "cells", "CP", "--records", str(records), "--unit", "pupil"]
    shown = {**environment, "TERM": "xterm", "COLUMNS": "120"}
    worker = subprocess.Popen(command, cwd=tmp_path, env=shown, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        seen += part
    assert worker.wait(timeout=LIMIT_SECONDS) == 0
    os.close(ours)
    # A step may be over before the line is drawn again, but the last one stays.
    assert b"writing cp-cells.parquet" in seen
    assert b"0:00:0" in seen


@POSIX
def test_killed_while_it_writes_it_leaves_nothing_that_stays(environment, records, tmp_path):
    folder = tmp_path / "out"
    target = folder / "cells.parquet"
    compress(records, outcomes=["absence"]).write(target)
    before = target.read_bytes()
    arguments = ["cells", "CP", "--records", str(records), "--out", str(target)]
    kill_half_way(SLOW_WRITE, arguments, environment)
    assert target.read_bytes() == before
    left = {path.name for path in folder.iterdir()} - {"cells.parquet"}
    assert len(left) == 1  # so that there is something to sweep
    assert left.pop().endswith(UNFINISHED)
    compress(records, outcomes=["absence"]).write(folder / "another.parquet")
    assert {path.name for path in folder.iterdir()} == {"cells.parquet", "another.parquet"}


@POSIX
def test_killed_while_it_adds_up_its_scratch_folder_goes_with_the_next_work(
    environment, records, tmp_path, monkeypatch
):
    scratch = Path(environment["TMPDIR"])
    kill_half_way(SLOW_ENGINE, [str(records)], environment)
    assert len(list(scratch.iterdir())) == 1
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    compress(records, outcomes=["absence"])
    assert list(scratch.iterdir()) == []


@POSIX
def test_a_file_that_is_being_written_is_not_swept(tmp_path):
    with whole(tmp_path / "slow.txt") as slow:
        slow.write_text("half", encoding="utf-8")
        with whole(tmp_path / "quick.txt") as quick:
            quick.write_text("all", encoding="utf-8")
        assert slow.read_text(encoding="utf-8") == "half"
        slow.write_text("whole", encoding="utf-8")
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {
        "slow.txt": "whole",
        "quick.txt": "all",
    }
