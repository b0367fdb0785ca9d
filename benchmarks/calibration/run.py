"""Run the calibration: ``python -m benchmarks.calibration.run --data-dir FOLDER``.

Every block of trials is a file of its own, written whole, so a run that is stopped goes on where it was. The seed is
that of the trial, so the number of workers changes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import pandas as pd  # noqa: E402

from benchmarks.calibration.panels import Figures, figures  # noqa: E402
from benchmarks.calibration.placing import SCHEMES  # noqa: E402
from benchmarks.calibration.summary import summarise  # noqa: E402
from benchmarks.calibration.trial import trial  # noqa: E402
from sendap.files import whole, write_json  # noqa: E402
from sendap.workspace import Workspace  # noqa: E402

COUNTS = (1, 2, 3, 5, 9, 15, 22, 32)
BLOCK = 20
HERE = Path(__file__).resolve().parent


@cache
def _panels(data_dir: str) -> list[Figures]:
    workspace = Workspace.find(data_dir)
    return figures(workspace.catalog, Path(data_dir))


def _block(count: int, scheme: str, number: int, data_dir: str, folder: str) -> str:
    """Twenty trials as one file."""
    target = Path(folder) / f"{count}-{scheme}-{number}.parquet"
    rows = [
        row
        for each in range(number * BLOCK, (number + 1) * BLOCK)
        for row in trial(each, count, scheme, _panels(data_dir))
    ]
    with whole(target) as temporary:
        pd.DataFrame(rows).to_parquet(temporary, index=False)
    return target.name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True, help="Folder of published tables.")
    parser.add_argument("--trials", type=int, default=400, help="Trials for each number of areas and way of choosing.")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", default=str(HERE.parent / "results" / "calibration"))
    parser.add_argument("--publish", default=str(HERE.parent / "calibration.json"))
    asked = parser.parse_args()
    folder, data_dir = Path(asked.folder), str(Path(asked.data_dir).resolve())
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [
        (count, scheme, number) for number in range(-(-asked.trials // BLOCK)) for count in COUNTS for scheme in SCHEMES
    ]
    waiting = [each for each in wanted if not (folder / f"{each[0]}-{each[1]}-{each[2]}.parquet").is_file()]
    print(f"{len(wanted)} blocks of {BLOCK} trials, {len(wanted) - len(waiting)} done before.", file=sys.stderr)
    begun = time.monotonic()
    with ProcessPoolExecutor(asked.jobs) as pool:
        futures = [pool.submit(_block, *each, data_dir, str(folder)) for each in waiting]
        for done, future in enumerate(as_completed(futures), 1):
            future.result()
            left = (time.monotonic() - begun) / done * (len(futures) - done) / 60
            print(f"\r{done} of {len(futures)}, about {left:.0f} minutes left ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    parts = [folder / f"{count}-{scheme}-{number}.parquet" for count, scheme, number in wanted]
    frame = pd.concat([pd.read_parquet(path) for path in parts], ignore_index=True)
    panels = _panels(data_dir)
    about = {
        "made": datetime.now(UTC).date().isoformat(),
        "trials": len(frame[["trial", "treated", "scheme"]].drop_duplicates()),
        "series": [
            {
                "series": each.name,
                "areas": int(each.values.shape[0]),
                "first": int(each.years[0]),
                "last": int(each.years[-1]),
            }
            for each in panels
        ],
    }
    write_json(Path(asked.publish), {**about, **summarise(frame)})
    print(json.dumps(about))
    return 0


if __name__ == "__main__":
    sys.exit(main())
