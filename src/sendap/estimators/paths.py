"""Two-way fixed effects and event studies with pupil and period effects, by least squares on path cells.

Pupils of one path share their regressors, so taking each pupil's mean out is the same as taking the path's mean
out, and every sum over records becomes a sum over paths and periods, weighted by pupils. A record belongs to the
cluster in which it lies. Pupils who move are therefore not nested in clusters: leaving a cluster out shortens
their paths, and their means are taken anew over what remains (``PathProducts.left_out``). Nothing is approximate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import sparse

from sendap.cells.paths import PathCells, PathPanel
from sendap.errors import DesignError
from sendap.estimators.fit import treated_cohorts

IDENTIFIED = 1e-8
BLOCK = 2**22
"""Numbers of the design that are in memory at once (32 megabytes)."""


@dataclass(frozen=True)
class Visits:
    """The stays of movers, V in all: all rows of one path in one cluster. Columns are P regressors and the outcome.

    ``total`` (V by P + 1) sums the demeaned columns over the stay's rows; ``path`` and ``cluster`` (V) say whose;
    ``weight`` (V) is the summed weight of the path's pupils; ``length`` and ``stay`` (V) count the periods of the
    path and of the stay.
    """

    total: np.ndarray
    path: np.ndarray
    cluster: np.ndarray
    weight: np.ndarray
    length: np.ndarray
    stay: np.ndarray


@dataclass(frozen=True)
class PathProducts:
    """Sums over records of products of the pupil-demeaned columns (P regressors, then the outcome), by cluster.

    ``rows`` (G by P + 1 by P + 1) sums over the records that lie in a cluster. ``visits`` are the movers' stays.
    """

    rows: np.ndarray
    visits: Visits

    @cached_property
    def left_out(self) -> np.ndarray:
        """What the total loses when all records of a cluster are dropped and pupils demeaned anew (as ``rows``).

        A path of T periods, of which m in the dropped cluster with demeaned sum s, loses its products there, and
        s s' / (T - m) more, because the mean of its remaining rows is -s / (T - m).
        """
        visits = self.visits
        order = np.argsort(visits.cluster, kind="stable")
        root = np.sqrt(visits.weight / (visits.length - visits.stay))[order, None] * visits.total[order]
        lost = self.rows.copy()
        for cluster, start, stop in _runs(visits.cluster[order]):
            lost[cluster] += root[start:stop].T @ root[start:stop]
        return lost


def _runs(sorted_values: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Value, start and stop of each run of equal values."""
    if not len(sorted_values):
        return
    starts = np.flatnonzero(np.r_[True, np.diff(sorted_values) != 0])
    for start, stop in zip(starts, np.r_[starts[1:], len(sorted_values)], strict=True):
        yield int(sorted_values[start]), int(start), int(stop)


def _sum_runs(columns: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sum each run of rows, given where the runs start."""
    # Many short runs of rows: a sparse product takes a fraction of the time of numpy's reduceat.
    rows = len(columns)
    parts = (np.ones(rows), np.arange(rows), np.r_[starts, rows])
    return sparse.csr_array(parts, shape=(len(starts), rows)) @ columns


def path_products(panel: PathPanel, design: np.ndarray) -> PathProducts:
    """Cross-products by cluster. ``design`` (G by T by P) holds the regressors of each cluster and period."""
    clusters, width = len(panel.clusters), design.shape[2] + 1
    rows = np.zeros((clusters, width, width))
    parts: list[Visits] = []
    lengths = panel.lengths
    for first, last in _blocks(panel.starts, max(BLOCK // width, 1)):
        start, stop = panel.starts[first], panel.starts[last]
        length = lengths[first:last]
        cluster, weight = panel.cluster[start:stop], panel.weight[start:stop]
        columns = np.column_stack([design[cluster, panel.period[start:stop]], panel.mean[start:stop]])
        path = np.repeat(np.arange(last - first), length)
        columns -= (_sum_runs(columns, panel.starts[first:last] - start) / length[:, None])[path]
        order = np.argsort(cluster, kind="stable")
        root = np.sqrt(weight[order])[:, None] * columns[order]
        for position, begin, end in _runs(cluster[order]):
            rows[position] += root[begin:end].T @ root[begin:end]
        parts.append(_visits(columns, path, cluster, weight, length, first))
    stacked = [np.concatenate([getattr(part, name) for part in parts]) for name in Visits.__dataclass_fields__]
    return PathProducts(rows, Visits(*stacked))


def _blocks(starts: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Consecutive paths, first and one past the last, of some ``most`` rows together (a path is never cut)."""
    first, paths = 0, len(starts) - 1
    while first < paths:
        last = max(int(np.searchsorted(starts, starts[first] + most, side="right")) - 1, first + 1)
        yield first, last
        first = last


def _visits(
    columns: np.ndarray, path: np.ndarray, cluster: np.ndarray, weight: np.ndarray, length: np.ndarray, first: int
) -> Visits:
    """The stays of the movers among some consecutive paths, the first of which has the number ``first``."""
    changes = np.r_[False, (path[1:] == path[:-1]) & (cluster[1:] != cluster[:-1])]
    moves = np.zeros(len(length), dtype=bool)
    moves[path[changes]] = True
    chosen = np.flatnonzero(moves[path])
    chosen = chosen[np.lexsort((cluster[chosen], path[chosen]))]
    own_path, own_cluster = path[chosen], cluster[chosen]
    new = np.r_[True, (np.diff(own_path) != 0) | (np.diff(own_cluster) != 0)][: len(chosen)]
    begin = np.flatnonzero(new)
    if not begin.size:
        none = np.zeros(0)
        return Visits(np.zeros((0, columns.shape[1])), none.astype(int), none.astype(int), none, none, none)
    return Visits(
        total=_sum_runs(columns[chosen], begin),
        path=own_path[begin] + first,
        cluster=own_cluster[begin],
        weight=weight[chosen][begin],
        length=length[own_path[begin]].astype(float),
        stay=np.diff(np.r_[begin, len(chosen)]).astype(float),
    )


@dataclass
class PathFit:
    """Effects ``effects`` (G by T by K: of each cluster and period) with pupil effects and period effects.

    ``estimate`` (K); ``scores`` (G by K), what each cluster adds to the estimate's error; ``crv1_factor``, the
    small-sample factor G/(G-1) (N-1)/(N-k), which is pyfixest's default, ``ssc(k_adj=True, k_fixef="nonnested",
    G_adj=True, G_df="min")``, with its singletons dropped: pupil effects count towards k once a single pupil moves
    between clusters, and as one where none does. N counts records of pupils seen twice or more.
    """

    panel: PathPanel
    estimator: str
    contrast: str
    terms: pd.DataFrame
    effects: np.ndarray

    def __post_init__(self) -> None:
        panel = self.panel
        clusters, periods = len(panel.clusters), len(panel.periods)
        dummies = np.broadcast_to(np.eye(periods)[:, 1:], (clusters, periods, periods - 1))
        self.first = periods - 1
        self.products = path_products(panel, np.concatenate([dummies, self.effects], axis=2))
        total = self.products.rows.sum(axis=0)
        self._gram = total[:-1, :-1]
        self._inverse = np.linalg.pinv(self._gram, rcond=1e-12, hermitian=True)
        self._refuse_unidentified()
        self.coefficients = self._inverse @ total[:-1, -1]
        self.estimate = self.coefficients[self.first :]
        self.scores = self.residual_scores @ self._inverse[:, self.first :]
        present = len(np.unique(panel.cluster))
        if present < 2:
            raise DesignError(f"'{panel.outcome}' is known in one area only, so there's nothing to compare with.")
        rank = int(np.linalg.matrix_rank(self._gram, tol=1e-9 * np.abs(self._gram).max(), hermitian=True))
        pupils = float(panel.n[panel.starts[:-1]].sum())
        absorbed = pupils if len(self.products.visits.path) else 1.0
        self.records = float(panel.n.sum())
        self.clusters = present
        free = self.records - rank - absorbed
        self.crv1_factor = present / (present - 1) * (self.records - 1) / free if free > 0 else np.nan

    @property
    def residual_scores(self) -> np.ndarray:
        """Sums over each cluster's records of demeaned regressor times residual, G by P."""
        return self.products.rows[:, :-1] @ np.append(-self.coefficients, 1.0)

    def _refuse_unidentified(self) -> None:
        known = np.abs(np.diag(self._inverse @ self._gram)[self.first :] - 1.0) < IDENTIFIED
        if not known.all():
            term = self.terms.iloc[int(np.flatnonzero(~known)[0])]
            name = term["term"] if np.isnan(term["event_time"]) else f"event time {term['event_time']:g}"
            raise DesignError(
                f"'{self.panel.outcome}': the effect '{name}' can't be told apart from pupil and period effects. "
                "There may be no untreated area left in some period, or no pupil seen before and after the start. Add "
                "areas that are never or later treated, or earlier periods."
            )

    def cross_products(self) -> tuple[np.ndarray, np.ndarray, int]:
        """By cluster: regressors with themselves (G by P by P) and with the outcome (G by P); the first effect."""
        return self.products.rows[:, :-1, :-1], self.products.rows[:, :-1, -1], self.first

    def links(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """How much of cluster h's score changes, through movers' means, with a change of the records in cluster g.

        G by G: the sum over paths of (demeaned sum in h of column combination ``left``, P) times (demeaned sum in g
        of combination ``right``, P + 1 with the outcome last) over the number of the path's periods. Zero where
        nobody moves.
        """
        visits = self.products.visits
        if not len(visits.path):
            return np.zeros((len(self.panel.clusters),) * 2)
        ours = visits.total[:, :-1] @ left * visits.weight / visits.length
        return (self._by_path(ours).T @ self._by_path(visits.total @ right)).toarray()

    def _by_path(self, values: np.ndarray) -> sparse.csr_array:
        """One number for each stay of a mover, as paths by G."""
        visits = self.products.visits
        shape = (len(self.panel.lengths), len(self.panel.clusters))
        return sparse.csr_array((values, (visits.path, visits.cluster)), shape=shape)

    @cached_property
    def _without_each(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Without each cluster: inverse (G by P by P), coefficients (G by P), whether each effect is known (G by K)."""
        rest = self.products.rows.sum(axis=0) - self.products.left_out
        gram = rest[:, :-1, :-1]
        inverse = np.linalg.pinv(gram, rcond=1e-12, hermitian=True)
        diagonal = np.einsum("gpq,gqp->gp", inverse, gram)[:, self.first :]
        return inverse, np.einsum("gpq,gq->gp", inverse, rest[:, :-1, -1]), np.abs(diagonal - 1.0) < IDENTIFIED

    def leave_one_out(self) -> np.ndarray:
        """Estimates without the records of each cluster, G by K; missing where a term can't be estimated without."""
        _, coefficients, known = self._without_each
        seen = np.isin(np.arange(len(self.panel.clusters)), self.panel.cluster)[:, None]
        return np.where(known & seen, coefficients[:, self.first :], np.nan)

    def jackknife_dof(self, term: int) -> float:
        """Degrees of freedom of the jackknife variance of a term, if records had independent, equal errors.

        The variance is a quadratic form in the records; row g of its matrix D is the change of the records' weights
        when cluster g is left out, and tr(DD')^2 / tr(DD'DD') matches two moments. With v_g the term's row of the
        inverse without g, the inner product of rows g and h is v_g' C v_h - v[term], where C, the cross-products of
        regressors demeaned without g and without h, is the total less what either loses, less
        T s_g s_h' / ((T - m_g)(T - m_h)) for each path of T periods that visits both, m periods with sum s in each.

        Source: Bell and McCaffrey (2002); Pustejovsky and Tipton (2018), doi:10.1080/07350015.2016.1247004.
        """
        inverse, _, known = self._without_each
        column = self.first + term
        row = inverse[:, :, column]
        lost = np.einsum("gpq,gq->gp", self.products.left_out[:, :-1, :-1], row)
        through = row @ lost.T
        inner = row @ self._gram @ row.T - through - through.T
        visits = self.products.visits
        if len(visits.path):
            scaled = np.einsum("vp,vp->v", visits.total[:, :-1], row[visits.cluster])
            both = self._by_path(scaled * np.sqrt(visits.weight * visits.length) / (visits.length - visits.stay))
            inner -= (both.T @ both).toarray()
        np.fill_diagonal(inner, row[:, column])
        used = known[:, term] & np.isin(np.arange(len(row)), self.panel.cluster)
        change = (inner - self._inverse[column, column])[np.ix_(used, used)]
        return float(np.trace(change) ** 2 / (change**2).sum())

    def effective_clusters(self) -> np.ndarray:
        """G* = G / (1 + variation of the clusters' leverages), by term.

        Source: Carter, Schnepel and Steigerwald (2017), doi:10.1162/REST_a_00639, with independent, equal errors.
        """
        rows = self._inverse[self.first :]
        leverage = np.einsum("kp,gpq,kq->gk", rows, self.products.rows[:, :-1, :-1], rows)
        leverage = leverage[np.unique(self.panel.cluster)]
        mean = leverage.mean(axis=0)
        return len(leverage) / (1.0 + ((leverage - mean) ** 2).mean(axis=0) / mean**2)


def _term(panel: PathPanel, name: str, event: float, exposed: np.ndarray) -> dict[str, object]:
    """The description of a term. ``exposed`` (R): the rows that it's about."""
    clusters = len(panel.clusters)
    treated = np.bincount(panel.cluster[exposed], minlength=clusters) > 0
    present = np.bincount(panel.cluster, minlength=clusters) > 0
    alone = f"{panel.singletons:,} pupils seen once contribute nothing." if panel.singletons else ""
    return {
        "term": name,
        "cohort": np.nan,
        "period": np.nan,
        "event_time": event,
        "treated_clusters": int(treated.sum()),
        "control_clusters": int((present & ~treated).sum()),
        "n": float(panel.n.sum()),
        "note": alone,
    }


def _events(panel: PathPanel) -> np.ndarray:
    """Event time of each cluster and period, G by T, infinitely negative for the never treated."""
    return panel.periods[None, :] - panel.cohort[:, None]


def _refuse_without_comparison(panel: PathPanel) -> None:
    if np.ptp(panel.mean) <= 1e-12 * np.abs(panel.mean).max():
        raise DesignError(
            f"'{panel.outcome}' never varies: pupils have the same mean in every area and period. "
            "Check that the right column was read, or choose another outcome."
        )
    treated_cohorts(panel)  # type: ignore[arg-type]
    if not (np.isfinite(panel.event) & (panel.event < 0)).any():
        raise DesignError(
            f"'{panel.outcome}' has no period before treatment, so there is nothing to compare with. "
            "Add earlier periods, or choose another outcome."
        )


def fit_two_way_paths(
    cells: PathCells, outcome: str | None = None, *, anticipation: int = 0, contrast: str = ""
) -> PathFit:
    """One effect of being in a treated area, with pupil and period effects.

    Records in the ``anticipation`` periods before the start are left out in treated areas. With staggered starts
    the estimate also compares the newly with the already treated, so it's shown beside others, never as headline.

    Raises DesignError where the effect isn't identified.
    """
    panel = cells.panel(outcome)
    _refuse_without_comparison(panel)
    panel = panel.keep(~((panel.event < 0) & (panel.event >= -anticipation)))
    terms = pd.DataFrame([_term(panel, "overall", np.nan, panel.event >= 0)])
    effects = (_events(panel) >= 0).astype(float)[:, :, None]
    return PathFit(panel, "two_way_paths", contrast, terms, effects)


def fit_event_study_paths(
    cells: PathCells, outcome: str | None = None, *, anticipation: int = 0, contrast: str = ""
) -> PathFit:
    """An effect for each period before and after the start, with pupil and period effects.

    The base is the last period before the start and any anticipation. All event times are kept: none is binned.

    Raises DesignError where the effects aren't identified.
    """
    panel = cells.panel(outcome)
    _refuse_without_comparison(panel)
    events = np.unique(panel.event[np.isfinite(panel.event)])
    before = events[events < -anticipation]
    if before.size == 0:
        raise DesignError(f"'{panel.outcome}' has no period before treatment and its anticipation.")
    kept = events[events != before.max()]
    terms = pd.DataFrame([_term(panel, "event", float(event), panel.event == event) for event in kept])
    effects = np.stack([(_events(panel) == event).astype(float) for event in kept], axis=2)
    return PathFit(panel, "event_study_paths", contrast, terms, effects)
