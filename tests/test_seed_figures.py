"""Figures of the Plan that protocols repeat keep the Plan's hedge word and name its paragraph.

Reports take such figures from protocols alone, so what holds here holds in every report.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

BESIDE = Path(__file__).resolve().parents[2] / "shared"
NUMBER = r"(?:£\s?)?\d[\d,.]*\d(?:\s?(?:million|billion|%))?|(?:£\s?)?\d\s?(?:million|billion)"
YEAR = r"(?:19|20)\d\d"
SAME = {"minimum": ("minimum", "at least")}
TEXTS = ("question", "reach", "status", "assignment", "cost", "next_steps", "why_no_effect")


@pytest.fixture(scope="module")
def plan():
    """The figures of the Plan and the letter with their hedge words, and the text of both."""
    folder = Path(os.environ.get("SENDAP_SEEDS") or BESIDE)
    if not (folder / "seed_figures.yaml").is_file():
        pytest.skip("the Plan's figures aren't on this machine: name their folder with SENDAP_SEEDS")
    figures = yaml.safe_load((folder / "seed_figures.yaml").read_text(encoding="utf-8"))["figures"]
    text = " ".join(path.read_text(encoding="utf-8") for path in sorted((folder / "seeds").glob("*.txt")))
    return figures, plain(text)


def plain(text: str) -> str:
    return " ".join(text.replace("’", "'").replace("‘", "'").replace("“", '"').replace("”", '"').split())


@pytest.fixture(scope="module")
def written(checkout):
    """What each protocol says to a reader, and the paragraphs it names."""
    found = {}
    for path in sorted((checkout / "analysis").glob("*/protocol.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        texts = [str(content.get(name) or "") for name in TEXTS]
        texts += [*content["theory_of_change"], *content["unknowns"], *content.get("not_yet_measured", [])]
        texts += [str(each.get(name) or "") for each in content["outcomes"] for name in ("why", "population")]
        found[content["id"]] = (plain(" ".join(texts)), content["seed_references"])
    return found


def hedged(figures, text):
    """Each hedged figure of three digits or more, or in millions, with its number as the Plan writes it."""
    for figure in figures:
        if "bound" not in figure:
            continue
        quote = plain(figure["quote"])
        assert quote.lower() in text.lower(), f"{figure['id']} isn't in the Plan"
        numbers = [each for each in re.findall(NUMBER, quote) if len(re.sub(r"\D", "", each)) >= 3 or "illion" in each]
        for number in numbers:
            at = quote.find(number)
            if figure["bound"].lower() in quote[max(0, at - 25) : at].lower() and not re.fullmatch(YEAR, number):
                yield figure, number.strip()


def hedges(figures, number):
    """The hedge words that the Plan has for a number: two figures may share it."""
    own = {str(each["bound"]).lower() for each in figures if "bound" in each and number in plain(each["quote"])}
    own |= {"estimated" for each in figures if f"estimated {number}" in plain(each["quote"])}
    return own | {again for hedge in own for again in SAME.get(hedge, ())}


def pattern(figures, figure, number):
    """What to look for: the number, with the Plan's next word where another figure has the same number unhedged."""
    found = rf"(?<![\d,.£]){re.escape(number)}(?![\d,]|\.\d)"
    bare = any("bound" not in other and number in plain(other["quote"]) for other in figures)
    following = plain(figure["quote"]).partition(number)[2].split()
    return rf"{found}\s+{re.escape(following[0])}" if bare and following else found


def test_the_plan_has_hedged_figures_to_look_for(plan):
    figures, text = plan
    known = {figure["id"]: number for figure, number in hedged(figures, text)}
    assert len(known) >= 10
    assert any(number.startswith("2,500") for number in known.values())


def test_a_hedged_figure_keeps_its_hedge_word_in_every_protocol(plan, written):
    figures, text = plan
    bare = []
    used = 0
    for figure, number in hedged(figures, text):
        for pilot, (said, _) in written.items():
            for match in re.finditer(pattern(figures, figure, number), said):
                used += 1
                before = said[max(0, match.start() - 30) : match.start()].lower()
                if not any(word in before for word in hedges(figures, number)):
                    around = said[max(0, match.start() - 40) :][:80]
                    bare.append(f"{pilot}: '{number}' without '{figure['bound']}': ...{around}")
    assert used >= 3, "no protocol repeats a hedged figure, so this test would hold nothing"
    assert not bare, "\n".join(bare)


def test_a_protocol_that_repeats_a_figure_names_its_paragraph(plan, written):
    figures, text = plan
    unnamed = []
    for figure, number in hedged(figures, text):
        paragraph = str(figure["ref"]).split("@")[0]
        for pilot, (said, references) in written.items():
            repeated = re.search(rf"{re.escape(figure['bound'])}\s+{re.escape(number)}", said, re.IGNORECASE)
            if repeated and paragraph not in references and f"({paragraph})" not in said:
                same = {str(other["ref"]).split("@")[0] for other, again in hedged(figures, text) if again == number}
                if not same & set(references):
                    unnamed.append(f"{pilot}: '{figure['bound']} {number}' is of paragraph {paragraph}")
    assert not unnamed, "\n".join(unnamed)
