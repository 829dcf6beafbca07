"""Whose each row of a ledger is: stated, or that of its invoice or payment."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from obligor.data.ledger import CONTRACTS, Ledger
from obligor.data.row_packing import OWNER
from obligor.errors import SchemaError

# Returns the owner of ids of a table, by id; unknown ids are missing.
Lookup = Callable[[str, pd.Series], pd.Series]
# The columns that lead to a customer.
_LEADS = (OWNER, "invoice_id", "payment_id")
# The owners of these are needed for those of the others.
_FIRST_TABLES = ("customers", "invoices", "payments")


def is_shared(table: str) -> bool:
    """Return whether the rows of a table belong to no customer, as rates do.

    Examples
    --------
    >>> [table for table in ("invoices", "promises", "fx_rates") if is_shared(table)]
    ['fx_rates']
    """
    return not any(column in CONTRACTS[table].columns for column in _LEADS)


def no_lookup(table: str, ids: pd.Series) -> pd.Series:
    """Return no owner: for a ledger whose rows refer to its own rows only."""
    return pd.Series(dtype="str")


def owned_tables(ledger: Ledger, lookup: Lookup = no_lookup) -> dict[str, pd.DataFrame]:
    """Return the tables of a ledger in which every row names its customer.

    Parameters
    ----------
    ledger : Ledger
        A checked ledger.
    lookup : callable
        Finds the owners of invoices and payments that the ledger does not hold.

    Returns
    -------
    dict of str to DataFrame
        The tables but those of `is_shared`, their rows numbered from 0.

    Raises
    ------
    SchemaError
        If a row leads to no customer.
    """
    ownership = Ownership(lookup)
    first = [table for table in _FIRST_TABLES if table in ledger.tables]
    others = [table for table in ledger.tables if table not in first]
    tables = {}
    for table in [*first, *others]:
        if is_shared(table):
            continue
        frame = ledger[table].reset_index(drop=True)
        owner = ownership.of_rows(table, frame)
        if owner.isna().any():
            raise SchemaError(
                f"{int(owner.isna().sum()):,} rows lead to no customer",
                where=f"[{table}]",
                expected="an invoice, a payment or a customer of the ledger",
            )
        tables[table] = frame.assign(**{OWNER: owner.astype("str")})
        ownership.learn(table, tables[table])
    return tables


def owners_of_items(lookup: Lookup, ids: pd.Series) -> pd.Series:
    """Return the customers of what rows refer to, by id; unknown ids are missing.

    Parameters
    ----------
    lookup : callable
        Finds the owners of stored ids.
    ids : Series of str
        Ids of invoices, or of documents: an invoice is meant first.
    """
    owners = lookup("invoices", ids)
    others = ids[ids.notna() & ~ids.isin(owners.index)]
    if others.empty:
        return owners
    documents = lookup("documents", others)
    return owners if documents.empty else pd.concat([owners, documents])


class Ownership:
    """Finds the owners of rows, from what it was told of invoices and payments.

    Parameters
    ----------
    lookup : callable
        Finds the owners of other invoices and payments.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._owners = {
            "invoices": pd.Series(dtype="str"),
            "payments": pd.Series(dtype="str"),
        }

    def learn(self, table: str, owned: pd.DataFrame) -> None:
        """Remember whose the invoices or payments of a table are."""
        column = f"{table[:-1]}_id"
        if table not in self._owners or not {column, OWNER} <= set(owned):
            return
        stated = owned[[column, OWNER]].dropna()
        owners = stated.drop_duplicates(column).set_index(column)[OWNER]
        if "document_id" in owned:
            documents = _owners_of_documents(owned)
            owners = pd.concat([owners, documents.drop(owners.index, errors="ignore")])
        known = self._owners[table]
        self._owners[table] = pd.concat(
            [known, owners.drop(known.index, errors="ignore")]
        )

    def of_rows(self, table: str, frame: pd.DataFrame) -> pd.Series:
        """Return the customer of each row, empty if it leads to none."""
        stated = frame.get(OWNER, pd.Series(None, index=frame.index, dtype="str"))
        if table in ("customers", "invoices"):
            return stated
        # An invoice decides: its customer may have changed since the row was written.
        leads = [("invoices", "invoice_id"), ("payments", "reverses")]
        if table != "payments":
            leads.append(("payments", "payment_id"))
        owner = pd.Series(None, index=frame.index, dtype="str")
        for number, (home, column) in enumerate(leads):
            if column in frame and owner.isna().any():
                owner = owner.fillna(self._by_id(home, frame[column], owner.isna()))
            if number == 0:
                owner = owner.fillna(stated)
        return owner

    def _by_id(
        self,
        home: str,
        ids: pd.Series,
        is_needed: pd.Series,
    ) -> pd.Series:
        # Of an empty mapping the type would be that of numbers.
        owners = ids.map(self._owners[home]).astype("str")
        is_unknown = is_needed & owners.isna() & ids.notna()
        if is_unknown.any():
            unknown_ids = ids[is_unknown]
            if home == "invoices":
                stored = owners_of_items(self._lookup, unknown_ids)
            else:
                stored = self._lookup(home, unknown_ids)
            owners = owners.fillna(ids.map(stored).astype("str"))
        return owners


def _owners_of_documents(invoices: pd.DataFrame) -> pd.Series:
    """Return the owner of each document; that of several customers is nobody's."""
    stated = invoices[["document_id", OWNER]].dropna().drop_duplicates()
    is_shared = stated["document_id"].duplicated(keep=False)
    owners: pd.Series = stated[~is_shared].set_index("document_id")[OWNER]
    return owners
