"""Signs that stand where a number would, now and in older files.

Source: Government Statistical Service, symbols in tables; Department for Education, screening of data files.
"""

from __future__ import annotations

import pandas as pd

NOW = {
    "c": "suppressed for confidentiality",
    "z": "not applicable",
    "x": "not available",
    "low": "rounds to zero but isn't zero",
    "k": "rounds to zero but isn't zero, sensitive",
    "u": "of low reliability",
}
OBSOLETE = {"~": "suppressed, or rounds to zero (an obsolete sign)", ":": "not available (an obsolete sign)"}
OLD = {
    ".": "not applicable (an old sign)",
    "..": "not available (an old sign)",
    "-": "none or not given (an old sign)",
    "N/A": "not applicable or not available",
    "n/a": "not applicable or not available",
}
NULL = dict.fromkeys(("NULL", "Null", "null", "NA", "na"), "not available (left empty by a program)")
KNOWN = NOW | OBSOLETE | OLD | NULL | {"": "not given (blank)"}


def not_numbers(text: pd.Series) -> pd.Series:
    """The values of a column that aren't numbers, each with how often it is there."""
    counts = text.fillna("").astype(str).str.strip().value_counts()
    numbers = as_numbers(pd.Series(counts.index, index=counts.index))
    return counts[numbers.isna()]


def as_numbers(text: pd.Series) -> pd.Series:
    """Text as numbers where it is one, as the readers of tables take it; missing where it isn't."""
    bare = text.str.strip().str.removesuffix("%").str.rstrip()
    grouped = bare.str.fullmatch(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
    numbers = pd.to_numeric(bare.mask(grouped, bare.str.replace(",", "", regex=False)), errors="coerce")
    return numbers.astype(float).where(numbers.abs() < float("inf"))
