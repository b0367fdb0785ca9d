"""Workbench for evaluating England's SEND and alternative provision Change Programme.

The names below are loaded when first used, so that ``import sendap`` and ``sendap --help`` stay quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Cells": "sendap.cells",
    "DurationCells": "sendap.cells.durations",
    "Estimates": "sendap.results",
    "PathCells": "sendap.cells.paths",
    "compress": "sendap.cells.compress",
    "compress_durations": "sendap.cells.compress_durations",
    "compress_paths": "sendap.cells.compress_paths",
    "dose": "sendap.effects_designs",
    "event_study": "sendap.effects",
    "event_study_paths": "sendap.effects_paths",
    "extended_two_way": "sendap.effects_more",
    "gaps": "sendap.disparity.gaps",
    "group_time": "sendap.effects",
    "group_time_covariates": "sendap.effects_more",
    "group_time_lagged": "sendap.effects",
    "hazard_effects": "sendap.effects_durations",
    "imputation": "sendap.effects_more",
    "incidence_cells": "sendap.effects_durations",
    "incidence_curves": "sendap.effects_durations",
    "incidence_effects": "sendap.effects_durations",
    "interrupted_series": "sendap.effects_designs",
    "local_projections": "sendap.effects_designs",
    "stacked": "sendap.effects_designs",
    "sun_abraham": "sendap.effects_more",
    "synthetic_did": "sendap.effects_more",
    "triple_difference": "sendap.effects_more",
    "two_by_two": "sendap.effects",
    "two_stage": "sendap.effects_more",
    "two_way": "sendap.effects",
    "two_way_paths": "sendap.effects_paths",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'sendap' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
