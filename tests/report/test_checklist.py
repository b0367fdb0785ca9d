"""The design checklist: every item filled from facts, and nothing made with an empty one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sendap.errors import DesignError
from sendap.report.checklist import ITEMS, checklist, require_all

NAMES = [
    "Target parameter", "Treatment timing", "Assignment story", "Comparison group", "Parallel trends", "Raw series",
    "Pre-trends", "No anticipation", "Spillover", "Covariates", "Estimator", "Overlap", "Composition",
    "Functional form", "Inference", "Sensitivity to trend failure", "Placebos", "Heterogeneity", "Guards",
    "What could be found", "Deviations", "Data breaks",
]  # fmt: skip


def with_protocol(evaluated, **changes):
    return replace(evaluated, protocol=evaluated.protocol.model_copy(update=changes))


def item(evaluated, name):
    return ITEMS[name](evaluated)


def test_the_report_carries_the_22_items_of_the_standard_in_order(evaluated):
    assert list(ITEMS) == NAMES
    html = checklist(evaluated).html
    places = [html.index(f">{at}. {name}<") for at, name in enumerate(NAMES, 1)]
    assert places == sorted(places)
    assert all(ITEMS[name](evaluated).strip() for name in NAMES)
    assert "nan" not in html.lower().replace("finan", "")


def test_an_empty_item_fails_the_report_by_name(evaluated):
    with pytest.raises(DesignError, match=r"nothing for item 3 \(Assignment story\)"):
        checklist(with_protocol(evaluated, assignment="  "))
    bare = evaluated.protocol.comparison.model_copy(update={"rule": ""})
    with pytest.raises(DesignError, match=r"items 3 \(Assignment story\), 4 \(Comparison group\)"):
        checklist(with_protocol(evaluated, assignment="", comparison=bare))


@pytest.mark.parametrize("name", NAMES)
def test_any_item_that_is_missing_or_blank_is_refused(name):
    full = dict.fromkeys(NAMES, "said")
    require_all(full)
    for emptied in ({**full, name: " \n"}, {key: value for key, value in full.items() if key != name}):
        with pytest.raises(DesignError, match=rf"item {NAMES.index(name) + 1} \({name}\)"):
            require_all(emptied)


def test_items_that_cant_apply_say_why_from_facts(evaluated):
    assert item(evaluated, "Treatment timing").startswith(
        "Not staggered: one start, first treated period 2024 (32 areas)."
    )
    assert "there is one year" in item(evaluated, "Heterogeneity")
    assert item(evaluated, "Deviations").startswith("1 recorded")
    assert "wasn't registered" in item(evaluated, "Deviations")
    kept = with_protocol(evaluated, registered=True, deviations=())
    assert item(kept, "Deviations") == "None is recorded."
    assert "names no outcome that the programme can't move" in item(evaluated, "Placebos")
    alone = evaluated.protocol.comparison.model_copy(update={"within": None})
    assert item(with_protocol(evaluated, comparison=alone), "Covariates").startswith("The outcome itself in the last")
    plain = with_protocol(evaluated, comparison=alone, headline="group_time")
    assert "None: the protocol names none" in item(plain, "Covariates")
    quiet = replace(evaluated, probes={})
    for name in ("Spillover", "Functional form", "Composition", "No anticipation", "Sensitivity to trend failure"):
        assert "wasn't computed" in item(quiet, name)


def test_numbers_are_those_of_the_results(evaluated):
    row = evaluated.headline(evaluated.protocol.primary)
    assert f"{int(row['treated_clusters'])} treated areas in 2024" in item(evaluated, "Target parameter")
    assert f"{int(row['clusters'])} areas, {int(row['treated_clusters'])} treated" in item(evaluated, "Inference")
    assert f"{int(row['clusters'] - row['treated_clusters'])} areas are compared" in item(evaluated, "Comparison group")
    assert "City of London" in item(evaluated, "Comparison group")
    verdict, _ = evaluated.guard(evaluated.of_family("guard")[0])
    assert item(evaluated, "Guards").endswith(f"margin 3, {verdict}.")
    weights = evaluated.probes[evaluated.protocol.primary.id]["weights"]
    assert f"{weights['negative']} of {weights['cells']} treated" in item(evaluated, "Estimator")
    known = len(evaluated.catalog.breaks) >= len(evaluated.protocol.breaks_crossed)
    assert known
    assert item(evaluated, "Data breaks").startswith(f"{len(evaluated.protocol.breaks_crossed)} breaks are crossed")
