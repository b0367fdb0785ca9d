"""A logistic model with a random effect of each stratum, from counts, by maximum likelihood.

The likelihood of a stratum is an integral over its one effect, taken by adaptive Gauss-Hermite quadrature around the
most likely effect. Source: Pinheiro and Bates (1995), doi:10.1080/10618600.1995.10474663.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from sendap.errors import DesignError

NODES = 25
SMALLEST, LARGEST = 1e-4, 10.0
LATENT_VARIANCE = np.pi**2 / 3
"""Variance of the logistic distribution: what lies within strata on the latent scale (standard 6.7)."""


@dataclass(frozen=True)
class LogitComponent:
    """``between``: variance of the effects on the logit scale; ``coefficients`` (P); for each of K strata ``fitted``
    (fixed part), ``effect`` (posterior mean), ``error`` (standard error of the effect) and ``mean_error`` (that of the
    fixed part and the effect together). Both hold the uncertainty of the fixed part, to first order."""

    between: float
    coefficients: np.ndarray
    fitted: np.ndarray
    effect: np.ndarray
    error: np.ndarray
    mean_error: np.ndarray


def _mode(y: np.ndarray, n: np.ndarray, eta: np.ndarray, variance: float) -> tuple[np.ndarray, np.ndarray]:
    """Most likely effect of each stratum and the spread around it, by Newton's method with bounded steps."""
    u = np.zeros_like(eta)
    for _ in range(100):
        p = special.expit(eta + u)
        information = n * p * (1 - p) + 1 / variance
        step = np.clip((y - n * p - u / variance) / information, -2.0, 2.0)
        u = u + step
        if np.abs(step).max() < 1e-12:
            break
    p = special.expit(eta + u)
    return u, 1 / np.sqrt(n * p * (1 - p) + 1 / variance)


def _quadrature(y: np.ndarray, n: np.ndarray, eta: np.ndarray, sd: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logarithm of each stratum's likelihood (K), the nodes (K by Q) and their share of the posterior (K by Q)."""
    node, weight = np.polynomial.hermite.hermgauss(NODES)
    mode, spread = _mode(y, n, eta, sd**2)
    u = mode[:, None] + np.sqrt(2) * spread[:, None] * node[None, :]
    linear = eta[:, None] + u
    joint = y[:, None] * linear - n[:, None] * np.logaddexp(0, linear) - u**2 / (2 * sd**2) - np.log(sd)
    terms = joint + node**2 + np.log(weight) + np.log(spread)[:, None]
    total = special.logsumexp(terms, axis=1)
    return total - 0.5 * np.log(np.pi), u, np.exp(terms - total[:, None])


def fit_logit(y: np.ndarray, n: np.ndarray, design: np.ndarray) -> LogitComponent:
    """Fixed effects ``design`` (K by P, with a constant) and the variance of the strata, from events of records.

    Raises DesignError where every record or none has the outcome.
    """
    y, n = np.asarray(y, dtype=float), np.asarray(n, dtype=float)
    if not 0 < y.sum() < n.sum():
        raise DesignError("Every child or none has the outcome, so strata don't differ.")

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        sd = float(np.exp(point[-1]))
        eta = design @ point[:-1]
        value, u, share = _quadrature(y, n, eta, sd)
        residual = (share * (y[:, None] - n[:, None] * special.expit(eta[:, None] + u))).sum(axis=1)
        squares = (share * u**2).sum(axis=1)
        return -float(value.sum()), -np.append(design.T @ residual, (squares / sd**2 - 1).sum())

    # From the empirical logits, weighted by their information.
    rate = (y + 0.5) / (n + 1)
    weight = n * rate * (1 - rate)
    start = np.linalg.lstsq(np.sqrt(weight)[:, None] * design, np.sqrt(weight) * special.logit(rate), rcond=None)[0]
    bounds = [(None, None)] * len(start) + [(np.log(SMALLEST), np.log(LARGEST))]
    tried = [
        optimize.minimize(
            loss, np.append(start, np.log(sd)), jac=True, method="L-BFGS-B", bounds=bounds,
            options={"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-7},
        )
        for sd in (0.1, 0.7)
    ]  # fmt: skip
    best = min(tried, key=lambda each: each.fun)
    sd = float(np.exp(best.x[-1]))
    eta = design @ best.x[:-1]
    _, u, share = _quadrature(y, n, eta, sd)
    effect = (share * u).sum(axis=1)
    posterior = np.sqrt((share * (u - effect[:, None]) ** 2).sum(axis=1))
    p = special.expit(eta + effect)
    chance = 1 / np.maximum(n * p * (1 - p), 1e-12)
    kept = sd**2 / (sd**2 + chance)
    covariance = np.linalg.pinv(design.T @ (design / (sd**2 + chance)[:, None]), hermitian=True)
    fixed = np.einsum("kp,pq,kq->k", design, covariance, design)
    between = 0.0 if sd <= SMALLEST * 1.01 else sd**2
    return LogitComponent(
        between=between,
        coefficients=best.x[:-1],
        fitted=eta,
        effect=effect,
        error=np.sqrt(posterior**2 + kept**2 * fixed),
        mean_error=np.sqrt(posterior**2 + (1 - kept) ** 2 * fixed),
    )
