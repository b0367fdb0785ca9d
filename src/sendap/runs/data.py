"""Which data folder a pilot's run reads: the user's, or a synthetic one made for the pilot."""

from __future__ import annotations

import csv
import json
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from sendap.adopters import COLUMNS, Adopter, list_path
from sendap.catalog import Catalog, Rollout
from sendap.exposure import cohorts
from sendap.files import fingerprint, sha256, whole, write_json
from sendap.periods import Month
from sendap.protocol import LAST_YEAR, YEARS_BEFORE, Protocol, series_of
from sendap.runs.measured import can_be_real
from sendap.sources.locate import SYNTHETIC_MARK, is_synthetic
from sendap.workspace import Workspace

MADE_FROM = "made-from.json"
EFFECT_IN_SMALLEST = 1.5
"""The planted effect on the primary outcome, in multiples of the smallest effect that would matter."""


def data_folder(workspace: Workspace, beside: Path, protocol: Protocol) -> Path:
    """The folder that a run of this protocol reads.

    The user's, where it holds enough; else a synthetic one beside the runs, with the protocol's tables and records,
    and a list of who took part where nobody has published one. It's made once, and again only where the protocol, the
    catalogue or its maker has changed.
    """
    named = workspace.data_dir
    if named is not None and (is_synthetic(named) or can_be_real(protocol, workspace.catalog, named)):
        return named
    folder = beside / "synthetic-data" / protocol.id.lower()
    package = Path(__file__).resolve().parent.parent
    makers = [Path(__file__), package / "sources" / "stand_in.py", package / "sources" / "record_stand_in.py"]
    described = sorted((workspace.root / "data-catalog").rglob("*.*"))
    wanted = fingerprint([protocol.digest, *(sha256(path) for path in (*makers, *described) if path.is_file())])
    note = folder / MADE_FROM
    if is_synthetic(folder) and note.is_file() and json.loads(note.read_text()) == wanted:
        return folder
    make_synthetic(protocol, workspace.catalog, folder)
    note.write_text(json.dumps(wanted), encoding="utf-8")
    return folder


def make_synthetic(protocol: Protocol, catalog: Catalog, folder: Path) -> Path:
    """Write synthetic tables, records and list of adopters for one protocol, and what is true of them."""
    from sendap.sources.stand_in import write_stand_in

    named = {series_of(catalog, outcome)[0].id for outcome in protocol.outcomes}
    published = sorted(name for name in named if catalog.datasets[name].access == "published")
    write_stand_in(catalog, folder, datasets=published)
    if protocol.descriptive:
        return folder
    seed = zlib.crc32(protocol.id.encode())
    effects = _write_records(protocol, catalog, folder, named, seed)
    write_json(
        folder / SYNTHETIC_MARK,
        {"synthetic": True, "seed": seed, "effect": effects or "none planted"},
    )
    return folder


def _write_records(protocol: Protocol, catalog: Catalog, folder: Path, named: set[str], seed: int) -> dict[str, float]:
    from sendap.sources.record_stand_in import write_records

    assert protocol.exposure is not None
    clusters, members = _clusters(protocol, catalog, np.random.default_rng(seed))
    if protocol.programme not in catalog.rollouts or protocol.cluster_column != "la_code":
        _write_list(list_path(protocol, folder), members)
    years = range(min(member.start.year for member in members) - YEARS_BEFORE, LAST_YEAR + 1)
    planted: dict[str, float] = {}
    for name in sorted(named):
        dataset = catalog.datasets[name]
        if dataset.records is None:
            continue
        outcomes = [outcome for outcome in protocol.outcomes if outcome.dataset == name]
        effects: dict[str, float] = {}
        first: dict[str, dict[str, int]] = {}
        for outcome in outcomes:
            series = dataset.find_series(outcome.series)
            first[series.id] = cohorts(members, series, years, protocol.exposure).first_treated
            if outcome.family == "primary":
                assert outcome.smallest_effect is not None
                sign = -1.0 if outcome.better == "lower" else 1.0
                effects[series.id] = planted[outcome.id] = sign * EFFECT_IN_SMALLEST * outcome.smallest_effect
        for file in sorted({dataset.find_series(outcome.series).file for outcome in outcomes}):
            write_records(
                dataset,
                folder / dataset.folder / file,
                cluster_column=protocol.cluster_column,
                clusters=clusters,
                years=years,
                effects=effects,
                first_treated=first,
                seed=seed,
            )
    return planted


def _clusters(
    protocol: Protocol, catalog: Catalog, generator: np.random.Generator
) -> tuple[pd.DataFrame, tuple[Adopter | object, ...]]:
    """All clusters with their regions, and those that take part: the known areas, else invented ones."""
    areas = [area for area in catalog.places.current if area.first_month is None or area.first_month.year < 2019]
    if protocol.cluster_column == "la_code":
        table = pd.DataFrame(
            {"cluster": [area.la_code for area in areas], "region": [area.region for area in areas]}
        ).sort_values("cluster", ignore_index=True)
        if protocol.programme in catalog.rollouts:
            rollout: Rollout = catalog.rollout(protocol.programme)
            return table, tuple(rollout.areas)
    else:
        assert protocol.supply is not None
        count = protocol.supply.treated + protocol.supply.controls
        regions = sorted({area.region for area in areas})
        table = pd.DataFrame(
            {
                "cluster": [f"SYN{number:04d}" for number in range(1, count + 1)],
                "region": [regions[number % len(regions)] for number in range(count)],
            }
        )
    assert protocol.supply is not None
    starts = [Month.parse(text) for text in protocol.supply.starts]
    chosen = generator.permutation(len(table))[: protocol.supply.treated]
    members = tuple(
        Adopter(str(table["cluster"][at]), str(table["cluster"][at]), starts[number % len(starts)], "high", "SYNTHETIC")
        for number, at in enumerate(sorted(chosen))
    )
    return table, members


def _write_list(path: Path, members: tuple[Adopter, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([each.cluster, str(each.start), each.confidence, each.source] for each in members)
