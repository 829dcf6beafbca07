"""Every feature computed a second time, in SQL, from the whole ledger.

The SQL filters by time itself, so it checks the definitions and the gate at once.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from obligor.data.asof import known_on
from obligor.data.ledger import CONTRACTS, DAY_DTYPE, Ledger
from obligor.data.posting import empty_money
from obligor.data.synthetic import Simulation
from obligor.features.build import build_features
from obligor.features.catalogue import NAMES
from obligor.features.kernel import MaterialAmount

HERE = Path(__file__).parent
EVERY_ITEM = MaterialAmount(amount=-1.0, share=0.0)
MATERIAL = MaterialAmount(amount=1500.0, share=0.05)


def oracle(
    ledger: Ledger,
    as_of: date,
    material: MaterialAmount = EVERY_ITEM,
    money: pd.DataFrame | None = None,
    told: Ledger | None = None,
) -> pd.DataFrame:
    """Return the features of every customer, computed by DuckDB.

    Parameters
    ----------
    ledger : Ledger
        A ledger of which each row stands as it is.
    as_of : date
        The day.
    material : MaterialAmount, optional
        What is material; without it the age of the oldest item counts.
    money : DataFrame, optional
        Money without an item.
    told : Ledger, optional
        The ledger with the payments that came back as they were told.
    """
    connection = duckdb.connect()
    for table in CONTRACTS:
        load_table(connection, table, ledger[table])
    told = told or ledger
    load_table(connection, "told_payments", _whole(told["payments"]))
    load_table(connection, "told_invoices", told["invoices"])
    load_table(connection, "money", empty_money() if money is None else money)
    parameters = {"as_of": as_of, "reporting": ledger.currency}
    windows = run_query(connection, "windows.sql", parameters)
    amounts = {"units": 100.0, **material._asdict()}
    standing = run_query(connection, "standing.sql", parameters | amounts)
    wide = windows.pivot(
        index="customer_id",
        columns="n",
    )
    wide.columns = [f"{name}_{n}d" for name, n in wide.columns]
    wide["dbt_days_trend"] = wide["dbt_days_mean_90d"] - wide["dbt_days_mean_365d"]
    year = wide["invoiced_amount_365d"].where(wide["invoiced_amount_365d"] > 0)
    wide["sales_trend"] = wide["invoiced_amount_90d"] * 365 / (year * 90)
    features = wide.join(standing.set_index("customer_id"))
    return features[list(NAMES)].astype(float)


def _whole(payments: pd.DataFrame) -> pd.DataFrame:
    """Payments with the columns that a source may leave out."""
    missing = {"customer_id"} - set(payments.columns)
    return payments.assign(**dict.fromkeys(missing, ""))


def load_table(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    rows: pd.DataFrame,
) -> None:
    """Create a table with dates for timestamps and the order of its rows."""
    frame = rows.assign(seq=range(len(rows)))
    if table == "disputes" and "amount" not in frame:
        frame["amount"] = np.nan
    days = [name for name in frame if frame[name].dtype.kind == "M"]
    casts = ", ".join(f"cast({name} as date) as {name}" for name in days)
    replaced = f"replace ({casts})" if days else ""
    connection.register("frame", frame)
    connection.execute(f"create table {table} as select * {replaced} from frame")
    connection.unregister("frame")


def run_query(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    parameters: dict[str, object],
) -> pd.DataFrame:
    return connection.execute((HERE / name).read_text(), parameters).df()


def require_equal(features: pd.DataFrame, from_sql: pd.DataFrame) -> None:
    """Require every feature to be what SQL computes."""
    for name in NAMES:
        np.testing.assert_allclose(
            features[name], from_sql[name], rtol=1e-9, atol=1e-6, err_msg=name
        )


@pytest.mark.parametrize(
    "as_of", [date(2022, 2, 15), date(2023, 1, 31), date(2024, 12, 31)]
)
def test_every_feature_equals_its_sql_definition(
    simulation: Simulation, as_of: date
) -> None:
    ledger = with_reports(simulation.ledger)
    known = known_on(ledger, as_of)
    features = build_features(known, MATERIAL)
    from_sql = oracle(ledger, as_of, MATERIAL).reindex(features.index)
    require_equal(features, from_sql)
    oldest = build_features(known)["dpd_days"]
    assert (features["dpd_days"] <= oldest).all()
    if as_of.year > 2022:
        assert (features["dpd_days"] < oldest).sum() > 5
        assert features["dpd_days"].nunique() > 10


def with_reports(ledger: Ledger) -> Ledger:
    """Return a ledger with reports of two bureaus, on scales of their own."""
    rng = np.random.default_rng(8)
    n = 600
    as_of = pd.Timestamp("2021-10-01") + pd.to_timedelta(
        rng.integers(0, 1200, n), unit="D"
    )
    is_first = rng.random(n) < 0.5
    score = np.where(is_first, rng.integers(0, 101, n), rng.integers(100, 601, n))
    reports = pd.DataFrame(
        {
            "source": np.where(is_first, "Agency", "Bureau"),
            "as_of": as_of.astype(DAY_DTYPE),
            "known_on": (as_of + pd.Timedelta(days=3)).astype(DAY_DTYPE),
            "customer_id": rng.choice(ledger["customers"]["customer_id"], n),
            "score": np.where(rng.random(n) < 0.1, np.nan, score),
            "scale": np.where(is_first, "0-100", "600-100"),
        }
    )
    reports = reports.drop_duplicates(["source", "as_of", "customer_id"])
    return replace(ledger, tables={**ledger.tables, "bureau": reports})


def test_invoices_billed_after_their_due_date_have_the_same_definitions(
    simulation: Simulation,
) -> None:
    as_of = date(2023, 1, 31)
    invoices = simulation.ledger["invoices"].copy()
    is_late = np.arange(len(invoices)) % 5 == 0
    due_before_issue = invoices["issued_on"] - pd.Timedelta(days=100)
    invoices["due_on"] = invoices["due_on"].where(~is_late, due_before_issue)
    tables = {**simulation.ledger.tables, "invoices": invoices}
    ledger = replace(simulation.ledger, tables=tables)
    features = build_features(known_on(ledger, as_of))
    from_sql = oracle(ledger, as_of).reindex(features.index)
    require_equal(features, from_sql)


def test_plans_and_disputes_of_parts_have_the_same_definitions(
    simulation: Simulation,
) -> None:
    as_of = date(2023, 1, 31)
    rng = np.random.default_rng(3)
    disputes = simulation.ledger["disputes"]
    is_of_part = rng.random(len(disputes)) < 0.5
    amount = np.where(is_of_part, rng.uniform(1, 3000, len(disputes)).round(2), np.nan)
    tables = {
        **simulation.ledger.tables,
        "promises": random_plans(simulation.ledger, rng),
        "disputes": disputes.assign(amount=amount),
    }
    ledger = replace(simulation.ledger, tables=tables)
    features = build_features(known_on(ledger, as_of))
    from_sql = oracle(ledger, as_of).reindex(features.index)
    require_equal(features, from_sql)
    assert (features["broken_promises_365d"] > 3).any()
    assert features["disputed_share"].between(0.01, 0.99).sum() > 10


def random_plans(ledger: Ledger, rng: np.random.Generator) -> pd.DataFrame:
    """Return up to five promises of an invoice, half of them made on one day."""
    invoices = ledger["invoices"].sample(
        frac=0.5,
        random_state=rng,
    )
    invoices = invoices.loc[invoices.index.repeat(rng.integers(1, 6, len(invoices)))]
    n = len(invoices)
    days_after = np.where(rng.random(n) < 0.5, 10, rng.integers(0, 60, n))
    promised_on = invoices["issued_on"] + pd.to_timedelta(days_after, unit="D")
    pay_by = promised_on + pd.to_timedelta(rng.integers(0, 60, n), unit="D")
    amount = invoices["amount"] * rng.choice([0.1, 0.25, 0.5, 1.0], n)
    return pd.DataFrame(
        {
            "invoice_id": invoices["invoice_id"],
            "promised_on": promised_on.astype(DAY_DTYPE),
            "pay_by": pay_by.astype(DAY_DTYPE),
            "amount": amount.round(2),
            "known_on": promised_on.astype(DAY_DTYPE),
        }
    ).reset_index(drop=True)


def test_what_is_undone_has_the_same_definitions_behind_the_gate(
    simulation: Simulation,
) -> None:
    """What is left of payments that came back is counted as any other payment is.

    The gate itself is compared with a second accounting in tests/property.
    """
    as_of = date(2023, 1, 31)
    ledger = undone(simulation.ledger, np.random.default_rng(4))
    known = known_on(ledger, as_of)
    assert len(known.money) > 10
    features = build_features(known, MATERIAL)
    from_sql = oracle(known.ledger, as_of, MATERIAL, known.money, told=ledger)
    require_equal(features, from_sql.reindex(features.index))
    assert (features["unapplied_amount"] > 0).sum() > 5
    assert features["returned_payments_90d"].nunique() > 2
    assert features["returned_payment_share_365d"].between(0.01, 0.99).sum() > 50
    before = build_features(known_on(simulation.ledger, as_of))
    assert (features["open_amount"] > before["open_amount"]).sum() > 50
    assert (features["open_amount"] < before["open_amount"]).sum() > 10


def undone(ledger: Ledger, rng: np.random.Generator) -> Ledger:
    """Return a ledger with returns, overpayments, extensions and cancellations."""
    payments = ledger["payments"]
    is_overpaid = rng.random(len(payments)) < 0.02
    amount = payments["amount"].mask(is_overpaid, payments["amount"] * 1.5)
    payments = payments.assign(amount=amount.round(2))
    back = payments.sample(frac=0.04, random_state=rng)
    returned_on = (back["paid_on"] + pd.Timedelta(days=9)).astype(DAY_DTYPE)
    returned = back.assign(
        payment_id="back-" + back["payment_id"],
        reverses=back["payment_id"],
        amount=-back["amount"],
        paid_on=returned_on,
        known_on=returned_on,
    )
    invoices = ledger["invoices"]
    extended = invoices.sample(frac=0.03, random_state=rng)
    extensions = pd.DataFrame(
        {
            "invoice_id": extended["invoice_id"],
            "extended_on": extended["due_on"],
            "due_on": (extended["due_on"] + pd.Timedelta(days=45)).astype(DAY_DTYPE),
            "known_on": extended["due_on"],
        }
    )
    cancelled = invoices.sample(frac=0.01, random_state=rng)
    cancellations = pd.DataFrame(
        {
            "invoice_id": cancelled["invoice_id"],
            "cancelled_on": cancelled["due_on"],
            "known_on": cancelled["due_on"],
        }
    )
    tables = {
        **ledger.tables,
        "payments": pd.concat([payments, returned], ignore_index=True),
        "extensions": extensions.reset_index(drop=True),
        "cancellations": cancellations.reset_index(drop=True),
    }
    return replace(ledger, tables=tables)


def test_every_feature_takes_many_values(simulation: Simulation) -> None:
    """An oracle that compares constants would prove nothing."""
    ledger = undone(with_reports(simulation.ledger), np.random.default_rng(4))
    features = build_features(known_on(ledger, date(2024, 12, 31)), MATERIAL)
    n_values = features.nunique()
    assert (n_values > 3).all(), n_values.sort_values().head()
