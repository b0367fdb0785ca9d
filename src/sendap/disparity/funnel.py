"""Funnel: which areas lie further from the national rate than chance and ordinary variation explain.

Source: Spiegelhalter (2005), doi:10.1002/sim.1970, with additive overdispersion and winsorised z-scores; the same, in
Quality and Safety in Health Care, doi:10.1136/qshc.2005.013755.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendap.cells import Cells
from sendap.disparity.rates import THRESHOLD, TOO_FEW, rates
from sendap.errors import DesignError

LIMITS = {"95%": 1.96, "99.8%": 3.09}
WINSORISED = 0.10
INSIDE, BEYOND, FAR_BEYOND = "inside the limits", "beyond the 95% limits", "beyond the 99.8% limits"


@dataclass(frozen=True)
class Funnel:
    """Areas against the national rate, in the order of their codes.

    ``frame``: ``cluster, n, rate`` (in the outcome's unit), ``z`` (by chance alone), ``z_adjusted`` (with the ordinary
    variation between areas), ``position`` (one of three, by the adjusted z) and ``status``. ``target`` is the national
    rate and ``between_sd`` (tau) the ordinary variation, in the outcome's unit; ``dispersion`` (phi) is 1 where chance
    alone explains the spread.
    """

    frame: pd.DataFrame
    target: float
    dispersion: float
    between_sd: float
    scale: float

    def limits(self, n: np.ndarray, *, adjusted: bool = True) -> pd.DataFrame:
        """The curves to draw at these numbers of children: ``n``, then low and high for each limit."""
        n = np.asarray(n, dtype=float)
        p = self.target / self.scale
        error = np.sqrt(p * (1 - p) / n + (self.between_sd / self.scale) ** 2 * adjusted)
        curves = {"n": n}
        for name, z in LIMITS.items():
            curves[f"low_{name}"] = np.clip(p - z * error, 0, 1) * self.scale
            curves[f"high_{name}"] = np.clip(p + z * error, 0, 1) * self.scale
        return pd.DataFrame(curves)


def winsorise(z: np.ndarray, *, share: float = WINSORISED) -> np.ndarray:
    """Values beyond the ``share`` and 1 - ``share`` quantiles brought in, so that outliers don't widen limits."""
    low, high = np.quantile(z, [share, 1 - share])
    return np.clip(z, low, high)


def overdispersion(
    rate: np.ndarray, error: np.ndarray, target: float, *, share: float = WINSORISED
) -> tuple[float, float]:
    """Phi and tau squared (in squared units of ``rate``) from I areas with standard errors ``error`` at the target.

    phi is the mean squared winsorised z; tau squared is (I phi - (I - 1)) / (sum w - sum w^2 / sum w), w = 1/s^2, or
    zero where that is negative.
    """
    z = winsorise((rate - target) / error, share=share)
    count, weight = len(z), error**-2.0
    phi = float((z**2).mean())
    tau2 = (count * phi - (count - 1)) / (weight.sum() - (weight**2).sum() / weight.sum())
    return phi, max(float(tau2), 0.0)


def funnel(
    cells: Cells, outcome: str | None = None, *, threshold: int = THRESHOLD, winsorised: float = WINSORISED
) -> Funnel:
    """The funnel of a share over areas; strata and periods are added up, so filter the cells first for a group or year.

    Areas under ``threshold`` children are in the frame as too few to say, and outside the estimates of variation.

    Raises DesignError for an outcome that isn't a share, for fewer than ten areas, or where all children are alike.
    """
    found = rates(cells, outcome, by="cluster")
    if not found.share:
        raise DesignError(f"'{found.outcome}' isn't a share of children, so its chance variation isn't known.")
    frame = found.frame.sort_values("cluster").reset_index(drop=True)
    count, rate = frame["observed"].to_numpy(), frame["rate"].to_numpy()
    enough = count >= threshold
    if enough.sum() < 10:
        raise DesignError(f"Only {int(enough.sum())} areas have {threshold} children or more. A funnel needs ten.")
    target = float((rate * count).sum() / count.sum())
    if not 0 < target < 1:
        raise DesignError(f"'{found.outcome}' is the same for every child, so there is nothing to compare.")
    error = np.sqrt(target * (1 - target) / count)
    phi, tau2 = overdispersion(rate[enough], error[enough], target, share=winsorised)
    z, adjusted = (rate - target) / error, (rate - target) / np.sqrt(error**2 + tau2)
    far = np.abs(adjusted)
    position = np.select([far > LIMITS["99.8%"], far > LIMITS["95%"]], [FAR_BEYOND, BEYOND], INSIDE)
    made = pd.DataFrame(
        {
            "cluster": frame["cluster"],
            "n": count,
            "rate": np.where(enough, rate * found.scale, np.nan),
            "z": np.where(enough, z, np.nan),
            "z_adjusted": np.where(enough, adjusted, np.nan),
            "position": np.where(enough, position, ""),
            "status": np.where(enough, "ok", TOO_FEW),
        }
    )
    return Funnel(made, target * found.scale, phi, float(np.sqrt(tau2)) * found.scale, found.scale)
