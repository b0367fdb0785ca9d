"""Gaps among children who are alike in measured ways: a ladder of models by marginal standardisation (standard 6.3).

A logistic model (a linear one for a mean) gives every child a predicted outcome as a member of the group and as a
member of the reference; the difference of the two averages is the adjusted gap. Unlike an odds ratio it means the same
on every rung, so rungs can be compared. Source: Lane and Nelder (1982), doi:10.2307/2530043; Muller and MacLehose
(2014), doi:10.1093/ije/dyu029.

Areas enter as effects of their own, solved apart from the other coefficients. Each draw of areas takes one Newton step
from the estimates, by the information and score of each area: exact for a linear model, and as good as a full refit to
the order that the bootstrap itself is, at a fraction of the cost. Source: Davidson and MacKinnon (1999),
doi:10.1111/1468-2354.00026.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendap import groups
from sendap.cells import Cells
from sendap.disparity.gaps import choose_reference
from sendap.disparity.intervals import tails
from sendap.disparity.rates import THRESHOLD, TOO_FEW, rates
from sendap.errors import UsageError

LADDER: dict[str, tuple[str, ...]] = {
    "M0": (),
    "M1": ("year_group", "sex", "period"),
    "M2": ("year_group", "sex", "period", "fsm", "idaci", "cluster"),
    "M3": ("year_group", "sex", "period", "fsm", "idaci", "cluster", "prior_attainment", "eyfsp"),
}
BEFORE = ("prior_attainment", "eyfsp")
"""What rung M3 adds: results at an earlier key stage, or at the end of the early years foundation stage."""

"""The ladder of the standard. ``ladder_for`` keeps what the cells hold."""

QUESTIONS = {
    "M0": "How far apart are the groups?",
    "M1": "How far apart are pupils of the same sex, year group and year?",
    "M2": "How far apart are pupils who are also alike in poverty, in the same area?",
    "M3": "A different question: how far apart are pupils with similar results before? This may take away part of what "
    "made the gap, so it isn't the real gap.",
}
STEPS, CLOSE, LIMIT, SOME = 60, 1e-10, 30.0, 1e-12


def ladder_for(cells: Cells, *, by: str) -> dict[str, tuple[str, ...]]:
    """The rungs that these cells can answer: strata not crossed with ``by`` are dropped, and M3 without prior results.

    A rung that would adjust for nothing more than the one before it is left out.
    """
    crossed = [set(margin) for margin in cells.margins if by in margin]
    held = (max(crossed, key=len) if crossed else set()) - {by}
    if cells.frame["cluster"].nunique() > 1:
        held.add("cluster")
    if cells.frame["period"].nunique() > 1:
        held.add("period")
    made: dict[str, tuple[str, ...]] = {}
    for name, factors in LADDER.items():
        kept = tuple(each for each in factors if each in held)
        if (name == "M3" and not set(BEFORE) & held) or kept in made.values():
            continue
        made[name] = kept
    return made


@dataclass(frozen=True)
class CellModel:
    """Rows of cells: dummies (N by P, those of the groups but the reference first), records, rates and area (N each).

    ``apart`` gives each area an effect of its own; otherwise one constant serves all.
    """

    dummies: np.ndarray
    n: np.ndarray
    rate: np.ndarray
    area: np.ndarray
    apart: bool
    share: bool

    @property
    def effect(self) -> np.ndarray:
        return self.area if self.apart else np.zeros(len(self.area), dtype=int)

    def mean(self, linear: np.ndarray) -> np.ndarray:
        # Where a category has every or no event its effect runs away; beyond the limit the prediction stays the same.
        return 1 / (1 + np.exp(-np.clip(linear, -LIMIT, LIMIT))) if self.share else linear

    def _at(self, b: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mu = self.mean(self.dummies @ b + a[self.effect])
        return self.n * (mu * (1 - mu) if self.share else 1.0), self.n * (self.rate - mu)

    def fit(self) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (P) and effects of areas (or one constant), by Newton's method."""
        overall = float((self.n * self.rate).sum() / self.n.sum())
        level = np.log(overall / (1 - overall)) if self.share and 0 < overall < 1 else overall
        b, a = np.zeros(self.dummies.shape[1]), np.full(int(self.effect.max()) + 1, level)
        for _ in range(STEPS if self.share else 1):
            weight, residual = self._at(b, a)
            own, inverse, cross, score = self._apart(weight, residual, self.effect, len(a))
            gram = (weight[:, None] * self.dummies).T @ self.dummies - cross.T @ (inverse[:, None] * cross)
            right = self.dummies.T @ residual - cross.T @ (inverse * score)
            step_b = np.linalg.lstsq(gram, right, rcond=1e-11)[0]
            step_a = inverse * (score - cross @ step_b)
            step_a = np.clip(step_a, -5.0, 5.0) if self.share else step_a
            b, a = b + step_b, a + step_a
            if max(np.abs(step_b).max(initial=0.0), np.abs(step_a[own > SOME]).max(initial=0.0)) < CLOSE:
                break
        return b, a

    def _apart(
        self, weight: np.ndarray, residual: np.ndarray, effect: np.ndarray, count: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of each effect: its information, the inverse (zero for none), what it shares with the dummies, the score."""
        own = np.bincount(effect, weight, count)
        inverse = np.where(own > SOME, 1 / np.where(own > SOME, own, 1.0), 0.0)
        cross = np.stack([np.bincount(effect, weight * column, count) for column in self.dummies.T], axis=1)
        return own, inverse, cross, np.bincount(effect, residual, count)

    def drawn(self, b: np.ndarray, a: np.ndarray, copies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One Newton step for each of R draws of areas: coefficients (R by P) and effects (R by areas, or R by 1)."""
        weight, residual = self._at(b, a)
        areas = copies.shape[1]
        _, inverse, cross, score = self._apart(weight, residual, self.area, areas)
        order = np.argsort(self.area, kind="stable")
        bounds = np.searchsorted(self.area[order], np.arange(areas + 1))
        x = self.dummies if self.apart else np.concatenate([np.ones((len(self.n), 1)), self.dummies], axis=1)
        gram, right = np.zeros((areas, x.shape[1], x.shape[1])), np.zeros((areas, x.shape[1]))
        for g in range(areas):
            rows = order[bounds[g] : bounds[g + 1]]
            gram[g], right[g] = (weight[rows, None] * x[rows]).T @ x[rows], x[rows].T @ residual[rows]
        if self.apart:
            gram -= inverse[:, None, None] * cross[:, :, None] * cross[:, None, :]
            right -= (inverse * score)[:, None] * cross
        total = np.tensordot(copies, gram, axes=1)
        step = (np.linalg.pinv(total, rcond=1e-11, hermitian=True) @ (copies @ right)[:, :, None])[:, :, 0]
        if self.apart:
            return b + step, a + inverse * (score - step @ cross.T)
        return b + step[:, 1:], a + step[:, :1]


def adjusted_gaps(
    cells: Cells,
    outcome: str | None = None,
    *,
    by: str,
    reference: str | None = None,
    ladder: Mapping[str, Sequence[str]] | None = None,
    level: float = 0.95,
    threshold: int = THRESHOLD,
    draws: int = 199,
    seed: int = 20230902,
) -> pd.DataFrame:
    """Each group against the reference on each rung: adjusted difference and ratio, with intervals by whole areas.

    ``ladder`` maps the name of a rung to the strata it adjusts for, "cluster" (effects of areas) and "period" among
    them; by default what ``ladder_for`` finds. Cells must hold the strata crossed. Columns: ``model, adjusted_for,
    group, reference, n, clusters, rate`` (standardised), ``difference, difference_low, difference_high`` (in the
    outcome's unit), ``ratio, ratio_low, ratio_high, status`` and ``note``. Groups under ``threshold`` children stay in
    the model, and are too few to say.

    Raises UsageError for an unknown stratum or reference, DesignError where margins hold the strata one at a time.
    """
    ladder = dict(ladder) if ladder is not None else ladder_for(cells, by=by)
    for name, factors in ladder.items():
        if by in factors:
            raise UsageError(f"Rung '{name}' adjusts for '{by}', whose gap is asked for.")
    wide = tuple(dict.fromkeys(each for factors in ladder.values() for each in factors if each != "cluster"))
    found = rates(cells, outcome, by=("cluster", by, *wide))
    frame = found.frame.astype(dict.fromkeys((by, *wide), str))
    totals = rates(cells, outcome, by=by).frame.rename(columns={by: "group"})
    totals["group"] = totals["group"].astype(str)
    named = choose_reference(totals, by, reference, threshold)
    others = [name for name in groups.in_order(totals["group"]) if name != named]
    clusters, area = np.unique(frame["cluster"].to_numpy(dtype=object), return_inverse=True)
    copies = np.random.default_rng(seed).multinomial(
        len(clusters), np.full(len(clusters), 1 / len(clusters)), size=draws
    )
    totals = totals.set_index("group")
    made = []
    for model, factors in ladder.items():
        drawn = _rung(frame, by, (named, *others), tuple(factors), area, copies, found.share)
        made += _rows(
            model, tuple(factors), (named, *others), drawn, totals, level, threshold, found.scale, len(clusters)
        )
    return pd.DataFrame(made)


def _rung(
    frame: pd.DataFrame,
    by: str,
    names: tuple[str, ...],
    factors: tuple[str, ...],
    area: np.ndarray,
    copies: np.ndarray,
    share: bool,
) -> np.ndarray:
    """Standardised means of each group, for the children as they are and for each draw of areas (R + 1 by groups).

    A draw without any child of a group says nothing of it, and is missing.
    """
    others = [factor for factor in factors if factor != "cluster"]
    member = np.stack([(frame[by] == name).to_numpy(dtype=float) for name in names], axis=1)
    columns = [
        (frame[factor] == name).to_numpy(dtype=float)
        for factor in others
        for name in sorted(frame[factor].unique())[1:]
    ]
    model = CellModel(
        dummies=np.concatenate([member[:, 1:], *(column[:, None] for column in columns)], axis=1),
        n=frame["observed"].to_numpy(),
        rate=frame["rate"].to_numpy(),
        area=area,
        apart="cluster" in factors,
        share=share,
    )
    b, a = model.fit()
    drawn_b, drawn_a = model.drawn(b, a, copies)
    # Predictions differ only by area and the other factors, so rows that share them are counted once.
    row = frame.groupby(["cluster", *others], sort=True, observed=True).ngroup().to_numpy()
    first = np.unique(row, return_index=True)[1]
    kinds, of_area, effect = model.dummies[first, len(names) - 1 :], area[first], model.effect[first]
    count = np.bincount(row, model.n)
    present = np.array([np.bincount(area, model.n * column, copies.shape[1]) for column in member.T]).T

    def means(b: np.ndarray, a: np.ndarray, of_draw: np.ndarray) -> np.ndarray:
        base = kinds @ b[len(names) - 1 :] + a[effect]
        effects = np.concatenate([[0.0], b[: len(names) - 1]])
        n = count * of_draw[of_area]
        found = model.mean(effects[:, None] + base[None, :]) @ n / n.sum()
        return np.where(of_draw @ present > 0, found, np.nan)

    found = [means(b, a, np.ones(copies.shape[1]))]
    found += [means(*each) for each in zip(drawn_b, drawn_a, copies, strict=True)]
    return np.array(found)


def _rows(
    model: str,
    factors: tuple[str, ...],
    names: tuple[str, ...],
    drawn: np.ndarray,
    totals: pd.DataFrame,
    level: float,
    threshold: int,
    scale: float,
    areas: int,
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for at, name in enumerate(names[1:], 1):
        few = bool(totals.loc[name, "observed"] < threshold)
        difference = scale * (drawn[:, at] - drawn[:, 0])
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(drawn[:, 0] > 0, drawn[:, at] / drawn[:, 0], np.nan)
        bounds = [np.nanquantile(values[1:], tails(level, areas)) for values in (difference, ratio)]
        figures = {
            "rate": scale * drawn[0, at],
            "difference": difference[0],
            "difference_low": bounds[0][0],
            "difference_high": bounds[0][1],
            "ratio": ratio[0],
            "ratio_low": bounds[1][0],
            "ratio_high": bounds[1][1],
        }
        rows.append(
            {
                "model": model,
                "adjusted_for": ", ".join(factors),
                "group": name,
                "reference": names[0],
                "n": float(totals.loc[name, "n"]),
                "clusters": int(totals.loc[name, "clusters"]),
                **(dict.fromkeys(figures, np.nan) if few else {key: float(value) for key, value in figures.items()}),
                "status": TOO_FEW if few else "ok",
                "note": QUESTIONS.get(model, ""),
            }
        )
    return rows
