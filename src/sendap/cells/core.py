"""The one type that all estimators take.

A cell is all records of one cluster, period and stratum. For each outcome it holds counts and sums, so cells
can be combined without the records, and published statistics arrive as cells.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sendap.cells.combining import join_frames, join_metadata, matching, share_cohorts
from sendap.cells.moments import add_up, margin_rows, margins_held, words
from sendap.cells.panel import OutcomeInfo, Panel, Weights, comparison_weights, join_clusters
from sendap.errors import DataError, UsageError, did_you_mean
from sendap.files import whole

FORMAT_VERSION = 1
MOMENTS = ("n", "n_observed", "weight", "sum", "sum_squares")


@dataclass(frozen=True)
class Cells:
    """Sufficient statistics by outcome, cluster, period and stratum.

    ``frame`` is long, one row a cell and outcome:

    - ``outcome, cluster, period``, then one column for each stratum, then ``cohort``: the first treated period
      of the cluster, missing for the never treated;
    - ``n``: records in the cell; ``n_observed``: records whose outcome is known; ``weight``, ``sum``,
      ``sum_squares``: over those, the sum of the weights, of weight times outcome, of weight times its square;
    - ``squared_deviations``, where the cells were compressed from records: the sum of weight times squared distance
      from the cell's mean;
    - for each name in ``covariates`` the columns of sums that ``sendap.cells.moments`` describes.

    A stratum that was summed over reads "(all)", one that nobody recorded "Unknown". A frame may hold several
    margins; they overlap, so whatever adds cells up uses one of them.

    ``clusters`` holds what is known of each cluster (at least ``cluster``; ``region`` where there is one;
    ``comparison_weight`` where a comparison group was chosen).
    ``metadata`` travels with the file: sources and their fingerprints, the protocol's hash, whether synthetic.
    """

    frame: pd.DataFrame
    outcomes: Mapping[str, OutcomeInfo]
    strata: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    clusters: pd.DataFrame | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wanted = [*self.keys, "cohort", *MOMENTS]
        missing = [column for column in wanted if column not in self.frame.columns]
        if missing:
            raise DataError(f"Cells lack the column(s) {', '.join(missing)}. Expected {', '.join(wanted)}.")
        duplicated = self.frame.duplicated(self.keys)
        if duplicated.any():
            example = self.frame.loc[duplicated, self.keys].iloc[0].to_dict()
            raise DataError(
                f"{int(duplicated.sum())} cell(s) appear twice, first {example}. Each outcome, cluster, period and "
                "stratum must appear once: combine cells with Cells.combine."
            )
        by_cluster = self.frame.groupby(["outcome", "cluster"], observed=True)["cohort"].nunique(dropna=False)
        if (by_cluster > 1).any():
            outcome, cluster = by_cluster.index[by_cluster > 1][0]
            raise DataError(
                f"Cluster '{cluster}' has more than one cohort for '{outcome}'. The cohort is the first treated "
                "period of the cluster, the same in all its rows. Give it one; where treatment stopped, leave the "
                "periods after that out."
            )

    @property
    def keys(self) -> list[str]:
        return ["outcome", "cluster", "period", *self.strata]

    @property
    def synthetic(self) -> bool:
        return bool(self.metadata.get("synthetic", False))

    @classmethod
    def from_rates(
        cls,
        frame: pd.DataFrame,
        *,
        cluster: str,
        period: str,
        cohort: str,
        outcome: str,
        rate: str | None = None,
        numerator: str | None = None,
        denominator: str | None = None,
        strata: Sequence[str] = (),
        scale: float = 1.0,
        info: OutcomeInfo | None = None,
        clusters: pd.DataFrame | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> Cells:
        """Cells from published statistics, one row of ``frame`` a cell.

        A row with a numerator and a denominator is a cell of that many children; a bare ``rate`` is a cell of
        weight one. ``scale`` multiplies the outcome (100 for a percentage from counts). Rows whose figure is
        missing are left out.

        Raises DataError for a negative denominator, a numerator outside 0 to its denominator, text in a number,
        or a repeated cluster and period.
        """
        if (rate is None) == (numerator is None) or (numerator is None) != (denominator is None):
            raise UsageError("Give either rate, or both numerator and denominator.")
        columns = [cluster, period, cohort, *strata, *(c for c in (rate, numerator, denominator) if c)]
        for column in columns:
            if column not in frame.columns:
                raise DataError(f"There is no column '{column}'.{did_you_mean(column, frame.columns)}")

        def numbers(column: str) -> pd.Series:
            found = pd.to_numeric(frame[column], errors="coerce")
            wrong = found.isna() & frame[column].notna()
            if wrong.any():
                raise DataError(
                    f"Column '{column}', row {frame.index[wrong][0]}: found text where a number was expected "
                    f"({int(wrong.sum())} row(s))."
                )
            return found.astype(float)

        if rate is not None:
            count = pd.Series(1.0, index=frame.index)
            total = numbers(rate) * scale
            squares = total**2
            known = total.notna()
        else:
            count, part = numbers(denominator), numbers(numerator)  # type: ignore[arg-type]
            if (count < 0).any():
                raise DataError(f"Column '{denominator}', row {frame.index[count < 0][0]}: a denominator is negative.")
            over = (part > count) | (part < 0)
            if over.any():
                raise DataError(
                    f"Row {frame.index[over][0]}: '{numerator}' lies outside 0 to '{denominator}' "
                    f"({int(over.sum())} row(s)). A share needs a numerator between 0 and its denominator."
                )
            total, squares = part * scale, part * scale**2
            known = total.notna() & (count > 0)
        cells = pd.DataFrame(
            {
                "outcome": outcome,
                "cluster": frame[cluster],
                "period": frame[period],
                **{stratum: frame[stratum] for stratum in strata},
                "cohort": pd.to_numeric(frame[cohort], errors="coerce").replace([np.inf, -np.inf], np.nan),
                "n": count,
                "n_observed": count,
                "weight": count,
                "sum": total,
                "sum_squares": squares,
            }
        )[known]
        return cls(
            frame=cells.reset_index(drop=True),
            outcomes={outcome: info or OutcomeInfo()},
            strata=tuple(strata),
            clusters=clusters,
            metadata=dict(metadata or {}),
        )

    @classmethod
    def stack(cls, parts: Sequence[Cells]) -> Cells:
        """Cells of different outcomes in one object."""
        if not parts:
            raise UsageError("There are no cells to put together.")
        strata = {part.strata for part in parts}
        if len(strata) > 1:
            raise UsageError("Only cells with the same strata can be put together.")
        clusters = [part.clusters for part in parts if part.clusters is not None]
        return cls(
            frame=pd.concat([part.frame for part in parts], ignore_index=True),
            outcomes={name: info for part in parts for name, info in part.outcomes.items()},
            strata=parts[0].strata,
            covariates=parts[0].covariates,
            clusters=join_clusters(clusters),
            metadata=parts[0].metadata,
        )

    def only(self, outcome: str) -> Cells:
        """The cells of one outcome."""
        if outcome not in self.outcomes:
            raise UsageError(f"These cells hold no outcome '{outcome}'.{did_you_mean(outcome, self.outcomes)}")
        return replace(
            self,
            frame=self.frame[self.frame["outcome"] == outcome].reset_index(drop=True),
            outcomes={outcome: self.outcomes[outcome]},
        )

    @property
    def margins(self) -> tuple[tuple[str, ...], ...]:
        """The margins that these cells hold, each as the strata it keeps apart, the largest first."""
        return margins_held(self.frame, self.strata)

    def margin(self, *, drop: Sequence[str] | None = None, keep: Sequence[str] | None = None) -> Cells:
        """The same records in fewer strata: without those in ``drop``, or with those in ``keep`` only.

        Adds up one margin, never two that overlap: the smallest that keeps the wanted strata apart.
        Raises UsageError for an unknown stratum, or where no margin here can give it.
        """
        if (drop is None) == (keep is None):
            raise UsageError("Give either drop or keep, a list of strata.")
        for name in (*(drop or ()), *(keep or ())):
            if name not in self.strata:
                raise UsageError(f"These cells have no stratum '{name}'.{did_you_mean(name, self.strata)}")
        wanted = tuple(s for s in self.strata if (s in keep if keep is not None else s not in (drop or ())))
        # Outcomes may hold different margins, so each is taken by itself.
        rows = [margin_rows(part, self.strata, wanted) for _, part in self.frame.groupby("outcome", sort=False)]
        frame = pd.concat(rows).drop(columns=[s for s in self.strata if s not in wanted])
        keys = ["outcome", "cluster", "period", *wanted]
        return replace(self, frame=add_up(frame, keys, self.covariates), strata=wanted)

    def filter(self, **conditions: object) -> Cells:
        """The cells that meet every condition, a value or a list of them: ``filter(sex="Female", period=[2023])``.

        Columns of ``clusters`` serve as well: ``filter(region="London")``. Raises UsageError for an unknown
        column, DataError for a value that no cell has.
        """
        frame = self.frame[matching(self.frame, self.clusters, conditions)].reset_index(drop=True)
        if frame.empty:
            raise DataError("No cell meets all of these conditions together.")
        held = set(frame["outcome"])
        return replace(self, frame=frame, outcomes={name: i for name, i in self.outcomes.items() if name in held})

    def combine(self, other: Cells, *, add: bool = False, cohorts: Literal["same", "other"] = "same") -> Cells:
        """These cells and others: a new year, or another area, without the records of either.

        ``add``: the two were made from different records, so cells that are in both are added up; otherwise they
        are refused. ``cohorts="other"``: where a cluster has started since, the other cells know its first treated
        period. Raises DataError where the two overlap or disagree, UsageError where they can't be compared.
        """
        for name in ("strata", "covariates", "margins"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if set(mine) != set(theirs):
                raise UsageError(f"The {name} differ: {mine} here, {theirs} there. Make both the same with margin().")
        for name in set(self.outcomes) & set(other.outcomes):
            if self.outcomes[name].unit != other.outcomes[name].unit:
                units = f"'{self.outcomes[name].unit}' here, '{other.outcomes[name].unit}' there"
                raise DataError(f"The units of '{name}' differ: {units}. Expected the same.")
        first, second = share_cohorts(self.frame, other.frame, latest=cohorts == "other")
        tables = [part.clusters for part in (self, other) if part.clusters is not None]
        return Cells(
            frame=join_frames(first, second, self.keys, self.covariates, add=add),
            outcomes={**other.outcomes, **self.outcomes},
            strata=self.strata,
            covariates=self.covariates,
            clusters=join_clusters(tables),
            metadata=join_metadata(self.metadata, other.metadata, add=add),
        )

    def without_clusters(self, clusters: Iterable[str]) -> Cells:
        """The same cells without some clusters."""
        return replace(self, frame=self.frame[~self.frame["cluster"].isin(set(clusters))].reset_index(drop=True))

    def panel(self, outcome: str | None = None, *, weights: Weights = "areas", within: str | None = None) -> Panel:
        """One outcome as arrays.

        ``weights``: "areas" counts every unit once, "children" by the weight of its records; where a comparison group
        was chosen, its cluster weights multiply either. ``within`` names the column of ``clusters`` whose groups are
        compared inside themselves (``region``).
        """
        if outcome is None:
            if len(self.outcomes) != 1:
                raise UsageError(f"Name the outcome: {', '.join(self.outcomes)}.")
            outcome = next(iter(self.outcomes))
        if weights not in ("areas", "children"):
            raise UsageError(f"weights must be 'areas' or 'children', not '{weights}'.")
        rows = self.only(outcome).frame
        rows = rows[rows["weight"] > 0]
        if rows.empty:
            raise DataError(f"No cell of '{outcome}' has a known figure.")
        held = margins_held(rows, self.strata)
        if len(held) > 1:
            raise UsageError(
                f"These cells hold margins that overlap ({words(held)}). Choose one with margin(keep=[...])."
            )
        units = rows[["cluster", *self.strata, "cohort"]].drop_duplicates().sort_values(["cluster", *self.strata])
        units = units.reset_index(drop=True)
        position = pd.MultiIndex.from_frame(units[["cluster", *self.strata]].astype(str))
        row_of = position.get_indexer(pd.MultiIndex.from_frame(rows[["cluster", *self.strata]].astype(str)))
        periods = np.sort(rows["period"].unique())
        column_of = np.searchsorted(periods, rows["period"].to_numpy())
        shape = (len(units), len(periods))
        mean, weight, n = np.full(shape, np.nan), np.zeros(shape), np.zeros(shape)
        mean[row_of, column_of] = (rows["sum"] / rows["weight"]).to_numpy()
        weight[row_of, column_of] = 1.0 if weights == "areas" else rows["weight"].to_numpy()
        n[row_of, column_of] = rows["n_observed"].to_numpy()
        chosen = comparison_weights(self.clusters, units["cluster"])
        if chosen is not None:
            weight *= chosen[:, None]
        clusters, cluster = np.unique(units["cluster"].to_numpy(dtype=object), return_inverse=True)
        group, names = np.zeros(len(units), dtype=int), ("all",)
        if within is not None:
            if self.clusters is None or within not in self.clusters.columns:
                raise UsageError(
                    f"These cells hold no '{within}' for their clusters, so they can't be compared within it."
                )
            labels = units["cluster"].map(self.clusters.set_index("cluster")[within])
            if labels.isna().any():
                raise DataError(f"Cluster '{units['cluster'][labels.isna()].iloc[0]}' has no {within}.")
            codes, index = pd.factorize(labels, sort=True)
            group, names = np.asarray(codes), tuple(str(name) for name in index)
        return Panel(
            outcome=outcome,
            clusters=clusters,
            units=units,
            periods=periods.astype(int),
            cohort=units["cohort"].fillna(np.inf).to_numpy(dtype=float),
            cluster=cluster,
            group=group,
            group_names=names,
            mean=mean,
            weight=weight,
            n=n,
            weights=weights if chosen is None else f"{weights}, weighted",
            info=self.outcomes[outcome],
        )

    def write(self, path: Path | str) -> None:
        """Write to Parquet, with strata, units, clusters and sources in the file's metadata."""
        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        about = {
            "format": FORMAT_VERSION,
            "outcomes": {name: asdict(info) for name, info in self.outcomes.items()},
            "strata": list(self.strata),
            "covariates": list(self.covariates),
            "clusters": None if self.clusters is None else self.clusters.to_dict(orient="list"),
            "metadata": dict(self.metadata),
        }
        text = json.dumps(about, sort_keys=True, ensure_ascii=False, default=str)
        table = table.replace_schema_metadata({b"sendap": text.encode()})
        with whole(Path(path)) as temporary:
            pq.write_table(table, temporary)

    @classmethod
    def read(cls, path: Path | str) -> Cells:
        """Read a file that ``write`` made.

        Raises DataError for a file that is missing, cut short or not of this format.
        """
        path = Path(path)
        try:
            table = pq.read_table(path)
        except FileNotFoundError:
            raise DataError(f"{path} doesn't exist. Make it with `sendap run` or `sendap cells`.") from None
        except (pa.ArrowInvalid, OSError):
            raise DataError(f"{path} can't be read as Parquet: it may be cut short. Make it again.") from None
        about = (table.schema.metadata or {}).get(b"sendap")
        if about is None:
            raise DataError(f"{path} is a Parquet file, but not one of cells: it lacks their description.")
        known = json.loads(about)
        if known["format"] != FORMAT_VERSION:
            raise DataError(f"{path} has format {known['format']}; this version reads format {FORMAT_VERSION}.")
        return cls(
            frame=table.replace_schema_metadata(None).to_pandas(),
            outcomes={name: OutcomeInfo(**info) for name, info in known["outcomes"].items()},
            strata=tuple(known["strata"]),
            covariates=tuple(known["covariates"]),
            clusters=None if known["clusters"] is None else pd.DataFrame(known["clusters"]),
            metadata=known["metadata"],
        )
