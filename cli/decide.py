"""The command that decides on a loaded customer, and how a decision is printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from obligor.cli.arguments import (
    AsJson,
    AsOf,
    Store,
    command_context,
    console,
    error_console,
    with_options,
)
from obligor.errors import SchemaError

JsonObject = dict[str, Any]  # an answer, perhaps of a service of another version


@dataclass(frozen=True)
class DecideOptions:
    """The options of `obligor decide`."""

    customer_id: str
    as_of: AsOf = None
    amount: Annotated[str | None, typer.Option(help="Amount requested")] = None
    currency: Annotated[str, typer.Option(help="Currency of the amount")] = "EUR"
    store: Store = Path("store")
    as_json: AsJson = False


@with_options(DecideOptions)
def decide(options: DecideOptions) -> None:
    """Decide on a loaded customer and record the decision, as the service would.

    Example: `obligor decide C0000012 --amount 2500 --currency EUR`
    """
    from pydantic import ValidationError

    from obligor.decisions.batch import Question
    from obligor.decisions.questions import DecisionRequest

    question: dict[str, object] = {
        "customer_id": options.customer_id,
        "as_of": options.as_of,
    }
    if options.amount:
        question["request"] = {"amount": options.amount, "currency": options.currency}
    try:
        request = DecisionRequest.model_validate_json(json.dumps(question))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise SchemaError(first["msg"], where=field) from None
    context = command_context()
    service = context.service(options.store)
    context.as_of(options.as_of, service.ledger.exported_on())
    for sentence in service.ledger.left_out().values():
        error_console.print(sentence, style="yellow", markup=False, highlight=False)
    body = service.decider.answer(Question(request)).body
    if options.as_json:
        print(body)
    else:
        print_decision(json.loads(body))


def print_decision(answer: JsonObject) -> None:
    """Print a recorded decision as a table."""
    table = Table(
        show_header=False,
        title=f"{answer['customer_id']} as of {answer['as_of']}",
    )
    for label, text in _rows(answer):
        table.add_row(label, text)
    console.print(table)


def _rows(answer: JsonObject) -> Iterator[tuple[str, str]]:
    yield "outcome", f"[b]{answer['outcome']}[/b]"
    yield (
        "PD, 12 months",
        f"{answer['pd_12m']:.2%}  (grade {answer['grade']}, score {answer['score']})",
    )
    # A service of an earlier version, or an earlier rulebook, shows no position.
    if "position" in answer:
        yield "owed", _position_text(answer["position"])
    yield "limit", _limit_text(answer["limit"])
    yield from _outside_rows(answer["ledger"])
    yield "terms", _terms_text(answer["terms"], answer["customer_class"])
    floor = answer["price_floor"]
    if floor:
        yield (
            "price floor on credit",
            f"{floor['amount']} {floor['currency']} for {floor['cash_price']} in cash",
        )
    yield "may approve", _authority_text(answer)
    loss = answer["expected_loss"]
    yield "expected loss", f"{loss['amount']} {loss['currency']}"
    yield from _reason_rows(answer)
    collection = answer["collection"]
    if collection:
        yield "collection", f"{collection['stage']}: {collection['because']}"
    yield "explanation", _explanation_text(answer["explanation"])
    model = answer["model"]["version"]
    rules = answer["policy"]["version"]
    yield "model, policy", f"version {model}, rules of {rules}"
    yield "recorded", f"{answer['decision_id']} at {answer['recorded_at']}"


def _reason_rows(answer: JsonObject) -> Iterator[tuple[str, str]]:
    """Why it is not an approval, and what would have led to one."""
    for reason in answer["reasons"]:
        yield f"reason {reason['code']}", _reason_text(reason)
    for act in answer["counterfactuals"]:
        pd_12m = f"{act['pd_12m']:.2%}"
        yield (
            "would be approved",
            f"{act['text']}  (PD {pd_12m}, grade {act['grade']})",
        )


def _outside_rows(ledger: JsonObject) -> Iterator[tuple[str, str]]:
    """What bureaus say of the customer, and what the others of its groups owe."""
    bureau = ledger.get("bureau")
    if bureau:
        sources = [
            f"{source['source']} ({source['as_of']})" for source in bureau["sources"]
        ]
        parts = ["insolvent"] if bureau["insolvency"] else []
        if bureau["score"] is not None:
            parts.append(f"score {bureau['score']:.0%} of its scale")
        parts.append(f"from {', '.join(sources)}")
        yield "bureaus", escape("; ".join(parts))
    for group in ledger.get("groups", ()):
        others = group["exposure_of_others"]
        text = (
            f"{group['name']}: {group['in_ledger']} others owe {others['amount']} "
            f"{others['currency']}, room {group['room']['amount']}"
        )
        if group["not_in_ledger"]:
            text += f"; {group['not_in_ledger']} named are not in the ledger"
        if group["incomplete"]:
            text += f"; the ledger of {group['incomplete']} is incomplete"
        yield "group", escape(text)


def _position_text(position: JsonObject) -> str:
    owed = f"{position['owed']} {position['currency']}"
    parts = [owed, f"{position['overdue_amount']} of it past due"]
    days = position["material_dpd_days"]
    if days:
        parts.append(f"a material amount for {days} days")
    if float(position["unapplied_amount"]):
        parts.append(f"{position['unapplied_amount']} unapplied")
    if position["is_incomplete"]:
        parts.append("the ledger is incomplete")
    return "; ".join(parts)


def _authority_text(answer: JsonObject) -> str:
    approver = answer["authority"]["approver"]
    return f"{approver}; next review {answer['next_review_on']}"


def _limit_text(limit: JsonObject) -> str:
    caps = ", ".join(f"{name} {cap}" for name, cap in limit["caps"].items())
    amount = f"{limit['amount']} {limit['currency']}"
    return f"{amount}  ({limit['binding_cap']} binds: {caps})"


def _terms_text(terms: JsonObject, customer_class: str) -> str:
    days = "prepayment" if terms["is_prepaid"] else f"{terms['terms_days']} days"
    deposit = f"deposit {terms['deposit_share']:.0%}"
    return f"{days}, {deposit}  (class {customer_class})"


def _reason_text(reason: JsonObject) -> str:
    sources = reason.get("sources")
    if sources:
        return escape(f"{reason['text']}  (reported by {', '.join(sources)})")
    contribution = reason["contribution"]
    if contribution is None:
        return str(reason["text"])
    return f"{reason['text']}  ({contribution:+.3f})"


def _explanation_text(explanation: JsonObject) -> str:
    base = f"base {explanation['base']:.4f}"
    return f"{base} + contributions = margin {explanation['margin']:.4f}"
