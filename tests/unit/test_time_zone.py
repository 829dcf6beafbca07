"""The time zone of the house: which day it is, and the day of a time stamp."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from obligor.cli.arguments import Context
from obligor.errors import SchemaError
from obligor.reading.dates import parse_days
from obligor.reading.sources import read_ledger
from obligor.serving.assembly import Service
from obligor.serving.settings import Settings
from tests.ascii import spec
from tests.conftest import client_of

BERLIN = ZoneInfo("Europe/Berlin")
LATE_EVENING = datetime(2025, 6, 30, 22, 30, tzinfo=UTC)


def context(**environment: str) -> Context:
    """Return the rim of a command late in the evening, as UTC has it."""
    return Context(environment, lambda: LATE_EVENING, bytes)


def test_today_is_the_day_in_the_house_s_time_zone() -> None:
    """It is 22:30 in UTC: half past midnight in Berlin, 15:30 in Los Angeles."""
    expected = """
        zone                | today
        UTC                 | 2025-06-30
        Europe/Berlin       | 2025-07-01
        Asia/Shanghai       | 2025-07-01
        America/Los_Angeles | 2025-06-30
    """

    def today(zone: str) -> date:
        return context(OBLIGOR_TIME_ZONE=zone).today()

    spec(today, expected)


def test_without_a_setting_the_day_is_that_of_utc() -> None:
    assert context().today() == date(2025, 6, 30)
    assert Settings.of({}).time_zone == ZoneInfo("UTC")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("Europe", "IANA"),
        ("../etc/passwd", "IANA"),
        ("/etc/localtime", "IANA"),
        ("", "IANA"),
        ("+02:00", "IANA"),
    ],
)
def test_a_name_that_is_no_time_zone_is_refused(name: str, hint: str) -> None:
    with pytest.raises(SchemaError, match="OBLIGOR_TIME_ZONE") as refusal:
        Settings.of({"OBLIGOR_TIME_ZONE": name})
    assert repr(name) in str(refusal.value)
    assert hint in str(refusal.value)
    with pytest.raises(SchemaError, match="is not a time zone"):
        context(OBLIGOR_TIME_ZONE=name).today()


def test_the_service_is_not_started_in_a_time_zone_that_is_none(
    tmp_path: Path,
) -> None:
    """A process of its own, as the command takes the place of the one it runs in."""
    process = subprocess.run(
        [sys.executable, "-m", "obligor", "serve", "--store", str(tmp_path)],
        env={**os.environ, "OBLIGOR_TIME_ZONE": "Europe/Berln"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 2
    assert "did you mean Europe/Berlin?" in " ".join(process.stderr.split())
    assert "Traceback" not in process.stderr


def test_a_time_stamp_with_an_offset_becomes_a_day_of_the_house() -> None:
    """Without a time zone the written day counts; without an offset it always does."""
    expected = """
        cell                          | written    | in_berlin
        2025-06-30T22:30:00Z          | 2025-06-30 | 2025-07-01
        2025-06-30 22:30:00+00:00     | 2025-06-30 | 2025-07-01
        2025-06-30T22:30:00.123+00    | 2025-06-30 | 2025-07-01
        2025-07-01T05:00:00+0800      | 2025-07-01 | 2025-06-30
        2025-01-31T23:30:00Z          | 2025-01-31 | 2025-02-01
        2025-01-31T22:30:00Z          | 2025-01-31 | 2025-01-31
        2025-06-30T22:30:00           | 2025-06-30 | 2025-06-30
        2025-06-30                    | 2025-06-30 | 2025-06-30
        30/06/2025 10:30:00 PM +00:00 | 2025-06-30 | 2025-07-01
        30/06/2025 12:30:00 AM +00:00 | 2025-06-30 | 2025-06-30
        30 Jun 2025 22:30 UTC         | 2025-06-30 | 2025-07-01
    """

    def days(cell: str) -> dict[str, object]:
        column = pd.Series([cell])
        written = parse_days(column).values[0]
        in_berlin = parse_days(column, zone=BERLIN).values[0]
        return {"written": written.date(), "in_berlin": in_berlin.date()}

    spec(days, expected)


def test_times_that_a_database_gives_with_their_zone_become_days_of_the_house() -> None:
    column = pd.Series(pd.to_datetime(["2025-06-30T22:30:00Z"], utc=True))
    assert parse_days(column).values[0] == pd.Timestamp("2025-06-30")
    assert parse_days(column, zone=BERLIN).values[0] == pd.Timestamp("2025-07-01")
    as_objects = column.astype("object")
    assert parse_days(as_objects, zone=BERLIN).values[0] == pd.Timestamp("2025-07-01")


def test_a_stated_format_with_an_offset_is_read_in_the_time_zone() -> None:
    column = pd.Series(["30.06.2025 22:30 +0000"])
    date_format = "%d.%m.%Y %H:%M %z"
    assert parse_days(column, date_format).values[0] == pd.Timestamp("2025-06-30")
    day = parse_days(column, date_format, zone=BERLIN).values[0]
    assert day == pd.Timestamp("2025-07-01")


def test_a_ledger_is_read_in_the_time_zone(tmp_path: Path) -> None:
    (tmp_path / "invoices.csv").write_text(
        "invoice_id,customer_id,issued_on,due_on,amount,currency\n"
        "A1,ANNA,2025-05-01,2025-06-30T22:30:00Z,100,EUR\n"
    )
    (tmp_path / "payments.csv").write_text("invoice_id,paid_on,amount\n")
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(
        'currency = "EUR"\n'
        '[invoices]\nfile = "invoices.csv"\n'
        '[payments]\nfile = "payments.csv"\n'
    )
    check = read_ledger(mapping, today=date(2025, 7, 2), zone=BERLIN)
    assert check.ledger["invoices"]["due_on"][0] == pd.Timestamp("2025-07-01")


def test_today_is_the_house_s_day_over_http(untrained_service: Service) -> None:
    """It is 23:30 of 2025-01-02 in UTC, and January 3 in Berlin."""
    late_evening = datetime(2025, 1, 2, 23, 30, tzinfo=UTC)
    in_utc = replace(untrained_service, now=lambda: late_evening)
    in_berlin = replace(in_utc, zone=BERLIN)
    question = {"as_of": "2025-01-03"}
    contact = {
        "customer_id": "C0000002",
        "by": "C. Collector",
        "channel": "mail",
        "outcome": "reached",
    }
    with client_of(in_utc) as client:
        refused = client.get("/worklist", params=question)
        assert refused.status_code == 422
        assert "2025-01-03 lies in the future" in refused.json()["detail"]
        answer = client.post("/contacts", json=contact).json()
        assert answer["contacted_on"] == "2025-01-02"
    with client_of(in_berlin) as client:
        answer = client.get("/worklist", params=question)
        assert answer.status_code == 200, answer.text
        answer = client.post("/contacts", json=contact).json()
        assert answer["contacted_on"] == "2025-01-03"
        # What is recorded has its time in UTC, wherever the house is.
        assert answer["recorded_at"] == "2025-01-02T23:30:00+00:00"
