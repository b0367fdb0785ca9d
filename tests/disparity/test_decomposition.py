"""Kitagawa, between and within areas, Oaxaca-Blinder: the standard's fixture, brute force, statsmodels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from disparity.made_groups import from_records, shares
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.oaxaca import OaxacaBlinder

from sendap.disparity.decomposition import kitagawa, place_parts, place_parts_change
from sendap.disparity.oaxaca import oaxaca
from sendap.errors import DesignError, UsageError
from sendap.groups import unfit_words


def test_the_fixture_of_the_standard():
    found = kitagawa(w1=[0.4, 0.6], w0=[0.7, 0.3], r1=[0.5, 0.2], r0=[0.6, 0.3])
    assert (found.total, found.composition, found.rates) == pytest.approx((-0.19, -0.09, -0.10))
    with pytest.raises(UsageError, match="sum to one"):
        kitagawa(w1=[0.4, 0.4], w0=[0.7, 0.3], r1=[0.5, 0.2], r0=[0.6, 0.3])
    with pytest.raises(UsageError, match="missing"):
        kitagawa(w1=[0.4, 0.6], w0=[0.7, 0.3], r1=[0.5, np.nan], r0=[0.6, 0.3])
    alone = kitagawa(w1=[1.0, 0.0], w0=[0.5, 0.5], r1=[0.4, np.nan], r0=[0.4, 0.2])
    assert (alone.composition, alone.rates) == pytest.approx((0.1, 0.0))


@given(
    st.lists(
        st.tuples(st.integers(1, 50), st.integers(1, 50), st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=6
    )
)
def test_parts_add_up_and_turn_with_the_groups(rows):
    w1, w0, r1, r0 = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    w1, w0 = w1 / w1.sum(), w0 / w0.sum()
    one, other = kitagawa(w1=w1, w0=w0, r1=r1, r0=r0), kitagawa(w1=w0, w0=w1, r1=r0, r0=r1)
    assert one.total == pytest.approx(w1 @ r1 - w0 @ r0, abs=1e-12)
    assert one.composition + one.rates == pytest.approx(one.total, abs=1e-12)
    assert (one.composition, one.rates) == pytest.approx((-other.composition, -other.rates), abs=1e-12)


def simpson(seed=1, *, inside=-0.05, areas=60, year=2024, quick=0.3, draw=None):
    """Half the areas are quick and hold most of group A; inside an area A does worse by 5 points."""
    draw = draw or np.random.default_rng(seed)
    rows = []
    for area in range(areas):
        fast = area % 2 == 0
        level = 0.45 + quick * fast + draw.normal(0, 0.03)
        for name, n, p in (("A", 150 if fast else 40, level + inside), ("B", 300 if fast else 900, level)):
            rows.append({"area": f"L{area:02d}", "group": name, "n": n, "yes": draw.binomial(n, p), "year": year})
    return pd.DataFrame(rows)


def test_a_planted_reversal_is_found_and_worded():
    table = simpson()
    found = place_parts(shares(table, strata=["group"]), by="group", group="A", reference="B")
    assert found.part("total")["low"] > 0
    assert found.part("within")["high"] < 0
    # 5 points were planted; the standard error of the within part is about 0.7.
    assert found.part("within")["estimate"] == pytest.approx(-5, abs=2.1)
    wide = table.pivot(index="area", columns="group", values=["n", "yes"])
    n, rate = wide["n"], wide["yes"] / wide["n"]
    weights = n / n.sum()
    by_hand = kitagawa(w1=weights["A"], w0=weights["B"], r1=rate["A"], r0=rate["B"])
    assert found.part("between")["estimate"] == pytest.approx(100 * by_hand.composition)
    assert found.part("within")["estimate"] == pytest.approx(100 * by_hand.rates)
    words = found.sentence(more="faster areas", less="slower areas")
    assert "faster areas are where more" in words
    assert "the gap runs the other way" in words
    assert "not what caused it" in words
    assert unfit_words(words) == []
    assert (found.areas, found.shared) == (60, 60)


def test_no_reversal_is_worded_where_none_was_planted():
    table = simpson(inside=0.0, quick=0.0)
    found = place_parts(shares(table, strata=["group"]), by="group", group="A", reference="B")
    assert found.part("within")["low"] < 0 < found.part("within")["high"]
    assert "other way" not in found.sentence()
    assert "We can't tell whether the rate differs" in found.sentence()


def test_a_between_part_that_works_against_the_gap_is_worded():
    """Group A lives in the quick areas (about +11 points) and does worse by 25 inside every area."""
    found = place_parts(shares(simpson(inside=-0.25), strata=["group"]), by="group", group="A", reference="B")
    assert found.part("total")["high"] < 0 < found.part("between")["low"]
    assert "Where they live works the other way" in found.sentence()
    assert "lie inside areas: there, the rate is lower" in found.sentence()


def test_an_area_without_a_group_counts_between_only():
    table = simpson(areas=10)
    table = table[~((table["area"] == "L03") & (table["group"] == "A"))]
    found = place_parts(shares(table, strata=["group"]), by="group", group="A", reference="B")
    assert (found.areas, found.shared) == (10, 9)
    totals = table.groupby("group")[["yes", "n"]].sum()
    rate = 100 * totals["yes"] / totals["n"]
    assert found.part("total")["estimate"] == pytest.approx(rate["A"] - rate["B"])
    wide = table.pivot(index="area", columns="group", values=["n", "yes"])
    n = wide["n"].fillna(0)
    by_hand = kitagawa(
        w1=n["A"] / n["A"].sum(), w0=n["B"] / n["B"].sum(),
        r1=wide[("yes", "A")] / wide[("n", "A")], r0=wide[("yes", "B")] / wide[("n", "B")],
    )  # fmt: skip
    assert found.part("between")["estimate"] == pytest.approx(100 * by_hand.composition)
    assert found.part("within")["estimate"] == pytest.approx(100 * by_hand.rates)
    with pytest.raises(DesignError, match="at least 5"):
        place_parts(shares(simpson(areas=4), strata=["group"]), by="group", group="A", reference="B")
    with pytest.raises(UsageError, match="no group 'C'"):
        place_parts(shares(table, strata=["group"]), by="group", group="C", reference="B")


def test_the_interval_of_the_within_part_covers():
    """100 draws of a planted 5 points; at 95% fewer than 88 inside would happen once in 500 sets."""
    draw, inside = np.random.default_rng(12), 0
    for _ in range(100):
        found = place_parts(
            shares(simpson(draw=draw), strata=["group"]), by="group", group="A", reference="B", draws=199
        ).part("within")
        inside += found["low"] <= -5 <= found["high"]
    assert inside >= 88


def test_a_change_of_the_gap_is_split_in_each_arm():
    draw = np.random.default_rng(4)
    before, after = simpson(draw=draw, year=2022), simpson(draw=draw, year=2024)
    treated = simpson(draw=draw, year=2024, inside=0.05)
    number = after["area"].str[1:].astype(int)
    after.loc[number < 30, "yes"] = treated.loc[number < 30, "yes"]
    table = pd.concat([before, after], ignore_index=True)
    table["start"] = np.where(table["area"].str[1:].astype(int) < 30, 2023.0, np.nan)
    cells = shares(table, strata=["group"])
    found = place_parts_change(cells, by="group", group="A", reference="B", before=[2022], after=[2024])
    # The within part of treated areas moved by 10 points; standard error about 1.5.
    assert found.part("within", arm="difference")["estimate"] == pytest.approx(10, abs=4.5)
    assert found.part("within", arm="difference")["low"] > 0
    assert found.part("within", arm="comparison")["low"] < 0 < found.part("within", arm="comparison")["high"]
    for arm in ("treated", "comparison", "difference"):
        parts = [found.part(name, arm=arm)["estimate"] for name in ("total", "between", "within")]
        assert parts[0] == pytest.approx(parts[1] + parts[2])
    assert "in the programme's areas" in found.sentence()
    assert "in other areas" in found.sentence()
    with pytest.raises(UsageError, match="don't overlap"):
        place_parts_change(cells, by="group", group="A", reference="B", before=[2022], after=[2022])


@pytest.fixture(scope="module")
def records():
    draw = np.random.default_rng(17)
    n = 6000
    frame = pd.DataFrame({"area": draw.integers(0, 25, n).astype(str), "g": draw.choice(["A", "B"], n, p=[0.3, 0.7])})
    first = frame["g"] == "A"
    frame["fsm"] = np.where(draw.random(n) < np.where(first, 0.5, 0.2), "FSM", "Not FSM")
    frame["need"] = np.where(first, draw.choice(["asd", "mld", "semh"], n, p=[0.5, 0.2, 0.3]),
                             draw.choice(["asd", "mld", "semh"], n, p=[0.3, 0.4, 0.3]))  # fmt: skip
    frame["y"] = (
        10 - 3 * (frame["fsm"] == "FSM") + 2 * (frame["need"] == "asd") - 1.5 * first
        + 0.5 * first * (frame["need"] == "mld") + draw.normal(0, 3, n)
    )  # fmt: skip
    return frame


def test_oaxaca_equals_statsmodels_on_the_records(records):
    """Two-fold with pooled coefficients and a group dummy, exact up to rounding: the same least squares."""
    found = oaxaca(
        from_records(records, strata=["g", "fsm", "need"], unit="points"),
        by="g", group="A", reference="B", factors=["fsm", "need"], draws=50,
    )  # fmt: skip
    x = pd.get_dummies(records[["fsm", "need"]], drop_first=True).astype(float)
    x.insert(0, "const", 1.0)
    x["g"] = (records["g"] == "A").astype(float)
    model = OaxacaBlinder(records["y"].to_numpy(), x.to_numpy(), x.columns.get_loc("g"), hasconst=True, swap=False)
    other = model.two_fold(two_fold_type="pooled")
    unexplained, explained, gap = other.params
    values = found.frame.set_index("part")["estimate"]
    sign = np.sign(values["gap"] / gap)
    assert values["gap"] == pytest.approx(sign * gap, rel=1e-8)
    assert values["explained"] == pytest.approx(sign * explained, rel=1e-7)
    assert values["not explained by the measured factors"] == pytest.approx(sign * unexplained, rel=1e-7)
    assert found.detail["explained"].sum() == pytest.approx(values["explained"])
    assert found.detail["not_explained"].sum() == pytest.approx(values.iloc[2])


def test_normalised_effects_dont_depend_on_the_omitted_category(records):
    renamed = records.assign(need=records["need"].map({"asd": "z", "mld": "y", "semh": "x"}))
    one, other = (
        oaxaca(from_records(each, strata=["g", "fsm", "need"]), by="g", group="A", reference="B",
               factors=["fsm", "need"], draws=20)
        for each in (records, renamed)
    )  # fmt: skip
    for column in ("explained", "not_explained"):
        assert one.detail[column].to_numpy() == pytest.approx(other.detail[column].to_numpy(), rel=1e-8)
    effects = one.coefficients[one.coefficients["factor"] == "need"].set_index("category")["pooled"]
    assert effects.sum() == pytest.approx(0, abs=1e-10)
    # Planted: 2 for asd and (0.5 in the group, a third of the pupils) for mld, seen from their mean.
    assert effects["asd"] - effects["semh"] == pytest.approx(2.0, abs=0.35)


def test_oaxaca_intervals_and_refusals(records):
    cells = from_records(records, strata=["g", "fsm", "need"])
    found = oaxaca(cells, by="g", group="A", reference="B", factors=["fsm", "need"], draws=400)
    rest = found.frame.iloc[2]
    # -1.5, and 0.5 for the mld children: about a fifth of group A, weighted with two fifths of B.
    assert rest["low"] < -1.5 + 0.5 * 0.3 < rest["high"]
    assert rest["high"] < 0
    assert "not explained by the measured factors" in found.sentence()
    assert "discrimination" not in found.sentence()
    apart = records[~((records["g"] == "A") & (records["need"] == "mld"))]
    with pytest.raises(DesignError, match="need 'mld'"):
        oaxaca(from_records(apart, strata=["g", "need"]), by="g", group="A", reference="B", factors=["need"])
    with pytest.raises(UsageError, match="other than"):
        oaxaca(cells, by="g", group="A", reference="B", factors=["g"])
