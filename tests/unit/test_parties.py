"""Reading relationships, matching reports to customers, and checks of both."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from obligor.data.checks import LedgerCheck, check_ledger
from obligor.data.findings import Finding
from obligor.data.identifiers import valid_vat_id
from obligor.data.ledger import DAY_DTYPE, Ledger
from obligor.reading.gleif import is_relationship_file, read_relationships
from tests.ascii import ledger, spec

TODAY = date(2025, 1, 2)
INVOICES = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    A1         | ANNA        | 2024-01-01 | 2024-01-31 | 100.00
    B1         | BERT        | 2024-01-01 | 2024-01-31 | 100.00
"""
# The columns of GLEIF's golden copy that are read, and one that is not.
HEADER = (
    "Relationship.StartNode.NodeID",
    "Relationship.EndNode.NodeID",
    "Relationship.RelationshipType",
    "Relationship.RelationshipStatus",
    "Relationship.Period.1.startDate",
    "Relationship.Period.1.endDate",
    "Relationship.Period.1.periodType",
    "Relationship.Period.2.startDate",
    "Relationship.Period.2.endDate",
    "Relationship.Period.2.periodType",
    "Registration.InitialRegistrationDate",
    "Registration.RegistrationStatus",
    "Registration.ManagingLOU",
)
ROWS = (
    # The accounting period ends each year; the relationship does not.
    "A,B,X,ACTIVE,2020-01-01T00:00:00Z,2020-12-31T00:00:00Z,ACCOUNTING_PERIOD,"
    "2019-05-01T00:00:00Z,,RELATIONSHIP_PERIOD,2021-02-03T10:00:00Z,PUBLISHED,LOU",
    "C,D,X,INACTIVE,2019-05-01T00:00:00Z,2022-06-30T00:00:00Z,RELATIONSHIP_PERIOD,"
    ",,,2021-02-03T10:00:00Z,LAPSED,LOU",
    "E,F,X,ACTIVE,,,,,,,2021-02-03T10:00:00Z,ANNULLED,LOU",
    # Without a day of registration it is known from its start on.
    "G,H,X,ACTIVE,2019-05-01T00:00:00Z,,RELATIONSHIP_PERIOD,,,,,PUBLISHED,LOU",
)


def test_the_csv_of_gleif_is_read_by_its_own_columns(tmp_path: Path) -> None:
    path = tmp_path / "rr.csv"
    path.write_text("\n".join([",".join(HEADER), *ROWS]), encoding="utf-8")
    expected = """
        child_id | parent_id | status   | ended_on   | known_on
        A        | B         | ACTIVE   | -          | 2021-02-03
        C        | D         | INACTIVE | 2022-06-30 | 2021-02-03
        E        | F         | UNTRUE   | -          | 2021-02-03
        G        | H         | ACTIVE   | -          | 2019-05-01
    """
    assert is_relationship_file(path)
    rows = read_relationships(path)
    spec(rows.where(rows != "", None), expected)


def test_another_file_is_not_taken_for_gleifs(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("child_id,parent_id,known_on\nA,B,2024-01-01\n", encoding="utf-8")
    assert not is_relationship_file(path)


def checked(**tables: pd.DataFrame) -> LedgerCheck:
    """Return the check of a ledger with some tables added."""
    book = ledger(invoices=INVOICES)
    return check_ledger(Ledger({**book.tables, **tables}, "EUR"), today=TODAY)


def customers(**columns: list[str | None]) -> pd.DataFrame:
    """Return the customers ANNA and BERT with some columns."""
    frame = ledger(invoices=INVOICES)["customers"]
    return frame.assign(
        **{name: pd.Series(values, dtype="str") for name, values in columns.items()}
    )


def reports(**columns: list[str | None]) -> pd.DataFrame:
    """Return reports of one day."""
    texts = {name: pd.Series(values, dtype="str") for name, values in columns.items()}
    day = pd.Timestamp("2024-06-30")
    frame = pd.DataFrame(texts).assign(source="Agency", as_of=day, known_on=day)
    return frame.astype({"as_of": DAY_DTYPE, "known_on": DAY_DTYPE})


def test_an_id_of_several_customers_makes_a_row_for_each() -> None:
    owners = customers(registration_id=["HRB 12.345", "hrb 12345"])
    bureau = reports(
        id_kind=["registration_id", "registration_id"],
        id=["HRB12345", "HRB 99999"],
    )
    outcome = checked(customers=owners, bureau=bureau)
    rows = outcome.ledger["bureau"]
    assert sorted(rows["customer_id"]) == ["ANNA", "BERT"]
    assert rows.index.is_unique
    notes = [finding.what for finding in about(outcome, "bureau")]
    assert notes == ["1 of 3 rows is about nobody among the customers; left out"]


def about(outcome: LedgerCheck, table: str) -> list[Finding]:
    return [finding for finding in outcome.findings if finding.table == table]


def test_a_customer_id_counts_before_any_other_id() -> None:
    owners = customers(lei=["213800KUD8LAJWSQ9D15", None])
    bureau = reports(
        customer_id=["BERT", None],
        id_kind=["lei", "lei"],
        id=["213800KUD8LAJWSQ9D15", "213800KUD8LAJWSQ9D15"],
    )
    rows = checked(customers=owners, bureau=bureau).ledger["bureau"]
    assert rows["customer_id"].tolist() == ["BERT", "ANNA"]


@pytest.mark.parametrize(
    ("parents", "text"),
    [
        (["BERT", "ANNA"], "in a circle: ANNA > BERT > ANNA"),
        (["HOLD", "HOLD"], ""),
        (["ANNA", None], ""),
    ],
)
def test_a_circle_of_parents_is_refused(parents: list[str | None], text: str) -> None:
    outcome = checked(customers=customers(parent_id=parents))
    refusals = [str(finding) for finding in outcome.findings]
    assert outcome.is_refused == bool(text)
    assert all(text in refusal for refusal in refusals)


def test_a_column_and_a_table_that_disagree_are_refused() -> None:
    day = pd.Timestamp("2024-01-01")
    groups = pd.DataFrame({"child_id": ["ANNA"], "parent_id": ["OTHER"]})
    groups = groups.assign(known_on=day).astype({"known_on": DAY_DTYPE})
    owners = customers(parent_id=["HOLD", None])
    outcome = checked(customers=owners, groups=groups)
    (finding,) = about(outcome, "groups")
    assert finding.level == "refuse"
    assert "ANNA > HOLD and ANNA > OTHER" in finding.what


def test_a_score_that_does_not_count_is_noted() -> None:
    bureau = reports(
        customer_id=["ANNA"] * 3,
        scale=["0-100", None, "A-F"],
    ).assign(score=[120.0, 50.0, 3.0])
    texts = [finding.what for finding in about(checked(bureau=bureau), "bureau")]
    assert texts == [
        "the score is outside its scale; it is stored and does not count",
        "the score has no scale; it is stored and does not count",
        "the score has no scale; it is stored and does not count",
    ]


def test_a_limit_in_a_currency_without_a_rate_is_refused() -> None:
    bureau = reports(customer_id=["ANNA"], currency=["USD"])
    outcome = checked(bureau=bureau.assign(recommended_limit=[100.0]))
    assert outcome.is_refused
    assert "no rate from USD to EUR" in str(outcome.findings[0])


def test_a_value_that_breaks_its_contract_is_not_shown() -> None:
    bureau = reports(customer_id=["ANNA"] * 30)
    limits = [-123456.0, *[5.0] * 29]
    outcome = checked(bureau=bureau.assign(recommended_limit=limits))
    (finding,) = about(outcome, "bureau")
    assert finding.level == "quarantine"
    assert "123456" not in str(finding)


def test_vat_ids_by_country() -> None:
    expected = """
        text                | country | vat_id
        DE 136 695 976      | -       | DE136695976
        136695976           | DE      | DE136695976
        DE136695978         | -       | -
        EL094259216         | -       | EL094259216
        094259216           | GR      | EL094259216
        CHE-107.787.577 IVA | CH      | CHE107787577IVA
        980780684           | GB      | 980780684
        12-3456             | US      | 123456
        12-3456             | -       | 123456
    """

    def vat_id(text: str, country: str | None) -> str | None:
        return valid_vat_id(text, country or "")

    spec(vat_id, expected)
