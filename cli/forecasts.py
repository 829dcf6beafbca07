"""The commands that forecast: expected cash, and loss given default."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from obligor.cli.arguments import (
    AsOf,
    LedgerMapping,
    Rules,
    command_context,
    console,
    with_options,
)
from obligor.policy.rulebooks.rulebook import RULES, in_force, read_rulebooks

if TYPE_CHECKING:
    from obligor.forecasts.cash import Cash


@dataclass(frozen=True)
class CashOptions:
    """The options of `obligor cash`."""

    mapping: LedgerMapping
    as_of: AsOf = None
    weeks: Annotated[int, typer.Option(min=1, max=26, help="Weeks ahead")] = 13
    seed: Annotated[int, typer.Option(help="Seed of the simulation")] = 7
    folder: Annotated[
        Path,
        typer.Option("--out", help="Folder for the CSV files and the picture"),
    ] = Path("cash")


@with_options(CashOptions)
def cash(options: CashOptions) -> None:
    """Forecast when the open invoices will be paid, and the cash of each week.

    If the ledger continues after the day, what was received is shown beside it.

    Example: `obligor cash ledger/mapping.toml --as-of 2024-09-30 --weeks 13 --out cash`
    """
    from obligor.forecasts.cash import cash_plot, expected_cash

    context = command_context()
    ledger = context.ledger(options.mapping)
    as_of = context.as_of(options.as_of, ledger.exported_on)
    with console.status("learning when invoices are paid"):
        forecast = expected_cash(ledger, as_of, options.weeks, options.seed)
    folder = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    forecast.invoices.to_csv(folder / "invoices.csv")
    forecast.weeks.to_csv(folder / "weeks.csv")
    forecast.coverage.to_csv(folder / "coverage.csv")
    figure = cash_plot(forecast, ledger.currency)
    figure.savefig(folder / "cash.png", dpi=110, bbox_inches="tight")
    title = f"{ledger.currency}, invoices open on {as_of}"
    console.print(_weeks_table(forecast, title))
    print_coverage(forecast, options.weeks)
    console.print(
        f"in [b]{folder}[/b]: invoices.csv (days to payment, p_paid_within_30d, "
        "p_late_30d), weeks.csv, coverage.csv, cash.png"
    )


def _weeks_table(forecast: Cash, title: str) -> Table:
    table = Table("week", "expected", "90% interval", "received", title=title)
    lows, highs = forecast.interval()
    for (week, row), low, high in zip(
        forecast.weeks.iterrows(),
        lows,
        highs,
        strict=True,
    ):
        received = "" if isnan(row["received"]) else f"{row['received']:,.0f}"
        interval = f"{low:,.0f} to {high:,.0f}"
        table.add_row(str(week), f"{row['expected']:,.0f}", interval, received)
    return table


def print_coverage(forecast: Cash, weeks: int) -> None:
    """Print how well a forecast of some weeks before held, or why it is not known."""
    if forecast.why_no_coverage:
        console.print(
            f"how well a forecast of {weeks} weeks before would have held is not "
            f"known: {escape(forecast.why_no_coverage)}"
        )
        return
    between = forecast.coverage.loc["between"]
    if not between["invoices"]:
        console.print(
            f"how well a forecast of {weeks} weeks before would have held is not "
            "known: no invoice was open then and watched long enough"
        )
        return
    console.print(
        f"{weeks} weeks before, payment came between its 10% and 90% day for "
        f"{between['observed']:.0%} of {between['invoices']:,.0f} invoices "
        f"({between['expected']:.0%} expected)"
    )


@dataclass(frozen=True)
class LgdOptions:
    """The options of `obligor lgd`."""

    mapping: LedgerMapping
    as_of: AsOf = None
    by: Annotated[
        str,
        typer.Option(help="Column of customers to group by: sector or country"),
    ] = "sector"
    rules: Rules = RULES


@with_options(LgdOptions)
def lgd(options: LgdOptions) -> None:
    """Estimate the share of a default that is lost, by segment, from recoveries.

    Example: `obligor lgd ledger/mapping.toml --as-of 2024-12-31 --by sector`
    """
    from obligor.forecasts.lgd import lgd_table, workouts
    from obligor.training.samples.config import DefaultDefinition

    context = command_context()
    ledger = context.ledger(options.mapping)
    as_of = context.as_of(options.as_of, ledger.exported_on)
    rulebooks, _ = read_rulebooks(options.rules)
    parameters = in_force(rulebooks, as_of).parameters
    discount_rate = float(parameters["cost_of_funds"])
    recoveries = workouts(ledger, DefaultDefinition(), as_of, discount_rate)
    customers = ledger["customers"].set_index("customer_id")
    segment = customers[options.by].dropna() if options.by in customers else None
    table = Table(
        "segment",
        "defaulted items",
        "LGD",
        "95% interval",
        "source",
        title=f"known on {as_of}",
    )
    stated_lgd = float(parameters["lgd"])
    for name, row in lgd_table(recoveries, segment, stated_lgd).iterrows():
        has_interval = not isnan(row["low"])
        interval = f"{row['low']:.1%} to {row['high']:.1%}" if has_interval else ""
        table.add_row(
            str(name),
            f"{row['items']:,}",
            f"{row['lgd']:.1%}",
            interval,
            row["source"],
        )
    console.print(table)
    console.print(
        "the rules use one LGD for all segments (parameter lgd); "
        "a draft rulebook may use these figures"
    )
