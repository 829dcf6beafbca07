"""From the files of a house to the view of a customer, by command and over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from obligor.cli.arguments import command_context
from obligor.errors import SchemaError, UnknownDecisionError
from obligor.serving.assembly import Service, assemble_service
from obligor.serving.settings import Settings
from tests.conftest import NOW, VAULT, client_of
from tests.fakes import Ids
from tests.unit.test_cli import run

MAPPING = """
currency = "EUR"
[invoices]
file = "invoices.csv"
[customers]
file = "customers.csv"
[contacts]
file = "contacts.csv"
[bureau]
file = "bureau.csv"
[groups]
file = "relationships.xml"
"""
FILES = {
    "invoices.csv": """
        invoice_id,customer_id,issued_on,due_on,amount,currency
        A1,ANNA,2024-01-01,2024-01-31,100.00,EUR
        B1,BERT,2024-01-01,2024-01-31,200.00,EUR
    """,
    "customers.csv": """
        customer_id,registered_on,name,country,vat_id,lei,language
        ANNA,2020-01-01,Anna Secretowitz GmbH,DE,136 695 976,213800KUD8LAJWSQ9D15,DE
        BERT,2020-01-01,Bert Ltd,GB,DE136695978,213800KUD8LAJWSQ9D16,German
    """,
    "contacts.csv": """
        customer_id,name,email
        ANNA,Conny Tact,conny@secret-mail.example.org
        BERT,Bad Dress,bad address
        NOBODY,Somebody Else,else@example.org
    """,
    "bureau.csv": """
        id_kind,id,source,as_of,score,scale,event
        vat_id,DE136695976,Agency,2024-03-01,12.5,0-100,payment by instalments
        lei,213800KUD8LAJWSQ9D15,Agency,2024-02-01,50,,
        vat_id,FR40303265045,Agency,2024-03-01,99,0-100,
    """,
}
# As GLEIF publishes it; the subsidiary is ANNA, its parents are no customers.
RELATIONSHIPS = """<?xml version="1.0" encoding="UTF-8"?>
<rr:RelationshipData xmlns:rr="http://www.gleif.org/data/schema/rr/2016">
 <rr:RelationshipRecords>{records}</rr:RelationshipRecords>
</rr:RelationshipData>
"""
RECORD = """
<rr:RelationshipRecord>
 <rr:Relationship>
  <rr:StartNode><rr:NodeID>{child}</rr:NodeID></rr:StartNode>
  <rr:EndNode><rr:NodeID>{parent}</rr:NodeID></rr:EndNode>
  <rr:RelationshipType>IS_{kind}_CONSOLIDATED_BY</rr:RelationshipType>
  <rr:RelationshipStatus>ACTIVE</rr:RelationshipStatus>
 </rr:Relationship>
 <rr:Registration>
  <rr:InitialRegistrationDate>2023-05-01T00:00:00Z</rr:InitialRegistrationDate>
  <rr:RegistrationStatus>PUBLISHED</rr:RegistrationStatus>
 </rr:Registration>
</rr:RelationshipRecord>
"""
ANNA = "213800KUD8LAJWSQ9D15"
DIRECT = "529900T8BM49AURSDO55"
TOP = "5493001KJTIIGC8Y1R12"


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        lines = [line.strip() for line in text.strip().splitlines()]
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    records = [
        RECORD.format(child=ANNA, parent=DIRECT, kind="DIRECTLY"),
        RECORD.format(child=ANNA, parent=TOP, kind="ULTIMATELY"),
        RECORD.format(child=DIRECT, parent=TOP, kind="DIRECTLY"),
        RECORD.format(child=TOP, parent=TOP, kind="ULTIMATELY"),
    ]
    text = RELATIONSHIPS.format(records="".join(records))
    (tmp_path / "relationships.xml").write_text(text, encoding="utf-8")
    path = tmp_path / "mapping.toml"
    path.write_text(MAPPING, encoding="utf-8")
    return path


def view(store: Path, customer_id: str) -> dict[str, Any]:
    printed = run("customer", customer_id, "--json", "--store", str(store)).stdout
    answer: dict[str, Any] = orjson.loads(printed)
    return answer


def test_a_check_says_what_is_wrong_and_shows_nothing_personal(mapping: Path) -> None:
    printed = run("check", str(mapping))
    text = " ".join(printed.stdout.split())
    assert printed.exit_code == 0
    assert "[customers] line 3 vat_id: the value is not valid" in text
    assert "[customers] line 3 lei: the value is not valid" in text
    assert "[customers] line 3 language: the value is not valid" in text
    assert "[contacts] line 3 email: the value is not valid" in text
    assert "[contacts] customer_id: 1 of 3 rows is about nobody" in text
    assert "[bureau] customer_id: 1 of 3 rows is about nobody" in text
    assert "[bureau] line 3 scale: the score has no scale" in text
    assert "do not count as an insolvency: 'payment by instalments'" in text
    secrets = ("Secretowitz", "secret-mail", "136695976", "DE136695978", ANNA)
    assert [secret for secret in secrets if secret in text] == []


def test_a_loaded_customer_is_shown(mapping: Path, tmp_path: Path) -> None:
    run("load", str(mapping), "--store", str(tmp_path / "store"))
    anna = view(tmp_path / "store", "ANNA")
    assert anna["owed"] == {"amount": "100.00", "currency": "EUR"}
    assert anna["profile"]["vat_id"] == "DE136695976"
    assert anna["profile"]["language"] == "de"
    (contact,) = anna["profile"]["contacts"]
    assert contact["email"] == "conny@secret-mail.example.org"
    assert [report["score"] for report in anna["reports"]] == [50.0, 12.5]
    # The direct parent counts, and the ultimate one by way of it.
    assert anna["group"]["line"] == ["ANNA", DIRECT, TOP]


def test_a_wrong_id_loses_no_customer(mapping: Path, tmp_path: Path) -> None:
    run("load", str(mapping), "--store", str(tmp_path / "store"))
    bert = view(tmp_path / "store", "BERT")
    assert bert["profile"]["name"] == "Bert Ltd"
    assert bert["profile"]["vat_id"] == ""
    assert bert["profile"]["lei"] == ""
    assert bert["group"] is None


def test_a_store_that_was_only_loaded_is_sealed(mapping: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run("load", str(mapping), "--store", str(store))
    files = [path for path in store.rglob("*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in files)
    secrets = (b"Secretowitz", b"secret-mail", b"136695976", ANNA.encode())
    readable = [secret for secret in secrets if secret in content]
    # The LEI stands for ANNA in the groups, where she is a customer.
    assert readable == []


REPORT = """
    id_kind,id,source,as_of,score,scale
    vat_id,DE 136695976,Other,2024-05-01,70,0-100
    vat_id,FR40303265045,Other,2024-05-01,10,0-100
"""
CIRCLE = """
    customer_id,registered_on,parent_id
    ANNA,2020-01-01,BERT
    BERT,2020-01-01,ANNA
"""


def load_later(store: Path, table: str, text: str) -> None:
    """Load a table of its own into a store that is loaded."""
    folder = store.parent / table
    folder.mkdir()
    lines = [line.strip() for line in text.strip().splitlines()]
    (folder / "rows.csv").write_text("\n".join(lines), encoding="utf-8")
    mapping = f'currency = "EUR"\n[{table}]\nfile = "rows.csv"\n'
    (folder / "mapping.toml").write_text(mapping, encoding="utf-8")
    run("load", str(folder / "mapping.toml"), "--store", str(store))


def test_a_report_that_comes_alone_finds_its_customer(
    mapping: Path, tmp_path: Path
) -> None:
    """By an id that only the store knows; a report on nobody is left out."""
    store = tmp_path / "store"
    run("load", str(mapping), "--store", str(store))
    load_later(store, "bureau", REPORT)
    sources = [report["source"] for report in view(store, "ANNA")["reports"]]
    assert sources == ["Other", "Agency", "Agency"]


def test_an_update_that_makes_a_circle_is_refused(
    mapping: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    run("load", str(mapping), "--store", str(store))
    with pytest.raises(SchemaError, match="in a circle: ANNA > BERT > ANNA"):
        load_later(store, "customers", CIRCLE)


def test_a_command_erases_a_customer(mapping: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run("load", str(mapping), "--store", str(store))
    because = ["--because", "a letter", "--store", str(store)]
    printed = run("audit", "erase", "ANNA", *because)
    # Account, rows, invoice, profile, reports, two legal ids, and the parent.
    assert "8 rows of the ledger are deleted" in printed.stdout
    assert b"ANNA" not in (store / "ledger.db").read_bytes()
    # Nor is her LEI left among the relationships.
    rows = command_context().ledger_store(store).rows
    with rows.writing() as connection:
        groups = rows.read_shared(connection, "groups")
    assert ANNA not in {*groups["child_id"], *groups["parent_id"]}
    assert len(groups) == 2
    with pytest.raises(UnknownDecisionError):
        run("audit", "erase", "ANNA", *because)


@pytest.fixture
def service(mapping: Path, tmp_path: Path) -> Service:
    run("load", str(mapping), "--store", str(tmp_path / "store"))
    settings = Settings.of({"OBLIGOR_STORE": str(tmp_path / "store")})
    return assemble_service(
        settings,
        now=lambda: NOW,
        new_id=Ids("e"),
        random=VAULT.random,
    )


def test_a_customer_is_shown_over_http(service: Service) -> None:
    with client_of(service) as client:
        answer = client.get("/customers/ANNA?as_of=2024-02-15").json()
        missing = client.get("/customers/NOBODY")
    assert answer["profile"]["name"] == "Anna Secretowitz GmbH"
    # The report of March is not known yet.
    assert [report["score"] for report in answer["reports"]] == [50.0]
    assert missing.status_code == 404


def test_rows_sent_over_http_are_seen_at_once(service: Service) -> None:
    contact = {"customer_id": "BERT", "name": "New Person", "email": "x at y"}
    report = {"source": "Register", "as_of": "2025-01-01", "status": "bankrupt"}
    by_id = {"id_kind": "lei", "id": ANNA, **report}
    with client_of(service) as client:
        answers = [
            client.post("/ledger/contacts", json={"rows": [contact]}).json(),
            client.post("/ledger/bureau", json={"rows": [by_id]}).json(),
        ]
        bert = client.get("/customers/BERT").json()
        anna = client.get("/customers/ANNA").json()
    assert [answer["taken"] for answer in answers] == [1, 1]
    # The new contact is known from today on, without the address that is not valid.
    assert bert["profile"]["contacts"][-1]["name"] == "New Person"
    assert bert["profile"]["contacts"][-1]["email"] == ""
    assert anna["reports"][0]["status"] == "bankrupt"


def test_a_customer_is_erased_over_http(service: Service) -> None:
    with client_of(service) as client:
        because = {"because": "a letter of 3 March"}
        erased = client.post("/customers/ANNA/erasure", json=because)
        again = client.post("/customers/ANNA/erasure", json=because)
        shown = client.get("/customers/ANNA")
    assert erased.json() == {"entries": 0, "ledger_rows": 8}
    assert again.status_code == 404
    assert shown.status_code == 404
