"""The day a question is about: as requested, of the export, or today."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from obligor.cli.app import app
from obligor.data.asof import known_on
from obligor.data.ledger import Ledger
from obligor.data.store import LedgerStore
from obligor.decisions.as_of import as_of_day, as_of_or_default
from obligor.decisions.batch import Question
from obligor.decisions.questions import DecisionRequest
from obligor.decisions.spine import known_customer
from obligor.errors import AsOfError, SchemaError
from obligor.reading.sources import read_ledger
from tests import ascii
from tests.ascii import spec

SMALL = Path(__file__).parents[2] / "data" / "samples" / "small" / "mapping.toml"
TODAY = date(2025, 7, 15)


def ledger(exported_on: date | None) -> Ledger:
    """Return a ledger whose last posting is of 2025-06-10."""
    tables = ascii.ledger(
        invoices="""
            invoice_id | customer_id | issued_on  | due_on     | amount
            A1         | ANNA        | 2025-06-10 | 2025-07-10 |    100
        """
    ).tables
    return Ledger(tables, "EUR", exported_on=exported_on)


def store(folder: Path, exported_on: date | None) -> LedgerStore:
    """Return a store with the ledger."""
    ledger_store = LedgerStore(f"sqlite:///{folder}/ledger.db")
    ledger_store.write(ledger(exported_on))
    return ledger_store


def test_the_default_is_the_day_of_the_export_or_today() -> None:
    expected = """
        requested  | exported_on | day        | because
        -          | 2025-06-30  | 2025-06-30 | the day of the export
        -          | 2025-07-16  | 2025-07-15 | the day of the export
        -          | -           | 2025-07-15 | today, as the ledger does not state \
the day of its export
        2025-06-20 | 2025-06-30  | 2025-06-20 | as requested
        2025-07-15 | -           | 2025-07-15 | as requested
    """

    def day(requested: date | None, exported_on: date | None) -> object:
        return as_of_day(requested, exported_on, TODAY)

    spec(day, expected)


def test_a_day_in_the_future_is_refused() -> None:
    with pytest.raises(AsOfError, match="2025-07-16 lies in the future"):
        as_of_day(date(2025, 7, 16), date(2025, 6, 30), TODAY)


@pytest.mark.parametrize("exported_on", [date(2025, 6, 30), None])
def test_a_question_about_a_loaded_ledger_has_this_default(
    tmp_path: Path, exported_on: date | None
) -> None:
    ledger_store = store(tmp_path, exported_on)
    question = Question(DecisionRequest(customer_id="ANNA"))
    customer = known_customer(question, ledger_store, TODAY)
    assert customer.account.as_of == (exported_on or TODAY)
    assert as_of_or_default(None, ledger_store, TODAY) == (exported_on or TODAY)


def test_a_load_without_the_day_of_the_export_forgets_an_earlier_one(
    tmp_path: Path,
) -> None:
    ledger_store = store(tmp_path, date(2025, 6, 30))
    assert ledger_store.exported_on() == date(2025, 6, 30)
    ledger_store.write(ledger(None))
    assert ledger_store.exported_on() is None


def test_a_ledger_is_observed_until_the_day_of_its_export() -> None:
    """Customers who paid nothing from the last posting on are seen not to pay."""
    assert ledger(None).observed_until == date(2025, 6, 10)
    exported = ledger(date(2025, 6, 30))
    assert exported.observed_until == date(2025, 6, 30)
    known = known_on(exported, date(2025, 6, 20)).ledger
    assert known.observed_until == date(2025, 6, 20)


def test_a_source_that_was_written_in_the_future_is_refused(tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('currency = "EUR"\nexported_on = 2025-07-16\n')
    with pytest.raises(SchemaError, match="exported_on is 2025-07-16, which lies in"):
        read_ledger(mapping, today=TODAY)


def test_rows_that_became_known_after_the_export_are_reported(tmp_path: Path) -> None:
    (tmp_path / "invoices.csv").write_text(
        "invoice_id,customer_id,issued_on,due_on,amount,currency\n"
        "A1,ANNA,2025-06-10,2025-07-10,100,EUR\n"
        "A2,ANNA,2025-07-01,2025-07-31,100,EUR\n"
    )
    (tmp_path / "payments.csv").write_text("invoice_id,paid_on,amount\n")
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(
        'currency = "EUR"\nexported_on = 2025-06-30\n'
        '[invoices]\nfile = "invoices.csv"\n'
        '[payments]\nfile = "payments.csv"\n'
    )
    findings = [str(finding) for finding in read_ledger(mapping, today=TODAY).findings]
    expected = "[invoices] known_on: 1 rows became known after the export of 2025-06-30"
    assert sum(expected in finding for finding in findings) == 1
    mapping.write_text(mapping.read_text().replace("2025-06-30", "2025-07-01"))
    findings = [str(finding) for finding in read_ledger(mapping, today=TODAY).findings]
    assert not [finding for finding in findings if "after the export" in finding]


def test_a_command_prints_the_day_it_used_and_why(tmp_path: Path) -> None:
    runner = CliRunner()
    by_default = runner.invoke(app, ["lgd", str(SMALL)])
    assert by_default.exit_code == 0, by_default.output
    assert "as of 2023-01-01 (the day of the export)" in by_default.stderr
    requested = runner.invoke(app, ["lgd", str(SMALL), "--as-of", "2022-06-30"])
    assert "as of 2022-06-30 (as requested)" in requested.stderr
    evaluated = runner.invoke(app, ["evaluate", str(SMALL)])
    expected = "outcomes are observed until 2023-01-01 (the day of the export)"
    assert expected in evaluated.stderr
    root = tmp_path / "store"
    loaded = runner.invoke(app, ["load", str(SMALL), "--store", str(root)])
    assert loaded.exit_code == 0, loaded.output
    customer_id = LedgerStore(f"sqlite:///{root}/ledger.db").customer_ids(1)[0]
    command = ["customer", customer_id, "--store", str(root)]
    described = runner.invoke(app, command)
    assert described.exit_code == 0, described.output
    assert "(the day of the export)" in described.stderr
    shown = runner.invoke(app, ["policy", "show", "--table", "quiet_days"])
    assert "(today)" in shown.stderr
