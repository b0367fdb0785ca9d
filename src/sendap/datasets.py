"""What a dataset is: its publisher, access, files, columns, symbols, and the series that a protocol can name.

A *series* is a measure: a column of a file (or a numerator and a denominator), the rows that it's read from, its
unit, and the months in which it is measured.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from pydantic import Field, model_validator

from sendap.described import Described
from sendap.errors import ProtocolError, did_you_mean
from sendap.periods import PeriodKind


class Column(Described):
    name: str
    type: Literal["text", "code", "integer", "number"]
    label: str = ""
    unit: str = ""
    codes: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    @property
    def yes_or_no(self) -> bool:
        """Whether it holds 0 and 1 only, so that its mean is a share."""
        return self.type == "integer" and (self.minimum, self.maximum) == (0, 1)


class DataFile(Described):
    """One file. ``header`` is False where its first row is data already: columns are then named here, in order."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    header: bool = True

    @cached_property
    def by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}


class Shape(Described):
    """How synthetic records of a measure look: never a claim about real ones.

    ``mean`` in the unit of the series; ``between`` the spread of clusters around it, ``within`` the spread of one
    cluster from period to period, ``record`` the spread of records in a cluster and period (not needed for shares).
    """

    mean: float
    between: float = Field(ge=0)
    within: float = Field(ge=0)
    record: float = Field(default=0, ge=0)


class Series(Described):
    """One measure of a dataset.

    ``breaks`` are those it's known to cross. ``source`` says what it comes from, where its dataset holds several
    sources: a code of the register of pilots or a finer name, by which the calendar of breaks finds it.
    """

    id: str
    file: str
    label: str
    unit: str
    period_kind: PeriodKind
    select: dict[str, str] = Field(default_factory=dict)
    value: str | None = None
    numerator: str | None = None
    denominator: str | None = None
    measured: tuple[int, int] | None = None
    minimum: float | None = None
    maximum: float | None = None
    breaks: tuple[str, ...] = ()
    source: str = ""
    note: str = ""
    synthetic: Shape | None = None

    @model_validator(mode="after")
    def one_way_to_read_it(self) -> Series:
        if (self.value is None) == (self.numerator is None) or (self.numerator is None) != (self.denominator is None):
            raise ValueError("give either 'value', or both 'numerator' and 'denominator'")
        return self


class Doubtful(Described):
    """Published figures that can't be right: why, and what is done about them.

    They're read as missing, for the reason given. Where only a denominator is wrong, and ``denominator`` names
    the counts that add up to the right one, their sum takes its place.
    """

    areas: tuple[str, ...]
    period: int
    series: tuple[str, ...]
    reason: str
    denominator: tuple[str, ...] = ()


class Records(Described):
    """What the columns of a file of single records stand for.

    ``unit`` names the record, ``period`` the year in which its period starts, ``clusters`` the columns that a
    protocol may take as the cluster of assignment, ``region`` one that permutation stays inside (where there is
    one), ``strata`` the columns for disparity.
    """

    unit: str
    period: str
    clusters: tuple[str, ...] = Field(min_length=1)
    region: str | None = None
    strata: tuple[str, ...] = ()


class ApiFile(Described):
    """Which data set of the service a file is, by its id or its title, and which version of it ("*": the newest)."""

    id: str = ""
    title: str = ""
    version: str = "*"

    @model_validator(mode="after")
    def is_named(self) -> ApiFile:
        if not (self.id or self.title):
            raise ValueError("name the data set by its 'id' or its 'title'")
        return self


class Api(Described):
    """Where the API of Explore Education Statistics holds a dataset: its publication's id, and its files."""

    publication: str
    files: dict[str, ApiFile]


class Dataset(Described):
    """One dataset: published tables, restricted or local records, or only a description.

    ``reader`` says how its files are laid out: "ees" (tables of Explore Education Statistics), "lait", "tribunal",
    "records" (one row a record, Parquet or CSV, described by ``records``), "table" (a plain table without series), or
    "none" where nothing is read yet.
    ``register_codes`` are the codes by which the register of pilots names it. ``to_confirm`` lists what a drafted
    description only guesses: nothing is evaluated from it before a person has confirmed and removed each line.
    """

    id: str
    title: str
    publisher: str
    licence: str
    access: Literal["published", "restricted", "local"]
    address: str
    reader: Literal["ees", "lait", "tribunal", "records", "table", "none"]
    folder: str = ""
    release: str
    what: str
    register_codes: tuple[str, ...] = ()
    route: str = ""
    wait: str = ""
    records: Records | None = None
    symbols: dict[str, str] = Field(default_factory=dict)
    files: tuple[DataFile, ...] = ()
    series: tuple[Series, ...] = ()
    quirks: tuple[str, ...] = ()
    doubtful: tuple[Doubtful, ...] = ()
    api: Api | None = None
    to_confirm: tuple[str, ...] = ()

    @model_validator(mode="after")
    def access_is_told(self) -> Dataset:
        if self.access != "published" and not (self.route and self.wait):
            raise ValueError(f"access is {self.access}: say how to get it in 'route', and how long it takes in 'wait'")
        if (self.reader == "records") != (self.records is not None):
            raise ValueError("'records' says what the columns stand for: give it where reader is 'records', only there")
        if self.reader == "none" and (self.files or self.series):
            raise ValueError("reader is 'none', so there can be no files and no series")
        if self.reader != "none" and not (self.folder and self.files):
            raise ValueError("give 'folder' and 'files', or the reader 'none' for a dataset that is only described")
        return self

    @model_validator(mode="after")
    def records_fit_files(self) -> Dataset:
        if self.records is None:
            return self
        roles = self.records
        wanted = [roles.unit, roles.period, *roles.clusters, *roles.strata, *([roles.region] if roles.region else [])]
        for file in self.files:
            for column in wanted:
                if column not in file.by_name:
                    raise ValueError(f"records names column '{column}', which '{file.name}' lacks")
        for series in self.series:
            if series.value is None:
                raise ValueError(f"series '{series.id}': records are read by 'value', not by counts")
            if series.synthetic is None:
                raise ValueError(f"series '{series.id}': give 'synthetic', so that records can be made without data")
            if series.synthetic.record == 0 and not self.file(series.file).by_name[series.value].yes_or_no:
                raise ValueError(f"series '{series.id}': synthetic.record, the spread of records, must be above 0")
        return self

    @model_validator(mode="after")
    def series_fit_files(self) -> Dataset:
        files = {file.name: file for file in self.files}
        ids = [series.id for series in self.series]
        for name in ids:
            if ids.count(name) > 1:
                raise ValueError(f"series '{name}' is described twice")
        for name in self.api.files if self.api else ():
            if name not in files:
                raise ValueError(f"api names file '{name}', which isn't described")
        for series in self.series:
            if series.file not in files:
                raise ValueError(f"series '{series.id}' names file '{series.file}', which isn't described")
            if self.reader == "lait":
                continue  # its series are rows of one long table, not columns
            for column in (series.value, series.numerator, series.denominator, *series.select):
                if column is not None and column not in files[series.file].by_name:
                    raise ValueError(f"series '{series.id}' names column '{column}', which '{series.file}' lacks")
        for doubtful in self.doubtful:
            for name in doubtful.series:
                if name not in ids:
                    raise ValueError(f"doubtful: there is no series '{name}'")
                for column in doubtful.denominator:
                    if column not in files[self.find_series(name).file].by_name:
                        raise ValueError(f"doubtful: there is no column '{column}'")
        return self

    def source_of(self, series: Series) -> str:
        """What a series comes from, as the calendar of breaks names it; empty where the description leaves it open."""
        return series.source or (self.register_codes[0] if len(self.register_codes) == 1 else "")

    def file(self, name: str) -> DataFile:
        return next(file for file in self.files if file.name == name)

    def find_series(self, series_id: str) -> Series:
        for series in self.series:
            if series.id == series_id:
                return series
        known = [series.id for series in self.series]
        raise ProtocolError(
            f"Dataset '{self.id}' has no series '{series_id}'.{did_you_mean(series_id, known)} "
            f"Its series are listed in data-catalog/datasets/{self.id}.yaml."
        )
