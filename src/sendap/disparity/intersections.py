"""Intersections: strata such as ethnicity by sex by FSM, and how far they differ (MAIHDA, standard 6.7).

Model A gives every stratum a random effect; model B adds the main effects of its parts. What model B leaves between
strata is what the parts don't add up to. For a mean it's a linear mixed model, fitted by restricted maximum likelihood
from the counts, means and squared deviations of the strata, which hold all that it needs: the same answer as from the
records. For a share it's a logistic one, from the counts (``sendap.disparity.random_logit``).

Sources: Evans and others (2018), doi:10.1016/j.socscimed.2017.11.011; Merlo (2018),
doi:10.1016/j.socscimed.2017.12.026; Searle, Casella and McCulloch (1992), Variance Components, for the likelihood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from sendap import groups
from sendap.cells import Cells
from sendap.disparity.random_logit import LATENT_VARIANCE, fit_logit
from sendap.disparity.rates import THRESHOLD, TOO_FEW, rates
from sendap.errors import DesignError, UsageError
from sendap.numerals import show

FEWEST_STRATA = 6


@dataclass(frozen=True)
class Component:
    """A random-intercept model of strata: between and within variance, fixed effects, and the shrunken effects."""

    between: float
    within: float
    coefficients: np.ndarray
    fitted: np.ndarray
    shrunk: np.ndarray
    error: np.ndarray


@dataclass(frozen=True)
class Intersections:
    """How strata differ, and how much of that their parts explain.

    ``frame``: one column for each part, ``n, rate`` (raw), ``shrunk, low, high`` (drawn towards model A's mean),
    ``beyond, beyond_low, beyond_high`` (what model B's main effects don't explain) and ``status``; in the outcome's
    unit. Strata under the threshold are kept without figures. ``between_a, between_b, within`` are variances, for a
    share on the logit's latent scale. ``vpc`` is the share of all variance that lies between strata; ``pcv`` the
    share of that which main effects explain, missing where there is none to explain. Both describe; a low or negative
    PCV doesn't show that something is hidden. ``auc``, of a share: the chance that a child with the outcome stands in a
    stratum with a higher shrunken share than a child without it (0.5 where strata tell nothing); missing for a mean.
    """

    frame: pd.DataFrame
    vpc: float
    pcv: float
    between_a: float
    between_b: float
    within: float
    by: tuple[str, ...]
    auc: float = float("nan")

    def sentence(self) -> str:
        share = f"{show(100 * self.vpc, 1)} per cent of the variation lies between the {len(self.frame)} groups"
        parts = " and ".join(groups.stratum_words(name) for name in self.by)
        if not np.isfinite(self.pcv):
            return f"{share}. There is nothing between them for {parts} to explain."
        if self.pcv < 0:
            return f"{share}. Adding up {parts} explains none of it."
        return f"{share}. Adding up {parts} explains {show(100 * self.pcv, 0)} per cent of that."


def fit_component(n: np.ndarray, mean: np.ndarray, deviations: np.ndarray, design: np.ndarray) -> Component:
    """Random-intercept model by restricted maximum likelihood from K strata.

    ``n`` records, ``mean`` and sum of squared ``deviations`` inside each stratum (K each), ``design`` of the fixed
    effects (K by P, with a constant). Given the ratio g = between / within, the weights n / (1 + n g) give the fixed
    effects, and the within variance in closed form; one number is left to search for.

    Raises DesignError where no record varies inside its stratum.
    """
    total, width = n.sum(), design.shape[1]

    def parts(ratio: float) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
        weight = n / (1 + n * ratio)
        gram = design.T @ (weight[:, None] * design)
        beta = np.linalg.lstsq(gram, design.T @ (weight * mean), rcond=1e-12)[0]
        squares = deviations.sum() + (weight * (mean - design @ beta) ** 2).sum()
        return weight, beta, squares / (total - width), gram

    def loss(log_ratio: float) -> float:
        ratio = np.exp(log_ratio)
        _, _, within, gram = parts(ratio)
        return float(np.log1p(n * ratio).sum() + (total - width) * np.log(within) + np.linalg.slogdet(gram)[1])

    if not deviations.sum() > 0:
        raise DesignError("No record varies inside its stratum, so there is no chance to set strata against.")
    grid = np.linspace(-25, 5, 61)
    start = int(np.argmin([loss(each) for each in grid]))
    span = (grid[max(start - 1, 0)], grid[min(start + 1, 60)])
    found = optimize.minimize_scalar(loss, bounds=span, method="bounded", options={"xatol": 1e-10})
    ratio = 0.0 if found.x < -22 else float(np.exp(found.x))
    weight, beta, within, gram = parts(ratio)
    fitted = design @ beta
    kept = ratio * weight
    shrunk = kept * (mean - fitted)
    # Prediction error of the random effect, with what the estimated fixed effects add.
    leverage = np.einsum("kp,pq,kq->k", design, np.linalg.pinv(gram, hermitian=True), design)
    error = np.sqrt(within * (ratio * (1 - kept) + kept**2 * leverage))
    return Component(ratio * within, within, beta, fitted, shrunk, error)


def intersections(
    cells: Cells,
    outcome: str | None = None,
    *,
    by: Sequence[str],
    level: float = 0.95,
    threshold: int = THRESHOLD,
) -> Intersections:
    """Strata made of two or more parts (ethnicity by sex by FSM), which the cells must hold crossed.

    The VPC of a share is that of the latent scale, s2 / (s2 + pi^2 / 3); of a mean, s2 / (s2 + residual). Areas and
    periods are added up, and records count as independent. All strata are in the model; those under ``threshold``
    children are shown without figures.

    Raises UsageError for fewer than two parts, DesignError where margins hold the parts one at a time, for fewer than
    six strata, or where nothing varies.
    """
    by = tuple(by)
    if len(by) < 2 or isinstance(by, str):
        raise UsageError("Name at least two strata to cross, such as ['ethnicity', 'sex'].")
    found = rates(cells, outcome, by=by)
    frame = found.frame.astype(dict.fromkeys(by, str)).reset_index(drop=True)
    if len(frame) < FEWEST_STRATA:
        raise DesignError(f"{' by '.join(by)} make {len(frame)} strata; at least {FEWEST_STRATA} are needed.")
    constant = np.ones((len(frame), 1))
    main = [
        (frame[name] == category).to_numpy(dtype=float)[:, None]
        for name in by
        for category in groups.in_order(frame[name])[1:]
    ]
    designs = (constant, np.concatenate([constant, *main], axis=1))
    z = float(stats.norm.ppf(0.5 + level / 2))
    model = _logit if found.share else _linear
    figures, between, within = model(frame, designs, z)
    scaled = {name: values * found.scale for name, values in figures.items()}
    table = frame[[*by]].assign(n=frame["observed"], rate=frame["rate"] * found.scale, **scaled)
    few = table["n"] < threshold
    table.loc[few, ["rate", "shrunk", "low", "high", "beyond", "beyond_low", "beyond_high"]] = np.nan
    table["status"] = np.where(few, TOO_FEW, "ok")
    for name in reversed(by):
        order = {category: place for place, category in enumerate(groups.in_order(table[name]))}
        table = table.sort_values(name, key=lambda column, order=order: column.map(order), kind="stable")
    unit = found.scale**2 if not found.share else 1.0
    pcv = (between[0] - between[1]) / between[0] if between[0] > 0 else np.nan
    vpc = between[0] / (between[0] + within)
    auc = area_under_curve(figures["shrunk"], frame["rate"] * frame["observed"], frame["observed"])
    return Intersections(
        table.reset_index(drop=True),
        vpc,
        pcv,
        between[0] * unit,
        between[1] * unit,
        within * unit,
        by,
        auc if found.share else float("nan"),
    )


def area_under_curve(score: np.ndarray, events: np.ndarray, n: np.ndarray) -> float:
    """The chance that a child with the event stands in a stratum with a higher score than one without; ties are half.

    ``score, events, n``: K each. Source: Hanley and McNeil (1982), doi:10.1148/radiology.143.1.7063747; for its use
    beside the VPC, Merlo and others (2016), doi:10.1371/journal.pone.0153778.
    """
    events, n = np.asarray(events, dtype=float), np.asarray(n, dtype=float)
    _, rank = np.unique(score, return_inverse=True)
    yes, no = np.bincount(rank, events), np.bincount(rank, n - events)
    below = np.cumsum(no) - no
    return float((yes * (below + no / 2)).sum() / (yes.sum() * no.sum()))


Fitted = tuple[dict[str, np.ndarray], tuple[float, float], float]


def _linear(frame: pd.DataFrame, designs: tuple[np.ndarray, np.ndarray], z: float) -> Fitted:
    """Figures of both models, their between variances, and the within variance, for a mean."""
    n, mean = frame["observed"].to_numpy(), frame["rate"].to_numpy()
    deviations = frame["variance"].fillna(0.0).to_numpy() * n * (n - 1)
    a, b = (fit_component(n, mean, deviations, design) for design in designs)
    shrunk, spread = a.fitted + a.shrunk, _mean_error(a, n)
    figures = {
        "shrunk": shrunk,
        "low": shrunk - z * spread,
        "high": shrunk + z * spread,
        "beyond": b.shrunk,
        "beyond_low": b.shrunk - z * b.error,
        "beyond_high": b.shrunk + z * b.error,
    }
    return figures, (a.between, b.between), a.within


def _logit(frame: pd.DataFrame, designs: tuple[np.ndarray, np.ndarray], z: float) -> Fitted:
    """The same for a share: effects are turned back into differences of proportions."""
    n = frame["observed"].to_numpy()
    a, b = (fit_logit(frame["rate"].to_numpy() * n, n, design) for design in designs)
    whole = a.fitted + a.effect
    figures = {
        name: special.expit(whole + sign * z * a.mean_error) for name, sign in (("shrunk", 0), ("low", -1), ("high", 1))
    }
    figures |= {
        name: special.expit(b.fitted + b.effect + sign * z * b.error) - special.expit(b.fitted)
        for name, sign in (("beyond", 0), ("beyond_low", -1), ("beyond_high", 1))
    }
    return figures, (a.between, b.between), LATENT_VARIANCE


def _mean_error(model: Component, n: np.ndarray) -> np.ndarray:
    """Standard error of mean plus shrunken effect, in a model whose only fixed effect is the constant."""
    kept = model.between * n / (model.within + n * model.between)
    variance_of_mean = 1 / (n / (model.within + n * model.between)).sum()
    own = model.between * (1 - kept)
    return np.sqrt(own + (1 - kept) ** 2 * variance_of_mean)
