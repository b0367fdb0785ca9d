"""What each probe of a result says, in sentences whose numbers come from the probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sendap.numerals import decimals, show
from sendap.protocol import Outcome
from sendap.report.context import Evaluated
from sendap.report.tables import ESTIMATOR_WORDS, NOT_AVAILABLE
from sendap.verdict import amount

Part = Mapping[str, Any]
CHOICE_WORDS: Mapping[str, str] = {
    "estimator": "the estimator",
    "comparison": "the areas compared",
    "control": "whether areas that start later are compared before they start",
    "weights": "whether areas or children are counted",
    "window": "how many years before are used",
    "anticipation": "how many periods before the start count as partly exposed",
    "region": "whether areas are compared inside their region",
    "form": "levels or logarithms",
}
OPTION_WORDS: Mapping[tuple[str, str], str] = {
    ("control", "never"): "never treated only",
    ("control", "not_yet"): "also those not yet treated",
    ("control", ""): "the estimator's own rule",
    ("region", "none"): "across regions",
    ("region", "region"): "inside regions",
    **{("estimator", name): words for name, words in ESTIMATOR_WORDS.items()},
}
DUST = 1e-9


def part(evaluated: Evaluated, outcome: Outcome, name: str) -> Part:
    """One probe of an outcome: its content, or its ``reason``."""
    missing = {"reason": "It wasn't computed in this run."}
    found: Part = evaluated.probes.get(outcome.id, {}).get(name, missing)
    return found


def reason(found: Part, outcome: Outcome) -> str:
    """Why a probe is missing, with the outcome in words; empty where it's there."""
    return str(found.get("reason", "")).replace(f"'{outcome.id}'", outcome.heading)


def places_of(evaluated: Evaluated, outcome: Outcome) -> int:
    """Decimal places for estimates of an outcome: one more than its uncertainty bears, so that rows can be compared."""
    row = evaluated.headline(outcome)
    return min(decimals((row["ci_high"] - row["ci_low"]) / 4) + 1, 3)


def number(value: float | str | None, places: int) -> str:
    """A number of a probe: missing as ``[x]``, infinite in its word."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return NOT_AVAILABLE
    return value if isinstance(value, str) else show(value, places)


def span(low: float | str | None, high: float | str | None, places: int) -> str:
    if number(low, places) == NOT_AVAILABLE or number(high, places) == NOT_AVAILABLE:
        return NOT_AVAILABLE
    return f"{number(low, places)} to {number(high, places)}"


def size(evaluated: Evaluated, outcome: Outcome, value: float) -> str:
    """A size in the unit of a difference, without its sign."""
    return amount(value, str(evaluated.headline(outcome)["unit"]), places_of(evaluated, outcome))


def up_or_down(value: float) -> str:
    return "a rise" if value > 0 else "a fall"


def share(value: float) -> str:
    """A share in per cent, never 0% or 100% by rounding."""
    shown = round(100 * value)
    if shown == 0 and value > DUST:
        return "under 1%"
    if shown == 100 and value < 1 - DUST:
        return "over 99%"
    return f"{shown}%"


def option_words(choice: str, option: str) -> str:
    if choice == "anticipation":
        return f"{option} period{'' if option == '1' else 's'} partly exposed"
    return OPTION_WORDS.get((choice, option), option)


def curve_words(evaluated: Evaluated, outcome: Outcome) -> str:
    found = part(evaluated, outcome, "curve")
    if "rows" not in found:
        return reason(found, outcome)
    frame, places = curve_frame(found), places_of(evaluated, outcome)
    main = frame[frame["headline"]].iloc[0]
    text = (
        f"We estimated it in {len(frame)} ways. {share(found['same_sign'])} of the estimates point the same way as the "
        f"headline, {up_or_down(main['estimate'])}"
    )
    if found["inside"] is not None:
        text += f", and {share(found['inside'])} lie inside its 95% interval"
    text += f". They run from {span(frame['estimate'].min(), frame['estimate'].max(), places)}."
    if found["intervals"]:
        above, below = found["above"], found["below"]
        text += f" Of the {found['intervals']} that have an interval of their own, "
        text += (
            f"{above or 'none'} lie wholly above zero and {below or 'none'} wholly below."
            if above or below
            else "all include no change."
        )
    return f"{text} {largest_choice_words(found, places)}".strip()


def largest_choice_words(found: Part, places: int) -> str:
    rows = [row for row in found["choices"] if row["choice"] == found["largest_choice"]]
    if len(rows) < 2:
        return ""
    low, high = min(rows, key=lambda row: row["median"]), max(rows, key=lambda row: row["median"])
    name = str(found["largest_choice"])
    return (
        f"What matters most is {CHOICE_WORDS[name]}: the middle estimate is {show(low['median'], places)} with "
        f"{option_words(name, low['option'])} and {show(high['median'], places)} with "
        f"{option_words(name, high['option'])}."
    )


def curve_frame(found: Part) -> pd.DataFrame:
    """The specifications as a table, with missing ends of intervals as numbers."""
    frame = pd.DataFrame(found["rows"], columns=found["columns"])
    return frame.astype({"estimate": float, "low": float, "high": float, "headline": bool})


def drift_words(evaluated: Evaluated, outcome: Outcome) -> str:
    found = part(evaluated, outcome, "drift")
    if "slope" not in found:
        return reason(found, outcome)
    places = places_of(evaluated, outcome)
    same = show(found["estimate"], places) == show(evaluated.differences(outcome)["estimate"], places)
    estimate = "The estimate" if same else "The estimate, over the years that at least six areas have reached,"
    end = (
        "Allowing for that drift, it could be a rise or a fall."
        if found["rest_low"] <= 0 <= found["rest_high"]
        else f"That is {up_or_down(found['rest'])} even when the drift is allowed for."
    )
    return beside(
        evaluated,
        outcome,
        f"Before the start the difference between programme and other areas was as large as "
        f"{size(evaluated, outcome, found['largest'])}. A straight line through those years moves by "
        f"{show(found['slope'], places)} a year. Going on, it would put the difference since the start at "
        f"{show(found['expected'], places)}. {estimate} is {show(found['estimate'], places)}, so "
        f"{show(found['rest'], places)} is left ({span(found['rest_low'], found['rest_high'], places)}). {end}",
    )


def beside(evaluated: Evaluated, outcome: Outcome, said: str) -> str:
    """What a probe of the difference in differences says, with whose it is where another estimator leads."""
    if not evaluated.given_past(outcome):
        return said
    return f"In the difference in differences beside the headline, {said[0].lower()}{said[1:]}"


def robust_words(evaluated: Evaluated, outcome: Outcome) -> str:
    """How much drift the finding would bear, with the largest step seen before."""
    found = part(evaluated, outcome, "robust")
    if "sets" not in found:
        return reason(found, outcome)
    places = places_of(evaluated, outcome)
    alike = next((row for row in found["sets"] if (row["restriction"], row["bound"]) == ("relative", 1.0)), None)
    step = f"The largest step from one year to the next before the start was {show(found['largest_step'], places)}."
    step = beside(evaluated, outcome, step)
    if alike is None:
        return f"{step} {found['note']}"
    wide = f"If areas may part as much again, the interval is {span(alike['low'], alike['high'], places)}."
    return f"{step} {wide} {found['sentence']}"


def forms_words(evaluated: Evaluated, outcome: Outcome) -> str:
    found = part(evaluated, outcome, "forms")
    if "rows" not in found:
        return reason(found, outcome)
    known = [row for row in found["rows"] if row["estimate"] is not None]
    places = places_of(evaluated, outcome)
    listed = ", ".join(f"{show(row['estimate'], places)} in {row['form']}" for row in known)
    notes = " ".join(f"{row['form'].capitalize()}: {row['note']}" for row in found["rows"] if row["note"])
    if len(known) < 2:
        return f"Only one form could be used: {listed}. {notes}".strip()
    verdict = "The sign depends on the form" if found["sign_depends"] else "The sign doesn't depend on the form"
    return beside(evaluated, outcome, f"{verdict}: {listed}. {notes}".strip())


def anticipation_words(evaluated: Evaluated, outcome: Outcome) -> str:
    found = part(evaluated, outcome, "anticipation")
    if "rows" not in found:
        return reason(found, outcome)
    places = places_of(evaluated, outcome)
    listed = [
        f"{show(row['estimate'], places)} with {row['anticipation']}"
        for row in found["rows"]
        if row["estimate"] is not None
    ]
    used = next((row["anticipation"] for row in found["rows"] if row["headline"]), 0)
    return (
        f"The headline counts {used} period{'' if used == 1 else 's'} before the start as partly exposed. The estimate "
        f"is {', '.join(listed)}. If areas had changed in advance, it would move as the base moves back."
    )


def donut_words(evaluated: Evaluated, outcome: Outcome) -> str:
    found = part(evaluated, outcome, "donut")
    if "rows" not in found:
        return reason(found, outcome)
    places = places_of(evaluated, outcome)
    first, *others = found["rows"]
    listed = [
        f"{show(row['estimate'], places)} with {row['comparison']}"
        if not row["comparison"].startswith("without")
        else f"{show(row['estimate'], places)} {row['comparison']}"
        for row in others
        if row["estimate"] is not None
    ]
    text = f"{near_words(found)} The estimate is {show(first['estimate'], places)}"
    return f"{text}; it becomes {', '.join(listed)}." if listed else f"{text}; no other comparison could be made."


def near_words(found: Part) -> str:
    near = found.get("near")
    if near is None:
        return "The regions of areas aren't known, so neighbours can't be told."
    return (
        f"{'All' if near == 1 else share(near)} of the comparison areas lie in a region with an area of the programme, "
        "and could have been reached by it."
    )


def groups_words(evaluated: Evaluated, outcome: Outcome) -> str:
    found = part(evaluated, outcome, "groups")
    if "draws" not in found:
        return reason(found, outcome)
    places = places_of(evaluated, outcome)
    return (
        f"We pretended {found['draws']} times that {found['treated']} of {found['untreated']} areas without the "
        f"programme had it. 95% of these estimates lie between {show(found['low'], places)} and "
        f"{show(found['high'], places)}, and {share(found['as_large'])} are at least as large, either way, as the real "
        f"one ({show(found['real'], places)})."
    )


def outcomes_words(evaluated: Evaluated, outcome: Outcome) -> str:
    found = part(evaluated, outcome, "outcomes")
    if "rows" not in found:
        return reason(found, outcome)
    known = [row for row in found["rows"] if row["low"] is not None]
    moved = [row for row in known if row["low"] > 0 or row["high"] < 0]
    if not known:
        return "No outcome that the programme can't move has an interval."
    return (
        f"Of {len(known)} outcomes that the programme can't move, {len(moved)} "
        f"{'has' if len(moved) == 1 else 'have'} an interval that excludes no change."
    )


def composition_words(evaluated: Evaluated, outcome: Outcome) -> str:
    found = part(evaluated, outcome, "composition")
    if "missing" not in found:
        return reason(found, outcome)
    before, after, other_before, other_after = (share(each) for each in found["missing"])
    gaps = (
        f"Figures are missing for {before} of programme areas and years before the start and {after} since, and for "
        f"{other_before} and {other_after} of the others."
    )
    if "counted" not in found:
        return f"These figures are published as rates without counts, so how many are counted can't be followed. {gaps}"
    middle, low, high = found["counted"]
    between = f" ({span(low, high, 0)}%)" if low is not None else ""
    more = "more" if middle > 0 else "fewer"
    counted = outcome.counted or "records"
    return f"Against other areas, {show(abs(middle), 0)}% {more} {counted} are counted since the start{between}. {gaps}"


def regions_words(evaluated: Evaluated, outcome: Outcome) -> str:
    found = part(evaluated, outcome, "regions")
    known = [row for row in found.get("rows", []) if row["estimate"] is not None]
    if not known:
        return reason(found, outcome)
    places = places_of(evaluated, outcome)
    low, high = min(known, key=lambda row: row["estimate"]), max(known, key=lambda row: row["estimate"])
    return (
        f"Leaving out one region at a time gives from {show(low['estimate'], places)} (without {low['region']}) to "
        f"{show(high['estimate'], places)} (without {high['region']})."
    )


def influence_words(evaluated: Evaluated, outcome: Outcome) -> str:
    found = part(evaluated, outcome, "influence")
    if "areas" not in found:
        return reason(found, outcome)
    places = places_of(evaluated, outcome)
    names = " and ".join(str(row["name"]) for row in found["areas"][:2])
    turned = found["changes_sign"]
    text = (
        f"Leaving out one area at a time gives from {span(found['low'], found['high'], places)}. {names} matter most."
    )
    if turned:
        text += f" Without {'one' if turned == 1 else f'any of {turned}'} of them it would point the other way."
    return text


def detectable_words(evaluated: Evaluated, outcome: Outcome) -> str:
    """What could have been found, from the years before, and what the smallest effect that matters would look like."""
    found = part(evaluated, outcome, "detectable")
    if "treated" not in found:
        return reason(found, outcome)
    best = found.get("simulated") or found.get("formula")
    if best is None:
        text = f"What could have been found can't be judged from the years before: {found['why']}".replace(
            f"'{outcome.id}'", outcome.heading
        )
    else:
        how = "by pretending it in earlier years" if found.get("simulated") else "by the formula"
        text = (
            f"Judged from the years before the start, {how}, this design finds a change of "
            f"{size(evaluated, outcome, best)} in 8 of 10 tries, and probably misses a smaller one."
        )
    if "smallest" in found and 0 < found["chance"] < 0.995:
        text += (
            f" A true change of {found['smallest']:g}, the smallest that matters, would be told from none in "
            f"{share(found['chance'])} of studies like this one; when it was, the estimate would be "
            f"{found['exaggeration']:.1f} times too large on average."
        )
    return text


def sides(rows: Sequence[Part], *, low: str = "low", high: str = "high") -> set[int]:
    """On which sides of zero the intervals of some rows lie: 1 above, -1 below, 0 for those that include it."""
    return {
        1 if row[low] > 0 else -1 if row[high] < 0 else 0
        for row in rows
        if row.get(low) is not None and row.get(high) is not None
    }


def changes_answer(claimed: int, found: set[int]) -> str:
    """Whether other intervals tell another story than the finding: "no", "perhaps", "yes" or "can't tell".

    ``claimed`` is the side of zero that the finding claims, 0 where it claims no change of direction. "yes" needs an
    interval on the opposite side, or, where nothing is claimed, intervals on both sides.
    """
    if not found:
        return "can't tell"
    if found == {claimed}:
        return "no"
    opposite = {1, -1} <= found if claimed == 0 else -claimed in found
    return "yes" if opposite else "perhaps"
