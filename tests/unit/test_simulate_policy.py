"""A portfolio under a rulebook is decided as `decide` does, customer by customer."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from obligor.data.asof import known_on
from obligor.data.store import LedgerStore
from obligor.data.synthetic import Simulation
from obligor.decisions.ageing import AgedAmounts, ageing_of
from obligor.features.build import build_features
from obligor.policy.credit.decide import Decision, decide
from obligor.policy.credit.position import BureauSummary
from obligor.policy.credit.promise_ladder import Promise
from obligor.policy.economics import capital_ratio
from obligor.policy.rulebooks.cells import Column, Value
from obligor.policy.rulebooks.rulebook import RULES, Rulebook, read_rulebook
from obligor.portfolio.array_tables import Inputs, lookup, outputs
from obligor.portfolio.comparison import (
    Figures,
    Mover,
    compare_customer,
    movers,
    summary,
)
from obligor.portfolio.decide_many import (
    CUSTOMER_CLASSES,
    OUTCOMES,
    PortfolioDecisions,
    capital_ratios,
    decide_many,
)
from obligor.portfolio.snapshot import (
    Portfolio,
    active_on,
    joined_ageing,
    portfolio_of,
)
from tests.customers import NEW_RULEBOOK, RULEBOOK
from tests.fakes import FixedModel
from tests.unit.test_policy import TABLES_BY_ID, value_of

AS_OF = date(2024, 6, 30)
APPROVERS = ("system", "credit_analyst", "credit_manager", "director")
KEPT = tuple(Promise(date(2024, month, 1), True) for month in (1, 2, 3))
BROKEN = tuple(Promise(date(2024, month, 1), False) for month in (1, 2, 3))


@pytest.fixture(scope="module")
def portfolio(simulation: Simulation) -> Portfolio:
    """Real features; PDs over every grade; equity and turnover known of some."""
    frame = build_features(known_on(simulation.ledger, AS_OF))
    n = len(frame)
    draw = np.random.default_rng(1)
    promises = {}
    for row in range(200):
        promises[row] = KEPT * 2 if row % 2 else BROKEN[: row % 4 + 1]
    pd_12m = np.exp(draw.uniform(np.log(1e-4), 0, n))
    equity = np.where(draw.random(n) < 0.5, np.nan, draw.normal(2e5, 3e5, n))
    turnover = np.where(draw.random(n) < 0.5, np.nan, draw.uniform(0, 5e6, n))
    return Portfolio(
        customer_ids=list(frame.index),
        currency="EUR",
        as_of=AS_OF,
        pd_12m=pd_12m,
        features={name: frame[name].to_numpy() for name in frame},
        equity=equity,
        turnover=turnover,
        groups={
            "sector": draw.choice(np.array(["retail", "metal"]), n),
            "country": draw.choice(np.array(["DE", "US"]), n),
        },
        promises=promises,
    )


@pytest.fixture(scope="module")
def decisions(portfolio: Portfolio) -> PortfolioDecisions:
    return decide_many(portfolio, RULEBOOK)


@pytest.fixture(scope="module")
def stricter(tmp_path_factory: pytest.TempPathFactory) -> Rulebook:
    """Another day's rulebook: a hard stop comes earlier, grade 7 has less."""
    folder = tmp_path_factory.mktemp("rules") / "2024-01-01"
    shutil.copytree(RULES / "2000-01-01", folder)
    for path in folder.glob("*.yaml"):
        replace_in(path, "effective: 2000-01-01", "effective: 2024-01-01")
    replace_in(folder / "hard_stops.yaml", '"> 60"', '"> 45"')
    replace_in(folder / "hard_stops.yaml", "(30..60]", "(30..45]")
    replace_in(
        folder / "exposure_caps.yaml",
        "ceiling: 1000000, unsecured: 500000",
        "ceiling: 900000, unsecured: 150000",
    )
    return read_rulebook(folder)


def replace_in(
    path: Path,
    old: str,
    new: str,
) -> None:
    path.write_text(path.read_text().replace(old, new))


def test_a_portfolio_is_decided_as_its_customers_are(
    portfolio: Portfolio, decisions: PortfolioDecisions
) -> None:
    for row in range(len(portfolio)):
        decision = decide(portfolio.facts(row), RULEBOOK)
        assert_same_decision(decisions, row, decision)


def assert_same_decision(
    decisions: PortfolioDecisions,
    row: int,
    decision: Decision,
) -> None:
    """The decision of a row is that of one customer, up to a cent of the limit."""
    assert OUTCOMES[decisions.outcome[row]] == decision.outcome
    assert decisions.grade[row] == decision.grade
    customer_class = CUSTOMER_CLASSES[decisions.customer_class[row]]
    assert customer_class == decision.customer_class
    assert APPROVERS[decisions.approver[row]] == decision.approver
    assert decisions.terms_days[row] == decision.terms.terms_days
    limit = Decimal(repr(float(decisions.limit[row])))
    assert abs(limit - decision.limit.amount) <= Decimal("0.01")
    expected_loss = float(decision.expected_loss)
    assert float(decisions.expected_loss[row]) == pytest.approx(expected_loss, abs=0.02)


@pytest.fixture(scope="module")
def on_overdue_amounts(tmp_path_factory: pytest.TempPathFactory) -> Rulebook:
    """Another day's rulebook: stops and blocks look at the amount past due."""
    folder = tmp_path_factory.mktemp("rules") / "2024-01-01"
    shutil.copytree(RULES / "2000-01-01", folder)
    for path in folder.glob("*.yaml"):
        replace_in(path, "effective: 2000-01-01", "effective: 2024-01-01")
    amount = "{type: number, unit: reporting currency, low: 0, nullable: true}"
    column = f"  overdue_amount: {amount}\noutputs:\n"
    stops = folder / "hard_stops.yaml"
    replace_in(stops, "outputs:\n", column)
    replace_in(
        stops, '{dpd_days: "> 60"}', '{dpd_days: "> 60", overdue_amount: "> 900"}'
    )
    replace_in(stops, "dpd_days: 61,", "dpd_days: 61, overdue_amount: 901,")
    blocks = folder / "order_blocks.yaml"
    row = (
        '{id: B99, when: {overdue_amount: "> 100"}, then: {action: refer}, '
        "because: more than 100 are past due, zh: 逾期超过 100}"
    )
    replace_in(blocks, "outputs:\n", column)
    replace_in(blocks, "rules:\n", f"rules:\n  - {row}\n")
    return read_rulebook(folder)


def test_rules_on_the_amount_past_due_decide_alike_one_by_one(
    portfolio: Portfolio,
    decisions: PortfolioDecisions,
    on_overdue_amounts: Rulebook,
) -> None:
    changed = decide_many(portfolio, on_overdue_amounts)
    # The rules do change something.
    is_changed = changed.outcome != decisions.outcome
    assert is_changed.any()
    assert (changed.is_held & ~decisions.is_held).any()
    rows = {*np.flatnonzero(is_changed).tolist(), *range(200)}
    for row in rows:
        decision = decide(portfolio.facts(row), on_overdue_amounts)
        assert_same_decision(changed, row, decision)


@pytest.fixture(scope="module")
def with_standing(portfolio: Portfolio) -> Portfolio:
    """The customers with overdue items, unapplied money, gaps and bureau reports.

    Amounts lie at the threshold of 100.00 or of 1% of what is owed, a cent beside it,
    or anywhere.
    """
    draw = np.random.default_rng(2)
    amounts = []
    for _ in range(len(portfolio)):
        n_items = int(draw.integers(0, 4))
        days_late = np.sort(draw.integers(1, 400, n_items))[::-1]
        cents = draw.choice([1, 3_333, 5_000, 9_999, 10_000, 10_001], n_items)
        large = draw.integers(1, 3_000_000, n_items)
        overdue = np.where(draw.random(n_items) < 0.3, large, cents).astype(float)
        not_due = float(draw.choice([0, 500_000, 990_000, 2_000_000]))
        unapplied = float(draw.choice([0, 0, 1, 5_000, 10_000, 4_000_000]))
        open_amount = float(overdue.sum()) + not_due
        amounts.append(AgedAmounts(open_amount, days_late, overdue, unapplied))
    rows = np.arange(len(portfolio))
    incomplete = rows[draw.random(len(rows)) < 0.1].tolist()
    reports = {}
    for row in rows[draw.random(len(rows)) < 0.1].tolist():
        recommended = Decimal(int(draw.integers(0, 50_000)))
        reports[row] = BureauSummary(Decimal("0.3"), row % 7 == 0, recommended)
    written_off = draw.choice([0.0, 100.0, 100.01, 250.0], len(rows))
    return replace(
        portfolio,
        features={**portfolio.features, "written_off_amount_365d": written_off},
        ageing=joined_ageing(amounts),
        incomplete_rows=frozenset(incomplete),
        bureau=reports,
    )


@pytest.mark.parametrize("rulebook", [RULEBOOK, NEW_RULEBOOK], ids=["old", "new"])
def test_standing_is_decided_alike_one_by_one_and_together(
    with_standing: Portfolio, rulebook: Rulebook
) -> None:
    decisions = decide_many(with_standing, rulebook)
    for row in range(len(with_standing)):
        decision = decide(with_standing.facts(row), rulebook)
        assert_same_decision(decisions, row, decision)
        if row in with_standing.incomplete_rows:
            assert decision.outcome != "approve"
            assert decisions.is_held[row]


def test_a_portfolio_without_ages_is_decided_alike_by_the_new_rulebook(
    portfolio: Portfolio,
) -> None:
    decisions = decide_many(portfolio, NEW_RULEBOOK)
    for row in range(len(portfolio)):
        decision = decide(portfolio.facts(row), NEW_RULEBOOK)
        assert_same_decision(decisions, row, decision)


def test_a_portfolio_of_which_nothing_is_past_due_is_decided(
    portfolio: Portfolio,
) -> None:
    nothing = AgedAmounts(100.0, np.array([], dtype=np.int64), np.array([]), 0.0)
    ageing = joined_ageing([nothing] * len(portfolio))
    decisions = decide_many(replace(portfolio, ageing=ageing), NEW_RULEBOOK)
    assert not decisions.material_dpd_days.any()


def test_a_ledger_is_decided_alike_one_by_one(
    ledger_store: LedgerStore,
) -> None:
    customers = active_on(ledger_store.every(), AS_OF)
    portfolio = portfolio_of(customers.accounts, customers.rows, FixedModel())
    decisions = decide_many(portfolio, NEW_RULEBOOK)
    days = []
    for row, customer in enumerate(customers.accounts):
        facts = portfolio.facts(row)
        assert facts.ageing == ageing_of(customer)
        decision = decide(facts, NEW_RULEBOOK)
        assert_same_decision(decisions, row, decision)
        days.append((decision.position.dpd_days, decision.position.material_dpd_days))
    # The materiality does change something.
    assert any(oldest != material for oldest, material in days)


def test_the_portfolio_has_every_outcome_and_grade(
    decisions: PortfolioDecisions,
) -> None:
    assert set(decisions.outcome) == {0, 1, 2}
    assert len(set(decisions.grade)) == 10


def as_array(column: Column, values: Sequence[Value]) -> Inputs:
    """The values of a column as the array lookup takes them."""
    if column.values:
        return np.array([column.values.index(str(value)) for value in values])
    if column.is_number:
        numbers = [np.nan if value is None else float(value) for value in values]
        return np.array(numbers)
    if any(value is None for value in values):
        # No column has null and truth values in one array.
        assume(all(value is None for value in values))
        return None
    return np.array(values)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_array_lookup_answers_as_the_table(data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(TABLES_BY_ID))
    row_values = st.fixed_dictionaries(
        {column.name: value_of(column) for column in table.inputs}
    )
    rows = data.draw(st.lists(row_values, min_size=5, max_size=5))
    columns = {}
    for column in table.inputs:
        columns[column.name] = as_array(column, [row[column.name] for row in rows])
    first_rows = lookup(table, len(rows), **columns)
    for row, first_row in zip(rows, first_rows, strict=True):
        fired = [evaluation.fired for evaluation in table.all(**row)]
        rule_id = table.rules[first_row].id if first_row >= 0 else None
        assert rule_id == (fired[0] if fired else None)


def test_capital_of_many_equals_that_of_each() -> None:
    pds = np.array([0.0, 0.0004, 0.01, 0.2, 0.9999, 1.0])
    expected = [capital_ratio(float(pd_12m), 0.45) for pd_12m in pds]
    np.testing.assert_allclose(capital_ratios(pds, 0.45, 0.999), expected, rtol=1e-9)


def test_outputs_are_numbers_or_indices_of_texts() -> None:
    tables = RULEBOOK.tables
    deposits = outputs(tables["terms"], "deposit_share").tolist()
    assert deposits == [0, 0, 0, 0, 0.2, 0.3, 1]
    assert outputs(tables["review"], "review_days").tolist() == [7, 30, 91, 365]
    assert outputs(tables["hard_stops"], "stop")[0] == 1


@dataclass(frozen=True)
class Comparison:
    """A portfolio under the usual and the stricter rulebook."""

    before: PortfolioDecisions
    after: PortfolioDecisions
    figures: dict[str, dict[str, Figures]]
    movers: list[Mover]


@pytest.fixture(scope="module")
def comparison(
    portfolio: Portfolio,
    decisions: PortfolioDecisions,
    stricter: Rulebook,
) -> Comparison:
    after = decide_many(portfolio, stricter)
    return Comparison(
        before=decisions,
        after=after,
        figures=summary(portfolio, decisions, after),
        movers=movers(portfolio, RULEBOOK, stricter, decisions, after),
    )


def test_a_stricter_rulebook_declines_more_and_lends_less(
    portfolio: Portfolio, comparison: Comparison
) -> None:
    everyone = comparison.figures["all"]["all"]
    assert everyone["customers"] == len(portfolio.customer_ids)
    assert everyone["decline"][1] > everyone["decline"][0]
    assert everyone["limit"][1] < everyone["limit"][0]


@pytest.mark.parametrize("part", ["grade", "customer_class", "sector", "country"])
@pytest.mark.parametrize("figure", ["customers", "decisions_changed", "limits_changed"])
def test_the_figures_of_groups_add_up_to_those_of_everyone(
    comparison: Comparison,
    part: str,
    figure: str,
) -> None:
    total = sum(group[figure] for group in comparison.figures[part].values())
    assert total == comparison.figures["all"]["all"][figure]


def test_movers_come_by_the_change_of_their_limit_with_reasons(
    comparison: Comparison,
) -> None:
    assert 0 < len(comparison.movers) <= 20
    changes = []
    for mover in comparison.movers:
        before, after = map(Decimal, mover["limit"])
        changes.append(abs(after - before))
        assert mover["because"]
    assert changes == sorted(changes, reverse=True)


def test_the_same_rulebook_changes_nothing(
    portfolio: Portfolio, decisions: PortfolioDecisions
) -> None:
    same = compare_customer(portfolio.facts(0), RULEBOOK, RULEBOOK)
    assert same["because"] == []
    figures = summary(portfolio, decisions, decisions)
    assert figures["all"]["all"]["decisions_changed"] == 0
    assert movers(portfolio, RULEBOOK, RULEBOOK, decisions, decisions) == []
