"""Further sections of a disparity report: areas, where gaps lie, what goes with them, gradient, strata, programme."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sendap import groups
from sendap.disparity.findings import Findings
from sendap.disparity.funnel import BEYOND, FAR_BEYOND
from sendap.disparity.oaxaca import CAVEAT
from sendap.numerals import show
from sendap.report import disparity_figures as figures
from sendap.report.disparity_tables import (
    HEADINGS,
    KEYS,
    SYMBOLS,
    capital,
    captioned,
    in_title,
    in_words,
    listed,
    named_strata,
    parts_table,
    programme_table,
    said_of,
    subheading,
    surely_moved,
)
from sendap.report.disparity_tiles import tile_figure
from sendap.report.output import Html, paragraphs


def place(found: Findings) -> Html:
    """Areas: the funnel, the map of tiles, and how far apart areas are, year by year."""
    if found.place.empty or found.funnel is None:
        return paragraphs("No figure is published by area.")
    counts = found.funnel.frame["position"].value_counts()
    far, beyond = int(counts.get(FAR_BEYOND, 0)), int(counts.get(BEYOND, 0))
    known = int((found.place["status"] == "ok").sum())
    drawn = figures.funnel_figure(
        found.funnel, found.place[["cluster", "name"]], said_of(found, "funnel"),
        title=f"{far} of {known} areas lie far outside the expected range",
    )  # fmt: skip
    tiles = tile_figure(found.place, said_of(found, "areas"), title=_tiles_title(found))
    words = (
        f"Around England's {show(found.funnel.target, 1)} per cent, {far} areas lie outside the 99.8% limits and "
        f"{beyond} more outside the 95% limits. Ordinary variation between areas is "
        f"{show(found.funnel.between_sd, 1)} points (one standard deviation); areas spread "
        f"{show(found.funnel.dispersion, 0)} times as widely as chance alone would make them."
    )
    usual = (
        "Where areas vary like a bell curve and none stands out, about 10 in 100 lie outside the 95% limits and 1 in "
        "100 outside the 99.8% limits, because the outermost tenths aren't let widen them."
    )
    made = paragraphs(words, usual) + drawn.html() + tiles.html()
    return made + subheading("How far apart areas are") + _spread(found)


def _tiles_title(found: Findings) -> str:
    known = found.place["shrunk"].dropna()
    at = 1 if known.max() < 20 else 0
    low, high = (show(value, at) for value in np.quantile(known, [0.1, 0.9]))
    return f"Most areas lie between {low} and {high} per cent"


def _spread(found: Findings) -> Html:
    rows = found.spread
    caption = "How far apart areas are: standard deviation of their true rates, percentage points"
    shown = pd.DataFrame(
        {
            "Year": [found.label(int(period)) for period in rows["period"]],
            "Areas": rows["areas"].astype(int),
            "Spread": rows["spread"].round(2),
            "95% low": rows["low"].round(2),
            "95% high": rows["high"].round(2),
        }
    )
    made = Html("")
    if len(rows) > 1:
        first, last = rows.iloc[0], rows.iloc[-1]
        title = f"Can't tell whether areas drew apart since {found.label(int(first['period']))}"
        if surely_moved(first, last, "spread"):
            word = "further apart" if last["spread"] > first["spread"] else "closer"
            title = f"Areas are {word} than in {found.label(int(first['period']))}"
        made += figures.series_figure(
            rows.assign(arm="all"),
            said_of(found, "spread"),
            title=title,
            axis="Spread, percentage points",
            kind=found.table.period_kind,
            what="Spread between areas, with chance taken out",
            value="spread",
            zero=False,
        ).html()
    made += captioned(found, shown, caption, "spread-table")
    made += paragraphs(
        "Each area counts once. What chance adds is taken out, and areas with fewer than 100 children aren't counted."
    )
    change = found.spread_change
    return (
        made
        if change is None
        else made + paragraphs(f"{change.sentence()} This doesn't show that the programme caused it.")
    )


def place_against_group(found: Findings) -> Html:
    """How much of each gap lies between areas and how much inside them, and the same of its change."""
    if found.parts.empty:
        return paragraphs(
            "Groups are published for England only, so nobody can say whether a gap lies between areas or inside them."
        )
    made = Html("")
    for by in found.table.by:
        rows = found.parts[found.parts["by"] == by]
        if rows.empty:
            continue
        inside = int((rows["within"].abs() > rows["between"].abs()).sum())
        title = (
            f"For {inside} of {len(rows)} groups, more lies inside areas"
            if len(rows) > 1
            else _one_part(rows.iloc[0], in_title(found, rows["group"].iloc[0], by))
        )
        reference = str(rows["reference"].iloc[0])
        order = rows.sort_values("total", ascending=False)
        made += subheading(HEADINGS.get(by, capital(by)))
        made += figures.parts_figure(
            order, said_of(found, f"between-{by}"), title=title, reference=in_words(found, reference, by)
        ).html()
        said = rows.set_index("group")["sentence"]
        widest = found.widest(by)
        telling = [name for name in said.index if name == widest or _opposed(rows.set_index("group").loc[name])]
        made += paragraphs(*said[telling])
    changed = found.parts_of_change
    if len(changed):
        made += subheading("Where the change of the gaps lies")
        made += paragraphs(
            "Change from the first to the last year, or from before to after a programme, between and inside areas. "
            "With so many rows, about one interval in twenty leaves out zero by chance alone."
        )
        made += captioned(found, parts_table(changed), "Change of each gap, percentage points", "between-change")
    return made


def _one_part(row: pd.Series, name: str) -> str:
    return f"{name}: gap lies {'inside' if abs(row['within']) > abs(row['between']) else 'between'} areas"


def _opposed(row: pd.Series) -> bool:
    """Whether the two parts surely run opposite ways: a Simpson reversal that only the parts show."""
    return bool(
        (row["between_low"] > 0 and row["within_high"] < 0) or (row["between_high"] < 0 and row["within_low"] > 0)
    )


def explained(found: Findings) -> Html:
    """How much of each widest gap goes with the strata that it's crossed with, straight and curved."""
    if not found.decomposed:
        return paragraphs("The table crosses too little to say how much of a gap goes with measured differences.")
    made = paragraphs(CAVEAT)
    for straight, curved in found.decomposed:
        rows = []
        for name, row in curved.detail.set_index("factor").iterrows():
            other = straight.detail.set_index("factor").loc[name]
            rows.append(
                {
                    "Factor": capital(groups.stratum_words(str(name))),
                    "Explained (curved)": f"{show(row['explained'], 2)} ({show(row['low'], 2)} to "
                    f"{show(row['high'], 2)})",
                    "Explained (straight)": f"{show(other['explained'], 2)} ({show(other['explained_low'], 2)} to "
                    f"{show(other['explained_high'], 2)})",
                }
            )
        text = curved.sentence().removesuffix(f" {CAVEAT}")
        made += paragraphs(text)
        caption = f"{curved.group} against {curved.reference}: percentage points of the gap that go with each factor"
        made += captioned(found, pd.DataFrame(rows), caption, f"explained-{curved.by}")
    return made + paragraphs(
        "Curved: a logistic model, averaged over every order of the factors (Fairlie). Straight: a linear one "
        "(Oaxaca and Blinder, pooled with a group dummy)."
    )


def gradient(found: Findings) -> Html:
    """The social gradient, or why there is none."""
    known = found.gradient
    if known is None:
        return paragraphs("The table holds no measure of deprivation in order, so no gradient can be worked out.")
    slope = known.value("slope index")
    title = "Rates don't differ by deprivation for sure"
    if slope["low"] > 0 or slope["high"] < 0:
        title = f"Higher for the {'least' if slope['low'] > 0 else 'most'} deprived"
    rows = known.frame.rename(
        columns={"measure": "Measure", "estimate": "Estimate", "low": "95% low", "high": "95% high"}
    )
    drawing = "Intervals count each child as independent." if known.areas == 1 else "Intervals draw whole areas."
    return (
        paragraphs(known.sentence())
        + figures.gradient_figure(known, said_of(found, "gradient"), title=title).html()
        + captioned(found, rows.round(3), "Slope and relative index of inequality", "gradient-table")
        + paragraphs(drawing)
    )


def crossed(found: Findings) -> Html:
    """Strata crossed with one another, or why they can't be."""
    known = found.intersections
    if known is None:
        return paragraphs(
            "The table publishes each stratum on its own. How they go together can't be answered from margins; it "
            "needs records."
        )
    rows = known.frame.assign(group=named_strata(known.frame, known.by))
    recorded = (rows[list(known.by)] != groups.UNKNOWN).all(axis=1)
    sure = rows[(rows["status"] == "ok") & (rows["n"] >= 100) & recorded]
    low, high = (show(value, 1) for value in (sure["shrunk"].min(), sure["shrunk"].max()))
    title = f"Crossed groups range from {low} to {high} per cent"
    key = " ".join(KEYS[name] for name in known.by if name in KEYS)
    drawn = figures.strata_figure(sure, said_of(found, "crossed"), title=title, key=key)
    words = [known.sentence()]
    if np.isfinite(known.auc):
        words.append(
            f"Knowing a child's group tells those with the outcome from those without in {show(100 * known.auc, 0)} "
            "of 100 pairs (50 would be a guess)."
        )
    words.append("These numbers describe. A low or negative share doesn't show that something is hidden.")
    words.append("Groups with a part that isn't recorded, and those under 100 children, are in the download only.")
    return paragraphs(" ".join(words)) + drawn.html()


def programme(found: Findings) -> Html:
    """What the programme did to each gap, as far as the table can tell."""
    described = found.table.programme
    if not found.programme or described is None:
        return paragraphs(
            "The table has no years before and after a programme by group and area, so it can't say what any pilot "
            "did to a gap."
        )
    before, after = (listed([found.label(year) for year in years]) for years in (described.before, described.after))
    made = paragraphs(
        f"Gaps in the programme's areas and in others, before ({before}) and after ({after}). {described.note}",
        "A gap that narrows because the group ahead lost isn't a success, so the effect on each group stands beside "
        "the effect on the gap.",
    )
    for by, result in found.programme.items():
        tested = result.frame[result.frame["status"] == "ok"]
        made += subheading(HEADINGS.get(by, capital(by)))
        caption = f"Effect on the gap to {found.reference(by)}, percentage points, with 95% intervals"
        made += captioned(found, programme_table(result.frame), caption, f"programme-{by}")
        said = tested[tested["verdict"] != "cannot tell"]["sentence"]
        made += paragraphs(*said)
        if len(tested) > len(said):
            made += paragraphs(
                f"For {len(tested) - len(said)} of {len(tested)} gaps we can't tell whether the programme moved them."
            )
    return made + paragraphs(
        "Areas are the clusters. p-values are adjusted for the number of groups. The ratio of ratios is that of a "
        f"Poisson regression with the same comparisons; 1 is no change. {SYMBOLS}"
    )
