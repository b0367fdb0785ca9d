"""How much of a gap goes with measured differences between the groups (Oaxaca-Blinder), on cells.

With categories only, least squares on cells weighted by their children is least squares on the records. Sources:
Oaxaca (1973), doi:10.2307/2525981; Jann (2008), doi:10.1177/1536867X0800800401, for the pooled coefficients with a
group dummy; Yun (2005), doi:10.1111/j.1465-7295.2005.tb00005.x, for normalised effects, without which the detailed
parts depend on which category is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendap import groups
from sendap.cells import Cells
from sendap.disparity.intervals import tails
from sendap.disparity.rates import rates
from sendap.disparity.words import places, side, unit_words
from sendap.errors import DesignError, UsageError, did_you_mean
from sendap.numerals import show

CAVEAT = (
    "'Explained' means that it goes with the measured factors, and 'not explained by the measured factors' that it "
    "doesn't. Neither shows what caused the gap."
)


@dataclass(frozen=True)
class Oaxaca:
    """A gap and its parts in the outcome's unit.

    ``frame``: ``part`` ("gap", "explained", "not explained by the measured factors"), ``estimate, low, high``.
    ``detail``: one row a factor and one for the constant: ``factor, explained, not_explained``, with ``_low`` and
    ``_high``; they add up to the parts. ``coefficients``: ``factor, category`` and the normalised effects of the pooled
    model and of each group. Limits are from drawing whole areas with replacement.
    """

    group: str
    reference: str
    by: str
    frame: pd.DataFrame
    detail: pd.DataFrame
    coefficients: pd.DataFrame
    areas: int
    unit: str

    def sentence(self) -> str:
        """The parts in plain words, never as a cause."""
        gap, explained, rest = (self.frame.iloc[position] for position in range(3))
        at, unit = places(gap["low"], gap["high"]), unit_words(self.unit)

        def value(row: pd.Series) -> str:
            return f"{show(row['estimate'], at)} ({show(row['low'], at)} to {show(row['high'], at)})"

        here, there = (groups.pupils_in(name, of=self.by) for name in (self.group, self.reference))
        factors = [groups.stratum_words(str(name)) for name in self.detail["factor"] if name != "constant"]
        return (
            f"The rate is {show(abs(gap['estimate']), at)} {unit} {side(gap['estimate'])} for {here} than for "
            f"{there}. {value(explained)} is explained by {' and '.join(factors)}, and {value(rest)} is not "
            "explained by the measured factors."
        )


@dataclass(frozen=True)
class _Design:
    """Dummies of the factors (first category left out) after a constant: which columns belong to which factor."""

    factors: tuple[str, ...]
    categories: dict[str, list[str]]

    @property
    def width(self) -> int:
        return 1 + sum(len(names) - 1 for names in self.categories.values())

    def matrix(self, frame: pd.DataFrame) -> np.ndarray:
        columns = [np.ones(len(frame))]
        for factor in self.factors:
            columns += [(frame[factor] == name).to_numpy(dtype=float) for name in self.categories[factor][1:]]
        return np.stack(columns, axis=1)

    def normalise(self, coefficients: np.ndarray) -> np.ndarray:
        """Constant, then an effect of every category (R by 1 + sum of K), each factor's effects averaging zero."""
        made, constant, at = [], coefficients[:, :1].copy(), 1
        for factor in self.factors:
            width = len(self.categories[factor]) - 1
            own = np.concatenate([np.zeros((len(coefficients), 1)), coefficients[:, at : at + width]], axis=1)
            mean = own.mean(axis=1, keepdims=True)
            made.append(own - mean)
            constant += mean
            at += width
        return np.concatenate([constant, *made], axis=1)

    def whole(self, means: np.ndarray) -> np.ndarray:
        """Shares of every category from the means of the dummies (R by width), in the order of ``normalise``."""
        made, at = [means[:, :1]], 1
        for factor in self.factors:
            width = len(self.categories[factor]) - 1
            own = means[:, at : at + width]
            made += [1 - own.sum(axis=1, keepdims=True), own]
            at += width
        return np.concatenate(made, axis=1)


def oaxaca(
    cells: Cells,
    outcome: str | None = None,
    *,
    by: str,
    group: str,
    reference: str,
    factors: Sequence[str],
    level: float = 0.95,
    draws: int = 999,
    seed: int = 20230902,
) -> Oaxaca:
    """The gap ``group`` minus ``reference``, and how much of it goes with the strata in ``factors``.

    explained = (X1 - X0)'b*, not explained = X1'(b1 - b*) + X0'(b* - b0), b* of both groups together with a dummy for
    the group. A linear model, for shares as for means. Periods and areas are added up, and areas are what is drawn.

    Raises UsageError for an unknown stratum or group; DesignError where margins can't answer, or where a category has
    children of one group only, so that its effect in the other can't be known.
    """
    factors = tuple(factors)
    if not factors or by in factors:
        raise UsageError("factors is a list of strata other than the one whose gap is decomposed.")
    found = rates(cells, outcome, by=("cluster", by, *factors))
    frame = found.frame.astype(dict.fromkeys((by, *factors), str))
    for name in (group, reference):
        if name not in set(frame[by]):
            raise UsageError(f"The stratum '{by}' has no group '{name}'.{did_you_mean(name, set(frame[by]))}")
    frame = frame[frame[by].isin([group, reference])]
    for factor in factors:
        seen = frame.groupby(factor)[by].nunique()
        if (seen < 2).any():
            raise DesignError(
                f"Only one of the two groups has children with {factor} '{seen.index[seen < 2][0]}', so the groups "
                f"can't be compared at the same {factor}. Join categories, or leave them out with filter()."
            )
    design = _Design(factors, {factor: groups.in_order(frame[factor]) for factor in factors})
    sums = [
        _sums(frame[frame[by] == name], design, found.scale, frame["cluster"].unique()) for name in (group, reference)
    ]
    areas = frame["cluster"].nunique()
    generator = np.random.default_rng(seed)
    copies = np.concatenate(
        [np.ones((1, areas)), generator.multinomial(areas, np.full(areas, 1 / areas), size=draws).astype(float)]
    )
    parts = _parts(sums, copies, design)
    return _result(parts, design, level, group, reference, by, areas, found.info.unit)


def _sums(frame: pd.DataFrame, design: _Design, scale: float, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cross-products of the dummies (A by P by P) and with the outcome (A by P) of each area."""
    x, weight = design.matrix(frame), frame["observed"].to_numpy()
    at = pd.Index(clusters).get_indexer(frame["cluster"])
    gram = np.zeros((len(clusters), design.width, design.width))
    moment = np.zeros((len(clusters), design.width))
    np.add.at(gram, at, weight[:, None, None] * x[:, :, None] * x[:, None, :])
    np.add.at(moment, at, (weight * frame["rate"].to_numpy() * scale)[:, None] * x)
    return gram, moment


def _parts(sums: list[tuple[np.ndarray, np.ndarray]], copies: np.ndarray, design: _Design) -> dict[str, np.ndarray]:
    """For R draws: the gap (R), parts by category (R by columns) and normalised effects."""
    gram = [np.tensordot(copies, each[0], axes=1) for each in sums]
    moment = [copies @ each[1] for each in sums]
    own = [_solve(g, m) for g, m in zip(gram, moment, strict=True)]
    width = design.width
    # Both groups together, with a dummy for the group as the last column.
    pooled = np.zeros((len(copies), width + 1, width + 1))
    pooled[:, :width, :width] = gram[0] + gram[1]
    pooled[:, :width, width] = pooled[:, width, :width] = gram[0][:, 0, :]
    pooled[:, width, width] = gram[0][:, 0, 0]
    right = np.concatenate([moment[0] + moment[1], moment[0][:, :1]], axis=1)
    effect = [design.normalise(each) for each in (own[0], own[1], _solve(pooled, right)[:, :width])]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = [design.whole(g[:, 0, :] / g[:, :1, 0]) for g in gram]
        mean = [m[:, 0] / g[:, 0, 0] for g, m in zip(gram, moment, strict=True)]
    return {
        "gap": mean[0] - mean[1],
        "explained": (share[0] - share[1]) * effect[2],
        "rest": share[0] * (effect[0] - effect[2]) + share[1] * (effect[2] - effect[1]),
        "effects": np.stack([each[0] for each in (effect[2], effect[0], effect[1])]),
    }


def _solve(gram: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Least squares for R draws; a draw that misses a category gets the smallest of its solutions."""
    return (np.linalg.pinv(gram, rcond=1e-10, hermitian=True) @ moment[:, :, None])[:, :, 0]


def _result(
    parts: dict[str, np.ndarray],
    design: _Design,
    level: float,
    group: str,
    reference: str,
    by: str,
    areas: int,
    unit: str,
) -> Oaxaca:
    at, spans = 1, {"constant": slice(0, 1)}
    for factor in design.factors:
        spans[factor] = slice(at, at + len(design.categories[factor]))
        at = spans[factor].stop
    ends = tails(level, areas)

    def row(values: np.ndarray, name: str) -> dict[str, float]:
        low, high = np.nanquantile(values[1:], ends)
        return {name: float(values[0]), f"{name}_low".lstrip("_"): float(low), f"{name}_high".lstrip("_"): float(high)}

    totals = {
        "gap": parts["gap"],
        "explained": parts["explained"].sum(axis=1),
        "not explained by the measured factors": parts["rest"].sum(axis=1),
    }
    frame = pd.DataFrame([{"part": name, **row(values, "estimate")} for name, values in totals.items()])
    frame = frame.rename(columns={"estimate_low": "low", "estimate_high": "high"})
    detail = pd.DataFrame(
        [
            {
                "factor": name,
                **row(parts["explained"][:, span].sum(axis=1), "explained"),
                **row(parts["rest"][:, span].sum(axis=1), "not_explained"),
            }
            for name, span in {**{f: spans[f] for f in design.factors}, "constant": spans["constant"]}.items()
        ]
    )
    labels = [("constant", ""), *((f, name) for f in design.factors for name in design.categories[f])]
    coefficients = pd.DataFrame(labels, columns=["factor", "category"])
    for name, values in zip(("pooled", "group", "reference"), parts["effects"], strict=True):
        coefficients[name] = values
    return Oaxaca(group, reference, by, frame, detail, coefficients, areas, unit)
