"""Where and when a programme that never happened is placed: at random, or chosen as real ones are.

- ``random``: any areas, dealt evenly over the regions, as a programme that takes part of each region.
- ``leading``: in each region an area that did well in the last two years before the start leads, and others of its
  region join it at random, as the Change Programme chose lead areas on their published performance and added
  neighbours.
- ``struggling``: areas that did badly in the last two years before the start, wherever they are, as agreements on
  deficits were made.
- ``falling``: areas whose figures got worse by most since the first year.
- ``always_low``: areas that did badly on average over all years before the start.
"""

from __future__ import annotations

import numpy as np

SCHEMES = ("random", "leading", "struggling", "falling", "always_low")
IN_PARTNERSHIP = 4
SHARE = 1 / 3
"""Of all areas, from how many the best are taken, or the worst."""


def place(
    scheme: str, count: int, values: np.ndarray, start: int, region: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Positions of the treated areas. ``values`` (A by T), turned so that larger is better; ``start`` a position."""
    if scheme == "random":
        return _spread(generator.permutation(len(region)), region, count)
    recent = values[:, max(start - 2, 0) : start].mean(axis=1)
    judged = {
        "struggling": recent,
        "falling": values[:, start - 1] - values[:, 0],
        "always_low": values[:, :start].mean(axis=1),
    }
    if scheme in judged:
        worst = np.argsort(judged[scheme])[: max(int(len(recent) * SHARE), 2 * count)]
        return generator.permutation(worst)[:count]
    best = np.argsort(-recent)[: max(int(len(recent) * SHARE), count)]
    leads = _spread(generator.permutation(best), region, min(count, int(np.ceil(count / IN_PARTNERSHIP))))
    if count <= len(np.unique(region)):
        leads = _spread(generator.permutation(best), region, count)
    chosen = list(leads)
    for lead in leads:
        near = [at for at in generator.permutation(np.flatnonzero(region == region[lead])) if at not in chosen]
        chosen += near[: min(IN_PARTNERSHIP - 1, count - len(chosen))]
    rest = [at for at in generator.permutation(len(region)) if at not in chosen]
    return np.array((chosen + rest)[:count])


def _spread(order: np.ndarray, region: np.ndarray, count: int) -> np.ndarray:
    """The first of an order, one a region in turn."""
    turn = np.zeros(len(order), dtype=int)
    seen: dict[int, int] = {}
    for position, at in enumerate(order):
        turn[position] = seen.get(int(region[at]), 0)
        seen[int(region[at])] = turn[position] + 1
    return order[np.argsort(turn, kind="stable")][:count]
