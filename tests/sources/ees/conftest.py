"""A running stand-in service for each test, a client with hardly any patience, and one data set."""

from __future__ import annotations

import threading

import pytest
from sources.ees.service import Held, Release, Service

from sendap.sources.ees.client import Client, Patience

DATA_SET = "a1b2c3d4-0000-4000-8000-000000000001"
INDICATORS = ("sess_authorised", "enrolments")
HEADING = (
    "time_period,time_identifier,geographic_level,country_code,country_name,region_code,region_name,old_la_code,"
    "new_la_code,la_name,school_type,sess_authorised,enrolments"
)
PLACES = {
    "National": "E92000001,England,,,,,",
    "Regional": "E92000001,England,E12000001,North East,,,",
    "Local authority": "E92000001,England,E12000001,North East,840,E06000047,County Durham",
}


def table(*, years=("202122", "202223", "202324"), schools=("Total", "Primary", "Special"), extra=()) -> bytes:
    """A small table in the layout of the service, with a symbol and a blank place."""
    lines = [HEADING]
    for year in years:
        for level, places in PLACES.items():
            for number, school in enumerate(schools):
                value = "c" if (year, level, school) == ("202223", "Local authority", "Special") else 1000 + number
                lines.append(f"{year},Academic year,{level},{places},{school},{value},{int(year) % 97 + number}")
    return ("\ufeff" + "\n".join([*lines, *extra]) + "\n").encode()


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = Service()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def held(service) -> Held:
    return service.hold(
        Held(id=DATA_SET, title="Absence by school type", indicators=INDICATORS, releases=[Release("1.0", table())])
    )


@pytest.fixture
def waits() -> list[float]:
    """Every wait between attempts, noted instead of waited for."""
    return []


@pytest.fixture
def client(service, waits):
    patience = Patience(attempts=4, first_wait=0.1, longest_wait=1.0, read=5.0, sleep=waits.append)
    with Client(service.address, patience=patience) as opened:
        yield opened
