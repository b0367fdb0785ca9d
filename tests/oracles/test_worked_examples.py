"""Worked examples that are printed with their few input figures: intervals, effect sizes, several tests at once."""

from __future__ import annotations

import numpy as np
import pytest

from sendap.disparity.intervals import newcombe, wilson
from sendap.inference.multiplicity import benjamini_hochberg, holm
from sendap.sizes import hedges_g

HALF_OF_FOUR_DIGITS = 5e-5


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0000),
        ((10, 10), (0, 10), 0.6075, 1.0000),
    ],
)
def test_difference_of_two_shares(first, second, low, high):
    """Newcombe (1998), Statistics in Medicine 17, 873-890, table II, method 10: all eight contrasts."""
    found = newcombe(*(np.array([part]) for one, of in (first, second) for part in (one / of, of)))
    assert found[1].item() == pytest.approx(low, abs=HALF_OF_FOUR_DIGITS)
    assert found[2].item() == pytest.approx(high, abs=HALF_OF_FOUR_DIGITS)


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_one_share(count, of, low, high):
    """Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3 (the score interval of Wilson 1927)."""
    found = wilson(np.array([count / of]), np.array([of]))
    assert [each.item() for each in found] == pytest.approx([low, high], abs=HALF_OF_FOUR_DIGITS)


def test_standardised_difference():
    """Borenstein, Hedges, Higgins and Rothstein (2009), Introduction to Meta-Analysis, chapter 4.

    Means 103 and 100, standard deviations 5.5 and 4.5, 50 each: pooled 5.0249, d 0.5970, J 0.9923, g 0.5924. Their
    error of g, 0.2028, is J times that of d, sqrt(2/50 + d^2 / (2 100)). Hedges's of 1981, which the standard names,
    puts g in and n1 + n0 - 2, and isn't multiplied by J: 0.2044.
    """
    found = hedges_g(103 - 100, sd_treated=5.5, sd_comparison=4.5, n_treated=50, n_comparison=50)
    assert found.sd == pytest.approx(5.0249, abs=HALF_OF_FOUR_DIGITS)
    assert found.g == pytest.approx(0.5924, abs=HALF_OF_FOUR_DIGITS)
    d = found.g / (1 - 3 / (4 * 98 - 1))
    assert d == pytest.approx(0.5970, abs=HALF_OF_FOUR_DIGITS)
    assert found.g / d * np.sqrt(2 / 50 + d**2 / 200) == pytest.approx(0.2028, abs=HALF_OF_FOUR_DIGITS)
    assert found.standard_error == pytest.approx(np.sqrt(2 / 50 + found.g**2 / (2 * 98)), rel=1e-12)
    assert found.standard_error == pytest.approx(0.2044, abs=HALF_OF_FOUR_DIGITS)


def test_several_tests_at_once():
    """Benjamini and Hochberg (1995), JRSS B 57, section 4.2: fifteen tests of a trial of two drugs.

    Holding the share of false discoveries at .05 rejects the four smallest, Bonferroni's method three; Holm's, which
    can only reject more than Bonferroni's, stops there too (.0095 times 12 is .114).
    """
    values = [
        *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
        *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0),
    ]
    assert (benjamini_hochberg(values) <= 0.05).tolist() == [True] * 4 + [False] * 11
    assert (holm(values) <= 0.05).tolist() == [True] * 3 + [False] * 12
    assert sum(15 * value <= 0.05 for value in values) == 3
    assert holm(values)[3] == pytest.approx(0.114, abs=1e-12)
