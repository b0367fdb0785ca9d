"""The floor and our way where effects are of areas and years."""

from __future__ import annotations

import numpy as np

STRATA = ("sex", "ethnicity")
DRAWS = 9999


def _floor(path: str, keys: tuple[str, ...]) -> dict[str, float]:
    import duckdb

    names = ", ".join(keys)
    rows = duckdb.sql(
        f"select {names}, max(first_treated), count(*) as n, count(absence), sum(absence) as total, "
        f"sum(absence * absence) from read_parquet('{path}') group by {names}"
    ).df()
    return {"cells": len(rows), "records": float(rows["n"].sum()), "sum": float(rows["total"].sum())}


def floor(path: str) -> dict[str, float]:
    return _floor(path, ("la_code", "year", *STRATA))


def floor_plain(path: str) -> dict[str, float]:
    return _floor(path, ("la_code", "year"))


def floor_margins(path: str) -> dict[str, float]:
    parts = [_floor(path, ("la_code", "year", *margin)) for margin in (("sex",), ("ethnicity",), ())]
    return {"cells": sum(part["cells"] for part in parts), "records": parts[0]["records"], "sum": parts[0]["sum"]}


def floor_unit(path: str) -> dict[str, float]:
    import duckdb

    query = f"select pupil_id, count(*) as n from read_parquet('{path}') group by pupil_id"
    records = duckdb.sql(f"select sum(n) from ({query})").fetchall()[0][0]
    return {**floor_plain(path), "records": float(records)}


def _compress(path: str, **options: object):  # type: ignore[no-untyped-def]
    from sendap.cells.compress import compress

    return compress(path, outcomes=["absence"], **options)  # type: ignore[arg-type]


def _summary(frame) -> dict[str, float]:  # type: ignore[no-untyped-def]
    return {"cells": len(frame), "records": float(frame["n"].sum()), "sum": float(frame["sum"].sum())}


def cells(path: str) -> dict[str, float]:
    return _summary(_compress(path, strata=STRATA).frame)


def cells_plain(path: str) -> dict[str, float]:
    return _summary(_compress(path).frame)


def cells_margins(path: str) -> dict[str, float]:
    found = _compress(path, strata=STRATA, margins=[["sex"], ["ethnicity"], []])
    return {**_summary(found.margin(keep=[]).frame), "cells": len(found.frame)}


def cells_unit(path: str) -> dict[str, float]:
    return _summary(_compress(path, unit="pupil_id").frame)


def cells_spark(path: str) -> dict[str, float]:
    return _summary(_compress(path, strata=STRATA, engine="spark").frame)


def _bare_error(fit, term: int) -> float:  # type: ignore[no-untyped-def]
    """The cluster-robust standard error without a small-sample factor, about which packages differ."""
    from sendap.inference.cluster_robust import crv1_variance

    return float(np.sqrt(crv1_variance(fit)[term] / fit.crv1_factor))


def two_way(path: str) -> dict[str, float]:
    from sendap.estimators import fit_two_way

    fit = fit_two_way(_compress(path).panel(weights="children"))
    return {"estimate": float(fit.estimate[0]), "std_error": _bare_error(fit, 0)}


def event_study(path: str) -> dict[str, float]:
    from sendap.estimators import fit_event_study

    fit = fit_event_study(_compress(path).panel(weights="children"))
    times = fit.terms["event_time"].to_numpy()
    estimates = {f"event {time:g}": float(value) for time, value in zip(times, fit.estimate, strict=True)}
    return {**estimates, "std_error": _bare_error(fit, len(times) - 1)}


def group_time(path: str) -> dict[str, float]:
    from sendap.estimators import fit_group_time
    from sendap.inference.bands import simultaneous_band

    cells = _compress(path)
    years = cells.frame[cells.frame["weight"] > 0].groupby("cluster")["period"].nunique()
    whole = cells.without_clusters(years.index[years < years.max()])  # as the peers do
    fit = fit_group_time(whole.panel(weights="areas"), control="never", base="universal")
    errors = np.sqrt((fit.scores**2).sum(axis=0))
    events = np.flatnonzero((fit.terms["term"] == "event").to_numpy() & (errors > 0))
    simultaneous_band(fit.estimate[events], scores=fit.scores[:, events], std_error=errors[events], draws=DRAWS, seed=1)
    overall = int(np.flatnonzero(fit.terms["term"] == "overall")[0])
    return {"estimate": float(fit.estimate[overall]), "std_error": float(errors[overall])}


def wild(path: str) -> dict[str, float]:
    from sendap.estimators import fit_two_way
    from sendap.inference.wild_bootstrap import wild_bootstrap

    fit = fit_two_way(_compress(path).panel(weights="children"))
    found = wild_bootstrap(fit, draws=DRAWS)
    return {"t": float(fit.estimate[0]) / _bare_error(fit, 0), "p_value": found.p_value}


def cells_object(path: str) -> object:
    return _compress(path)


def everything(cells) -> dict[str, float]:  # type: ignore[no-untyped-def]
    """Two-way, event study and group-time with uniform bands; 9,999 draws each of wild bootstrap and permutation."""
    from sendap.effects import event_study, group_time, two_way

    draws = {"draws": DRAWS, "seed": 1}
    both = two_way(cells, "absence", inference="wcr", **draws)
    permuted = two_way(cells, "absence", inference="permutation", **draws)
    study = event_study(cells, "absence", permute=False, **draws)
    times = group_time(cells, "absence", band=True, permute=False, **draws)
    return {"rows": float(sum(len(part.frame) for part in (both, permuted, study, times)))}
