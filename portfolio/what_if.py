"""A portfolio, or one customer, under another rulebook: what if it applied."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from obligor.data.store import LedgerStore
from obligor.decisions.as_of import as_of_or_default
from obligor.decisions.bureau_reports import bureau_summaries
from obligor.decisions.champion import ChampionLoader
from obligor.decisions.questions import Body, Id
from obligor.decisions.rulebooks import Rulebooks
from obligor.errors import SchemaError, UnknownCustomerError
from obligor.policy.rulebooks.rulebook import Rulebook, folders, read_rulebook
from obligor.portfolio.comparison import Mover, compare_customer, movers, summary
from obligor.portfolio.decide_many import decide_many
from obligor.portfolio.snapshot import (
    Portfolio,
    StoredGroups,
    active_on,
    portfolio_of,
)

MOST_SIMULATED = 50_000  # customers in one request; the command takes any number


class SimulationRequest(Body):
    """Two rulebooks to compare on the loaded ledger; drafts too."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    from_: Annotated[str, Field(alias="from", pattern=r"^\d{4}-\d{2}-\d{2}$")]
    to: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    as_of: date | None = Field(
        None, description="By default the day of the ledger's export, or today"
    )
    customer_id: Id | None = Field(None, description="Only this customer: what if")


_Groups = dict[str, dict[str, dict[str, Any]]]
SimulationAnswer = TypedDict(
    "SimulationAnswer",
    {
        "from": str,
        "to": str,
        "as_of": date,
        "currency": str,
        "movers": list[Mover],
        "by": Annotated[
            _Groups,
            Field(description="In all, by grade, class, sector and country"),
        ],
    },
)
SimulationAnswer.__doc__ = (
    "The loaded ledger under two rulebooks; two numbers are before and after."
)


def what_if(
    portfolio: Portfolio,
    old: Rulebook,
    new: Rulebook,
    customer_id: str | None = None,
) -> dict[str, object]:
    """Return the changes from one rulebook to another; nothing is recorded.

    Parameters
    ----------
    portfolio : Portfolio
        The customers.
    old, new : Rulebook
        The rulebooks.
    customer_id : str, optional
        Compare this customer only.

    Returns
    -------
    dict
        The largest ``movers``, and the parts of `summary`; or the one customer only.

    Raises
    ------
    UnknownCustomerError
        If the customer was not known on the day.
    """
    if customer_id is not None:
        row = _row_of(customer_id, portfolio)
        return {"movers": [compare_customer(portfolio.facts(row), old, new)]}
    before = decide_many(portfolio, old)
    after = decide_many(portfolio, new)
    return {
        **summary(portfolio, before, after),
        "movers": movers(portfolio, old, new, before, after),
    }


def _row_of(customer_id: str, portfolio: Portfolio) -> int:
    if customer_id not in portfolio.customer_ids:
        raise UnknownCustomerError(
            f"no customer {customer_id!r} on {portfolio.as_of}",
            where="customer_id",
            do="ask about a customer of the ledger",
        )
    return list(portfolio.customer_ids).index(customer_id)


def what_if_answer(
    request: SimulationRequest,
    ledger: LedgerStore,
    champions: ChampionLoader,
    rulebooks: Rulebooks,
    today: date,
) -> SimulationAnswer:
    """Return the comparison on the loaded ledger; nothing is recorded.

    Parameters
    ----------
    request : SimulationRequest
        The two rulebooks, the as-of date, and the customer if only one is compared.
    ledger : LedgerStore
        The loaded ledger.
    champions : ChampionLoader
        Loads the model that serves.
    rulebooks : Rulebooks
        Its folder holds the two rulebooks, which may be drafts.
    today : date
        The current day: the latest as-of date.

    Returns
    -------
    SimulationAnswer
        What changes from one rulebook to the other.

    Raises
    ------
    AsOfError, SchemaError, UnknownCustomerError
        If the day, a rulebook or the customer does not exist, or the ledger is too
        large for one request.
    """
    as_of = as_of_or_default(request.as_of, ledger, today)
    old = _rulebook(rulebooks.folder, request.from_, "from")
    new = _rulebook(rulebooks.folder, request.to, "to")
    if len(ledger.customer_ids(MOST_SIMULATED + 1)) > MOST_SIMULATED:
        raise SchemaError(
            f"the ledger has more than {MOST_SIMULATED} customers",
            where="ledger store",
            do="run `obligor policy simulate`",
        )
    model = champions.for_customers().model
    reports = ledger.parties.every_report()
    customers = active_on(ledger.every(), as_of, model, reports)
    bureau = bureau_summaries(reports, ledger.account, as_of)
    groups = StoredGroups(ledger.parties.tree_on(as_of), customers.group_limits)
    portfolio = portfolio_of(
        customers.accounts,
        customers.rows,
        model,
        bureau,
        groups,
    )
    changes = what_if(portfolio, old, new, request.customer_id)
    return {
        "from": request.from_,
        "to": request.to,
        "as_of": as_of,
        "currency": portfolio.currency,
        "movers": cast(list[Mover], changes.pop("movers")),
        "by": cast(_Groups, changes),
    }


def _rulebook(
    root: Path,
    version: str,
    field: str,
) -> Rulebook:
    """A rulebook of the folder, drafts too.

    The version is looked up and never becomes part of a path.
    """
    by_version = {folder.name: folder for folder in folders(root)}
    if version not in by_version:
        raise SchemaError(
            f"no rulebook {version!r}",
            where=field,
            expected=f"one of {sorted(by_version)}",
        )
    return read_rulebook(by_version[version])
