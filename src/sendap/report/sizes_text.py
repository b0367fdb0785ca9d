"""Sentences for effect sizes and costs. Every number comes from a result; the words follow the standard."""

from __future__ import annotations

import pandas as pd

from sendap.costs import CostPerOutcome, Costs
from sendap.numerals import show
from sendap.report.output import Html, paragraphs
from sendap.report.tables import table
from sendap.sizes import EffectSize, Frequency, MonthsOfProgress, OddsRatio


def frequency_sentence(found: Frequency, counted: str) -> str:
    """ "Our best estimate is about 3 more children in every 100 (likely between 1 and 5 more)"."""
    # Children are whole: a decimal only where both ends would else read as the same one.
    places = 0 if max(abs(found.low), abs(found.high)) >= 2 else 1
    if float(f"{abs(found.count):.{places}f}") == 0:
        best = f"Our best estimate is no difference in every {found.per:,} {counted}"
    else:
        size = show(abs(found.count), places)
        best = f"Our best estimate is about {size} {_more(found.count)} {counted} in every {found.per:,}"
    low, high = show(abs(found.low), places), show(abs(found.high), places)
    if found.low < 0 < found.high:
        return f"{best}. It could be as many as {low} fewer or {high} more."
    near, far = (low, high) if found.low >= 0 else (high, low)
    return f"{best} (likely between {near} and {far} {_more(found.low if found.low < 0 else found.high)})."


def _more(value: float) -> str:
    return "more" if value > 0 else "fewer"


def _level(level: float) -> str:
    return f"{show(100 * level, 0)}%"


def size_sentence(found: EffectSize) -> str:
    """The standardised size with its interval, and what it was divided by."""
    over = {
        "individual": "the standard deviation of all pupils",
        "clustered": "the total standard deviation of pupils, between and within areas",
        "difference in differences": "the total standard deviation of pupils before the start",
        "Cox": "a scale for comparing shares with other studies (Cox's d)",
    }[found.kind]
    return (
        f"As an effect size it is {show(found.g, 2)} ({_level(found.level)} confidence interval "
        f"{show(found.ci_low, 2)} to {show(found.ci_high, 2)}), in units of {over}."
    )


def odds_sentence(found: OddsRatio) -> str:
    """The odds ratio with its interval."""

    def words(value: float) -> str:
        return show(value, 2) if value < float("inf") else "no upper limit"

    span = f"{words(found.ci_low)} to {words(found.ci_high)}"
    return f"The odds ratio is {words(found.ratio)} ({_level(found.level)} confidence interval {span})."


def _months(value: int) -> str:
    if value == 0:
        return "no difference"
    amount = "12 months or more" if abs(value) == 12 else f"{abs(value)} month{'s' if abs(value) > 1 else ''}"
    return f"{amount} {'more' if value > 0 else 'less'}"


def months_sentence(found: MonthsOfProgress) -> str:
    """Months at the estimate and both ends, never without the effect size: "between 1 month less and 4 months more"."""
    at = _months(found.months)
    best = f"about {at} progress" if found.months else "no more and no less progress"
    if found.low == found.high:
        between = "Both ends of its interval mean the same."
    else:
        between = f"It is likely between {_months(found.low)} and {_months(found.high)}."
    return f"In months, that is {best}. {between} {size_sentence(found.size)}"


def pounds(value: float) -> str:
    """Pounds to two significant figures, whole pounds from £10 on."""
    size = abs(value)
    if size < 10:
        return f"{'−' if value < 0 else ''}£{size:,.2f}"
    rounded = float(f"{size:.2g}")
    return f"{'−' if value < 0 else ''}£{rounded:,.0f}"


def cost_sentences(costs: Costs, per_outcome: CostPerOutcome | None = None, *, outcome: str = "") -> list[str]:
    """Cost for each child and its rating, what one more outcome costs where that may be said, and what isn't counted.

    ``outcome``: one unit of the outcome as it's bought ("one more plan issued within 20 weeks").
    """
    children = sum(costs.children.values())
    found = [
        f"It cost about {pounds(costs.per_child())} for each child and year, at {costs.price_year} prices, over "
        f"{show(children, 0)} children and years, discounted from {costs.base_year}. On the scale of the Education "
        f"Endowment Foundation the cost is {costs.band}."
    ]
    if per_outcome is not None:
        if per_outcome.ratio is None or per_outcome.ci_low is None or per_outcome.ci_high is None:
            found.append(f"We don't give a cost for each outcome. {per_outcome.why}.")
        else:
            found.append(
                f"Our best estimate is {pounds(per_outcome.ratio)} for {outcome or 'each outcome'} (95% confidence "
                f"interval {pounds(per_outcome.ci_low)} to {pounds(per_outcome.ci_high)})."
            )
    if costs.not_counted:
        found.append(f"Not counted: {'; '.join(costs.not_counted)}.")
    return found


def payers_table(costs: Costs, *, pilot: str) -> Html:
    """Who pays, in present value; transfers apart, because they move money and use nothing up."""
    found = costs.by_payer()
    spent = found["present_value"].sum()
    rows = pd.DataFrame(
        {
            "Who pays": [name[0].upper() + name[1:] for name in found["payer"]],
            "Cost (£)": [show(value, 0) for value in found["present_value"]],
            "Share of the cost (%)": [
                show(100 * value / spent, 0) if spent else "0" for value in found["present_value"]
            ],
            "Transfers (£)": [show(value, 0) for value in found["transfers"]],
        }
    )
    note = f"Present value in {costs.base_year}, at {costs.price_year} prices, over and above usual practice."
    return Html(table(rows, "Who pays", file=f"{pilot.lower()}-costs.csv")) + paragraphs(note)
