"""Local authorities and regions: codes, names and boundary changes.

The boundary rule of the workbench has a name, ``today's boundaries, not joined``: an area is followed under
the boundaries it has today, for the periods that begin after it took that shape or contain the change. Years
of an area that was abolished, or of a new area before it existed, are set aside and counted. Nothing is
apportioned, because published rates carry no counts to apportion.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from sendap.errors import DataError, did_you_mean
from sendap.periods import Month, Period, PeriodKind

BOUNDARY_RULE = "today's boundaries, not joined"


@dataclass(frozen=True)
class LocalAuthority:
    la_code: str
    three_digit_code: str
    name: str
    region: str
    other_codes: tuple[str, ...]
    other_names: tuple[str, ...]
    first_month: Month | None
    last_month: Month | None
    successors: tuple[str, ...]


_COLUMNS = (
    "la_code", "three_digit_code", "name", "region", "other_la_codes", "other_names", "first_month", "last_month",
    "successors",
)  # fmt: skip


def _plain(name: str) -> str:
    """A name as it is compared: lower case, one space, no footnote digits, no full stops."""
    return re.sub(r"\s+", " ", re.sub(r"[\d,]+$", "", str(name)).replace(".", "").strip().lower())


@dataclass(frozen=True)
class Places:
    """All local authorities, current and former, with every code and name that publishers use for them."""

    authorities: tuple[LocalAuthority, ...]

    @classmethod
    def read(cls, path: Path) -> Places:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                rows = list(reader)
        except FileNotFoundError:
            raise DataError(f"{path} doesn't exist. Take it from the project's repository.") from None
        except UnicodeDecodeError as error:
            raise DataError(f"{path.name} isn't UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise DataError(f"{path.name} lacks the column '{missing[0]}'. Expected: {', '.join(_COLUMNS)}.")

        def split(text: str) -> tuple[str, ...]:
            return tuple(part for part in text.split(";") if part)

        return cls(
            tuple(
                LocalAuthority(
                    la_code=row["la_code"],
                    three_digit_code=row["three_digit_code"],
                    name=row["name"],
                    region=row["region"],
                    other_codes=split(row["other_la_codes"]),
                    other_names=split(row["other_names"]),
                    first_month=Month.parse(row["first_month"]) if row["first_month"] else None,
                    last_month=Month.parse(row["last_month"]) if row["last_month"] else None,
                    successors=split(row["successors"]),
                )
                for row in rows
            )
        )

    @cached_property
    def by_code(self) -> dict[str, LocalAuthority]:
        """Every nine-character and three-digit code, old and new."""
        found: dict[str, LocalAuthority] = {}
        for area in self.authorities:
            for code in (area.la_code, area.three_digit_code, *area.other_codes):
                if code in found:
                    raise DataError(
                        f"local-authorities.csv: the code '{code}' is given to {found[code].name} and to {area.name}. "
                        "A code names one area."
                    )
                found[code] = area
        return found

    @cached_property
    def by_name(self) -> dict[str, LocalAuthority]:
        found: dict[str, LocalAuthority] = {}
        for area in self.authorities:
            for name in (area.name, *area.other_names):
                found[_plain(name)] = area
        return found

    @cached_property
    def current(self) -> tuple[LocalAuthority, ...]:
        return tuple(area for area in self.authorities if area.last_month is None)

    def code_of_name(self, name: str) -> str | None:
        area = self.by_name.get(_plain(name))
        return area.la_code if area else None

    def name_of(self, code: str) -> str:
        return self.by_code[code].name

    def region_of(self, code: str) -> str:
        return self.by_code[code].region

    def canonical(self, codes: pd.Series, *, where: str) -> pd.Series:
        """The nine-character code of today for each code of a column.

        Raises DataError naming the first unknown codes and their rows.
        """
        mapped = codes.astype(str).str.strip().map({code: area.la_code for code, area in self.by_code.items()})
        if mapped.isna().any():
            unknown = codes[mapped.isna()]
            first = str(unknown.iloc[0]).strip()
            rows = ", ".join(str(row) for row in unknown.index[:5])
            raise DataError(
                f"{where}, column '{codes.name}', row{'s' if len(unknown) > 1 else ''} {rows}"
                f"{f' and {len(unknown) - 5} more' if len(unknown) > 5 else ''}: found '{first}', expected a code of "
                "data-catalog/codes/local-authorities.csv."
                f"{did_you_mean(first, self.by_code)}"
            )
        return mapped

    def keep_todays_boundaries(
        self, frame: pd.DataFrame, *, kind: PeriodKind, measured: tuple[int, int] | None = None
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Apply the boundary rule to rows with ``la_code``, ``period`` (the year in which it starts) and ``value``.

        Returns the rows kept, and a table of the known values set aside: ``la_code, name, periods, reason``.
        """
        reasons: dict[tuple[str, int], str] = {}
        for code, year in set(zip(frame["la_code"], frame["period"], strict=True)):
            area = self.by_code[code]
            _, closes = Period(kind, int(year)).window(measured)
            if area.last_month is not None:
                names = " and ".join(self.name_of(successor) for successor in area.successors)
                reasons[code, year] = f"abolished after {area.last_month.words}; its area is now in {names}"
            elif area.first_month is not None and closes < area.first_month:
                reasons[code, year] = f"before the area took its present shape in {area.first_month.words}"
        if not reasons:
            return frame, pd.DataFrame(columns=["la_code", "name", "periods", "reason"])
        reason = pd.Series(
            [reasons.get(key) for key in zip(frame["la_code"], frame["period"], strict=True)],
            index=frame.index,
        )
        known = (reason.notna() & frame["value"].notna()).to_numpy()
        gone = frame.loc[known, ["la_code", "period"]].assign(reason=reason[known].to_numpy())
        table = gone.groupby(["la_code", "reason"], as_index=False).agg(periods=("period", "nunique"))
        table.insert(1, "name", table["la_code"].map(self.name_of))
        return frame[reason.isna()], table[["la_code", "name", "periods", "reason"]]
