"""Which method of inference is valid, by how many clusters are treated and how many are not.

The table of the evaluation standard: with few treated clusters the usual cluster-robust t test rejects far
too often, however many clusters there are in all, and the same holds with few untreated ones.
"""

from __future__ import annotations

from dataclasses import dataclass

FEW = 5
SOME = 12
MANY = 40


@dataclass(frozen=True)
class Choice:
    """The headline method, the second method beside it, what was refused, and why, in words."""

    headline: str
    second: tuple[str, ...]
    refused: tuple[str, ...]
    why: str


def choose(treated: int, controls: int) -> Choice:
    """The methods for this many treated and untreated clusters."""
    fewer = min(treated, controls)
    side = "treated" if treated <= controls else "untreated"
    if fewer < 1:
        return Choice("none", (), ("crv1", "crv3", "permutation", "wcr"), f"There is no {side} cluster.")
    if fewer <= FEW:
        return Choice(
            "permutation",
            (),
            ("crv1", "crv3", "wcr"),
            f"Only {fewer} {side} cluster{'s' if fewer > 1 else ''}: cluster-robust tests reject far too often, so the "
            "areas' starts are dealt out anew inside their regions.",
        )
    if fewer <= SOME:
        return Choice(
            "crv3",
            ("permutation", "wcr"),
            ("crv1",),
            f"{fewer} {side} clusters: the cluster jackknife with few degrees of freedom, checked by permutation.",
        )
    if fewer <= MANY:
        return Choice(
            "crv3",
            ("permutation", "wcr", "crv1"),
            (),
            f"{fewer} {side} clusters: the cluster jackknife with Satterthwaite degrees of freedom, and permutation.",
        )
    return Choice(
        "crv1", ("crv3", "permutation", "wcr"), (), f"Over {MANY} clusters on both sides: all methods agree closely."
    )
