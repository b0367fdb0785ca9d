"""The SQL engines that compress records: DuckDB inside this process, Spark, or any other that Ibis speaks."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import ibis
from ibis.backends import BaseBackend
from ibis.backends.duckdb import Backend as DuckDB

from sendap.errors import DataError, UsageError
from sendap.files import scratch

MEMORY_LIMIT = "3GB"
"""What DuckDB may hold before it writes to a temporary folder. The process itself needs some 0.5 GB more.

Sums by pupil of 50 million records need 2.5 GB, and with less they take half as long again.
"""

READERS = ("async_threads", "1")
"""DuckDB 2 reads ahead with 16 threads besides those that work. What they have read stays in memory for a while, so
with 16 the peak grows with the records; on a local disk one is as fast."""

SPARK_PARTITIONS = 8
"""Shuffle partitions of local Spark: cells are few, and Spark's own 200 cost more than the work."""

SLOW_RULE = "partial_aggregate_pushdown"
"""A rule of DuckDB 2 that groups records by pupil and period before it joins them: as many groups as records."""

OUR_FAULT = ("Binder", "Parse", "Catalog", "Internal", "Analysis", "NotImplemented")
"""Kinds of engine errors that speak of the statement, not of the data: they are passed on as they are."""


@contextmanager
def connect(engine: str | None) -> Iterator[BaseBackend]:
    """A connection for the time of one piece of work.

    ``engine``: None or "duckdb" for DuckDB in this process; "spark" for Spark on this machine; a Spark master
    ("spark://host:7077", "local[2]"); or the address of any other engine that Ibis can open.

    Raises UsageError for an engine that isn't known or isn't installed.
    """
    if engine is None or engine == "duckdb":
        with scratch("sendap-engine") as spill:
            con = open_duckdb(temp_directory=str(spill))
            try:
                yield con
            finally:
                con.disconnect()
    elif re.match(r"spark$|spark://|local(\[|$)", engine):
        yield _spark(engine)
    elif "://" in engine:
        try:
            con = ibis.connect(engine)
        except Exception as error:
            raise UsageError(
                f"The engine '{engine.split('://')[0]}' can't be opened ({type(error).__name__})."
            ) from None
        try:
            yield con
        finally:
            con.disconnect()
    else:
        raise UsageError(
            f"The engine '{engine}' isn't known. Use 'duckdb', 'spark' or an address such as spark://host:7077."
        )


def open_duckdb(path: Path | None = None, **config: str) -> DuckDB:
    """DuckDB in memory, or a database that's read and never written, within the limit of memory."""
    connection = duckdb.connect(
        ":memory:" if path is None else str(path),
        read_only=path is not None,
        config={"memory_limit": MEMORY_LIMIT, **config},
    )
    rules = {name for (name,) in connection.execute("SELECT name FROM duckdb_optimizers()").fetchall()}
    if SLOW_RULE in rules:
        connection.execute(f"SET disabled_optimizers = '{SLOW_RULE}'")
    name, value = READERS
    if connection.execute("SELECT count(*) FROM duckdb_settings() WHERE name = ?", [name]).fetchone() != (0,):
        connection.execute(f"SET {name} = {value}")
    return DuckDB.from_connection(connection)


def _spark(engine: str) -> BaseBackend:
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise UsageError("Spark isn't installed. Add it with: pip install 'sendap[spark]'.") from None
    active = SparkSession.getActiveSession()
    if active is None:
        warehouse = Path(tempfile.gettempdir()) / "sendap-spark"
        active = (
            SparkSession.builder.master("local[*]" if engine == "spark" else engine)
            .appName("sendap")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.sql.shuffle.partitions", str(SPARK_PARTITIONS))
            .config("spark.sql.warehouse.dir", str(warehouse))
            .getOrCreate()
        )
        active.sparkContext.setLogLevel("ERROR")
    return ibis.pyspark.connect(active)


@contextmanager
def plain_errors(label: str) -> Iterator[None]:
    """Turn an engine's error into one that names the place and never the value.

    Engines quote the value that they stumbled over, and here that would be a pupil's. So only the kind of the
    error, the line and the column are passed on.
    """
    try:
        yield
    except Exception as error:
        kind, module = type(error).__name__, type(error).__module__ or ""
        if not any(engine in module for engine in ("duckdb", "pyspark", "py4j")) or kind.startswith(OUR_FAULT):
            raise
        text = str(error)
        line = re.search(r"\bLine: (\d+)", text)
        column = re.search(r"\bcolumn:? \"?'?(\w+)", text, re.IGNORECASE)
        where = f"{label}, line {line[1]}" if line else label
        what = f" in column '{column[1]}'" if column and line else ""
        if "OutOfMemory" in kind:
            why = f"The work needs more than {MEMORY_LIMIT}: use fewer strata, or margins in place of their crossing."
        else:
            why = "Expected every value to have the type of its column, and the file to be whole."
        raise DataError(f"{where}: the engine can't read what it found{what} ({kind}). {why}") from None
