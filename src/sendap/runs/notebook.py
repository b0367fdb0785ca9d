"""One notebook in a process of its own: ``python -m sendap.runs.notebook SOURCE TARGET PILOT RUN``.

Papermill is imported only here. It checks nothing about parameters, so it's given two strings, and the
notebook hands them to the library, which checks them.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

CELL_LIMIT_SECONDS = 1800
FAILED, PROBLEM = 3, 1


def execute(source: str, target: str, pilot: str, run: str) -> None:
    import papermill

    papermill.execute_notebook(
        source,
        target,
        parameters={first_parameter(source): pilot, "run": run},
        kernel_name="python3",
        progress_bar=False,
        log_output=False,
        request_save_on_cell_execute=False,
        start_timeout=120,
        execution_timeout=CELL_LIMIT_SECONDS,
    )


def first_parameter(source: str) -> str:
    """What the notebook calls the first of its two parameters: "pilot", or "report" in one that no pilot has."""
    import nbformat

    cells = nbformat.read(source, as_version=4).cells
    tagged = next((each for each in cells if "parameters" in each.metadata.get("tags", ())), None)
    return tagged.source.split("=")[0].strip() if tagged is not None else "pilot"


def main(arguments: list[str]) -> int:
    """Execute, and say on standard error what went wrong: the user's problem alone, or the traceback."""
    source, target, pilot, run = arguments
    try:
        execute(source, target, pilot, run)
    except Exception as error:
        name = getattr(error, "ename", type(error).__name__)
        from sendap import errors

        if isinstance(getattr(errors, name, None), type):
            print(getattr(error, "evalue", str(error)), file=sys.stderr)
            return PROBLEM
        traceback.print_exc()
        Path(target).unlink(missing_ok=True)
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
