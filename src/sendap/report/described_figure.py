"""Mean and spread of areas over time, for pages that describe and claim no effect."""

from __future__ import annotations

import pandas as pd
import seaborn as sns

from sendap.numerals import show
from sendap.periods import period_label
from sendap.report import style
from sendap.report.figures import Figure, canvas, period_ticks


def spread_figure(
    frame: pd.DataFrame, *, measure: str, unit: str, kind: str, source: str, name: str, synthetic: bool
) -> Figure:
    """``frame``: period, areas, mean, low, high (10th and 90th percentile of areas), one row a period."""
    drawing, axes = canvas(synthetic=synthetic)
    periods = frame["period"].to_numpy()
    axes.fill_between(periods, frame["low"], frame["high"], color=style.COMPARISON, alpha=0.18, linewidth=0)
    sns.lineplot(x=periods, y=frame["mean"], ax=axes, color=style.TREATED, marker="o", markersize=7, linewidth=2.2)
    last = frame.iloc[-1]
    for column, words in (("mean", "mean of areas"), ("high", "nine in ten areas are below"), ("low", "one in ten is")):
        axes.annotate(
            words, (last["period"], last[column]), xytext=(8, 0), textcoords="offset points", color="#222222",
            va="center", fontsize=10,
        )  # fmt: skip
    period_ticks(axes, periods, kind)
    axes.set_ylabel({"per cent": "Per cent", "pounds": "£"}.get(unit, unit.capitalize()))
    axes.set_xlabel("")
    span = max(periods.max() - periods.min(), 1)
    axes.set_xlim(periods.min() - 0.1 * span, periods.max() + 0.42 * span)
    labels = [period_label(int(year), kind) for year in (periods.min(), periods.max())]
    first = frame.iloc[0]
    said = f"from {show(float(first['mean']), 1)} in {labels[0]} to {show(float(last['mean']), 1)} in {labels[1]}"
    shown = pd.DataFrame(
        {
            "Period": [period_label(int(year), kind) for year in periods],
            "Areas": frame["areas"],
            f"Mean ({unit})": frame["mean"].round(2),
            f"One in ten below ({unit})": frame["low"].round(2),
            f"One in ten above ({unit})": frame["high"].round(2),
        }
    )
    caption = (
        f"{measure}: mean of areas, each counted once, and the band that holds eight in ten of them. Source: {source}. "
        f"England, {labels[0]} to {labels[1]}."
    )
    return Figure(
        drawing,
        f"Mean of areas: {said}",
        caption,
        f"Line chart with a band. Mean of areas {said}. Figures in the table below.",
        shown,
        name,
        synthetic,
    )
