"""Errors that a user can mend, shown without a traceback.

A message says what was wrong, where, what was expected and how to mend it. It never quotes a record:
a value is shown only where it comes from a published table or from a file that the user wrote.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SendapError(Exception):
    """The work found a problem that the user can mend. The command line ends with exit code 1."""

    exit_code = 1


class UsageError(SendapError):
    """The command or the function was called in a way that can't work. Exit code 2."""

    exit_code = 2


class DataError(SendapError):
    """A file breaks the description of its dataset."""


class ProtocolError(SendapError):
    """A protocol is incomplete, contradicts itself, or names something that doesn't exist."""


class DesignError(SendapError):
    """The data can't answer the question with this design."""


class Problems(SendapError):
    """Several problems found at once, each a message of its own."""

    def __init__(self, heading: str, problems: Iterable[str]):
        self.problems = list(problems)
        lines = "\n".join(f"  {number}. {text}" for number, text in enumerate(self.problems, 1))
        super().__init__(f"{heading}\n{lines}")


def did_you_mean(found: str, allowed: Iterable[str]) -> str:
    """A closing sentence that names the nearest allowed value, or lists them all when there are few."""
    allowed = sorted(allowed)
    near = get_close_matches(found, allowed, n=1, cutoff=0.6)
    if near:
        return f" Did you mean '{near[0]}'?"
    if len(allowed) <= 15:
        return f" Use one of: {', '.join(allowed)}."
    return ""
