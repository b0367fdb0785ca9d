"""How synthetic cases end: weekly hazards of competing events, and what a programme does to them.

A case follows one of three laws. Under the law of its area, hazards depend on area, sex, ethnic group and free school
meals; under the quick and the slow law they're the same for all. Which share of cases follows the quick law changes
from one decision period to the next, alike everywhere on average. So each share of cases with an event by a horizon,
and each restricted mean time, is an area's level plus a period's, whatever the horizon: trends are parallel exactly,
which multiplied hazards would not give. A programme multiplies the hazards of its cases under all three laws.

All figures here are assumptions, chosen without sight of any case, and none is a finding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from sendap.sources.marginals import FSM, SEX, Marginals

QUICK, SLOW = 1.7, 0.5
"""Hazards under the two common laws, by the cause's usual one."""

AREA_SPREAD = 0.3
"""Standard deviation of the areas' effects on the logarithm of each hazard."""


@dataclass(frozen=True)
class Cause:
    """Weekly hazard ``level * (1 + height * exp(-((week - peak) / spread)^2))``; logarithmic effects of groups."""

    name: str
    level: float
    peak: float
    spread: float
    height: float
    groups: Mapping[str, float] = field(default_factory=dict)

    def rate(self, weeks: int) -> np.ndarray:
        """The usual rate in each week (J)."""
        week = np.arange(1, weeks + 1)
        return self.level * (1 + self.height * np.exp(-(((week - self.peak) / self.spread) ** 2)))


@dataclass(frozen=True)
class EpisodeModel:
    """What starts the clock, the causes, the weekly chance of being lost from sight, and what a programme multiplies.

    ``common`` is the share of cases under the quick and slow laws; ``shock`` the widest change of the quick share in
    one area and period; ``wait`` the mean number of weeks until the service begins.
    """

    starts: str
    causes: tuple[Cause, ...]
    hazard_ratios: Mapping[str, float]
    lost: str = "moved away"
    leaving: float = 0.0015
    common: float = 0.35
    shock: float = 0.12
    wait: float = 6.0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(cause.name for cause in self.causes)


MEDIATION = EpisodeModel(
    starts="appealable decision",
    causes=(
        Cause("agreed", 0.015, 9, 5, 2.5, {"Eligible": -0.15, "Black": -0.1, "Asian": -0.1}),
        Cause("appealed", 0.009, 8, 3, 4.0, {"Eligible": -0.25, "White": 0.05}),
        Cause("withdrawn", 0.006, 14, 10, 1.0, {"Eligible": 0.2}),
    ),
    hazard_ratios={"agreed": 1.35, "appealed": 0.8},
)
"""From an appealable decision: agreed and in place, appealed, or withdrawn."""

PLACEMENT = EpisodeModel(
    starts="placement in alternative provision",
    causes=(
        Cause("reintegrated", 0.018, 13, 6, 2.0, {"Male": -0.1, "Eligible": -0.1}),
        Cause("excluded", 0.003, 10, 8, 1.0, {"Male": 0.3, "Black": 0.15}),
        Cause("post-16", 0.004, 30, 15, 1.0),
        Cause("left", 0.003, 20, 20, 0.0),
    ),
    hazard_ratios={"reintegrated": 1.3, "excluded": 0.8},
)
"""From a placement in alternative provision: reintegrated, excluded, post-16 or left."""


@dataclass(frozen=True)
class Kinds:
    """Kinds of case: for each area its sexes, FSM and ethnic groups; then quick and slow. All again under treatment.

    ``probability`` is R by J by K: the chance of each cause in each week. Row r of untreated cases has its treated
    twin at r + ``untreated``.
    """

    model: EpisodeModel
    areas: int
    ethnic: tuple[str, ...]
    effects: np.ndarray
    weeks: int
    ratios: np.ndarray

    @property
    def in_area(self) -> int:
        return len(SEX) * len(FSM) * len(self.ethnic)

    @property
    def untreated(self) -> int:
        return self.areas * self.in_area + 2

    def row(self, area: np.ndarray, sex: np.ndarray, fsm: np.ndarray, ethnic: np.ndarray) -> np.ndarray:
        """The row of an untreated case under the law of its area."""
        return area * self.in_area + (sex * len(FSM) + fsm) * len(self.ethnic) + ethnic

    @cached_property
    def probability(self) -> np.ndarray:
        causes = self.model.causes
        usual = np.stack([cause.rate(self.weeks) for cause in causes], axis=1)  # J, K
        groups = np.zeros((len(SEX), len(FSM), len(self.ethnic), len(causes)))
        for k, cause in enumerate(causes):
            for axis, names in enumerate((SEX, FSM, self.ethnic)):
                shape = [1, 1, 1]
                shape[axis] = len(names)
                groups[..., k] += np.reshape([cause.groups.get(name, 0.0) for name in names], shape)
        level = np.exp(self.effects[:, None, :] + groups.reshape(1, self.in_area, -1)).reshape(-1, len(causes))
        level = np.concatenate([level, np.full((1, len(causes)), QUICK), np.full((1, len(causes)), SLOW)])
        level = np.concatenate([level, level * self.ratios])
        rate = level[:, None, :] * usual
        total = rate.sum(axis=2)
        open_before = np.exp(-(np.cumsum(total, axis=1) - total))
        return rate * (open_before * -np.expm1(-total) / total)[:, :, None]

    @cached_property
    def _steps(self) -> np.ndarray:
        """Cumulative chances of week and cause, each row one above the row before, in one line."""
        rows = len(self.probability)
        cumulative = np.cumsum(self.probability.reshape(rows, -1), axis=1)
        return (cumulative + np.arange(rows)[:, None]).ravel()

    def draw(self, row: np.ndarray, chance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Week (from 1; beyond ``weeks`` for none) and cause of each case, from its row and a uniform number."""
        wide = self.weeks * len(self.model.causes)
        found = np.searchsorted(self._steps, row + chance, side="right") - row * wide
        inside = found < wide
        week = np.where(inside, found // len(self.model.causes) + 1, self.weeks + 1)
        return week, np.where(inside, found % len(self.model.causes), -1)

    @cached_property
    def gained(self) -> np.ndarray:
        """What the programme adds to the cumulative incidence of each kind after each week, R/2 by J by K."""
        reached = np.cumsum(self.probability, axis=1)
        return reached[self.untreated :] - reached[: self.untreated]


def major_groups(known: Marginals) -> tuple[tuple[str, ...], np.ndarray]:
    """The major ethnic groups, and which of them each published group belongs to; the last stands for missing."""
    major = ["Unknown" if i == len(known.ethnicity) - 1 else g.split(" - ")[0] for i, g in enumerate(known.ethnicity)]
    names = sorted(set(major) - {"Unknown"})
    names.append("Unknown")
    return tuple(names), np.array([names.index(name) for name in major])
