"""The comparison group that a rule chose: weights, who stands for whom, who was left out and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sendap.cells import Cells
from sendap.cells.panel import COMPARISON_WEIGHT
from sendap.comparison.profiles import Profiles
from sendap.errors import DataError, DesignError
from sendap.results import Estimates

GIVEN = (
    "The weights of the comparison areas are taken as given: they aren't chosen anew when an area is left out or the "
    "starts are dealt out anew."
)


@dataclass(frozen=True)
class ComparisonGroup:
    """Who the treated areas are compared with.

    ``weights`` by cluster: 1 for each treated area, for comparison areas scaled so that their mean is 1 (each counted
    by its ``base``: once, or by its children). ``chosen`` has one row for each pair of a treated and a comparison
    area where the rule pairs them (``treated, comparison, rank, distance, share``), else none. ``left_out`` has
    ``cluster, role, reason``. ``how`` says the rule in a sentence.

    Inference with these weights is conditional on them: leaving a cluster out, permutation and the bootstrap keep the
    weights that were chosen once, so what the choice itself adds to the uncertainty isn't in the interval.
    """

    rule: str
    how: str
    profiles: Profiles
    weights: Mapping[str, float]
    chosen: pd.DataFrame
    left_out: pd.DataFrame

    @property
    def note(self) -> str:
        return f"{self.how} {GIVEN}"

    @property
    def treated(self) -> list[str]:
        """The treated areas that are kept, sorted."""
        kept = self.profiles.clusters[self.profiles.treated]
        return sorted(each for each in kept if each in self.weights)

    @property
    def controls(self) -> list[str]:
        """The comparison areas that count for something, the heaviest first."""
        kept = [each for each in self.profiles.clusters[~self.profiles.treated] if self.weights.get(each, 0.0) > 0]
        return sorted(kept, key=lambda each: (-self.weights[each], each))

    @property
    def shares(self) -> pd.Series:
        """The share of the comparison that each comparison area makes up, the largest first; they add to 1."""
        base = dict(zip(self.profiles.clusters, self.profiles.base, strict=True))
        size = pd.Series({each: self.weights[each] * base[each] for each in self.controls}, dtype=float)
        return size / size.sum()

    @property
    def effective_controls(self) -> float:
        """Kish's effective number: 1 over the sum of squared shares (Kish 1965, Survey Sampling, 11.7)."""
        return float(1.0 / (self.shares**2).sum())

    def apply(self, cells: Cells) -> Cells:
        """The same cells with these areas and their weights, for any estimator that takes cells.

        Areas that were left out, or count for nothing, are taken out; areas that start after the data keep the weight
        1. The weights multiply whatever ``weights=`` an estimator is given ("areas", "children").

        Raises DataError where the cells hold none of the comparison areas.
        """
        weights = {each: value for each, value in self.weights.items() if value > 0}
        weights |= dict.fromkeys(self.profiles.later, 1.0)
        held = set(cells.frame["cluster"].unique())
        if not held & set(self.controls):
            raise DataError("These cells hold none of the areas of the comparison group. Choose it from these cells.")
        frame = cells.frame[cells.frame["cluster"].isin(weights)].reset_index(drop=True)
        clusters = cells.clusters if cells.clusters is not None else pd.DataFrame({"cluster": sorted(held)})
        clusters = clusters[clusters["cluster"].isin(weights)].reset_index(drop=True)
        return replace(
            cells,
            frame=frame,
            clusters=clusters.assign(**{COMPARISON_WEIGHT: clusters["cluster"].map(weights).astype(float)}),
            metadata={**cells.metadata, "comparison": self.note},
        )

    def noted(self, estimates: Estimates) -> Estimates:
        """Results from the weighted cells, with the rule and what the intervals leave out in their notes."""
        notes = estimates.frame["note"].map(lambda text: f"{text} {self.note}".strip())
        return estimates.with_columns(note=notes)


def grouped(
    rule: str,
    how: str,
    whole: Profiles,
    kept: Profiles,
    raw: np.ndarray,
    chosen: pd.DataFrame | None = None,
    reasons: pd.DataFrame | None = None,
) -> ComparisonGroup:
    """A group from the raw weights of the untreated areas of ``kept`` (in its order), any scale.

    ``whole`` are the profiles before the rule left anyone out: what balance is judged from. ``raw`` is how much an
    area should count in all, so its weight is that over its ``base``. An untreated area without weight is left out.

    Raises DesignError where nobody has any.
    """
    if not raw.sum() > 0:
        raise DesignError(f"'{kept.outcome}': no untreated area is left to stand for the treated ones. {how}")
    controls, base = kept.clusters[~kept.treated], kept.base[~kept.treated]
    gone = set() if reasons is None else set(reasons["cluster"])
    used = raw > 0
    scaled = np.where(used, raw / base, 0.0) * (base[used].sum() / raw.sum())
    weights = {each: 1.0 for each in kept.clusters[kept.treated] if each not in gone}
    weights |= {each: float(value) for each, value in zip(controls, scaled, strict=True) if value > 0}
    parts = [kept.left_out] if reasons is None else [kept.left_out, reasons]
    empty = pd.DataFrame(columns=["treated", "comparison", "rank", "distance", "share"])
    return ComparisonGroup(
        rule=rule,
        how=how,
        profiles=whole,
        weights=weights,
        chosen=empty if chosen is None else chosen.reset_index(drop=True),
        left_out=pd.concat(parts, ignore_index=True),
    )


def same_region(profiles: Profiles) -> ComparisonGroup:
    """All untreated areas of a region stand for its treated areas: the rule ``within="region"``, as weights.

    With one start it gives the same estimate as group-time effects inside regions. Raises UsageError where regions
    aren't known, DesignError where no region has both.
    """
    kept = profiles.shared_regions()
    assert kept.regions is not None
    frame = pd.DataFrame({"region": kept.regions, "treated": kept.treated, "base": kept.base})
    size = frame.groupby(["region", "treated"])["base"].sum().unstack(fill_value=0.0)
    rows = frame[~frame["treated"]]
    raw = rows["base"].to_numpy() * rows["region"].map(size[True] / size[False]).to_numpy()
    how = "Every region's treated areas are compared with all its untreated areas."
    return grouped("same region", how, profiles, kept, raw)
