"""Late interest and days off in the worklist, over HTTP, with a ledger of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from obligor.data.store import LedgerStore
from obligor.serving.assembly import Service
from tests import ascii
from tests.conftest import client_of, service_on
from tests.fakes import FixedChampion, FixedModel

CUSTOMERS = """
    customer_id | registered_on | country
    ANNA        | 2024-01-01    | DE
    BERT        | 2024-01-01    | US
    CORA        | 2024-01-01    | XX
    DORA        | 2024-01-01    | AT
"""
# All are due on Friday, 2024-11-29, and BERT pays nothing either.
INVOICES = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    A1         | ANNA        | 2024-10-30 | 2024-11-29 | 100000
    B1         | BERT        | 2024-10-30 | 2024-11-29 | 100000
    C1         | CORA        | 2024-10-30 | 2024-11-29 | 100000
    D1         | DORA        | 2024-10-30 | 2024-11-29 | 100000
"""
PAYMENTS = """
    invoice_id | paid_on    | amount
    A1         | 2024-12-09 |  40000
"""


@pytest.fixture
def service(tmp_path: Path) -> Service:
    store = LedgerStore(f"sqlite:///{tmp_path}/ledger.db")
    store.write(ascii.ledger(customers=CUSTOMERS, invoices=INVOICES, payments=PAYMENTS))
    return service_on(store, FixedChampion(FixedModel()), tmp_path)


def worklist(service: Service, as_of: str) -> Any:
    with client_of(service) as client:
        response = client.get("/worklist", params={"as_of": as_of, "collectors": 9})
    assert response.status_code == 200, response.text
    return response.json()


def test_each_line_has_the_interest_of_its_country(service: Service) -> None:
    answer = worklist(service, "2024-12-19")
    lines = {line["customer_id"]: line["late_interest"] for line in answer["lines"]}
    # (100,000 x 10 + 60,000 x 10) x (3.37% + 9%) / 365
    assert lines["ANNA"]["amount"] == "542.25"
    assert lines["ANNA"]["fee"] == "40"
    assert "BGB 288" in lines["ANNA"]["because"]
    assert "missing" not in lines["ANNA"]
    assert lines["BERT"]["amount"] == "0.00"
    assert "what was agreed applies" in lines["BERT"]["because"]


def test_a_line_says_which_rate_is_missing(service: Service) -> None:
    answer = worklist(service, "2025-01-02")
    (line,) = [line for line in answer["lines"] if line["customer_id"] == "DORA"]
    assert line["late_interest"]["amount"] == "0.00"
    assert "from 2025-01-01 on" in line["late_interest"]["missing"]
    assert "oenb.at" in line["late_interest"]["missing"]


def test_nobody_is_contacted_on_a_day_off_of_the_country(service: Service) -> None:
    """December 26, 2024, a Thursday, is a holiday in Germany and Austria only."""
    answer = worklist(service, "2024-12-26")
    assert answer["is_quiet"] is False
    assert sorted(line["customer_id"] for line in answer["lines"]) == ["BERT", "CORA"]
    assert answer["resting"] == {"day_off": 2}
    calendars = {line["customer_id"]: line["calendar"] for line in answer["lines"]}
    assert calendars["BERT"].startswith("public holidays of US")
    assert calendars["CORA"] == "there is no calendar of 'XX': weekends only"


def test_the_next_contact_is_on_a_working_day_of_the_country(service: Service) -> None:
    """A promise for Christmas Eve is looked at on the next working day.

    In Germany that is Friday, December 27; where no calendar is known, December 25.
    """
    days = {}
    with client_of(service) as client:
        for customer_id in ("ANNA", "CORA"):
            body = {
                "customer_id": customer_id,
                "contacted_on": "2024-12-20",
                "by": "C. Collector",
                "channel": "call",
                "outcome": "promise",
                "promise": {
                    "amount": "1000.00",
                    "currency": "EUR",
                    "pay_by": "2024-12-24",
                },
            }
            answer = client.post("/contacts", json=body).json()
            days[customer_id] = answer["next_contact_on"]
    assert days == {"ANNA": "2024-12-27", "CORA": "2024-12-25"}


def test_a_promise_for_a_day_off_runs_until_the_next_working_day(
    service: Service,
) -> None:
    """The promise is for December 25: in Germany it is broken after December 27."""
    with client_of(service) as client:
        body = {
            "customer_id": "ANNA",
            "contacted_on": "2024-12-20",
            "by": "C. Collector",
            "channel": "call",
            "outcome": "promise",
            "next_contact_on": "2024-12-23",
            "promise": {
                "amount": "60000.00",
                "currency": "EUR",
                "pay_by": "2024-12-25",
            },
        }
        assert client.post("/contacts", json=body).status_code == 200
    on_friday = worklist(service, "2024-12-27")
    assert on_friday["resting"] == {"promised": 1}
    on_monday = worklist(service, "2024-12-30")
    (line,) = [line for line in on_monday["lines"] if line["customer_id"] == "ANNA"]
    assert line["promise_broken_on"] == "2024-12-28"


@pytest.mark.parametrize(
    ("fx_rates", "fee", "note"),
    [
        ("GBP | 2024-11-01 | 1.25", "70", False),
        ("GBP | 2024-11-01 | 1.00", "100", False),
        ("GBP | 2025-06-01 | 1.00", "40", True),
        ("", "40", True),
    ],
)
def test_the_fixed_sum_of_a_bill_in_euro_goes_by_its_worth_in_pounds(
    tmp_path: Path, fx_rates: str, fee: str, note: bool
) -> None:
    """12,000 EUR to a British customer; without a rate on the day it is at least 40."""
    store = LedgerStore(f"sqlite:///{tmp_path}/ledger.db")
    ledger = ascii.ledger(
        customers="""
            customer_id | registered_on | country
            GWEN        | 2024-01-01    | GB
        """,
        invoices="""
            invoice_id | customer_id | issued_on  | due_on     | amount
            G1         | GWEN        | 2024-10-30 | 2024-11-29 | 12000
        """,
        fx_rates=f"currency | rate_on | rate\n{fx_rates}",
    )
    store.write(ledger)
    service = service_on(store, FixedChampion(FixedModel()), tmp_path)
    (line,) = worklist(service, "2024-12-19")["lines"]
    assert line["late_interest"]["fee"] == fee
    assert line["late_interest"]["fee_currency"] == "GBP"
    assert ("at least" in line["late_interest"]["because"]) is note
