"""Records of any origin as one Ibis table: files, folders, databases, tables in memory."""

from __future__ import annotations

import glob
import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.backends import BaseBackend

from sendap.cells.engines import connect, open_duckdb, plain_errors
from sendap.cells.exact import Bounds
from sendap.errors import DataError, UsageError, did_you_mean
from sendap.files import sha256

PARQUET = (".parquet", ".pq")
TEXT = (".csv", ".csv.gz")
DATABASE = (".duckdb", ".db", ".ddb")
WHOLE_HASH_LIMIT = 64 * 2**20
"""Files up to this size (bytes) are hashed whole; of larger Parquet files the footer, which lists every block."""


@dataclass(frozen=True)
class Records:
    """Records that an engine can scan, and what is known of them without a scan.

    ``label`` names them in messages; ``sources`` are their fingerprints; ``rows`` and ``bounds`` come from Parquet
    footers and are None or empty where there are none; ``files`` are the Parquet files, for row numbers.
    """

    table: ir.Table
    backend: BaseBackend
    label: str
    sources: tuple[dict, ...] = ()
    files: tuple[str, ...] = ()
    rows: int | None = None
    bounds: dict[str, Bounds] | None = None
    synthetic: bool = False

    @property
    def numbered(self) -> bool:
        """Whether the engine keeps the order of records, so that a row has a number."""
        return self.backend.name == "duckdb"


@contextmanager
def open_records(what: object, *, table: str | None = None, engine: str | None = None) -> Iterator[Records]:
    """Open records for the time of one piece of work.

    ``what``: a pandas, pyarrow or Ibis table; an Ibis connection (with ``table``); a Parquet or CSV file, a
    pattern such as ``pupils-*.parquet``, a list of files, or a folder of them, partitioned or not; a DuckDB
    database (with ``table`` where it holds several).

    Raises DataError for files that are missing, cut short or of an unknown kind, and UsageError for anything else.
    """
    if isinstance(what, ir.Table):
        yield Records(what, what.get_backend(), "the Ibis table")
    elif isinstance(what, BaseBackend):
        yield Records(_named_table(what, table, "the connection"), what, f"table '{table}'")
    elif isinstance(what, (pd.DataFrame, pa.Table)):
        with connect(engine) as con:
            yield _from_memory(what, con)
    elif isinstance(what, (str, Path)) and str(what).endswith(DATABASE):
        yield from _from_database(Path(what), table, engine)
    elif isinstance(what, (str, Path, list, tuple)):
        paths, base = find_files(what)
        with connect(engine) as con:
            yield _from_files(paths, base, con)
    else:
        raise UsageError(
            f"Records can't be read from a {type(what).__name__}. Give a path, a table or an Ibis connection."
        )


def _named_table(con: BaseBackend, table: str | None, where: str) -> ir.Table:
    if con.name == "duckdb":
        # Ibis 12 lists tables through a method that DuckDB 2 no longer has.
        query = "select table_name from information_schema.tables where table_schema = current_schema()"
        names = [name for (name,) in con.raw_sql(query).fetchall()]
    else:
        names = con.list_tables()
    if table is None and len(names) == 1:
        table = names[0]
    if table is None:
        raise UsageError(f"Name the table of {where}: {', '.join(sorted(names)) or 'it holds none'}.")
    if table not in names:
        raise UsageError(f"There is no table '{table}' in {where}.{did_you_mean(table, names)}")
    return con.table(table)


def _from_memory(what: pd.DataFrame | pa.Table, con: BaseBackend) -> Records:
    data = pa.Table.from_pandas(what, preserve_index=False) if isinstance(what, pd.DataFrame) else what
    synthetic = _says_synthetic(data.schema.metadata)
    data = data.replace_schema_metadata(None)
    table = lend(data, f"records_{id(data)}", con)
    return Records(table, con, "the table in memory", rows=data.num_rows, synthetic=synthetic)


def lend(data: pa.Table, name: str, con: BaseBackend) -> ir.Table:
    """A table in memory as one of the engine's."""
    if con.name == "duckdb":
        con.con.register(name, data)  # scanned where it lies, without a copy
    elif con.name == "pyspark":
        con._session.createDataFrame(data).createOrReplaceTempView(name)
    else:
        con.create_table(name, obj=data, temp=True)
    return con.table(name)


def take_back(name: str, con: BaseBackend) -> None:
    """The engine forgets a table that was lent to it."""
    if con.name == "duckdb":
        con.con.unregister(name)
    elif con.name == "pyspark":
        con._session.catalog.dropTempView(name)
    else:
        con.raw_sql(f"DROP TABLE IF EXISTS {name}")


def _from_database(path: Path, table: str | None, engine: str | None) -> Iterator[Records]:
    if engine not in (None, "duckdb"):
        raise UsageError(f"{path} is a DuckDB database, which the engine '{engine}' can't read. Leave the engine out.")
    if not path.is_file():
        raise DataError(f"{path} doesn't exist. Expected a DuckDB database.")
    with plain_errors(str(path)):
        con = open_duckdb(path)
    try:
        records = _named_table(con, table, str(path))
        yield Records(records, con, f"{path}, table '{records.get_name()}'", sources=(_fingerprint(path, path.parent),))
    finally:
        con.disconnect()


def find_files(what: str | Path | list | tuple) -> tuple[list[Path], Path]:
    """The files that a path, pattern, list or folder stands for, sorted, and the folder their names start from.

    Raises DataError where there is none, or where Parquet and CSV files are mixed.
    """
    if isinstance(what, (list, tuple)):
        found = [path for part in what for path in find_files(part)[0]]
        base = Path()
    elif Path(what).is_dir():
        base = Path(what)
        found = [
            path
            for path in sorted(base.rglob("*"))
            if path.is_file()
            and path.name.endswith((*PARQUET, *TEXT))
            and not any(part.startswith((".", "_")) for part in path.relative_to(base).parts)
        ]
    else:
        base = Path(what).parent
        found = [Path(what)] if Path(what).is_file() else sorted(Path(path) for path in glob.glob(str(what)))
    kinds = {".parquet" if path.name.endswith(PARQUET) else ".csv" for path in found}
    if not found:
        raise DataError(f"{what} doesn't exist, or holds no Parquet or CSV file.")
    wrong = [path for path in found if not path.name.endswith((*PARQUET, *TEXT))]
    if wrong:
        raise DataError(f"{wrong[0]} isn't of a known kind. Expected {', '.join((*PARQUET, *TEXT, *DATABASE))}.")
    if len(kinds) > 1:
        raise DataError(f"{what} holds both Parquet and CSV files. Give one kind, for example '*.parquet'.")
    return found, base


def _from_files(paths: list[Path], base: Path, con: BaseBackend) -> Records:
    label = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    names = [str(path) for path in paths]
    parquet = paths[0].name.endswith(PARQUET)
    footers = [read_footer(path) for path in paths] if parquet else []
    check_same_columns(paths, footers)
    below = [path.relative_to(base) if path.is_relative_to(base) else path for path in paths]
    hive = any("=" in part for path in below for part in path.parts[:-1])
    with plain_errors(label):
        if con.name == "duckdb":
            table = con.read_parquet(names, hive_partitioning=hive) if parquet else con.read_csv(names, header=True)
        elif con.name == "pyspark":
            reader = con._session.read.option("basePath", str(base)) if hive else con._session.read
            frame = reader.parquet(*names) if parquet else reader.csv(names, header=True, inferSchema=True)
            name = f"records_{abs(hash(tuple(names)))}"
            frame.createOrReplaceTempView(name)
            table = con.table(name)
        else:
            raise UsageError(f"The engine '{con.name}' can't read files here. Give one of its tables.")
    return Records(
        table=table,
        backend=con,
        label=label,
        sources=tuple(
            _fingerprint(path, base, footer) for path, footer in zip(paths, footers or [None] * len(paths), strict=True)
        ),
        files=tuple(names) if parquet else (),
        rows=sum(footer.num_rows for footer in footers) if parquet else None,
        bounds=footer_bounds(footers) if parquet else None,
        synthetic=any(_says_synthetic(footer.metadata) for footer in footers),
    )


def read_footer(path: Path) -> pq.FileMetaData:
    """The footer of a Parquet file. Raises DataError where the file is cut short."""
    try:
        return pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError):
        raise DataError(
            f"{path} can't be read as Parquet: found {path.stat().st_size:,} bytes without a footer at their end, "
            "so it may be cut short. Copy or make it again."
        ) from None


def check_same_columns(paths: list[Path], footers: list[pq.FileMetaData]) -> None:
    """All files have the same columns. Raises DataError naming the first that differs."""
    names = [set(footer.schema.to_arrow_schema().names) for footer in footers]
    for path, found in zip(paths[1:], names[1:], strict=False):
        differing = sorted(found ^ names[0])
        if differing:
            lacking = path if differing[0] in names[0] else paths[0]
            raise DataError(
                f"{lacking} lacks the column '{differing[0]}', which other files here have. Expected the same columns "
                "in each: make it again, or compress it by itself and combine the cells."
            )


def footer_bounds(footers: list[pq.FileMetaData]) -> dict[str, Bounds]:
    """Smallest and largest value of each column of numbers whose every block has them in its footer."""
    found: dict[str, list[float]] = {}
    lacking: set[str] = set()
    for footer in footers:
        for group in range(footer.num_row_groups):
            for index in range(footer.num_columns):
                column = footer.row_group(group).column(index)
                name, statistics = column.path_in_schema, column.statistics
                if statistics is not None and statistics.null_count == column.num_values:
                    continue
                if statistics is None or not statistics.has_min_max or isinstance(statistics.min, (str, bytes)):
                    lacking.add(name)
                    continue
                try:
                    found.setdefault(name, []).extend((float(statistics.min), float(statistics.max)))
                except (TypeError, ValueError):
                    lacking.add(name)
    whole = {name: values for name, values in found.items() if name not in lacking}
    return {n: Bounds(min(v), max(v)) for n, v in whole.items() if all(math.isfinite(value) for value in v)}


def _says_synthetic(metadata: dict[bytes, bytes] | None) -> bool:
    try:
        return bool(json.loads((metadata or {}).get(b"sendap", b"{}")).get("synthetic"))
    except (ValueError, AttributeError):
        return False


def _fingerprint(path: Path, base: Path, footer: pq.FileMetaData | None = None) -> dict:
    """Name, size, rows and hash of a file; no folder of this machine."""
    size = path.stat().st_size
    found: dict = {"name": path.relative_to(base).as_posix() if path.is_relative_to(base) else path.name, "bytes": size}
    if footer is not None:
        found["rows"] = footer.num_rows
    if footer is None or size <= WHOLE_HASH_LIMIT:
        return {**found, "sha256": sha256(path)}
    with path.open("rb") as file:
        file.seek(size - 8)
        length = int.from_bytes(file.read(4), "little")
        file.seek(size - 8 - length)
        return {**found, "footer_sha256": hashlib.sha256(file.read(length)).hexdigest()}
