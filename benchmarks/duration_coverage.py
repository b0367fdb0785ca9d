"""Do intervals for shares and times until an event hold the true effect as often as they say?

Each seed draws cases like those of the mediation pilot (twelve treated areas among 129, quarters of decisions,
competing events, losses), whose true effect is known, and estimates it. Run with:

    python benchmarks/duration_coverage.py --seeds 200
    python benchmarks/duration_coverage.py --seeds 200 --null --hazards
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from sendap.cells.compress_durations import compress_durations
from sendap.cells.durations import DurationCells
from sendap.effects_durations import hazard_effects, incidence_effects
from sendap.sources.episodes import EpisodePlan, episodes, plan_episodes, truth_of
from sendap.sources.marginals import read_marginals

HORIZONS = (26, 52)
AREAS = 129


def draw_cells(seed: int, cases: int, *, null: bool) -> tuple[EpisodePlan, DurationCells, list[dict]]:
    """The plan of one seed, its duration cells and the true effects."""
    plan = plan_episodes(seed=seed, areas=read_marginals().authorities[:AREAS], hazard_ratios={} if null else None)
    blocks = list(episodes(plan, cases))
    cells = compress_durations(
        pa.concat_tables([table for table, _ in blocks]),
        unit="case_id",
        clock="decision_date",
        starts=plan.model.starts,
        service="service_date",
        ended="ended",
        event="event",
        causes=list(plan.model.names),
        leaving=[plan.model.lost],
        until=dt.date(1970, 1, 1) + dt.timedelta(days=int(plan.until)),
        period="decision_period",
    )
    return plan, cells, truth_of(plan, sum(treated for _, treated in blocks), HORIZONS)


def one_seed(seed: int, cases: int, *, null: bool, hazards: bool, estimators: Sequence[str]) -> pd.DataFrame:
    """One row for each outcome and estimator: truth, estimate, interval."""
    plan, cells, truth = draw_cells(seed, cases, null=null)
    unit = cells.clock.unit
    known = {}
    for entry in truth:
        cause = entry["cause"] or "any event"
        at = entry["horizon"]
        name = f"{cause} within {at} {unit}" if entry["kind"] == "share" else f"{unit} until {cause} (of {at})"
        known[name] = entry["by_areas"]
    causes = [*plan.model.names, None]
    found = []
    for estimator in estimators:
        made = incidence_effects(cells, horizons=HORIZONS, causes=causes, estimator=estimator, permute=False)
        rows = made.frame.query("term == 'overall' and inference == 'crv3'")
        found.append(rows.assign(truth=rows["outcome"].map(known)))
    if hazards:
        rows = hazard_effects(cells, horizon=HORIZONS[-1], permute=False).frame.query("inference == 'crv3'")
        found.append(rows.assign(truth=0.0 if null else np.nan))
    return pd.concat(found).assign(seed=seed)


def coverage(rows: pd.DataFrame) -> pd.DataFrame:
    """By estimator and outcome: truth, mean error with its standard error, spread, mean standard error, coverage."""
    error = rows["estimate"] - rows["truth"]
    held = (rows["ci_low"] <= rows["truth"]) & (rows["truth"] <= rows["ci_high"])
    grouped = rows.assign(error=error, held=held.astype(float)).groupby(["estimator", "outcome"])
    return pd.DataFrame(
        {
            "truth": grouped["truth"].mean(),
            "bias": grouped["error"].mean(),
            "bias_se": grouped["error"].std() / np.sqrt(grouped.size()),
            "spread": grouped["error"].std(),
            "mean_se": grouped["std_error"].mean(),
            "coverage": grouped["held"].mean(),
            "seeds": grouped.size(),
        }
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--cases", type=int, default=60_000)
    parser.add_argument("--null", action="store_true", help="a programme that does nothing")
    parser.add_argument("--hazards", action="store_true", help="hazard ratios as well (with --null: their size)")
    given = parser.parse_args()
    rows = [
        one_seed(seed, given.cases, null=given.null, hazards=given.hazards, estimators=("group_time", "two_way"))
        for seed in range(given.first, given.first + given.seeds)
    ]
    print(coverage(pd.concat(rows)).round(3).to_string())


if __name__ == "__main__":
    main()
