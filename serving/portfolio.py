"""A ledger's customers on one day, scored, as the rule layer simulates them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from obligor.data.account import ITEM_KNOWN, Account, accounts_of, day_number, rates_of
from obligor.data.asof import KnownAccount, known_account
from obligor.data.ledger import Ledger
from obligor.errors import AsOfError, SchemaError, UnknownCustomerError
from obligor.features.build import account_features
from obligor.features.catalogue import NAMES
from obligor.policy.rulebook import Rulebook, folders, read_rulebook
from obligor.policy.simulate import Portfolio, movers, simulate, summary, what_if
from obligor.serving.promises import promises_of
from obligor.serving.questions import SimulationRequest
from obligor.serving.scoring import Engine
from obligor.training.pd_model import PdModel

MOST_SIMULATED = 50_000  # customers, in one request


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
        if (one.items[ITEM_KNOWN] <= day).any()
    ]
    if not known:
        raise AsOfError(
            f"no invoice was known on {as_of}", where="as_of", do="ask for a later day"
        )
    return known, account_features(known)


def simulation(
    portfolio: Portfolio, old: Rulebook, new: Rulebook, customer_id: str | None
) -> dict[str, Any]:
    """Return what changes from one rulebook to another: by groups with the largest movers, or for one customer.

    Raises
    ------
    UnknownCustomerError
        Where that customer was not known on the day.
    """
    if customer_id is not None:
        if customer_id not in portfolio.customer_ids:
            said = f"no customer {customer_id!r} on {portfolio.as_of}"
            raise UnknownCustomerError(
                said, where="customer_id", do="ask about one of the ledger"
            )
        facts = portfolio.facts(list(portfolio.customer_ids).index(customer_id))
        return {"movers": [what_if(customer_id, facts, old, new)]}
    before, after = simulate(portfolio, old), simulate(portfolio, new)
    return {
        **summary(portfolio, before, after),
        "movers": movers(portfolio, old, new, before, after),
    }


def simulation_answer(asked: SimulationRequest, engine: Engine) -> bytes:
    """Return a simulation on the loaded ledger as JSON; nothing is recorded.

    Raises
    ------
    AsOfError, SchemaError, UnknownCustomerError
        Where day, rulebook or customer are not there, or the ledger is too large for one request.
    """
    as_of = engine.day(asked.as_of)
    books = [
        _rulebook(engine.rules, version, where)
        for version, where in ((asked.from_, "from"), (asked.to, "to"))
    ]
    if len(engine.ledger.customer_ids(MOST_SIMULATED + 1)) > MOST_SIMULATED:
        do = "run `obligor policy simulate`"
        raise SchemaError(
            f"more than {MOST_SIMULATED} customers", where="ledger store", do=do
        )
    portfolio = portfolio_of(
        *active_on(engine.ledger.every(), as_of), engine.champions.of_ledger().model
    )
    found = simulation(portfolio, books[0], books[1], asked.customer_id)
    answer = {
        "from": asked.from_,
        "to": asked.to,
        "as_of": as_of,
        "currency": portfolio.currency,
        "movers": found.pop("movers"),
        "by": found,
    }
    return orjson.dumps(answer, default=str)


def _rulebook(rules: Path, version: str, where: str) -> Rulebook:
    """A rulebook of the folder, drafts too; the version is looked up, never put into a path."""
    found = {folder.name: folder for folder in folders(rules)}
    if version not in found:
        raise SchemaError(
            f"no rulebook {version!r}", where=where, expected=f"one of {sorted(found)}"
        )
    return read_rulebook(found[version])
