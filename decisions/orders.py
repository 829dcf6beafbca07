"""Checks of orders: may this order go out?"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import isnan

from obligor.decisions.answer import Stamp
from obligor.decisions.batch import Question
from obligor.decisions.champion import Champion
from obligor.decisions.facts import DecidedQuestion
from obligor.decisions.order_answer import CheckedOrder, order_entry
from obligor.decisions.questions import OrderRequest
from obligor.decisions.recorded import AnswerRecord, RecordedAnswer
from obligor.decisions.spine import Decider
from obligor.policy.credit.orders import OrderBook, check_order
from obligor.record.entry import Entry


@dataclass(frozen=True)
class OrderChecker:
    """Checks orders against the decision about their customer.

    Attributes
    ----------
    decider : Decider
        Decides on the customer.
    answers : AnswerRecord
        Where answers are recorded.
    """

    decider: Decider
    answers: AnswerRecord

    def check(
        self,
        request: OrderRequest,
        key: str | None = None,
        requested_by_key: str | None = None,
    ) -> RecordedAnswer:
        """Return the recorded answer to an order; a repeated key gets the same answer.

        Parameters
        ----------
        request : OrderRequest
            The order.
        key : str, optional
            The idempotency key.
        requested_by_key : str, optional
            The name of the API key that requested it; kept with the entry.

        Returns
        -------
        RecordedAnswer
            Durable when it is returned.

        Raises
        ------
        ObligorError
            If the order cannot be checked.
        """
        return self.answers.answer_once(
            request, key, lambda: self.new_entry(request, key, requested_by_key)
        )

    def new_entry(
        self,
        request: OrderRequest,
        key: str | None = None,
        requested_by_key: str | None = None,
    ) -> Entry:
        """Check an order; return the entry, not yet recorded.

        Parameters
        ----------
        request : OrderRequest
            The order.
        key : str, optional
            The idempotency key.
        requested_by_key : str, optional
            The name of the API key that requested it.

        Returns
        -------
        Entry
            With the answer as its body.

        Raises
        ------
        ObligorError
            If the order cannot be checked.
        """
        question = Question(request.question(), key, requested_by_key)
        orders = [request.order, *request.unbilled]
        currencies = [order.currency for order in orders]
        decided = self.decider.decide_unrecorded(question, currencies)
        champion = self.decider.champions.for_customers()
        return checked_entry(decided, request, champion, self.decider.stamp())


def checked_entry(
    decided: DecidedQuestion, request: OrderRequest, champion: Champion, stamp: Stamp
) -> Entry:
    """Check an order against the decision about its customer.

    Parameters
    ----------
    decided : DecidedQuestion
        The decision about the customer.
    request : OrderRequest
        The order.
    champion : Champion
        The model that scored the customer.
    stamp : Stamp
        Id and time of the entry.

    Returns
    -------
    Entry
        With the answer as its body.
    """
    order = decided.known_question.order(request.order)
    unbilled = [decided.known_question.order(body) for body in request.unbilled]
    idle = decided.facts.features["days_since_last_invoice"]
    idle_days = None if isnan(idle) else Decimal(str(idle))
    book = OrderBook(decided.known_question.account.as_of, tuple(unbilled), idle_days)
    check = check_order(order, book, decided.decision, decided.rulebook)
    checked = CheckedOrder(request, order, check)
    return order_entry(decided, checked, champion, stamp)
