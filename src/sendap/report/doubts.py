"""Each doubt about a finding, what its probe says, and whether it changes the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from sendap.protocol import Outcome
from sendap.report import probe_words as words
from sendap.report.context import Evaluated
from sendap.report.impact_page import trend_sentence
from sendap.report.output import Html, notice, paragraphs
from sendap.report.style import SYNTHETIC_WORDS
from sendap.report.tables import count, table
from sendap.verdict import earlier_threat

LEADS: Mapping[str, str] = {
    "changed": "The finding is a change. It would be wrong if the areas had been drifting apart anyway, if a choice of "
    "ours or a single area made it, or if the programme reached the areas it is compared with.",
    "too_small": "The finding is a change that may be too small to matter. It would be wrong if the areas had been "
    "drifting apart anyway, or if a choice of ours or a single area made it.",
    "little_or_none": "The finding is little or no difference. It would be wrong if a drift the other way hid a "
    "change, or if the programme reached the areas it is compared with.",
    "cannot_tell": "The finding is that we can't tell. It would be wrong only if another sound choice gave a clear "
    "answer. It isn't a finding that nothing changed.",
    "already_moving": "The finding is that we can't tell, because areas moved apart before the programme as well. It "
    "would be wrong only if those earlier movements had nothing to do with what came after.",
    "not_estimable": "No effect could be estimated, so there is nothing to probe.",
}


def summary(evaluated: Evaluated) -> Html:
    """What would have to be true for the finding to be wrong: each doubt, what was found, and whether it matters."""
    outcome = evaluated.protocol.primary
    finding = evaluated.finding(outcome)
    lead = f"{SYNTHETIC_WORDS.capitalize()}: " if evaluated.synthetic else ""
    said = notice(lead + finding.sentence, "finding") + paragraphs(LEADS[finding.verdict])
    if finding.verdict == "not_estimable":
        return said + paragraphs(finding.because)
    rows = [
        {"If this were so, it would be wrong": doubt, "What we found": found, "Does it change the answer?": verdict}
        for doubt, found, verdict in doubts(evaluated, outcome)
    ]
    perhaps = [row for row in rows if row["Does it change the answer?"] in ("yes", "perhaps")]
    tell = (
        f"Of {len(rows)} doubts, {len(perhaps)} could change the answer."
        if perhaps
        else f"None of {len(rows)} doubts, as far as they could be looked at, changes the answer."
    )
    file = f"{evaluated.protocol.id.lower()}-doubts.csv"
    shown = Html(table(pd.DataFrame(rows), "What would have to be true for this finding to be wrong", file=file))
    return said + paragraphs(tell) + shown


def doubts(evaluated: Evaluated, outcome: Outcome) -> list[tuple[str, str, str]]:
    """Each doubt about one finding, what its probe says, and whether it changes the answer."""
    row = evaluated.headline(outcome)
    claims = evaluated.finding(outcome).verdict in ("changed", "too_small")
    claimed = int(np.sign(row["estimate"])) if claims else 0

    def judged(name: str, rows: Callable[[words.Part], Sequence[words.Part]], **ends: str) -> str:
        found = words.part(evaluated, outcome, name)
        return "can't tell" if "reason" in found else words.changes_answer(claimed, words.sides(rows(found), **ends))

    def listed(found: words.Part) -> Sequence[words.Part]:
        return found["rows"]  # type: ignore[no-any-return]

    def specifications(found: words.Part) -> Sequence[words.Part]:
        return words.curve_frame(found).dropna(subset=["low", "high"]).to_dict("records")

    def detrended(found: words.Part) -> Sequence[words.Part]:
        return [{"low": found["rest_low"], "high": found["rest_high"]}]

    robust = words.part(evaluated, outcome, "robust")
    return [
        *(
            _given_past(evaluated, outcome, claimed)
            if evaluated.given_past(outcome)
            else [
                (
                    "The areas were drifting apart before, and went on",
                    words.drift_words(evaluated, outcome),
                    judged("drift", detrended),
                ),
                (
                    "They drifted apart afterwards in a way the years before don't show",
                    words.robust_words(evaluated, outcome),
                    _borne(robust, claims=claims),
                ),
            ]
        ),
        (
            "Another sound choice tells another story",
            words.curve_words(evaluated, outcome),
            judged("curve", specifications),
        ),
        (
            "It hangs on levels or proportions",
            words.forms_words(evaluated, outcome),
            "can't tell" if evaluated.given_past(outcome) else judged("forms", listed),
        ),
        (
            "The change came before the start",
            words.anticipation_words(evaluated, outcome),
            judged("anticipation", listed),
        ),
        (
            "The programme, or another one, reached the areas compared",
            words.donut_words(evaluated, outcome),
            judged("donut", listed),
        ),
        (
            "Programmes that never were give as much",
            words.groups_words(evaluated, outcome),
            _unusual(words.part(evaluated, outcome, "groups"), claims=claims),
        ),
        (
            "Outcomes that the programme can't move, moved",
            words.outcomes_words(evaluated, outcome),
            _quiet(words.part(evaluated, outcome, "outcomes")),
        ),
        (
            "One area makes it",
            words.influence_words(evaluated, outcome),
            _carried(words.part(evaluated, outcome, "influence"), claims=claims),
        ),
        (
            "Other children are counted than before",
            words.composition_words(evaluated, outcome),
            {"low": "no", "moderate": "perhaps", "high": "yes"}.get(
                str(words.part(evaluated, outcome, "composition").get("threat")), "can't tell"
            ),
        ),
    ]


def _given_past(evaluated: Evaluated, outcome: Outcome, claimed: int) -> list[tuple[str, str, str]]:
    """The doubts about a comparison of areas given their past: the other assumption, and the years before those."""
    row, plain = evaluated.headline(outcome), evaluated.differences(outcome)
    places, trend = words.places_of(evaluated, outcome), evaluated.trends.get(outcome.id)
    low, high = plain["ci_low"], plain["ci_high"]
    known = [{"low": low, "high": high}] if np.isfinite([low, high]).all() else []
    threat = earlier_threat(row, trend)
    treated = f"{count(plain['treated_clusters'])} treated areas, against {count(row['treated_clusters'])}"
    return [
        (
            "Areas would have moved alike whatever their past",
            f"By difference in differences, which assumes that, it is {words.number(plain['estimate'], places)} "
            f"({words.span(low, high, places)}; {treated} in the headline). Neither assumption can be proved.",
            words.changes_answer(claimed, words.sides(known)),
        ),
        (
            "Areas with the same recent figures differed in earlier years",
            trend_sentence(evaluated, outcome),
            "can't tell" if threat is None else "perhaps" if claimed and threat == "high" else "no",
        ),
    ]


def _borne(robust: words.Part, *, claims: bool) -> str:
    value = robust.get("breakdown_relative")
    if value is None:
        return "can't tell"
    if not claims:
        return "no"  # more drift makes a finding that can't tell wider, never clear
    return "no" if value == "infinite" or value >= 1 else "perhaps" if value >= 0.5 else "yes"


def _unusual(groups: words.Part, *, claims: bool) -> str:
    if "draws" not in groups:
        return "can't tell"
    beyond = groups["as_large"] < 0.05
    return "no" if beyond == claims else "perhaps"


def _quiet(outcomes: words.Part) -> str:
    if "rows" not in outcomes:
        return "can't tell"
    found = words.sides(outcomes["rows"])
    return "can't tell" if not found else "no" if found == {0} else "perhaps"


def _carried(influence: words.Part, *, claims: bool) -> str:
    if "areas" not in influence:
        return "can't tell"
    return "perhaps" if claims and influence["changes_sign"] else "no"
