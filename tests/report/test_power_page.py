"""What a pilot could find: blind to its outcomes, and in words that follow from the numbers."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from sendap.errors import UsageError
from sendap.report import power_page
from sendap.runs.power import content, plan_pilot
from sendap.workspace import Workspace

PRIMARY = "plans_within_20_weeks_all"


@pytest.fixture(scope="module")
def planned(checkout, stand_in):
    return plan_pilot(
        "CP", Workspace(checkout, data_dir=stand_in), stand_in, outcomes=[PRIMARY], after=[1, 2], draws=199
    )


def test_no_outcome_from_the_start_on_is_looked_at(planned, broken, checkout):
    """Every figure of 2023 and later is another one: the answer is the same to the last byte."""
    heading, *rows = list(csv.reader(broken.lines(broken.LAIT)))
    generator = np.random.default_rng(1)
    late = [row for row in rows if row[0] == "SEN_EHC_All_20wks" and row[heading.index("Years")] >= "2023"]
    for row in late:
        row[heading.index("Values")] = f"{generator.uniform(0, 100):.1f}"
    assert len(late) > 200
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([heading, *rows])
    broken.write(broken.LAIT, out.getvalue().splitlines())
    again = plan_pilot(
        "CP", Workspace(checkout, data_dir=broken.folder), broken.folder, outcomes=[PRIMARY], after=[1, 2], draws=199
    )
    assert content(again) == content(planned)
    assert power_page.power_text(again) == power_page.power_text(planned)
    assert planned.found[PRIMARY].periods == tuple(range(2016, 2023))


def test_the_plan_is_the_pilots_own(planned):
    found = planned.found[PRIMARY]
    assert found.designs[["treated", "after"]].to_numpy().tolist() == [[32, 1], [32, 2]]
    assert found.designs["before"].tolist() == [7, 7]
    assert found.designs["starts"].tolist() == [4, 3]  # two before are needed, and one is partly exposed
    assert planned.synthetic


def test_words_follow_from_the_numbers(planned):
    outcome = planned.first
    found = planned.found[PRIMARY]
    assert found.best(32, 1) > outcome.smallest_effect
    assert "32 areas followed for 1 period could find a change of" in power_page.sentence(planned, outcome)
    assert "could well be missed" in power_page.sentence(planned, outcome)
    designs = found.designs.assign(simulated=1.0, formula=1.0)
    sharp = replace(planned, found={PRIMARY: replace(found, designs=designs)})
    assert "1.0 percentage points or more in 8 of 10 tries. That is enough" in power_page.sentence(sharp, outcome)
    unknown = replace(planned, found={}, reasons={PRIMARY: f"'{PRIMARY}' has 1 period before."})
    assert power_page.sentence(unknown, outcome).endswith(f"{outcome.heading} has 1 period before.")


def test_the_page_shows_table_figure_and_words_and_marks_synthetic_data(planned):
    for section in (power_page.summary, power_page.designs, power_page.curves, power_page.inputs):
        html = section(planned).html
        assert "nan" not in html.split("base64")[0].lower()
    assert "Synthetic data, not a finding" in power_page.summary(planned).html
    assert "synthetic data, not a finding" in power_page.curves(planned).html
    assert "No outcome from the start of the programme on was looked at" in power_page.summary(planned).html
    nothing = replace(planned, found={}, reasons={PRIMARY: "Nothing."})
    for section in (power_page.designs, power_page.curves, power_page.inputs):
        assert section(nothing).html.startswith("<p>No outcome")


def test_few_areas_are_warned_of_and_wrong_use_is_named(checkout, stand_in, planned):
    workspace = Workspace(checkout, data_dir=stand_in)
    few = plan_pilot("CP", workspace, stand_in, outcomes=[PRIMARY], treated=[3], after=[1], draws=199)
    assert "the formula is too hopeful" in power_page.designs(few).html
    assert "the formula is too hopeful" not in power_page.designs(planned).html
    assert few.found[PRIMARY].best(3, 1) > planned.found[PRIMARY].best(32, 1)
    with pytest.raises(UsageError, match="Did you mean"):
        plan_pilot("CP", workspace, stand_in, outcomes=[PRIMARY + "l"])
    with pytest.raises(UsageError, match="no pilot 'XX'"):
        plan_pilot("XX", workspace, stand_in)
