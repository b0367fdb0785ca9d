"""Figures that state their finding, each with caption, alt text, table and CSV."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import Any

import matplotlib

matplotlib.use("Agg", force=False)
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from sendap.estimators.group_time_lagged import LAGS
from sendap.numerals import decimals, show
from sendap.periods import period_label
from sendap.report import style
from sendap.report.output import Html
from sendap.report.tables import count, table

_STYLE: dict[str, Any] = {**sns.axes_style("ticks"), **style.RC}
ALT_LIMIT = 250  # characters; longer text belongs in the table beside the figure


def _brief(measure: str, rest: int) -> str:
    """A measure cut at a word, so that it and ``rest`` more characters fit an alternative text."""
    room = ALT_LIMIT - rest
    if len(measure) <= room:
        return measure
    return measure[: room - 1].rsplit(" ", 1)[0].rstrip(",:;(") + "…"


@dataclass(frozen=True)
class Figure:
    """A drawn figure and all that goes with it. Showing it gives one piece of HTML."""

    canvas: Canvas
    title: str
    caption: str
    alt: str
    data: pd.DataFrame
    name: str
    synthetic: bool = field(default=False)

    def png(self) -> bytes:
        """The picture. The same results give the same bytes, however often and wherever it's shown."""
        return self._drawn

    @cached_property
    def _drawn(self) -> bytes:
        # Drawn once, since each drawing moves the layout a little, in the house style and not in that of a notebook.
        buffer = io.BytesIO()
        with plt.style.context(["default", _STYLE]):
            # No date and no software version.
            self.canvas.savefig(buffer, format="png", metadata={"Software": None})
        return buffer.getvalue()

    def html(self) -> Html:
        mark = f" ({style.SYNTHETIC_WORDS})" if self.synthetic else ""
        image = base64.b64encode(self.png()).decode()
        words = self.name.replace("_", " ").replace("-", " ")
        return Html(
            '<figure class="sendap-figure"><p class="sendap-figure-title">'
            f"<strong>{escape(self.title + mark)}</strong></p>"
            f'<img alt="{escape(self.alt, quote=True)}" src="data:image/png;base64,{image}">'
            f"<figcaption>{escape(self.caption)}</figcaption>"
            f"<details><summary>Table of these figures: {escape(words)}</summary>"
            f"{table(self.data, self.title + mark, file=f'{self.name}.csv')}</details></figure>"
        )

    def _repr_html_(self) -> str:
        return self.html().html


def canvas(width: float = 8.0, height: float = 4.2, *, synthetic: bool = False) -> tuple[Canvas, Axes]:
    """An empty drawing in the house style, with the watermark where the data are synthetic."""
    with plt.style.context(["default", _STYLE]):
        drawing = Canvas(figsize=(width, height), layout="constrained")
        axes = drawing.add_subplot()
    if synthetic:
        drawing.text(
            0.5, 0.5, style.SYNTHETIC_WORDS.upper(), rotation=20, ha="center", va="center", fontsize=22,
            color="#801650", alpha=0.22, weight="bold", zorder=10,
        )  # fmt: skip
    return drawing, axes


def period_ticks(axes: Axes, periods: np.ndarray, kind: str) -> None:
    labels = [period_label(int(year), kind) if kind else str(int(year)) for year in periods]
    axes.set_xticks(
        periods, labels, rotation=45 if len(periods) > 7 else 0, ha="right" if len(periods) > 7 else "center"
    )


def series_figure(
    frame: pd.DataFrame,
    *,
    title: str,
    measure: str,
    unit: str,
    kind: str,
    source: str,
    start: str,
    first_treated: float | None,
    name: str,
    synthetic: bool,
) -> Figure:
    """Unadjusted means of treated and comparison areas. ``frame``: period, treated, comparison."""
    drawing, axes = canvas(synthetic=synthetic)
    periods = frame["period"].to_numpy()
    for column, colour, marker, words in (
        ("treated", style.TREATED, "o", "programme areas"),
        ("comparison", style.COMPARISON, "s", "comparison areas"),
    ):
        sns.lineplot(x=periods, y=frame[column], ax=axes, color=colour, marker=marker, markersize=7, linewidth=2.2)
        known = frame[column].last_valid_index()
        if known is not None:
            axes.annotate(
                words, (frame.loc[known, "period"], frame.loc[known, column]), xytext=(8, 0),
                textcoords="offset points", color="#222222", va="center", fontsize=11,
            )  # fmt: skip
    if first_treated is not None:
        axes.axvline(first_treated - 0.5, color=style.REFERENCE, linestyle="--", linewidth=1.2)
        axes.annotate(start, (first_treated - 0.5, 1.0), xycoords=("data", "axes fraction"), xytext=(-6, -4),
                      textcoords="offset points", ha="right", va="top", fontsize=10, color="#222222")  # fmt: skip
    period_ticks(axes, periods, kind)
    axes.set_ylabel({"per cent": "Per cent", "pounds": "£"}.get(unit, unit.capitalize()))
    axes.set_xlabel("")
    axes.margins(x=0.04)
    axes.set_xlim(right=periods.max() + 0.26 * (periods.max() - periods.min()))
    both = frame.dropna()
    if both.empty:
        labels = [period_label(int(year), kind) for year in (periods.min(), periods.max())]
        text = ": no period has figures of both groups."
    else:
        first, last = both.iloc[0], both.iloc[-1]
        labels = [period_label(int(row["period"]), kind) for row in (first, last)]
        text = (
            f": programme areas went from {first['treated']:.1f} in {labels[0]} to {last['treated']:.1f} in "
            f"{labels[1]}, "
            f"comparison areas from {first['comparison']:.1f} to {last['comparison']:.1f}."
        )
    text += " Figures in the table below."
    alt = f"Line chart. {_brief(measure, len('Line chart. ') + len(text))}{text}"
    shown = pd.DataFrame(
        {
            "Period": [period_label(int(year), kind) for year in periods],
            f"Programme areas ({unit})": frame["treated"].round(2),
            f"Comparison areas ({unit})": frame["comparison"].round(2),
        }
    )
    caption = (
        f"{measure}, mean of areas, each area counted once, no adjustment. Source: {source}. England, "
        f"{labels[0]} to {labels[1]}."
    )
    return Figure(drawing, title, caption, alt, shown, name, synthetic)


def event_figure(
    frame: pd.DataFrame,
    *,
    title: str,
    measure: str,
    unit: str,
    source: str,
    anticipation: int,
    name: str,
    synthetic: bool,
    band: pd.DataFrame | None = None,
    zeros: Sequence[float] = (),
) -> Figure:
    """Effects by years from the first treated period. Nothing before the start is hidden.

    ``band``: rows whose intervals hold for all years at once, drawn as thin bars behind those of single years.
    ``zeros``: the years before that are zero by design, by default the last unexposed one.
    """
    drawing, axes = canvas(synthetic=synthetic)
    rows = frame.sort_values("event_time")
    wide = None if band is None or band.empty else band.set_index("event_time").reindex(rows["event_time"])
    if wide is not None:
        axes.vlines(rows["event_time"], wide["ci_low"], wide["ci_high"], color=style.GREY, linewidth=5, alpha=0.35)
    shown = set(rows["event_time"])
    base = np.array([time for time in zeros or (-1.0 - anticipation,) if time not in shown])
    for part, marker, colour, words in (
        (rows[rows["event_time"] < -anticipation], "o", style.GREY, "before"),
        (rows[(rows["event_time"] >= -anticipation) & (rows["event_time"] < 0)], "D", style.PLUM, "partly exposed"),
        (rows[rows["event_time"] >= 0], "s", style.NAVY, "after"),
    ):
        known = part.dropna(subset=["ci_low", "ci_high"])
        known = known[np.isfinite(known[["ci_low", "ci_high"]]).all(axis=1)]
        edge = style.CHARCOAL if words == "before" else colour
        axes.errorbar(known["event_time"], known["estimate"],
                      yerr=[known["estimate"] - known["ci_low"], known["ci_high"] - known["estimate"]],
                      fmt="none", ecolor=edge, elinewidth=2, capsize=4)  # fmt: skip
        axes.plot(part["event_time"], part["estimate"], marker, color=edge, markersize=8, label=words, linestyle="none")
    zero = "base (0 by definition)" if len(base) == 1 else "the same by design"
    axes.plot(base, np.zeros(len(base)), "x", color=style.CHARCOAL, markersize=9, markeredgewidth=2, label=zero,
              linestyle="none")  # fmt: skip
    axes.axhline(0, color=style.CHARCOAL, linewidth=1.3)
    ticks = np.unique(np.r_[rows["event_time"].to_numpy(), base])
    axes.set_xticks(ticks, [show(value, 0) for value in ticks])
    axes.set_xlabel("Years from the first treated period")
    axes.set_ylabel("Difference" + {"per cent": ", percentage points", "pounds": ", £"}.get(unit, f", {unit}"))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncol=4, frameon=False, fontsize=10)
    sure = rows.dropna(subset=["estimate"])
    before, after = sure[sure["event_time"] < -anticipation], sure[sure["event_time"] >= 0]
    furthest = before.loc[before["estimate"].abs().idxmax()] if len(before) else None
    text = " by years from the start."
    if furthest is not None:
        text += (
            f" Largest difference before: {show(furthest['estimate'], 1)} at {show(furthest['event_time'], 0)} years."
        )
    if len(after):
        text += f" First year after: {show(after.iloc[0]['estimate'], 1)}."
    text += " Figures in the table below."
    opening = "Dot chart with 95% confidence intervals. "
    alt = f"{opening}{_brief(measure, len(opening) + len(text))}{text}"
    shown = pd.DataFrame(
        {
            "Years from start": [show(value, 0) for value in rows["event_time"]],
            "Estimate": rows["estimate"].round(2).to_numpy(),
            "95% low": rows["ci_low"].round(2).to_numpy(),
            "95% high": rows["ci_high"].round(2).to_numpy(),
            **(
                {}
                if wide is None
                else {
                    "Low, all years at once": wide["ci_low"].round(2).to_numpy(),
                    "High, all years at once": wide["ci_high"].round(2).to_numpy(),
                }
            ),
            "Method": rows["inference"].to_numpy(),
            "Treated areas": rows["treated_clusters"].map(count).to_numpy(),
        }
    )
    caption = (
        f"{measure}: programme areas against comparison areas, relative to the base period. Bars: 95% confidence "
        f"intervals for each year on its own{', grey for all years at once' if wide is not None else ''}. Source: "
        f"{source}. England."
    )
    return Figure(drawing, title, caption, alt, shown, name, synthetic)


def interval_figure(
    rows: pd.DataFrame,
    labels: list[str],
    *,
    title: str,
    measure: str,
    unit: str,
    source: str,
    threshold: float | None,
    name: str,
    synthetic: bool,
) -> Figure:
    """One interval a row, with the zero line and the smallest effect of interest on both sides."""
    drawing, axes = canvas(height=1.5 + 0.5 * len(rows), synthetic=synthetic)
    position = np.arange(len(rows))[::-1]
    known = np.isfinite(rows[["ci_low", "ci_high"]]).all(axis=1).to_numpy()
    axes.errorbar(rows["estimate"][known], position[known],
                  xerr=[(rows["estimate"] - rows["ci_low"])[known], (rows["ci_high"] - rows["estimate"])[known]],
                  fmt="o", color=style.NAVY, ecolor=style.NAVY, elinewidth=2.5, capsize=5, markersize=8)  # fmt: skip
    axes.axvline(0, color=style.CHARCOAL, linewidth=1.3)
    if threshold is not None:
        for side in (-threshold, threshold):
            axes.axvline(side, color=style.ORANGE, linestyle="--", linewidth=1.4)
        axes.annotate("smallest effect\nthat matters", (threshold, 1.0), xycoords=("data", "axes fraction"),
                      xytext=(4, 2), textcoords="offset points", fontsize=9, color="#222222", va="bottom")  # fmt: skip
    axes.set_yticks(position, labels)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlabel("Difference" + {"per cent": ", percentage points", "pounds": ", £"}.get(unit, f", {unit}"))
    axes.grid(axis="y", visible=False)
    first = rows.iloc[0]
    places = decimals((first["ci_high"] - first["ci_low"]) / 4)
    text = (
        f": best estimate {show(first['estimate'], places)}, 95% confidence interval "
        f"{show(first['ci_low'], places)} to "
        f"{show(first['ci_high'], places)}."
        if known[0]
        else f": best estimate {show(first['estimate'], places)}, no interval could be computed."
        if np.isfinite(first["estimate"])
        else ": no effect could be estimated."
    )
    text += " Figures in the table below."
    alt = f"Interval chart. {_brief(measure, len('Interval chart. ') + len(text))}{text}"
    shown = pd.DataFrame(
        {
            "Comparison": labels,
            f"Estimate ({unit})": rows["estimate"].round(2).to_numpy(),
            "95% low": rows["ci_low"].round(2).to_numpy(),
            "95% high": rows["ci_high"].round(2).to_numpy(),
            "Areas treated": rows["treated_clusters"].map(count).to_numpy(),
            "Areas in all": rows["clusters"].map(count).to_numpy(),
        }
    )
    caption = (
        f"{measure}: difference between programme and comparison areas, with 95% confidence interval. Source: "
        f"{source}. England."
    )
    return Figure(drawing, title, caption, alt, shown, name, synthetic)


def plot_estimates(frame: pd.DataFrame, **options: Any) -> Figure:
    """A figure of headline rows, for a notebook: event times where there are some, else one interval a row."""
    common = {
        "title": options.get("title", "Estimates"),
        "measure": options.get("measure", ", ".join(frame["outcome"].unique())),
        "unit": str(frame["unit"].iloc[0]),
        "source": options.get("source", "not given"),
        "name": options.get("name", "estimates"),
        "synthetic": bool(frame["synthetic"].any()),
    }
    events = frame[frame["term"] == "event"]
    if len(events):
        lags = LAGS if set(events["estimator"]) == {"group_time_lagged"} else 1
        anticipation = int(options.get("anticipation", 0))
        zeros = [-1.0 - anticipation - back for back in range(int(options.get("lags", lags)))]
        return event_figure(events, anticipation=anticipation, zeros=zeros, **common)
    labels = [f"{row.estimator} {row.term}" for row in frame.itertuples()]
    return interval_figure(frame, labels, threshold=options.get("threshold"), **common)
