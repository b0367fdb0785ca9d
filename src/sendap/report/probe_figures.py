"""Figures of the probes: the curve of specifications, one change at a time, fake programmes, drift, power."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sendap.numerals import show
from sendap.report import style
from sendap.report.figures import Figure, canvas
from sendap.report.probe_words import CHOICE_WORDS, Part, option_words

AXIS = {"per cent": ", percentage points", "pounds": ", £"}


def difference(unit: str) -> str:
    return "Difference" + AXIS.get(unit, f", {unit}")


def curve_figure(
    frame: pd.DataFrame, *, title: str, measure: str, unit: str, source: str, places: int, name: str, synthetic: bool
) -> Figure:
    """Every specification from the lowest estimate to the highest, with the choices behind each below it.

    ``frame`` has the columns of ``SpecificationCurve.frame``.
    """
    # A rule that only one estimator has says nothing beside the estimator's own mark.
    varied = [choice for choice in CHOICE_WORDS if frame.loc[frame[choice] != "", choice].nunique() > 1]
    options = [
        (choice, option) for choice in varied for option in sorted(frame[choice].astype(str).unique()) if option != ""
    ]
    drawing, axes = canvas(height=3.6 + 0.28 * len(options), synthetic=synthetic)
    axes.remove()
    grid = drawing.add_gridspec(2, 1, height_ratios=[3.2, max(0.28 * len(options), 0.6)])
    with plt.style.context(["default", style.RC]):
        top = drawing.add_subplot(grid[0])
        below = drawing.add_subplot(grid[1], sharex=top)
    at = np.arange(len(frame))
    main = frame["headline"].to_numpy()
    known = np.isfinite(frame["low"].to_numpy()) & ~main
    top.vlines(at[known], frame["low"][known], frame["high"][known], color=style.GREY, linewidth=1.0)
    top.plot(at[~main], frame["estimate"][~main], ".", color=style.CHARCOAL, markersize=4)
    first = frame[main].iloc[0]
    if np.isfinite([first["low"], first["high"]]).all():
        top.vlines(at[main], first["low"], first["high"], color=style.NAVY, linewidth=2.5)
        top.axhspan(first["low"], first["high"], color=style.NAVY, alpha=0.07)
    top.plot(at[main], [first["estimate"]], "D", color=style.NAVY, markersize=8)
    right = at[main][0] > len(frame) / 2
    top.annotate("headline", (at[main][0], first["estimate"]), xytext=(-8 if right else 8, 8),
                 textcoords="offset points", fontsize=10, color="#222222", ha="right" if right else "left")  # fmt: skip
    top.axhline(0, color=style.CHARCOAL, linewidth=1.3)
    top.set_ylabel(difference(unit))
    top.tick_params(labelbottom=False)
    for row, (choice, option) in enumerate(options):
        chosen = (frame[choice].astype(str) == option).to_numpy()
        below.plot(at[chosen & ~main], np.full((chosen & ~main).sum(), -row), "|", color=style.CHARCOAL, markersize=6)
        below.plot(at[chosen & main], np.full((chosen & main).sum(), -row), "D", color=style.NAVY, markersize=6)
    below.set_yticks(-np.arange(len(options)), [option_words(*each) for each in options], fontsize=9)
    below.set_ylim(-len(options) + 0.4, 0.6)
    below.set_xlabel("Estimates, from the lowest to the highest")
    below.grid(visible=False)
    for row in range(1, len(options)):
        if options[row][0] != options[row - 1][0]:
            below.axhline(-row + 0.5, color="#E3E3E3", linewidth=1)
    alike = float((np.sign(frame["estimate"]) == np.sign(first["estimate"])).mean())
    alt = (
        f"Specification curve of {len(frame)} estimates, from {show(frame['estimate'].min(), places)} to "
        f"{show(frame['estimate'].max(), places)}; the headline is {show(first['estimate'], places)}, and "
        f"{100 * alike:.0f}% have its sign. Figures in the table below."
    )
    shown = pd.DataFrame(
        {
            "Place": at + 1,
            "Headline": ["yes" if each else "no" for each in main],
            **{
                choice.capitalize(): [option_words(choice, str(option)) for option in frame[choice]]
                for choice in CHOICE_WORDS
            },
            f"Estimate ({unit})": frame["estimate"].round(places),
            "95% low": frame["low"].round(places),
            "95% high": frame["high"].round(places),
        }
    )
    caption = (
        f"{measure}: every estimate, ordered, with its choices marked below. Bars: 95% confidence intervals, for "
        f"group-time estimates. Band: the headline's. Source: {source}. England."
    )
    return Figure(drawing, title, caption, alt, shown, name, synthetic)


def rows_figure(
    rows: Sequence[Mapping[str, Any]],
    labels: Sequence[str],
    *,
    title: str,
    measure: str,
    unit: str,
    source: str,
    heading: str,
    places: int,
    name: str,
    synthetic: bool,
    low: str = "low",
    high: str = "high",
    main: int = 0,
) -> Figure:
    """One estimate a row, with its interval where it has one. ``heading`` names what the rows are; row ``main`` is the
    headline."""
    drawing, axes = canvas(height=1.6 + 0.42 * len(rows), synthetic=synthetic)
    position = np.arange(len(rows))[::-1]
    table = pd.DataFrame(
        {
            "estimate": [_float(row.get("estimate")) for row in rows],
            "low": [_float(row.get(low)) for row in rows],
            "high": [_float(row.get(high)) for row in rows],
        }
    )
    known = np.isfinite(table[["low", "high"]]).all(axis=1).to_numpy()
    for chosen, colour, marker in (
        (position == position[main], style.NAVY, "D"), (position != position[main], style.CHARCOAL, "o"),
    ):  # fmt: skip
        axes.hlines(position[known & chosen], table["low"][known & chosen], table["high"][known & chosen],
                    color=colour, linewidth=2.4)  # fmt: skip
        axes.plot(table["estimate"][chosen], position[chosen], marker, color=colour, markersize=8)
    axes.axvline(0, color=style.CHARCOAL, linewidth=1.3)
    axes.set_yticks(position, labels)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlabel(difference(unit))
    axes.grid(axis="y", visible=False)
    sure = table["estimate"].dropna()
    spread = f" They run from {show(sure.min(), places)} to {show(sure.max(), places)}." if len(sure) else ""
    first = float(table["estimate"][main])
    start = f"{labels[main]}: {show(first, places)}." if np.isfinite(first) else ""
    alt = f"Interval chart of {len(rows)} estimates. {start}{spread} Figures in the table below."
    shown = pd.DataFrame(
        {
            heading: list(labels),
            f"Estimate ({unit})": table["estimate"].round(places),
            "95% low": table["low"].round(places),
            "95% high": table["high"].round(places),
            "Note": [str(row.get("note") or "none") for row in rows],
        }
    )
    caption = (
        f"{measure}: difference between programme and comparison areas, with 95% confidence intervals where there are "
        f"areas enough. Source: {source}. England."
    )
    return Figure(drawing, title, caption, alt, shown, name, synthetic)


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def fake_figure(
    found: Part, *, title: str, measure: str, unit: str, source: str, places: int, name: str, synthetic: bool
) -> Figure:
    """How often programmes that never were gave which estimate, and where the real one stands."""
    drawing, axes = canvas(height=3.6, synthetic=synthetic)
    edges, counts = np.array(found["edges"]), np.array(found["counts"])
    axes.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=style.GREY, edgecolor="white")
    axes.axvline(found["real"], color=style.NAVY, linewidth=2.5)
    axes.annotate("the real programme", (found["real"], 1.0), xycoords=("data", "axes fraction"), xytext=(6, -4),
                  textcoords="offset points", va="top", fontsize=10, color="#222222")  # fmt: skip
    axes.axvline(0, color=style.CHARCOAL, linewidth=1.3)
    axes.set_xlabel(difference(unit))
    axes.set_ylabel("Fake programmes")
    alt = (
        f"Histogram of {found['draws']} estimates of programmes that never were; 95% lie between "
        f"{show(found['low'], places)} and {show(found['high'], places)}. The real estimate is "
        f"{show(found['real'], places)}. Figures in the table below."
    )
    shown = pd.DataFrame(
        {
            f"From ({unit})": edges[:-1].round(places + 1),
            f"To ({unit})": edges[1:].round(places + 1),
            "Fake programmes": counts,
        }
    )
    caption = (
        f"{measure}: estimates for areas without the programme, dealt its starts at random inside regions. Source: "
        f"{source}. England."
    )
    return Figure(drawing, title, caption, alt, shown, name, synthetic)


def drift_figure(
    events: pd.DataFrame,
    drift: Part,
    *,
    base: float,
    title: str,
    measure: str,
    unit: str,
    source: str,
    places: int,
    name: str,
    synthetic: bool,
) -> Figure:
    """Differences by years from the start, with the straight line through those before, drawn on."""
    drawing, axes = canvas(synthetic=synthetic)
    rows = events.sort_values("event_time")
    for chosen, marker, colour, words in (
        (rows["event_time"] < base, "o", style.CHARCOAL, "before"),
        ((rows["event_time"] > base) & (rows["event_time"] < 0), "D", style.PLUM, "partly exposed"),
        (rows["event_time"] >= 0, "s", style.NAVY, "since the start"),
    ):
        each = rows[chosen]
        if each.empty:
            continue
        axes.vlines(each["event_time"], each["ci_low"], each["ci_high"], color=colour, linewidth=2)
        axes.plot(each["event_time"], each["estimate"], marker, color=colour, markersize=8, label=words)
    axes.plot([base], [0], "x", color=style.CHARCOAL, markersize=9, markeredgewidth=2, label="base (0 by definition)",
              linestyle="none")  # fmt: skip
    times = np.array([rows["event_time"].min(), base, rows["event_time"].max()])
    line = drift["level"] + drift["slope"] * times
    axes.plot(times[:2], line[:2], color=style.ORANGE, linewidth=2, label="straight line through the years before")
    axes.plot(times[1:], line[1:], color=style.ORANGE, linewidth=2, linestyle="--", label="the line drawn on")
    axes.axhline(0, color=style.CHARCOAL, linewidth=1.3)
    ticks = np.unique(np.r_[rows["event_time"].to_numpy(), base])
    axes.set_xticks(ticks, [show(value, 0) for value in ticks])
    axes.set_xlabel("Years from the first treated period")
    axes.set_ylabel(difference(unit))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncol=3, frameon=False, fontsize=10)
    alt = (
        f"Dot chart of differences by years from the start with a straight line through those before: it moves by "
        f"{show(drift['slope'], places)} a year, and {show(drift['rest'], places)} is left. Figures in the table below."
    )
    shown = pd.DataFrame(
        {
            "Years from start": [show(value, 0) for value in rows["event_time"]],
            "Estimate": rows["estimate"].round(places).to_numpy(),
            "95% low": rows["ci_low"].round(places).to_numpy(),
            "95% high": rows["ci_high"].round(places).to_numpy(),
            "The line": (drift["level"] + drift["slope"] * rows["event_time"]).round(places).to_numpy(),
        }
    )
    caption = (
        f"{measure}: programme areas against comparison areas, relative to the base period, with 95% confidence "
        f"intervals. Source: {source}. England."
    )
    return Figure(drawing, title, caption, alt, shown, name, synthetic)


def power_figure(
    curve: pd.DataFrame, *, title: str, measure: str, unit: str, source: str, least: float | None, name: str,
    synthetic: bool,
) -> Figure:  # fmt: skip
    """The chance to find an effect, by its size; one line a design. ``curve``: treated, after, effect, power."""
    drawing, axes = canvas(synthetic=synthetic)
    looks = [(style.NAVY, "-"), (style.ORANGE, "--"), (style.TEAL, "-."), (style.PLUM, ":")]
    designs = list(curve.groupby(["treated", "after"], sort=False))[: len(looks)]
    for (colour, dash), ((treated, after), each) in zip(looks, designs, strict=False):
        words = f"{treated} areas, {after} period{'' if after == 1 else 's'} after"
        axes.plot(each["effect"], each["power"], color=colour, linestyle=dash, linewidth=2.2, label=words)
    axes.axhline(0.8, color=style.CHARCOAL, linewidth=1, linestyle=":")
    axes.annotate("8 of 10", (0, 0.8), xytext=(4, 3), textcoords="offset points", fontsize=10, color="#222222")
    if least is not None:
        axes.axvline(least, color=style.CHARCOAL, linewidth=1.2, linestyle="--")
        axes.annotate("smallest change\nthat matters", (least, 0.02), xytext=(4, 0), textcoords="offset points",
                      fontsize=9, color="#222222")  # fmt: skip
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("True change" + AXIS.get(unit, f", {unit}"))
    axes.set_ylabel("Chance to find it")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncol=2, frameon=False, fontsize=10)
    (treated, after), first = designs[0]
    found = float(np.interp(0.8, first["power"], first["effect"]))
    alt = (
        f"Line chart of the chance to find a change by its size. {treated} areas followed for {after} "
        f"period{'' if after == 1 else 's'} find {show(found, 1)} in 8 of 10. Figures in the table below."
    )
    thinned = curve[curve.groupby(["treated", "after"], sort=False).cumcount() % 4 == 0]
    shown = pd.DataFrame(
        {
            "Areas treated": thinned["treated"],
            "Periods after": thinned["after"],
            f"True change ({unit})": thinned["effect"].round(2),
            "Chance to find it": thinned["power"].round(2),
        }
    )
    caption = (
        f"{measure}: share of pretended programmes at earlier dates and in random areas that are found, at the 5% "
        f"level. Source: {source}, periods before the programme only. England."
    )
    return Figure(drawing, title, caption, alt, shown, name, synthetic)
