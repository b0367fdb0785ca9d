"""Which method of inference is valid, by how many clusters are treated and how many are not.

The table of the evaluation standard: with few treated clusters the usual cluster-robust t test rejects far
too often, however many clusters there are in all, and the same holds with few untreated ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

FEW = 5
SOME = 12
MANY = 40
FEWEST_PLACEBOS = 5
"""Untreated clusters without which their series show nothing about the errors of a treated one."""
FEWEST_EFFECTIVE = 20
"""Effective clusters below which CRV1 isn't used with 13 to 40 clusters on a side (evaluation standard, 4.1)."""

WORDS: Mapping[str, str] = {
    "crv1": "cluster-robust (CRV1)",
    "crv2": "bias-reduced cluster-robust (CRV2)",
    "crv3": "cluster jackknife (CRV3)",
    "permutation": "permutation",
    "wcr": "wild cluster bootstrap (restricted)",
    "wcu": "wild cluster bootstrap (unrestricted)",
    "conley_taber": "errors of untreated areas (Conley and Taber)",
    "ferman_pinto": "errors of untreated areas by size (Ferman and Pinto)",
    "hagemann": "rearrangement for one treated area (Hagemann)",
}
METHODS = tuple(WORDS)
PLACEBO_TESTS = ("conley_taber", "ferman_pinto")


@dataclass(frozen=True)
class Choice:
    """The headline method, the second methods beside it, what was refused, and why, in words.

    ``reasons`` says for each refused method why it isn't valid.
    """

    headline: str
    second: tuple[str, ...]
    refused: tuple[str, ...]
    why: str
    reasons: Mapping[str, str] = field(default_factory=dict)

    def reason(self, method: str) -> str:
        """Why a method is refused; empty where it isn't."""
        return self.reasons.get(method, self.why) if method in self.refused else ""

    def sentence(self, shown: tuple[str, ...] | None = None) -> str:
        """What was chosen, why, what stands beside it and what was refused, in plain English.

        ``shown`` are the second methods that there are results of, where not all were computed.
        """
        parts = [self.why]
        if self.headline != "none":
            parts.append(f"The headline method is {WORDS[self.headline]}.")
        beside = [WORDS[name] for name in (self.second if shown is None else shown)]
        if beside:
            parts.append(f"Beside it: {_listed(beside)}.")
        # That a test for one treated cluster isn't used for many needs no saying.
        refused = [WORDS[name] for name in self.refused if name != "hagemann"]
        if refused and self.headline != "none":
            parts.append(f"Not valid here, so not used: {_listed(refused)}.")
        return " ".join(parts)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def choose(treated: int, controls: int, effective: float = np.nan) -> Choice:
    """The methods for this many treated and untreated clusters.

    ``effective`` is the effective number of clusters (Carter, Schnepel and Steigerwald 2017) where it's known: with
    13 to 40 clusters on the smaller side and fewer than 20 effective ones, CRV1 is refused. Source: evaluation
    standard, table 4.1; permutation leads with 2 to 5 treated, because residual tests with few untreated clusters
    reject too often (see ``sendap.inference.few_treated``).
    """
    fewer = min(treated, controls)
    side = "treated" if treated <= controls else "untreated"
    reasons = _reasons(treated, controls, fewer, side, effective)
    refused = tuple(name for name in METHODS if name in reasons)
    if fewer < 1:
        why = f"There is no {side} cluster."
        return Choice("none", (), METHODS, why, dict.fromkeys(METHODS, why))
    if fewer <= FEW:
        headline, wanted = "permutation", ("hagemann", "ferman_pinto", "conley_taber")
        why = (
            f"Only {fewer} {side} cluster{'s' if fewer > 1 else ''}: cluster-robust tests reject far too often, so the "
            "areas' starts are dealt out anew inside their regions."
        )
    elif fewer <= SOME:
        headline, wanted = "crv3", ("permutation", "ferman_pinto", "wcr")
        why = f"{fewer} {side} clusters: the cluster jackknife with few degrees of freedom, checked by permutation."
    elif fewer <= MANY:
        headline, wanted = "crv3", ("permutation", "wcr", "crv1")
        why = f"{fewer} {side} clusters: the cluster jackknife with Satterthwaite degrees of freedom, and permutation."
    else:
        headline, wanted = "crv1", ("crv3", "permutation", "wcr")
        why = f"Over {MANY} clusters on both sides: all methods agree closely."
    second = tuple(name for name in wanted if name not in reasons)
    return Choice(headline, second, refused, why, reasons)


def _reasons(treated: int, controls: int, fewer: int, side: str, effective: float) -> dict[str, str]:
    """Why each method that isn't valid isn't."""
    found: dict[str, str] = {}
    clusters = f"{fewer} {side} cluster{'s' if fewer != 1 else ''}"
    if fewer <= FEW:
        few = f"With {clusters} this test rejects far too often."
        found |= dict.fromkeys(("crv1", "crv2", "crv3", "wcr", "wcu"), few)
    elif fewer <= SOME:
        found["crv1"] = f"With {clusters} its standard error is too small."
    elif fewer <= MANY and effective < FEWEST_EFFECTIVE:
        found["crv1"] = f"There are only {effective:.0f} effective clusters, so its standard error is too small."
    if controls < FEWEST_PLACEBOS:
        found |= dict.fromkeys(
            (*PLACEBO_TESTS, "hagemann"), f"It needs {FEWEST_PLACEBOS} untreated clusters; here are {controls}."
        )
    elif treated > 1 and controls <= SOME:
        found |= dict.fromkeys(
            PLACEBO_TESTS, f"With {controls} untreated clusters their series say too little about errors."
        )
    if treated != 1:
        found["hagemann"] = f"It's for a single treated cluster; here are {treated}."
    return found
