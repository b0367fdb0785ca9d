"""One small evaluation on synthetic tables, made once for all tests of pages."""

from __future__ import annotations

import shutil

import pytest
import yaml

from sendap.runs.evaluation import Evaluation
from sendap.workspace import Workspace

KEPT = ("plans_within_20_weeks_all", "appeal_rate", "requests_refused", "absence_special")


@pytest.fixture(scope="session")
def evaluated(checkout, stand_in, tmp_path_factory):
    """The Change Programme with one outcome of each family, and few draws."""
    home = tmp_path_factory.mktemp("small")
    for name in ("analysis", "notebooks", "data-catalog"):
        shutil.copytree(checkout / name, home / name)
    path = home / "analysis" / "cp" / "protocol.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["outcomes"] = [each for each in content["outcomes"] if each["id"] in KEPT]
    content |= {"draws": 199, "alternatives": ["two_way", "two_by_two"]}
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    folder = tmp_path_factory.mktemp("run")
    return Evaluation("CP", folder, Workspace(home, data_dir=stand_in), stand_in).evaluated
