"""From source rows to accounts: what is written into the ledger store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date

import pandas as pd
import sqlalchemy as sa

from obligor.data.account import EarlierMaster, packed_columns
from obligor.data.account_building import (
    LedgerFrame,
    accounts_of,
    currencies_of,
    rates_of,
)
from obligor.data.column_reading import is_missing
from obligor.data.coverage import Coverage
from obligor.data.days import day_number
from obligor.data.ledger import CONTRACTS, DAY_DTYPE, Ledger, empty_table
from obligor.data.ledger_tables import RATES
from obligor.data.row_ownership import is_shared, owned_tables
from obligor.data.row_packing import OWNER, SET_ASIDE, STATED_ON, UNTIL
from obligor.data.row_store import LedgerState, RowStore, StoredAccount
from obligor.data.updating import first_rows

# Before every day of a ledger.
EVER = pd.Timestamp("1900-01-01").as_unit("s")
SET_ASIDE_COLUMNS = (OWNER, "table", "key")


def no_rows(table: str) -> pd.DataFrame:
    """Return a stored table without rows."""
    if table == SET_ASIDE:
        no_day = pd.Series(dtype=DAY_DTYPE)
        return first_rows(nothing_set_aside().assign(known_on=no_day))
    frame = empty_table(table)
    if OWNER not in frame:
        frame[OWNER] = pd.Series(dtype="str")
    return first_rows(frame)


def nothing_set_aside() -> pd.DataFrame:
    """Return a table of rows that could not be used, without any."""
    return pd.DataFrame({name: pd.Series(dtype="str") for name in SET_ASIDE_COLUMNS})


def first_state(ledger: Ledger) -> LedgerState:
    """Return the state of a ledger that is loaded for the first time."""
    return LedgerState(
        currency=ledger.currency,
        currencies=currencies_of(ledger),
        unapplied_policy=ledger.unapplied_policy,
        coverage=(Coverage(date.min, ledger.observed_until),),
        tables=frozenset(ledger.tables),
    )


def ledger_of_rows(
    tables: Mapping[str, pd.DataFrame],
    state: LedgerState,
) -> Ledger:
    """Return stored rows as a ledger whose rows have the column ``until``.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Every stored row of some customers, and the shared tables.
    state : LedgerState
        What is true of the whole ledger.
    """
    frames = {}
    for table, frame in tables.items():
        if table != SET_ASIDE:
            frames[table] = _of_contract(table, frame)
    for table in ("customers", "invoices", "payments"):
        frames.setdefault(table, _of_contract(table, no_rows(table)))
    # Who a customer is has no days: the rows of now count.
    for table in ("customers", "contacts"):
        if table in frames:
            frames[table] = frames[table][frames[table][UNTIL].isna()]
    marks = tables.get(SET_ASIDE, no_rows(SET_ASIDE))
    return Ledger(
        frames,
        state.currency,
        unapplied_policy=state.unapplied_policy,
        set_aside=counts_of(marks[marks[UNTIL].isna()]),
    )


def parts_of(tables: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, pd.DataFrame]]:
    """Yield the rows in parts in which an id belongs to one customer.

    An invoice that moved has rows of two customers, in one part each. Customers who
    have a document, or an invoice and a document, of one id are apart, too: what is
    booked on it was given to one of them when it arrived.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Every stored row of some customers.
    """
    invoices = tables.get("invoices", no_rows("invoices"))
    owners = invoices[["invoice_id", OWNER]].drop_duplicates()
    if "document_id" in invoices and invoices["document_id"].notna().any():
        documents = invoices[["document_id", OWNER]].dropna().drop_duplicates()
        documents = documents.set_axis(["invoice_id", OWNER], axis=1)
        owners = pd.concat([owners, documents]).drop_duplicates()
    is_shared_id = owners["invoice_id"].duplicated(keep=False)
    sharing = owners.loc[is_shared_id, OWNER].unique().tolist()
    if sharing:
        others = {}
        for table, frame in tables.items():
            others[table] = frame[~frame[OWNER].isin(sharing)]
        yield others
    else:
        yield dict(tables)
    for customer_id in sharing:
        own = {}
        for table, frame in tables.items():
            own[table] = frame[frame[OWNER] == customer_id]
        yield own


def earlier_masters(
    tables: Mapping[str, pd.DataFrame],
) -> dict[str, tuple[EarlierMaster, ...]]:
    """Return what was true of customers before it changed, by customer.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Every stored row of some customers.
    """
    customers = tables.get("customers", no_rows("customers"))
    marks = tables.get(SET_ASIDE, no_rows(SET_ASIDE))
    ends = [
        customers[[OWNER, UNTIL]],
        marks[[OWNER, UNTIL]],
        # It counts from the day on which it was set aside.
        marks.loc[marks["known_on"] > EVER, [OWNER, "known_on"]].set_axis(
            [OWNER, UNTIL], axis=1
        ),
    ]
    changes = pd.concat(ends, ignore_index=True).dropna().drop_duplicates()
    masters: dict[str, tuple[EarlierMaster, ...]] = {}
    for customer_id, days in changes.sort_values(UNTIL).groupby(OWNER)[UNTIL]:
        own_rows = customers[customers[OWNER] == customer_id]
        own_marks = marks[marks[OWNER] == customer_id]
        earlier = [_master_until(day, own_rows, own_marks) for day in days]
        masters[str(customer_id)] = tuple(filter(None, earlier))
    return masters


def _master_until(
    day: pd.Timestamp,
    rows: pd.DataFrame,
    marks: pd.DataFrame,
) -> EarlierMaster | None:
    """Return what was true of a customer on the day before a day, None if nothing."""
    day_before = day - pd.Timedelta(days=1)
    # The first version counts for the days before it was known, too.
    started = rows[(rows["known_on"] <= day_before) | (rows.index == rows.index[0])]
    true_then = started[~(started[UNTIL] <= day_before)]
    if true_then.empty:
        return None
    row = true_then.iloc[-1].fillna({"sector": "", "country": ""})
    is_set_aside = (marks["known_on"] <= day_before) & ~(marks[UNTIL] <= day_before)
    return EarlierMaster(
        until=day_number(day.date()),
        registered_on=day_number(row["registered_on"].date()),
        known_on=day_number(row["known_on"].date()),
        sector=str(row.get("sector", "")),
        country=str(row.get("country", "")),
        set_aside=int(is_set_aside.sum()),
        group_limit=_number_or_none(row.get("group_limit")),
    )


def _number_or_none(value: object) -> float | None:
    """Return a cell as a number, None if it is empty or the table lacks its column."""
    return None if value is None or is_missing(value) else float(str(value))


def _of_contract(table: str, frame: pd.DataFrame) -> pd.DataFrame:
    if table == "limits":
        frame = frame[~_corrects_the_past(frame)]
    columns = [*CONTRACTS[table].columns, UNTIL]
    return frame[[name for name in columns if name in frame]]


def _corrects_the_past(limits: pd.DataFrame) -> pd.Series:
    """Return which limits change an earlier one that had been followed by another.

    The last limit that became known counts, and such a row is not it.
    """
    is_change: pd.Series = limits[STATED_ON].notna()
    if not is_change.any():
        return is_change
    stated_on = limits[STATED_ON].fillna(limits["known_on"])
    rows = pd.DataFrame(
        {
            OWNER: limits[OWNER],
            "known_on": limits["known_on"],
            "stated_on": stated_on,
        }
    )
    ordered = rows.sort_values("known_on", kind="stable")
    last_stated = ordered.groupby(OWNER)["stated_on"].cummax()
    is_earlier: pd.Series = rows["stated_on"] < last_stated.reindex(rows.index)
    return is_change & is_earlier


def packed_accounts(
    ledger: Ledger,
    state: LedgerState,
    masters: Mapping[str, tuple[EarlierMaster, ...]],
) -> Iterator[StoredAccount]:
    """Yield every customer's account of a ledger, packed.

    Parameters
    ----------
    ledger : Ledger
        The rows, with ``until`` if some of them ended.
    state : LedgerState
        What is true of the whole ledger.
    masters : mapping of str to tuple of EarlierMaster
        What was true of customers before it changed.
    """
    whole = LedgerFrame(state.currencies, state.observed_until)
    for account in accounts_of(ledger, whole):
        earlier = masters.get(account.customer_id)
        if earlier:
            account = replace(account, earlier=earlier)
        yield StoredAccount(account.customer_id, account.packed())


def write_first(
    rows: RowStore,
    connection: sa.Connection,
    ledger: Ledger,
    set_aside: pd.DataFrame,
) -> None:
    """Write a whole ledger into an empty store.

    Parameters
    ----------
    rows : RowStore
        Writes the rows.
    connection : Connection
        In a transaction.
    ledger : Ledger
        A checked ledger.
    set_aside : DataFrame
        Rows that could not be used: ``customer_id``, ``table`` and ``key``.
    """
    state = first_state(ledger)
    tables = {table: first_rows(frame) for table, frame in owned_tables(ledger).items()}
    complete = replace(ledger, set_aside=counts_of(set_aside))
    accounts = packed_accounts(complete, state, {})
    if len(set_aside):
        # Nobody knows since when they are missing: they count for every day.
        tables[SET_ASIDE] = first_rows(set_aside.assign(known_on=EVER))
    rows.write(connection, tables, accounts)
    rows.write_ids(connection, tables)
    for table in ledger.tables:
        if is_shared(table):
            shared = first_rows(ledger[table]).assign(**{OWNER: ""})
            rows.write_shared(connection, table, shared)
    write_rates(connection, ledger)
    rows.save_state(connection, state)


def counts_of(marks: pd.DataFrame) -> dict[str, int]:
    """Return how many rows each customer has, by customer."""
    sizes = marks.groupby(OWNER).size()
    return {str(customer_id): int(size) for customer_id, size in sizes.items()}


def write_rates(connection: sa.Connection, ledger: Ledger) -> None:
    """Replace the stored rates with those of a ledger."""
    connection.execute(RATES.delete())
    rates = [
        {"currency": currency, "rates": packed_columns(columns)}
        for currency, columns in rates_of(ledger).items()
    ]
    if rates:
        connection.execute(RATES.insert(), rates)
