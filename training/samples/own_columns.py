"""Features of one's own in a sample: behind the gate, and checked for leaks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import numpy as np
import pandas as pd

from obligor.data.account import Account
from obligor.data.account_building import accounts_of
from obligor.data.asof import known_account, known_on
from obligor.data.ledger import Ledger
from obligor.errors import SchemaError
from obligor.features.own import OwnFeatures

CHECKED = 50  # customers of a date whose values are computed without any future
CHECKED_DATES = 3  # the first, the last and one between


def accounts_by_customer(ledger: Ledger) -> dict[str, Account]:
    """Return the account of every customer, by id."""
    return {account.customer_id: account for account in accounts_of(ledger)}


def own_columns(
    own: OwnFeatures,
    accounts: Mapping[str, Account],
    customer_ids: pd.Index,
    as_of: date,
) -> pd.DataFrame:
    """Return the features of some customers on a date.

    Parameters
    ----------
    own : OwnFeatures
        What is computed.
    accounts : mapping of Account
        The accounts, the future included, by customer.
    customer_ids : Index
        Which customers.
    as_of : date
        The day whose knowledge counts: each account passes the gate first.

    Raises
    ------
    SchemaError
        If a function fails, or its value lies outside the stated range.
    """
    known = [known_account(accounts[str(name)], as_of) for name in customer_ids]
    return pd.DataFrame(
        own.rows(known),
        index=customer_ids,
        columns=list(own.names),
    )


def require_no_leaks(
    own: OwnFeatures,
    ledger: Ledger,
    rows: pd.DataFrame,
    as_of: date,
) -> None:
    """Compute features again from a ledger that ends on the date; refuse differences.

    Parameters
    ----------
    own : OwnFeatures
        What is computed.
    ledger : Ledger
        The whole ledger.
    rows : DataFrame
        Index ``customer_id``; the features as they were computed on the date.
    as_of : date
        The date.

    Raises
    ------
    SchemaError
        If a value depends on what was not known, or on anything but the account.
    """
    chosen = rows.index[:CHECKED]
    ended = known_on(ledger, as_of).ledger
    accounts = accounts_by_customer(ended)
    again = own_columns(own, accounts, chosen, as_of)
    for name in own.names:
        before = rows.loc[chosen, name].to_numpy()
        after = again[name].to_numpy()
        if not np.array_equal(before, after, equal_nan=True):
            raise SchemaError(
                f"on {as_of} its value differs if the ledger ends on that day",
                where=f"own feature {name}",
                expected="a function of the account that it is given, and of nothing "
                "else",
                do="read only `known.account`, no files, no clock and no other state",
            )


def with_own_columns(
    own: OwnFeatures,
    ledger: Ledger,
    rows: pd.DataFrame,
) -> pd.DataFrame:
    """Return the rows of a sample with features of one's own behind the others.

    Parameters
    ----------
    own : OwnFeatures
        What is computed.
    ledger : Ledger
        The whole ledger.
    rows : DataFrame
        Index ``customer_id``; column ``as_of``, and others that are kept.

    Raises
    ------
    SchemaError
        If a function fails, or a value lies outside its range or looks past its date.
    """
    accounts = accounts_by_customer(ledger)
    dates = sorted(set(rows["as_of"]))
    n_steps = min(CHECKED_DATES, len(dates))
    places = np.linspace(0, len(dates) - 1, n_steps)
    checked = {dates[int(place)] for place in places}
    parts = list[pd.DataFrame]()
    for as_of in dates:
        on_date = rows[rows["as_of"] == as_of]
        columns = own_columns(own, accounts, on_date.index, as_of)
        if as_of in checked:
            require_no_leaks(own, ledger, columns, as_of)
        parts.append(on_date.join(columns))
    return pd.concat(parts)
