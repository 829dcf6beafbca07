"""Ledgers as small ASCII tables: a test is a table and the expected result."""

from __future__ import annotations

import pandas as pd

from obligor.data.account import Account
from obligor.data.account_building import account_of_rows
from obligor.data.ledger import (
    CONTRACTS,
    DAY_DTYPE,
    Ledger,
    day_columns,
    empty_table,
    number_columns,
)


def table(name: str, text: str) -> pd.DataFrame:
    """Read ``a | b`` lines into a table of the ledger; a dash is 'not known'; `known_on` is filled in."""
    lines = [
        [cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()
    ]
    frame = pd.DataFrame(lines[1:], columns=lines[0], dtype="str")
    frame = frame.where(frame != "-")
    if not len(frame):
        return empty_table(name)
    for column, rule in CONTRACTS[name].columns.items():
        fills = (rule.metadata or {}).get("fills")
        if column not in frame and fills:
            frame[column] = frame[fills]
        elif column not in frame and column == "kind":
            frame[column] = "payment"
        elif column not in frame and column == "payment_id":
            frame[column] = [f"P{row}" for row in frame.index]
        elif column not in frame and column == "currency":
            frame[column] = "EUR"
    for column in frame:
        if column in day_columns(name):
            frame[column] = pd.to_datetime(frame[column]).astype(DAY_DTYPE)
        elif column in number_columns(name):
            frame[column] = frame[column].astype("float64")
    return frame


def ledger(**tables: str) -> Ledger:
    """Read named tables; customers, where absent, are those of the invoices, registered on 2020-01-01."""
    frames = {name: table(name, text) for name, text in tables.items()}
    frames.setdefault("payments", empty_table("payments"))
    if "customers" not in frames:
        ids = sorted(set(frames["invoices"]["customer_id"]))
        rows = "\n".join(f"{customer} | 2020-01-01" for customer in ids)
        frames["customers"] = table("customers", f"customer_id | registered_on\n{rows}")
    return Ledger(frames, "EUR")


def account(whole: Ledger, customer_id: str) -> Account:
    """One customer's part of a ledger, by its rows."""
    return account_of_rows(customer_id, whole.currency, rows(whole, customer_id))


def rows(whole: Ledger, customer_id: str) -> dict[str, list[dict[str, object]]]:
    """One customer's rows of a ledger, all its rates with them."""
    invoices = whole["invoices"]
    mine = set(invoices.loc[invoices["customer_id"] == customer_id, "invoice_id"])
    found = {}
    for name in whole.tables:
        frame = whole[name]
        if "customer_id" in frame:
            frame = frame[frame["customer_id"] == customer_id]
        elif "invoice_id" in frame:
            frame = frame[frame["invoice_id"].isin(mine)]
        found[name] = [
            {str(key): _plain(value) for key, value in row.items()}
            for row in frame.to_dict("records")
        ]
    return found


def _plain(value: object) -> object:
    if value is pd.NaT or (isinstance(value, float) and value != value):
        return None
    return value.date() if isinstance(value, pd.Timestamp) else value
