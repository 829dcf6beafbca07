"""A portfolio under review: provisions per invoice, how grades and ages move by month, vintages, and stress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.data.account import (
    AMOUNT,
    CREDIT_NOTE,
    DAY,
    DUE,
    ISSUED,
    ITEM,
    KIND,
    PAYMENT,
    VALUE,
    Account,
    day_number,
    day_of,
)
from obligor.data.acts import open_balances
from obligor.data.asof import KnownAccount
from obligor.data.money import round_money
from obligor.errors import SchemaError
from obligor.features.build import item_rates
from obligor.policy.collection import DEFAULT_DPD_DAYS
from obligor.policy.provision import provision
from obligor.policy.rulebook import Rulebook, in_force
from obligor.policy.simulate import Portfolio, Scenario, simulate, stressed, summary
from obligor.serving.portfolio import active_on, portfolio_of
from obligor.training.pd_model import PdModel

BUCKETS = ("not_due", "1-15", "16-30", "31-60", "61-90", "90+")
GRADES = tuple(str(grade) for grade in range(1, 11))
HORIZONS = (0, 30, 60, 90, 120)  # days past due at which a vintage is looked at
_LAST_DAYS = np.array([0, 15, 30, 60, 90])  # of each bucket but the last
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Month:
    """The last day of a month: the portfolio, each customer's grade, and every open item with its age."""

    portfolio: Portfolio
    grade: pd.Series[Any]
    items: pd.DataFrame


def month_ends(as_of: date, months: int) -> list[date]:
    """Return `as_of` and the last days of the months before it, oldest first.

    Examples
    --------
    >>> month_ends(date(2025, 3, 15), 2)
    [datetime.date(2025, 1, 31), datetime.date(2025, 2, 28), datetime.date(2025, 3, 15)]
    """
    days = [as_of]
    while len(days) <= months:
        days.append(days[-1].replace(day=1) - timedelta(days=1))
    return days[::-1]


def month_of(
    accounts: Iterable[Account],
    as_of: date,
    model: PdModel,
    rulebooks: Sequence[Rulebook],
) -> Month:
    """Return the portfolio as it was known on a day, under the rules of that day.

    Raises
    ------
    AsOfError
        Where no invoice was known by then.
    """
    known, rows = active_on(accounts, as_of)
    portfolio = portfolio_of(known, rows, model)
    found = simulate(portfolio, in_force(rulebooks, as_of))
    ids = pd.Index(portfolio.customer_ids)
    in_default = portfolio.features["dpd_days"] > DEFAULT_DPD_DAYS
    grade = pd.Series(
        np.where(in_default, "default", found.grade.astype("int64").astype(str)),
        index=ids,
    )
    return Month(
        portfolio,
        grade,
        _stacked(
            [_open_items(*one) for one in zip(known, portfolio.pd_12m, strict=True)]
        ),
    )


def _stacked(parts: Sequence[dict[Any, Any]]) -> pd.DataFrame:
    """One frame of many short tables: a frame for each would take a millisecond."""
    return pd.DataFrame(
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    )


def _open_items(known: KnownAccount, pd_12m: float) -> dict[Any, Any]:
    account, today = known.account, day_number(known.as_of)
    balance = open_balances(account)
    place = np.flatnonzero(balance > 0)
    return {
        "invoice_id": np.array(
            [account.invoice_ids[n] for n in place.tolist()], dtype=object
        ),
        "customer_id": [account.customer_id] * len(place),
        "pd_12m": np.full(len(place), pd_12m),
        "open_amount": balance[place] * item_rates(account)[place],
        "dpd_days": today - account.items[DUE, place],
    }


def provisions(month: Month, rulebook: Rulebook) -> pd.DataFrame:
    """Return every open invoice with its age bucket and both provisions (Decimal), largest expected loss first."""
    currency, rows = month.portfolio.currency, list[dict[str, Any]]()
    for item in month.items.to_dict("records"):
        amount = round_money(Decimal(str(item["open_amount"])), currency)
        found = provision(
            amount,
            int(item["dpd_days"]),
            Decimal(str(item["pd_12m"])),
            currency,
            rulebook,
        )
        rows.append(
            {
                **{str(name): value for name, value in item.items()},
                "open_amount": amount,
                "currency": currency,
                **vars(found),
            }
        )
    frame = pd.DataFrame(rows)
    return frame.sort_values(
        "expected_loss", ascending=False, kind="stable", ignore_index=True
    )


def migration(before: Month, after: Month) -> pd.DataFrame:
    """Return how many customers of each grade (rows) went to which grade, into default, or are gone."""
    now = after.grade.reindex(before.grade.index).fillna("gone")
    rows, columns = [*GRADES, "default"], [*GRADES, "default", "gone"]
    return pd.crosstab(before.grade, now).reindex(
        index=rows, columns=columns, fill_value=0
    )


def roll_rates(before: Month, after: Month) -> pd.DataFrame:
    """Return the amount open in each age bucket (rows) by where it is a month later: a bucket, or settled.

    Settled is what was paid, credited or written off.
    """
    then, now = (month.items.set_index("invoice_id") for month in (before, after))
    left = (
        now["open_amount"]
        .reindex(then.index)
        .fillna(0.0)
        .clip(upper=then["open_amount"])
    )
    moved = pd.DataFrame(
        {
            "from": bucket_of(then["dpd_days"]),
            "to": bucket_of(now["dpd_days"].reindex(then.index).fillna(0)),
            "left": left,
            "settled": then["open_amount"] - left,
        }
    )
    table = moved.pivot_table(
        index="from", columns="to", values="left", aggfunc="sum", observed=False
    )
    settled = moved.groupby("from", observed=False)["settled"].sum()
    return (
        table.reindex(index=BUCKETS, columns=BUCKETS)
        .fillna(0.0)
        .assign(settled=settled.reindex(BUCKETS).fillna(0.0))
    )


def bucket_of(dpd_days: pd.Series[Any]) -> pd.Series[Any]:
    """Return the age bucket of some days past due."""
    places = np.searchsorted(_LAST_DAYS, dpd_days.to_numpy())
    return pd.Series(np.array(BUCKETS)[places], index=dpd_days.index)


def implied_loss_rates(rolls: pd.DataFrame, lgd: float) -> dict[str, float]:
    """Return the loss rate of each bucket that roll rates imply: P(it ends beyond 90 days) x LGD.

    Notes
    -----
    The months are a Markov chain in which ``90+`` and ``settled`` are never left: with Q the moves among the other
    buckets and r those into ``90+``, P solves ``(I - Q) P = r`` (Cyert, Davidson and Thompson 1962).

    Examples
    --------
    Half of what is 61 to 90 days late goes beyond 90, a tenth of what is 31 to 60 days late becomes that:

    >>> moves = pd.DataFrame(0.0, index=BUCKETS, columns=[*BUCKETS, "settled"])
    >>> moves.loc["61-90", ["90+", "settled"]] = 50.0
    >>> moves.loc["31-60", ["61-90", "settled"]] = [10.0, 90.0]
    >>> found = implied_loss_rates(moves, 0.4)
    >>> found["61-90"], found["31-60"], found["90+"]
    (0.2, 0.02, 0.4)
    """
    shares = rolls.div(rolls.sum(axis=1).replace(0.0, 1.0), axis=0)
    open_ = list(BUCKETS[:-1])
    inside = shares.loc[open_, open_].to_numpy()
    worst = np.linalg.solve(
        np.eye(len(open_)) - inside, shares.loc[open_, "90+"].to_numpy()
    )
    return {
        **dict(zip(open_, (worst * lgd).round(12).tolist(), strict=True)),
        "90+": lgd,
    }


def vintages(accounts: Iterable[Account], as_of: date) -> pd.DataFrame:
    """Return the unpaid share of each month's invoices, so many days past due; NaN where that day is yet to come.

    Returns
    -------
    DataFrame
        Index: month of issue; columns: ``amount`` and the horizons in days.
    """
    known, _ = active_on(accounts, as_of)
    frame = _stacked([_unpaid(one) for one in known])
    frame["month"] = [day_of(day).strftime("%Y-%m") for day in frame.pop("issued")]
    total = frame.groupby("month")["amount"].sum()
    shares = dict[Any, Any]()
    for days in HORIZONS:
        unpaid = frame[days].isna().groupby(frame["month"]).any()
        shares[days] = (frame.groupby("month")[days].sum() / total).mask(unpaid)
    return pd.DataFrame({"amount": total, **shares})


def _unpaid(known: KnownAccount) -> dict[Any, Any]:
    account, today = known.account, day_number(known.as_of)
    rates, due = item_rates(account), account.items[DUE]
    settling = account.events[:, np.isin(account.events[KIND], (PAYMENT, CREDIT_NOTE))]
    columns: dict[Any, Any] = {
        "issued": account.items[ISSUED],
        "amount": account.items[AMOUNT] * rates,
    }
    for days in HORIZONS:
        paid = np.zeros(len(due))
        in_time = settling[:, settling[DAY] <= due[settling[ITEM]] + days]
        np.add.at(paid, in_time[ITEM], in_time[VALUE])
        left = np.maximum(account.items[AMOUNT] - paid, 0) * rates
        columns[days] = np.where(due + days <= today, left, np.nan)
    return columns


def stress(
    portfolio: Portfolio, rulebook: Rulebook, sector: str | None = None
) -> dict[str, dict[str, Any]]:
    """Return the figures of the whole portfolio, before and after, under each scenario of the rules.

    Parameters
    ----------
    sector : str, optional
        The one that is shocked; default the one with the largest limits.

    Raises
    ------
    SchemaError
        Where the sector is none of the portfolio's.
    """
    base, sectors = simulate(portfolio, rulebook), portfolio.groups.get("sector")
    if sector is None and sectors is not None:
        sector = str(pd.Series(base.limit).groupby(sectors).sum().idxmax())
    if sector is not None and (sectors is None or sector not in sectors):
        known = sorted(set(sectors.tolist())) if sectors is not None else []
        raise SchemaError(
            f"no customer is of sector {sector!r}",
            where="sector",
            expected=f"one of {known}",
        )
    found = dict[str, dict[str, Any]]()
    for rule in rulebook.tables["stress"].rules:
        name = next(str(value) for value in rule.cells[0].any_of)
        if name == "sector" and sector is None:
            continue
        given = {key: float(value) for key, value in rule.outputs.items()}  # type: ignore[arg-type]
        scenario = Scenario(sector=sector or "" if name == "sector" else "", **given)
        figures = summary(portfolio, base, stressed(portfolio, rulebook, scenario))[
            "all"
        ]["all"]
        found[name if name != "sector" else f"sector {sector}"] = {
            "scenario": vars(scenario),
            **figures,
        }
    return found


@dataclass(frozen=True)
class Review:
    """All of it, as of the last of some months."""

    provisions: pd.DataFrame
    migration: pd.DataFrame
    roll_rates: pd.DataFrame
    implied_loss_rates: dict[str, float]
    vintages: pd.DataFrame
    stress: dict[str, dict[str, Any]]


def review(
    accounts: Iterable[Account],
    days: Sequence[date],
    model: PdModel,
    rulebooks: Sequence[Rulebook],
    sector: str | None = None,
    progress: Callable[[Iterable[date]], Iterable[date]] = iter,
) -> Review:
    """Review a portfolio over some days, a month apart; the moves from each to the next are added up.

    Raises
    ------
    AsOfError, SchemaError
        Where nothing was known on a day, or the sector is unknown.
    """
    accounts, rulebook = list(accounts), in_force(rulebooks, days[-1])
    months = [month_of(accounts, day, model, rulebooks) for day in progress(days)]
    pairs = list(pairwise(months))
    rolls = sum((roll_rates(*pair) for pair in pairs[1:]), roll_rates(*pairs[0]))
    return Review(
        provisions=provisions(months[-1], rulebook),
        migration=sum((migration(*pair) for pair in pairs[1:]), migration(*pairs[0])),
        roll_rates=rolls,
        implied_loss_rates=implied_loss_rates(rolls, float(rulebook.parameters["lgd"])),
        vintages=vintages(accounts, days[-1]),
        stress=stress(months[-1].portfolio, rulebook, sector),
    )


def draw_vintages(found: pd.DataFrame, path: Path) -> None:
    """Draw the unpaid share of each month's invoices as a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for days, colour in zip(
        HORIZONS,
        plt.get_cmap("viridis")(np.linspace(0, 0.9, len(HORIZONS))),
        strict=True,
    ):
        axes.plot(
            found.index,
            found[days],
            color=colour,
            marker=".",
            label=f"{days} days past due",
        )
    axes.set(
        title="Unpaid share of invoices by month of issue",
        xlabel="month of issue",
        ylabel="unpaid share of the amount invoiced",
    )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=1))
    axes.tick_params(axis="x", rotation=60)
    figure.legend(title="looked at", loc="outside right upper")
    figure.savefig(path, dpi=120)
    plt.close(figure)
