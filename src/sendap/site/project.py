"""What ``_quarto.yml`` says, as far as the built-in preview needs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sendap.catalog import read_yaml
from sendap.errors import SendapError

CONFIG = "_quarto.yml"


@dataclass(frozen=True)
class Project:
    """A Quarto website project: its title, language, navigation, pages and resources."""

    root: Path
    title: str
    language: str
    navigation: tuple[tuple[str, str], ...]
    footer: str
    css: tuple[str, ...]
    before_body: tuple[str, ...]
    contents_title: str
    contents_depth: int
    render: tuple[str, ...]
    resources: tuple[str, ...]

    def pages(self) -> list[Path]:
        """Every page to render, relative to the project, in the order of the render list.

        Raises SendapError for an entry without a pattern that isn't there: Quarto would stop at it too.
        """
        found: dict[Path, None] = {}
        for entry in self.render:
            matches = sorted(path.relative_to(self.root) for path in self.root.glob(entry))
            if not matches and "*" not in entry:
                raise SendapError(f"{CONFIG} lists the page {entry}, which doesn't exist. Stage the pages first.")
            found.update(dict.fromkeys(matches))
        return list(found)

    def resource_files(self) -> list[Path]:
        # A pattern that ends in ** means every file below, at any depth.
        patterns = [f"{entry}/*" if entry.endswith("**") else entry for entry in self.resources]
        found = {path for entry in patterns for path in self.root.glob(entry) if path.is_file()}
        return sorted(path.relative_to(self.root) for path in found)


def _list(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(str(item) for item in value) if isinstance(value, list) else (str(value),)


def read_project(root: Path) -> Project:
    """Read ``_quarto.yml``.

    Raises SendapError where a part that both renderers need is missing.
    """
    content = read_yaml(root / CONFIG)
    try:
        website, project, html = content["website"], content["project"], content["format"]["html"]  # type: ignore[index]
        navigation = tuple((entry["text"], entry["href"]) for entry in website["navbar"]["left"])
        return Project(
            root=root,
            title=website["title"],
            language=content["lang"],  # type: ignore[index]
            navigation=navigation,
            footer=website.get("page-footer", {}).get("left", ""),
            css=_list(html.get("css")),
            before_body=_list(html.get("include-before-body")),
            contents_title=html.get("toc-title", "On this page"),
            contents_depth=int(html.get("toc-depth", 3)),
            render=_list(project["render"]),
            resources=_list(project.get("resources")),
        )
    except (KeyError, TypeError) as error:
        raise SendapError(f"{CONFIG}: the preview needs {error}, which is missing there.") from None
