"""Colours and type of all figures: the palette of the Government Analysis Function, checked for contrast."""

from __future__ import annotations

from typing import Any

NAVY, TEAL, PLUM, ORANGE, CHARCOAL, GREY = "#12436D", "#28A197", "#801650", "#F46A25", "#3D3D3D", "#BFBFBF"
TREATED, COMPARISON, REFERENCE = NAVY, ORANGE, CHARCOAL

SYNTHETIC_WORDS = "synthetic data, not a finding"

RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "axes.axisbelow": True,
    "axes.edgecolor": "#6B6B6B",
    "figure.dpi": 110,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
}
