"""What an interval rules out, and type S and type M errors, against published examples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sendap.errors import UsageError
from sendap.inference.after import after_the_data, error_rates


def row(low: float, high: float, *, error: float = np.nan, dof: float = np.nan) -> pd.Series:
    return pd.Series({"ci_low": low, "ci_high": high, "ci_level": 0.95, "std_error": error, "dof": dof})


@pytest.mark.parametrize(
    ("effect", "error", "power", "wrong_sign", "exaggeration"),
    # Gelman and Carlin (2014), doi:10.1177/1745691614551642: the beauty and sex ratio example at 0.1, 0.3 and 1
    # percentage points, and the menstrual cycle example at 2. Printed figures; type M is from 10,000 simulations.
    [
        (0.1, 3.3, 0.05, 0.46, 77.0),
        (0.3, 3.3, 0.05, 0.40, 25.0),
        (1.0, 3.3, 0.06, 0.19, 8.0),
        (2.0, 8.1, 0.06, 0.24, 9.7),
    ],
)
def test_published_examples(effect, error, power, wrong_sign, exaggeration):
    found = error_rates(effect, std_error=error)
    assert found.power == pytest.approx(power, abs=0.005)
    assert found.wrong_sign == pytest.approx(wrong_sign, abs=0.01)
    # The printed ones are rounded and simulated.
    assert found.exaggeration == pytest.approx(exaggeration, rel=0.05)


@pytest.mark.parametrize(
    ("effect", "power", "wrong_sign"), [(0.1, 0.05010648, 0.4644228), (2.0, 0.05701294, 0.2396177)]
)
def test_digits_of_the_authors_function(effect, power, wrong_sign):
    """Output of the function retrodesign as its users give it, for errors of 3.28 and 8.1."""
    found = error_rates(effect, std_error=3.28 if effect < 1 else 8.1)
    assert found.power == pytest.approx(power, abs=5e-9)
    assert found.wrong_sign == pytest.approx(wrong_sign, abs=5e-8)


@pytest.mark.parametrize("dof", [2.0, 6.5, np.inf])
def test_by_simulation_with_few_degrees_of_freedom(dof):
    found = error_rates(-1.0, std_error=0.8, dof=dof)
    draw = np.random.default_rng(2)
    noise = draw.normal(size=2_000_000) if np.isinf(dof) else draw.standard_t(dof, size=2_000_000)
    estimate = -1.0 + 0.8 * noise
    limit = 0.8 * (stats.norm.ppf(0.975) if np.isinf(dof) else stats.t.ppf(0.975, dof))
    told = estimate[np.abs(estimate) > limit]
    assert found.power == pytest.approx(len(told) / 2e6, abs=0.002)
    # Five standard errors of a share of those that stand out.
    assert found.wrong_sign == pytest.approx((told > 0).mean(), abs=5 * np.sqrt(0.25 / len(told)))
    # The mean of a t with two degrees of freedom has a heavy tail.
    assert found.exaggeration == pytest.approx(np.abs(told).mean(), rel=0.02)


def test_one_degree_of_freedom_has_no_mean():
    assert error_rates(1.0, std_error=1.0, dof=1.0).exaggeration == np.inf


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-2.3, 8.1, "rules out a fall of more than 2 points, and a rise of more than 8 points."),
        (1.2, 4.1, "rules out any fall, and a rise of less than 1.2 points or more than 4.1 points."),
        (-4.1, -1.2, "rules out a fall of less than 1.2 points or more than 4.1 points, and any rise."),
        (-np.inf, 4.0, "rules out no fall, however large, and a rise of more than 4 points."),
        (-2.0, np.inf, "rules out a fall of more than 2 points, and no rise, however large."),
    ],
)
def test_what_is_ruled_out_in_words(low, high, expected):
    assert after_the_data(row(low, high), 5.0).ruled_out("points") == f"The 95% interval {expected}"


@pytest.mark.parametrize(("low", "high"), [(-np.inf, np.inf), (np.nan, np.nan)])
def test_no_interval_rules_out_nothing(low, high):
    found = after_the_data(row(low, high), 5.0)
    assert found.rates is None
    assert found.sentence("points") == "The data rule out no effect of any size."
    assert not found.rules_out_smallest


def test_error_comes_from_the_method_or_from_the_interval():
    given = after_the_data(row(-3.0, 5.0, error=1.5, dof=7.0), 4.0)
    assert given.rates == error_rates(4.0, std_error=1.5, dof=7.0)
    inverted = after_the_data(row(-3.0, 5.0), 4.0)
    assert inverted.std_error == pytest.approx(4 / stats.norm.ppf(0.975))
    assert inverted.rates == error_rates(4.0, std_error=inverted.std_error)
    assert not given.rules_out_smallest
    assert after_the_data(row(-3.0, 3.9), 4.0).rules_out_smallest
    said = given.sentence("points")
    assert f"a study like this one would tell it from no change {given.rates.power:.0%} of the time" in said
    assert "If the true effect were 4 points, the smallest that matters," in said


def test_a_smallest_effect_of_nothing_is_refused():
    with pytest.raises(UsageError, match="above 0"):
        after_the_data(row(-1.0, 1.0), 0.0)
    with pytest.raises(UsageError, match="dof be above 0"):
        error_rates(1.0, std_error=1.0, dof=0.0)
