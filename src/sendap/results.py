"""The one type that every estimate ends in: a tidy frame with one row a term and method of inference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from sendap.errors import DataError, UsageError
from sendap.files import whole

COLUMNS: dict[str, str] = {
    "pilot": "text",
    "outcome": "text",
    "family": "text",
    "population": "text",
    "stratum": "text",
    "contrast": "text",
    "estimator": "text",
    "term": "text",
    "cohort": "number",
    "period": "number",
    "event_time": "number",
    "estimate": "number",
    "std_error": "number",
    "ci_low": "number",
    "ci_high": "number",
    "ci_level": "number",
    "p_value": "number",
    "p_adjusted": "number",
    "dof": "number",
    "inference": "text",
    "draws": "number",
    "n": "number",
    "clusters": "number",
    "treated_clusters": "number",
    "effective_clusters": "number",
    "weight": "text",
    "unit": "text",
    "status": "text",
    # Beyond the core of the schema: what a reader needs to judge a row on its own.
    "headline": "flag",
    "one_sided_low": "number",
    "one_sided_high": "number",
    "periods_before": "text",
    "periods_after": "text",
    "period_kind": "text",
    "synthetic": "flag",
    "note": "text",
}
"""Columns of ``estimates.parquet`` in their order. ``headline`` marks the method that the selector chose;
``one_sided_low`` and ``one_sided_high`` are one-sided 95% bounds, for guards."""

# The contrasts of an evaluation: which areas are compared, and from which base.
MAIN = "all comparison areas"
ACROSS = "all comparison areas, across regions"
SURE = "without areas of low or medium confidence"
APART = "without areas of other programmes"
WIDER = "one more period counted as partly exposed"
SINGLE = "each base year on its own"
BALANCED = "areas weighted to be alike before the start"
MATCHED = "the most alike area for each"
NEIGHBOURS = "published statistical neighbours"


def tidy(rows: Iterable[Mapping[str, Any]] | pd.DataFrame) -> pd.DataFrame:
    """Rows in the schema's columns, order and types; columns not given are empty."""
    frame = pd.DataFrame(rows) if not isinstance(rows, pd.DataFrame) else rows.copy()
    unknown = [name for name in frame.columns if name not in COLUMNS]
    if unknown:
        raise UsageError(f"Results have no column '{unknown[0]}'.")
    out = {}
    for name, kind in COLUMNS.items():
        given = frame[name] if name in frame.columns else pd.Series([None] * len(frame), index=frame.index)
        if kind == "number":
            out[name] = pd.to_numeric(given).astype(float)
        elif kind == "flag":
            out[name] = given.map(bool, na_action="ignore").fillna(False).astype(bool)
        else:
            out[name] = given.fillna("").astype(str)
    return pd.DataFrame(out).reset_index(drop=True)


@dataclass(frozen=True)
class Estimates:
    """Results of one or more estimators.

    ``frame`` has the columns of ``COLUMNS``. ``parts`` keeps, by estimator, what further inference needs
    (the fit with its cluster scores and weights); it isn't written to files.
    """

    frame: pd.DataFrame
    parts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def concat(cls, several: Iterable[Estimates]) -> Estimates:
        frames = [each.frame for each in several]
        if not frames:
            raise UsageError("There are no estimates to put together.")
        return cls(pd.concat(frames, ignore_index=True))

    def tidy(self) -> pd.DataFrame:
        """A copy of the frame."""
        return self.frame.copy()

    def headline(self) -> pd.DataFrame:
        """Only the rows whose method the selector chose."""
        return self.frame[self.frame["headline"]].reset_index(drop=True)

    def aggregate(self, kind: str = "simple") -> pd.DataFrame:
        """Group-time averages: "simple" (one number), "group", "calendar" or "event"."""
        terms = {"simple": "overall", "group": "group", "calendar": "calendar", "event": "event"}
        if kind not in terms:
            raise UsageError(f"There is no aggregate '{kind}'. Use one of: {', '.join(terms)}.")
        return self.headline().query("term == @terms[@kind]").reset_index(drop=True)

    def with_columns(self, **values: object) -> Estimates:
        """The same results with some columns filled in, for every row."""
        return replace(self, frame=tidy(self.frame.assign(**values)))

    def write(self, path: Path) -> None:
        """Write Parquet and, beside it, the same rows as CSV."""
        with whole(path) as temporary:
            self.frame.to_parquet(temporary, index=False)
        with whole(path.with_suffix(".csv")) as temporary:
            self.frame.to_csv(temporary, index=False, lineterminator="\n", float_format="%.12g")

    @classmethod
    def read(cls, path: Path) -> Estimates:
        try:
            frame = pd.read_parquet(path)
        except FileNotFoundError:
            raise DataError(f"{path} doesn't exist. Make it with `sendap run`.") from None
        missing = [name for name in COLUMNS if name not in frame.columns]
        if missing:
            raise DataError(f"{path} lacks the column '{missing[0]}', so it isn't a table of results of this version.")
        return cls(frame[list(COLUMNS)])

    def __str__(self) -> str:
        shown = ["outcome", "estimator", "term", "cohort", "period", "event_time", "estimate", "ci_low", "ci_high",
                 "inference", "clusters", "treated_clusters"]  # fmt: skip
        return self.headline()[shown].to_string(index=False, float_format=lambda value: f"{value:.3f}", na_rep="")

    def _repr_html_(self) -> str:
        from sendap.report.tables import estimates_table

        return estimates_table(self.headline())

    def plot(self, **options: Any) -> Any:
        """A figure of the headline rows: event times where there are some, else one interval a row."""
        from sendap.report.figures import plot_estimates

        return plot_estimates(self.headline(), **options)
