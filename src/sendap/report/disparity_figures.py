"""Figures of disparity: intervals by group, between and within areas, gaps over time, funnel, gradient, strata.

One scheme for all: a group or an area is navy; what is flagged or compared is orange and of another shape; the mean or
zero is a charcoal line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from sendap.disparity.funnel import FAR_BEYOND, Funnel
from sendap.disparity.gradient import Gradient
from sendap.disparity.words import places
from sendap.numerals import show
from sendap.periods import PeriodKind, period_label
from sendap.report import style
from sendap.report.figures import ALT_LIMIT, Figure, canvas

TABLE_BELOW = " Figures in the table below."


@dataclass(frozen=True)
class Said:
    """What every figure of a report says: the measure, its source, and whether the data are made up."""

    measure: str
    source: str
    period: str
    name: str
    synthetic: bool

    def caption(self, text: str) -> str:
        return f"{self.measure}, England, {self.period}. {text} Source: {self.source}."

    def alt(self, kind: str, text: str) -> str:
        """Alternative text that fits, cut at a word."""
        whole = f"{kind} {text}"
        room = ALT_LIMIT - len(TABLE_BELOW)
        if len(whole) > room:
            whole = whole[: room - 1].rsplit(" ", 1)[0].rstrip(",:;(") + "…"
        return whole + TABLE_BELOW


def _rows(axes: Axes, labels: Sequence[str]) -> np.ndarray:
    """Places for one row a label, the first at the top."""
    position = np.arange(len(labels))[::-1]
    axes.set_yticks(position, labels)
    axes.set_ylim(-0.7, len(labels) - 0.3)
    axes.grid(axis="y", visible=False)
    return position


def _beside(reference: str) -> str:
    """What a gap is measured in, on two lines where the reference's name is long."""
    between = " " if len(reference) < 30 else "\n"
    return f"Percentage points more or less than{between}{reference}"


def _legend(drawing: Canvas, handles: Sequence[Artist], *, columns: int = 3) -> None:
    """The legend under the drawing, however tall it is."""
    drawing.legend(handles=list(handles), loc="outside lower center", ncol=columns, frameon=False, fontsize=10)


def _mark(colour: str, marker: str, words: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=8, label=words)


def gap_figure(rows: pd.DataFrame, said: Said, *, title: str, reference: str, how: str) -> Figure:
    """The gap of each group to a reference. ``rows``: group, difference, low, high, flagged; drawn as they come.

    A group without a difference has a row of its own, with words in its place.
    """
    drawing, axes = canvas(height=1.6 + 0.36 * len(rows), synthetic=said.synthetic)
    position = _rows(axes, list(rows["group"]))
    known = rows["difference"].notna().to_numpy()
    flagged = rows["flagged"].to_numpy(dtype=bool) & known
    for mask, colour, marker in ((known & ~flagged, style.NAVY, "o"), (flagged, style.ORANGE, "D")):
        part = rows[mask]
        sides = [part["difference"] - part["low"], part["high"] - part["difference"]]
        axes.errorbar(part["difference"], position[mask], xerr=sides, fmt=marker, color=colour, ecolor=colour,
                      elinewidth=2.2, capsize=4, markersize=7)  # fmt: skip
    axes.axvline(0, color=style.CHARCOAL, linewidth=1.3)
    for at in position[~known]:
        axes.annotate("too few to say", (0.02, at), xycoords=("axes fraction", "data"), va="center", fontsize=10)
    axes.set_xlabel(_beside(reference))
    marks = [_mark(style.NAVY, "o", "not flagged"), _mark(style.ORANGE, "D", "flagged as a prompt to look")]
    _legend(drawing, marks if flagged.any() else marks[:1])
    sure = rows[known]
    at = places(*sure.loc[sure["difference"].abs().idxmax(), ["low", "high"]])
    widest = sure.loc[sure["difference"].abs().idxmax()]
    text = (
        f"{said.measure}: gap to {reference}, by group. Widest: {widest['group']}, {show(widest['difference'], at)} "
        "percentage points."
    )
    caption = said.caption(f"Gap to {reference}. Bars: 95% confidence intervals, {how}. Unknown isn't a group.")
    shown = pd.DataFrame(
        {
            "Group": rows["group"],
            "Gap (percentage points)": rows["difference"].round(2),
            "95% low": rows["low"].round(2),
            "95% high": rows["high"].round(2),
            "Flagged": np.where(known, np.where(flagged, "yes", "no"), "too few to say"),
        }
    )
    return Figure(drawing, title, caption, said.alt("Interval chart.", text), shown, said.name, said.synthetic)


def parts_figure(rows: pd.DataFrame, said: Said, *, title: str, reference: str) -> Figure:
    """Each gap as what lies between areas and inside them. ``rows``: group, total, between, within and limits."""
    drawing, axes = canvas(height=1.9 + 0.42 * len(rows), synthetic=said.synthetic)
    position = _rows(axes, list(rows["group"]))
    between, within = rows["between"].to_numpy(), rows["within"].to_numpy()
    # Parts of one sign stand end to end; parts of opposite signs run from zero to their own side.
    start = np.where(between * within > 0, between, 0.0)
    axes.barh(position, between, height=0.62, color=style.NAVY, label="between areas")
    axes.barh(position, within, left=start, height=0.62, color=style.ORANGE, hatch="//", edgecolor="white",
              linewidth=0, label="inside areas")  # fmt: skip
    sides = [rows["total"] - rows["total_low"], rows["total_high"] - rows["total"]]
    axes.errorbar(rows["total"], position, xerr=sides, fmt="s", color="black", markersize=5, elinewidth=1.4, capsize=3,
                  label="whole gap, 95% interval")  # fmt: skip
    axes.axvline(0, color=style.CHARCOAL, linewidth=1.3)
    axes.set_xlabel(_beside(reference))
    _legend(drawing, axes.get_legend_handles_labels()[0])
    widest = rows.loc[rows["total"].abs().idxmax()]
    text = (
        f"{said.measure}: gaps to {reference} between and inside areas. {widest['group']}: "
        f"{show(widest['between'], 1)} between and {show(widest['within'], 1)} inside."
    )
    caption = said.caption(
        f"Gap to {reference}: the part that lies between areas and the part inside them (Kitagawa). This says "
        "where the gap lies, not what caused it."
    )
    columns = {
        "group": "Group", "total": "Whole gap", "total_low": "Whole, low", "total_high": "Whole, high",
        "between": "Between areas", "between_low": "Between, low", "between_high": "Between, high",
        "within": "Inside areas", "within_low": "Inside, low", "within_high": "Inside, high",
    }  # fmt: skip
    shown = rows[list(columns)].rename(columns=columns).round(2)
    return Figure(drawing, title, caption, said.alt("Bar chart.", text), shown, said.name, said.synthetic)


_LINES = {
    "treated": ("programme areas", style.TREATED, "o", "-"),
    "comparison": ("other areas", style.COMPARISON, "s", "--"),
    "all": ("all areas", style.TREATED, "o", "-"),
    "England": ("England", style.TREATED, "o", "-"),
}


def series_figure(
    rows: pd.DataFrame,
    said: Said,
    *,
    title: str,
    axis: str,
    kind: PeriodKind,
    what: str,
    starting: tuple[float, float] | None = None,
    value: str = "gap",
    zero: bool = True,
) -> Figure:
    """A gap or a spread by year, one line an arm with its interval. ``rows``: arm, period, ``value``, low, high.

    ``starting``: the last period before a programme and the first after it began, between which it is shaded.
    """
    drawing, axes = canvas(height=4.4, synthetic=said.synthetic)
    known = rows.dropna(subset=[value])
    arms = [arm for arm in _LINES if (known["arm"] == arm).any()]
    for number, arm in enumerate(arms):
        words, colour, marker, line = _LINES[arm]
        part = known[known["arm"] == arm].sort_values("period")
        at = part["period"] + (0.05 * (2 * number - 1) if len(arms) > 1 else 0.0)
        sides = [part[value] - part["low"], part["high"] - part[value]]
        axes.errorbar(at, part[value], yerr=sides, color=colour, marker=marker, linestyle=line, linewidth=2.2,
                      markersize=7, elinewidth=1.5, capsize=4, label=words)  # fmt: skip
    if zero:
        axes.axhline(0, color=style.CHARCOAL, linewidth=1.3)
    else:
        axes.set_ylim(bottom=0)
    periods = np.sort(known["period"].unique())
    if starting is not None and starting[0] < starting[1]:
        axes.axvspan(starting[0] + 0.3, starting[1] - 0.3, color="#E3E3E3", zorder=0)
        axes.annotate("programme\nbegins", (sum(starting) / 2, 0.98), xycoords=("data", "axes fraction"), ha="center",
                      va="top", fontsize=10, color="#222222")  # fmt: skip
    axes.set_xticks(periods, [period_label(int(year), kind) for year in periods])
    axes.set_ylabel(axis)
    if len(arms) > 1:
        _legend(drawing, axes.get_legend_handles_labels()[0])
    ends = [
        f"{_LINES[arm][0]} from {show(part[value].iloc[0], 1)} to {show(part[value].iloc[-1], 1)}"
        for arm in arms
        if len(part := known[known["arm"] == arm].sort_values("period"))
    ]
    text = f"{what}, {period_label(int(periods.min()), kind)} to {period_label(int(periods.max()), kind)}: "
    caption = said.caption(f"{what}. Bars: 95% confidence intervals, drawing whole areas.")
    if arms == ["England"]:
        caption = said.caption(f"{what}. Bars: 95% confidence intervals.")
    shown = pd.DataFrame(
        {
            "Year": [period_label(int(year), kind) for year in rows["period"]],
            "Areas": [_LINES[arm][0] for arm in rows["arm"]],
            axis: rows[value].round(2).to_numpy(),
            "95% low": rows["low"].round(2).to_numpy(),
            "95% high": rows["high"].round(2).to_numpy(),
        }
    )
    alt = said.alt("Line chart.", text + "; ".join(ends) + ".")
    return Figure(drawing, title, caption, alt, shown, said.name, said.synthetic)


def funnel_figure(found: Funnel, named: pd.DataFrame, said: Said, *, title: str) -> Figure:
    """Areas by size and rate, with the ranges of chance and of ordinary variation. ``named``: cluster, name."""
    drawing, axes = canvas(height=5.0, synthetic=said.synthetic)
    frame = found.frame[found.frame["status"] == "ok"]
    far = (frame["position"] == FAR_BEYOND).to_numpy()
    n = np.geomspace(max(frame["n"].min(), 10), frame["n"].max() * 1.05, 200)
    limits, chance = found.limits(n), found.limits(n, adjusted=False)
    for side in ("low", "high"):
        axes.plot(n, chance[f"{side}_99.8%"], color="#8A8A8A", linestyle=":", linewidth=1.4)
        axes.plot(n, limits[f"{side}_95%"], color=style.CHARCOAL, linestyle="--", linewidth=1.3)
        axes.plot(n, limits[f"{side}_99.8%"], color=style.CHARCOAL, linewidth=1.6)
    axes.axhline(found.target, color=style.CHARCOAL, linewidth=1.0)
    sns.scatterplot(x=frame["n"][~far], y=frame["rate"][~far], ax=axes, color=style.NAVY, s=26, linewidth=0, alpha=0.75)
    axes.scatter(frame["n"][far], frame["rate"][far], color=style.ORANGE, marker="D", s=42, zorder=4)
    axes.set_xscale("log")
    ticks = [each for each in (10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000, 300000) if n[0] <= each <= n[-1]]
    axes.set_xticks(ticks, [f"{each:,}" for each in ticks])
    axes.minorticks_off()
    axes.set_xlabel("Children in the area (each step is about three times as many)")
    axes.set_ylabel("Per cent")
    handles = [
        _mark(style.NAVY, "o", "area"),
        _mark(style.ORANGE, "D", "far outside"),
        Line2D([], [], color=style.CHARCOAL, linewidth=1.6, label="99.8% limits"),
        Line2D([], [], color=style.CHARCOAL, linestyle="--", linewidth=1.3, label="95% limits"),
        Line2D([], [], color="#8A8A8A", linestyle=":", linewidth=1.4, label="99.8%, chance only"),
    ]
    _legend(drawing, handles)
    text = (
        f"{said.measure} by area size: {int(far.sum())} of {len(frame)} areas lie outside the 99.8% limits around "
        f"England's {show(found.target, 1)} per cent."
    )
    caption = said.caption(
        "One mark an area. The limits allow for chance and for the variation that is ordinary between areas; dotted "
        "ones for chance alone. Being outside is a prompt to look, not a finding about the area."
    )
    merged = found.frame.merge(named, on="cluster", how="left").sort_values("name")
    shown = pd.DataFrame(
        {
            "Area": merged["name"],
            "Children": merged["n"],
            "Per cent": merged["rate"].round(1),
            "Place": np.where(merged["status"] == "ok", merged["position"], "too few to say"),
        }
    )
    return Figure(drawing, title, caption, said.alt("Funnel chart.", text), shown, said.name, said.synthetic)


def gradient_figure(found: Gradient, said: Said, *, title: str) -> Figure:
    """The rate of each category from the most to the least deprived, with the straight line through them."""
    drawing, axes = canvas(height=4.2, synthetic=said.synthetic)
    frame = found.categories.dropna(subset=["rate"])
    axes.bar(np.arange(len(frame)), frame["rate"], width=0.75, color=style.NAVY)
    slope = float(found.value("slope index")["estimate"])
    level = float(np.average(frame["rate"], weights=frame["n"]))
    middle = float(np.average(frame["ridit"], weights=frame["n"]))
    line = level + slope * (frame["ridit"] - middle)
    axes.plot(np.arange(len(frame)), line, color=style.ORANGE, linewidth=2.4, marker="D", label="straight line")
    axes.set_xticks(np.arange(len(frame)), frame["category"])
    axes.set_xlabel("Tenth of areas by deprivation, 1 the most deprived")
    axes.set_ylabel("Per cent")
    axes.legend(loc="upper right", frameon=False, fontsize=10)
    ends = frame["rate"].iloc[[0, -1]]
    text = (
        f"{said.measure} by deprivation: {show(ends.iloc[0], 1)} per cent in the most deprived category, "
        f"{show(ends.iloc[1], 1)} in the least."
    )
    caption = said.caption("Children by the deprivation of where they live, from the most (1) to the least (10).")
    shown = pd.DataFrame(
        {
            "Category": frame["category"],
            "Children": frame["n"],
            "Per cent": frame["rate"].round(2),
            "Line": line.round(2),
        }
    )
    return Figure(drawing, title, caption, said.alt("Bar chart.", text), shown, said.name, said.synthetic)


def strata_figure(rows: pd.DataFrame, said: Said, *, title: str, key: str = "") -> Figure:
    """Shrunken shares of crossed strata, largest first. ``rows``: group, n, rate, shrunk, low, high."""
    rows = rows.sort_values("shrunk", ascending=False, kind="stable").reset_index(drop=True)
    drawing, axes = canvas(height=1.5 + 0.3 * len(rows), synthetic=said.synthetic)
    position = _rows(axes, list(rows["group"]))
    axes.tick_params(axis="y", labelsize=10)
    axes.errorbar(rows["shrunk"], position, xerr=[rows["shrunk"] - rows["low"], rows["high"] - rows["shrunk"]], fmt="o",
                  color=style.NAVY, elinewidth=2, capsize=3, markersize=6)  # fmt: skip
    axes.set_xlim(left=0)
    axes.set_xlabel("Per cent")
    first, last = rows.iloc[0], rows.iloc[-1]
    text = (
        f"{said.measure} in crossed groups: from {show(last['shrunk'], 1)} per cent ({last['group']}) to "
        f"{show(first['shrunk'], 1)} per cent ({first['group']})."
    )
    caption = said.caption(
        "Shares of crossed groups, drawn towards the mean by as much as they are unsure. Bars: 95% intervals. "
        f"{key}".strip()
    )
    shown = rows[["group", "n", "rate", "shrunk", "low", "high"]].round(2)
    shown.columns = ["Group", "Children", "Per cent", "Drawn to the mean", "95% low", "95% high"]
    return Figure(drawing, title, caption, said.alt("Interval chart.", text), shown, said.name, said.synthetic)
