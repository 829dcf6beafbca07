"""A customer is in default in training on the days on which the rules count it so.

Labels look at all days at once, a decision at one day and one account.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from obligor.data.asof import known_account, known_on
from obligor.data.ledger import Ledger
from obligor.decisions.ageing import ageing_of
from obligor.policy.rulebooks.rulebook import Materiality
from obligor.training.samples.config import DefaultDefinition
from obligor.training.samples.customer_defaults import customer_default_events
from tests.property.test_kernel import (
    AS_OF,
    SLOW,
    has_items,
    ledgers,
    stored_accounts,
    undone_ledgers,
)

MATERIALITY = Materiality(Decimal(100), Decimal("0.05"))
DEFINITION = DefaultDefinition(
    dpd_days=30,
    counts="customer",
    materiality=100.0,
    materiality_share=0.05,
)


@SLOW
@given(st.one_of(ledgers(), undone_ledgers()).filter(has_items))
def test_labels_and_rules_count_the_same_customers(ledger: Ledger) -> None:
    for days in (0, 45):
        day = AS_OF + timedelta(days=days)
        events = customer_default_events(known_on(ledger, day), DEFINITION)
        labelled = set(events.loc[events["cured_on"].isna(), "customer_id"])
        counted = set()
        for customer_id, account in stored_accounts(ledger).items():
            ageing = ageing_of(known_account(account, day))
            if ageing.material_dpd_days(MATERIALITY) >= DEFINITION.dpd_days:
                counted.add(customer_id)
        assert labelled & set(stored_accounts(ledger)) == counted
