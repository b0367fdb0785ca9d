"""How much of a gap in a share goes with measured differences, by a logistic model (Fairlie), on cells.

A share near zero or one isn't well told by a straight line, and in a curved model the part of one factor depends on
which factors were switched before it. So each factor's part is averaged over every order, or over random orders where
there are many factors. Children of the two groups are matched by their rank in predicted outcome; in cells that is the
matching of two distributions by quantile, which is where Fairlie's repeated samples tend to.

Sources: Fairlie (1999), doi:10.1086/209914; Fairlie (2005), doi:10.3233/JEM-2005-0259; Fairlie (2017), Stanford
Institute for Economic Policy Research 17-001, for the order and for weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd
from scipy import special

from sendap import groups
from sendap.cells import Cells
from sendap.disparity.adjust import CellModel
from sendap.disparity.intervals import tails
from sendap.disparity.oaxaca import CAVEAT
from sendap.disparity.rates import THRESHOLD, rates
from sendap.disparity.words import places, side, unit_words
from sendap.errors import DesignError, UsageError, did_you_mean
from sendap.numerals import show

EVERY_ORDER = 5
"""With this many factors or fewer every order is used."""

RANDOM_ORDERS = 120
GAP, EXPLAINED, REST = "gap", "explained", "not explained by the measured factors"


@dataclass(frozen=True)
class Fairlie:
    """A gap and its parts in the outcome's unit.

    ``frame``: ``part`` ("gap", "explained", "not explained by the measured factors"), ``estimate, low, high``.
    ``detail``: ``factor, explained, low, high``, which add up to what is explained. Limits are from drawing whole areas
    with replacement, with one Newton step for each draw; missing where there is only one area. ``orders`` is the number
    of orders that were averaged.
    """

    group: str
    reference: str
    by: str
    frame: pd.DataFrame
    detail: pd.DataFrame
    orders: int
    areas: int
    unit: str

    def sentence(self) -> str:
        """The parts in plain words, never as a cause."""
        gap, explained, rest = (self.frame.iloc[position] for position in range(3))
        at = places(gap["low"], gap["high"])

        def value(row: pd.Series) -> str:
            limits = f" ({show(row['low'], at)} to {show(row['high'], at)})" if np.isfinite(row["low"]) else ""
            return f"{show(row['estimate'], at)}{limits}"

        here, there = (groups.pupils_in(name, of=self.by) for name in (self.group, self.reference))
        factors = " and ".join(groups.stratum_words(str(name)) for name in self.detail["factor"])
        return (
            f"The rate is {show(abs(gap['estimate']), at)} {unit_words(self.unit)} {side(gap['estimate'])} for {here} "
            f"than for {there}. {value(explained)} is explained by {factors}, and "
            f"{value(rest)} is not explained by the measured factors. {CAVEAT}"
        )


def fairlie(
    cells: Cells,
    outcome: str | None = None,
    *,
    by: str,
    group: str,
    reference: str,
    factors: Sequence[str],
    level: float = 0.95,
    draws: int = 199,
    seed: int = 20230902,
) -> Fairlie:
    """The gap ``group`` minus ``reference`` of a share, and how much goes with the strata in ``factors``.

    explained = mean F(x'b) over the children of the group less that over those of the reference, both at the level of
    the reference; b from both groups together with a dummy for the group. Periods and areas are added up.

    Raises UsageError for an unknown stratum or group; DesignError for an outcome that isn't a share, a group under ten
    children, or margins that can't answer.
    """
    factors = tuple(factors)
    if not factors or by in factors:
        raise UsageError("factors is a list of strata other than the one whose gap is decomposed.")
    found = rates(cells, outcome, by=("cluster", by, *factors))
    if not found.share:
        raise DesignError(f"'{found.outcome}' isn't a share of children. Use oaxaca() for a mean.")
    frame = found.frame.astype(dict.fromkeys((by, *factors), str))
    for name in (group, reference):
        held = frame.loc[frame[by] == name, "observed"].sum()
        if held == 0:
            raise UsageError(f"The stratum '{by}' has no group '{name}'.{did_you_mean(name, set(frame[by]))}")
        if held < THRESHOLD:
            raise DesignError(f"The group '{name}' has fewer than {THRESHOLD} children: too few to say.")
    frame = frame[frame[by].isin([group, reference])].reset_index(drop=True)
    clusters, area = np.unique(frame["cluster"].to_numpy(dtype=object), return_inverse=True)
    generator = np.random.default_rng(seed)
    copies = generator.multinomial(len(clusters), np.full(len(clusters), 1 / len(clusters)), size=draws)
    parts, orders = _drawn(frame, by, group, factors, area, copies, generator)
    ends = tails(level, len(clusters))

    def row(values: np.ndarray, name: str) -> dict[str, float]:
        low, high = np.nanquantile(values[1:], ends) if len(clusters) > 1 else (np.nan, np.nan)
        return {name: found.scale * float(values[0]), "low": found.scale * low, "high": found.scale * high}

    explained = parts["factors"].sum(axis=1)
    totals = {GAP: parts["gap"], EXPLAINED: explained, REST: parts["gap"] - explained}
    table = pd.DataFrame([{"part": name, **row(values, "estimate")} for name, values in totals.items()])
    detail = pd.DataFrame(
        [{"factor": name, **row(parts["factors"][:, at], "explained")} for at, name in enumerate(factors)]
    )
    return Fairlie(group, reference, by, table, detail, orders, len(clusters), found.info.unit)


def _drawn(
    frame: pd.DataFrame,
    by: str,
    group: str,
    factors: tuple[str, ...],
    area: np.ndarray,
    copies: np.ndarray,
    generator: np.random.Generator,
) -> tuple[dict[str, np.ndarray], int]:
    """The gap (R + 1) and the factors' parts (R + 1 by factors), first as observed, then for each draw of areas."""
    member = (frame[by] == group).to_numpy()
    names = {factor: sorted(frame[factor].unique()) for factor in factors}
    code = np.stack([frame[factor].map({n: i for i, n in enumerate(names[factor])}) for factor in factors], axis=1)
    dummies = [member.astype(float)]
    dummies += [(code[:, at] == k).astype(float) for at, f in enumerate(factors) for k in range(1, len(names[f]))]
    n, rate = frame["observed"].to_numpy(), frame["rate"].to_numpy()
    model = CellModel(np.stack(dummies, axis=1), n, rate, area, apart=False, share=True)
    b, a = model.fit()
    drawn_b, drawn_a = model.drawn(b, a, copies)
    profile, of_row = np.unique(code, axis=0, return_inverse=True)
    of_row = of_row.ravel()
    if len(factors) <= EVERY_ORDER:
        orders = list(permutations(range(len(factors))))
    else:
        orders = [tuple(generator.permutation(len(factors))) for _ in range(RANDOM_ORDERS)]
    gaps, found = [], []
    for at, weight in enumerate(np.concatenate([np.ones((1, copies.shape[1])), copies])):
        coefficients, level = (b, a) if at == 0 else (drawn_b[at - 1], drawn_a[at - 1])
        count = n * weight[area]
        shares = [np.bincount(of_row, count * mask, len(profile)) for mask in (member, ~member)]
        if min(share.sum() for share in shares) == 0:
            gaps.append(np.nan)
            found.append(np.full(len(factors), np.nan))
            continue
        gaps.append(np.average(rate, weights=count * member) - np.average(rate, weights=count * ~member))
        effects, place = [], 1
        for factor in factors:
            width = len(names[factor]) - 1
            effects.append(np.concatenate([[0.0], coefficients[place : place + width]]))
            place += width
        found.append(switched(profile, [each / each.sum() for each in shares], effects, float(level[0]), orders))
    return {"gap": np.array(gaps), "factors": np.array(found)}, len(orders)


def switched(
    profile: np.ndarray,
    shares: Sequence[np.ndarray],
    effects: Sequence[np.ndarray],
    constant: float,
    orders: Sequence[Sequence[int]],
) -> np.ndarray:
    """Each factor's part of mean F in the group less mean F in the reference, averaged over ``orders``.

    ``profile`` (K by J) holds each profile's category of each factor, ``shares`` the two groups' shares of the profiles
    (K each), ``effects`` the coefficients of each factor's categories. The two groups are matched by rank in F.
    """
    linear = constant + sum(effect[profile[:, at]] for at, effect in enumerate(effects))
    rank = np.argsort(linear, kind="stable")
    edges = [np.concatenate([[0.0], np.cumsum(share[rank])]) for share in shares]
    cuts = np.unique(np.concatenate(edges).clip(0, 1))
    mass, middle = np.diff(cuts), (cuts[1:] + cuts[:-1]) / 2
    own, other = (rank[np.clip(np.searchsorted(edge, middle, side="right") - 1, 0, len(rank) - 1)] for edge in edges)
    total = np.zeros(len(effects))
    for order in orders:
        now = linear[other].copy()
        before = special.expit(now)
        for at in order:
            now = now + effects[at][profile[own, at]] - effects[at][profile[other, at]]
            after = special.expit(now)
            total[at] += mass @ (after - before)
            before = after
    return total / len(orders)
