"""A ledger's customers on one day, scored, as the rule layer simulates them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from obligor.data.account import Account
from obligor.data.account_building import accounts_of, rates_of
from obligor.data.asof import KnownAccount, known_account
from obligor.data.days import day_number
from obligor.data.ledger import Ledger
from obligor.decisions.facts import promises_of
from obligor.errors import AsOfError
from obligor.features.build import account_features
from obligor.features.catalogue import NAMES
from obligor.model.pd_model import PdModel
from obligor.portfolio.decide_many import Portfolio


def portfolio_of(
    people: Sequence[KnownAccount], rows: NDArray[np.float64], model: PdModel
) -> Portfolio:
    """Return the customers of `active_on` with PD, features and the last statement."""
    standing = np.array([one.account.last_statement() for one in people])
    groups = {
        name: np.array([getattr(one.account, name) for one in people])
        for name in ("sector", "country")
    }
    promises = ((place, promises_of(one)) for place, one in enumerate(people))
    return Portfolio(
        customer_ids=[one.account.customer_id for one in people],
        currency=people[0].account.currency,
        as_of=people[0].as_of,
        pd_12m=model.predict_pd_12m(rows),
        features=dict(zip(NAMES, np.ascontiguousarray(rows.T), strict=True)),
        equity=standing[:, 0],
        turnover=standing[:, 1],
        groups={name: found for name, found in groups.items() if (found != "").any()},
        promises={place: found for place, found in promises if found},
    )


def ledger_accounts(ledger: Ledger) -> Iterator[Account]:
    """Give every account of a ledger, with the rates it needs."""
    rates = rates_of(ledger)
    for account in accounts_of(ledger):
        foreign = {code: rates[code] for code in account.currencies if code in rates}
        yield replace(account, rates=foreign) if foreign else account


def active_on(
    accounts: Iterable[Account], as_of: date
) -> tuple[list[KnownAccount], NDArray[np.float64]]:
    """Return what was known of each account that had an invoice by a day, and the features, shape (n, features).

    Raises
    ------
    AsOfError
        Where none had.
    """
    day = day_number(as_of)
    known = [
        known_account(one, as_of)
        for one in accounts
        if (one.items.known_on <= day).any()
    ]
    if not known:
        raise AsOfError(
            f"no invoice was known on {as_of}", where="as_of", do="ask for a later day"
        )
    return known, account_features(known)
