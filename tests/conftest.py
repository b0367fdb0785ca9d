"""What the tests share: the checkout, the published tables where they are, and synthetic tables to break."""

# ruff: noqa: E402

from __future__ import annotations

import os

# Before anything loads a numerical library: one thread each, so that tests side by side don't fight over cores.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import gzip
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from sendap.sources.stand_in import write_stand_in
from sendap.workspace import Workspace

# The same examples on every machine, and no limit of time: a slow machine isn't a fault.
settings.register_profile("house", deadline=None, derandomize=True, database=None)
settings.load_profile("house")

CHECKOUT = Path(__file__).resolve().parent.parent
BESIDE = CHECKOUT.parent / "shared"
SITE = CHECKOUT / "tests" / "site"
LAIT = "lait/lait_send_absence_exclusion_long.csv.gz"
NEW_PLANS = "ehc_plans_2025/newplans.csv.gz"
ASSESSMENTS = "ehc_plans_2025/assessments.csv.gz"
CASELOAD = "ehc_plans_2025/caseload.csv.gz"
APPEALS = "send_tribunal_appeal_rate/SEND_Tribunals_and_appeal_rate_2014-2024.csv"


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder of the project."""
    return CHECKOUT


@pytest.fixture(scope="session")
def workspace() -> Workspace:
    """The catalogue, protocols and notebooks of this checkout, without a data folder."""
    return Workspace(CHECKOUT, data_dir=None)


@pytest.fixture(scope="session")
def catalog(workspace):
    return workspace.catalog


def _folder(named: str | None, usual: Path, what: str) -> Path:
    if named:
        folder = Path(named).expanduser().resolve()
        if not folder.is_dir():
            pytest.fail(f"the folder named for the {what} doesn't exist: {folder}")
        return folder
    if usual.is_dir():
        return usual
    return pytest.skip(f"the {what} aren't on this machine: name their folder, or put it beside the checkout")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of published tables: SENDAP_DATA, else the data folder beside the checkout."""
    return _folder(os.environ.get("SENDAP_DATA"), BESIDE / "data", "published tables (SENDAP_DATA)")


@pytest.fixture(scope="session")
def oracles() -> Path:
    """The folder of numbers published by others: SENDAP_ORACLES, else the folder beside the checkout."""
    return _folder(os.environ.get("SENDAP_ORACLES"), BESIDE / "oracles", "published oracles (SENDAP_ORACLES)")


@pytest.fixture(scope="session")
def stand_in(workspace, tmp_path_factory) -> Path:
    """Synthetic tables in the publishers' layout. Shared by all tests: copy it before breaking it."""
    return write_stand_in(workspace.catalog, tmp_path_factory.mktemp("stand-in"))


class Broken:
    """A copy of the stand-in folder that a test may break."""

    LAIT, NEW_PLANS, ASSESSMENTS, CASELOAD, APPEALS = LAIT, NEW_PLANS, ASSESSMENTS, CASELOAD, APPEALS

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, name: str) -> Path:
        return self.folder / name

    def lines(self, name: str) -> list[str]:
        """The lines of a file, without its byte-order mark; line 1 is the heading."""
        raw = self.path(name).read_bytes()
        text = (gzip.decompress(raw) if name.endswith(".gz") else raw).decode("utf-8-sig")
        return text.splitlines()

    def write(self, name: str, lines: list[str]) -> None:
        raw = ("\n".join(lines) + "\n").encode("utf-8-sig")
        self.path(name).write_bytes(gzip.compress(raw, compresslevel=1, mtime=0) if name.endswith(".gz") else raw)

    def change(self, name: str, row: int, found: str, put: str) -> str:
        """Replace text in one row, named as errors name it (the heading is row 1). Returns the row as it was."""
        lines = self.lines(name)
        before = lines[row - 1]
        assert found in before, f"row {row} of {name} doesn't hold {found!r}: {before[:200]}"
        lines[row - 1] = before.replace(found, put, 1)
        self.write(name, lines)
        return before

    def set(self, name: str, row: int, column: str, value: str) -> str:
        """Put a value into one column of one row of a file without quoted commas. Returns what was there."""
        lines = self.lines(name)
        at = lines[0].split(",").index(column)
        fields = _fields(lines[row - 1])
        before, fields[at] = fields[at], value
        lines[row - 1] = ",".join(f'"{field}"' if "," in field else field for field in fields)
        self.write(name, lines)
        return before


def _fields(line: str) -> list[str]:
    import csv

    return next(csv.reader([line]))


@pytest.fixture
def broken(stand_in, tmp_path) -> Broken:
    """A fresh copy of the stand-in folder, to be broken."""
    return Broken(Path(shutil.copytree(stand_in, tmp_path / "data")))


@pytest.fixture
def home(checkout, tmp_path) -> Path:
    """A copy of protocols, notebooks and catalogue, for tests that break one of them."""
    folder = tmp_path / "home"
    for name in ("analysis", "notebooks", "data-catalog"):
        shutil.copytree(checkout / name, folder / name)
    return folder


@pytest.fixture
def replace_in() -> Callable[[Path, str, str], None]:
    """Replace one piece of text in a file, which must hold it."""

    def replace(path: Path, found: str, put: str) -> None:
        text = path.read_text(encoding="utf-8")
        assert found in text, f"{path.name} doesn't hold {found!r}"
        path.write_text(text.replace(found, put, 1), encoding="utf-8")

    return replace


@pytest.fixture(scope="session")
def axe():
    """The script of axe-core, installed once beside the tests at the version of package.json."""
    wanted = json.loads((SITE / "package.json").read_text(encoding="utf-8"))["devDependencies"]["axe-core"]
    folder = SITE / "node_modules" / "axe-core"
    described = folder / "package.json"
    if not described.is_file() or json.loads(described.read_text(encoding="utf-8"))["version"] != wanted:
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm isn't installed, so axe-core can't be fetched")
        with tempfile.TemporaryDirectory(prefix=".npm-", suffix=".tmp", dir=SITE) as making:
            shutil.copyfile(SITE / "package.json", Path(making) / "package.json")
            options = ["--no-save", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
            done = subprocess.run([npm, "install", *options], cwd=making, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"npm couldn't install axe-core:\n{done.stderr}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.parent.mkdir(exist_ok=True)
            shutil.move(Path(making) / "node_modules" / "axe-core", folder)
    return folder / "axe.min.js"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The whole way takes longest, and one worker does it: it begins first, so that the others end with it."""
    items.sort(key=lambda item: "test_end_to_end" not in item.nodeid)
