"""A seeded trade-credit ledger whose true probabilities of default are known.

Each customer has a latent risk. It sets the hazard of the day on which the customer stops paying for
good, and, with noise, how late the customer pays until then. Everything a ledger shows follows from
those two: the items due before that day are settled within 75 days of their due date, the others
never are, so an item reaches 90 days past due exactly when its customer stopped paying. The true
PD of a customer on a date is therefore known in closed form (`Simulation.true_pd`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.arrays import Floats
from obligor.data.ledger import DAY_DTYPE, Ledger

DEFAULT_DPD_DAYS = 90
LATEST_DAYS_LATE = 75  # a customer who still pays never reaches 90 days past due
RUN_ON_DAYS = (
    460  # orders are drawn beyond the end, so that the truth near the end is known too
)
MEAN_ANNUAL_HAZARD = 0.06
OLDEST_DAYS = 1500  # the longest a customer was registered before day 0
SEASON = 0.3  # amplitude of the yearly cycle in orders and in the hazard
SECTORS = {
    "construction": 0.5,
    "retail": 0.25,
    "food": 0.0,
    "machinery": -0.1,
    "chemicals": -0.3,
    "health": -0.5,
}
USD_SHARE = 0.1


@dataclass(frozen=True)
class Simulation:
    """A simulated ledger and what only its maker knows.

    Attributes
    ----------
    ledger : Ledger
        What a company would have in its books on the last day.
    hazard : DataFrame
        Per customer: `hazard` (a year), `stops_on`, `defaults_on` (days since the start; inf: never).
    stream : DataFrame
        Per invoice that would ever be written: customer, due and settlement day had nobody stopped.
    start : date
        Day 0.
    """

    ledger: Ledger
    hazard: pd.DataFrame
    stream: pd.DataFrame
    start: date

    def true_pd(self, as_of: date, horizon_days: int = 365) -> pd.Series[float]:
        """Return P(default within the horizon | latent state on `as_of`) per customer not yet in default.

        A customer who stops paying on day t has the first item 90 days past due within the horizon
        exactly when t lies before M, the last settlement of the items due by then; hence
        ``1 - exp(-hazard * (S(M) - S(as_of)))`` with S the seasonal clock.
        """
        day = (as_of - self.start).days
        due_by = day + horizon_days - DEFAULT_DPD_DAYS
        last = (
            self.stream[self.stream["due"] <= due_by]
            .groupby("customer")["settled"]
            .max()
        )
        state = self.hazard.assign(last=last.reindex(self.hazard.index)).fillna(
            {"last": -1.0}
        )
        exposure = np.maximum(
            _seasonal_clock(state["last"].to_numpy()) - _seasonal_clock(np.array(day)),
            0.0,
        )
        pd_open = 1 - np.exp(-state["hazard"] / 365 * exposure)
        has_stopped = state["stops_on"] <= day
        defaults_soon = (state["defaults_on"] <= day + horizon_days).astype(float)
        truth = pd_open.where(~has_stopped, defaults_soon)[state["defaults_on"] > day]
        named: pd.Series[float] = truth.set_axis(
            self.ledger["customers"]["customer_id"].to_numpy()[truth.index]
        )
        return named


def simulate_ledger(
    n_customers: int = 2000,
    months: int = 36,
    *,
    seed: int,
    start: date = date(2022, 1, 1),
) -> Simulation:
    """Draw a ledger of `n_customers` over `months` months.

    Parameters
    ----------
    n_customers : int
        From 100 to millions; about 18 invoices a customer and year.
    months : int
        Length of the ledger, 30.4 days each.
    seed : int
        The same seed gives the same ledger.
    start : date
        The first day of the ledger.
    """
    rng = np.random.default_rng(seed)
    end = round(months * 365 / 12)
    people = _customers(rng, n_customers, end)
    items = _orders(rng, people, end)
    _settle(rng, people, items)
    people["defaults_on"] = _default_days(people, items)
    stream = items[["customer", "due", "settled"]].copy()
    booked = items["issued"] <= np.minimum(
        people["defaults_on"].to_numpy()[items["customer"]], end
    )
    items = items[booked].reset_index(drop=True)
    items["stops"] = people["stops_on"].to_numpy()[items["customer"]]
    items["defaults"] = people["defaults_on"].to_numpy()[items["customer"]]
    _recover(rng, items)
    tables = {
        "customers": _customer_table(people),
        "invoices": _table(
            items,
            ["invoice_id", "customer_id", "issued_on", "due_on", "amount", "currency"],
        ),
        "payments": _payments(items),
        "fx_rates": _rates(rng, end),
        "limits": _limits(people),
        "promises": _promises(rng, items),
        "disputes": _table(
            items[items["disputed"] < np.inf],
            ["invoice_id", "opened_on", "resolved_on"],
        ),
        "write_offs": _write_offs(rng, items),
        "financials": _financials(rng, people, end),
    }
    ledger = Ledger(
        {name: _dated(frame, start, end) for name, frame in tables.items()}, "EUR"
    )
    return Simulation(
        ledger, people[["hazard", "stops_on", "defaults_on"]], stream, start
    )


def _seasonal_clock(day: Floats) -> Floats:
    """Integral of 1 + SEASON sin(2 pi t / 365) from day 0."""
    return day + SEASON * 365 / (2 * np.pi) * (1 - np.cos(2 * np.pi * day / 365))


def _customers(rng: np.random.Generator, n: int, end: int) -> pd.DataFrame:
    """Customers who registered at a steady pace from years before day 0 on, and had not stopped by then.

    The ones who stopped before anybody looked are gone, as in a real ledger: without that the risky would
    be too many at the start and die out, and a model of early dates would overstate the risk of later ones.
    """
    pool = 2 * n + 100
    risk, size = rng.normal(size=pool), rng.normal(size=pool)
    sector = rng.choice(len(SECTORS), pool)
    effect = np.array(list(SECTORS.values()))[sector]
    hazard = MEAN_ANNUAL_HAZARD * np.exp(1.1 * risk - 0.5 + effect - 0.25 * size)
    registered = rng.uniform(-OLDEST_DAYS, end, pool).round()
    days = np.arange(-OLDEST_DAYS, 40 * 365.0)
    reached = _seasonal_clock(registered) + rng.exponential(365 / hazard)
    stops = np.floor(np.interp(reached, _seasonal_clock(days), days, right=np.inf))
    drawn = pd.DataFrame(
        {
            "risk": risk,
            "size": size,
            "sector": np.array(list(SECTORS))[sector],
            "hazard": hazard,
            "registered": registered,
            "joined": np.maximum(registered, 0.0),
            "stops_on": stops,
        }
    )
    people = drawn[drawn["stops_on"] > drawn["joined"]].head(n).reset_index(drop=True)
    habits = {
        "customer_id": _ids("C", n, 7),
        "orders_a_day": np.exp(rng.normal(0.3, 0.5, n) + 0.2 * people["size"]) / 30,
        "terms": rng.choice([14, 30, 30, 45, 60], n),
        "days_late": 1 + 7 * (0.75 * people["risk"] + 0.66 * rng.normal(size=n)),
        "spread": rng.uniform(5, 14, n),
        "currency": np.where(rng.random(n) < USD_SHARE, "USD", "EUR"),
    }
    return people.assign(**habits)


def _orders(rng: np.random.Generator, people: pd.DataFrame, end: int) -> pd.DataFrame:
    days = end + RUN_ON_DAYS - people["joined"].to_numpy()
    count = rng.poisson(people["orders_a_day"] * (1 + SEASON) * days)
    customer = np.repeat(np.arange(len(people)), count)
    of = people.iloc[customer]
    issued = np.floor(
        of["joined"].to_numpy() + rng.random(len(customer)) * days[customer]
    )
    is_kept = rng.random(len(customer)) < (
        1 + SEASON * np.sin(2 * np.pi * issued / 365)
    ) / (1 + SEASON)
    customer, issued, of = customer[is_kept], issued[is_kept], of[is_kept]
    order = np.lexsort((issued, customer))
    customer, issued, of = customer[order], issued[order], of.iloc[order]
    amount = np.maximum(
        np.exp(rng.normal(7.6, 0.7, len(customer)) + 0.8 * of["size"].to_numpy()), 250
    )
    return pd.DataFrame(
        {
            "invoice_id": _ids("INV", len(customer), 9),
            "customer": customer,
            "customer_id": of["customer_id"].to_numpy(),
            "issued": issued,
            "due": issued + of["terms"].to_numpy(),
            "amount": amount.round(2),
            "currency": of["currency"].to_numpy(),
        }
    )


def _settle(
    rng: np.random.Generator, people: pd.DataFrame, items: pd.DataFrame
) -> None:
    """When each item would be settled if its customer never stopped; disputes delay it."""
    n, of = len(items), people.iloc[items["customer"]]
    season = 3 * np.sin(2 * np.pi * items["issued"].to_numpy() / 365)
    late = (
        of["days_late"].to_numpy()
        + season
        + of["spread"].to_numpy() * (rng.gamma(2.0, 0.7, n) - 1.4)
    )
    settled = items["due"].to_numpy() + np.clip(
        late.round(), -of["terms"].to_numpy(), LATEST_DAYS_LATE
    )
    is_disputed = rng.random(n) < 0.03
    opened = items["issued"].to_numpy() + rng.integers(5, 25, n)
    resolved = opened + rng.integers(10, 40, n)
    settled = np.where(is_disputed, np.maximum(settled, resolved + 2), settled)
    items["settled"] = np.minimum(settled, items["due"].to_numpy() + LATEST_DAYS_LATE)
    items["disputed"] = np.where(is_disputed, opened, np.inf)
    items["resolved"] = np.where(is_disputed, resolved, np.inf)
    items["credited"] = (
        (items["amount"] * rng.uniform(0.2, 0.5, n))
        .round(2)
        .where(is_disputed & (rng.random(n) < 0.5), 0.0)
    )
    is_partial = ~is_disputed & (rng.random(n) < 0.15)
    items["part"] = (
        (items["amount"] * rng.uniform(0.4, 0.6, n)).round(2).where(is_partial, 0.0)
    )
    items["part_on"] = np.maximum(
        items["settled"] - rng.integers(3, 20, n), items["issued"]
    )


def _default_days(people: pd.DataFrame, items: pd.DataFrame) -> Floats:
    """90 days after the due date of the oldest item the customer left unpaid on stopping."""
    stops = people["stops_on"].to_numpy()[items["customer"]]
    oldest = items[items["settled"] > stops].groupby("customer")["due"].min()
    return oldest.reindex(people.index).fillna(np.inf).to_numpy() + DEFAULT_DPD_DAYS


def _recover(rng: np.random.Generator, items: pd.DataFrame) -> None:
    """A third of the defaulted customers pay a share back, 30 to 120 days after default."""
    chance, delay, share = (
        rng.random(int(items["customer"].max()) + 1)[items["customer"]]
        for _ in range(3)
    )
    items["is_lost"] = items["settled"] > items["stops"]
    part_paid = items["part"].where(items["part_on"] <= items["stops"], 0.0)
    items["rest"] = (
        items["amount"]
        - items["credited"]
        - part_paid.where(items["is_lost"], items["part"])
    ).round(2)
    back = (items["rest"] * (0.1 + 0.7 * share)).round(2)
    items["recovered"] = back.where(items["is_lost"] & (chance < 0.35), 0.0)
    items["recovered_on"] = items["defaults"] + 30 + (delay * 90).round()


def _payments(items: pd.DataFrame) -> pd.DataFrame:
    rows = pd.concat(
        [
            _payment_rows(items, "rest", "settled")[~items["is_lost"]],
            _payment_rows(items, "part", "part_on")[
                (items["part"] > 0) & (items["part_on"] <= items["stops"])
            ],
            _payment_rows(items, "credited", "resolved")[items["credited"] > 0].assign(
                kind="credit_note"
            ),
            _payment_rows(items, "recovered", "recovered_on")[items["recovered"] > 0],
        ],
        ignore_index=True,
    )
    rows = rows.sort_values(["paid", "invoice_id"], kind="stable", ignore_index=True)
    return rows.assign(payment_id=_ids("PAY", len(rows), 9))


def _payment_rows(items: pd.DataFrame, amount: str, paid: str) -> pd.DataFrame:
    rows = items[["invoice_id", amount, paid]].set_axis(
        ["invoice_id", "amount", "paid"], axis=1
    )
    return rows.assign(kind="payment")


def _promises(rng: np.random.Generator, items: pd.DataFrame) -> pd.DataFrame:
    """Items 20 days late are asked for: the customer promises the rest within 10 days."""
    open_until = items["settled"].where(~items["is_lost"], np.inf)
    late = items[(open_until > items["due"] + 20) & (rng.random(len(items)) < 0.7)]
    promised = late["due"] + 20
    return late[["invoice_id"]].assign(
        promised=promised, pay_by=promised + 10, amount=late["rest"]
    )


def _write_offs(rng: np.random.Generator, items: pd.DataFrame) -> pd.DataFrame:
    is_given_up = rng.random(int(items["customer"].max()) + 1)[items["customer"]] < 0.6
    gone = items[items["is_lost"] & is_given_up]
    amount = (gone["rest"] - gone["recovered"]).round(2)
    return gone[["invoice_id"]].assign(
        written_off=gone["defaults"] + 180, amount=amount
    )


def _limits(people: pd.DataFrame) -> pd.DataFrame:
    monthly = people["orders_a_day"] * 30 * np.exp(7.9 + 0.8 * people["size"])
    amount = (monthly * (1 + people["terms"] / 30) / 1000).round() * 1000 + 1000
    return people[["customer_id", "currency"]].assign(
        amount=amount, known=people["joined"]
    )


def _financials(
    rng: np.random.Generator, people: pd.DataFrame, end: int
) -> pd.DataFrame:
    """Year-end statements of 60% of the customers, published 60 to 150 days later."""
    files = people[rng.random(len(people)) < 0.6]
    years = []
    for period_end in range(-1, end, 365):
        n, noise = len(files), rng.normal(size=(3, len(files)))
        assets = np.exp(13 + 0.8 * files["size"] + 0.1 * noise[0])
        short = 0.4 * assets
        years.append(
            pd.DataFrame(
                {
                    "customer_id": files["customer_id"],
                    "period": period_end,
                    "turnover": (1.6 * assets).round(2),
                    "net_income": (
                        assets * (0.05 - 0.03 * files["risk"] + 0.03 * noise[1])
                    ).round(2),
                    "total_assets": assets.round(2),
                    "equity": (
                        assets
                        * np.clip(
                            0.35 - 0.1 * files["risk"] + 0.1 * noise[2], -0.5, 0.9
                        )
                    ).round(2),
                    "current_assets": (
                        short
                        * np.clip(1.5 - 0.2 * files["risk"] + 0.3 * noise[0], 0.2, 5)
                    ).round(2),
                    "current_liabilities": short.round(2),
                    "known": period_end + rng.integers(60, 150, n),
                }
            )
        )
    return pd.concat(years, ignore_index=True)


def _rates(rng: np.random.Generator, end: int) -> pd.DataFrame:
    days = np.arange(-1, end, 30, dtype=float)
    path = 0.92 * np.exp(np.cumsum(rng.normal(0, 0.01, len(days))))
    return pd.DataFrame({"currency": "USD", "rate_on": days, "rate": path.round(5)})


def _customer_table(people: pd.DataFrame) -> pd.DataFrame:
    country = people["currency"].map({"USD": "US", "EUR": "DE"})
    return people[["customer_id", "sector", "registered"]].assign(country=country)


# Simulated day -> (contract column). A row becomes known on the first day named for its table.
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


def _table(items: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    simulated = {contract: day for day, contract in _DAYS.items()}
    return items[[simulated.get(name, name) for name in columns]]


def _dated(frame: pd.DataFrame, start: date, end: int) -> pd.DataFrame:
    """Turn day numbers into dates and drop what had not become known by the end."""
    known = next(name for name in _BECOMES_KNOWN if name in frame)
    frame = frame[frame[known] <= end]
    origin = np.datetime64(start, "s")
    dated = {_DAYS.get(str(c), str(c)): frame[c] for c in frame if c not in _DAYS}
    for name in frame.columns.intersection(list(_DAYS)):
        happened = np.isfinite(frame[name]) & (
            (frame[name] <= end) | (name in ("due", "pay_by"))
        )
        seconds = np.where(happened, frame[name], 0).astype("int64") * 86_400
        days = (origin + seconds.astype("timedelta64[s]")).astype(DAY_DTYPE)
        dated[_DAYS[name]] = pd.Series(days, frame.index).where(happened)
    dated["known_on"] = dated[_DAYS[known]]
    return pd.DataFrame(dated).reset_index(drop=True)


def _ids(prefix: str, n: int, digits: int) -> NDArray[np.str_]:
    return np.char.add(prefix, np.char.zfill(np.arange(n).astype(str), digits))


def write_ledger(simulation: Simulation, folder: Path) -> None:
    """Write a simulated ledger as CSV files with the mapping that reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f'currency = "{simulation.ledger.currency}"', ""]
    for table, frame in simulation.ledger.tables.items():
        frame.to_csv(folder / f"{table}.csv", index=False, date_format="%Y-%m-%d")
        lines += [f"[{table}]", f'file = "{table}.csv"', 'date_format = "%Y-%m-%d"', ""]
    (folder / "mapping.toml").write_text("\n".join(lines), encoding="utf-8")
