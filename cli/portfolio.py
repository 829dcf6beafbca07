"""The commands on a whole portfolio: its review, and the cases people must resolve; the clock is here."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from obligor.cli.policy import Rules, day_of
from obligor.errors import ObligorError
from obligor.policy.rulebooks.rulebook import RULES, read_rulebooks

if TYPE_CHECKING:
    import pandas as pd

    from obligor.portfolio.review import Review

out = Console()
Store = Annotated[
    Path,
    typer.Option(envvar="OBLIGOR_STORE", help="Folder of models, ledger and record"),
]


def _watch(days: Iterable[date]) -> Iterator[date]:
    return iter(track(list(days), description="months", console=out, transient=True))


def review(
    mapping: Annotated[
        Path, typer.Argument(help="TOML file that maps your ledger's columns")
    ],
    as_of: Annotated[str, typer.Option(help="The last day whose knowledge counts")],
    months: Annotated[
        int, typer.Option(min=1, max=120, help="Months to look back")
    ] = 12,
    sector: Annotated[
        str | None, typer.Option(help="The sector to shock; default the largest")
    ] = None,
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for the CSV files and the picture")
    ] = Path("review"),
    store: Store = Path("store"),
    rules: Rules = RULES,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object")] = False,
) -> None:
    """Review a portfolio: provisions per invoice, migration of grades, roll rates, vintages, stress.

    Example: `obligor review ledger/mapping.toml --as-of 2024-12-31 --months 12 --out review`
    """
    from obligor.data.sources import read_ledger
    from obligor.decisions.champion import ChampionLoader
    from obligor.portfolio.month import month_ends
    from obligor.portfolio.review import review as review_portfolio
    from obligor.portfolio.snapshot import ledger_accounts
    from obligor.portfolio.vintages import draw_vintages
    from obligor.serving.settings import Settings

    ledger = read_ledger(
        mapping, today=datetime.now(UTC).date(), environment=os.environ
    ).require()
    settings = Settings.of({**os.environ, "OBLIGOR_STORE": str(store)})
    champions = ChampionLoader(settings.store, settings.trusted)
    found = review_portfolio(
        ledger_accounts(ledger),
        month_ends(day_of(as_of), months),
        champions.current().model,
        read_rulebooks(rules)[0],
        sector,
        iter if as_json else _watch,
    )
    folder.mkdir(parents=True, exist_ok=True)
    found.provisions.to_csv(folder / "provisions.csv", index=False)
    for name in ("migration", "roll_rates", "vintages"):
        getattr(found, name).to_csv(folder / f"{name}.csv")
    draw_vintages(found.vintages, folder / "vintages.png")
    if as_json:
        typer.echo(json.dumps(_as_json(found), default=str))
    else:
        _print(found)
        out.print(
            f"in [b]{folder}[/b]: provisions.csv (per invoice), migration.csv, roll_rates.csv, vintages.csv, .png"
        )


def _by_bucket(found: Review) -> pd.DataFrame:
    """Sums of the provisions per age bucket."""
    from obligor.portfolio.migration import BUCKETS

    sums = found.provisions.groupby("bucket")[
        ["open_amount", "matrix", "expected_loss"]
    ].sum()
    return sums.reindex([bucket for bucket in BUCKETS if bucket in sums.index])


def cash(
    mapping: Annotated[
        Path, typer.Argument(help="TOML file that maps your ledger's columns")
    ],
    as_of: Annotated[str, typer.Option(help="The last day whose knowledge counts")],
    weeks: Annotated[int, typer.Option(min=1, max=26)] = 13,
    seed: int = 7,
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for the CSV files and the picture")
    ] = Path("cash"),
) -> None:
    """Say when the open invoices will be paid: days to payment per invoice, expected cash per week.

    Where the ledger goes on after the day, what came is put beside what was expected.

    Example: `obligor cash ledger/mapping.toml --as-of 2024-09-30 --weeks 13 --out cash`
    """
    from obligor.data.sources import read_ledger
    from obligor.training.forecasts.cash import cash_plot, expected_cash

    ledger = read_ledger(
        mapping, today=datetime.now(UTC).date(), environment=os.environ
    ).require()
    with out.status("learning when invoices are paid"):
        found = expected_cash(ledger, day_of(as_of), weeks, seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("invoices", "weeks", "coverage"):
        getattr(found, name).to_csv(folder / f"{name}.csv")
    cash_plot(found, ledger.currency).savefig(
        folder / "cash.png", dpi=110, bbox_inches="tight"
    )
    shown = Table(
        "week",
        "expected",
        "90% interval",
        "received",
        title=f"{ledger.currency}, invoices open on {as_of}",
    )
    for (week, row), low, high in zip(
        found.weeks.iterrows(), *found.interval(), strict=True
    ):
        came = "" if row["received"] != row["received"] else f"{row['received']:,.0f}"
        shown.add_row(
            str(week), f"{row['expected']:,.0f}", f"{low:,.0f} to {high:,.0f}", came
        )
    out.print(shown)
    held = found.coverage.loc["between"]
    out.print(
        f"{weeks} weeks before, payment came between its 10% and 90% day for {held['observed']:.0%} of "
        f"{held['invoices']:,.0f} invoices ({held['expected']:.0%} expected)"
    )
    out.print(
        f"in [b]{folder}[/b]: invoices.csv (days to payment, p_paid_within_30d, p_late_30d), weeks.csv, "
        "coverage.csv, cash.png"
    )


def lgd(
    mapping: Annotated[
        Path, typer.Argument(help="TOML file that maps your ledger's columns")
    ],
    as_of: Annotated[str, typer.Option(help="The last day whose knowledge counts")],
    by: Annotated[
        str, typer.Option(help="A column of customers: sector, country")
    ] = "sector",
    rules: Rules = RULES,
) -> None:
    """Say what share of a default is lost, from the recoveries the ledger records, by segment.

    Example: `obligor lgd ledger/mapping.toml --as-of 2024-12-31 --by sector`
    """
    from obligor.data.sources import read_ledger
    from obligor.policy.rulebooks.rulebook import in_force
    from obligor.training.forecasts.lgd import lgd_table, workouts
    from obligor.training.samples.config import DefaultDefinition

    ledger = read_ledger(
        mapping, today=datetime.now(UTC).date(), environment=os.environ
    ).require()
    day = day_of(as_of)
    parameters = in_force(read_rulebooks(rules)[0], day).parameters
    found = workouts(
        ledger, DefaultDefinition(), day, float(parameters["cost_of_funds"])
    )
    customers = ledger["customers"].set_index("customer_id")
    segment = customers[by].dropna() if by in customers else None
    shown = Table(
        "segment",
        "defaulted items",
        "LGD",
        "95% interval",
        "source",
        title=f"known on {day}",
    )
    for name, row in lgd_table(found, segment, float(parameters["lgd"])).iterrows():
        ends = (
            "" if row["low"] != row["low"] else f"{row['low']:.1%} to {row['high']:.1%}"
        )
        shown.add_row(
            str(name), f"{row['items']:,}", f"{row['lgd']:.1%}", ends, row["source"]
        )
    out.print(shown)
    out.print(
        "the rules use one LGD for all (parameter lgd); a draft rulebook may take these"
    )


def _as_json(found: Review) -> dict[str, Any]:
    return {
        "provisions": _by_bucket(found).to_dict("index"),
        "migration": found.migration.to_dict("index"),
        "roll_rates": found.roll_rates.to_dict("index"),
        "implied_loss_rates": found.implied_loss_rates,
        "vintages": found.vintages.to_dict("index"),
        "stress": found.stress,
    }


def _print(found: Review) -> None:
    sums, currency = _by_bucket(found), found.provisions["currency"].iloc[0]
    table = Table(
        "age",
        "open",
        "IFRS 9 matrix",
        "expected loss by PD",
        "loss rate implied by roll rates",
        title=f"provisions, {currency}",
    )
    for bucket, row in sums.iterrows():
        implied = found.implied_loss_rates[str(bucket)]
        table.add_row(
            str(bucket), *(f"{amount:,.2f}" for amount in row), f"{implied:.2%}"
        )
    table.add_row("all", *(f"{amount:,.2f}" for amount in sums.sum()), "", style="bold")
    out.print(table)
    out.print(
        _shares(
            "migration of grades a month, % of the customers of a row", found.migration
        )
    )
    out.print(_shares("roll rates a month, % of the amount of a row", found.roll_rates))
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
    for name, figures in found.stress.items():
        pairs = [figures[key] for key in ("expected_loss", "eva", "limit", "approve")]
        scales = (1000, 1000, 1000, 1)
        moves = (
            f"{was / by:,.0f}\n-> {now / by:,.0f}"
            for (was, now), by in zip(pairs, scales, strict=True)
        )
        assumed = (
            f"{figures['scenario'][key]:g}"
            for key in ("pd_factor", "lgd_add", "sector_pd_factor")
        )
        table.add_row(name, *assumed, *moves)
    out.print(table)


def _shares(title: str, counts: pd.DataFrame) -> Table:
    """A table of counts or amounts as shares of their rows."""
    seen = counts.loc[counts.sum(axis=1) > 0, counts.sum() > 0]
    table = Table("from", title=title)
    for name in seen:
        table.add_column(str(name), justify="right", no_wrap=True)
    for name, row in seen.div(seen.sum(axis=1), axis=0).iterrows():
        table.add_row(
            str(name), *(f"{100 * share:.1f}" if share else "" for share in row)
        )
    return table


def cases(
    reevaluate: Annotated[
        bool, typer.Option(help="Ask each open case again with what is known now")
    ] = False,
    store: Store = Path("store"),
) -> None:
    """List the open cases; after a new ledger was loaded, decide them again: what has been paid closes.

    Example: `obligor cases --reevaluate`
    """
    from obligor.casework.cases import open_cases, reevaluate_case
    from obligor.serving.assembly import build_engine
    from obligor.serving.settings import Settings

    settings = Settings.of({**os.environ, "OBLIGOR_STORE": str(store)})
    engine = build_engine(
        settings,
        now=lambda: datetime.now(UTC),
        new_id=lambda: str(uuid.uuid4()),
        random=os.urandom,
    )
    table = Table("case", "customer", "opened", "was", "why", "may resolve", "now")
    for case in json.loads(open_cases(engine))["cases"]:
        now = "open"
        if reevaluate:
            try:
                now = json.loads(reevaluate_case(case["case_id"], engine))["status"]
            except ObligorError as error:
                now = error.what
        reasons, who = (
            ", ".join(reason["code"] for reason in case["reasons"]),
            case["authority"],
        )
        table.add_row(
            case["case_id"],
            case["customer_id"],
            case["opened_at"][:10],
            case["outcome"],
            reasons,
            f"{who['approver']} x {max(who['persons'], 1)}",
            now,
        )
    out.print(table)
