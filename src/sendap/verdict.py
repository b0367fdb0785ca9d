"""From estimates to words. Every verdict is computed from numbers and the protocol, never chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from sendap.numerals import decimals, show
from sendap.probe.trends import TrendCheck
from sendap.protocol import Guard, Outcome

Impact = Literal["changed", "too_small", "little_or_none", "cannot_tell", "already_moving", "not_estimable"]
Level = Literal["low", "moderate", "high"]
Threat = tuple[str, Level | None]
GuardVerdict = Literal["no harm beyond the margin", "serious harm", "harm", "possible harm", "cannot tell"]


@dataclass(frozen=True)
class Finding:
    """The verdict on one outcome, its plain sentence, and how it was reached."""

    outcome: str
    verdict: Impact
    sentence: str
    because: str


UNITS = {"per cent": ("percentage point", "percentage points"), "points": ("point", "points")}


def amount(value: float, unit: str, places: int) -> str:
    """A size without its sign, in the unit of a difference."""
    text = show(abs(value), places)
    if unit == "pounds":
        return f"£{text}"
    one, many = UNITS.get(unit, (unit, unit))
    return f"{text} {one if text == '1' else many}"


def moved(value: float) -> str:
    return "risen" if value > 0 else "fallen"


def could_have(low: float, high: float, unit: str, places: int) -> str:
    """What the interval leaves open, as ``fallen by as much as 8 ... or risen by as much as 13 ...``."""
    if low < 0 < high:
        return f"fallen by as much as {amount(low, unit, places)} or risen by as much as {amount(high, unit, places)}"
    near, far = sorted((low, high), key=abs)
    return f"{moved(far)} by between {show(abs(near), places)} and {amount(far, unit, places)}"


def impact(row: pd.Series, outcome: Outcome, trend: TrendCheck | None) -> Finding:
    """The wording of the evaluation standard for one headline row.

    An effect, or the absence of one, is only claimed where the areas moved alike before the start. Where they
    didn't, the verdict is that we can't tell, whatever the interval says. Nor is an effect claimed that is no
    larger than the largest difference in the years before the start: whatever made that one could have made
    this one.
    """
    name, unit = outcome.name, str(row["unit"])
    low, high, value = float(row["ci_low"]), float(row["ci_high"]), float(row["estimate"])
    if not np.isfinite([value, low, high]).all():
        reason = str(row["note"]) or "no interval could be computed"
        return Finding(outcome.id, "not_estimable", f"The effect on {name} couldn't be estimated.", reason)
    places = decimals((high - low) / 4)
    if trend is not None and trend.differs:
        return Finding(
            outcome.id,
            "already_moving",
            f"We can't tell whether the programme changed {name}. Its areas were already moving differently from "
            f"{'areas with the same recent figures' if trend.lags else 'other areas'} before it began.",
            f"The joint test of the years before the start rejects that areas moved alike (p = {trend.p_value:.3f}, "
            f"{trend.periods} periods); the difference was up to {amount(trend.largest, unit, places)}.",
        )
    least = outcome.smallest_effect or (outcome.guard.margin if outcome.guard else None)
    if low <= 0 <= high:
        if least is not None and -least < low and high < least:
            return Finding(
                outcome.id,
                "little_or_none",
                f"The programme made little or no difference to {name}.",
                f"The interval, {show(low, places)} to {show(high, places)}, lies inside plus or minus {least:g}.",
            )
        return Finding(
            outcome.id,
            "cannot_tell",
            f"We can't tell whether {name} changed because of the programme. It could have "
            f"{could_have(low, high, unit, places)}.",
            f"The interval, {show(low, places)} to {show(high, places)}, includes no change"
            + (f" and effects larger than {least:g}, the smallest that would matter." if least else "."),
        )
    if trend is not None and trend.largest >= abs(value):
        return Finding(
            outcome.id,
            "already_moving",
            f"{name[0].upper()}{name[1:]} has {moved(value)} by about {amount(value, unit, places)} against "
            f"other areas "
            "since the programme began, but differences as large as that came and went before it. We can't tell "
            "whether the programme caused it.",
            f"The interval, {show(low, places)} to {show(high, places)}, excludes no change, but the difference "
            f"was up to "
            f"{amount(trend.largest, unit, places)} in the years before the start.",
        )
    small = least is not None and min(abs(low), abs(high)) < least
    direction = "raised" if value > 0 else "lowered"
    if small:
        return Finding(
            outcome.id,
            "too_small",
            f"After the programme began, {name} had {moved(value)} by about {amount(value, unit, places)} "
            f"against other "
            "areas. The change may be too small to matter.",
            f"The interval, {show(low, places)} to {show(high, places)}, excludes no change but includes effects "
            f"smaller than {least:g}.",
        )
    return Finding(
        outcome.id,
        "changed",
        f"The programme {direction} {name} by about {amount(value, unit, places)} "
        f"(likely between {show(min(abs(low), abs(high)), places)} and {show(max(abs(low), abs(high)), places)}).",
        f"The interval, {show(low, places)} to {show(high, places)}, excludes no change.",
    )


def in_every_hundred(row: pd.Series, counted: str | None) -> str:
    """The natural frequency of a difference in percentage points, or nothing for other units."""
    if row["unit"] != "per cent" or counted is None or not np.isfinite(row["estimate"]):
        return ""
    places = decimals((float(row["ci_high"]) - float(row["ci_low"])) / 4)
    value = float(row["estimate"])
    if float(f"{abs(value):.{places}f}") == 0:
        return f"Our best estimate is no difference in every 100 {counted}."
    direction = "more" if value > 0 else "fewer"
    return f"Our best estimate is about {show(abs(value), places)} {direction} in every 100 {counted}."


def guard(row: pd.Series, rule: Guard, trend: TrendCheck | None) -> tuple[GuardVerdict, str]:
    """One of the five verdicts on a stated harm, by non-inferiority, and why.

    Bounds are one-sided 95%, turned so that larger is worse. "Not significant" never counts as safe, and a
    path that differed before the start never counts as evidence of no harm.
    """
    turn = 1.0 if rule.harm_if == "rises" else -1.0
    value = turn * float(row["estimate"])
    bounds = sorted((turn * float(row["one_sided_low"]), turn * float(row["one_sided_high"])))
    if not np.isfinite([value, *bounds]).all():
        return "cannot tell", "No valid bound could be computed."
    low, high = bounds
    places = decimals((high - low) / 3.3)
    said = (
        f"best estimate {show(value, places)}, 95% bounds {show(low, places)} to {show(high, places)}, "
        f"margin {rule.margin:g}" + ("" if turn > 0 else ", all counted so that a fall is above zero")
    )
    if trend is not None and trend.differs:
        return "cannot tell", f"Areas were already moving differently before the start ({said})."
    if high < rule.margin:
        return "no harm beyond the margin", f"Even the upper bound lies within the margin ({said})."
    if low > 0:
        return ("serious harm" if value > rule.margin else "harm"), f"The lower bound lies above no change ({said})."
    if value > 0:
        return "possible harm", f"The estimate points to harm and the bounds don't rule it out ({said})."
    return "cannot tell", f"The bounds rule out neither harm nor safety ({said})."


@dataclass(frozen=True)
class Confidence:
    """The Board's confidence word with its parts: ``score = min(design, precision, data) - drops``, at least 0.

    ``complete`` is false while a threat hasn't been assessed; the word is then an upper bound.
    """

    score: int
    word: str
    parts: tuple[tuple[str, int], ...]
    threats: tuple[tuple[str, str], ...]
    drops: int
    complete: bool

    @property
    def words(self) -> str:
        return self.word if self.complete or self.word == WORDS[0] else f"{self.word} at most"


WORDS = {5: "High", 4: "High", 3: "Moderate", 2: "Low", 1: "Very low", 0: "Very low"}
DESIGN_CAP = 3
PRECISION = ((0.5, 5), (1.0, 4), (1.5, 3), (2.0, 2), (3.0, 1))
MISSING = ((0.10, 5), (0.20, 4), (0.30, 3), (0.40, 2), (0.50, 1))


def _step(value: float, steps: tuple[tuple[float, int], ...]) -> int:
    return next((score for limit, score in steps if value <= limit), 0)


def confidence(
    row: pd.Series,
    smallest_effect: float,
    *,
    missing_share: float,
    overlap_share: float,
    break_in_window: bool,
    breakdown: float | None = None,
    trends: Level | None = None,
    more: Sequence[Threat] = (),
) -> Confidence:
    """The word of the evaluation standard for a difference in differences, computed from its parts.

    ``missing_share``: values missing or lost; ``overlap_share``: treated clusters also in another programme;
    ``breakdown``: the breakdown value of Rambachan and Roth, None while it isn't assessed; ``trends``: the threat of
    trends before the start where no such value is defined (see ``earlier_threat``); ``more``: further threats with
    their levels, as ``probed_threats`` gives them.
    """
    half = (float(row["ci_high"]) - float(row["ci_low"])) / 2
    # Without a smallest effect there's nothing to be exact enough for.
    ratio = half / smallest_effect if np.isfinite(half) and smallest_effect > 0 else float("inf")
    parts = (
        ("Design: areas compared before and after, not chosen at random", DESIGN_CAP),
        (
            f"Precision: the interval's half-width is {ratio:.1f} times the smallest effect that matters"
            if np.isfinite(ratio)
            else "Precision: no interval could be computed",
            _step(ratio, PRECISION),
        ),
        (f"Data: {missing_share:.0%} of the figures are missing", _step(missing_share, MISSING)),
    )
    treated = int(row["treated_clusters"])
    threats = [
        (
            "Overlap with other programmes",
            "high" if overlap_share >= 0.5 else "moderate" if overlap_share >= 0.25 else "low",
        ),
        ("Data break inside the window", "moderate" if break_in_window else "low"),
        ("Number of treated areas", "low" if treated >= 13 else "moderate" if treated >= 6 else "high"),
    ]
    if breakdown is not None:
        trends = "low" if breakdown >= 1 else "moderate" if breakdown >= 0.5 else "high"
    if trends is not None:
        threats.append(("Trends before the start", trends))
    threats += [(name, level or "not assessed") for name, level in more]
    levels = [level for _, level in threats]
    high, moderate = levels.count("high"), levels.count("moderate")
    if high >= 2 or (high == 1 and moderate >= 2):
        drops = 2
    elif high == 1 or moderate > 2:
        drops = 1
    else:
        drops = 0
    score = max(min(score for _, score in parts) - drops, 0)
    complete = trends is not None and "not assessed" not in levels
    return Confidence(score, WORDS[score], parts, tuple(threats), drops, complete)


def earlier_threat(row: pd.Series, trend: TrendCheck | None) -> Level | None:
    """The threat of trends before the start for areas compared given their past, where no breakdown value is defined.

    High where areas with the same recent figures weren't alike in earlier periods, or differed by as much as the
    estimate; else moderate, since few earlier periods prove little. None where no earlier period could be tested. Our
    own rule.
    """
    if trend is None or trend.periods == 0:
        return None
    return "high" if trend.differs or trend.largest >= abs(float(row["estimate"])) else "moderate"


def probed_threats(
    probes: Mapping[str, Mapping[str, Any]], row: pd.Series, *, registered: bool, deviations: int = 0
) -> tuple[Threat, ...]:
    """The threats of section 5.3 that the probes of an outcome speak to, with None where one couldn't be assessed.

    Anticipation and spillover are low where the estimate moves by up to half of the interval's half-width (one more
    period counted as partly exposed; other comparison areas), moderate up to the whole, and high beyond: our own rule.
    Composition is that of ``sendap.probe.composition``. A protocol that wasn't registered is a moderate threat, since
    nobody can tell whether it was changed; ``deviations`` from a registered one are too.
    """
    half = (float(row["ci_high"]) - float(row["ci_low"])) / 2

    def moved(values: Sequence[float | None]) -> Level | None:
        known = [abs(value - float(row["estimate"])) for value in values if value is not None]
        if not known or not np.isfinite(half) or half <= 0:
            return None
        ratio = max(known) / half
        return "low" if ratio <= 0.5 else "moderate" if ratio <= 1 else "high"

    ahead = probes.get("anticipation", {}).get("rows", [])
    used = next((each["anticipation"] for each in ahead if each["headline"]), 0)
    composition: Level | None = probes.get("composition", {}).get("threat")
    return (
        ("Anticipation", moved([each["estimate"] for each in ahead if each["anticipation"] == used + 1])),
        ("Spillover", moved([each["estimate"] for each in probes.get("donut", {}).get("rows", [])[1:]])),
        ("Composition", composition),
        ("Deviations from the protocol", "low" if registered and not deviations else "moderate"),
    )
