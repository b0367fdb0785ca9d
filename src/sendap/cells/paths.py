"""Path cells: records of pupils, compressed so that pupil effects stay exact.

Pupils who share a *path*, the exact sequence of periods and clusters in which their outcome is known, have the same
regressors. Taking each pupil's mean out of a regressor then gives one value for each path and period, and every
sum over records that least squares with pupil effects needs (the normal equations, the scores and cross-products
of clusters, the same without a cluster) follows from the number of pupils on the path and the sum of their
outcomes in each period. It holds for gaps, for late and early leavers, and for pupils who move between clusters.

Path cells are for use **inside the secure area**: a path that few pupils share is a small cell, and most movers'
paths are their own. What leaves are estimates, by way of the release rules; never path cells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sendap.cells.core import OutcomeInfo
from sendap.errors import DataError, UsageError, did_you_mean
from sendap.files import whole

FORMAT_VERSION = 1
COLUMNS = ("outcome", "path", "period", "cluster", "n", "weight", "sum")
COUNTS = ("outcome", "records", "pupils", "singletons", "paths", "movers")


@dataclass(frozen=True)
class PathPanel:
    """One outcome as arrays: R rows (one a path and period), in order of path and period.

    ``clusters`` (G) and ``periods`` (T) are labels; ``cohort`` (G) the first treated period of each cluster,
    infinite for the never treated. ``starts`` (paths + 1) are the offsets of the paths' rows. By row (R):
    ``period`` and ``cluster`` are positions, ``n`` pupils, ``weight`` their summed weights, ``mean`` their weighted
    mean outcome, less a constant that is the same in all rows. ``singletons`` counts pupils with one record.
    """

    outcome: str
    clusters: np.ndarray
    periods: np.ndarray
    cohort: np.ndarray
    starts: np.ndarray
    period: np.ndarray
    cluster: np.ndarray
    n: np.ndarray
    weight: np.ndarray
    mean: np.ndarray
    singletons: int
    weighted: bool
    info: OutcomeInfo

    @property
    def lengths(self) -> np.ndarray:
        """How many periods each path has."""
        return np.diff(self.starts)

    @property
    def event(self) -> np.ndarray:
        """Periods since the start of treatment in the cluster (R), infinitely negative for the never treated."""
        return self.periods[self.period] - self.cohort[self.cluster]

    def keep(self, rows: np.ndarray) -> PathPanel:
        """Only some rows (R, yes or no). Paths left with one row are dropped and their pupils counted as singletons."""
        path = np.repeat(np.arange(len(self.lengths)), self.lengths)
        length = np.bincount(path[rows], minlength=len(self.lengths))
        alone = (length == 1)[path] & rows
        kept = rows & ~alone
        length = length[length > 1]
        return replace(
            self,
            starts=np.r_[0, np.cumsum(length)],
            **{name: getattr(self, name)[kept] for name in ("period", "cluster", "n", "weight", "mean")},
            singletons=self.singletons + int(self.n[alone].sum()),
        )


@dataclass(frozen=True)
class PathCells:
    """Sufficient statistics by outcome, path and period, for least squares with pupil effects.

    ``frame`` has one row for each outcome, path and period in which the path's pupils have a known outcome:

    - ``outcome``; ``path``, a number within the outcome; ``period``; ``cluster``, where the pupils are then;
    - ``n`` pupils; ``weight``, their summed weights; ``sum``, over them, of weight times the distance of the outcome
      from ``origins[outcome]`` (a constant, which pupil effects absorb and which saves digits).

    Pupils with a single known outcome say nothing about change, so they have no rows. ``counts`` has one row for
    each outcome: records with a known outcome, pupils, singletons among them, paths and movers (pupils of more than
    one cluster) among the rest. ``clusters`` has ``cluster`` and ``cohort``, its first treated period, missing for
    the never treated. For the secure area only: see the module.
    """

    frame: pd.DataFrame
    outcomes: Mapping[str, OutcomeInfo]
    clusters: pd.DataFrame
    counts: pd.DataFrame
    origins: Mapping[str, float] = field(default_factory=dict)
    weighted: bool = False
    metadata: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for table, wanted, name in (
            (self.frame, COLUMNS, "Path cells"),
            (self.counts, COUNTS, "The counts of path cells"),
            (self.clusters, ("cluster", "cohort"), "The clusters of path cells"),
        ):
            missing = [column for column in wanted if column not in table.columns]
            if missing:
                raise DataError(f"{name} lack the column(s) {', '.join(missing)}. Expected {', '.join(wanted)}.")

    @property
    def synthetic(self) -> bool:
        return bool(self.metadata.get("synthetic", False))

    def without_clusters(self, clusters: list[str]) -> PathCells:
        """The same cells without some clusters. Movers keep the rows that they have elsewhere."""
        return replace(self, frame=self.frame[~self.frame["cluster"].isin(set(clusters))].reset_index(drop=True))

    def panel(self, outcome: str | None = None) -> PathPanel:
        """One outcome as arrays. Raises UsageError for an outcome that isn't there, DataError for an empty one."""
        if outcome is None:
            if len(self.outcomes) != 1:
                raise UsageError(f"Name the outcome: {', '.join(self.outcomes)}.")
            outcome = next(iter(self.outcomes))
        if outcome not in self.outcomes:
            raise UsageError(f"These cells hold no outcome '{outcome}'.{did_you_mean(outcome, self.outcomes)}")
        rows = self.frame[self.frame["outcome"] == outcome]
        if rows.empty:
            raise DataError(
                f"No pupil has '{outcome}' in two periods, so pupil effects leave nothing to compare. "
                "Use cells without pupil effects."
            )
        path, period = rows["path"].to_numpy(), rows["period"].to_numpy()
        cluster, clusters = pd.factorize(rows["cluster"], sort=True)
        periods, position = np.unique(period, return_inverse=True)
        cohort = self.clusters.set_index("cluster")["cohort"].reindex(clusters).to_numpy(dtype=float)
        counts = self.counts.set_index("outcome").loc[outcome]
        weight = rows["weight"].to_numpy(dtype=float)
        panel = PathPanel(
            outcome=outcome,
            clusters=np.asarray(clusters, dtype=object),
            periods=periods.astype(int),
            cohort=np.where(np.isnan(cohort), np.inf, cohort),
            starts=np.r_[np.flatnonzero(np.r_[True, path[1:] != path[:-1]]), len(path)],
            period=position,
            cluster=np.asarray(cluster),
            n=rows["n"].to_numpy(),
            weight=weight,
            mean=rows["sum"].to_numpy(dtype=float) / weight,
            singletons=int(counts["singletons"]),
            weighted=self.weighted,
            info=self.outcomes[outcome],
        )
        return panel.keep(np.ones(len(rows), dtype=bool))

    def write(self, path: Path | str) -> None:
        """Write to Parquet, whole or not at all, with all but the frame in the file's metadata."""
        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        about = {
            "format": FORMAT_VERSION,
            "kind": "paths",
            "outcomes": {name: asdict(info) for name, info in self.outcomes.items()},
            # Missing cohorts become null, because JSON knows no NaN.
            "clusters": self.clusters.astype(object).where(self.clusters.notna(), None).to_dict("split", index=False),
            "counts": self.counts.to_dict("split", index=False),
            "origins": dict(self.origins),
            "weighted": self.weighted,
            "metadata": dict(self.metadata),
        }
        text = json.dumps(about, sort_keys=True, ensure_ascii=False, default=str)
        with whole(Path(path)) as temporary:
            pq.write_table(table.replace_schema_metadata({b"sendap": text.encode()}), temporary)

    @classmethod
    def read(cls, path: Path | str) -> PathCells:
        """Read a file that ``write`` made.

        Raises DataError for a file that is missing, cut short or not of this format.
        """
        path = Path(path)
        try:
            table = pq.read_table(path, partitioning=None)
        except FileNotFoundError:
            raise DataError(f"{path} doesn't exist. Make it with sendap.compress_paths.") from None
        except (pa.ArrowInvalid, OSError):
            raise DataError(f"{path} can't be read as Parquet: it may be cut short. Make it again.") from None
        known = json.loads((table.schema.metadata or {}).get(b"sendap", b"{}"))
        if known.get("kind") != "paths":
            raise DataError(f"{path} isn't a file of path cells. Make one with sendap.compress_paths.")
        if known["format"] != FORMAT_VERSION:
            raise DataError(f"{path} has format {known['format']}; this version reads format {FORMAT_VERSION}.")
        clusters = pd.DataFrame(**known["clusters"])
        # Parquet gives back categories of text, but not of whole numbers.
        labels = pd.CategoricalDtype(clusters["cluster"].to_list())
        return cls(
            frame=table.replace_schema_metadata(None).to_pandas().astype({"cluster": labels}),
            outcomes={name: OutcomeInfo(**info) for name, info in known["outcomes"].items()},
            clusters=clusters.assign(cohort=pd.to_numeric(clusters["cohort"]).astype(float)),
            counts=pd.DataFrame(**known["counts"]),
            origins=known["origins"],
            weighted=known["weighted"],
            metadata=known["metadata"],
        )
