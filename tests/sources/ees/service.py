"""A stand-in for the API of Explore Education Statistics, on loopback: its answers, its errors and its bad days.

It is written from the description of the service and shares no code with the client: criteria are evaluated on the
plain JSON that arrives. Data sets are CSV tables in the layout of the service. A *fault* waits for one request of a
path and then happens instead of, or to, the answer.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PUBLICATION = "cbbd299f-8297-44bc-92ac-558bcf51f8ad"
LEVEL_CODES = {"National": "NAT", "Regional": "REG", "Local authority": "LA"}
LEVEL_COLUMNS = {
    "NAT": ("country_code", "country_name"), "REG": ("region_code", "region_name"), "LA": ("new_la_code", "la_name"),
}  # fmt: skip
IDENTIFIERS = {"Academic year": "AY", "Calendar year": "CY", "Financial year": "FY", "Reporting year": "RY"}
PLACE_COLUMNS = (
    "time_period", "time_identifier", "geographic_level", "country_code", "country_name", "region_code", "region_name",
    "old_la_code", "new_la_code", "la_name",
)  # fmt: skip


def sqid(*parts: str) -> str:
    """A short id as the service makes them: letters and digits, the same for the same thing."""
    letters = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
    number = int.from_bytes(hashlib.sha256("|".join(parts).encode()).digest()[:6], "big")
    return "".join(letters[number // len(letters) ** place % len(letters)] for place in range(7))


@lru_cache(maxsize=16)
def rows_of(table: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.decode("utf-8-sig"))))


@dataclass
class Release:
    """One version of a data set, with what it changed."""

    number: str
    table: bytes
    type: str = "Major"
    changes: dict[str, object] = field(default_factory=lambda: {"majorChanges": {}, "minorChanges": {}})
    published: str = "2024-06-13T09:30:00+00:00"

    @property
    def rows(self) -> list[dict[str, str]]:
        return rows_of(self.table)


@dataclass
class Held:
    id: str
    title: str
    indicators: tuple[str, ...]
    releases: list[Release]
    status: str = "Published"
    superseded_by: str | None = None

    def release(self, wanted: str | None) -> Release | None:
        if wanted in (None, "*"):
            return self.releases[-1]
        pattern = re.escape(wanted).replace(r"\*", ".*")
        return next((each for each in reversed(self.releases) if re.fullmatch(pattern, each.number)), None)

    def filters(self, release: Release) -> list[str]:
        return [name for name in release.rows[0] if name not in (*PLACE_COLUMNS, *self.indicators)]


@dataclass
class Fault:
    """What happens to the next request whose path ends so. ``do`` gets the handler; True means that it answered."""

    ending: str
    do: Callable[[Handler], bool]
    times: int = 1


class Service(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.held: dict[str, Held] = {}
        self.faults: list[Fault] = []
        self.log: list[tuple[str, str, dict[str, str]]] = []
        self.ranges = True
        self.encoding = "gzip"
        self.lengths = True
        self.validators = True
        self.largest_page = 10_000
        self.lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests, so nothing is printed."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/statistics/v1"

    def hold(self, held: Held) -> Held:
        self.held[held.id] = held
        return held

    def fault(self, ending: str, do: Callable[[Handler], bool], times: int = 1) -> None:
        self.faults.append(Fault(ending, do, times))

    def asked(self, ending: str) -> list[dict[str, str]]:
        """The headers of every request of a path that ends so."""
        return [headers for _, path, headers in self.log if urlsplit(path).path.endswith(ending)]

    def next_fault(self, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if path.endswith(fault.ending) and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None


# Faults.


def status(code: int, **headers: str) -> Callable[[Handler], bool]:
    def do(handler: Handler) -> bool:
        body = {"title": "There was a problem processing the request.", "type": "Internal Server Error", "status": code}
        handler.json(body, code, {name.replace("_", "-"): value for name, value in headers.items()})
        return True

    return do


def drop(handler: Handler) -> bool:
    """The connection breaks before anything is answered."""
    handler.close_connection = True
    handler.connection.shutdown(2)
    return True


def cut(keep: int) -> Callable[[Handler], bool]:
    """The body stops after some bytes, though its whole length was announced."""

    def do(handler: Handler) -> bool:
        handler.keep = keep
        return False

    return do


def slow(seconds: float) -> Callable[[Handler], bool]:
    def do(handler: Handler) -> bool:
        time.sleep(seconds)
        return False

    return do


def body(content: bytes, kind: str, code: int = 200, **headers: str) -> Callable[[Handler], bool]:
    def do(handler: Handler) -> bool:
        handler.send(content, kind, code, {name.replace("_", "-"): value for name, value in headers.items()})
        return True

    return do


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service
    keep: int | None = None

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""

    def do_GET(self) -> None:
        self.answer(None)

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def answer(self, content: bytes | None) -> None:
        self.keep = None
        self.server.log.append((self.command, self.path, dict(self.headers.items())))
        parts = urlsplit(self.path)
        fault = self.server.next_fault(parts.path)
        if fault is not None and fault.do(self):
            return
        asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        path = parts.path.removeprefix("/statistics/v1").strip("/").split("/")
        try:
            self.route(path, asked, content)
        except Refused as refused:
            self.json(refused.body, refused.code)

    def route(self, path: list[str], asked: dict[str, str], content: bytes | None) -> None:
        if path[0] == "publications":
            self.publications(path[1:], asked)
            return
        held = self.server.held.get(path[1]) if path[0] == "data-sets" and len(path) > 1 else None
        if held is None:
            raise Refused(404, "Not Found")
        rest = path[2:]
        if not rest:
            self.json(data_set(held))
        elif rest[0] == "versions":
            self.versions(held, rest[1:], asked)
        else:
            release = held.release(asked.get("dataSetVersion"))
            if release is None:
                raise Refused(404, "Not Found")
            if rest == ["meta"]:
                self.json(meta(held, release))
            elif rest == ["csv"]:
                self.file(release)
            elif rest == ["query"] and content is not None:
                self.json(query(held, release, content, self.server.largest_page))
            else:
                raise Refused(404, "Not Found")

    def publications(self, rest: list[str], asked: dict[str, str]) -> None:
        one = {
            "id": PUBLICATION, "title": "Education, health and care plans", "slug": "education-health-and-care-plans",
            "summary": "Invented.", "lastPublished": "2024-06-13T09:30:00+00:00",
        }  # fmt: skip
        if not rest:
            if "search" in asked and len(asked["search"]) < 3:
                raise invalid("Must be at least 3 characters.", "MinimumLength", "search")
            found = [one] if asked.get("search", "").lower() in one["title"].lower() else []
            self.json(paged(found, asked, 20, 40))
        elif rest[0] != PUBLICATION:
            raise Refused(404, "Not Found")
        elif len(rest) == 1:
            self.json(one)
        else:
            self.json(paged([data_set(held) for held in self.server.held.values()], asked, 10, 20))

    def versions(self, held: Held, rest: list[str], asked: dict[str, str]) -> None:
        if not rest:
            self.json(paged([version(held, each) for each in reversed(held.releases)], asked, 10, 20))
            return
        release = held.release(rest[0])
        if release is None:
            raise Refused(404, "Not Found")
        self.json({"versionNumber": release.number, **release.changes} if rest[1:] else version(held, release))

    def file(self, release: Release) -> None:
        whole = gzip.compress(release.table, mtime=0) if self.server.encoding == "gzip" else release.table
        etag = f'"{hashlib.sha256(whole).hexdigest()[:16]}"'
        headers = {"Content-Encoding": "gzip"} if self.server.encoding == "gzip" else {}
        if self.server.validators:
            headers["ETag"] = etag
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match and self.server.ranges and self.headers.get("If-Range") == etag:
            first = int(match[1])
            if first >= len(whole):
                self.send(b"", "text/csv", 416, {"Content-Range": f"bytes */{len(whole)}"})
                return
            headers["Content-Range"] = f"bytes {first}-{len(whole) - 1}/{len(whole)}"
            self.send(whole[first:], "text/csv", 206, headers)
            return
        self.send(whole, "text/csv", 200, headers)

    def json(self, content: object, code: int = 200, headers: dict[str, str] | None = None) -> None:
        raw = gzip.compress(json.dumps(content).encode(), mtime=0)
        self.send(raw, "application/json; charset=utf-8", code, {"Content-Encoding": "gzip", **(headers or {})})

    def send(self, content: bytes, kind: str, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.server.lengths:
            self.send_header("Content-Length", str(len(content)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(content if self.keep is None else content[: self.keep])
        if self.keep is not None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)


# Answers.


class Refused(Exception):
    def __init__(self, code: int, title: str, errors: list[dict[str, object]] | None = None):
        super().__init__(title)
        self.code = code
        self.body: dict[str, object] = {"title": title, "type": title, "status": code}
        if errors:
            self.body["errors"] = errors


def invalid(message: str, code: str, path: str, items: list[str] | None = None) -> Refused:
    error: dict[str, object] = {"message": message, "code": code, "path": path}
    if items:
        error["detail"] = {"items": items}
    return Refused(400, "There are validation errors with the request.", [error])


def paged(results: list[object], asked: dict[str, str], size: int, largest: int) -> dict[str, object]:
    number, size = int(asked.get("page", "1")), int(asked.get("pageSize", size))
    if number < 1:
        raise invalid("Must be 1 or more.", "GreaterThanOrEqual", "page")
    if not 1 <= size <= largest:
        raise invalid(f"Must be between 1 and {largest}.", "InclusiveBetween", "pageSize")
    paging = {"page": number, "pageSize": size, "totalResults": len(results), "totalPages": -(-len(results) // size)}
    return {"paging": paging, "results": results[(number - 1) * size : number * size]}


def version(held: Held, release: Release) -> dict[str, object]:
    rows = release.rows
    years = [row["time_period"] for row in rows]
    return {
        "version": release.number, "type": release.type, "status": "Published", "published": release.published,
        "totalResults": len(rows), "notes": "", "file": {"id": held.id},
        "timePeriods": {"start": min(years), "end": max(years)},
        "geographicLevels": sorted({row["geographic_level"] for row in rows}), "filters": held.filters(release),
        "indicators": list(held.indicators), "release": {"title": "Reporting year 2025", "slug": "2025"},
    }  # fmt: skip


def data_set(held: Held) -> dict[str, object]:
    return {
        "id": held.id, "title": held.title, "summary": "Invented.", "status": held.status,
        "supersedingDataSetId": held.superseded_by, "latestVersion": version(held, held.releases[-1]),
    }  # fmt: skip


def period_of(row: dict[str, str]) -> dict[str, str]:
    text = row["time_period"]
    period = f"{text[:4]}/{int(text[:4]) + 1}" if len(text) == 6 else text
    return {"code": IDENTIFIERS[row["time_identifier"]], "period": period}


def places_of(row: dict[str, str]) -> dict[str, str]:
    return {
        level: sqid(level, row[code]) for level, (code, _) in LEVEL_COLUMNS.items() if row.get(code)
    }  # fmt: skip


def meta(held: Held, release: Release) -> dict[str, object]:
    rows = release.rows
    filters = [
        {
            "id": sqid("filter", name), "column": name, "label": name.replace("_", " ").capitalize(), "hint": "",
            "options": [
                {"id": sqid(name, label), "label": label, **({"isAggregate": True} if label == "Total" else {})}
                for label in sorted({row[name] for row in rows})
            ],
        }
        for name in held.filters(release)
    ]  # fmt: skip
    locations = []
    for level, (code, name) in LEVEL_COLUMNS.items():
        found = {row[code]: row for row in rows if row.get(code)}
        options = [
            {"id": sqid(level, key), "label": row[name], "code": key,
             **({"oldCode": row["old_la_code"]} if level == "LA" else {})}
            for key, row in sorted(found.items())
        ]  # fmt: skip
        if options:
            locations.append({"level": {"code": level, "label": level}, "options": options})
    times = {(each["period"], each["code"]) for each in map(period_of, rows)}
    return {
        "filters": filters,
        "indicators": [
            {"id": sqid("indicator", name), "column": name, "label": name.replace("_", " "), "unit": ""}
            for name in held.indicators
        ],
        "geographicLevels": [
            {"code": LEVEL_CODES[label], "label": label} for label in sorted({row["geographic_level"] for row in rows})
        ],
        "locations": locations,
        "timePeriods": [{"code": code, "period": period, "label": period} for period, code in sorted(times)],
    }


def holds(row: dict[str, str], criteria: dict[str, object], filters: list[str]) -> bool:
    """Whether a row of the table meets criteria, which are plain JSON."""
    if "and" in criteria:
        return all(holds(row, each, filters) for each in criteria["and"])
    if "or" in criteria:
        return any(holds(row, each, filters) for each in criteria["or"])
    if "not" in criteria:
        return not holds(row, criteria["not"], filters)
    own: dict[str, Callable[[object], bool]] = {
        "filters": lambda wanted: wanted in {sqid(name, row[name]) for name in filters},
        "geographicLevels": lambda wanted: LEVEL_CODES[row["geographic_level"]] == wanted,
        "locations": lambda wanted: is_at(row, wanted),
        "timePeriods": lambda wanted: of_time(wanted) == of_time(period_of(row)),
    }
    for facet, comparisons in criteria.items():
        for comparator, wanted in comparisons.items():
            if comparator in ("gt", "gte", "lt", "lte"):
                here, there = of_time(period_of(row)), of_time(wanted)
                met = here[1] == there[1] and {
                    "gt": here > there, "gte": here >= there, "lt": here < there, "lte": here <= there,
                }[comparator]  # fmt: skip
            else:
                among = any(own[facet](each) for each in (wanted if comparator in ("in", "notIn") else [wanted]))
                met = among == (comparator in ("eq", "in"))
            if not met:
                return False
    return True


def of_time(period: dict[str, str]) -> tuple[str, str]:
    return period["period"][:4], period["code"]


def is_at(row: dict[str, str], wanted: dict[str, str]) -> bool:
    code, _ = LEVEL_COLUMNS[wanted["level"]]
    if "id" in wanted:
        return bool(row.get(code)) and sqid(wanted["level"], row[code]) == wanted["id"]
    return row.get("old_la_code" if "oldCode" in wanted else code) == wanted.get("oldCode", wanted.get("code"))


def query(held: Held, release: Release, content: bytes, largest: int) -> dict[str, object]:
    asked = json.loads(re.sub(rb"^\s*//.*$", b"", content, flags=re.MULTILINE))
    size = asked.get("pageSize", 1000)
    if not 1 <= size <= largest:
        raise invalid(f"Must be between 1 and {largest}.", "InclusiveBetween", "$.pageSize")
    filters = held.filters(release)
    ids = {sqid("indicator", name): name for name in held.indicators}
    unknown = [each for each in asked.get("indicators", ids) if each not in ids]
    if unknown:
        raise invalid("One or more indicators could not be found.", "IndicatorsNotFound", "$.indicators", unknown)
    rows = [row for row in release.rows if holds(row, asked.get("criteria") or {}, filters)]
    rows.sort(key=lambda row: row["time_period"], reverse=True)
    for sort in reversed(asked.get("sorts", [])):
        if sort["field"] != "timePeriod":
            raise invalid(
                "One or more sort fields could not be found.", "SortFieldsNotFound", "$.sorts", [sort["field"]]
            )
        rows.sort(key=lambda row: row["time_period"], reverse=sort["direction"] == "Desc")
    results = [
        {
            "timePeriod": period_of(row), "geographicLevel": LEVEL_CODES[row["geographic_level"]],
            "locations": places_of(row), "filters": {sqid("filter", name): sqid(name, row[name]) for name in filters},
            "values": {each: row[ids[each]] for each in asked.get("indicators", ids)},
        }
        for row in rows
    ]  # fmt: skip
    answer = paged(results, {"page": str(asked.get("page", 1)), "pageSize": str(size)}, 1000, largest)
    none = {"message": "The query returned no results.", "code": "QueryNoResults"}
    return {**answer, "warnings": [] if results else [none]}
