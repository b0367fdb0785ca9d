"""Duration cells: what time-to-event analysis needs of the records, by area, decision period and interval.

The clock starts at the decision. A case that started its clock at the service can't have ended before the service
began, so the time it waited is counted as time in which nothing could happen (immortal-time bias: Suissa 2008,
doi:10.1093/aje/kwm324); ``sendap.compress_durations`` refuses that.

Time is cut into intervals of equal width, numbered from 1. A case is at risk in each interval that it reached and that
was followed to its end; those who leave in an interval are at risk in it, after the events of the interval, which is
the rule of Kaplan and Meier (1958) for ties.

Most of these cells are small: they're for use **inside the secure area**. What leaves are estimates, by way of the
release rules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sendap.cells.combining import matching
from sendap.errors import DataError, DesignError, UsageError, did_you_mean
from sendap.files import whole

FORMAT_VERSION = 1
COUNTS = ("entered", "n", "censored")


@dataclass(frozen=True)
class Clock:
    """How time is measured: ``width`` days (or whole units) make one interval, of which ``unit`` is the name.

    ``starts`` says what starts the clock, for example "appealable decision".
    """

    starts: str
    width: int
    unit: str


@dataclass(frozen=True)
class DurationArrays:
    """Counts of C cells in J intervals by K causes. ``keys`` (C rows) has cluster, period, strata and cohort.

    ``n`` (C by J) is at risk in each interval, ``events`` (C by K by J) happened in it, ``entered`` (C by J) came under
    observation at its start, ``censored`` (C by J) were last seen in it.
    """

    keys: pd.DataFrame
    n: np.ndarray
    events: np.ndarray
    entered: np.ndarray
    censored: np.ndarray

    @property
    def cases(self) -> np.ndarray:
        """Cases that were ever under observation (C)."""
        return self.entered.sum(axis=1)


def event_column(cause: str) -> str:
    """The column of a frame of duration cells that counts one type of event."""
    return f"events[{cause}]"


@dataclass(frozen=True)
class DurationCells:
    """Counts by cluster, decision period, stratum and interval since the decision.

    ``frame`` has one row a cell and interval, from 1 to the last in which the cell has a case at risk: ``cluster,
    period``, the strata, ``cohort`` (first treated period of the cluster, missing for the never treated), ``interval``;
    ``entered``, cases that came under observation at its start; ``n`` at risk; ``events[cause]`` for each of
    ``causes``; ``censored``, cases last seen in it.

    ``periods`` has one row a decision period: ``period`` and ``followed``, the intervals for which the data could
    follow each of its cases, however late it was decided. ``metadata`` as for ``Cells``.
    """

    frame: pd.DataFrame
    causes: tuple[str, ...]
    clock: Clock
    periods: pd.DataFrame
    strata: tuple[str, ...] = ()
    clusters: pd.DataFrame | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wanted = [*self.keys, "cohort", "interval", *self.counts]
        missing = [column for column in wanted if column not in self.frame.columns]
        if missing:
            raise DataError(f"Duration cells lack the column(s) {', '.join(missing)}. Expected {', '.join(wanted)}.")
        if self.frame.duplicated([*self.keys, "interval"]).any():
            raise DataError(
                "Some duration cells appear twice. Expected each cluster, period, stratum and interval once."
            )
        if self.frame.groupby("cluster", observed=True)["cohort"].nunique(dropna=False).gt(1).any():
            raise DataError("A cluster has more than one cohort. Expected its first treated period in all its rows.")

    @property
    def keys(self) -> list[str]:
        return ["cluster", "period", *self.strata]

    @property
    def counts(self) -> list[str]:
        return [*COUNTS, *(event_column(cause) for cause in self.causes)]

    @property
    def synthetic(self) -> bool:
        return bool(self.metadata.get("synthetic", False))

    def check_cause(self, cause: str) -> int:
        """The position of a cause. Raises UsageError for one that these cells don't count."""
        if cause not in self.causes:
            raise UsageError(f"These cells don't count '{cause}'.{did_you_mean(cause, self.causes)}")
        return self.causes.index(cause)

    def filter(self, **conditions: object) -> DurationCells:
        """The cells that meet every condition: ``filter(sex="Female", period=[2023])``. As ``Cells.filter``."""
        frame = self.frame[matching(self.frame, self.clusters, conditions)].reset_index(drop=True)
        if frame.empty:
            raise DataError("No cell meets all of these conditions together.")
        periods = self.periods[self.periods["period"].isin(frame["period"].unique())].reset_index(drop=True)
        return replace(self, frame=frame, periods=periods)

    def margin(self, *, keep: Sequence[str]) -> DurationCells:
        """The same cases in fewer strata. Raises UsageError for a stratum that these cells don't have."""
        for name in keep:
            if name not in self.strata:
                raise UsageError(f"These cells have no stratum '{name}'.{did_you_mean(name, self.strata)}")
        strata = tuple(name for name in self.strata if name in keep)
        keys = ["cluster", "period", *strata, "interval"]
        grouped = self.frame.groupby(keys, sort=True, observed=True)
        added = grouped[self.counts].sum()
        added.insert(0, "cohort", grouped["cohort"].first())
        frame = added.reset_index()[[*keys[:-1], "cohort", "interval", *self.counts]]
        return replace(self, frame=frame, strata=strata)

    def whole_periods(self, horizon: int) -> DurationCells:
        """Only the decision periods whose every case could be followed for ``horizon`` intervals.

        Raises DesignError where there's none.
        """
        kept = self.periods.loc[self.periods["followed"] >= horizon, "period"]
        if kept.empty:
            longest = int(self.periods["followed"].max())
            raise DesignError(
                f"No decision period can be followed for {horizon} {self.clock.unit}: the longest is {longest}. "
                "Wait for later data, or take a shorter horizon."
            )
        return self.filter(period=kept.tolist())

    def refuse_unfollowed(self, horizon: int) -> None:
        """Raises DesignError where the data end before some case could be followed to the horizon, UsageError for one
        below 1."""
        if horizon < 1:
            raise UsageError(f"A horizon must be at least 1 interval, not {horizon}.")
        late = self.periods[self.periods["followed"] < horizon]
        if late.empty:
            return
        names = ", ".join(str(period) for period in late["period"])
        raise DesignError(
            f"The data end before the cases decided in period(s) {names} could be followed for {horizon} "
            f"{self.clock.unit}. Leave these periods out with whole_periods({horizon}), wait for later data, or take a "
            f"horizon of at most {int(self.periods['followed'].min())} {self.clock.unit}, which all periods allow."
        )

    def arrays(self, length: int | None = None, by: Sequence[str] | None = None) -> DurationArrays:
        """The counts as arrays, ``length`` intervals long; ``by`` names the keys to keep apart (all by default)."""
        by = self.keys if by is None else list(by)
        length = int(self.frame["interval"].max()) if length is None else length
        grouped = self.frame.groupby(by, sort=True, observed=True, dropna=False)
        cell = grouped.ngroup().to_numpy()
        cohort = grouped["cohort"].first()
        keys = cohort.reset_index() if "cohort" not in by else cohort.index.to_frame(index=False)
        interval = self.frame["interval"].to_numpy() - 1
        inside = interval < length

        def spread(column: str) -> np.ndarray:
            made = np.zeros((len(keys), length))
            np.add.at(made, (cell[inside], interval[inside]), self.frame[column].to_numpy(dtype=float)[inside])
            return made

        return DurationArrays(
            keys=keys,
            n=spread("n"),
            events=np.stack([spread(event_column(cause)) for cause in self.causes], axis=1),
            entered=spread("entered"),
            censored=spread("censored"),
        )

    def write(self, path: Path | str) -> None:
        """Write to Parquet, with causes, clock and sources in the file's metadata."""
        about = {
            "durations": FORMAT_VERSION,
            "causes": list(self.causes),
            "clock": asdict(self.clock),
            "periods": self.periods.to_dict(orient="list"),
            "strata": list(self.strata),
            "clusters": None if self.clusters is None else self.clusters.to_dict(orient="list"),
            "metadata": dict(self.metadata),
        }
        text = json.dumps(about, sort_keys=True, ensure_ascii=False, default=str)
        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        with whole(Path(path)) as temporary:
            pq.write_table(table.replace_schema_metadata({b"sendap": text.encode()}), temporary)

    @classmethod
    def read(cls, path: Path | str) -> DurationCells:
        """Read a file that ``write`` made. Raises DataError for one that is missing, cut short or of another kind."""
        path = Path(path)
        try:
            table = pq.read_table(path)
        except FileNotFoundError:
            raise DataError(f"{path} doesn't exist. Make it with sendap.compress_durations.") from None
        except (pa.ArrowInvalid, OSError):
            raise DataError(f"{path} can't be read as Parquet: it may be cut short. Make it again.") from None
        known = json.loads((table.schema.metadata or {}).get(b"sendap", b"{}"))
        if known.get("durations") != FORMAT_VERSION:
            raise DataError(f"{path} doesn't hold duration cells of this version. Make it again.")
        return cls(
            frame=table.replace_schema_metadata(None).to_pandas(),
            causes=tuple(known["causes"]),
            clock=Clock(**known["clock"]),
            periods=pd.DataFrame(known["periods"]),
            strata=tuple(known["strata"]),
            clusters=None if known["clusters"] is None else pd.DataFrame(known["clusters"]),
            metadata=known["metadata"],
        )
