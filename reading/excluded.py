"""What happened to invoices that a mapping leaves out by `where`."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from obligor.data.column_reading import EMPTY_TEXTS, texts_of
from obligor.data.findings import Finding
from obligor.data.ledger import OF_INVOICE


def currencies_by_invoice(frame: pd.DataFrame, empty: tuple[str, ...]) -> pd.Series:
    """Return the currency of each invoice by its id; None if a row has none.

    Parameters
    ----------
    frame : DataFrame
        Our columns of invoices, still in the source's own types.
    empty : tuple of str
        Texts that stand for nothing, besides the usual ones.
    """
    if "invoice_id" not in frame:
        return pd.Series(dtype="object")
    texts = frame.reindex(columns=["invoice_id", "currency"])
    for column in texts:
        texts[column] = texts_of(texts[column], (*EMPTY_TEXTS, *empty))
    with_id = texts[texts["invoice_id"].notna()]
    return with_id.drop_duplicates("invoice_id").set_index("invoice_id")["currency"]


def drop_events_of_excluded(
    frames: dict[str, pd.DataFrame],
    excluded: pd.Series,
    currency: str,
) -> Iterator[Finding]:
    """Drop what happened to excluded invoices, with a note for each table.

    Parameters
    ----------
    frames : dict of str to DataFrame
        The tables; those of events lose rows.
    excluded : Series of str
        The currency of each excluded invoice by its id.
    currency : str
        The reporting currency, for invoices without one.
    """
    if "invoice_id" not in frames["invoices"]:
        return
    is_read_too = excluded.index.isin(frames["invoices"]["invoice_id"])
    excluded = excluded[~is_read_too].fillna(currency)
    for table in OF_INVOICE:
        frame = frames.get(table)
        if frame is None or "invoice_id" not in frame:
            continue
        is_excluded = frame["invoice_id"].isin(excluded.index)
        if not is_excluded.any():
            continue
        frames[table] = frame[~is_excluded]
        dropped = frame[is_excluded]
        noun = "row is" if len(dropped) == 1 else "rows are"
        money = _money(dropped, dropped["invoice_id"].map(excluded))
        yield Finding(
            level="note",
            table=table,
            column="",
            row=None,
            what=f"{len(dropped):,} {noun} of excluded invoices{money}; not used",
            expected="",
        )


def _money(events: pd.DataFrame, currencies: pd.Series) -> str:
    """Return the amounts of events by currency, for a message."""
    if "amount" not in events:
        return ""
    sums = events.groupby(currencies)["amount"].sum()
    amounts = [f"{amount:,.2f} {currency}" for currency, amount in sums.items()]
    return f" ({', '.join(amounts)})"
