"""What is material, against a recomputation by hand, and where it is stated."""

from __future__ import annotations

import shutil
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obligor.decisions.ageing import ageing_of
from obligor.errors import PolicyError
from obligor.policy.collecting.debt import Debt
from obligor.policy.collecting.priority import AccountAge, Arrears, plan_of
from obligor.policy.collecting.worklist import Pause, Task, task_of
from obligor.policy.credit.ageing import Ageing, OverdueItem
from obligor.policy.credit.decide import decide
from obligor.policy.rulebooks.rulebook import (
    RULES,
    Materiality,
    Rulebook,
    read_rulebook,
    read_rulebooks,
)
from obligor.policy.rulebooks.workbook import export_workbook, import_workbook
from obligor.training.samples.config import DefaultDefinition
from tests import ascii
from tests.customers import AS_OF, FACTS, FEATURES, NEW_RULEBOOK, RULEBOOK
from tests.spec.test_unapplied import customer

CENTS = st.one_of(
    st.sampled_from([1, 3_333, 3_334, 9_999, 10_000, 10_001, 20_000, 20_001]),
    st.integers(1, 5_000_000),
)
ITEMS = st.lists(st.tuples(st.integers(1, 400), CENTS), max_size=6)


def euros(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)


def days_by_hand(
    items: list[tuple[int, int]],
    open_cents: int,
    unapplied_cents: int,
    materiality: Materiality,
) -> int:
    """The largest number of days for which enough is past due, tried one by one."""
    owed = max(open_cents - unapplied_cents, 0)
    amount = Fraction(materiality.amount) * 100
    share = Fraction(materiality.share) * owed
    for days in range(400, 0, -1):
        overdue = sum(cents for days_late, cents in items if days_late >= days)
        overdue -= unapplied_cents
        if overdue > amount and overdue > share:
            return days
    return 0


@given(
    items=ITEMS,
    not_due=st.sampled_from([0, 1, 990_000, 1_000_000, 2_000_000]),
    unapplied=st.sampled_from([0, 1, 10_000, 3_000_000]),
    share=st.sampled_from(["0", "0.01", "0.033", "1"]),
)
def test_the_days_are_those_of_a_search_by_hand(
    items: list[tuple[int, int]],
    not_due: int,
    unapplied: int,
    share: str,
) -> None:
    materiality = Materiality(Decimal(100), Decimal(share))
    open_cents = not_due + sum(cents for _, cents in items)
    oldest_first = sorted(items, reverse=True)
    ageing = Ageing(
        euros(open_cents),
        tuple([OverdueItem(days, euros(cents)) for days, cents in oldest_first]),
        euros(unapplied),
    )
    by_hand = days_by_hand(items, open_cents, unapplied, materiality)
    assert ageing.material_dpd_days(materiality) == by_hand


def test_without_a_threshold_the_oldest_item_counts() -> None:
    nothing = Materiality(Decimal(0), Decimal(0))
    items = (OverdueItem(200, Decimal("0.01")), OverdueItem(3, Decimal(9)))
    assert Ageing(Decimal(50), items).material_dpd_days(nothing) == 200


def test_the_ages_of_an_account_are_exact() -> None:
    ledger = ascii.ledger(
        invoices="""
            invoice_id | customer_id | issued_on  | due_on     | amount | currency
            A1         | ANNA        | 2024-09-01 | 2024-10-01 |  33.33 | EUR
            A2         | ANNA        | 2024-09-01 | 2024-10-01 |  33.33 | EUR
            A3         | ANNA        | 2024-09-01 | 2024-10-02 |  33.34 | EUR
            A4         | ANNA        | 2024-12-01 | 2024-12-31 |  10.00 | EUR
            A5         | ANNA        | 2024-12-01 | 2025-01-31 |  10.00 | EUR
            A6         | ANNA        | 2024-09-01 | 2024-10-03 |   0.01 | EUR
        """,
    )
    account = ascii.account(ledger, "ANNA")
    known = customer("ACCT")  # any day will do
    ageing = ageing_of(replace(known, account=account))
    assert ageing.open_amount == Decimal("120.01")
    overdue = [(item.days_late, item.amount) for item in ageing.overdue_items]
    assert overdue == [
        (91, Decimal("33.33")),
        (91, Decimal("33.33")),
        (90, Decimal("33.34")),
        (89, Decimal("0.01")),
    ]
    # 33.33 + 33.33 + 33.34 is 100.00 and not a float beside it; a cent makes it more.
    materiality = Materiality(Decimal(100), Decimal(0))
    assert ageing.material_dpd_days(materiality) == 89


# --- where it is stated


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    """A copy of the new rulebook."""
    folder = tmp_path / "2023-12-31"
    shutil.copytree(RULES / "2023-12-31", folder)
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_rulebook_states_both_parameters_or_neither(draft: Path) -> None:
    edit(draft / "parameters.yaml", "  materiality_share:", "  # ")
    with pytest.raises(PolicyError, match=r"missing \['materiality_share'\]"):
        read_rulebook(draft)


@pytest.mark.parametrize("value", ["-1", "1000001"])
def test_a_materiality_out_of_range_is_refused(draft: Path, value: str) -> None:
    edit(draft / "parameters.yaml", "{value: 100,", f"{{value: {value},")
    with pytest.raises(PolicyError, match=r"materiality_amount: .* is out of range"):
        read_rulebook(draft)


def test_both_rulebooks_ship_and_only_the_new_one_has_a_materiality() -> None:
    released, refused = read_rulebooks(RULES)
    assert refused == []
    versions = {rulebook.version: rulebook.materiality for rulebook in released}
    assert versions["2000-01-01"] is None
    assert versions["2023-12-31"] == Materiality(Decimal(100), Decimal("0.01"))


def test_the_training_default_has_the_amount_of_the_rulebook() -> None:
    amount = NEW_RULEBOOK.parameters["materiality_amount"]
    assert Decimal(DefaultDefinition().materiality) == amount


@pytest.mark.parametrize("rulebook", [RULEBOOK, NEW_RULEBOOK], ids=["old", "new"])
def test_a_rulebook_comes_back_from_excel(rulebook: Rulebook, tmp_path: Path) -> None:
    export_workbook(rulebook, tmp_path / "rules.xlsx")
    folder = tmp_path / rulebook.version
    import_workbook(tmp_path / "rules.xlsx", folder)
    returned = read_rulebook(folder)
    assert returned.parameters == rulebook.parameters
    assert returned.materiality == rulebook.materiality


# --- ages and losses item by item


def test_a_decision_adds_up_the_loss_item_by_item() -> None:
    """20,000 x 5% x 45% and 200.01 x 45%, of which a reminder avoids 5%."""
    features = {**FEATURES, "dpd_days": 200.0, "overdue_amount": 20_200.01}
    items = (
        OverdueItem(200, Decimal("200.01")),
        OverdueItem(3, Decimal("20000.00")),
    )
    ageing = Ageing(Decimal("20200.01"), items)
    facts = replace(FACTS, features=features, pd_12m=0.05, ageing=ageing)
    collection = decide(facts, NEW_RULEBOOK).collection
    assert collection is not None
    assert collection.stage == "reminder"
    assert "expected loss 540.00" in collection.because
    assert "a material part of it for 3 days" in collection.because
    assert "540.00" in collection.because_zh
    old = decide(facts, RULEBOOK).collection
    assert old is not None
    assert "the oldest item 200 days, expected loss 9090.00" in old.because


def test_a_decision_about_an_immaterial_debt_has_no_collection() -> None:
    features = {**FEATURES, "dpd_days": 200.0, "overdue_amount": 5.0}
    facts = replace(FACTS, features=features)
    assert decide(facts, NEW_RULEBOOK).collection is None
    assert decide(facts, RULEBOOK).collection is not None


DEBT = Debt(
    customer_id="ANNA",
    currency="EUR",
    overdue=Decimal(10_000),
    dpd_days=Decimal(95),
    pd_12m=Decimal("0.05"),
    customer_class="general",
    in_default=Decimal(4_000),
)


@pytest.mark.parametrize(
    ("unapplied", "promised", "in_default", "others"),
    [
        (0, 0, 4_000, 6_000),
        (1_000, 0, 3_000, 6_000),
        (5_000, 0, 0, 5_000),
        (0, 8_000, 2_000, 0),
        (10_000, 0, 0, 0),
        (20_000, 0, 0, 0),
    ],
)
def test_unapplied_money_counts_against_the_oldest_items(
    unapplied: int,
    promised: int,
    in_default: int,
    others: int,
) -> None:
    debt = replace(
        DEBT,
        unapplied=Decimal(unapplied),
        promised=Decimal(promised),
    )
    parts = debt.arrears.parts(Decimal("0.45"))
    assert [part.amount for part in parts] == [in_default, others]


def test_parts_of_arrears_add_up() -> None:
    lgd = Decimal("0.45")
    whole = Arrears(Decimal(100), Decimal(91), Decimal("0.1"), "EUR")
    assert whole.parts(lgd)[0].loss_share == lgd
    mixed = whole._replace(in_default=Decimal(30))
    assert sum(part.amount for part in mixed.parts(lgd)) == 100


# --- stages without a contact, and money that is here


def paused(debt: Debt, rulebook: Rulebook) -> str:
    planned = task_of(debt, AS_OF, rulebook)
    assert isinstance(planned, Pause)
    assert planned.because
    return planned.code


def test_a_debt_without_a_material_amount_is_left_alone() -> None:
    small = replace(DEBT, overdue=Decimal(50), dpd_days=Decimal(0))
    assert paused(small, NEW_RULEBOOK) == "not_material"
    # Not even if an insurer waits for it.
    insured = replace(small, is_insured=True, dpd_days=Decimal(0))
    assert paused(insured, NEW_RULEBOOK) == "not_material"


def test_money_on_account_is_applied_before_anybody_calls() -> None:
    covered = replace(DEBT, unapplied=Decimal(10_000))
    assert paused(covered, NEW_RULEBOOK) == "unapplied"
    disputed = replace(covered, unapplied=Decimal(1), disputed=Decimal(9_999))
    assert paused(disputed, NEW_RULEBOOK) == "disputed"
    assert isinstance(task_of(DEBT, AS_OF, NEW_RULEBOOK), Task)


def test_a_house_may_have_stages_without_a_contact(draft: Path) -> None:
    stages = draft / "collection_stage.yaml"
    edit(stages, '"0"}', '"[0..15]"}')
    edit(stages, '  - {id: S1, when: {material_dpd_days: "(0..15]"}', "  # ")
    edit(stages, "{in: {material_dpd_days: 15}, out: {stage: reminder}}", "{in: {}}")
    edit(stages, "  - {in: {}}\n", "")
    rulebook = read_rulebook(draft)
    young = replace(DEBT, dpd_days=Decimal(10))
    assert plan_of(AccountAge(Decimal(10), Decimal(10)), "risk", rulebook).minutes == 0
    assert paused(young, rulebook) == "no_contact"
    features = {**FEATURES, "dpd_days": 10.0, "overdue_amount": 3_000.0}
    assert decide(replace(FACTS, features=features), rulebook).collection is None
