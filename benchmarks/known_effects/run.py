"""Plant effects and look for them: ``python -m benchmarks.known_effects.run``.

Every block of seeds is a file of its own, written whole, so a run that is stopped goes on where it was. What a seed
finds depends on the seed alone, so the number of workers changes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import pandas as pd  # noqa: E402

from benchmarks.known_effects.designs import DESIGNS  # noqa: E402
from benchmarks.known_effects.summary import summarise  # noqa: E402
from sendap.files import whole, write_json  # noqa: E402

BLOCK = 10
HERE = Path(__file__).resolve().parent
BY_KEY = {design.key: design for design in DESIGNS}
Task = tuple[str, bool, int]


def _file(folder: Path, task: Task) -> Path:
    key, null, number = task
    return folder / f"{key}-{'nothing' if null else 'effect'}-{number}.parquet"


def _block(task: Task, folder: Path) -> None:
    """One block of seeds as one file."""
    key, null, number = task
    rows = [
        {"design": key, "null": null, "seed": seed, "comparison": "", **row}
        for seed in range(number * BLOCK + 1, (number + 1) * BLOCK + 1)
        for row in BY_KEY[key].seed(seed, null)
    ]
    with whole(_file(folder, task)) as temporary:
        pd.DataFrame(rows).to_parquet(temporary, index=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200, help="Seeds for each design, with the effect and without.")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--designs", nargs="+", choices=sorted(BY_KEY), default=list(BY_KEY))
    parser.add_argument("--folder", type=Path, default=HERE.parent / "results" / "known-effects")
    parser.add_argument("--publish", type=Path, default=HERE.parent / "known_effects.json")
    parser.add_argument("--only-publish", action="store_true", help="Run nothing: publish what is there.")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    wanted = [
        (key, null, number)
        for number in range(-(-asked.seeds // BLOCK))
        for key in asked.designs
        for null in (False, True)
    ]
    waiting = [] if asked.only_publish else [task for task in wanted if not _file(asked.folder, task).is_file()]
    print(f"{len(wanted)} blocks of {BLOCK} seeds, {len(waiting)} to do.", file=sys.stderr)
    begun = time.monotonic()
    with ProcessPoolExecutor(asked.jobs) as pool:
        futures = [pool.submit(_block, task, asked.folder) for task in waiting]
        for done, future in enumerate(as_completed(futures), 1):
            future.result()
            left = (time.monotonic() - begun) / done * (len(futures) - done) / 60
            print(f"\r{done} of {len(futures)}, about {left:.0f} minutes left ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    files = [path for task in wanted if (path := _file(asked.folder, task)).is_file()]
    if not files:
        print("No block has been run, so there is nothing to publish.", file=sys.stderr)
        return 1
    frame = pd.concat([pd.read_parquet(path) for path in files], ignore_index=True)
    about = {"made": datetime.now(UTC).date().isoformat(), "level": 0.95}
    write_json(asked.publish, {**about, "designs": summarise(DESIGNS, frame)})
    print(json.dumps(about))
    return 0


if __name__ == "__main__":
    sys.exit(main())
