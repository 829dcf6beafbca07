"""A portfolio under review: provisions, migration, roll rates, vintages and stress, against hand-worked tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from obligor.cli.app import app
from obligor.data.account import Account
from obligor.data.account_building import accounts_of
from obligor.data.asof import known_on
from obligor.data.synthetic import Simulation, write_ledger
from obligor.decisions.champion import ChampionLoader
from obligor.errors import AsOfError, SchemaError
from obligor.features.build import build_features
from obligor.policy.rulebooks.rulebook import RULES, read_rulebooks
from obligor.portfolio.migration import (
    BUCKETS,
    bucket_of,
    implied_loss_rates,
    migration,
    roll_rates,
)
from obligor.portfolio.month import Month, month_ends, month_of
from obligor.portfolio.provisions import provisions
from obligor.portfolio.review import Review, review
from obligor.portfolio.snapshot import active_on, ledger_accounts
from obligor.portfolio.stress import stress
from obligor.portfolio.vintages import vintages
from obligor.training.runs.ledger_run import Trained
from tests.ascii import ledger

RULEBOOKS = read_rulebooks(RULES)[0]
DAYS = month_ends(date(2024, 6, 30), 2)


@pytest.fixture(scope="module")
def accounts(simulation: Simulation) -> list[Account]:
    return list(ledger_accounts(simulation.ledger))


@pytest.fixture(scope="module")
def months(accounts: Sequence[Account], trained: Trained, store: Path) -> list[Month]:
    model = ChampionLoader(store).current().model
    return [month_of(accounts, day, model, RULEBOOKS) for day in DAYS]


def test_open_items_are_those_of_the_features(
    months: Sequence[Month], simulation: Simulation
) -> None:
    features = build_features(known_on(simulation.ledger, DAYS[-1]))
    items = months[-1].items
    open_ = (
        items.groupby("customer_id")["open_amount"]
        .sum()
        .reindex(features.index, fill_value=0.0)
    )
    np.testing.assert_allclose(open_, features["open_amount"].fillna(0.0), atol=1e-6)
    oldest = (
        items.groupby("customer_id")["dpd_days"]
        .max()
        .clip(lower=0)
        .reindex(features.index)
    )
    known = features["dpd_days"].notna() & oldest.notna()
    np.testing.assert_array_equal(oldest[known], features.loc[known, "dpd_days"])


def test_each_open_invoice_is_provided_for_by_both_methods(
    months: Sequence[Month],
) -> None:
    found = provisions(months[-1], RULEBOOKS[-1])
    assert sorted(found["invoice_id"]) == sorted(months[-1].items["invoice_id"])
    assert all(isinstance(amount, Decimal) for amount in found["matrix"])
    for _, row in found.groupby("bucket").head(3).iterrows():
        assert 0 <= row["matrix"] <= row["open_amount"]
        assert (
            0
            <= row["expected_loss"]
            <= row["open_amount"] * Decimal("0.45") + Decimal("0.01")
        )
    assert list(found["bucket"]) == list(bucket_of(found["dpd_days"]))
    late = found[found["bucket"] == "90+"]
    assert late["matrix"].sum() == pytest.approx(
        late["open_amount"].sum() / 2, abs=Decimal(1)
    )


@pytest.mark.parametrize(
    ("dpd_days", "bucket"),
    [
        (-9, "not_due"),
        (0, "not_due"),
        (1, "1-15"),
        (15, "1-15"),
        (16, "16-30"),
        (60, "31-60"),
        (61, "61-90"),
        (90, "61-90"),
        (91, "90+"),
    ],
)
def test_buckets_are_those_of_the_rules(dpd_days: int, bucket: str) -> None:
    assert bucket_of(pd.Series([dpd_days])).tolist() == [bucket]
    assert (
        RULEBOOKS[-1].tables["provision_matrix"](dpd_days=dpd_days).outputs["bucket"]
        == bucket
    )


def test_everybody_of_a_grade_goes_somewhere(months: Sequence[Month]) -> None:
    found = migration(months[0], months[1])
    assert found.sum().sum() == len(months[0].grade)
    pd.testing.assert_series_equal(
        found.sum(axis=1),
        months[0].grade.value_counts().reindex(found.index, fill_value=0),
        check_names=False,
    )
    assert found["default"].sum() > 0
    assert (months[0].grade == months[0].grade).all()
    same = migration(months[0], months[0])
    assert same.to_numpy().trace() == same.sum().sum()


def test_every_amount_rolls_somewhere(months: Sequence[Month]) -> None:
    found = roll_rates(months[0], months[1])
    assert found.sum().sum() == pytest.approx(months[0].items["open_amount"].sum())
    rates = implied_loss_rates(found, 0.45)
    in_order = [rates[bucket] for bucket in BUCKETS]
    assert in_order == sorted(in_order)
    assert 0 < in_order[0] < in_order[-1] == 0.45


def test_roll_rates_of_a_hand_worked_month() -> None:
    def month(rows: list[tuple[str, float, int]]) -> Month:
        items = pd.DataFrame(rows, columns=["invoice_id", "open_amount", "dpd_days"])
        return Month(None, pd.Series(dtype=object), items)  # type: ignore[arg-type]

    before = month([("A", 100.0, 5), ("B", 60.0, 5), ("C", 40.0, 70), ("D", 10.0, -3)])
    after = month([("A", 70.0, 35), ("C", 40.0, 100), ("E", 500.0, 1), ("D", 10.0, 27)])
    found = roll_rates(before, after)
    assert found.loc["1-15", ["31-60", "settled"]].tolist() == [70.0, 90.0]
    assert found.loc["61-90", ["90+", "settled"]].tolist() == [40.0, 0.0]
    assert found.loc["not_due", "16-30"] == 10.0
    assert found.to_numpy().sum() == 210.0  # what was invoiced meanwhile is not in it


def test_vintages_of_a_hand_worked_ledger() -> None:
    items = """invoice_id | customer_id | issued_on | due_on | amount
               A | X | 2024-01-05 | 2024-02-04 | 100
               B | Y | 2024-01-20 | 2024-02-19 | 300
               C | X | 2024-02-10 | 2024-03-11 | 50"""
    paid = """invoice_id | paid_on | amount
              A | 2024-02-04 | 100
              B | 2024-02-20 | 100
              B | 2024-05-01 | 200"""
    book = ledger(invoices=items, payments=paid)
    found = vintages(accounts_of(book), date(2024, 5, 25))
    assert found.loc["2024-01", ["amount", 0, 30, 60, 90]].tolist() == [
        400.0,
        0.75,
        0.5,
        0.5,
        0.0,
    ]
    assert found.loc["2024-02", [0, 30, 60]].tolist() == [1.0, 1.0, 1.0]
    assert found.loc["2024-02", [90, 120]].isna().all()  # not yet reached
    early = vintages(
        accounts_of(book), date(2024, 4, 25)
    )  # nothing of May is known yet
    assert early.loc["2024-01", 60] == 0.5
    assert np.isnan(early.loc["2024-01", 90])


def test_stress_raises_losses_and_only_the_shocked_sector_suffers(
    months: Sequence[Month],
) -> None:
    portfolio = months[-1].portfolio
    found = stress(portfolio, RULEBOOKS[-1], "retail")
    assert list(found) == ["mild", "severe", "sector retail"]
    for figures in found.values():
        assert figures["expected_loss"][1] > figures["expected_loss"][0]
        assert figures["eva"][1] < figures["eva"][0]
        assert figures["limit"][1] <= figures["limit"][0]
    assert found["severe"]["expected_loss"][1] > found["mild"]["expected_loss"][1]
    with pytest.raises(SchemaError, match="no customer is in sector 'moon'"):
        stress(portfolio, RULEBOOKS[-1], "moon")
    assert list(stress(replace(portfolio, groups={}), RULEBOOKS[-1])) == [
        "mild",
        "severe",
    ]


def test_a_review_sees_nothing_of_later_days(
    accounts: Sequence[Account], trained: Trained, store: Path
) -> None:
    model = ChampionLoader(store).current().model

    def reviewed(accounts: Sequence[Account], days: Sequence[date]) -> Review:
        months = [month_of(accounts, day, model, RULEBOOKS) for day in days]
        return review(accounts, months, RULEBOOKS[-1])

    days = DAYS[:2]
    whole = reviewed(accounts, days)
    known = [customer.account for customer in active_on(accounts, days[-1]).known]
    then = reviewed(known, days)
    pd.testing.assert_frame_equal(whole.provisions, then.provisions)
    pd.testing.assert_frame_equal(whole.roll_rates, then.roll_rates)
    pd.testing.assert_frame_equal(whole.vintages, then.vintages)
    with pytest.raises(AsOfError, match="no invoice was known"):
        reviewed(accounts, month_ends(date(2021, 6, 30), 1))


def test_the_command_writes_tables_and_a_picture(
    simulation: Simulation, trained: Trained, store: Path, tmp_path: Path
) -> None:
    write_ledger(simulation, tmp_path / "ledger")
    words = [
        "review",
        str(tmp_path / "ledger" / "mapping.toml"),
        "--as-of",
        "2024-06-30",
        "--months",
        "1",
        "--store",
        str(store),
        "--out",
        str(tmp_path / "out"),
    ]
    shown = CliRunner().invoke(app, words, catch_exceptions=False)
    assert shown.exit_code == 0
    for title in ("provisions, EUR", "migration of grades", "roll rates", "stress"):
        assert title in shown.stdout
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "provisions.csv",
        "migration.csv",
        "roll_rates.csv",
        "vintages.csv",
        "vintages.png",
    }
    assert (tmp_path / "out" / "vintages.png").stat().st_size > 10_000
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert set(found) == {
        "provisions",
        "migration",
        "roll_rates",
        "implied_loss_rates",
        "vintages",
        "stress",
    }
    listed = CliRunner().invoke(
        app,
        ["cases", "--reevaluate", "--store", str(store)],
        catch_exceptions=False,
    )
    assert listed.exit_code == 0
    assert "may resolve" in listed.stdout
