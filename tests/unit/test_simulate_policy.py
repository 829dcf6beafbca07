"""A portfolio under a rulebook decides as `decide` does, customer by customer."""

from __future__ import annotations

import shutil
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obligor.data.asof import known_on
from obligor.data.synthetic import Simulation
from obligor.features.build import build_features
from obligor.policy.credit.decide import decide
from obligor.policy.credit.promise_ladder import Promise
from obligor.policy.economics import capital_ratio
from obligor.policy.rulebooks.rulebook import RULES, Rulebook, read_rulebook
from obligor.portfolio.array_tables import lookup, outputs
from obligor.portfolio.comparison import compare_customer, movers, summary
from obligor.portfolio.decide_many import OUTCOMES, capital_ratios, decide_many
from obligor.portfolio.snapshot import Portfolio
from tests.unit.test_policy import value_of

RULEBOOK = read_rulebook(RULES / "2000-01-01")
AS_OF = date(2024, 6, 30)


KEPT = tuple(Promise(date(2024, month, 1), True) for month in (1, 2, 3))
BROKEN = tuple(Promise(date(2024, month, 1), False) for month in (1, 2, 3))


@pytest.fixture(scope="module")
def portfolio(simulation: Simulation) -> Portfolio:
    """Real features; PDs over every grade; equity and turnover known of some."""
    frame = build_features(known_on(simulation.ledger, AS_OF))
    n, draw = len(frame), np.random.default_rng(1)
    return Portfolio(
        customer_ids=list(frame.index),
        currency="EUR",
        as_of=AS_OF,
        pd_12m=np.exp(draw.uniform(np.log(1e-4), 0, n)),
        features={name: frame[name].to_numpy() for name in frame},
        equity=np.where(draw.random(n) < 0.5, np.nan, draw.normal(2e5, 3e5, n)),
        turnover=np.where(draw.random(n) < 0.5, np.nan, draw.uniform(0, 5e6, n)),
        groups={
            "sector": draw.choice(np.array(["retail", "metal"]), n),
            "country": draw.choice(np.array(["DE", "US"]), n),
        },
        promises={n: KEPT * 2 if n % 2 else BROKEN[: n % 4 + 1] for n in range(200)},
    )


@pytest.fixture
def stricter(tmp_path: Path) -> Rulebook:
    """Another day's rulebook: a hard stop comes earlier, grade 7 has less."""
    folder = tmp_path / "2024-01-01"
    shutil.copytree(RULES / "2000-01-01", folder)
    for path in folder.glob("*.yaml"):
        path.write_text(
            path.read_text().replace("effective: 2000-01-01", "effective: 2024-01-01")
        )
    stops, caps = folder / "hard_stops.yaml", folder / "exposure_caps.yaml"
    text = stops.read_text().replace('"> 60"', '"> 45"').replace("(30..60]", "(30..45]")
    stops.write_text(text)
    caps.write_text(
        caps.read_text().replace(
            "ceiling: 1000000, unsecured: 500000", "ceiling: 900000, unsecured: 150000"
        )
    )
    return read_rulebook(folder)


def test_a_portfolio_is_decided_as_its_customers_are(portfolio: Portfolio) -> None:
    found = decide_many(portfolio, RULEBOOK)
    classes = ("premium", "general", "risk")
    approvers = ("system", "credit_analyst", "credit_manager", "director")
    for place in range(len(portfolio.customer_ids)):
        one = decide(portfolio.facts(place), RULEBOOK)
        assert OUTCOMES[found.outcome[place]] == one.outcome
        assert (found.grade[place], classes[found.customer_class[place]]) == (
            one.grade,
            one.customer_class,
        )
        assert approvers[found.approver[place]] == one.approver
        assert found.terms_days[place] == one.terms.terms_days
        assert abs(
            Decimal(repr(float(found.limit[place]))) - one.limit.amount
        ) <= Decimal("0.01")
        assert float(found.expected_loss[place]) == pytest.approx(
            float(one.expected_loss), abs=0.02
        )
    assert set(found.outcome) == {0, 1, 2}
    assert len(set(found.grade)) == 10


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_array_lookup_answers_as_the_table(data: st.DataObject) -> None:
    table = data.draw(
        st.sampled_from(sorted(RULEBOOK.tables.values(), key=lambda table: table.id))
    )
    rows = [
        {column.name: data.draw(value_of(column)) for column in table.inputs}
        for _ in range(5)
    ]

    def as_array(name: str, texts: tuple[str, ...], is_number: bool) -> Any:
        values = [row[name] for row in rows]
        if texts:
            return np.array([texts.index(value) for value in values])
        if is_number:
            return np.array(
                [np.nan if value is None else float(value) for value in values]
            )
        return None if any(value is None for value in values) else np.array(values)

    columns = {
        column.name: as_array(column.name, column.values, column.is_number)
        for column in table.inputs
    }
    if any(
        given is None and any(row[name] is not None for row in rows)
        for name, given in columns.items()
    ):
        return  # null or not, in one array of truth values: no column has that
    found = lookup(table, len(rows), **columns)
    for row, place in zip(rows, found, strict=True):
        fired = [one.fired for one in table.all(**row)]
        assert (fired[0] if fired else None) == (
            table.rules[place].id if place >= 0 else None
        )


def test_capital_of_many_is_that_of_each() -> None:
    pds = np.array([0.0, 0.0004, 0.01, 0.2, 0.9999, 1.0])
    wanted = [capital_ratio(float(pd), 0.45) for pd in pds]
    np.testing.assert_allclose(capital_ratios(pds, 0.45, 0.999), wanted, rtol=1e-9)


def test_outputs_are_numbers_or_places_of_texts() -> None:
    assert outputs(RULEBOOK.tables["terms"], "deposit_share").tolist() == [
        0,
        0,
        0,
        0,
        0.2,
        0.3,
        1,
    ]
    assert outputs(RULEBOOK.tables["review"], "review_days").tolist() == [
        7,
        30,
        91,
        365,
    ]
    assert outputs(RULEBOOK.tables["hard_stops"], "stop")[0] == 1


def test_two_rulebooks_are_compared_by_group_and_the_movers_explained(
    portfolio: Portfolio, stricter: Rulebook
) -> None:
    old, new = decide_many(portfolio, RULEBOOK), decide_many(portfolio, stricter)
    found = summary(portfolio, old, new)
    everyone = found["all"]["all"]
    assert everyone["customers"] == len(portfolio.customer_ids)
    assert everyone["decline"][1] > everyone["decline"][0]
    assert everyone["limit"][1] < everyone["limit"][0]
    for part in ("grade", "customer_class", "sector", "country"):
        for figure in ("customers", "decisions_changed", "limits_changed"):
            assert sum(one[figure] for one in found[part].values()) == everyone[figure]
    told = movers(portfolio, RULEBOOK, stricter, old, new)
    assert 0 < len(told) <= 20
    changes = [abs(one["limit"][1] - one["limit"][0]) for one in told]
    assert changes == sorted(changes, reverse=True)
    assert all(one["because"] for one in told)
    same = compare_customer(portfolio.facts(0), RULEBOOK, RULEBOOK)
    assert same["because"] == []
    assert summary(portfolio, old, old)["all"]["all"]["decisions_changed"] == 0
    assert movers(portfolio, RULEBOOK, RULEBOOK, old, old) == []
