"""A workspace to publish from."""

from __future__ import annotations

import pytest

from tests.site.made_runs import make_run, make_workspace, summary


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    return make_workspace(folder)


@pytest.fixture
def runs_dir(tmp_path):
    """Two pilots on published data."""
    folder = tmp_path / "runs"
    make_run(folder, summary("CP"))
    make_run(folder, summary("SV", confidence="Moderate", confidence_score=3))
    return folder
