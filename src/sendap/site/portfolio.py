"""The portfolio: one row a pilot, sorted by confidence and then by name, never by effect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sendap.site.banners import SOME_MADE_UP, SYNTHETIC, status, warning
from sendap.site.found import FoundRun, GuardSaid, Summary
from sendap.site.markup import anchor, heading, items, linked_table, paragraph, raw, text

GUARD_ORDER = ("serious harm", "harm", "possible harm", "cannot tell", "no harm beyond the margin")
INTRODUCTION = (
    "These pages say what happened after each part of the SEND and alternative provision Change Programme was tried "
    "out, and how sure anyone can be that it made the difference. Each pilot has one Board page to read in three "
    "minutes, and a full report behind it. A pilot that we can't be sure about is shown like any other: not knowing "
    "is a finding too."
)
CONFIDENCE_KEY = (
    "High: areas were compared fairly, the answer is exact enough, and few figures are missing.",
    "Moderate: a fair comparison, with one weakness that could change the answer.",
    "Low: the answer may well change when more figures come in.",
    "Very low: do not decide anything on this answer alone.",
    "“At most” means that one check has not been made yet, so the word can only go down.",
)
GUARD_KEY = (
    "No harm beyond the margin: even the worst case that fits the figures is too small to matter.",
    "Cannot tell: the figures rule out neither harm nor safety.",
    "Possible harm: the best estimate points to harm, and the figures don't rule it out.",
    "Harm, or serious harm: the figures show harm. A pilot with harm is never called a success.",
)


def guard_words(guards: Sequence[GuardSaid]) -> str:
    """How many harms were looked for, with the verdicts counted and the worst one named."""
    if not guards:
        return "None looked for"
    counts = Counter(guard.verdict for guard in guards)
    known = [verdict for verdict in GUARD_ORDER if verdict in counts]
    verdicts = known + sorted(set(counts) - set(GUARD_ORDER))
    parts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in verdicts)
    worst = next(guard for guard in guards if guard.verdict == verdicts[0])
    named = "" if worst.verdict == GUARD_ORDER[-1] else f". Worst: {worst.verdict} ({worst.name})"
    return f"{len(guards)} looked for: {parts}{named}"


def _row(found: FoundRun) -> list[str]:
    said = found.summary
    board, report = (f"pages/{found.page_folder}/{page}.html" for page in ("board", "report"))
    name = text(said.name)
    mark = f'<strong class="sendap-tag">{SYNTHETIC}</strong> ' if said.synthetic else ""
    first = (
        f'{mark}<a href="{board}">{name}</a>'
        f'<span class="sendap-minor">{text(said.reach)}</span>'
        f'<span class="sendap-minor">{text(said.dates)}</span>'
    )
    whose = f'<span class="sendap-hidden"> of {name}</span>'
    links = (
        f'<ul class="sendap-links"><li><a href="{board}">Board page{whose}</a></li>'
        f'<li><a href="{report}">Full report{whose}</a></li></ul>'
    )
    return [
        first,
        text(said.question),
        text(said.headline) + (f" {text(said.per_hundred)}" if said.per_hundred else ""),
        f"<strong>{text(said.confidence)}</strong>",
        text(guard_words(said.guards)),
        _data(said),
        links,
    ]


def _data(said: Summary) -> str:
    if said.synthetic:
        return "Synthetic"
    return "None yet" if said.kind == "description" and not said.primary else "Published"


def _count(tested: int, invented: int, described: int) -> str:
    """How many pilots have been tested. Synthetic data test nothing, and a description claims no effect."""
    words = f"{tested or 'No'} {'pilots have' if tested > 1 else 'pilot has'} been tested so far."
    if invented:
        words += f" {invented} {'is' if invented == 1 else 'are'} shown with synthetic data, which test nothing."
    if described:
        words += f" {described} {'is' if described == 1 else 'are'} described only, and no effect is claimed."
    return words


def portfolio(found: Sequence[FoundRun]) -> str:
    """The portfolio as Markdown, to be included in the home page."""
    invented = sum(each.summary.synthetic and each.summary.kind == "impact" for each in found)
    described = sum(each.summary.kind == "description" for each in found)
    everything = invented == len(found)
    banner = warning(f"<strong>{SYNTHETIC}.</strong> {text(SOME_MADE_UP)}") if invented else ""
    if everything:
        banner = warning(f"<strong>{SYNTHETIC}.</strong> Every row below is made from synthetic records.")
    count = _count(len(found) - invented - described, invented, described)
    order = (
        "Those on real figures come first, in order of how sure we are, then by name. They are not in order of how "
        "well they did, and their results can't be compared with each other."
    )
    columns = ("Pilot", "Question", "What we found", "How sure", "Harms looked for", "Data", "Read more")
    table = linked_table("Pilots, and what was found", columns, (_row(each) for each in found), cards=True)
    latest = max(each.manifest.finished for each in found)
    return "\n".join(
        [
            raw(banner + status(synthetic=everything) + f'<p class="sendap-lead">{text(INTRODUCTION)}</p>'),
            heading("The pilots", anchor("pilots")),
            raw(paragraph(f"{count} {order if len(found) > 1 else ''}") + table),
            heading("What “how sure” means", anchor("how sure")),
            raw(
                paragraph(
                    "The word is worked out from the figures by a fixed rule: the kind of comparison, how exact the "
                    "answer is, how many figures are missing, and what could have gone wrong. Nobody chooses it."
                )
                + items(CONFIDENCE_KEY)
            ),
            heading("What the harms column means", anchor("harms")),
            raw(
                paragraph("The protocol of each pilot lists the harms to watch for. Each has one verdict.")
                + items(GUARD_KEY)
                + '<p><a href="methods.html">How to read these pages</a> explains the words and the method.</p>'
                + paragraph(f"The latest of these results was made on {latest.day} {latest:%B %Y}.")
            ),
        ]
    )
