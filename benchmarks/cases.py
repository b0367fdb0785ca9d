"""What is measured: tasks, each with a floor or a reference, our way, and the ways of other packages.

A case reads a file of pupil records and returns numbers that its task's cases must share. To add a peer, write a
function and list it here: the runner measures it in a process of its own, and compares its numbers with those of the
first case of its task that gives them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import areas
import peers
import pupils

Numbers = dict[str, float]


@dataclass(frozen=True)
class Case:
    """One way of doing a task.

    ``package``: what must be installed, in this environment or in that of the peers. ``note``: what a reader must
    know to read its time fairly. ``prepare``: makes from the file what the case starts from, before the clock runs.
    ``alone``: linear algebra on one thread, for work so short that threads which wait for each other would count most.
    """

    name: str
    run: Callable[..., Numbers]
    package: str = "sendap"
    note: str = ""
    prepare: Callable[[str], object] | None = None
    alone: bool = False


@dataclass(frozen=True)
class Task:
    """Cases that do the same. ``records`` says from which file: "areas" (nobody moves far, few columns are needed)
    or "pupils" (ten years, gaps, movers). ``goal``: the most times the floor that our way may take, if there is one."""

    name: str
    records: str
    cases: tuple[Case, ...]
    goal: float | None = None

    @property
    def slug(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


SCAN, BY_PUPIL = "DuckDB, one group-by (floor)", "DuckDB, one group-by pupil (floor)"
DUMMIES = "a column for each area and year"
NO_ERROR = "estimate only: its errors need a bootstrap of the records"

TASKS = (
    Task(
        "Cells by area and year",
        "areas",
        (Case(SCAN, areas.floor_plain, "duckdb"), Case("sendap", areas.cells_plain)),
        goal=3,
    ),
    Task(
        "Cells by area, year, sex and ethnic group",
        "areas",
        (
            Case(SCAN, areas.floor, "duckdb"),
            Case("sendap", areas.cells),
            Case("sendap on Spark, local", areas.cells_spark, "pyspark", "includes the start of Spark"),
        ),
        goal=3,
    ),
    Task(
        "Three margins at once",
        "areas",
        (
            Case("DuckDB, a group-by for each (floor)", areas.floor_margins, "duckdb"),
            Case("sendap, grouping sets", areas.cells_margins),
        ),
        goal=3,
    ),
    Task(
        "Cells, refusing a pupil seen twice in a year",
        "areas",
        (
            Case("DuckDB, a group-by for cells and one by pupil (floor)", areas.floor_unit, "duckdb"),
            Case("sendap", areas.cells_unit),
        ),
        goal=3,
    ),
    Task(
        "Two-way fixed effects, area and year",
        "areas",
        (
            Case(SCAN, areas.floor_plain, "duckdb"),
            Case("sendap", areas.two_way),
            Case("pyfixest", peers.two_way_pyfixest, "pyfixest"),
            Case("linearmodels", peers.two_way_linearmodels, "linearmodels"),
            Case("statsmodels", peers.two_way_statsmodels, "statsmodels", DUMMIES),
            Case("duckreg", peers.two_way_duckreg, "duckreg", f"{DUMMIES}; {NO_ERROR}"),
        ),
    ),
    Task(
        "Event study, area and year",
        "areas",
        (
            Case(SCAN, areas.floor_plain, "duckdb"),
            Case("sendap", areas.event_study),
            Case("pyfixest", peers.event_study_pyfixest, "pyfixest"),
            Case("linearmodels", peers.event_study_linearmodels, "linearmodels"),
        ),
    ),
    Task(
        "Group-time effects with uniform bands, 9,999 draws",
        "areas",
        (
            Case(SCAN, areas.floor_plain, "duckdb"),
            Case("sendap", areas.group_time),
            Case("differences", peers.group_time_differences, "differences"),
            Case("diff-diff", peers.group_time_diff_diff, "diff_diff"),
        ),
    ),
    Task(
        "Two-way fixed effects with a wild cluster bootstrap, 9,999 draws",
        "areas",
        (
            Case(SCAN, areas.floor_plain, "duckdb"),
            Case("sendap", areas.wild),
            Case("pyfixest", peers.wild_pyfixest, "pyfixest", "through wildboottest"),
            Case("wildboottest", peers.wild_wildboottest, "wildboottest", DUMMIES),
        ),
    ),
    Task(
        "All of one outcome, from its cells",
        "areas",
        (
            Case(
                "sendap",
                areas.everything,
                note="on one thread; the time starts with the cells in memory",
                prepare=areas.cells_object,
                alone=True,
            ),
        ),
    ),
    Task(
        "Path cells",
        "pupils",
        (Case(BY_PUPIL, pupils.floor, "duckdb"), Case("sendap", pupils.cells)),
        goal=3,
    ),
    Task(
        "Two-way fixed effects, pupil and year",
        "pupils",
        (
            Case(BY_PUPIL, pupils.floor, "duckdb"),
            Case("sendap", pupils.two_way),
            Case("pyfixest", peers.pupils_pyfixest, "pyfixest"),
            Case("linearmodels", peers.pupils_linearmodels, "linearmodels"),
            Case("duckreg", peers.pupils_duckreg, "duckreg", f"by Mundlak's device; {NO_ERROR}"),
        ),
    ),
    Task(
        "Event study, pupil and year",
        "pupils",
        (
            Case(BY_PUPIL, pupils.floor, "duckdb"),
            Case("sendap", pupils.event_study),
            Case("pyfixest", peers.pupils_event_study_pyfixest, "pyfixest"),
            Case("linearmodels", peers.pupils_event_study_linearmodels, "linearmodels"),
        ),
    ),
    Task(
        "Two-way, pupil and year, with the cluster jackknife",
        "pupils",
        (
            Case(BY_PUPIL, pupils.floor, "duckdb"),
            Case("sendap", pupils.jackknife),
            Case("pyfixest", peers.pupils_jackknife_pyfixest, "pyfixest"),
        ),
    ),
    Task(
        "Two-way, pupil and year, with a wild cluster bootstrap, 9,999 draws",
        "pupils",
        (
            Case(BY_PUPIL, pupils.floor, "duckdb"),
            Case("sendap", pupils.wild),
            Case("wildboottest", peers.pupils_wild_wildboottest, "wildboottest", "a column for each pupil and year"),
        ),
    ),
)
