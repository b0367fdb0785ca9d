"""The rules of the house: directions of import, notebooks without outputs, nothing of one machine, one environment."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "sendap"

# From the top of the house to its foundation. A room imports only from rooms below it.
ROOMS = [
    ("cli",),
    ("site",),
    ("runs",),
    ("progress", "workspace"),
    ("report",),
    ("verdict",),
    ("disparity",),
    ("probe",),
    ("effects_more", "effects_durations", "effects_designs"),
    ("effects", "effects_paths"),
    ("inference",),
    ("estimators",),
    ("comparison", "sizes"),
    ("results",),
    ("cells",),
    ("exposure",),
    ("adopters",),
    ("protocol",),
    ("costs",),
    ("drafting",),
    ("sources",),
    ("catalog",),
    ("datasets",),
    ("places", "groups", "described"),
    ("periods",),
    ("files", "numerals"),
    ("errors",),
]
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
# What shows itself in a notebook fetches its table and figure from the room that draws them, when asked.
DISPLAY = {("results", "report")}


def tracked(*patterns: str) -> list[Path]:
    found = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in found.stdout.splitlines() if (ROOT / line).is_file()]


def imports_of(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("sendap"):
            names = [node.module] if node.module != "sendap" else [f"sendap.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("sendap.")]
        rooms |= {name.split(".")[1] for name in names if "." in name and not name.endswith("__version__")}
    return rooms


def test_rooms_import_only_from_rooms_below():
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room in ("__init__", "__main__"):
            continue
        assert room in LEVEL, f"{room} has no place in the house: add it to ROOMS"
        for other in imports_of(path):
            if other != room and LEVEL[other] <= LEVEL[room] and (room, other) not in DISPLAY:
                wrong.append(f"{path.relative_to(ROOT)} imports {other}")
    assert not wrong


def test_no_file_has_outgrown_its_room():
    long = {
        str(path.relative_to(ROOT)): count
        for path in PACKAGE.rglob("*.py")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_thin_and_stored_without_outputs(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    assert notebook["cells"][0]["cell_type"] == "raw"
    assert "title:" in "".join(notebook["cells"][0]["source"])
    tagged = [cell for cell in code if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    names = [line.split("=")[0].strip() for line in "".join(tagged[0]["source"]).splitlines()]
    assert names in (["pilot", "run"], ["report", "run"])
    for cell in code:
        tree = ast.parse("".join(cell["source"]))
        forbidden = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.Lambda)
        assert not any(isinstance(node, forbidden) for node in ast.walk(tree))
        assert len(tree.body) <= 4


def requirement_names(requirements: list[str]) -> dict[str, str]:
    found = {}
    for requirement in requirements:
        match = re.fullmatch(r"([A-Za-z0-9_-]+)(\[[^\]]*\])?(.*)", requirement)
        assert match, requirement
        found[match[1].lower()] = match[3].strip()
    return found


def test_conda_and_pip_name_the_same_packages_and_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = requirement_names(project["dependencies"] + project["optional-dependencies"]["test"])
    content = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    pip = next(item["pip"] for item in content if isinstance(item, dict))
    given = requirement_names([item for item in content if isinstance(item, str)])
    given |= requirement_names([item for item in pip if not item.startswith("-e")])
    assert given.pop("python") == project["requires-python"]
    assert given.pop("quarto") == requirement_names(project["optional-dependencies"]["quarto"])["quarto-cli"]
    given.pop("pip")
    conda_names = {"python-duckdb": "duckdb", "ibis-duckdb": "ibis-framework", "matplotlib-base": "matplotlib"}
    assert {conda_names.get(name, name): bound for name, bound in given.items()} == wanted


def test_packages_named_by_the_user_are_required():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    every = project["dependencies"] + [item for extra in project["optional-dependencies"].values() for item in extra]
    names = set(requirement_names(every))
    assert {
        "jupyterlab", "quarto-cli", "pandas", "statsmodels", "linearmodels", "seaborn", "papermill", "pytest",
    } <= names  # fmt: skip


def test_the_lock_has_hashes_and_no_address():
    for name in ("requirements.lock", "requirements-spark.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text
        pins = re.findall(r"^[a-z0-9].*==", text, flags=re.MULTILINE)
        assert len(pins) == len(re.findall(r"==[^\n]*\\\n    --hash", text))


def test_the_lock_holds_every_requirement():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    extras = project["optional-dependencies"]
    for name in requirement_names(project["dependencies"] + extras["test"] + extras["build"]):
        assert re.search(rf"^{re.escape(name)}==", text, flags=re.MULTILINE), name


def test_nothing_of_one_machine_and_no_registry_in_tracked_files():
    hosts = "|".join(["pypi" + r"\.org", "pythonhosted" + r"\.org", "registry" + r"\.npmjs", "deb" + r"\.debian"])
    pattern = re.compile(rf"(/wor[k]/|/far[m]/|/opt/pyp[i]|/home/[a-z]+/|{hosts})")
    wrong = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        wrong += [f"{path.relative_to(ROOT)}: {match[0]}" for match in pattern.finditer(text)]
    assert not wrong


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['sendap', '--help']\n"
        "from sendap.cli import app\n"
        "try:\n    app()\nexcept SystemExit:\n    pass\n"
        "heavy = {'pandas', 'numpy', 'matplotlib', 'papermill', 'duckdb', 'ibis', 'statsmodels', 'pyarrow'}\n"
        "heavy |= {'httpx', 'tenacity', 'pandera'}\n"
        "loaded = heavy & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    import sys

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("pilots", "check", "run", "publish", "fetch"):
        assert command in done.stdout
