"""Wild cluster bootstrap-t from cluster scores and cross-products: no draw touches a record.

A draw multiplies the residuals of each cluster by one random number v_g, refits, and studentises. The refitted
coefficient is linear in v, and so is each cluster's new score; so R draws are two products of an R by G matrix, and
the bootstrap statistics under any other null hypothesis follow from the same products. Source: Cameron, Gelbach and
Miller (2008), doi:10.1162/rest.90.3.414; Roodman, Nielsen, MacKinnon and Webb (2019), doi:10.1177/1536867X19830877;
MacKinnon (2023), doi:10.1016/j.ecosta.2021.11.009, for the form that needs cross-products only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from sendap.errors import UsageError
from sendap.inference.permutation import interval_end

Kind = Literal["rademacher", "webb"]
WEBB = np.sqrt([0.5, 1.0, 1.5])
MOST_APART = 3.0
CHUNK = 2**23
"""Multipliers that are in memory at once (64 megabytes)."""


class LeastSquares(Protocol):
    """A least-squares fit, as far as the bootstrap needs it. Where units move between clusters it has ``links`` too."""

    estimate: np.ndarray
    crv1_factor: float

    def cross_products(self) -> tuple[np.ndarray, np.ndarray, int]: ...


@dataclass(frozen=True)
class WildBootstrapResult:
    """p-value of no effect, and the interval of effects that aren't rejected at ``1 - level``.

    ``statistic`` is the CRV1 t of no effect and ``bootstrapped`` (R) its draws; ``exact`` says whether these are all
    the distinct ones there are, and ``undefined`` how many draws gave no number and weren't counted.
    """

    p_value: float
    low: float
    high: float
    draws: int
    exact: bool
    statistic: float
    bootstrapped: np.ndarray
    undefined: int


@dataclass(frozen=True)
class _Linear:
    """Sums over all draws from which the statistic of any null hypothesis follows.

    With d the distance of the hypothesis from the estimate, the numerator of a draw is ``top - d * top_slope`` and
    its variance ``square - 2 d * cross + d^2 * square_slope`` (all R).
    """

    top: np.ndarray
    top_slope: np.ndarray
    square: np.ndarray
    cross: np.ndarray
    square_slope: np.ndarray

    def statistics(self, distance: float) -> np.ndarray:
        variance = self.square - 2 * distance * self.cross + distance**2 * self.square_slope
        # Rounding may leave a little where a draw has no variance at all.
        size = self.square + 2 * abs(distance * self.cross) + distance**2 * self.square_slope
        variance = np.where(variance > 1e-13 * size, variance, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return (self.top - distance * self.top_slope) / np.sqrt(variance)


def distinct_draws(clusters: int) -> int:
    """How many Rademacher draws give different absolute statistics: turning all signs round changes none."""
    return 2 ** (clusters - 1)


def multipliers(clusters: int, *, kind: Kind = "rademacher", draws: int = 9999, seed: int = 20230902) -> np.ndarray:
    """R by G multipliers. All distinct Rademacher draws where there are at most ``draws``, else random ones.

    "rademacher" is -1 or 1; "webb" one of six points, plus or minus the roots of 1/2, 1 and 3/2, for fewer than some
    12 clusters (Webb 2023, doi:10.1111/caje.12661).
    """
    return np.concatenate(list(_chunks(clusters, kind, draws, seed)))


def _chunks(clusters: int, kind: Kind, draws: int, seed: int) -> Iterator[np.ndarray]:
    if kind not in ("rademacher", "webb"):
        raise UsageError(f"The multipliers must be 'rademacher' or 'webb', not '{kind}'.")
    if kind == "rademacher" and distinct_draws(clusters) <= draws:
        numbers = np.arange(distinct_draws(clusters))[:, None]
        # The first cluster keeps its sign; the first row is the sample itself.
        yield 1.0 - 2.0 * (numbers >> np.arange(clusters) & 1)[:, ::-1]
        return
    generator = np.random.default_rng(seed)
    rows = max(CHUNK // clusters, 1)
    for start in range(0, draws, rows):
        shape = (min(rows, draws - start), clusters)
        if kind == "rademacher":
            yield generator.integers(0, 2, size=shape, dtype=np.int8) * 2.0 - 1.0
        else:
            drawn = generator.integers(0, 6, size=shape, dtype=np.int8)
            yield np.r_[-WEBB, WEBB][drawn]


def wild_bootstrap(
    fit: LeastSquares,
    *,
    term: int = 0,
    restricted: bool = True,
    kind: Kind = "rademacher",
    draws: int = 9999,
    seed: int = 20230902,
    level: float = 0.95,
    given: np.ndarray | None = None,
) -> WildBootstrapResult:
    """Test one term of a least-squares fit by the wild cluster bootstrap-t, and invert the test for an interval.

    ``restricted`` imposes the null hypothesis on the residuals (WCR), otherwise they are those of the fit (WCU).
    ``given`` (R by G) takes the place of drawn multipliers. p = share of draws with ``|t*| >= |t|``, where nearly
    equal counts as equal. An interval end is infinite where no effect on that side is rejected.

    Raises UsageError for unknown multipliers, a term that isn't there, or multipliers for other clusters.
    """
    if not 0 <= term < len(fit.estimate):
        raise UsageError(f"There is no term {term}: the fit has {len(fit.estimate)}, counted from 0.")
    shifts = _Shifts.of(fit, term)
    clusters = len(shifts.present)
    exact = given is None and kind == "rademacher" and distinct_draws(clusters) <= draws
    if given is not None:
        if given.ndim != 2 or given.shape[1] != len(fit.cross_products()[0]):
            raise UsageError("Multipliers need one row a draw and one column a cluster.")
        source: Iterator[np.ndarray] = iter([given[:, shifts.present]])
    else:
        source = _chunks(clusters, kind, draws, seed)
    parts = [shifts.draw(chunk) for chunk in source]
    linear = _Linear(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    estimate, factor = float(fit.estimate[term]), float(fit.crv1_factor)
    error = np.sqrt(factor * shifts.square)
    fixed = None if restricted else np.abs(linear.statistics(0.0))

    def p_at(effect: float) -> float:
        found = np.abs(linear.statistics(effect - estimate)) if fixed is None else fixed
        known = ~np.isnan(found)
        if not known.any() or not shifts.square > 0:
            return float("nan")
        own = abs(estimate - effect) / np.sqrt(shifts.square)
        return float((found[known] >= own * (1 - 1e-10)).mean())

    own = estimate / error if error > 0 else np.nan
    drawn = linear.statistics(-estimate if restricted else 0.0) / np.sqrt(factor)
    low, high = (interval_end(p_at, estimate, side * error, 1 - level) if error > 0 else np.nan for side in (-1.0, 1.0))
    return WildBootstrapResult(
        p_at(0.0), low, high, len(drawn), exact, float(own), drawn, int(np.isnan(drawn).sum())
    )  # fmt: skip


@dataclass(frozen=True)
class Agreement:
    """p-values of no effect by the restricted (WCR) and the unrestricted (WCU) wild cluster bootstrap."""

    restricted: float
    unrestricted: float
    draws: int

    @property
    def agree(self) -> bool:
        """Whether the two differ by no more than a factor of three. No share below one draw counts as smaller."""
        least = 1 / (1 + self.draws)
        small, large = sorted(max(each, least) for each in (self.restricted, self.unrestricted))
        return bool(large <= MOST_APART * small)

    @property
    def reason(self) -> str:
        """What is said where they don't agree."""
        return (
            "the restricted and the unrestricted wild bootstrap disagree "
            f"(p = {self.restricted:.3f} and {self.unrestricted:.3f}), so neither is valid"
        )


def agreement(
    fit: LeastSquares, *, term: int = 0, kind: Kind = "rademacher", draws: int = 9999, seed: int = 20230902
) -> Agreement:
    """Both versions of the bootstrap on the same draws.

    With few treated clusters the restricted one rejects too rarely and the unrestricted one too often, so a wide gap
    between them says that neither can be trusted. Source: MacKinnon and Webb (2017), doi:10.1002/jae.2508, for the
    pattern; the factor of three is the evaluation standard's (4.1).
    """
    found = [
        wild_bootstrap(fit, term=term, restricted=each, kind=kind, draws=draws, seed=seed) for each in (True, False)
    ]
    return Agreement(found[0].p_value, found[1].p_value, found[0].draws)


@dataclass(frozen=True)
class _Shifts:
    """How a term's estimate and cluster contributions move with the multipliers, for residuals b and slope d.

    The residuals under a null hypothesis at distance d from the estimate are those of the fit, plus d times those of
    the term's regressor on the others. ``top`` and ``top_slope`` (G) give the estimate's error, ``own`` and
    ``own_slope`` (G by G) the clusters' contributions to its variance; ``square`` is the fit's own summed square.
    ``present`` are the clusters that hold records.
    """

    top: np.ndarray
    top_slope: np.ndarray
    own: np.ndarray
    own_slope: np.ndarray
    square: float
    present: np.ndarray

    @classmethod
    def of(cls, fit: Any, term: int) -> _Shifts:
        gram, moment, first = fit.cross_products()
        present = np.flatnonzero(np.abs(gram).sum(axis=(1, 2)) > 0)
        inverse = np.linalg.pinv(gram.sum(axis=0), rcond=1e-12, hermitian=True)
        weights = inverse[first + term]
        coefficients = inverse @ moment.sum(axis=0)
        # Imposing the hypothesis moves the coefficients along this column (restricted least squares).
        along = weights / weights[first + term]
        residual = moment - gram @ coefficients
        slope = gram @ along
        leverage = (gram @ weights) @ inverse
        links = getattr(fit, "links", None)

        def contributions(scores: np.ndarray, direction: np.ndarray) -> np.ndarray:
            moved = np.diag(scores @ weights) - leverage @ scores.T
            moved -= 0.0 if links is None else links(weights, direction)
            return moved[np.ix_(present, present)]

        return cls(
            top=(residual @ weights)[present],
            top_slope=(slope @ weights)[present],
            own=contributions(residual, np.append(-coefficients, 1.0)),
            own_slope=contributions(slope, np.append(along, 0.0)),
            square=float(((residual @ weights) ** 2).sum()),
            present=present,
        )

    def draw(self, chunk: np.ndarray) -> tuple[np.ndarray, ...]:
        """The parts of ``_Linear`` for some draws."""
        moved, slope = chunk @ self.own.T, chunk @ self.own_slope.T
        return (
            chunk @ self.top,
            chunk @ self.top_slope,
            np.einsum("rg,rg->r", moved, moved),
            np.einsum("rg,rg->r", moved, slope),
            np.einsum("rg,rg->r", slope, slope),
        )
