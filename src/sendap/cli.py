"""The commands. Each calls one function of the library; nothing is decided here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sendap import __version__

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Evaluate England's SEND and alternative provision Change Programme.",
)

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", help="Folder of published tables. SENDAP_DATA names it too; without one, synthetic data."
    ),
]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="Folder that holds the runs.")]


@app.callback(invoke_without_command=True)
def top(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit()


@app.command()
def pilots(data_dir: DataDir = None, runs_dir: RunsDir = Path("runs")) -> None:
    """Every pilot: design, primary outcome, last run and what it found."""
    from sendap.runs.listing import list_pilots
    from sendap.workspace import Workspace

    typer.echo(list_pilots(Workspace.find(data_dir), runs_dir))


@app.command()
def check(
    pilots: Annotated[list[str] | None, typer.Argument(help="Pilots to check; all without one.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Check protocol, catalogue and data before anything runs. Shows every problem at once."""
    from sendap.runs.listing import check_pilots
    from sendap.workspace import Workspace

    typer.echo(check_pilots(pilots or [], Workspace.find(data_dir)))


@app.command()
def run(
    pilots: Annotated[list[str] | None, typer.Argument(help="Pilots to run.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Run every pilot.")] = False,
    data_dir: DataDir = None,
    runs_dir: RunsDir = Path("runs"),
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Pilots at a time.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Run again even where nothing has changed.")] = False,
) -> None:
    """Execute the notebooks of each pilot. Unchanged work isn't done again."""
    from sendap.errors import UsageError
    from sendap.progress import Steps
    from sendap.protocol import known_pilots
    from sendap.runs.execute import run_pilots
    from sendap.workspace import Workspace

    if bool(pilots) == every:
        raise UsageError("Name the pilots to run, or give --all. `sendap pilots` lists them.")
    workspace = Workspace.find(data_dir)
    chosen = [name.upper() for name in pilots] if pilots else known_pilots(workspace.analysis)
    try:
        with Steps(chosen) as steps:
            done = run_pilots(chosen, workspace, runs_dir.resolve(), jobs=jobs, force=force, report=steps.show)
    except KeyboardInterrupt:
        typer.echo("Stopped. Finished runs are kept; run the same command again to go on.", err=True)
        raise typer.Exit(130) from None
    for each in done:
        state = f"{each.seconds:.0f} s" if each.fresh else "nothing has changed"
        kind = ", synthetic data, not a finding" if each.synthetic else ""
        typer.echo(f"{each.pilot}: {runs_dir / each.pilot / each.folder.name} ({state}{kind})")


@app.command()
def disparity(
    reports: Annotated[list[str] | None, typer.Argument(help="Reports to run; all whose files are there.")] = None,
    data_dir: DataDir = None,
    runs_dir: RunsDir = Path("runs"),
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Reports at a time.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Run again even where nothing has changed.")] = False,
) -> None:
    """Disparity by place, sex and ethnic group in published tables. Unchanged work isn't done again."""
    from sendap.progress import Steps
    from sendap.runs.disparity import FOLDER, report_names, run_reports
    from sendap.workspace import Workspace

    workspace = Workspace.find(data_dir)
    chosen = [name.upper() for name in reports or []]
    try:
        with Steps(chosen or report_names(workspace)) as steps:
            done, absent = run_reports(
                chosen, workspace, runs_dir.resolve(), jobs=jobs, force=force, report=steps.show
            )  # fmt: skip
    except KeyboardInterrupt:
        typer.echo("Stopped. Finished reports are kept; run the same command again to go on.", err=True)
        raise typer.Exit(130) from None
    for each in done:
        state = f"{each.seconds:.0f} s" if each.fresh else "nothing has changed"
        kind = ", synthetic data, not a finding" if each.synthetic else ""
        typer.echo(f"{each.pilot}: {runs_dir / FOLDER / each.pilot / each.folder.name} ({state}{kind})")
    for name, why in absent.items():
        typer.echo(f"{name}: passed over. {why}")


@app.command()
def synth(
    pilot: Annotated[str, typer.Argument(help="Pilot whose areas and start dates the records follow.")],
    rows: Annotated[int, typer.Option("--rows", min=1, help="Pupil-years.")] = 100_000,
    out: Annotated[Path | None, typer.Option("--out", help="Parquet file; its truth is written beside it.")] = None,
    effect: Annotated[float, typer.Option("--effect", help="Effect planted on absence, percentage points.")] = -1.0,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same file.")] = 20230902,
) -> None:
    """Write synthetic pupil records with a known effect: never a finding, and marked so."""
    from sendap.progress import Rows
    from sendap.runs.records import synthesise_for
    from sendap.workspace import Workspace

    target = out or Path(f"{pilot.lower()}-synthetic.parquet")
    with Rows("writing records", rows) as bar:
        truth = synthesise_for(pilot, Workspace.find(), target, rows=rows, effect=effect, seed=seed, progress=bar.show)
    typer.echo(f"{target}: {truth['rows']:,} pupil-years, synthetic data, not a finding. The truth lies beside it.")


@app.command()
def cells(
    pilot: Annotated[str, typer.Argument(help="Pilot whose areas and start dates are used.")],
    records: Annotated[
        str | None, typer.Option("--records", help="Parquet or CSV of pupil records: a file, a pattern or a folder.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File for the cells.")] = None,
    outcome: Annotated[
        list[str] | None, typer.Option("--outcome", help="Column of an outcome; repeat for more.")
    ] = None,
    by: Annotated[list[str] | None, typer.Option("--by", help="Column of a stratum; repeat for more.")] = None,
    unit: Annotated[str | None, typer.Option("--unit", help="Column that names a pupil; refuses repeats.")] = None,
    weights: Annotated[str | None, typer.Option("--weights", help="Column of weights.")] = None,
    engine: Annotated[str, typer.Option("--engine", help="duckdb, spark or an address that Ibis knows.")] = "duckdb",
    data_dir: DataDir = None,
) -> None:
    """Compress to cells: pupil records with --records, else the pilot's published tables."""
    from sendap.progress import Working
    from sendap.runs.records import cells_for
    from sendap.workspace import Workspace

    target = out or Path(f"{pilot.lower()}-cells.parquet")
    try:
        with Working("starting") as work:
            made = cells_for(
                pilot, Workspace.find(data_dir), records, outcomes=outcome or [], strata=by or [], unit=unit,
                weights=weights, engine=engine, tell=work.show,
            )  # fmt: skip
            work.show(f"writing {target}")
            made.write(target)
    except KeyboardInterrupt:
        typer.echo(f"Stopped. {target} is as it was before.", err=True)
        raise typer.Exit(130) from None
    mark = ", synthetic data, not a finding" if made.synthetic else ""
    typer.echo(f"{target}: {len(made.frame):,} cells of {', '.join(made.outcomes)}{mark}")


@app.command()
def power(
    pilot: Annotated[str, typer.Argument(help="Pilot to plan for.")],
    treated: Annotated[
        list[int] | None, typer.Option("--treated", min=1, help="Number of treated areas; repeat for more.")
    ] = None,
    after: Annotated[
        list[int] | None, typer.Option("--after", min=1, help="Periods from the start on; repeat for more.")
    ] = None,
    outcome: Annotated[list[str] | None, typer.Option("--outcome", help="One outcome; repeat for more.")] = None,
    data_dir: DataDir = None,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """What a pilot could find, from the years before it: no outcome from its start on is looked at."""
    from sendap.runs.power import power_words
    from sendap.workspace import Workspace

    typer.echo(
        power_words(
            pilot, Workspace.find(data_dir), runs_dir.resolve(), treated=treated or (), after=after or (),
            outcomes=outcome or (),
        )
    )  # fmt: skip


@app.command()
def publish(
    runs_dir: RunsDir = Path("runs"),
    out: Annotated[Path, typer.Option("--out", help="Folder of the site.")] = Path("_site"),
    renderer: Annotated[str, typer.Option("--renderer", help="auto, quarto or preview.")] = "auto",
) -> None:
    """Build the site from the last run of every pilot: Quarto where it's installed, else the built-in preview."""
    from sendap.site.publish import publish as publish_site
    from sendap.workspace import Workspace

    index = publish_site(Workspace.find(), runs_dir.resolve(), out.resolve(), renderer=renderer)
    typer.echo(f"The site is ready. Open {index}")


@app.command()
def fetch(
    datasets: Annotated[list[str] | None, typer.Argument(help="Datasets; all published ones without one.")] = None,
    data_dir: DataDir = None,
    only_list: Annotated[bool, typer.Option("--list", help="Say where each file comes from; fetch nothing.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Also replace files that were put there by hand.")] = False,
) -> None:
    """Fetch published datasets, and say where to find those without an API. SENDAP_API names a mirror."""
    from sendap.runs.fetching import fetch as fetch_datasets
    from sendap.runs.fetching import fetch_instructions
    from sendap.workspace import Workspace

    workspace = Workspace.find(data_dir)
    if only_list:
        typer.echo(fetch_instructions(datasets or [], workspace))
        return
    try:
        fetch_datasets(datasets or [], workspace, say=typer.echo, replace=replace)
    except KeyboardInterrupt:
        typer.echo("Stopped. What has arrived is kept; run the same command again to go on.", err=True)
        raise typer.Exit(130) from None


catalogue = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Describe datasets, and compare two of them.")
app.add_typer(catalogue, name="catalog")


@catalogue.command("add")
def catalog_add(
    file: Annotated[Path, typer.Argument(help="CSV file, gzipped or not; its .meta.csv is read where it lies beside.")],
    out: Annotated[Path | None, typer.Option("--out", help="YAML file; else in data-catalog/datasets.")] = None,
    name: Annotated[str | None, typer.Option("--id", help="Id of the dataset; else made from the file's name.")] = None,
    data_dir: DataDir = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Draft even where the file breaks the publisher's own rules.")
    ] = False,
) -> None:
    """Draft the description of a dataset from a file. Guesses are listed, for a person to confirm."""
    from sendap.runs.describing import add_dataset
    from sendap.workspace import Workspace

    typer.echo(add_dataset(file, Workspace.find(data_dir), out=out, dataset_id=name, anyway=anyway))


@catalogue.command("diff")
def catalog_diff(
    old: Annotated[Path, typer.Argument(help="The older CSV file.")],
    new: Annotated[Path, typer.Argument(help="The newer CSV file.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Compare two versions of a file. Ends with exit code 1 where something that a description uses has changed."""
    from sendap.runs.describing import compare_files
    from sendap.workspace import Workspace

    text, broken = compare_files(old, new, Workspace.find(data_dir), as_json=as_json)
    typer.echo(text)
    if broken:
        raise typer.Exit(1)


def main() -> None:
    """Run a command. A problem that the user can mend is shown without a traceback."""
    from sendap.errors import SendapError

    try:
        app()
    except SendapError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
