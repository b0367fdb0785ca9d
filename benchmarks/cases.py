"""What is measured. Each case reads a file of pupil records and returns numbers that its task's cases must share.

A task has a floor or a reference, our way, and the ways of other packages. To add a peer, write a function and
list it in ``CASES``: the runner measures it in a process of its own, and compares its numbers with the first case of
its task that finished.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Numbers = dict[str, float]

STRATA = ("sex", "ethnicity")
FIRST = "first_treated"


@dataclass(frozen=True)
class Case:
    """``package``: what must be installed. ``note``: what a reader must know to read its time fairly."""

    name: str
    task: str
    run: Callable[[str], Numbers]
    package: str = "sendap"
    note: str = ""


def _floor_query(path: str, keys: tuple[str, ...]) -> Numbers:
    import duckdb

    names = ", ".join(keys)
    rows = duckdb.sql(
        f"select {names}, max(first_treated), count(*) as n, count(absence), sum(absence) as total, "
        f"sum(absence * absence) from read_parquet('{path}') group by {names}"
    ).df()
    return {"cells": len(rows), "records": float(rows["n"].sum()), "sum": float(rows["total"].sum())}


def floor(path: str) -> Numbers:
    return _floor_query(path, ("la_code", "year", *STRATA))


def floor_plain(path: str) -> Numbers:
    return _floor_query(path, ("la_code", "year"))


def floor_margins(path: str) -> Numbers:
    parts = [_floor_query(path, ("la_code", "year", *margin)) for margin in (("sex",), ("ethnicity",), ())]
    return {"cells": sum(part["cells"] for part in parts), "records": parts[0]["records"], "sum": parts[0]["sum"]}


def floor_unit(path: str) -> Numbers:
    import duckdb

    query = f"select pupil_id, count(*) as n from read_parquet('{path}') group by pupil_id"
    records = duckdb.sql(f"select sum(n) from ({query})").fetchall()[0][0]
    return {**floor_plain(path), "records": float(records)}


def _summary(frame: object) -> Numbers:
    return {"cells": len(frame), "records": float(frame["n"].sum()), "sum": float(frame["sum"].sum())}


def cells(path: str) -> Numbers:
    from sendap.cells.compress import compress

    return _summary(compress(path, outcomes=["absence"], strata=STRATA).frame)


def cells_plain(path: str) -> Numbers:
    from sendap.cells.compress import compress

    return _summary(compress(path, outcomes=["absence"]).frame)


def cells_margins(path: str) -> Numbers:
    from sendap.cells.compress import compress

    margins = [["sex"], ["ethnicity"], []]
    found = compress(path, outcomes=["absence"], strata=STRATA, margins=margins)
    return {
        "cells": len(found.frame),
        **{k: v for k, v in _summary(found.margin(keep=[]).frame).items() if k != "cells"},
    }


def cells_unit(path: str) -> Numbers:
    from sendap.cells.compress import compress

    return _summary(compress(path, outcomes=["absence"], unit="pupil_id").frame)


def cells_spark(path: str) -> Numbers:
    from sendap.cells.compress import compress

    return _summary(compress(path, outcomes=["absence"], strata=STRATA, engine="spark").frame)


# Two-way fixed effects of area and year


def _treated(columns: list[str], path: str) -> object:
    import pandas as pd

    frame = pd.read_parquet(path, columns=columns).dropna(subset=["absence"])
    frame["treated"] = (frame["year"] >= frame[FIRST].astype(float).fillna(9999.0)).astype(float)
    return frame


def two_way_cells(path: str) -> Numbers:
    from sendap.cells.compress import compress
    from sendap.effects import two_way

    found = two_way(compress(path, outcomes=["absence"]), "absence", weights="children", inference="crv1")
    return {"estimate": float(found.frame["estimate"].iloc[0])}


def two_way_pyfixest(path: str) -> Numbers:
    import pyfixest as pf

    frame = _treated(["la_code", "year", FIRST, "absence"], path)
    fit = pf.feols("absence ~ treated | la_code + year", frame, vcov={"CRV1": "la_code"})
    return {"estimate": float(fit.coef()["treated"])}


def two_way_linearmodels(path: str) -> Numbers:
    import pandas as pd
    from linearmodels.iv.absorbing import AbsorbingLS

    frame = _treated(["la_code", "year", FIRST, "absence"], path)
    absorbed = pd.DataFrame({name: frame[name].astype("category") for name in ("la_code", "year")})
    model = AbsorbingLS(frame["absence"], frame[["treated"]], absorb=absorbed)
    fit = model.fit(cov_type="clustered", clusters=frame["la_code"].cat.codes)
    return {"estimate": float(fit.params["treated"])}


def two_way_statsmodels(path: str) -> Numbers:
    import statsmodels.formula.api as smf

    frame = _treated(["la_code", "year", FIRST, "absence"], path)
    frame["la_code"] = frame["la_code"].astype(str)
    fit = smf.ols("absence ~ treated + C(la_code) + C(year)", frame).fit(
        cov_type="cluster", cov_kwds={"groups": frame["la_code"].astype("category").cat.codes}
    )
    return {"estimate": float(fit.params["treated"])}


CASES = (
    Case("DuckDB group-by (floor)", "cells by sex and ethnicity", floor, "duckdb"),
    Case("sendap", "cells by sex and ethnicity", cells),
    Case("sendap on Spark, local", "cells by sex and ethnicity", cells_spark, "pyspark", "includes the start of Spark"),
    Case("DuckDB group-by (floor)", "cells by area and year", floor_plain, "duckdb"),
    Case("sendap", "cells by area and year", cells_plain),
    Case("DuckDB, a group-by for each (floor)", "three margins", floor_margins, "duckdb"),
    Case("sendap, grouping sets", "three margins", cells_margins),
    Case("DuckDB, a group-by for cells and one by pupil (floor)", "cells, pupil and year unique", floor_unit, "duckdb"),
    Case("sendap with unit", "cells, pupil and year unique", cells_unit),
    Case("DuckDB group-by (floor)", "two-way, area and year", floor_plain, "duckdb"),
    Case("sendap", "two-way, area and year", two_way_cells),
    Case("pyfixest", "two-way, area and year", two_way_pyfixest, "pyfixest"),
    Case("linearmodels", "two-way, area and year", two_way_linearmodels, "linearmodels"),
    Case("statsmodels", "two-way, area and year", two_way_statsmodels, "statsmodels", "a column for each area"),
)
