"""Asking a recorded question again."""

from __future__ import annotations

from obligor.decisions.batch import Question, or_raise
from obligor.decisions.orders import OrderChecker
from obligor.decisions.questions import DecisionRequest, InlineLedger, OrderRequest
from obligor.decisions.spine import Decider
from obligor.errors import SchemaError
from obligor.record.entry import Entry


def reevaluate(
    kind: str, request: str, decider: Decider, orders: OrderChecker
) -> Entry:
    """Answer a recorded question with what is known today.

    Parameters
    ----------
    kind : {"decision", "order"}
        The kind of the entry.
    request : str
        The recorded request (JSON).
    decider : Decider
        Answers questions about customers.
    orders : OrderChecker
        Checks orders.

    Returns
    -------
    Entry
        With the new answer; it is not recorded yet.

    Raises
    ------
    SchemaError
        If the request came with its own ledger.
    ObligorError
        If it cannot be answered today.
    """
    if kind == "decision":
        question = DecisionRequest.model_validate_json(request)
        _require_stored_ledger(question.ledger)
        today = question.model_copy(update={"as_of": None})
        return or_raise(decider.new_entries([Question(today)])[0])
    order = OrderRequest.model_validate_json(request)
    _require_stored_ledger(order.ledger)
    return orders.new_entry(order.model_copy(update={"as_of": None}))


def _require_stored_ledger(ledger: InlineLedger | None) -> None:
    if ledger is not None:
        raise SchemaError(
            "the request came with its own ledger",
            where="case_id",
            do="send a new request with the current ledger",
        )
