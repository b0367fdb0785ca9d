"""Requests to the API: waited for, tried again where that can help, and refused in plain words where it can't.

Answers of 429 (too many requests) and 5xx, broken connections and answers cut short are tried again after a wait that
doubles each time, with a random part so that many clients don't come back together. A wait that the service names
(``Retry-After``) is kept. Anything else that goes wrong is said at once.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx
from pydantic import ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from sendap import __version__
from sendap.errors import DataError, UsageError
from sendap.sources.ees.models import (
    Answer,
    DataSet,
    DataSetPage,
    Meta,
    Publication,
    PublicationPage,
    QueryPage,
    Row,
    Version,
    VersionPage,
    Warned,
)
from sendap.sources.ees.query import Query, check_query

ADDRESS = "https://api.education.gov.uk/statistics/v1"
ADDRESS_VARIABLE = "SENDAP_API"
PASSING = (429, 500, 502, 503, 504)

Page = TypeVar("Page", bound=Answer)
Result = TypeVar("Result")


class ApiError(DataError):
    """The service refused a request, or answered with something that can't be used. ``status`` is the HTTP status."""

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class Unreachable(ApiError):
    """The service can't be reached, or doesn't answer however often it's asked."""


class Passing(Exception):
    """Something that may be better at the next attempt."""

    def __init__(self, what: str, *, status: int | None = None, after: float | None = None):
        super().__init__(what)
        self.status = status
        self.after = after


@dataclass(frozen=True)
class Patience:
    """How long and how often to try. Waits in seconds.

    The wait before attempt n + 1 is ``first_wait * 2**(n - 1)`` plus a random part of at most ``first_wait``, and at
    most ``longest_wait``. A service that asks for more than ``longest_asked`` isn't waited for.
    """

    attempts: int = 5
    first_wait: float = 0.5
    longest_wait: float = 30.0
    longest_asked: float = 120.0
    connect: float = 10.0
    read: float = 60.0
    sleep: Callable[[float], None] = field(default=threading.Event().wait, repr=False)

    def wait(self, state: RetryCallState) -> float:
        backoff = wait_exponential_jitter(initial=self.first_wait, max=self.longest_wait, jitter=self.first_wait)(state)
        error = state.outcome.exception() if state.outcome else None
        asked = error.after if isinstance(error, Passing) else None
        return backoff if asked is None else max(asked, 0.0)

    def run(self, work: Callable[[], Result]) -> Result:
        """Do work that may raise Passing, as often as it takes. Raises Passing where it never succeeds."""

        def enough(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            asked = error.after if isinstance(error, Passing) else None
            return stop_after_attempt(self.attempts)(state) or (asked is not None and asked > self.longest_asked)

        retrying = Retrying(
            stop=enough, wait=self.wait, retry=retry_if_exception_type(Passing), sleep=self.sleep, reraise=True
        )
        return retrying(work)


def asked_wait(header: str | None) -> float | None:
    """The seconds that a ``Retry-After`` header asks for: a number, or a date (RFC 9110, section 10.2.3)."""
    if not header:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        return max((parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None


def _refused(response: httpx.Response) -> str:
    """What the service says against a request (problem details, RFC 9457), in a sentence."""
    try:
        content = response.json()
    except ValueError:
        content = {}
    content = content if isinstance(content, dict) else {}
    errors = content.get("errors")
    parts = []
    for error in errors if isinstance(errors, list) else ():
        at = f" at {error['path']}" if error.get("path") else ""
        detail = error.get("detail")
        items = detail.get("items") if isinstance(detail, dict) else None
        shown = f": {', '.join(map(str, items))}" if isinstance(items, list) else ""
        parts.append(f"{str(error.get('message', '')).rstrip('.')} ({error.get('code', 'no code')}{at}){shown}")
    return "; ".join(parts) or str(content.get("title") or response.reason_phrase)


class Client:
    """The API at one address. Use it with ``with``, so that connections are closed.

    ``address`` (else the variable SENDAP_API, else the service itself) may name a mirror. Every method raises
    Unreachable where there is no answer, and ApiError where the answer is a refusal. Raises UsageError for an address
    that can't be one.
    """

    def __init__(self, address: str | None = None, *, patience: Patience | None = None):
        self.address = (address or os.environ.get(ADDRESS_VARIABLE) or ADDRESS).rstrip("/")
        if not re.match(r"https?://[^/\s]+", self.address):
            raise UsageError(
                f"'{self.address}' isn't the address of an API: it should begin with https://. Correct "
                f"{ADDRESS_VARIABLE}."
            )
        self.patience = patience or Patience()
        self._http = httpx.Client(
            timeout=httpx.Timeout(self.patience.read, connect=self.patience.connect),
            headers={"Accept": "application/json", "User-Agent": f"sendap/{__version__}"},
            follow_redirects=True,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    @contextmanager
    def attempt(
        self, method: str, path: str, *, parameters: Mapping[str, object] | None = None, content: str | None = None,
        headers: Mapping[str, str] | None = None, accept: tuple[int, ...] = (200,),
    ) -> Iterator[httpx.Response]:  # fmt: skip
        """One request, its body not yet read. Raises Passing where another attempt may help, else ApiError."""
        given = {name: value for name, value in (parameters or {}).items() if value is not None}
        all_headers = dict(headers or {}) | ({"Content-Type": "application/json"} if content is not None else {})
        try:
            with self._http.stream(
                method, f"{self.address}{path}", params=given, content=content, headers=all_headers
            ) as response:
                if response.status_code in PASSING:
                    after = asked_wait(response.headers.get("Retry-After"))
                    raise Passing(f"HTTP {response.status_code}", status=response.status_code, after=after)
                if response.status_code not in accept:
                    response.read()
                    raise ApiError(
                        f"{self.address}{path} answered {response.status_code}: {_refused(response)}.",
                        response.status_code,
                    )
                yield response
        except httpx.TransportError as error:
            raise Passing(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) from error
        except httpx.HTTPError as error:
            raise ApiError(f"{self.address}{path} can't be read: {error}.") from error

    def patiently(self, work: Callable[[], Result], what: str) -> Result:
        """Do work made of attempts, again where that can help."""
        try:
            return self.patience.run(work)
        except Passing as error:
            too_long = error.after is not None and error.after > self.patience.longest_asked
            tried = (
                f"It asks for a wait of {error.after:.0f} seconds."
                if too_long
                else f"It was tried {self.patience.attempts} times."
            )
            raise Unreachable(
                f"{what} can't be read from {self.address} ({error}). {tried} Try again later, or name a mirror with "
                f"{ADDRESS_VARIABLE}.",
                error.status,
            ) from error

    def _answer(
        self, model: type[Page], method: str, path: str, *, parameters: Mapping[str, object] | None = None,
        content: str | None = None,
    ) -> Page:  # fmt: skip
        def once() -> Page:
            with self.attempt(method, path, parameters=parameters, content=content) as response:
                body = response.read()
            try:
                return model.model_validate_json(body)
            except ValidationError as error:
                if any(item["type"] == "json_invalid" for item in error.errors()):
                    raise Passing("the answer isn't whole") from None
                item = error.errors()[0]
                raise ApiError(
                    f"{self.address}{path} answered in another form than described: "
                    f"{'.'.join(map(str, item['loc']))}: {item['msg']}."
                ) from None

        return self.patiently(once, path)

    def _pages(self, model: type[Page], path: str, parameters: Mapping[str, object]) -> Iterator[object]:
        number = 1
        while True:
            page = self._answer(model, "GET", path, parameters={**parameters, "page": number})
            yield from page.results  # type: ignore[attr-defined]
            if number >= page.paging.total_pages:  # type: ignore[attr-defined]
                return
            number += 1

    def publications(self, search: str | None = None) -> list[Publication]:
        """All publications with data in the API, or those that a search of three letters or more finds."""
        return list(self._pages(PublicationPage, "/publications", {"search": search, "pageSize": 40}))  # type: ignore[arg-type]

    def publication(self, publication_id: str) -> Publication:
        return self._answer(Publication, "GET", f"/publications/{publication_id}")

    def data_sets(self, publication_id: str) -> list[DataSet]:
        return list(self._pages(DataSetPage, f"/publications/{publication_id}/data-sets", {"pageSize": 20}))  # type: ignore[arg-type]

    def data_set(self, data_set_id: str) -> DataSet:
        return self._answer(DataSet, "GET", f"/data-sets/{data_set_id}")

    def versions(self, data_set_id: str) -> list[Version]:
        """Every published version, the oldest first."""
        found = self._pages(VersionPage, f"/data-sets/{data_set_id}/versions", {"pageSize": 20})
        return sorted(found, key=lambda version: version.order)  # type: ignore[arg-type, attr-defined, return-value]

    def version(self, data_set_id: str, number: str) -> Version:
        """One version by its number; ``2.*`` and ``*`` name the newest that fits."""
        return self._answer(Version, "GET", f"/data-sets/{data_set_id}/versions/{number}")

    def changes(self, data_set_id: str, number: str) -> dict[str, object]:
        """What a version changed, as the service lists it. See ``changes.in_words``."""
        return self._answer(_Free, "GET", f"/data-sets/{data_set_id}/versions/{number}/changes").model_dump()

    def meta(self, data_set_id: str, version: str | None = None) -> Meta:
        return self._answer(Meta, "GET", f"/data-sets/{data_set_id}/meta", parameters={"dataSetVersion": version})

    def query(
        self, data_set_id: str, query: Query, *, version: str | None = None, meta: Meta | None = None,
        warn: Callable[[Warned], None] | None = None,
    ) -> list[Row]:  # fmt: skip
        """Every row of a query, all its pages, of one version.

        The query is checked against the metadata before it's sent. Raises UsageError for ids that the data set
        doesn't hold, DataError where the number of rows changes between pages, ApiError for a refusal.
        """
        if version is None or "*" in version:
            version = self.version(data_set_id, version or "*").number  # pages of two versions must not mix
        check_query(query, meta or self.meta(data_set_id, version))
        rows: list[Row] = []
        number, total = 1, None
        while True:
            page = self._answer(
                QueryPage, "POST", f"/data-sets/{data_set_id}/query",
                parameters={"dataSetVersion": version}, content=query.on_page(number).to_json(),
            )  # fmt: skip
            if total is None:
                total = page.paging.total_results
                for warning in page.warnings if warn else ():
                    warn(warning)  # type: ignore[misc]
            rows += page.results
            if page.paging.total_results != total:
                break
            if number >= page.paging.total_pages:
                break
            number += 1
        if len(rows) != total:
            raise DataError(
                f"Data set {data_set_id}, version {version}: read {len(rows)} rows, expected {total}. It may have "
                "changed while it was read: run the command again."
            )
        return rows


class _Free(Answer):
    """An answer whose form is looked at later."""

    model_config = Answer.model_config | {"extra": "allow"}
