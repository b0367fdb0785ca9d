"""Typed content of YAML files: unknown keys refused, every problem named by file and field."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from sendap.errors import DataError

Model = TypeVar("Model", bound="Described")


class Described(BaseModel):
    """Base of everything read from YAML: unknown keys are refused, values can't be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
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
