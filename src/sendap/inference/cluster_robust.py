"""Cluster-robust variances from the scores and leave-one-out estimates of a fit."""

from __future__ import annotations

import numpy as np

from sendap.estimators.fit import Fit, by_cluster


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
