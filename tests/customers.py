"""A usual customer, and decisions about it under the rulebook 2000-01-01."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from obligor.features.catalogue import NAMES
from obligor.policy.credit.credit_file import CreditFile
from obligor.policy.credit.decide import Decision, decide
from obligor.policy.credit.facts import Facts
from obligor.policy.rulebooks.rulebook import RULES, read_rulebook

RULEBOOK = read_rulebook(RULES / "2000-01-01")
NEW_RULEBOOK = read_rulebook(RULES / "2023-12-31")  # the first one with a materiality
AS_OF = date(2025, 6, 30)  # a Monday
FEATURES = dict.fromkeys(NAMES, 0.0) | {
    "invoiced_amount_365d": 120_000.0,
    "days_since_first_invoice": 500.0,
    "open_amount": 4_000.0,
    "dbt_days_mean_365d": 5.0,
}
FACTS = Facts(
    pd_12m=0.01,
    currency="EUR",
    features=FEATURES,
    as_of=AS_OF,
    customer_id="ANNA",
)


def decision_about(
    pd_12m: float = 0.01, facts: Facts = FACTS, **features: float
) -> Decision:
    """Decide on a customer whose PD and some features differ from the usual ones."""
    changed_features = {**facts.features, **features}
    changed = replace(facts, pd_12m=pd_12m, features=changed_features)
    return decide(changed, RULEBOOK)


def with_file(credit_file: CreditFile) -> Facts:
    """Return the usual customer with a credit file."""
    return replace(FACTS, credit_file=credit_file)
