"""Sex and ethnic groups: their harmonised names, the labels that publishers use for them, their order and words.

Groups are those of the harmonised standard for ethnicity, in the form in which the school census holds them: it
records Gypsy or Roma apart from Irish Traveller, where the population census records Gypsy or Irish Traveller apart
from Roma. The four can't be turned into one another, so each keeps a name of its own.

Sources: Government Statistical Service, ethnicity harmonised standard; Department for Education, acceptable
ethnicity values of the explore education statistics service; Race Disparity Unit, "Writing about ethnicity".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from sendap.errors import DataError, UsageError, did_you_mean

Level = Literal["minor", "major"]

UNKNOWN = "Unknown"
EVERYONE = "(all)"
"""Marks rows that hold all groups together, as cells do."""

ASIAN, BLACK, MIXED, WHITE, OTHER = (
    "Asian / Asian British",
    "Black / African / Caribbean / Black British",
    "Mixed / Multiple ethnic groups",
    "White",
    "Other ethnic group",
)
MAJORS = (ASIAN, BLACK, MIXED, WHITE, OTHER, UNKNOWN)

MINORS: dict[str, str] = {
    "Bangladeshi": ASIAN,
    "Chinese": ASIAN,
    "Indian": ASIAN,
    "Pakistani": ASIAN,
    "Any other Asian background": ASIAN,
    "Black African": BLACK,
    "Black Caribbean": BLACK,
    "Any other Black background": BLACK,
    "Mixed White and Asian": MIXED,
    "Mixed White and Black African": MIXED,
    "Mixed White and Black Caribbean": MIXED,
    "Any other Mixed background": MIXED,
    "Gypsy or Irish Traveller": WHITE,
    "Gypsy or Roma": WHITE,
    "Irish Traveller": WHITE,
    "Roma": WHITE,
    "White British": WHITE,
    "White Irish": WHITE,
    "Any other White background": WHITE,
    "Arab": OTHER,
    "Any other ethnic group": OTHER,
    UNKNOWN: UNKNOWN,
}
"""Each minor group with its major group, in the order of tables: alphabetical by major group and inside it, "any
other" last in its group, then Other, then Unknown."""

REFERENCE_ETHNICITY = "White British"
REFERENCE_CAVEAT = (
    "White British is the reference because it is the largest group, not because it is the norm. Every group is also "
    "compared with the mean of all pupils."
)
SEX_NOTE = "The Plan says gender. The data hold sex, as recorded by schools and local authorities."
CODES_NOTE = (
    "From 2024/25 the codes Asian British and Asian Welsh count as any other Asian background, and Black British and "
    "Black Welsh as any other Black background, so those two groups can't be compared across that year."
)

MALE, FEMALE = "Male", "Female"
SEXES = (FEMALE, MALE, UNKNOWN)

_MINOR_WORDS: dict[str, tuple[str, ...]] = {
    "Any other Asian background": ("other asian", "asian british", "asian welsh"),
    "Black African": ("african",),
    "Black Caribbean": ("caribbean",),
    "Any other Black background": (
        "any other black/african/caribbean background",
        "other black",
        "black british",
        "black welsh",
    ),
    "Mixed White and Asian": ("white and asian",),
    "Mixed White and Black African": ("white and black african",),
    "Mixed White and Black Caribbean": ("white and black caribbean",),
    "Any other Mixed background": (
        "any other mixed/multiple ethnic background",
        "other mixed or multiple ethnic groups",
    ),
    "Gypsy or Roma": ("gypsy/roma", "gypsy roma"),
    "Irish Traveller": ("traveller of irish heritage",),
    "White British": (
        "english/welsh/scottish/northern irish/british",
        "english, welsh, scottish, northern irish or british",
        "not minority ethnic group",
    ),
    "White Irish": ("irish",),
    "Any other White background": ("other white",),
    UNKNOWN: ("unclassified", "refused", "information not yet obtained", "not known", "missing"),
}
_MAJOR_WORDS: dict[str, tuple[str, ...]] = {
    ASIAN: ("asian", "asian total", "asian/asian british", "asian or asian british"),
    BLACK: ("black", "black total", "black/african/caribbean/black british", "black or black british"),
    MIXED: ("mixed", "mixed total", "mixed/multiple ethnic groups"),
    WHITE: ("white", "white total"),
    OTHER: ("other ethnic group", "other"),
}
_TOGETHER = ("total", "all", "all pupils", EVERYONE)
_OVERLAPPING = ("minority ethnic pupil", "ethnic minority group (including white minorities)", "does not apply")
"""Labels of rows that count children of other rows again, or nobody at all."""

_SLIPS = {"bangaladeshi": "bangladeshi", "carribean": "caribbean", "carribbean": "caribbean"}
_PREFIX = re.compile(r"^(?:white|(?:mixed|asian|black)[^:-]*|other ethnic group)\s*[:-]\s*")


def _plain(label: object) -> str:
    """A label as it is compared: lower case, one space, none around a slash, known misspellings put right."""
    text = " ".join(str(label).split()).lower()
    text = re.sub(r"\s*/\s*", "/", text)
    for slip, right in _SLIPS.items():
        text = text.replace(slip, right)
    return re.sub(r"^(?:ethnicity(?: (?:minor|major))?|gender)\s+", "", text)


_MINOR_OF = {_plain(name): name for name in MINORS} | {
    word: name for name, words in _MINOR_WORDS.items() for word in words
}
_MAJOR_OF = {word: name for name, words in _MAJOR_WORDS.items() for word in words}
_SEX_OF = {"male": MALE, "boys": MALE, "boy": MALE, "m": MALE, "female": FEMALE, "girls": FEMALE, "girl": FEMALE}
_SEX_OF |= {"f": FEMALE, "unknown": UNKNOWN, "unclassified": UNKNOWN, "not known": UNKNOWN}
# Older files held gender; the sex of a pupil recorded as "Other" isn't known.
_SEX_OF |= {"other": UNKNOWN}


@dataclass(frozen=True)
class Ethnicity:
    """What a publisher's label means: a minor group, a major group, everyone, or rows that overlap with others."""

    kind: Literal["minor", "major", "everyone", "overlapping"]
    minor: str | None = None
    major: str | None = None


def read_ethnicity(label: object, *, where: str = "") -> Ethnicity:
    """The meaning of one label. Raises DataError, with the nearest known label, for one that isn't known."""
    plain = _plain(label)
    short = _PREFIX.sub("", plain)
    for text in (plain, short):
        if text in _MINOR_OF:
            minor = _MINOR_OF[text]
            return Ethnicity("minor", minor, MINORS[minor])
        if text in _MAJOR_OF:
            return Ethnicity("major", None, _MAJOR_OF[text])
        if text in _TOGETHER:
            return Ethnicity("everyone")
        if text in _OVERLAPPING:
            return Ethnicity("overlapping")
    known = {_plain(name): name for name in (*MINORS, *MAJORS)}
    hint = did_you_mean(short, known)
    for lower, name in known.items():
        hint = hint.replace(f"'{lower}'", f"'{name}'")
    raise DataError(
        f"{where}{': ' if where else ''}'{label}' isn't a known ethnic group.{hint} If publishers use it, add it to "
        "sendap.groups."
    )


def ethnicity(labels: pd.Series, *, level: Level = "minor", where: str = "") -> pd.Series:
    """Harmonised names for a column of publishers' labels, so that ``dropna`` leaves one margin.

    ``level="minor"``: rows of major groups, of everyone and of overlapping groups become missing. ``level="major"``:
    minor groups become their major group, to be added up, and rows of major groups become missing; in a file that
    holds major groups only (older files set Chinese beside them) those are kept and Chinese joins Asian. A missing
    label is Unknown.

    Raises DataError for a label that isn't known, UsageError for another level.
    """
    if level not in ("minor", "major"):
        raise UsageError(f"level must be 'minor' or 'major', not '{level}'.")
    filled = labels.astype(object).where(labels.notna(), UNKNOWN)
    meaning = {label: read_ethnicity(label, where=where) for label in pd.unique(filled)}
    apart = {each.minor for each in meaning.values() if each.kind == "minor"}
    in_detail = bool(apart - {"Chinese", "Any other ethnic group", UNKNOWN})

    def name(each: Ethnicity) -> str | None:
        if level == "minor":
            return each.minor
        return each.major if each.kind == "minor" or (each.kind == "major" and not in_detail) else None

    return filled.map({label: name(each) for label, each in meaning.items()})


def sex(labels: pd.Series, *, where: str = "") -> pd.Series:
    """Male, Female or Unknown for a column of sex or (in older files) gender; totals become missing.

    Raises DataError for a label that isn't known.
    """

    def read(label: object) -> str | None:
        plain = _plain(label)
        if plain in _TOGETHER:
            return None
        if plain in _SEX_OF:
            return _SEX_OF[plain]
        raise DataError(f"{where}{': ' if where else ''}'{label}' isn't a known sex.{did_you_mean(plain, SEXES)}")

    filled = labels.astype(object).where(labels.notna(), UNKNOWN)
    return filled.map({label: read(label) for label in pd.unique(filled)})


def split_sex(labels: pd.Series) -> pd.DataFrame:
    """Labels that end in a sex, as older files cross two characteristics ("Ethnicity Minor Chinese Female").

    Returns ``label`` (what stands before) and ``sex``. Raises DataError for a label without one.
    """
    parts = labels.astype(str).str.strip().str.extract(r"(?i)^(?P<label>.+?)\s+(?P<sex>male|female|boys|girls)$")
    if parts["sex"].isna().any():
        raise DataError(f"'{labels[parts['sex'].isna()].iloc[0]}' doesn't end in a sex (Male or Female).")
    return parts.assign(sex=sex(parts["sex"]))


def in_order(names: Iterable[object]) -> list[str]:
    """Names in the order of tables: harmonised groups as in ``MINORS`` and ``MAJORS``, anything else alphabetical,
    Other and then Unknown last."""
    place = {name: number for number, name in enumerate((*MAJORS[:-2], *list(MINORS)[:-1]))}

    def key(name: str) -> tuple[int, int, str]:
        last = 2 if name == UNKNOWN else 1 if name in ("Other", OTHER) else 0
        return last, place.get(name, -1), name.lower()

    return sorted({str(name) for name in names}, key=key)


STRATA = {
    "ethnicity": "ethnic group",
    "sex": "sex",
    "fsm": "free school meals",
    "sen": "special educational needs",
    "deprivation": "deprivation",
    "idaci": "deprivation",
    "phase": "type of school",
    "year_group": "year group",
    "cluster": "area",
    "period": "year",
}
"""What a stratum of the cells is called in words."""


def stratum_words(name: str) -> str:
    return STRATA.get(name, name)


_SEN_WORDS = {
    "Special educational needs": "with special educational needs",
    "No special educational needs": "without special educational needs",
    "SEN support": "with SEN support",
    "Statement or EHC plan": "with a statement or EHC plan",
}
_FSM_WORDS = {"Eligible": "eligible for free school meals", "Not eligible": "not eligible for free school meals"}


def pupils_in(group: str, *, of: str = "ethnicity", who: str = "pupils") -> str:
    """How a sentence names the children of a group: "pupils from the Black Caribbean ethnic group"."""
    if group == UNKNOWN:
        return f"{who} whose {stratum_words(of)} isn't recorded"
    if of == "sex" and group in (MALE, FEMALE):
        return f"{group.lower()} {who}"
    if of == "fsm" and group in _FSM_WORDS:
        return f"{who} {_FSM_WORDS[group]}"
    if of == "sen" and group in _SEN_WORDS:
        return f"{who} {_SEN_WORDS[group]}"
    if of != "ethnicity":
        return f"{who} in the group {group} ({stratum_words(of)})"
    if group == MIXED:
        return f"{who} with a Mixed ethnic background"
    if MINORS.get(group) == MIXED:
        return (
            f"{who} with {'any other Mixed background' if group.startswith('Any') else f'a {group} ethnic background'}"
        )
    if group == OTHER:
        return f"{who} from any other ethnic group"
    if group.startswith("Any other"):
        return f"{who} from {group[0].lower()}{group[1:]}"
    return f"{who} from the {group} ethnic group"


_UNFIT = {
    r"\bB\.?A\.?M\.?E\b\.?": "name the groups, or write 'ethnic minorities'",
    r"\bBME\b": "name the groups, or write 'ethnic minorities'",
    r"(?i:\bnon-?\s?white\b)": "write 'ethnic minorities (excluding White minorities)'",
    r"(?i:\b(?:people|children|pupils|young people) of colou?r\b)": "name the groups, or write 'ethnic minorities'",
    r"(?i:\bmixed[ -]race\b)": "write 'pupils with a Mixed ethnic background'",
    r"\b(?:Blacks|blacks|Whites|whites|Asians|asians)\b": "write 'pupils from the ... ethnic group'",
    r"(?i:\bgypsy\s?/\s?roma\b)": "write 'Gypsy or Roma', apart from Irish Traveller",
}


def unfit_words(text: str) -> list[str]:
    """Words of a text that government style bars, each with what to write instead; empty for a fit text."""
    return [f"'{match[0]}': {advice}" for pattern, advice in _UNFIT.items() for match in re.finditer(pattern, text)]


def check_words(text: str, *, where: str) -> None:
    """Refuse a text with words that government style bars. Raises DataError naming each, and what to write."""
    found = unfit_words(text)
    if found:
        raise DataError(f"{where}: {'; '.join(found)}.")
