"""The loaded ledger under two rulebooks, as a simulation to read."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import ConfigDict, Field

from obligor.decisions.engine import Engine
from obligor.decisions.questions import Body, Id
from obligor.errors import SchemaError, UnknownCustomerError
from obligor.policy.rulebooks.rulebook import Rulebook, folders, read_rulebook
from obligor.portfolio.decide_many import Portfolio, movers, simulate, summary, what_if
from obligor.portfolio.snapshot import active_on, portfolio_of

MOST_SIMULATED = 50_000  # customers, in one request


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


class SimulationRequest(Body):
    """Two rulebooks to compare on the loaded ledger; drafts too."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    from_: Annotated[str, Field(alias="from", pattern=r"^\d{4}-\d{2}-\d{2}$")]
    to: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    as_of: date | None = Field(None, description="Default the ledger's last day")
    customer_id: Id | None = Field(None, description="Only this customer: what if")
