"""The command that reviews a whole portfolio."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from obligor.cli.arguments import (
    AsJson,
    AsOf,
    LedgerMapping,
    Rules,
    Store,
    command_context,
    console,
    progress_bar,
    with_options,
)
from obligor.policy.rulebooks.rulebook import RULES, in_force, read_rulebooks

if TYPE_CHECKING:
    import pandas as pd

    from obligor.portfolio.review import Review


@dataclass(frozen=True)
class ReviewOptions:
    """The options of `obligor review`."""

    mapping: LedgerMapping
    as_of: AsOf = None
    months: Annotated[
        int,
        typer.Option(min=1, max=120, help="Months to look back"),
    ] = 12
    sector: Annotated[
        str | None,
        typer.Option(help="Sector to shock; default the largest"),
    ] = None
    folder: Annotated[
        Path,
        typer.Option("--out", help="Folder for the CSV files and the picture"),
    ] = Path("review")
    store: Store = Path("store")
    rules: Rules = RULES
    as_json: AsJson = False


@with_options(ReviewOptions)
def review(options: ReviewOptions) -> None:
    """Review a portfolio: provisions, migration, roll rates, vintages, stress.

    Example: `obligor review ledger/mapping.toml --as-of 2024-12-31 --months 12`
    """
    portfolio_review = _reviewed(options)
    write_files(portfolio_review, options.folder)
    if options.as_json:
        figures = known_figures(figures_of(portfolio_review))
        typer.echo(json.dumps(figures, default=str, allow_nan=False))
        return
    print_review(portfolio_review)
    console.print(
        f"in [b]{options.folder}[/b]: provisions.csv (per invoice), migration.csv, "
        "roll_rates.csv, vintages.csv, vintages.png"
    )


def _reviewed(options: ReviewOptions) -> Review:
    from obligor.data.bureau import reports_of
    from obligor.data.groups import links_of
    from obligor.portfolio.month import KnownParties, month_ends, month_of
    from obligor.portfolio.review import review as review_portfolio
    from obligor.portfolio.snapshot import days_with_invoices, ledger_accounts

    context = command_context()
    ledger = context.ledger(options.mapping)
    as_of = context.as_of(options.as_of, ledger.exported_on)
    accounts = list(ledger_accounts(ledger))
    model = context.champions(options.store).current().model
    rulebooks, _ = read_rulebooks(options.rules)
    days = days_with_invoices(accounts, month_ends(as_of, options.months))
    watched_days = days if options.as_json else progress_bar("months")(days)
    parties = KnownParties(reports_of(ledger), links_of(ledger))
    months = [
        month_of(accounts, day, model, rulebooks, parties) for day in watched_days
    ]
    rulebook = in_force(rulebooks, as_of)
    return review_portfolio(accounts, months, rulebook, options.sector)


def write_files(portfolio_review: Review, folder: Path) -> None:
    """Write the tables of a review as CSV files, and the picture of the vintages."""
    from obligor.portfolio.vintages import draw_vintages

    folder.mkdir(parents=True, exist_ok=True)
    portfolio_review.provisions.to_csv(folder / "provisions.csv", index=False)
    portfolio_review.migration.to_csv(folder / "migration.csv")
    portfolio_review.roll_rates.to_csv(folder / "roll_rates.csv")
    portfolio_review.vintages.to_csv(folder / "vintages.csv")
    draw_vintages(portfolio_review.vintages, folder / "vintages.png")


def figures_of(portfolio_review: Review) -> dict[str, object]:
    """Return the figures of a review as `--json` prints them, NaN if not known."""
    return {
        "provisions": _provisions_by_bucket(portfolio_review).to_dict("index"),
        "migration": portfolio_review.migration.to_dict("index"),
        "roll_rates": portfolio_review.roll_rates.to_dict("index"),
        "implied_loss_rates": portfolio_review.implied_loss_rates,
        "unknown_loss_rates": portfolio_review.unknown_loss_rates,
        "vintages": portfolio_review.vintages.to_dict("index"),
        "stress": portfolio_review.stress,
    }


def known_figures(figures: object) -> object:
    """Return figures for JSON, which has no NaN: null for what is not known.

    Examples
    --------
    >>> known_figures({"2024-12": {"amount": 100.0, 90: float("nan")}})
    {'2024-12': {'amount': 100.0, 90: None}}
    """
    if isinstance(figures, dict):
        return {key: known_figures(value) for key, value in figures.items()}
    if isinstance(figures, list | tuple):
        return [known_figures(value) for value in figures]
    return None if isinstance(figures, float) and isnan(figures) else figures


def _provisions_by_bucket(portfolio_review: Review) -> pd.DataFrame:
    """Return the sums of the provisions per age bucket."""
    from obligor.portfolio.migration import BUCKETS

    provisions = portfolio_review.provisions.groupby("bucket")
    sums = provisions[["open_amount", "matrix", "expected_loss"]].sum()
    return sums.reindex([bucket for bucket in BUCKETS if bucket in sums.index])


def print_review(portfolio_review: Review) -> None:
    """Print the tables of a review."""
    console.print(_provisions_table(portfolio_review))
    migration = _shares_table(
        "migration of grades a month, % of the customers of a row",
        portfolio_review.migration,
    )
    console.print(migration)
    roll_rates = _shares_table(
        "roll rates a month, % of the amount of a row",
        portfolio_review.roll_rates,
    )
    console.print(roll_rates)
    console.print(_stress_table(portfolio_review))


def _provisions_table(portfolio_review: Review) -> Table:
    table = Table(
        "age",
        "open",
        "IFRS 9 matrix",
        "expected loss by PD",
        "loss rate implied by roll rates",
        title=f"provisions, {portfolio_review.currency}",
    )
    sums = _provisions_by_bucket(portfolio_review)
    for bucket, row in sums.iterrows():
        amounts = [f"{amount:,.2f}" for amount in row]
        loss_rate = _loss_rate(portfolio_review, str(bucket))
        table.add_row(str(bucket), *amounts, loss_rate)
    totals = [f"{amount:,.2f}" for amount in sums.sum()]
    table.add_row("all", *totals, "", style="bold")
    return table


def _loss_rate(portfolio_review: Review, bucket: str) -> str:
    """Return the loss rate that the roll rates imply, or why it is not known."""
    rate = portfolio_review.implied_loss_rates[bucket]
    if rate is None:
        return f"not known: {portfolio_review.unknown_loss_rates[bucket]}"
    return f"{rate:.2%}"


def _shares_table(title: str, counts: pd.DataFrame) -> Table:
    """Return a table of counts or amounts as shares of their rows."""
    is_row_filled = counts.sum(axis=1) > 0
    is_column_filled = counts.sum() > 0
    filled = counts.loc[is_row_filled, is_column_filled]
    table = Table("from", title=title)
    for name in filled:
        table.add_column(str(name), justify="right", no_wrap=True)
    for name, row in filled.div(filled.sum(axis=1), axis=0).iterrows():
        shares = [f"{100 * share:.1f}" if share else "" for share in row]
        table.add_row(str(name), *shares)
    if not table.row_count:
        table.add_row("not known: nothing was there a month before")
    return table


def _stress_table(portfolio_review: Review) -> Table:
    table = Table(
        "scenario",
        "PD x",
        "LGD +",
        "sector PD x",
        "expected loss",
        "EVA",
        "limits",
        "approved",
        title="stress, before -> after; amounts in thousands",
    )
    scale_by_figure = {
        "expected_loss": 1000,
        "eva": 1000,
        "limit": 1000,
        "approve": 1,
    }
    for name, figures in portfolio_review.stress.items():
        scenario = figures["scenario"]
        assumptions = [
            f"{scenario[factor]:g}"
            for factor in ("pd_factor", "lgd_add", "sector_pd_factor")
        ]
        changes = []
        for figure, scale in scale_by_figure.items():
            before, after = figures[figure]
            changes.append(f"{before / scale:,.0f}\n-> {after / scale:,.0f}")
        table.add_row(name, *assumptions, *changes)
    return table
