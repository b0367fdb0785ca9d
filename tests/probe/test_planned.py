"""Planning from the years before: fixtures of the standard, panels of known spread, and blind to what came after."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import as_cells, made_up

from sendap.errors import DesignError, UsageError
from sendap.probe.planned import formula_effects, plan_power


@pytest.mark.parametrize(
    ("treated", "controls", "effect"),
    [(1, 60, 2.87), (2, 60, 2.05), (9, 33, 1.08), (22, 66, 0.70), (32, 121, 0.56), (38, 60, 0.59), (55, 60, 0.53)],
)
def test_the_table_of_the_standard(treated, controls, effect):
    """Section 4.4, in standard deviations of the change of a cluster: to the two decimals printed there."""
    change = formula_effects(1.0, 0.5, 1.0, treated, controls, 1, 1)[2]
    assert round(change, 2) == effect


def test_the_fixtures_of_mckenzie():
    """Brackets of 0.1500 and 0.1471 for four periods before, two after and a correlation of 0.8 (section 8), times
    (t_.975 + t_.80) sqrt(1/20 + 1/20) with 38 degrees of freedom = (2.0244 + 0.8512) x 0.31623."""
    did, ancova, _ = formula_effects(1.0, 0.8, 1.0, 20, 20, 4, 2)
    # The brackets are printed to four decimals, which bounds their roots to 2e-4.
    assert did == pytest.approx(2.8756 * 0.31623 * np.sqrt(0.1500), rel=5e-4)
    assert ancova == pytest.approx(2.8756 * 0.31623 * np.sqrt(0.1471), rel=5e-4)


def panel_of(areas=400, years=7, *, level=6.0, noise=3.0, regions=1, seed=2):
    """Areas with a level of their own and noise: the correlation with itself is level^2 / (level^2 + noise^2)."""
    frame = made_up(areas=areas, years=years, starts=(2016.0 + years - 1,), regions=regions, seed=seed)
    generator = np.random.default_rng(seed)
    own = dict(zip(frame["area"].unique(), generator.normal(50, level, areas), strict=True))
    frame["y"] = frame["area"].map(own) + 5.0 * frame["year"] + generator.normal(0, noise, len(frame))
    return as_cells(frame).panel(within="region" if regions > 1 else None)


@pytest.mark.parametrize("regions", [1, 8])
def test_spread_and_correlation_are_those_of_the_panel(regions):
    found = plan_power(panel_of(regions=regions), before=2022, treated=[40], after=[1], simulate=False)
    # 400 areas: standard deviations to 4%, the correlation to 0.02.
    assert found.spread == pytest.approx(np.sqrt(45), rel=0.08)
    assert found.correlation == pytest.approx(36 / 45, abs=0.04)
    assert found.change_spread == pytest.approx(3 * np.sqrt(2), rel=0.05)
    assert (found.areas, found.periods) == (400, tuple(range(2016, 2022)))


def test_formula_and_simulation_agree_where_the_formula_holds():
    """Normal noise, one period after and one before: the change of a cluster has a spread of 3 sqrt(2)."""
    found = plan_power(panel_of(areas=200, seed=4), before=2022, treated=[40], after=[1], draws=999)
    row = found.designs.iloc[0]
    # The simulation knows a standard deviation from 999 draws at 5 dates, and from the one panel there is.
    assert row["simulated"] == pytest.approx(row["change"], rel=0.1)
    assert row["formula"] < row["change"]
    assert row["starts"] == 5
    at = found.curve[(found.curve["treated"] == 40) & (found.curve["after"] == 1)]
    assert np.interp(row["simulated"], at["effect"], at["power"]) == pytest.approx(0.8, abs=0.02)
    assert found.best(40, 1) == row["simulated"]


@settings(max_examples=10)
@given(st.integers(0, 2**31), st.floats(-1e6, 1e6))
def test_nothing_from_the_start_on_is_looked_at(seed, shift):
    panel = panel_of(areas=30)
    generator = np.random.default_rng(seed)
    late = panel.periods >= 2020
    changed = replace(
        panel,
        mean=np.where(late, shift + generator.normal(size=panel.mean.shape), panel.mean),
        cohort=generator.choice([2017.0, 2020.0, np.inf], len(panel.units)),
    )
    first, second = (
        plan_power(each, before=2020, treated=[5], after=[1], draws=99) for each in (panel, changed)
    )  # fmt: skip
    assert first.designs.equals(second.designs)
    assert first.curve.equals(second.curve)
    assert (first.spread, first.correlation, first.change_spread) == (
        second.spread, second.correlation, second.change_spread,
    )  # fmt: skip


def test_how_many_areas_are_needed():
    found = plan_power(panel_of(), before=2022, treated=[10], after=[1], simulate=False)
    ten = float(found.designs["formula"].iloc[0])
    assert found.needed(ten * 1.0001, after=1) == 10
    needed = found.needed(ten / 2, after=1)
    assert needed is not None
    assert 30 < needed < 60  # a quarter of the variance needs about four times as many
    assert found.needed(ten / 100, after=1) is None


def test_what_cant_be_planned_is_told():
    panel = panel_of(areas=12, years=4)
    with pytest.raises(DesignError, match="1 period before"):
        plan_power(panel, before=2017, treated=[3], after=[1])
    with pytest.raises(UsageError, match="fewer than two of 12"):
        plan_power(panel, before=2019, treated=[11], after=[1])
    with pytest.raises(UsageError, match="1 or more"):
        plan_power(panel, before=2019, treated=[0], after=[1])
    found = plan_power(panel, before=2019, treated=[3], after=[1, 5], draws=99)
    assert "too few for one before a start" in found.designs["note"].iloc[1]
    assert found.best(3, 5) == found.designs["formula"].iloc[1]
    with pytest.raises(UsageError, match="No design"):
        found.best(4, 1)
