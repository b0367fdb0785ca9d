"""The ways of other packages, each as its own guide shows it, from the same file to the same numbers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

FIRST = "first_treated"
DRAWS = 9999


def _read(path: str, unit: str = ""):  # type: ignore[no-untyped-def]
    """The records with a known outcome, and a column that says whether the area was treated by then."""
    import pandas as pd

    frame = pd.read_parquet(path, columns=[*([unit] if unit else []), "la_code", "year", FIRST, "absence"])
    frame = frame.dropna(subset=["absence"])
    frame["treated"] = (frame["year"] >= frame[FIRST].astype(float).fillna(9999.0)).astype(float)
    return frame


def _with_events(frame):  # type: ignore[no-untyped-def]
    """Adds a column for each event time but the last before the start. Returns their names by event time."""
    event = frame["year"] - frame[FIRST].astype(float)
    times = np.unique(event.dropna())
    names = {float(time): f"event_{index}" for index, time in enumerate(times) if time != -1}
    for time, name in names.items():
        frame[name] = (event == time).astype(float)
    return names


def _bare():  # type: ignore[no-untyped-def]
    import pyfixest as pf

    return pf.ssc(k_adj=False, G_adj=False)


def two_way_pyfixest(path: str) -> dict[str, float]:
    import pyfixest as pf

    fit = pf.feols("absence ~ treated | la_code + year", _read(path), vcov={"CRV1": "la_code"}, ssc=_bare())
    return {"estimate": float(fit.coef().iloc[0]), "std_error": float(fit.se().iloc[0])}


def _absorbing(frame, columns: list[str]):  # type: ignore[no-untyped-def]
    import pandas as pd
    from linearmodels.iv.absorbing import AbsorbingLS

    absorbed = pd.DataFrame({name: frame[name].astype("category") for name in ("la_code", "year")})
    model = AbsorbingLS(frame["absence"], frame[columns], absorb=absorbed)
    return model.fit(cov_type="clustered", clusters=absorbed["la_code"].cat.codes, debiased=False)


def two_way_linearmodels(path: str) -> dict[str, float]:
    fit = _absorbing(_read(path), ["treated"])
    return {"estimate": float(fit.params["treated"]), "std_error": float(fit.std_errors["treated"])}


def _two_way_statsmodels(path: str):  # type: ignore[no-untyped-def]
    import statsmodels.formula.api as smf

    frame = _read(path)
    frame["la_code"] = frame["la_code"].astype(str)
    return frame, smf.ols("absence ~ treated + C(la_code) + C(year)", frame)


def two_way_statsmodels(path: str) -> dict[str, float]:
    frame, model = _two_way_statsmodels(path)
    groups = frame["la_code"].astype("category").cat.codes
    fit = model.fit(cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False})
    return {"estimate": float(fit.params["treated"]), "std_error": float(fit.bse["treated"])}


def two_way_duckreg(path: str) -> dict[str, float]:
    import duckdb
    from duckreg.estimators import DuckRegression

    with tempfile.TemporaryDirectory() as folder:
        database = str(Path(folder) / "records.db")
        with duckdb.connect(database) as con:
            areas = [row[0] for row in con.execute(f"select distinct la_code from '{path}' order by 1").fetchall()]
            years = [row[0] for row in con.execute(f"select distinct year from '{path}' order by 1").fetchall()]
            dummies = [f"(la_code = '{area}')::int as a_{area}" for area in areas[1:]]
            dummies += [f"(year = {year})::int as y_{year}" for year in years[1:]]
            con.execute(
                f"create view records as select la_code, absence, (year >= coalesce({FIRST}, 9999))::int as treated, "
                f"{', '.join(dummies)} from '{path}' where absence is not null"
            )
        names = [f"a_{area}" for area in areas[1:]] + [f"y_{year}" for year in years[1:]]
        model = DuckRegression(
            db_name=database,
            table_name="records",
            formula=f"absence ~ treated + {' + '.join(names)}",
            cluster_col="la_code",
            seed=1,
            n_bootstraps=0,
        )
        model.fit()
    return {"estimate": float(np.ravel(model.point_estimate)[1])}


def event_study_pyfixest(path: str) -> dict[str, float]:
    import pyfixest as pf

    frame = _read(path)
    names = _with_events(frame)
    formula = f"absence ~ {' + '.join(names.values())} | la_code + year"
    fit = pf.feols(formula, frame, vcov={"CRV1": "la_code"}, ssc=_bare())
    return _events(names, fit.coef(), fit.se())


def event_study_linearmodels(path: str) -> dict[str, float]:
    frame = _read(path)
    names = _with_events(frame)
    fit = _absorbing(frame, list(names.values()))
    return _events(names, fit.params, fit.std_errors)


def _events(names: dict[float, str], estimates, errors) -> dict[str, float]:  # type: ignore[no-untyped-def]
    found = {f"event {time:g}": float(estimates[name]) for time, name in names.items()}
    return {**found, "std_error": float(errors[names[max(names)]])}


def _area_means(path: str):  # type: ignore[no-untyped-def]
    """Mean outcome by area and year, of the areas that have every year: packages differ on what to do with others."""
    frame = _read(path)
    means = frame.groupby(["la_code", "year"], as_index=False, observed=True).agg(
        absence=("absence", "mean"), cohort=(FIRST, "first")
    )
    return means[means.groupby("la_code", observed=True)["year"].transform("size") == means["year"].nunique()]


def group_time_differences(path: str) -> dict[str, float]:
    from differences import ATTgt

    frame = _area_means(path)
    frame["cohort"] = frame["cohort"].astype(float)
    model = ATTgt(
        frame.set_index(["la_code", "year"])[["absence", "cohort"]], cohort_column="cohort", base_period="universal"
    )
    model.fit("absence", control_group="never_treated", progress_bar=False)
    model.aggregate("event", boot_iterations=DRAWS, random_state=1)
    simple = model.aggregate("simple").droplevel([0, 1], axis=1)
    return {"estimate": float(simple["ATT"].iloc[0]), "std_error": float(simple["std_error"].iloc[0])}


def group_time_diff_diff(path: str) -> dict[str, float]:
    from diff_diff import CallawaySantAnna

    frame = _area_means(path)
    frame["first"] = frame["cohort"].astype(float).fillna(0).astype(int)
    options = {"control_group": "never_treated", "base_period": "universal", "estimation_method": "reg"}
    columns = {"outcome": "absence", "unit": "la_code", "time": "year", "first_treat": "first", "aggregate": "all"}
    # With draws its standard error is that of the draws, so the analytic one takes a second fit.
    CallawaySantAnna(**options, n_bootstrap=DRAWS, seed=1).fit(frame, **columns)
    fit = CallawaySantAnna(**options).fit(frame, **columns)
    return {"estimate": float(fit.overall_att), "std_error": float(fit.overall_se)}


def wild_pyfixest(path: str) -> dict[str, float]:
    import pyfixest as pf

    frame = _read(path)
    frame["la"] = _codes(frame)
    fit = pf.feols("absence ~ treated | la + year", frame, vcov={"CRV1": "la"}, ssc=_bare())
    found = fit.wildboottest(reps=DRAWS, cluster="la", param="treated", seed=1, k_adj=False, G_adj=False)
    return {"t": float(found["t value"]), "p_value": float(found["Pr(>|t|)"])}


def _codes(frame):  # type: ignore[no-untyped-def]
    """Numbers for the areas, because wildboottest takes no text."""
    return frame["la_code"].astype("category").cat.codes.astype(int)


def wild_wildboottest(path: str) -> dict[str, float]:
    from wildboottest.wildboottest import wildboottest

    frame, model = _two_way_statsmodels(path)
    found = wildboottest(
        model, B=DRAWS, cluster=_codes(frame), param="treated", seed=1, adj=False, cluster_adj=False, show=False
    )
    return {"t": float(found["statistic"].iloc[0]), "p_value": float(found["p-value"].iloc[0])}


def pupils_pyfixest(path: str) -> dict[str, float]:
    import pyfixest as pf

    frame = _read(path, "pupil")
    fit = pf.feols("absence ~ treated | pupil + year", frame, vcov={"CRV1": "la_code"}, fixef_tol=1e-10)
    return {"estimate": float(fit.coef().iloc[0]), "std_error": float(fit.se().iloc[0])}


def _panel_ols(frame, columns: list[str]):  # type: ignore[no-untyped-def]
    import pandas as pd
    from linearmodels.panel import PanelOLS

    frame = frame[frame.groupby("pupil")["pupil"].transform("size") > 1]
    data = frame.assign(la=pd.factorize(frame["la_code"])[0]).set_index(["pupil", "year"])
    model = PanelOLS(data["absence"], data[columns], entity_effects=True, time_effects=True)
    return model.fit(cov_type="clustered", clusters=data[["la"]], group_debias=True)


def pupils_linearmodels(path: str) -> dict[str, float]:
    fit = _panel_ols(_read(path, "pupil"), ["treated"])
    return {"estimate": float(fit.params["treated"]), "std_error": float(fit.std_errors["treated"])}


def pupils_duckreg(path: str) -> dict[str, float]:
    import duckdb
    from duckreg.estimators import DuckMundlak

    with tempfile.TemporaryDirectory() as folder:
        database = str(Path(folder) / "records.db")
        with duckdb.connect(database) as con:
            years = [row[0] for row in con.execute(f"select distinct year from '{path}' order by 1").fetchall()][1:]
            dummies = ", ".join(f"(year = {year})::int as y_{year}" for year in years)
            con.execute(
                f"create view records as select pupil, absence, (year >= coalesce({FIRST}, 9999))::int as treated, "
                f"{dummies} from '{path}' where absence is not null"
            )
        model = DuckMundlak(
            db_name=database,
            table_name="records",
            outcome_var="absence",
            covariates=["treated", *(f"y_{year}" for year in years)],
            unit_col="pupil",
            seed=1,
            n_bootstraps=0,
        )
        model.fit()
    return {"estimate": float(np.ravel(model.point_estimate)[1])}


def pupils_event_study_pyfixest(path: str) -> dict[str, float]:
    import pyfixest as pf

    frame = _read(path, "pupil")
    names = _with_events(frame)
    formula = f"absence ~ {' + '.join(names.values())} | pupil + year"
    fit = pf.feols(formula, frame, vcov={"CRV1": "la_code"}, fixef_tol=1e-10)
    return _events(names, fit.coef(), fit.se())


def pupils_event_study_linearmodels(path: str) -> dict[str, float]:
    frame = _read(path, "pupil")
    names = _with_events(frame)
    fit = _panel_ols(frame, list(names.values()))
    return _events(names, fit.params, fit.std_errors)


def pupils_jackknife_pyfixest(path: str) -> dict[str, float]:
    import pyfixest as pf

    frame = _read(path, "pupil")
    options = {"vcov": {"CRV3": "la_code"}, "ssc": _bare(), "fixef_tol": 1e-10}
    fit = pf.feols("absence ~ treated | pupil + year", frame, **options)
    clusters = frame["la_code"].nunique()
    return {
        "estimate": float(fit.coef().iloc[0]),
        "std_error": float(fit.se().iloc[0]) * np.sqrt((clusters - 1) / clusters),
    }


def pupils_wild_wildboottest(path: str) -> dict[str, float]:
    import statsmodels.formula.api as smf
    from wildboottest.wildboottest import wildboottest

    frame = _read(path, "pupil")
    model = smf.ols("absence ~ treated + C(pupil) + C(year)", frame)
    found = wildboottest(
        model, B=DRAWS, cluster=_codes(frame), param="treated", seed=1, adj=False, cluster_adj=False, show=False
    )
    return {"t": float(found["statistic"].iloc[0]), "p_value": float(found["p-value"].iloc[0])}
