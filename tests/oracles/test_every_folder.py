"""Every folder of published numbers is read by a test, so that none lies there unused."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent


def test_no_folder_of_published_numbers_is_left_unread(oracles):
    read = "\n".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py") if path != Path(__file__))
    # The three of one package are named by their ending, as parameters of one test.
    names = [folder.name.removeprefix("cs_mpdta_") for folder in oracles.iterdir() if folder.is_dir()]
    assert len(names) >= 16
    assert [name for name in names if f'"{name}"' not in read] == []
