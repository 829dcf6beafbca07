"""Defaults of customers, by the materiality of the rulebook.

A customer is in default while all that is 90 days past due together exceeds 100.00 and
1% of what the customer owes, as the rules of a decision count. The configuration states
it as ``counts = "customer"``, or takes it from the rulebook.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from obligor.data.asof import known_account, known_on
from obligor.decisions.ageing import ageing_of
from obligor.errors import SchemaError
from obligor.policy.rulebooks.rulebook import RULES, read_rulebook
from obligor.training.samples.config import DefaultDefinition, TrainingConfig
from obligor.training.samples.labels import customers_in_default, default_events
from obligor.training.samples.materiality import comparison, with_materiality
from tests import ascii
from tests.ascii import spec

BY_CUSTOMER = DefaultDefinition(
    counts="customer",
    materiality=100.0,
    materiality_share=0.01,
)
FROM_RULEBOOK = TrainingConfig.model_validate(
    {"default": {"materiality_from": "rulebook"}}
)
END = date(2024, 12, 31)


def defaults(
    definition: DefaultDefinition = BY_CUSTOMER, **tables: str
) -> pd.DataFrame:
    """Return the defaults of customers, by customer and day."""
    events = default_events(known_on(ascii.ledger(**tables), END), definition)
    return events.sort_values(["customer_id", "default_on"], ignore_index=True)


def test_small_items_of_a_customer_count_together() -> None:
    """Two items of 60.00 are one default from the day on which both are 90 days late.

    BORIS owes exactly 100.00, which does not exceed it.
    """
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 |  60.00
        A2         | ANNA        | 2024-01-10 | 2024-02-10 |  60.00
        B1         | BORIS       | 2024-01-01 | 2024-01-31 | 100.00
    """
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-06-01 | 15.00
        A2         | 2024-06-10 | 15.00
    """
    expected = """
        customer_id | default_on | cured_on
        ANNA        | 2024-05-10 | 2024-06-10
    """
    spec(defaults(invoices=invoices, payments=payments), expected)


def test_a_small_share_of_what_is_owed_is_not_material() -> None:
    """150.00 are past due: more than 1% of 10,150.00, and less than 1% of 20,150.00."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 |   150.00
        A2         | ANNA        | 2024-04-01 | 2024-12-31 | 10000.00
        B1         | BORIS       | 2024-01-01 | 2024-01-31 |   150.00
        B2         | BORIS       | 2024-04-01 | 2024-12-31 | 20000.00
    """
    expected = """
        customer_id | default_on | cured_on
        ANNA        | 2024-04-30 | -
    """
    spec(defaults(invoices=invoices), expected)


def test_a_customer_may_fall_into_default_again() -> None:
    """The default of 30 April is cured on 20 May; the next item is late on 8 August."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 | 500.00
        A2         | ANNA        | 2024-04-10 | 2024-05-10 | 500.00
    """
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-05-20 | 500.00
    """
    expected = """
        customer_id | default_on | cured_on
        ANNA        | 2024-04-30 | 2024-05-20
        ANNA        | 2024-08-08 | -
    """
    spec(defaults(invoices=invoices, payments=payments), expected)


def test_write_offs_that_exceed_the_materiality_are_a_default() -> None:
    """BORIS's 100.00 do not exceed it, and lower what is past due to 0."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 | 500.00
        B1         | BORIS       | 2024-01-01 | 2024-01-31 | 100.00
    """
    write_offs = """
        invoice_id | written_off_on | amount
        A1         | 2024-03-10     | 500.00
        B1         | 2024-03-10     | 100.00
    """
    expected = """
        customer_id | default_on | cured_on
        ANNA        | 2024-03-10 | 2024-03-10
    """
    spec(defaults(invoices=invoices, write_offs=write_offs), expected)


def test_money_of_the_customer_counts_against_what_is_past_due() -> None:
    """450.00 on account leave 50.00 of 500.00; BORIS's cheque came back."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 | 500.00
        B1         | BORIS       | 2024-01-01 | 2024-01-31 | 500.00
    """
    payments = """
        payment_id | invoice_id | customer_id | paid_on    | amount  | reverses
        P1         | -          | ANNA        | 2024-03-01 |  450.00 | -
        P2         | B1         | BORIS       | 2024-03-01 |  450.00 | -
        P3         | B1         | BORIS       | 2024-03-08 | -450.00 | P2
    """
    expected = """
        customer_id | default_on | cured_on
        BORIS       | 2024-04-30 | -
    """
    spec(defaults(invoices=invoices, payments=payments), expected)


def test_it_is_the_default_that_the_rules_count() -> None:
    """On every day a customer is in default if the rules count 90 days or more."""
    book = ascii.ledger(
        invoices="""
            invoice_id | customer_id | issued_on  | due_on     | amount
            A1         | ANNA        | 2024-01-01 | 2024-01-31 |   80.00
            A2         | ANNA        | 2024-01-10 | 2024-02-10 |  120.00
            A3         | ANNA        | 2024-03-10 | 2024-04-10 | 9000.00
            A4         | ANNA        | 2024-05-10 | 2024-07-10 | 9000.00
        """,
        payments="""
            invoice_id | paid_on    | amount
            A2         | 2024-05-20 |   50.00
            A3         | 2024-05-25 | 9000.00
            A2         | 2024-10-20 |   70.00
        """,
    )
    materiality = read_rulebook(RULES / "2023-12-31").materiality
    assert materiality is not None
    definition = BY_CUSTOMER.model_copy(update={"cure_days": 0})
    account = ascii.account(book, "ANNA")
    by_rules = set()
    for day in pd.date_range("2024-04-30", "2024-12-31", freq="5D"):
        as_of = day.date()
        ageing = ageing_of(known_account(account, as_of))
        is_in_default = ageing.material_dpd_days(materiality) >= 90
        events = default_events(known_on(book, as_of), definition)
        is_labelled = bool(events["cured_on"].isna().any())
        assert is_labelled == is_in_default, as_of
        by_rules.add(is_in_default)
    assert by_rules == {True, False}


def test_a_customer_in_default_by_what_was_known() -> None:
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 | 500.00
    """
    expected = """
        as_of      | in_default
        2024-04-29 | -
        2024-04-30 | ANNA
    """

    def answer(as_of: date) -> list[str]:
        known = known_on(ascii.ledger(invoices=invoices), as_of)
        return sorted(customers_in_default(known, BY_CUSTOMER))

    spec(answer, expected)


def test_the_configuration_takes_the_materiality_of_the_rulebook() -> None:
    definition = with_materiality(FROM_RULEBOOK, END).default
    assert definition == BY_CUSTOMER
    rulebook = read_rulebook(RULES / "2023-12-31")
    assert comparison(definition, rulebook) == (
        "The materiality is that of the rulebook of 2023-12-31."
    )


def test_another_materiality_is_named_beside_that_of_the_rules() -> None:
    rulebook = read_rulebook(RULES / "2023-12-31")
    assert comparison(DefaultDefinition(), rulebook) == (
        "The materiality is not that of the rulebook of 2023-12-31: the default counts "
        "each item from 100 on; the rules count more than 100 and 1.00% of what a "
        "customer owes. To train on the same one, set "
        'materiality_from = "rulebook" under [default].'
    )


@pytest.mark.parametrize(
    ("stated", "counts"),
    [
        ({}, "customer"),
        ({"dpd_days": 30, "horizon_days": 180}, "customer"),
        ({"materiality_from": "config"}, "item"),
        ({"materiality": 250.0}, "item"),
        ({"counts": "item"}, "item"),
        ({"anchor": "due"}, "item"),
        (DefaultDefinition().recorded(), "item"),
        (DefaultDefinition().model_dump(), "item"),
    ],
)
def test_the_default_is_that_of_the_rules_unless_one_is_stated(
    stated: dict[str, object],
    counts: str,
) -> None:
    """A configuration that was stored states its own, and means what it meant."""
    config = TrainingConfig.model_validate({"default": stated})
    definition = with_materiality(config, date(2024, 12, 31)).default
    assert definition.counts == counts
    if counts == "customer":
        assert (definition.materiality, definition.materiality_share) == (100.0, 0.01)
    # The first rulebook states no materiality.
    early = with_materiality(config, date(2020, 1, 1)).default
    assert early.counts == "item"


def test_a_rulebook_without_a_materiality_cannot_give_one() -> None:
    with pytest.raises(SchemaError, match="2000-01-01 states no materiality"):
        with_materiality(FROM_RULEBOOK, date(2020, 1, 1))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ('materiality_from = "rulebook"\nmateriality = 50', "beside materiality"),
        ("materiality_share = 0.01", "needs counts = 'customer'"),
        ('counts = "customer"\nanchor = "due"', "needs counts = 'item'"),
    ],
)
def test_choices_that_contradict_each_other_are_refused(
    tmp_path: Path,
    choices: str,
    message: str,
) -> None:
    from obligor.training.samples.config import read_config

    path = tmp_path / "default.toml"
    path.write_text(f"[default]\n{choices}\n", encoding="utf-8")
    with pytest.raises(SchemaError, match=message):
        read_config(path)


def test_a_definition_that_was_not_looked_up_is_refused() -> None:
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 | 500.00
    """
    with pytest.raises(SchemaError, match="was not looked up"):
        defaults(FROM_RULEBOOK.default, invoices=invoices)
