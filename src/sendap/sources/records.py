"""Synthetic pupil records with a known effect, at any scale.

They have the shape of the school census joined to absence: one row for each pupil and year. Their marginals come
from published tables (``records.yaml``, each with its source), and the effect is set by the user, so that what an
estimator finds can be held against the truth. Nothing made from them is a finding, and the file says so.

Pupils are made in blocks of a fixed number. Each block draws from a generator of its own, seeded by the seed and
the number of the block, so the file doesn't depend on the number of threads, and memory doesn't grow with it.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from sendap.errors import UsageError, did_you_mean
from sendap.files import whole, write_json
from sendap.sources.marginals import FSM, GROUPS, SEN, SEX, read_marginals
from sendap.sources.pupils import PUPILS_IN_BLOCK, Block, Effect, Plan, make_block, schema

DEFAULT_YEARS = range(2018, 2025)
DEFAULT_STARTS = (2021, 2022, 2023)
MARK = {"synthetic": True, "what": "Synthetic pupil records made by sendap. Not a finding."}
PLAN_STREAM = 2**32 - 1
"""Stands in for the number of a block where the rollout and the areas are drawn; no block comes so far."""


def synthesise(
    path: Path | str,
    rows: int,
    *,
    seed: int,
    effect: Effect | float | None = None,
    rollout: Mapping[str, int] | None = None,
    years: Sequence[int] = DEFAULT_YEARS,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, object]:
    """Write ``rows`` pupil-years to a Parquet file, and what is true of them to ``<name>.truth.json`` beside it.

    Columns: ``pupil_id, year`` (in which the school year starts), ``la_code, school_id, sex, ethnicity, fsm,
    sen_baseline, first_treated`` (missing for areas that never start), ``absence`` (per cent of possible
    sessions, missing where it isn't known).

    Parameters
    ----------
    effect
        An ``Effect``, or percentage points that are the same for all; by default the one of ``records.yaml``.
    rollout
        The first treated year of each area by its code; by default ten areas drawn in each of three years.
    threads
        How many blocks are made at once. The file is the same for any number.
    progress
        Called after each block with the rows that are written and the rows that are wanted.

    Returns
    -------
    dict
        What the truth file holds: the seed, the rollout, the effect as set, and as it happened, over all treated
        records with a known outcome, by start and year, and by group.

    Raises
    ------
    UsageError
        For no rows, years that don't follow each other, an area, a group or a start that doesn't exist.
    """
    path = Path(path)
    if rows < 1:
        raise UsageError(f"Give a number of rows of at least 1, not {rows}.")
    plan = _plan(seed, effect, rollout, list(years))
    treated, gained = np.zeros(plan.truth_shape, dtype=np.int64), np.zeros(plan.truth_shape)
    written = pupils = 0
    described = schema(plan).with_metadata({"sendap": json.dumps({**MARK, "seed": seed}, sort_keys=True)})
    with whole(path) as temporary:
        with pq.ParquetWriter(temporary, described) as writer:
            for block in _blocks(plan, rows, threads or os.cpu_count() or 1):
                writer.write_table(block.rows.replace_schema_metadata(described.metadata))
                written, pupils = written + block.rows.num_rows, pupils + block.pupils
                treated, gained = treated + block.treated, gained + block.gained
                if progress is not None:
                    progress(written, rows)
        truth = _truth(plan, written, pupils, treated, gained)
        write_json(truth_path(path), truth)
    return truth


def truth_path(path: Path | str) -> Path:
    """Where the truth of a file of records is kept."""
    path = Path(path)
    return path.with_name(f"{path.name.removesuffix('.parquet')}.truth.json")


def _plan(seed: int, effect: Effect | float | None, rollout: Mapping[str, int] | None, years: list[int]) -> Plan:
    known = read_marginals()
    if len(years) < 2 or years != list(range(years[0], years[0] + len(years))):
        raise UsageError("Give at least two years that follow each other.")
    if not isinstance(effect, Effect):
        effect = Effect(known.assumption("effect_percentage_points") if effect is None else float(effect))
    for group, values in effect.by_group.items():
        if group not in GROUPS:
            raise UsageError(f"The effect can't differ by '{group}'.{did_you_mean(group, GROUPS)}")
        for value in values:
            if value not in known.levels(group):
                raise UsageError(f"'{value}' isn't a value of {group}.{did_you_mean(value, known.levels(group))}")
    codes = known.authorities
    draw = np.random.default_rng([seed, PLAN_STREAM])
    chosen = draw.permutation(len(codes))
    if rollout is None:
        size = int(known.assumption("treated_authorities_each_start"))
        starts = [start for start in DEFAULT_STARTS if years[0] < start <= years[-1]]
        rollout = {codes[a]: start for i, start in enumerate(starts) for a in chosen[i * size : (i + 1) * size]}
    for code, start in rollout.items():
        if code not in codes:
            raise UsageError(f"Area '{code}' of the rollout isn't a current authority.{did_you_mean(code, codes)}")
        if start <= years[0]:
            raise UsageError(f"Area '{code}' starts in {start}; expected a year after the first, {years[0]}.")
    steps = known.assumption_values("year_steps_percentage_points")
    return Plan(
        seed=seed,
        years=np.array(years),
        starts=np.array([rollout.get(code, 0) for code in codes]),
        effect=effect,
        marginals=known,
        authority_offset=draw.uniform(0, known.assumption("authority_spread_percentage_points"), len(codes)),
        year_offset=np.array([steps[i % len(steps)] for i in range(len(years))]),
    )


def _blocks(plan: Plan, rows: int, threads: int) -> Iterator[Block]:
    """Blocks in order, a few made ahead, the last one cut to the rows that are wanted."""
    numbers = count()
    waiting: deque[tuple[int, Future[Block]]] = deque()
    with ThreadPoolExecutor(max_workers=threads) as pool:
        try:
            while rows > 0:
                # A pupil has more than one row on average, so no block is made that can't be needed.
                while len(waiting) <= threads and len(waiting) * PUPILS_IN_BLOCK < rows:
                    number = next(numbers)
                    waiting.append((number, pool.submit(make_block, plan, number)))
                number, future = waiting.popleft()
                block = future.result()
                if block.rows.num_rows > rows:
                    # Made again with the limit, so that the truth counts the rows that the file holds.
                    block = make_block(plan, number, limit=rows)
                rows -= block.rows.num_rows
                yield block
        finally:
            for _, future in waiting:
                future.cancel()


def _truth(plan: Plan, rows: int, pupils: int, treated: np.ndarray, gained: np.ndarray) -> dict[str, object]:
    """What is true of the records. Effects that happened are means over treated records with a known outcome."""

    def happened(*axes: int, at: tuple[int, ...]) -> dict[str, object] | None:
        others = tuple(axis for axis in range(treated.ndim) if axis not in axes)
        number, change = int(treated.sum(axis=others)[at]), float(gained.sum(axis=others)[at])
        return {"records": number, "effect": change / number} if number else None

    known = plan.marginals
    levels = {"sex": SEX, "fsm": FSM, "sen_baseline": SEN, "ethnicity": known.ethnicity[:-1]}
    by_group = {
        group: {level: found for index, level in enumerate(names) if (found := happened(axis, at=(index,))) is not None}
        for axis, (group, names) in enumerate(levels.items(), start=2)
    }
    by_start = [
        {"first_treated": int(start), "year": int(year), **found}
        for i, start in enumerate(plan.cohorts)
        for j, year in enumerate(plan.years)
        if (found := happened(0, 1, at=(i, j))) is not None
    ]
    return {
        **MARK,
        "seed": plan.seed,
        "rows": rows,
        "pupils": pupils,
        "years": plan.years.tolist(),
        "unit": "percentage points of possible sessions",
        "rollout": {code: int(s) for code, s in zip(known.authorities, plan.starts, strict=True) if s},
        "effect_set": asdict(plan.effect),
        "effect_happened": {
            "overall": happened(at=()),
            "by_first_treated_and_year": by_start,
            "by_group": by_group,
        },
    }
