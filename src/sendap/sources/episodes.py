"""Synthetic cases from a decision to what ended them, with a known effect, at any scale.

One row a case: its area, who it's about, when the decision was, when and how it ended, and, where a programme serves
it, when the service began. The truth is computed from the chances that the cases were drawn from, not from the draws.
Cases are made in blocks, each from a generator of its own, so memory doesn't grow with their number. See
``sendap.sources.episode_model`` for what is assumed.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sendap.errors import UsageError, did_you_mean
from sendap.files import whole, write_json
from sendap.periods import Month
from sendap.sources.episode_model import AREA_SPREAD, MEDIATION, EpisodeModel, Kinds, major_groups
from sendap.sources.marginals import FSM, SEX, read_marginals
from sendap.sources.records import truth_path

CASES_IN_BLOCK = 50_000
FIRST_CASE = 2_000_000_000
MARK = {"synthetic": True, "what": "Synthetic cases made by sendap. Not a finding."}
PLAN_STREAM = 2**32 - 2
"""Stands in for the number of a block where areas and periods are drawn; no block comes so far."""


@dataclass(frozen=True)
class EpisodePlan:
    """What every block needs. A areas by P periods: ``quick`` is the share of common cases under the quick law.

    ``edges`` (P + 1) are days since 1970 on which decision periods begin and the last ends; ``until`` the day on which
    the data end; ``starts`` (A) first treated periods, zero for none.
    """

    seed: int
    model: EpisodeModel
    areas: tuple[str, ...]
    shares: np.ndarray
    starts: np.ndarray
    edges: np.ndarray
    until: int
    quick: np.ndarray
    kinds: Kinds
    male: float
    fsm: np.ndarray
    ethnicity_steps: np.ndarray
    major: np.ndarray


def plan_episodes(
    *,
    seed: int,
    model: EpisodeModel = MEDIATION,
    hazard_ratios: Mapping[str, float] | None = None,
    areas: Sequence[str] | None = None,
    rollout: Mapping[str, int] | None = None,
    periods: int = 12,
    months_each: int = 3,
    first_month: str = "2021-09",
    months_followed: int = 12,
) -> EpisodePlan:
    """What the cases are drawn from.

    Parameters
    ----------
    hazard_ratios
        What the programme multiplies the hazard of each cause by, in place of the model's; ``{}`` for nothing.
    areas
        Codes of the areas; all current authorities by default.
    rollout
        The first treated decision period of areas by code; by default twelve areas drawn, from the middle period on.
    periods, months_each, first_month, months_followed
        Decision periods, numbered from 1, of so many months each; the data end so many months after the last.

    Raises
    ------
    UsageError
        For an area, cause or start that doesn't exist, or fewer than two periods.
    """
    known = read_marginals()
    codes = tuple(areas) if areas is not None else known.authorities
    for code in (*codes, *(rollout or {})):
        if code not in known.authorities:
            raise UsageError(f"'{code}' isn't a current authority.{did_you_mean(code, known.authorities)}")
    if periods < 2 or months_each < 1 or months_followed < 0:
        raise UsageError("Give at least two periods of at least one month, and months_followed of 0 or more.")
    ratios = dict(model.hazard_ratios if hazard_ratios is None else hazard_ratios)
    for cause in ratios:
        if cause not in model.names:
            raise UsageError(f"The model has no cause '{cause}'.{did_you_mean(cause, model.names)}")
    draw = np.random.default_rng([seed, PLAN_STREAM])
    chosen = draw.permutation(len(codes))
    if rollout is None:
        rollout = {codes[a]: periods // 2 + 1 for a in chosen[: min(12, len(codes) // 2)]}
    for code, start in rollout.items():
        if code not in codes or not 1 < start <= periods:
            raise UsageError(f"Area '{code}' starts in period {start}. Expected an area in use, and 2 to {periods}.")
    first = Month.parse(first_month)
    starts_on = [_day(first.plus(months_each * period)) for period in range(periods + 1)]
    until = _day(first.plus(months_each * periods + months_followed)) - 1
    place = [known.authorities.index(code) for code in codes]
    ethnic, major = major_groups(known)
    return EpisodePlan(
        seed=seed,
        model=model,
        areas=codes,
        shares=np.cumsum(known.size[place] / known.size[place].sum()),
        starts=np.array([rollout.get(code, 0) for code in codes]),
        edges=np.array(starts_on),
        until=until,
        quick=draw.uniform(0.3, 0.7, periods)[None] + draw.uniform(-model.shock, model.shock, (len(codes), periods)),
        kinds=Kinds(
            model,
            len(codes),
            ethnic,
            draw.normal(0, AREA_SPREAD, (len(codes), len(model.causes))),
            (until - starts_on[0]) // 7 + 1,
            np.array([ratios.get(name, 1.0) for name in model.names]),
        ),
        male=known.male,
        fsm=known.fsm,
        ethnicity_steps=known.ethnicity_steps[place],
        major=major,
    )


def _day(month: Month) -> int:
    return (dt.date(month.year, month.month, 1) - dt.date(1970, 1, 1)).days


def schema(plan: EpisodePlan) -> pa.Schema:
    """Columns of the records."""
    about = json.dumps({**MARK, "seed": plan.seed}, sort_keys=True)
    return pa.schema(
        {
            "case_id": pa.int64(),
            "la_code": pa.string(),
            "sex": pa.string(),
            "ethnicity": pa.string(),
            "fsm": pa.string(),
            "decision_period": pa.int64(),
            "first_treated": pa.int64(),
            "decision_date": pa.date32(),
            "service_date": pa.date32(),
            "ended": pa.date32(),
            "event": pa.string(),
        },
        metadata={"sendap": about},
    )


def episodes(plan: EpisodePlan, cases: int) -> Iterator[tuple[pa.Table, np.ndarray]]:
    """Blocks of cases, and how many treated cases of each area, period and kind each has (A by P by kinds)."""
    for block in range(-(-cases // CASES_IN_BLOCK)):
        size = min(CASES_IN_BLOCK, cases - block * CASES_IN_BLOCK)
        yield _block(plan, block, size)


def _block(plan: EpisodePlan, block: int, n: int) -> tuple[pa.Table, np.ndarray]:
    draw, model, kinds = np.random.default_rng([plan.seed, block]), plan.model, plan.kinds
    area = np.minimum(np.searchsorted(plan.shares, draw.random(n)), len(plan.areas) - 1)
    period = draw.integers(0, len(plan.edges) - 1, n)
    decided = plan.edges[period] + (draw.random(n) * np.diff(plan.edges)[period]).astype(int)
    group = (draw.random(n)[:, None] > plan.ethnicity_steps[area, :-1]).sum(axis=1)
    sex = (draw.random(n) < plan.male).astype(int)
    fsm = (draw.random(n) < plan.fsm[group]).astype(int)
    own = kinds.row(area, sex, fsm, plan.major[group])
    chance = draw.random(n) / model.common
    share = plan.quick[area, period]
    row = np.where(chance >= 1, own, kinds.untreated - 1 - (chance < share))
    treated = (plan.starts[area] > 0) & (period + 1 >= plan.starts[area])
    week, cause = kinds.draw(row + treated * kinds.untreated, draw.random(n))
    gone = draw.geometric(model.leaving, n) if model.leaving > 0 else np.full(n, kinds.weeks + 2)
    # In the same week the event comes first, as in the rule for ties.
    lost = gone < week
    last = np.minimum(week, gone)
    ended = decided + 7 * (last - 1) + draw.integers(0, 7, n)
    wait = draw.geometric(1 / model.wait, n)
    served = treated & (decided + 7 * wait < ended) & (decided + 7 * wait <= plan.until)
    seen = (last <= kinds.weeks) & (ended <= plan.until)
    names = np.array([*model.names, model.lost], dtype=object)
    ethnic = np.array(kinds.ethnic, dtype=object)

    def dates(days: np.ndarray, known: np.ndarray | None = None) -> pa.Array:
        mask = None if known is None else ~known
        return pa.array(days.astype(np.int32), mask=mask).cast(pa.date32())

    found = schema(plan)
    columns = {
        "case_id": pa.array(FIRST_CASE + block * CASES_IN_BLOCK + np.arange(n)),
        "la_code": pa.array(np.array(plan.areas, dtype=object)[area]),
        "sex": pa.array(np.array(SEX, dtype=object)[sex]),
        "ethnicity": pa.array(ethnic[plan.major[group]], mask=plan.major[group] == len(ethnic) - 1),
        "fsm": pa.array(np.array(FSM, dtype=object)[fsm]),
        "decision_period": pa.array(period + 1),
        "first_treated": pa.array(plan.starts[area], mask=plan.starts[area] == 0),
        "decision_date": dates(decided),
        "service_date": dates(decided + 7 * wait, served),
        "ended": dates(ended, seen),
        "event": pa.array(names[np.where(lost, len(names) - 1, cause)], mask=~seen),
    }
    shape = (len(plan.areas), len(plan.edges) - 1, kinds.in_area)
    inside = own - area * kinds.in_area
    place = np.ravel_multi_index((area[treated], period[treated], inside[treated]), shape)
    counted = np.bincount(place, minlength=int(np.prod(shape))).reshape(shape)
    return pa.table(columns, schema=found), counted


def truth_of(plan: EpisodePlan, counted: np.ndarray, horizons: Sequence[int]) -> list[dict[str, object]]:
    """The programme's effect on each share and time, from the chances of the treated cases (A by P by kinds).

    One entry for each cause (None for any event) and measure: ``kind`` "share" (percentage points, at each horizon) or
    "time" (weeks until the cause, of the longest horizon), ``by_cases`` the mean over treated cases, ``by_areas`` the
    mean over treated areas and periods, and ``cells`` with area, period and effect.
    """
    kinds, model = plan.kinds, plan.model
    gained = kinds.gained  # kinds, J, K
    own = gained[: kinds.untreated - 2].reshape(len(plan.areas), kinds.in_area, *gained.shape[1:])
    slow, quick = gained[-1], gained[-2]
    cases = counted.sum(axis=2)
    area, period = np.nonzero(cases)
    mix = counted[area, period] / cases[area, period][:, None]
    level = np.einsum("mk,mkjc->mjc", mix, own[area])
    share = plan.quick[area, period][:, None, None]
    change = (1 - model.common) * level + model.common * (share * quick + (1 - share) * slow)  # cells, J, K
    change = np.concatenate([change, change.sum(axis=2, keepdims=True)], axis=2)
    found = []
    longest = max(horizons)
    for position, cause in enumerate([*model.names, None]):
        measures = [("share", horizon, 100 * change[:, horizon - 1, position]) for horizon in horizons]
        measures.append(("time", longest, -change[:, : longest - 1, position].sum(axis=1)))
        for kind, horizon, effect in measures:
            found.append(
                {
                    "cause": cause,
                    "kind": kind,
                    "horizon": int(horizon),
                    "by_cases": float(np.average(effect, weights=cases[area, period])),
                    "by_areas": float(effect.mean()),
                    "cells": [
                        {"la_code": plan.areas[a], "decision_period": int(p) + 1, "effect": float(e)}
                        for a, p, e in zip(area, period, effect, strict=True)
                    ],
                }
            )
    return found


def synthesise_episodes(
    path: Path | str, cases: int, *, seed: int, horizons: Sequence[int] = (26, 52), **plan: object
) -> dict[str, object]:
    """Write ``cases`` cases to a Parquet file, and what is true of them to ``<name>.truth.json`` beside it.

    Columns: ``case_id, la_code, sex, ethnicity`` (major group, missing where it isn't known), ``fsm, decision_period``
    (from 1), ``first_treated`` (missing for areas that never start), ``decision_date, service_date`` (missing without a
    service), ``ended`` and ``event`` (missing for cases still open when the data end). ``plan``: as ``plan_episodes``.

    Returns what the truth file holds: ``effects`` as ``truth_of``, ``until`` (the day the data end), rollout, causes
    and what starts the clock. Raises UsageError for no cases, a horizon beyond the data, and as ``plan_episodes``.
    """
    path = Path(path)
    if cases < 1:
        raise UsageError(f"Give a number of cases of at least 1, not {cases}.")
    made = plan_episodes(seed=seed, **plan)  # type: ignore[arg-type]
    if not horizons or not all(1 <= horizon <= made.kinds.weeks for horizon in horizons):
        raise UsageError(f"Horizons must lie between 1 and {made.kinds.weeks} weeks.")
    counted = np.zeros((len(made.areas), len(made.edges) - 1, made.kinds.in_area), dtype=np.int64)
    with whole(path) as temporary:
        with pq.ParquetWriter(temporary, schema(made)) as writer:
            for table, treated in episodes(made, cases):
                writer.write_table(table)
                counted += treated
        truth = {
            **MARK,
            "seed": seed,
            "cases": cases,
            "starts": made.model.starts,
            "causes": list(made.model.names),
            "leaving": [made.model.lost],
            "until": str(dt.date(1970, 1, 1) + dt.timedelta(days=made.until)),
            "rollout": {code: int(start) for code, start in zip(made.areas, made.starts, strict=True) if start},
            "hazard_ratios": dict(zip(made.model.names, made.kinds.ratios.tolist(), strict=True)),
            "effects": truth_of(made, counted, horizons) if counted.any() else [],
        }
        write_json(truth_path(path), truth)
    return truth
