"""Comparison groups: who stands for the treated areas, chosen on what was known before the start.

``profiles`` says what each area was like before; ``match``, ``entropy_balance``, ``statistical_neighbours`` and
``same_region`` choose a ``ComparisonGroup``; its ``apply`` gives weighted cells, which every estimator takes;
``balance`` and ``overlap`` say how alike the two sides are.
"""

from sendap.comparison.balance import Balance, Overlap, balance, overlap, trimmed
from sendap.comparison.balancing import entropy_balance
from sendap.comparison.group import ComparisonGroup, same_region
from sendap.comparison.matching import match
from sendap.comparison.neighbours import statistical_neighbours
from sendap.comparison.profiles import Profiles, profiles

__all__ = [
    "Balance",
    "ComparisonGroup",
    "Overlap",
    "Profiles",
    "balance",
    "entropy_balance",
    "match",
    "overlap",
    "profiles",
    "same_region",
    "statistical_neighbours",
    "trimmed",
]
