"""The social gradient: how far an outcome moves from the most to the least deprived (standard 6.4).

Each ordered category stands at the middle of its share of all children, counted from the most deprived (its ridit),
so the slope spans the whole population and can be compared where shares differ. Not for ethnic groups, which have no
order. Sources: Kunst and Mackenbach (1995), Measuring Socioeconomic Inequalities in Health, World Health
Organization; Mackenbach and Kunst (1997), doi:10.1016/S0277-9536(96)00073-1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendap.cells import Cells
from sendap.disparity.intervals import tails
from sendap.disparity.rates import THRESHOLD, TOO_FEW, rates
from sendap.disparity.words import places, side, unit_words
from sendap.errors import DesignError, UsageError
from sendap.numerals import show

FEWEST_CATEGORIES = 3
STEPS, CLOSE = 50, 1e-12


@dataclass(frozen=True)
class Gradient:
    """Slope and relative index of inequality.

    ``frame``: ``measure`` ("slope index", "relative index (Kunst-Mackenbach)", "relative index (Poisson)",
    "curvature"), ``estimate, low, high``, from drawing whole areas with replacement; where a share is known for one
    place only, from drawing the children of each category, who then count as independent. The slope index is in the
    outcome's unit, positive where the least deprived have more of it; the relative indices are the rate at the least
    over that at the most deprived end. ``linear`` is whether the interval of the curvature (a squared term) holds zero:
    where it doesn't, a straight line misstates the gradient. ``categories``: ``category, n, ridit, rate, status``.
    """

    frame: pd.DataFrame
    linear: bool
    categories: pd.DataFrame
    areas: int
    unit: str

    def value(self, measure: str) -> pd.Series:
        return self.frame[self.frame["measure"] == measure].iloc[0]

    def sentence(self) -> str:
        slope = self.value("slope index")
        at, unit = places(slope["low"], slope["high"]), unit_words(self.unit)
        low, high = show(slope["low"], at), show(slope["high"], at)
        if slope["low"] <= 0 <= slope["high"]:
            said = (
                f"We can't tell whether the rate differs by deprivation: the slope is between {low} and {high} {unit}."
            )
        else:
            said = (
                f"The rate is {show(abs(slope['estimate']), at)} {unit} {side(slope['estimate'])} at the least than "
                f"at the most deprived end (slope index of inequality, 95% confidence interval {low} to {high})."
            )
        return said if self.linear else f"{said} The rates don't lie on a straight line, so look at each category."


def ridits(n: np.ndarray) -> np.ndarray:
    """Middle of each category's share of all children (last axis), in the order given. Source: Bross (1958)."""
    share = n / n.sum(axis=-1, keepdims=True)
    return np.cumsum(share, axis=-1) - share / 2


def slope_index(x: np.ndarray, rate: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intercept and slope of ``rate`` on ridit ``x`` by least squares weighted by children (R by K each)."""
    total = n.sum(axis=-1)
    mx, my = (n * x).sum(axis=-1) / total, (n * rate).sum(axis=-1) / total
    dx = x - mx[..., None]
    slope = (n * dx * (rate - my[..., None])).sum(axis=-1) / (n * dx**2).sum(axis=-1)
    return my - slope * mx, slope


def poisson_slope(x: np.ndarray, rate: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Slope of the log rate on ridit ``x`` by Poisson regression weighted by children, by Newton's method (R by K)."""
    start = np.log(np.maximum((n * rate).sum(axis=-1) / n.sum(axis=-1), 1e-300))
    a, b = start, np.zeros_like(start)
    for _ in range(STEPS):
        mu = n * np.exp(np.clip(a[..., None] + b[..., None] * x, -700, 700))
        score0, score1 = (n * rate - mu).sum(axis=-1), ((n * rate - mu) * x).sum(axis=-1)
        i00, i01, i11 = mu.sum(axis=-1), (mu * x).sum(axis=-1), (mu * x**2).sum(axis=-1)
        det = i00 * i11 - i01**2
        step0, step1 = (i11 * score0 - i01 * score1) / det, (i00 * score1 - i01 * score0) / det
        a, b = a + step0, b + step1
        if np.nanmax(np.abs(step1)) < CLOSE:
            break
    return b


def _curvature(x: np.ndarray, rate: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Coefficient of the squared ridit in a weighted quadratic (R by K to R)."""
    design = np.stack([np.ones_like(x), x, x**2], axis=-1)
    gram = np.einsum("rk,rkp,rkq->rpq", n, design, design)
    moment = np.einsum("rk,rkp,rk->rp", n, design, rate)
    return (np.linalg.pinv(gram, hermitian=True) @ moment[..., None])[:, 2, 0]


def gradient(
    cells: Cells,
    outcome: str | None = None,
    *,
    by: str,
    order: Sequence[str] | None = None,
    level: float = 0.95,
    threshold: int = THRESHOLD,
    draws: int = 1999,
    seed: int = 20230902,
) -> Gradient:
    """The gradient over the categories of a stratum, which run from the most to the least deprived.

    ``order`` lists them so; without it they must be whole numbers, of which the lowest is the most deprived, as in
    deciles of IDACI. Children whose category isn't in ``order`` ("Unknown") are left out and appear in ``categories``.
    Periods are added up. Categories under ``threshold`` children stay in the slope, and are marked.

    Raises UsageError for ethnicity or sex, an order that doesn't fit; DesignError for fewer than three categories.
    """
    if by in ("ethnicity", "sex"):
        raise UsageError(f"A gradient needs categories in an order, and those of {by} have none. Use gaps().")
    found = rates(cells, outcome, by=("cluster", by))
    frame = found.frame.assign(**{by: found.frame[by].astype(str)})
    known = sorted(set(frame[by]))
    names = _order(known, by, order)
    kept = frame[frame[by].isin(names)]
    count = kept.pivot(index="cluster", columns=by, values="observed").reindex(columns=names).fillna(0.0).to_numpy()
    events = kept.assign(events=kept["rate"] * kept["observed"] * found.scale)
    total = events.pivot(index="cluster", columns=by, values="events").reindex(columns=names).fillna(0.0).to_numpy()
    areas = len(count)
    copies = np.random.default_rng(seed).multinomial(areas, np.full(areas, 1 / areas), size=draws).astype(float)
    n, sums = (np.concatenate([np.ones((1, areas)), copies]) @ values for values in (count, total))
    if areas == 1 and found.share:
        share = np.clip(np.divide(total[0], count[0] * found.scale, where=count[0] > 0, out=np.zeros(len(names))), 0, 1)
        drawn = np.random.default_rng(seed).binomial(np.rint(count[0]).astype(int), share, size=(draws, len(names)))
        sums = np.concatenate([sums[:1], drawn * found.scale])
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(n > 0, sums / n, 0.0)
        x = ridits(n)
        intercept, slope = slope_index(x, rate, n)
        measures = {
            "slope index": slope,
            "relative index (Kunst-Mackenbach)": np.where(intercept > 0, (intercept + slope) / intercept, np.nan),
            "relative index (Poisson)": np.exp(poisson_slope(x, rate, n))
            if (rate >= 0).all()
            else np.full(len(x), np.nan),
            "curvature": _curvature(x, rate, n),
        }
    ends = tails(level, areas)
    rows = []
    for name, values in measures.items():
        low, high = np.nanquantile(values[1:], ends) if np.isfinite(values[1:]).any() else (np.nan, np.nan)
        rows.append({"measure": name, "estimate": float(values[0]), "low": float(low), "high": float(high)})
    table = pd.DataFrame(rows)
    bend = table.iloc[-1]
    categories = pd.DataFrame({"category": names, "n": n[0], "ridit": x[0], "rate": rate[0]})
    outside = frame[~frame[by].isin(names)].groupby(by)["observed"].sum()
    categories["status"] = np.where(categories["n"] < threshold, TOO_FEW, "ok")
    others = pd.DataFrame({"category": outside.index, "n": outside.to_numpy(), "status": "outside the order"})
    categories = pd.concat([categories, others], ignore_index=True) if len(others) else categories
    categories.loc[categories["status"] == TOO_FEW, "rate"] = np.nan
    return Gradient(table, bool(bend["low"] <= 0 <= bend["high"]), categories, areas, found.info.unit)


def _order(known: Sequence[str], by: str, order: Sequence[str] | None) -> list[str]:
    if order is None:
        numbers = [name for name in known if name.lstrip("-").isdigit()]
        if len(numbers) < len([name for name in known if name != "Unknown"]):
            raise UsageError(
                f"The categories of '{by}' aren't whole numbers. Give their order, the most deprived first."
            )
        names = sorted(numbers, key=int)
    else:
        names = [str(name) for name in order]
        missing = [name for name in names if name not in known]
        if missing:
            raise UsageError(f"The stratum '{by}' has no category '{missing[0]}'. It has {', '.join(known)}.")
    if len(names) < FEWEST_CATEGORIES:
        raise DesignError(f"A gradient needs at least {FEWEST_CATEGORIES} categories; '{by}' has {len(names)}.")
    return names
