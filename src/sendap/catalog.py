"""The data catalogue: datasets, code lists, the break calendar and the programme rollouts, from ``data-catalog/``."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from sendap.datasets import Column, DataFile, Dataset, Doubtful, Records, Series, Shape
from sendap.described import Described, Model, explain, read_model, read_yaml
from sendap.errors import DataError, ProtocolError, did_you_mean
from sendap.periods import Month
from sendap.places import Places

__all__ = [
    "Area", "Break", "Catalog", "Column", "DataFile", "Dataset", "Described", "Doubtful", "Records", "Rollout",
    "Series", "Shape", "explain", "read_model", "read_yaml",
]  # fmt: skip


class Break(Described):
    """A date after which a series no longer measures what it did before.

    ``touches`` names the sources that it falls on: codes of the register of pilots, or finer names; ``areas`` for
    published series by local authority, ``ethnic groups`` for records that are split by ethnic group.
    """

    id: str
    what: str
    from_month: Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
    touches: tuple[str, ...] = ()

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
    def cluster(self) -> str:
        return self.la_code

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
