"""One block of synthetic pupils: who they are, where and when they are seen, and their absence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from scipy.special import ndtr

from sendap.sources.marginals import FSM, QUANTILES, SEN, SEX, Marginals

PUPILS_IN_BLOCK = 100_000
FIRST_PUPIL_ID = 1_000_000_000
FIRST_SCHOOL_ID = 900_000
"""Above the unique reference numbers in use, so that no synthetic school can be taken for a real one."""


@dataclass(frozen=True)
class Effect:
    """What the programme does to absence, in percentage points of possible sessions.

    ``base``: for every treated pupil-year. ``by_group``: added for a group, for example
    ``{"sen_baseline": {"SEN": -0.5}, "sex": {"Male": 0.1}}``. ``each_year``: added for each year since the start,
    after the first. Absence can't fall below zero, so the effect that happened is a little smaller than the one
    that was set; the truth file gives both.
    """

    base: float
    by_group: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    each_year: float = 0.0

    def of(self, group: str, levels: tuple[str, ...]) -> np.ndarray:
        """What is added for each value of a group."""
        return np.array([self.by_group.get(group, {}).get(level, 0.0) for level in levels])


@dataclass(frozen=True)
class Plan:
    """What every block needs. With A authorities and T years: ``starts`` (A) holds first treated years, zero for
    none; ``authority_offset`` (A) and ``year_offset`` (T) are percentage points of absence."""

    seed: int
    years: np.ndarray
    starts: np.ndarray
    effect: Effect
    marginals: Marginals
    authority_offset: np.ndarray
    year_offset: np.ndarray

    @property
    def cohorts(self) -> np.ndarray:
        """The first treated years that occur."""
        return np.unique(self.starts[self.starts > 0])

    @property
    def truth_shape(self) -> tuple[int, ...]:
        """Cohort, year, sex, FSM, SEN, ethnicity."""
        return (len(self.cohorts), len(self.years), 2, 2, 2, len(self.marginals.ethnicity))


@dataclass(frozen=True)
class Block:
    """Records of one block, the pupils in it, and the effect that happened: count and sum of percentage points for
    each kind of treated record whose outcome is known (``truth_shape``)."""

    rows: pa.Table
    pupils: int
    treated: np.ndarray
    gained: np.ndarray


@dataclass(frozen=True)
class _Pupils:
    """Pupils of a block, each array one value a pupil; years are positions in the window."""

    sex: np.ndarray
    ethnicity: np.ndarray
    fsm: np.ndarray
    sen: np.ndarray
    first: np.ndarray
    last: np.ndarray
    areas: np.ndarray  # before and after a move, 2 by pupils
    schools: np.ndarray  # before and after a move, 2 by pupils
    move: np.ndarray  # the first year after it, beyond the window for those who stay
    tendency: np.ndarray


def _draw_pupils(plan: Plan, draw: np.random.Generator) -> _Pupils:
    known, n, window = plan.marginals, PUPILS_IN_BLOCK, len(plan.years)
    shares = np.cumsum(known.size / known.size.sum())
    schools_in = np.maximum(1, np.round(known.size / known.assumption("pupils_per_school"))).astype(np.int32)
    first_school = FIRST_SCHOOL_ID + np.cumsum(schools_in) - schools_in

    def area() -> np.ndarray:
        return np.minimum(np.searchsorted(shares, draw.random(n)), len(shares) - 1)

    def school(areas: np.ndarray) -> np.ndarray:
        return first_school[areas] + (draw.random(n) * schools_in[areas]).astype(np.int32)

    home, away = area(), area()
    ethnicity = (draw.random(n)[:, None] > known.ethnicity_steps[home, :-1]).sum(axis=1)
    sex = (draw.random(n) < known.male).astype(np.int8)
    fsm = (draw.random(n) < known.fsm[ethnicity]).astype(np.int8)
    sen = (draw.random(n) < known.sen[sex, fsm, ethnicity]).astype(np.int8)
    stay = int(known.assumption("years_in_school"))
    enters = draw.integers(1 - stay, window, n)
    first, last = np.maximum(enters, 0), np.minimum(enters + stay, window)
    # One move at most. In a window of a few years a second one is rare.
    chance, to_area = draw.random(n), known.assumption("moves_authority_each_year")
    gaps = np.maximum(last - first - 1, 0)
    either = to_area + known.assumption("moves_school_each_year")
    leaves_area = chance < 1 - (1 - to_area) ** gaps
    moves = chance < 1 - (1 - either) ** gaps
    then = first + 1 + (draw.random(n) * gaps).astype(np.int64)
    areas = np.stack([home, np.where(leaves_area, away, home)])
    return _Pupils(
        sex=sex,
        ethnicity=ethnicity.astype(np.int8),
        fsm=fsm,
        sen=sen,
        first=first,
        last=last,
        areas=areas,
        schools=np.stack([school(areas[0]), school(areas[1])]),
        move=np.where(moves, then, window),
        tendency=draw.standard_normal(n),
    )


def _untreated_absence(
    plan: Plan, pupils: _Pupils, who: np.ndarray, year: np.ndarray, area: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """Absence without the programme (per cent): the published distribution, plus an area and a year.

    The offsets add, so untreated absence moves in parallel everywhere. Their mean is taken out of the published
    part by scaling it, so that the mean of all pupils stays the published one.
    """
    known = plan.marginals
    lasting = known.assumption("persistence")
    place = ndtr(np.sqrt(lasting) * pupils.tendency[who] + np.sqrt(1 - lasting) * noise) * QUANTILES
    step = np.minimum(place.astype(np.int64), QUANTILES - 1)
    table = known.absence.reshape(-1, QUANTILES + 1)
    kind = ((pupils.sen * 2 + pupils.fsm) * 2 + pupils.sex)[who]
    low, high = table[kind, step], table[kind, step + 1]
    added = np.average(plan.authority_offset, weights=known.size) + plan.year_offset.mean()
    scale = 1 - added / known.absence_mean
    return scale * (low + (place - step) * (high - low)) + plan.authority_offset[area] + plan.year_offset[year]


def _effect(plan: Plan, pupils: _Pupils, who: np.ndarray, since: np.ndarray) -> np.ndarray:
    """Percentage points for each treated record, ``since`` whole years after the first treated one."""
    effect, ethnicity = plan.effect, plan.marginals.ethnicity
    by_pupil = (
        effect.base
        + effect.of("sex", SEX)[pupils.sex]
        + effect.of("fsm", FSM)[pupils.fsm]
        + effect.of("sen_baseline", SEN)[pupils.sen]
        + effect.of("ethnicity", ethnicity)[pupils.ethnicity]
    )
    return by_pupil[who] + effect.each_year * since


def make_block(plan: Plan, number: int, *, limit: int | None = None) -> Block:
    """The records of one block of pupils, the first ``limit`` of them."""
    draw = np.random.default_rng([plan.seed, number])
    pupils, known = _draw_pupils(plan, draw), plan.marginals
    seen = pupils.last - pupils.first
    who = np.repeat(np.arange(PUPILS_IN_BLOCK), seen)
    year = np.arange(len(who)) - np.repeat(np.cumsum(seen) - seen - pupils.first, seen)
    noise, lottery = draw.standard_normal(len(who)), draw.random(len(who))
    kept = np.flatnonzero(draw.random(len(who)) >= known.assumption("missing_record"))[:limit]
    who, year, noise, lottery = who[kept], year[kept], noise[kept], lottery[kept]

    after = (year >= pupils.move[who]).astype(np.int8)
    area = pupils.areas[after, who]
    absence = _untreated_absence(plan, pupils, who, year, area, noise)
    share = np.array([known.assumption("missing_outcome", key) for key in ("no_sen", "sen")])
    missing = lottery < share[pupils.sen[who]]

    start = plan.starts[area]
    treated = np.flatnonzero((start > 0) & (plan.years[year] >= start))
    since = plan.years[year[treated]] - start[treated]
    before = absence[treated]
    absence[treated] = np.clip(before + _effect(plan, pupils, who[treated], since), 0.0, 100.0)

    counted = treated[~missing[treated]]
    where = (
        np.ravel_multi_index(
            (
                np.searchsorted(plan.cohorts, start[counted]),
                year[counted],
                *(part[who[counted]] for part in (pupils.sex, pupils.fsm, pupils.sen, pupils.ethnicity)),
            ),
            plan.truth_shape,
        )
        if len(counted)
        else np.zeros(0, dtype=np.int64)
    )
    size = int(np.prod(plan.truth_shape))
    change = (absence[treated] - before)[~missing[treated]]
    return Block(
        rows=_table(plan, pupils, number, who, year, area, pupils.schools[after, who], absence, missing),
        pupils=len(np.unique(who)),
        treated=np.bincount(where, minlength=size).reshape(plan.truth_shape),
        gained=np.bincount(where, weights=change, minlength=size).reshape(plan.truth_shape),
    )


def schema(plan: Plan) -> pa.Schema:
    """Columns of the file, categories as dictionaries."""
    text = pa.dictionary(pa.int16(), pa.string())
    return pa.schema(
        [
            ("pupil_id", pa.int64()),
            ("year", pa.int16()),
            ("la_code", text),
            ("school_id", pa.int32()),
            ("sex", text),
            ("ethnicity", text),
            ("fsm", text),
            ("sen_baseline", text),
            ("first_treated", pa.int16()),
            ("absence", pa.float64()),
        ]
    )


def _table(
    plan: Plan,
    pupils: _Pupils,
    number: int,
    who: np.ndarray,
    year: np.ndarray,
    area: np.ndarray,
    school: np.ndarray,
    absence: np.ndarray,
    missing: np.ndarray,
) -> pa.Table:
    def category(codes: np.ndarray, names: tuple[str, ...], unknown: np.ndarray | None = None) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int16), mask=unknown), pa.array(names))

    known = plan.marginals
    ethnicity = pupils.ethnicity[who]
    start = plan.starts[area]
    columns = [
        pa.array(FIRST_PUPIL_ID + number * PUPILS_IN_BLOCK + who),
        pa.array(plan.years[year].astype(np.int16)),
        category(area, known.authorities),
        pa.array(school.astype(np.int32)),
        category(pupils.sex[who], SEX),
        category(ethnicity, known.ethnicity[:-1], ethnicity == len(known.ethnicity) - 1),
        category(pupils.fsm[who], FSM),
        category(pupils.sen[who], SEN),
        pa.array(start.astype(np.int16), mask=start == 0),
        pa.array(absence, mask=missing),
    ]
    return pa.Table.from_arrays(columns, schema=schema(plan))
