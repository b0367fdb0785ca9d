"""Fairlie's decomposition: children paired one by one, statsmodels' coefficients, planted gaps, refusals."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from disparity.made_groups import from_records, shares
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from sendap.disparity.fairlie import fairlie, switched
from sendap.errors import DesignError, UsageError
from sendap.groups import unfit_words


def children(seed=1, *, n=400, effect=0.0):
    """As many children of A as of B; A is poorer and more often in secondary, both of which raise the outcome."""
    draw = np.random.default_rng(seed)
    group = np.repeat(["A", "B"], n)
    poor = draw.random(2 * n) < np.where(group == "A", 0.6, 0.25)
    phase = draw.choice(["primary", "secondary", "special"], 2 * n, p=[0.5, 0.4, 0.1])
    phase = np.where((group == "A") & (draw.random(2 * n) < 0.2), "secondary", phase)
    linear = -1.2 + 1.1 * poor + 0.7 * (phase == "secondary") + 1.4 * (phase == "special") + effect * (group == "A")
    return pd.DataFrame(
        {
            "g": group,
            "fsm": np.where(poor, "yes", "no"),
            "phase": phase,
            "area": draw.choice([f"L{at}" for at in range(12)], 2 * n),
            "y": 100.0 * (draw.random(2 * n) < special.expit(linear)),
        }
    )


def coefficients(table):
    x = pd.DataFrame(
        {
            "constant": 1.0,
            "A": (table["g"] == "A").astype(float),
            "yes": (table["fsm"] == "yes").astype(float),
            "secondary": (table["phase"] == "secondary").astype(float),
            "special": (table["phase"] == "special").astype(float),
        }
    )
    return sm.GLM(table["y"] / 100, x, family=sm.families.Binomial()).fit(tol=1e-13).params


def test_children_paired_one_by_one_give_the_same():
    """As many children in each group, so that ranks pair them; coefficients by statsmodels, which stops at 1e-8."""
    table = children(effect=0.3)
    found = fairlie(from_records(table, strata=["g", "fsm", "phase"]), by="g", group="A", reference="B",
                    factors=["fsm", "phase"], draws=9)  # fmt: skip
    b = coefficients(table)
    parts = {
        "fsm": table["fsm"].map({"no": 0.0, "yes": b["yes"]}),
        "phase": table["phase"].map({"primary": 0.0, "secondary": b["secondary"], "special": b["special"]}),
    }
    linear = b["constant"] + parts["fsm"] + parts["phase"]
    pairs = []
    for name in ("A", "B"):
        rows = linear[table["g"] == name].sort_values(kind="stable").index
        pairs.append({factor: values.loc[rows].to_numpy() for factor, values in parts.items()})
    total = dict.fromkeys(parts, 0.0)
    for order in permutations(parts):
        now = dict(pairs[1])
        for factor in order:
            before = special.expit(b["constant"] + now["fsm"] + now["phase"])
            now[factor] = pairs[0][factor]
            total[factor] += 100 * (special.expit(b["constant"] + now["fsm"] + now["phase"]) - before).mean() / 2
    detail = found.detail.set_index("factor")["explained"]
    assert found.orders == 2
    # Ties in the predicted outcome are children of one profile, so how they are paired doesn't matter.
    assert detail["fsm"] == pytest.approx(total["fsm"], abs=1e-6)
    assert detail["phase"] == pytest.approx(total["phase"], abs=1e-6)
    gap = table.groupby("g")["y"].mean()
    assert found.frame["estimate"].iloc[0] == pytest.approx(gap["A"] - gap["B"])
    whole = special.expit(linear).groupby(table["g"]).mean()
    assert found.frame["estimate"].iloc[1] == pytest.approx(100 * (whole["A"] - whole["B"]), abs=1e-6)


@settings(max_examples=60)
@given(st.data())
def test_parts_add_up_in_any_order_and_vanish_where_groups_are_alike(data):
    profile = np.array([(a, b) for a in range(3) for b in range(2)])
    weights = [np.array(data.draw(st.lists(st.integers(1, 20), min_size=6, max_size=6)), dtype=float) for _ in range(2)]
    first, second = (each / each.sum() for each in weights)
    effects = [np.array([0.0, *data.draw(st.lists(st.floats(-2, 2), min_size=2, max_size=2))]), np.array([0.0, 0.8])]
    orders = list(permutations(range(2)))
    parts = switched(profile, [first, second], effects, -0.4, orders)
    mean = special.expit(-0.4 + effects[0][profile[:, 0]] + effects[1][profile[:, 1]])
    # Floating point adds up to 1e-12.
    assert parts.sum() == pytest.approx(first @ mean - second @ mean, abs=1e-12)
    assert switched(profile, [first, first], effects, -0.4, orders) == pytest.approx(0, abs=1e-12)
    assert switched(profile, [second, first], effects, -0.4, orders).sum() == pytest.approx(-parts.sum(), abs=1e-12)


def test_a_gap_that_goes_with_poverty_is_explained_and_a_planted_one_is_not():
    explained = fairlie(from_records(children(3, n=4000), strata=["g", "fsm", "phase"]), by="g", group="A",
                        reference="B", factors=["fsm", "phase"])  # fmt: skip
    rest = explained.frame.set_index("part").loc["not explained by the measured factors"]
    assert rest["low"] < 0 < rest["high"]
    assert explained.frame.set_index("part").loc["explained", "low"] > 0
    planted = fairlie(from_records(children(3, n=4000, effect=0.6), strata=["g", "fsm", "phase"]), by="g", group="A",
                      reference="B", factors=["fsm", "phase"])  # fmt: skip
    assert planted.frame.set_index("part").loc["not explained by the measured factors", "low"] > 0
    said = planted.sentence()
    assert "is explained by free school meals and type of school" in said
    assert "not explained by the measured factors" in said
    assert "discrimination" not in said
    assert unfit_words(said) == []


def test_what_it_refuses():
    table = children()
    cells = from_records(table, strata=["g", "fsm", "phase"])
    with pytest.raises(UsageError, match="other than the one"):
        fairlie(cells, by="g", group="A", reference="B", factors=["g"])
    with pytest.raises(UsageError, match="no group 'Q'"):
        fairlie(cells, by="g", group="Q", reference="B", factors=["fsm"])
    few = shares(
        pd.DataFrame({"g": ["A", "B", "B"], "fsm": ["yes", "yes", "no"], "yes": [2, 30, 20], "n": [5, 60, 60]}),
        strata=["g", "fsm"],
    )
    with pytest.raises(DesignError, match="fewer than 10"):
        fairlie(few, by="g", group="A", reference="B", factors=["fsm"])
    mean = table.assign(y=table["y"] + np.arange(len(table)) / 7)
    with pytest.raises(DesignError, match="isn't a share"):
        fairlie(from_records(mean, strata=["g", "fsm"]), by="g", group="A", reference="B", factors=["fsm"])
