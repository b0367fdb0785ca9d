"""Cells and profiles for the tests of comparison groups."""

from __future__ import annotations

import numpy as np
import pandas as pd
from panels import as_cells, made_up

from sendap.cells import Cells
from sendap.comparison import Profiles, profiles


def one_start(**options: object) -> Cells:
    """Areas A000 onwards, the first of them treated from 2019 on; periods 2016 to 2021."""
    return as_cells(made_up(**{"starts": (2019.0,), **options}))  # type: ignore[arg-type]


def from_values(treated: np.ndarray, others: np.ndarray) -> Profiles:
    """Profiles with the given measures (rows by P): treated T0, T1, ..., others C0, C1, ..."""
    values = np.vstack([treated, others])
    names = [f"T{at:02d}" for at in range(len(treated))] + [f"C{at:02d}" for at in range(len(others))]
    rows = [
        {"area": name, "year": year, "cohort": 2020.0 if name[0] == "T" else np.nan, "region": "one", "y": 1.0, "n": 1}
        for name in names
        for year in (2019, 2020)
    ]
    frame = pd.DataFrame(rows)
    frame["y"] += np.arange(len(frame))
    covariates = pd.DataFrame({"cluster": names, **{f"x{at}": column for at, column in enumerate(values.T)}})
    return profiles(as_cells(frame), levels="none", slope=False, covariates=covariates)
