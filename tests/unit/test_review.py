"""A portfolio under review, against tables worked by hand.

Provisions, migration, roll rates, vintages and stress.
"""

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
from click.testing import Result
from typer.testing import CliRunner

from obligor.cli.app import app
from obligor.data.account import Account
from obligor.data.account_building import accounts_of
from obligor.data.asof import known_on
from obligor.data.synthetic import Simulation, write_ledger
from obligor.decisions.champion import ChampionLoader
from obligor.errors import AsOfError, SchemaError
from obligor.features.build import build_features
from obligor.model.pd_model import PdModel
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
from tests.ascii import ledger, spec

RULEBOOKS = read_rulebooks(RULES)[0]
RULEBOOK = RULEBOOKS[-1]
DAYS = month_ends(date(2024, 6, 30), 2)


@pytest.fixture(scope="module")
def accounts(simulation: Simulation) -> list[Account]:
    return list(ledger_accounts(simulation.ledger))


@pytest.fixture(scope="module")
def model(trained: Trained, store: Path) -> PdModel:
    return ChampionLoader(store).current().model


@pytest.fixture(scope="module")
def months(accounts: Sequence[Account], model: PdModel) -> list[Month]:
    return [month_of(accounts, day, model, RULEBOOKS) for day in DAYS]


@pytest.fixture(scope="module")
def features(simulation: Simulation) -> pd.DataFrame:
    return build_features(known_on(simulation.ledger, DAYS[-1]))


def test_open_amounts_equal_those_of_the_features(
    months: Sequence[Month], features: pd.DataFrame
) -> None:
    by_customer = months[-1].items.groupby("customer_id")["open_amount"].sum()
    open_amount = by_customer.reindex(features.index, fill_value=0.0)
    expected = features["open_amount"].fillna(0.0)
    np.testing.assert_allclose(open_amount, expected, atol=1e-6)


def test_days_past_due_equal_those_of_the_features(
    months: Sequence[Month], features: pd.DataFrame
) -> None:
    by_customer = months[-1].items.groupby("customer_id")["dpd_days"].max()
    oldest = by_customer.clip(lower=0).reindex(features.index)
    is_compared = features["dpd_days"].notna() & oldest.notna()
    expected = features.loc[is_compared, "dpd_days"]
    np.testing.assert_array_equal(oldest[is_compared], expected)


@pytest.fixture(scope="module")
def provided(months: Sequence[Month]) -> pd.DataFrame:
    return provisions(months[-1], RULEBOOK)


def test_every_open_invoice_is_provided_for(
    months: Sequence[Month], provided: pd.DataFrame
) -> None:
    assert sorted(provided["invoice_id"]) == sorted(months[-1].items["invoice_id"])
    assert list(provided["bucket"]) == list(bucket_of(provided["dpd_days"]))
    assert all(isinstance(amount, Decimal) for amount in provided["matrix"])


def test_a_provision_is_at_most_the_open_amount(provided: pd.DataFrame) -> None:
    for _, row in provided.groupby("bucket").head(3).iterrows():
        most_expected = row["open_amount"] * Decimal("0.45") + Decimal("0.01")
        assert 0 <= row["matrix"] <= row["open_amount"]
        assert 0 <= row["expected_loss"] <= most_expected


def test_half_of_the_oldest_invoices_is_provided_for(provided: pd.DataFrame) -> None:
    late = provided[provided["bucket"] == "90+"]
    half = late["open_amount"].sum() / 2
    assert late["matrix"].sum() == pytest.approx(half, abs=Decimal(1))


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
def test_buckets_equal_those_of_the_rulebook(dpd_days: int, bucket: str) -> None:
    assert bucket_of(pd.Series([dpd_days])).tolist() == [bucket]
    evaluation = RULEBOOK.tables["provision_matrix"](dpd_days=dpd_days)
    assert evaluation.outputs["bucket"] == bucket


def test_every_customer_of_a_grade_has_a_grade_later(months: Sequence[Month]) -> None:
    counts = migration(months[0], months[1])
    grades = months[0].grade.value_counts().reindex(counts.index, fill_value=0)
    assert counts.sum().sum() == len(months[0].grade)
    pd.testing.assert_series_equal(counts.sum(axis=1), grades, check_names=False)
    assert counts["default"].sum() > 0


def test_no_grade_is_missing(months: Sequence[Month]) -> None:
    assert months[0].grade.notna().all()


def test_nothing_migrates_within_the_same_month(months: Sequence[Month]) -> None:
    counts = migration(months[0], months[0])
    assert counts.to_numpy().trace() == counts.sum().sum()


def test_every_amount_rolls_into_a_bucket_or_is_settled(
    months: Sequence[Month],
) -> None:
    rolls = roll_rates(months[0], months[1])
    open_amount = months[0].items["open_amount"].sum()
    assert rolls.sum().sum() == pytest.approx(open_amount)


def test_implied_loss_rates_rise_with_age(months: Sequence[Month]) -> None:
    rates = implied_loss_rates(roll_rates(months[0], months[1]), 0.45)
    by_age = [rates[bucket] for bucket in BUCKETS]
    assert by_age == sorted(by_age)
    assert 0 < by_age[0] < by_age[-1] == 0.45


def month(rows: list[tuple[str, float, int]]) -> Month:
    """A month of which only the open items are known."""
    items = pd.DataFrame(rows, columns=["invoice_id", "open_amount", "dpd_days"])
    return Month(None, pd.Series(dtype=object), items)  # type: ignore[arg-type]


def test_roll_rates_of_a_month_worked_by_hand() -> None:
    before = month(
        [
            ("A", 100.0, 5),
            ("B", 60.0, 5),
            ("C", 40.0, 70),
            ("D", 10.0, -3),
        ]
    )
    after = month(
        [
            ("A", 70.0, 35),
            ("C", 40.0, 100),
            ("E", 500.0, 1),
            ("D", 10.0, 27),
        ]
    )
    rolls = roll_rates(before, after)
    assert rolls.loc["1-15", ["31-60", "settled"]].tolist() == [70.0, 90.0]
    assert rolls.loc["61-90", ["90+", "settled"]].tolist() == [40.0, 0.0]
    assert rolls.loc["not_due", "16-30"] == 10.0
    # Invoice E was issued meanwhile and does not count.
    assert rolls.to_numpy().sum() == 210.0


INVOICES = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    A          | X           | 2024-01-05 | 2024-02-04 | 100
    B          | Y           | 2024-01-20 | 2024-02-19 | 300
    C          | X           | 2024-02-10 | 2024-03-11 | 50
"""
PAYMENTS = """
    invoice_id | paid_on    | amount
    A          | 2024-02-04 | 100
    B          | 2024-02-20 | 100
    B          | 2024-05-01 | 200
"""


def unpaid_shares(as_of: date) -> pd.DataFrame:
    book = ledger(invoices=INVOICES, payments=PAYMENTS)
    return vintages(accounts_of(book), as_of).rename_axis("month")


def test_vintages_of_a_ledger_worked_by_hand() -> None:
    expected = """
        month   | amount | 0    | 30  | 60  | 90 | 120
        2024-01 |    400 | 0.75 | 0.5 | 0.5 |  0 | -
        2024-02 |     50 | 1    | 1   | 1   |  - | -
    """
    shares = unpaid_shares(date(2024, 5, 25))
    spec(shares.rename(columns=str), expected)


def test_vintages_know_nothing_of_later_payments() -> None:
    shares = unpaid_shares(date(2024, 4, 25))
    assert shares.loc["2024-01", 60] == 0.5
    assert np.isnan(shares.loc["2024-01", 90])


def test_vintages_of_payments_that_came_back_and_cancelled_invoices() -> None:
    """A's payment bounced, C was cancelled, and B was due a month later after all."""
    undone = """
    payment_id | invoice_id | paid_on    | amount | reverses
    P1         | A          | 2024-02-04 | 100    | -
    P2         | A          | 2024-02-20 | -100   | P1
    P3         | B          | 2024-02-20 | 100    | -
    P4         | B          | 2024-05-01 | 200    | -
    """
    book = ledger(
        invoices=INVOICES,
        payments=undone,
        cancellations="""
            invoice_id | cancelled_on
            C          | 2024-04-01
        """,
        extensions="""
            invoice_id | extended_on | due_on
            B          | 2024-02-18  | 2024-03-19
        """,
    )
    expected = """
        month   | amount | 0    | 30   | 60   | 90 | 120
        2024-01 |    400 | 0.75 | 0.75 | 0.25 |  - | -
    """
    shares = vintages(accounts_of(book), date(2024, 5, 25)).rename_axis("month")
    spec(shares.rename(columns=str), expected)


def test_vintages_are_at_the_rate_of_the_invoice() -> None:
    """A rate that moved is neither paid nor unpaid: a quarter is open, as in USD."""
    book = ledger(
        invoices="""
            invoice_id | customer_id | issued_on  | due_on     | amount | currency
            A          | X           | 2024-01-05 | 2024-02-04 | 100    | USD
        """,
        payments="""
            invoice_id | paid_on    | amount
            A          | 2024-02-04 | 75
        """,
        fx_rates="""
            currency | rate_on    | rate
            USD      | 2024-01-01 | 0.9
            USD      | 2024-02-01 | 0.3
        """,
    )
    expected = """
        month   | amount | 0    | 30
        2024-01 |     90 | 0.25 | 0.25
    """
    shares = vintages(list(ledger_accounts(book)), date(2024, 5, 25))
    spec(shares.rename_axis("month").rename(columns=str), expected)


def test_stress_raises_losses_and_lowers_limits(months: Sequence[Month]) -> None:
    scenarios = stress(months[-1].portfolio, RULEBOOK, "retail")
    assert list(scenarios) == ["mild", "severe", "sector retail"]
    for figures in scenarios.values():
        assert figures["expected_loss"][1] > figures["expected_loss"][0]
        assert figures["eva"][1] < figures["eva"][0]
        assert figures["limit"][1] <= figures["limit"][0]


def test_a_severe_scenario_costs_more_than_a_mild_one(
    months: Sequence[Month],
) -> None:
    scenarios = stress(months[-1].portfolio, RULEBOOK, "retail")
    mild = scenarios["mild"]["expected_loss"][1]
    assert scenarios["severe"]["expected_loss"][1] > mild


def test_an_unknown_sector_cannot_be_stressed(months: Sequence[Month]) -> None:
    with pytest.raises(SchemaError, match="no customer is in sector 'moon'"):
        stress(months[-1].portfolio, RULEBOOK, "moon")


def test_without_sectors_the_whole_portfolio_is_stressed(
    months: Sequence[Month],
) -> None:
    portfolio = replace(months[-1].portfolio, groups={})
    assert list(stress(portfolio, RULEBOOK)) == ["mild", "severe"]


def reviewed(
    accounts: Sequence[Account],
    days: Sequence[date],
    model: PdModel,
) -> Review:
    months = [month_of(accounts, day, model, RULEBOOKS) for day in days]
    return review(accounts, months, RULEBOOK)


def test_a_review_sees_nothing_of_later_days(
    accounts: Sequence[Account], model: PdModel
) -> None:
    days = DAYS[:2]
    with_later_days = reviewed(accounts, days, model)
    customers = active_on(accounts, days[-1])
    cut_accounts = [customer.account for customer in customers.accounts]
    without = reviewed(cut_accounts, days, model)
    pd.testing.assert_frame_equal(with_later_days.provisions, without.provisions)
    pd.testing.assert_frame_equal(with_later_days.roll_rates, without.roll_rates)
    pd.testing.assert_frame_equal(with_later_days.vintages, without.vintages)


def test_a_review_before_the_first_invoice_is_an_error(
    accounts: Sequence[Account], model: PdModel
) -> None:
    with pytest.raises(AsOfError, match="no invoice was known"):
        reviewed(accounts, month_ends(date(2021, 6, 30), 1), model)


# --- the command


class ReviewCommand:
    """`obligor review` of the synthetic ledger, one month back."""

    def __init__(
        self,
        simulation: Simulation,
        store: Path,
        folder: Path,
    ) -> None:
        write_ledger(simulation, folder / "ledger")
        self.output = folder / "out"
        self.words = ["review", str(folder / "ledger" / "mapping.toml")]
        self.words += ["--as-of", "2024-06-30", "--months", "1"]
        self.words += [
            "--store",
            str(store),
            "--out",
            str(self.output),
        ]

    def run(self, *options: str) -> Result:
        words = [*self.words, *options]
        return CliRunner().invoke(app, words, catch_exceptions=False)


@pytest.fixture
def command(
    simulation: Simulation,
    trained: Trained,
    store: Path,
    tmp_path: Path,
) -> ReviewCommand:
    return ReviewCommand(simulation, store, tmp_path)


def test_the_command_prints_a_table_of_each_part(command: ReviewCommand) -> None:
    printed = command.run()
    assert printed.exit_code == 0
    for title in ("provisions, EUR", "migration of grades", "roll rates", "stress"):
        assert title in printed.stdout


def test_the_command_writes_tables_and_a_picture(command: ReviewCommand) -> None:
    command.run()
    assert {path.name for path in command.output.iterdir()} == {
        "provisions.csv",
        "migration.csv",
        "roll_rates.csv",
        "vintages.csv",
        "vintages.png",
    }
    assert (command.output / "vintages.png").stat().st_size > 10_000


def test_the_command_gives_every_part_as_json(command: ReviewCommand) -> None:
    assert set(json.loads(command.run("--json").stdout)) == {
        "provisions",
        "migration",
        "roll_rates",
        "implied_loss_rates",
        "unknown_loss_rates",
        "vintages",
        "stress",
    }


def test_reevaluated_cases_show_who_may_resolve_them(
    trained: Trained, store: Path
) -> None:
    words = [
        "cases",
        "--reevaluate",
        "--store",
        str(store),
    ]
    listing = CliRunner().invoke(app, words, catch_exceptions=False)
    assert listing.exit_code == 0
    assert "may resolve" in listing.stdout
