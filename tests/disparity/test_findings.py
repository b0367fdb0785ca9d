"""Findings of a table by group: planted reversals and gaps are found and worded, and nothing where nothing was."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from disparity.made_groups import shares
from disparity.made_tables import made_counts, made_table

from sendap.disparity.arms import arms_of
from sendap.disparity.decomposition import place_parts
from sendap.disparity.fairlie import fairlie
from sendap.disparity.findings import Findings
from sendap.disparity.gradient import gradient
from sendap.disparity.place import area_gaps, shrunken_shares
from sendap.disparity.relative import relative_triple
from sendap.disparity.spread import spread_by_period
from sendap.groups import unfit_words
from sendap.periods import Month
from sendap.report import disparity_page as page
from sendap.report import disparity_sections as sections

CATALOG = SimpleNamespace()


def reversal(seed=1, *, inside=-0.06, between=0.3):
    """Bangladeshi children live in the areas that place many, and are placed less inside each."""
    draw = np.random.default_rng(seed)
    rows = []
    for at in range(40):
        high = at % 2 == 0
        for period in (2022, 2024):
            level = 0.4 + between * high + draw.normal(0, 0.03)
            for group, n, p in (
                ("Bangladeshi", 150 if high else 30, level + inside),
                ("White British", 300 if high else 900, level),
                ("Irish Traveller", 1 if at < 6 else 0, level),
                ("Unknown", 15, level),
            ):
                if n:
                    rows.append({"area": f"L{at:02d}", "period": period, "ethnicity": group, "n": n,
                                 "yes": draw.binomial(n, p)})  # fmt: skip
            for sex, n in (("Female", 400), ("Male", 700)):
                rows.append(
                    {"area": f"L{at:02d}", "period": period, "sex": sex, "n": n, "yes": draw.binomial(n, level)}
                )
    return rows


@pytest.fixture(scope="module")
def found():
    table = made_table()
    return Findings.of(made_counts(table, reversal()), CATALOG, synthetic=False)


def test_a_planted_reversal_is_found_and_worded(found):
    row = found.parts.set_index(["by", "group"]).loc[("ethnicity", "Bangladeshi")]
    assert row["total_low"] > 0
    assert row["within_high"] < 0
    assert row["within_low"] < -6 < row["within_high"]
    said = str(sections.place_against_group(found))
    assert "Inside the same areas the gap runs the other way" in said
    assert "not what caused it" in said
    # The same gap among children of the same areas turns too.
    alike = found.ladder.set_index(["by", "model", "group"]).loc[("ethnicity", "M2", "Bangladeshi")]
    assert alike["difference_low"] < -6 < alike["difference_high"] < 0


def test_small_groups_have_rows_and_unknown_is_kept(found):
    rows = found.compared("ethnicity").set_index("group")
    assert rows.loc["Irish Traveller", "status"] == "too few to say"
    assert rows.loc["Unknown", "status"] == "ok"
    assert found.others("ethnicity") == ["Bangladeshi"]
    html = page.group_gaps(found).html
    assert "[u]" in html
    assert "too few to say" in html
    assert "Irish Traveller" in html


def test_what_margins_cant_answer_is_listed(found):
    said = " ".join(found.unanswerable)
    assert "How ethnic group and sex go together" in said
    assert "no measure of deprivation" in said
    assert "moon" in said
    assert found.intersections is None
    assert found.gradient is None
    assert "can't be answered from margins" in str(sections.crossed(found))
    assert "no gradient" in str(sections.gradient(found))
    assert found.programme == {}
    assert "can't say what any pilot did" in str(sections.programme(found))


def test_every_section_uses_fit_words_and_the_summary_stays_short(found):
    parts = [
        page.about, page.headline, page.group_gaps, page.alike, page.over_time, page.process, page.cannot, page.checks,
        sections.place, sections.place_against_group, sections.explained, sections.gradient, sections.crossed,
        sections.programme,
    ]  # fmt: skip
    for part in parts:
        text = str(part(found))
        assert text
        assert unfit_words(text) == []
        assert "nan" not in text.lower().split()
        assert "{" not in text
    told = page.summary(found)
    assert 2 <= len(told["findings"]) <= 6
    assert told["synthetic"] is False
    assert set(found.tables()) >= {"gaps", "gaps-by-area", "areas", "between-and-within-areas", "not-recorded"}


class Rollouts:
    """A catalogue with one programme: ten areas start in June 2023, one in 2025."""

    def rollout(self, name):
        assert name == "MADE"
        areas = [SimpleNamespace(la_code=f"L{at:02d}", start=Month.of(2023, 6)) for at in range(16)]
        return SimpleNamespace(areas=[*areas, SimpleNamespace(la_code="L39", start=Month.of(2025, 1))])


def programme(seed, *, group=0.0, reference=0.0):
    draw = np.random.default_rng(seed)
    rows = []
    for at in range(40):
        level = draw.normal(0.5, 0.05)
        for period in (2022, 2024):
            for name, gap, effect, n in (("Pakistani", -0.1, group, 4000), ("White British", 0.0, reference, 6000)):
                p = level + gap + effect * (at < 16 and period == 2024) + draw.normal(0, 0.004)
                rows.append({"area": f"L{at:02d}", "period": period, "ethnicity": name, "n": n,
                             "yes": draw.binomial(n, np.clip(p, 0, 1))})  # fmt: skip
            rows.append(
                {"area": f"L{at:02d}", "period": period, "sex": "Male", "n": 500, "yes": draw.binomial(500, level)}
            )
            rows.append(
                {"area": f"L{at:02d}", "period": period, "sex": "Female", "n": 400, "yes": draw.binomial(400, level)}
            )
    return rows


@pytest.mark.parametrize(
    ("planted", "verdict", "words"),
    [
        ({"group": 0.07}, "narrowed", "The gap narrowed"),
        ({"reference": -0.07}, "narrowed by loss", "only because pupils from the White British ethnic group lost"),
        ({"group": -0.07}, "group harmed", "harmed pupils from the Pakistani ethnic group, who were already behind"),
    ],
)
def test_planted_effects_on_a_gap_are_found_and_worded(planted, verdict, words):
    table = made_table(
        programme={"rollout": "MADE", "before": [2022], "after": [2024], "note": "It began in June 2023."}
    )
    assert arms_of(table, Rollouts()).left_out == ("L39",)
    made = Findings.of(made_counts(table, programme(3, **planted)), Rollouts(), synthetic=True)
    result = made.narrowed(smallest=2.5, margin=3.0)["ethnicity"]
    row = result.frame.iloc[0]
    assert row["verdict"].startswith(verdict)
    assert words in row["sentence"]
    worst = min(planted.values())
    assert result.guard.verdict == ("serious harm" if worst < 0 else "no harm beyond the margin")
    # The page judges without a smallest effect, so it never says that a group stayed the same.
    assert "can’t" not in str(sections.programme(made))
    assert verdict.split()[0] in str(sections.programme(made))
    assert "SYNTHETIC" not in page.headline(made).html
    assert "synthetic data" in str(page.about(made))


def test_gaps_inside_areas_are_drawn_towards_their_mean(found):
    frame = found.area_gaps[(found.area_gaps["by"] == "ethnicity") & (found.area_gaps["group"] == "Bangladeshi")]
    known = frame[frame["status"] == "ok"]
    assert len(known) == 40
    assert (known["gap_low"] <= known["gap"]).all()
    centre = known["shrunk"].mean()
    assert known["shrunk"].std() < known["gap"].std()
    # The mean of 40 areas is known to about 1.1 points: half of them have 150 and 300 children.
    assert centre == pytest.approx(-6, abs=2.5)
    few = found.area_gaps[found.area_gaps["group"] == "Irish Traveller"]
    assert few["gap"].isna().all()
    assert few["shrunk"].isna().all()
    shrunk = shrunken_shares(found.areas.filter(period=[2024])).set_index("cluster")
    raw = found.place.set_index("cluster")
    assert (shrunk["shrunk_low"] < shrunk["shrunk"]).all()
    assert shrunk["shrunk"].std() < raw["rate"].std()
    with_none = area_gaps(found.current("placed"), by="sex", reference="Male")
    assert with_none["status"].eq("ok").all()


def test_the_spread_of_each_year_takes_chance_out():
    """Areas whose true rates differ by 10 points, and then not at all."""
    draw = np.random.default_rng(8)
    rows = []
    for at in range(120):
        for period, spread in ((2022, 0.10), (2024, 0.0)):
            p = float(np.clip(0.5 + draw.normal(0, spread), 0, 1))
            rows.append({"area": f"L{at:03d}", "period": period, "ethnicity": "White British", "n": 200,
                         "yes": draw.binomial(200, p)})  # fmt: skip
            rows.append({"area": f"L{at:03d}", "period": period, "sex": "Male", "n": 200, "yes": 100})
    made = Findings.of(made_counts(made_table(), rows), CATALOG, synthetic=False)
    frame = spread_by_period(made.cells.margin(keep=["ethnicity"]).margin(keep=[])).set_index("period")
    assert frame.loc[2022, "low"] < 10 < frame.loc[2022, "high"]
    assert frame.loc[2024, "spread"] < 1.5
    assert frame.loc[2024, "low"] == 0
    assert frame["areas"].tolist() == [120, 120]


def test_where_nothing_was_planted_little_is_found():
    """15 tables without any gap: more than four intervals without zero would come up in fewer than 1 of 100 sets."""
    found = {"within": 0, "slope": 0, "explained": 0, "ratio": 0}
    for seed in range(15):
        draw = np.random.default_rng(seed)
        rows = []
        for at in range(24):
            level = draw.normal(0.4, 0.05)
            for period in (2022, 2024):
                for name, n in (("A", 60), ("B", 200)):
                    for band in ("1", "2", "3"):
                        size = draw.poisson(n)
                        rows.append((f"L{at:02d}", period, 2024.0 if at < 12 else np.nan, name, band, size,
                                     draw.binomial(size, level)))  # fmt: skip
        frame = pd.DataFrame(rows, columns=["area", "year", "start", "g", "idaci", "n", "yes"])
        cells = shares(frame, strata=["g", "idaci"])
        now = cells.filter(period=[2024])
        parts = place_parts(now, by="g", group="A", reference="B", draws=199).part("within")
        found["within"] += parts["low"] > 0 or parts["high"] < 0
        slope = gradient(now, by="idaci", draws=199).value("slope index")
        found["slope"] += slope["low"] > 0 or slope["high"] < 0
        curved = fairlie(now, by="g", group="A", reference="B", factors=["idaci"], draws=99).frame.iloc[2]
        found["explained"] += curved["low"] > 0 or curved["high"] < 0
        ratio = relative_triple(cells, by="g", group="A", reference="B")
        found["ratio"] += ratio.low > 1 or ratio.high < 1
    assert max(found.values()) <= 4, found
