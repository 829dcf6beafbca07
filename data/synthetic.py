"""A seeded trade-credit ledger whose true probabilities of default are known.

Each customer has a latent risk. It sets the hazard of the day on which the customer
stops paying for good and, with noise, how late the customer pays until then. Everything
a ledger shows follows from those two. Items due before that day are settled within 75
days of their due date, the others never are, so an item reaches 90 days past due
exactly if its customer stopped paying. The true PD of a customer on a date is therefore
known in closed form (`Simulation.true_pd`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.random import Generator

from obligor.arrays import Floats
from obligor.data.ledger import DAY_DTYPE, Ledger

DEFAULT_DPD_DAYS = 90
# A customer who still pays never reaches 90 days past due.
LATEST_DAYS_LATE = 75
# Orders are drawn beyond the end, so that the truth near the end is known too.
RUN_ON_DAYS = 460
MEAN_ANNUAL_HAZARD = 0.06
# The longest a customer was registered before day 0.
OLDEST_DAYS = 1500
# The amplitude of the yearly cycle in orders and in the hazard.
SEASON = 0.3
# What a sector adds to the logarithm of the hazard.
SECTORS = {
    "construction": 0.5,
    "retail": 0.25,
    "food": 0.0,
    "machinery": -0.1,
    "chemicals": -0.3,
    "health": -0.5,
}
USD_SHARE = 0.1
INVOICE_COLUMNS = [
    "invoice_id",
    "customer_id",
    "issued_on",
    "due_on",
    "amount",
    "currency",
]


@dataclass(frozen=True)
class Simulation:
    """A simulated ledger, and what is known only because it is simulated.

    Attributes
    ----------
    ledger : Ledger
        What a company would have in its books on the last day.
    hazard : DataFrame
        Per customer: ``hazard`` (a year), ``stops_on`` and ``defaults_on`` (days since
        the start, infinite for never).
    stream : DataFrame
        Per invoice that would ever be written: the customer, the due day, and the day
        of settlement if nobody had stopped paying.
    start : date
        Day 0.
    """

    ledger: Ledger
    hazard: pd.DataFrame
    stream: pd.DataFrame
    start: date

    def true_pd(self, as_of: date, horizon_days: int = 365) -> pd.Series[float]:
        """Return the true PD of each customer that is not in default on a date.

        A customer who stops paying on day t has the first item 90 days past due within
        the horizon exactly if t is before M, the last settlement of the items due by
        then. Hence the PD is ``1 - exp(-hazard * (S(M) - S(as_of)))``, where S is the
        seasonal clock.

        Parameters
        ----------
        as_of : date
            The date on which the latent state is known.
        horizon_days : int
            The length of the performance window.

        Returns
        -------
        Series of float
            Index: customer id.
        """
        day = (as_of - self.start).days
        due_by = day + horizon_days - DEFAULT_DPD_DAYS
        relevant = self.stream[self.stream["due"] <= due_by]
        last_settled = relevant.groupby("customer")["settled"].max()
        last_settled = last_settled.reindex(self.hazard.index).fillna(-1.0)
        last = last_settled.to_numpy()
        exposure = _seasonal_clock(last) - _seasonal_clock(np.array(day))
        state = self.hazard
        pd_open = 1 - np.exp(-state["hazard"] / 365 * np.maximum(exposure, 0.0))
        has_stopped = state["stops_on"] <= day
        will_default = state["defaults_on"] <= day + horizon_days
        pd_stopped = will_default.astype(float)
        truth = pd_open.where(~has_stopped, pd_stopped)[state["defaults_on"] > day]
        customer_ids = self.ledger["customers"]["customer_id"].to_numpy()
        by_id: pd.Series[float] = truth.set_axis(customer_ids[truth.index])
        return by_id


def simulate_ledger(
    n_customers: int = 2000,
    months: int = 36,
    *,
    seed: int,
    start: date = date(2022, 1, 1),
) -> Simulation:
    """Simulate a ledger.

    Parameters
    ----------
    n_customers : int
        From 100 to millions; each has about 18 invoices a year.
    months : int
        The length of the ledger, 30.4 days a month.
    seed : int
        The same seed gives the same ledger.
    start : date
        The first day of the ledger.
    """
    rng = np.random.default_rng(seed)
    end = round(months * 365 / 12)
    customers = _customers(rng, n_customers, end)
    items = _orders(rng, customers, end)
    _settle(rng, customers, items)
    _split_payments(rng, items)
    customers["defaults_on"] = _default_days(customers, items)
    stream = items[["customer", "due", "settled"]].copy()
    last_order = np.minimum(customers["defaults_on"].to_numpy(), end)
    is_booked = items["issued"] <= last_order[items["customer"]]
    items = items[is_booked].reset_index(drop=True)
    items["stops"] = customers["stops_on"].to_numpy()[items["customer"]]
    items["defaults"] = customers["defaults_on"].to_numpy()[items["customer"]]
    _recover(rng, items)
    tables = _tables(rng, customers, items, end)
    dated = {name: _dated(frame, start, end) for name, frame in tables.items()}
    return Simulation(
        ledger=_exported(Ledger(dated, "EUR")),
        hazard=customers[["hazard", "stops_on", "defaults_on"]],
        stream=stream,
        start=start,
    )


def _tables(
    rng: Generator,
    customers: pd.DataFrame,
    items: pd.DataFrame,
    end: int,
) -> dict[str, pd.DataFrame]:
    """Return the tables of the ledger, their days still counted from the start."""
    disputed = items[items["disputed"] < np.inf]
    return {
        "customers": _customer_table(customers),
        "invoices": _table(items, INVOICE_COLUMNS),
        "payments": _payments(items),
        "fx_rates": _rates(rng, end),
        "limits": _limits(customers),
        "promises": _promises(rng, items),
        "disputes": _table(disputed, ["invoice_id", "opened_on", "resolved_on"]),
        "write_offs": _write_offs(rng, items),
        "financials": _financials(rng, customers, end),
    }


def _seasonal_clock(day: Floats) -> Floats:
    """Return the integral of 1 + SEASON sin(2 pi t / 365) from day 0."""
    cycle = 1 - np.cos(2 * np.pi * day / 365)
    return day + SEASON * 365 / (2 * np.pi) * cycle


def _customers(
    rng: Generator,
    n: int,
    end: int,
) -> pd.DataFrame:
    """Return customers who registered at a steady pace, from years before day 0 on.

    Those who stopped paying before day 0 are gone, as in a real ledger. With them the
    risky would be too many at the start and die out, and a model of early dates would
    overstate the risk of later ones.
    """
    pool = 2 * n + 100
    risk = rng.normal(size=pool)
    size = rng.normal(size=pool)
    sector = rng.choice(len(SECTORS), pool)
    effect = np.array(list(SECTORS.values()))[sector]
    log_factor = 1.1 * risk - 0.5 + effect - 0.25 * size
    hazard = MEAN_ANNUAL_HAZARD * np.exp(log_factor)
    registered = rng.uniform(-OLDEST_DAYS, end, pool).round()
    days = np.arange(-OLDEST_DAYS, 40 * 365.0)
    # A customer stops when its cumulated hazard reaches an exponential draw.
    stop_time = _seasonal_clock(registered) + rng.exponential(365 / hazard)
    stops = np.interp(stop_time, _seasonal_clock(days), days, right=np.inf)
    drawn = pd.DataFrame(
        {
            "risk": risk,
            "size": size,
            "sector": np.array(list(SECTORS))[sector],
            "hazard": hazard,
            "registered": registered,
            "joined": np.maximum(registered, 0.0),
            "stops_on": np.floor(stops),
        }
    )
    is_there = drawn["stops_on"] > drawn["joined"]
    customers = drawn[is_there].head(n).reset_index(drop=True)
    return customers.assign(**_habits(rng, customers))


def _habits(rng: Generator, customers: pd.DataFrame) -> dict[str, Floats | pd.Series]:
    """Return how much each customer orders, and how late it pays."""
    n = len(customers)
    log_orders = rng.normal(0.3, 0.5, n) + 0.2 * customers["size"]
    terms = rng.choice([14, 30, 30, 45, 60], n)
    lateness = 0.75 * customers["risk"] + 0.66 * rng.normal(size=n)
    days_late = 1 + 7 * lateness
    spread = rng.uniform(5, 14, n)
    return {
        "customer_id": _ids("C", n, 7),
        "orders_a_day": np.exp(log_orders) / 30,
        "terms": terms,
        "days_late": days_late,
        "spread": spread,
        "currency": np.where(rng.random(n) < USD_SHARE, "USD", "EUR"),
    }


def _orders(
    rng: Generator,
    customers: pd.DataFrame,
    end: int,
) -> pd.DataFrame:
    """Return every order, by customer and day; more in the season (by thinning)."""
    joined = customers["joined"].to_numpy()
    days = end + RUN_ON_DAYS - joined
    count = rng.poisson(customers["orders_a_day"] * (1 + SEASON) * days)
    customer = np.repeat(np.arange(len(customers)), count)
    day = rng.random(len(customer)) * days[customer]
    issued = np.floor(joined[customer] + day)
    # Thinning: drawn at the peak rate, kept with the share of the day's rate in it.
    season = 1 + SEASON * np.sin(2 * np.pi * issued / 365)
    is_in_season = rng.random(len(customer)) < season / (1 + SEASON)
    customer = customer[is_in_season]
    issued = issued[is_in_season]
    order = np.lexsort((issued, customer))
    customer = customer[order]
    issued = issued[order]
    buyer = customers.iloc[customer]
    size = buyer["size"].to_numpy()
    log_amount = rng.normal(7.6, 0.7, len(customer)) + 0.8 * size
    amount = np.exp(log_amount)
    return pd.DataFrame(
        {
            "invoice_id": _ids("INV", len(customer), 9),
            "customer": customer,
            "customer_id": buyer["customer_id"].to_numpy(),
            "issued": issued,
            "due": issued + buyer["terms"].to_numpy(),
            "amount": np.maximum(amount, 250).round(2),
            "currency": buyer["currency"].to_numpy(),
        }
    )


def _settle(
    rng: Generator,
    customers: pd.DataFrame,
    items: pd.DataFrame,
) -> None:
    """Add when each item would be settled if its customer never stopped paying.

    Disputes delay it.
    """
    n = len(items)
    buyer = customers.iloc[items["customer"]]
    terms = buyer["terms"].to_numpy()
    issued = items["issued"].to_numpy()
    due = items["due"].to_numpy()
    season = 3 * np.sin(2 * np.pi * issued / 365)
    spread = buyer["spread"].to_numpy()
    noise = spread * (rng.gamma(2.0, 0.7, n) - 1.4)
    days_late = buyer["days_late"].to_numpy() + season + noise
    settled = due + np.clip(days_late.round(), -terms, LATEST_DAYS_LATE)
    is_disputed = rng.random(n) < 0.03
    opened = issued + rng.integers(5, 25, n)
    resolved = opened + rng.integers(10, 40, n)
    settled = np.where(is_disputed, np.maximum(settled, resolved + 2), settled)
    items["settled"] = np.minimum(settled, due + LATEST_DAYS_LATE)
    items["disputed"] = np.where(is_disputed, opened, np.inf)
    items["resolved"] = np.where(is_disputed, resolved, np.inf)


def _split_payments(rng: Generator, items: pd.DataFrame) -> None:
    """Let half of the disputed items be credited in part, and others be paid in two."""
    n = len(items)
    is_disputed = items["disputed"] < np.inf
    credit = (items["amount"] * rng.uniform(0.2, 0.5, n)).round(2)
    is_credited = is_disputed & (rng.random(n) < 0.5)
    items["credited"] = credit.where(is_credited, 0.0)
    is_partial = ~is_disputed & (rng.random(n) < 0.15)
    part = (items["amount"] * rng.uniform(0.4, 0.6, n)).round(2)
    items["part"] = part.where(is_partial, 0.0)
    part_on = items["settled"] - rng.integers(3, 20, n)
    items["part_on"] = np.maximum(part_on, items["issued"])


def _default_days(customers: pd.DataFrame, items: pd.DataFrame) -> Floats:
    """Return the day of default of each customer.

    It is 90 days after the due date of the oldest item left unpaid.
    """
    stops = customers["stops_on"].to_numpy()[items["customer"]]
    unpaid = items[items["settled"] > stops]
    oldest = unpaid.groupby("customer")["due"].min()
    first_due = oldest.reindex(customers.index).fillna(np.inf)
    return first_due.to_numpy() + DEFAULT_DPD_DAYS


def _recover(rng: Generator, items: pd.DataFrame) -> None:
    """Let a third of the defaulted customers pay back a share, 30 to 120 days later."""
    n_customers = int(items["customer"].max()) + 1
    chance = rng.random(n_customers)[items["customer"]]
    delay = rng.random(n_customers)[items["customer"]]
    share = rng.random(n_customers)[items["customer"]]
    is_lost = items["settled"] > items["stops"]
    paid_part = items["part"].where(items["part_on"] <= items["stops"], 0.0)
    part = paid_part.where(is_lost, items["part"])
    open_amount = (items["amount"] - items["credited"] - part).round(2)
    paid_back = (open_amount * (0.1 + 0.7 * share)).round(2)
    items["is_lost"] = is_lost
    items["open_amount"] = open_amount
    items["recovered"] = paid_back.where(is_lost & (chance < 0.35), 0.0)
    items["recovered_on"] = items["defaults"] + 30 + (delay * 90).round()


def _payments(items: pd.DataFrame) -> pd.DataFrame:
    settled = items[~items["is_lost"]]
    is_in_part = (items["part"] > 0) & (items["part_on"] <= items["stops"])
    in_part = items[is_in_part]
    credited = items[items["credited"] > 0]
    recovered = items[items["recovered"] > 0]
    rows = pd.concat(
        [
            _payment_rows(settled, "open_amount", "settled"),
            _payment_rows(in_part, "part", "part_on"),
            _payment_rows(credited, "credited", "resolved").assign(kind="credit_note"),
            _payment_rows(recovered, "recovered", "recovered_on"),
        ],
        ignore_index=True,
    )
    rows = rows.sort_values(
        ["paid", "invoice_id"],
        kind="stable",
        ignore_index=True,
    )
    return rows.assign(payment_id=_ids("PAY", len(rows), 9))


def _payment_rows(
    items: pd.DataFrame,
    amount: str,
    paid: str,
) -> pd.DataFrame:
    rows = items[["invoice_id", amount, paid]]
    rows = rows.set_axis(["invoice_id", "amount", "paid"], axis=1)
    return rows.assign(kind="payment")


def _promises(rng: Generator, items: pd.DataFrame) -> pd.DataFrame:
    """Return promises to pay within 10 days, made when an item is 20 days late."""
    open_until = items["settled"].where(~items["is_lost"], np.inf)
    is_late = open_until > items["due"] + 20
    late = items[is_late & (rng.random(len(items)) < 0.7)]
    promised = late["due"] + 20
    return late[["invoice_id"]].assign(
        promised=promised, pay_by=promised + 10, amount=late["open_amount"]
    )


def _write_offs(rng: Generator, items: pd.DataFrame) -> pd.DataFrame:
    """Return what is written off of 60% of the customers in default, after 180 days."""
    n_customers = int(items["customer"].max()) + 1
    is_given_up = rng.random(n_customers)[items["customer"]] < 0.6
    lost = items[items["is_lost"] & is_given_up]
    amount = (lost["open_amount"] - lost["recovered"]).round(2)
    return lost[["invoice_id"]].assign(
        written_off=lost["defaults"] + 180, amount=amount
    )


def _limits(customers: pd.DataFrame) -> pd.DataFrame:
    amount_a_month = np.exp(7.9 + 0.8 * customers["size"])
    monthly = customers["orders_a_day"] * 30 * amount_a_month
    amount = monthly * (1 + customers["terms"] / 30)
    return customers[["customer_id", "currency"]].assign(
        amount=(amount / 1000).round() * 1000 + 1000, known=customers["joined"]
    )


def _financials(
    rng: Generator,
    customers: pd.DataFrame,
    end: int,
) -> pd.DataFrame:
    """Return year-end statements of 60% of the customers, 60 to 150 days later."""
    publishers = customers[rng.random(len(customers)) < 0.6]
    years = [
        _statements_of(rng, publishers, period_end)
        for period_end in range(-1, end, 365)
    ]
    return pd.concat(years, ignore_index=True)


def _statements_of(
    rng: Generator,
    publishers: pd.DataFrame,
    period_end: int,
) -> pd.DataFrame:
    n = len(publishers)
    noise = rng.normal(size=(3, n))
    risk = publishers["risk"]
    assets = np.exp(13 + 0.8 * publishers["size"] + 0.1 * noise[0])
    liabilities = 0.4 * assets
    margin = 0.05 - 0.03 * risk + 0.03 * noise[1]
    equity_ratio = np.clip(0.35 - 0.1 * risk + 0.1 * noise[2], -0.5, 0.9)
    current_ratio = np.clip(1.5 - 0.2 * risk + 0.3 * noise[0], 0.2, 5)
    return pd.DataFrame(
        {
            "customer_id": publishers["customer_id"],
            "period": period_end,
            "turnover": (1.6 * assets).round(2),
            "net_income": (assets * margin).round(2),
            "total_assets": assets.round(2),
            "equity": (assets * equity_ratio).round(2),
            "current_assets": (liabilities * current_ratio).round(2),
            "current_liabilities": liabilities.round(2),
            "known": period_end + rng.integers(60, 150, n),
        }
    )


def _rates(rng: Generator, end: int) -> pd.DataFrame:
    days = np.arange(-1, end, 30, dtype=float)
    steps = rng.normal(0, 0.01, len(days))
    path = 0.92 * np.exp(np.cumsum(steps))
    return pd.DataFrame(
        {
            "currency": "USD",
            "rate_on": days,
            "rate": path.round(5),
        }
    )


def _customer_table(customers: pd.DataFrame) -> pd.DataFrame:
    country = customers["currency"].map({"USD": "US", "EUR": "DE"})
    table = customers[["customer_id", "sector", "registered"]]
    return table.assign(country=country)


# Column of simulated days -> column of the contract.
_DAYS = {
    "registered": "registered_on",
    "issued": "issued_on",
    "due": "due_on",
    "paid": "paid_on",
    "rate_on": "rate_on",
    "promised": "promised_on",
    "pay_by": "pay_by",
    "disputed": "opened_on",
    "resolved": "resolved_on",
    "written_off": "written_off_on",
    "period": "period_end",
    "known": "known_on",
}
# A row becomes known on the first of these days that its table has.
_BECOMES_KNOWN = (
    "known",
    "registered",
    "issued",
    "paid",
    "rate_on",
    "promised",
    "disputed",
    "written_off",
)
# The only days that may be after the end of the ledger.
_PLANNED = ("due", "pay_by")


def _table(items: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    simulated = {contract: day for day, contract in _DAYS.items()}
    return items[[simulated.get(name, name) for name in columns]]


def _dated(
    frame: pd.DataFrame,
    start: date,
    end: int,
) -> pd.DataFrame:
    """Return a table with dates for days, without rows not yet known at the end."""
    known_day = next(name for name in _BECOMES_KNOWN if name in frame)
    frame = frame[frame[known_day] <= end]
    others = [str(name) for name in frame if name not in _DAYS]
    columns = {name: frame[name] for name in others}
    for name in frame.columns.intersection(list(_DAYS)):
        has_happened = np.isfinite(frame[name])
        if name not in _PLANNED:
            has_happened &= frame[name] <= end
        days = np.where(has_happened, frame[name], 0).astype("int64")
        seconds = (days * 86_400).astype("timedelta64[s]")
        dates = (np.datetime64(start, "s") + seconds).astype(DAY_DTYPE)
        column = pd.Series(dates, frame.index)
        columns[_DAYS[name]] = column.where(has_happened)
    columns["known_on"] = columns[_DAYS[known_day]]
    return pd.DataFrame(columns).reset_index(drop=True)


def _ids(
    prefix: str,
    n: int,
    digits: int,
) -> np.ndarray:
    numbers = np.arange(n).astype(str)
    return np.char.add(prefix, np.char.zfill(numbers, digits))


def _exported(ledger: Ledger) -> Ledger:
    """Return the ledger as it is exported on the day of its last posting."""
    return replace(ledger, exported_on=ledger.observed_until)


def write_ledger(simulation: Simulation, folder: Path) -> None:
    """Write a simulated ledger as CSV files, with the mapping that reads them."""
    folder.mkdir(
        parents=True,
        exist_ok=True,
    )
    ledger = simulation.ledger
    lines = [
        f'currency = "{ledger.currency}"',
        f"exported_on = {ledger.observed_until}",
        "",
    ]
    for table, frame in ledger.tables.items():
        frame.to_csv(
            folder / f"{table}.csv",
            index=False,
            date_format="%Y-%m-%d",
        )
        lines.append(f"[{table}]")
        lines.append(f'file = "{table}.csv"')
        lines.append('date_format = "%Y-%m-%d"')
        lines.append("")
    (folder / "mapping.toml").write_text("\n".join(lines), encoding="utf-8")
