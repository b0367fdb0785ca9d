"""What each dataset is: who publishes it, who may use it, its columns, symbols and breaks.

Read from ``data-catalog/``: one YAML file for each dataset, code lists, the break calendar and the programme
rollouts. A *series* is a measure that a protocol can name: a column of a file (or a numerator and a
denominator), the rows that it's read from, its unit, and the months in which it is measured.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sendap.errors import DataError, ProtocolError, did_you_mean
from sendap.periods import Month, PeriodKind
from sendap.places import Places

Model = TypeVar("Model", bound="Described")


class Described(BaseModel):
    """Base of everything read from YAML: unknown keys are refused, values can't be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(Described):
    name: str
    type: Literal["text", "code", "integer", "number"]
    label: str = ""
    unit: str = ""
    codes: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None


class DataFile(Described):
    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @cached_property
    def by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}


class Series(Described):
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
    note: str = ""

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


class Dataset(Described):
    id: str
    title: str
    publisher: str
    licence: str
    access: Literal["published", "restricted", "local"]
    address: str
    reader: Literal["ees", "lait", "tribunal"]
    folder: str
    release: str
    what: str
    symbols: dict[str, str]
    files: tuple[DataFile, ...]
    series: tuple[Series, ...]
    quirks: tuple[str, ...] = ()
    doubtful: tuple[Doubtful, ...] = ()

    @model_validator(mode="after")
    def series_fit_files(self) -> Dataset:
        files = {file.name: file for file in self.files}
        ids = [series.id for series in self.series]
        for name in ids:
            if ids.count(name) > 1:
                raise ValueError(f"series '{name}' is described twice")
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


class Break(Described):
    """A date after which a series no longer measures what it did before."""

    id: str
    what: str
    from_month: Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]

    @property
    def month(self) -> Month:
        return Month.parse(self.from_month)


class Area(Described):
    la_code: str
    name: str
    started: str
    confidence: Literal["high", "medium", "low"]
    source: str
    role: str = ""
    note: str = ""

    @property
    def start(self) -> Month:
        return Month.parse(self.started)


class Rollout(Described):
    """Which areas were in a programme from which month, each with its public source and our confidence."""

    programme: str
    name: str
    complete: bool
    description: str
    sources: dict[str, str]
    areas: tuple[Area, ...]
    stopped: str | None = None

    @model_validator(mode="after")
    def areas_are_sound(self) -> Rollout:
        try:
            stopped = Month.parse(self.stopped) if self.stopped is not None else None
        except DataError as error:
            raise ValueError(f"stopped: {error}") from error
        seen: set[str] = set()
        for area in self.areas:
            if area.la_code in seen:
                raise ValueError(f"area {area.la_code} ({area.name}) is listed twice")
            seen.add(area.la_code)
            if area.source not in self.sources:
                raise ValueError(f"area {area.la_code} ({area.name}) names source '{area.source}', which isn't listed")
            try:
                Month.parse(area.started)
            except DataError as error:
                raise ValueError(f"area {area.la_code} ({area.name}): {error}") from error
            if stopped is not None and stopped < area.start:
                raise ValueError(
                    f"area {area.la_code} ({area.name}) starts in {area.started}, after the programme stopped in "
                    f"{self.stopped}"
                )
        return self


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key given twice, where plain YAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        seen: set[object] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{name}' is there twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> object:
    """The content of a YAML file.

    Raises DataError for a file that is missing, isn't UTF-8, isn't YAML, or has a key twice.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Loader)
    except FileNotFoundError:
        raise DataError(f"{path} doesn't exist. Take it from the project's repository, or write it.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} isn't UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise DataError(f"{path.name}{where}: {problem}. Correct the line.") from None


def explain(error: ValidationError, where: str) -> list[str]:
    """One sentence for each problem that pydantic found: file, field, what was expected, what was found."""
    problems = []
    for item in error.errors(include_url=False):
        field = ", ".join(f"number {part + 1}" if isinstance(part, int) else part for part in item["loc"])
        message = _PLAIN.get(item["type"]) or item["msg"].removeprefix("Value error, ").replace(
            "Input should", "should"
        )
        found = item.get("input")
        shown = f", found {found!r}" if isinstance(found, (str, int, float)) else ""
        if item["type"] == "extra_forbidden":
            shown = ""
        problems.append(f"{where}: {field or 'the file'}: {message}{shown}. Correct it there.")
    return problems


_PLAIN = {
    "missing": "is missing, and must be given",
    "extra_forbidden": "isn't a known key: is it misspelt?",
    "model_type": "should be keys with values, each on a line like 'id: value'",
}


def read_model(model: type[Model], path: Path) -> Model:
    content = read_yaml(path)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise DataError("\n".join(explain(error, path.name))) from None


class Catalog:
    """The data catalogue of a workspace, read when first asked for."""

    def __init__(self, folder: Path):
        self.folder = folder

    @cached_property
    def datasets(self) -> dict[str, Dataset]:
        return self._by_id(Dataset, "datasets", "id")

    def _by_id(self, model: type[Model], folder: str, key: str) -> dict[str, Model]:
        found: dict[str, Model] = {}
        for path in sorted((self.folder / folder).glob("*.yaml")):
            item = read_model(model, path)
            name = getattr(item, key)
            if name in found:
                raise DataError(f"{path.name}: {key} '{name}' is taken by another file of data-catalog/{folder}.")
            found[name] = item
        return found

    @cached_property
    def rollouts(self) -> dict[str, Rollout]:
        found = self._by_id(Rollout, "rollouts", "programme")
        current = {area.la_code: area for area in self.places.current}
        for rollout in found.values():
            for area in rollout.areas:
                where = f"data-catalog/rollouts, {rollout.programme}: area code '{area.la_code}' ({area.name})"
                if area.la_code not in current:
                    # Data are joined by the code of today, so an old code would quietly count as never treated.
                    known = self.places.by_code.get(area.la_code)
                    raise DataError(
                        f"{where} isn't a code of today in data-catalog/codes/local-authorities.csv."
                        + (
                            f" Use '{known.la_code}'."
                            if known is not None and known.la_code in current
                            else did_you_mean(area.la_code, current)
                        )
                    )
                if self.places.code_of_name(area.name) != area.la_code:
                    raise DataError(
                        f"{where} belongs to {current[area.la_code].name} in data-catalog/codes/local-authorities.csv. "
                        "Correct the code or the name."
                    )
        return found

    @cached_property
    def places(self) -> Places:
        return Places.read(self.folder / "codes" / "local-authorities.csv")

    @cached_property
    def breaks(self) -> dict[str, Break]:
        content = read_yaml(self.folder / "breaks.yaml")
        if not isinstance(content, list):
            raise DataError("breaks.yaml: expected a list of breaks, each with id, what and from_month.")
        found: dict[str, Break] = {}
        for number, item in enumerate(content, 1):
            try:
                each = Break.model_validate(item)
            except ValidationError as error:
                raise DataError("\n".join(explain(error, f"breaks.yaml, number {number}"))) from None
            if each.id in found:
                raise DataError(f"breaks.yaml, number {number}: the break '{each.id}' is there twice. Remove one.")
            found[each.id] = each
        return found

    def dataset(self, dataset_id: str) -> Dataset:
        if dataset_id not in self.datasets:
            raise ProtocolError(f"There is no dataset '{dataset_id}'.{did_you_mean(dataset_id, self.datasets)}")
        return self.datasets[dataset_id]

    def rollout(self, programme: str) -> Rollout:
        if programme not in self.rollouts:
            raise ProtocolError(f"There is no rollout of '{programme}'.{did_you_mean(programme, self.rollouts)}")
        return self.rollouts[programme]
