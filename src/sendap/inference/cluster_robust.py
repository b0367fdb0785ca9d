"""Cluster-robust variances from the scores and leave-one-out estimates of a fit."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from sendap.estimators.fit import Fit, by_cluster


class CrossProducts(Protocol):
    """A least-squares fit that gives its cross-products by cluster, with unit means taken out."""

    estimate: np.ndarray

    def cross_products(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Regressors with themselves (G by P by P) and with the outcome (G by P), and the first effect."""
        ...


def crv1_variance(fit: Fit) -> np.ndarray:
    """Variance of each of K terms: summed squares of the cluster contributions, times the small-sample factor.

    Source: Liang and Zeger (1986), with c = G/(G-1) (N-1)/(N-K) for least squares and G/(G-1) for group-time.
    """
    return fit.crv1_factor * (fit.scores**2).sum(axis=0)


def crv3_variance(left_out: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Cluster jackknife: (G-1)/G times the summed squared distances of G leave-one-out estimates.

    ``left_out`` G by K, missing where a term can't be estimated without the cluster; such clusters are left
    out of the sum, so the caller must say so. Source: MacKinnon, Nielsen and Webb (2023),
    doi:10.1002/jae.2979, equation for CV3.
    """
    known = np.isfinite(left_out)
    count = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = np.where(known, (left_out - estimate) ** 2, 0.0).sum(axis=0)
        return np.where(count > 1, (count - 1) / count * squares, np.nan)


def crv2(fit: CrossProducts) -> tuple[np.ndarray, np.ndarray]:
    """CRV2 variance and its Satterthwaite degrees of freedom for each of K effects of a least-squares fit.

    The residuals of cluster g are multiplied by (I - H_gg)^(-1/2), which takes the bias out if errors are independent
    with variances inverse to the weights; the degrees of freedom are tr(B)^2 / tr(B^2) under the same errors, B being
    the G by G matrix of the quadratic form. With X_g the regressors and M = LL' the inverse cross-products,
    (I - X_g M X_g')^(-1/2) only needs the powers of L' X_g'X_g L, so no matrix has the size of the data. Where a
    cluster alone determines a coefficient, the inverse root leaves that direction out. Unit effects inside clusters
    change nothing. Source: Bell and McCaffrey (2002); Pustejovsky and Tipton (2018),
    doi:10.1080/07350015.2016.1247004.
    """
    gram, moment, first = fit.cross_products()
    size, vectors = np.linalg.eigh(gram.sum(axis=0))
    kept = size > 1e-12 * size.max()
    root = vectors[:, kept] / np.sqrt(size[kept])
    inner = np.einsum("pa,gpq,qb->gab", root, gram, root, optimize=True)
    leverage, turn = np.linalg.eigh(inner)
    free = 1 - leverage
    with np.errstate(invalid="ignore", divide="ignore"):
        adjust = np.where(free > 1e-9, 1 / np.sqrt(np.maximum(free, 1e-300)), 0.0)
    whole = root.T @ moment.sum(axis=0)
    scores = moment @ root - inner @ whole  # G by rank: L'X_g'u_g
    adjusted = np.einsum("gab,gb,gcb,gc->ga", turn, adjust, turn, scores, optimize=True)
    picked = root[first:]  # K by rank: c'L
    variance = ((adjusted @ picked.T) ** 2).sum(axis=0)
    dof = np.empty(len(picked))
    for effect, row in enumerate(picked):
        pulled = np.einsum("gab,gb,gcb,c->ga", turn, adjust, turn, row, optimize=True)
        spread = np.einsum("gab,gb->ga", inner, pulled)
        form = np.diag((pulled * spread).sum(axis=1)) - spread @ spread.T
        dof[effect] = np.trace(form) ** 2 / (form**2).sum()
    return variance, dof


def satterthwaite_dof(fit: Fit, term: int) -> float:
    """Degrees of freedom of the jackknife variance of one term, if cell errors were independent and equal.

    The jackknife variance is a quadratic form y'D'Dy in the cell means, where row g of D is the change of the
    estimate's weights when cluster g is left out. Matching its first two moments to a chi-squared gives
    tr(DD')^2 / tr(DD'DD'). Source: Bell and McCaffrey (2002); Pustejovsky and Tipton (2018),
    doi:10.1080/07350015.2016.1247004.
    """
    full = fit.weights()[term].ravel()
    rows = fit.leave_one_out_weights(term)
    change = rows.reshape(len(rows), -1) - full[None, :]
    change = change[np.isfinite(change).all(axis=1)]
    inner = change @ change.T
    total = np.trace(inner)
    return float(total**2 / (inner**2).sum())


def effective_clusters(fit: Fit) -> np.ndarray:
    """G* = G / (1 + variation of the clusters' leverages), for each of K terms.

    A cluster's leverage for a term is the sum of its squared weights. Source: Carter, Schnepel and
    Steigerwald (2017), doi:10.1162/REST_a_00639, with the identity in place of the unknown error covariance.
    """
    weights = fit.weights()
    panel = fit.panel
    leverage = by_cluster(np.moveaxis((weights**2).sum(axis=2), 1, 0), panel.cluster, len(panel.clusters))
    used = leverage.sum(axis=1) > 0
    leverage = leverage[used]
    mean = leverage.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        variation = ((leverage - mean) ** 2).mean(axis=0) / mean**2
        return leverage.shape[0] / (1.0 + variation)
