"""The kernel: account equals ledger, plain equals compiled, bit for bit; nothing after the date moves a feature."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from obligor.data.account import unpacked
from obligor.data.account_building import accounts_of, rates_of
from obligor.data.asof import known_account, known_on
from obligor.data.days import day_number, day_of
from obligor.data.ledger import DAY_DTYPE, Ledger
from obligor.data.synthetic import Simulation
from obligor.features import build, kernel
from obligor.features.build import account_features, build_features
from obligor.features.catalogue import NAMES
from tests import ascii

AS_OF = date(2024, 6, 30)
DAYS = st.integers(-500, 60).map(lambda n: AS_OF + timedelta(days=n))
CENTS = st.integers(1, 500_000).map(lambda n: n / 100)


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    """A few customers with items and everything that can happen to them, before and after the as-of date."""
    invoices, events = (
        [],
        {"payments": [], "promises": [], "disputes": [], "write_offs": []},
    )
    for i in range(draw(st.integers(1, 6))):
        issued, amount = draw(DAYS), draw(CENTS)
        currency = draw(st.sampled_from(["EUR", "USD", "JPY"]))
        due = issued + timedelta(days=draw(st.integers(0, 60)))
        invoices.append(
            (
                f"I{i}",
                f"C{draw(st.integers(0, 2))}",
                issued,
                due,
                amount,
                currency,
                issued,
            )
        )
        for _ in range(draw(st.integers(0, 3))):
            day = issued + timedelta(days=draw(st.integers(0, 200)))
            later = day + timedelta(days=draw(st.integers(0, 40)))
            kind = draw(st.sampled_from(list(events)))
            row = {
                "payments": (
                    f"I{i}",
                    day,
                    draw(CENTS),
                    draw(st.sampled_from(["payment", "credit_note"])),
                    later,
                ),
                "promises": (f"I{i}", day, later, draw(CENTS), day),
                "disputes": (f"I{i}", day, draw(st.sampled_from([later, None])), day),
                "write_offs": (f"I{i}", day, draw(CENTS), day),
            }[kind]
            events[kind].append(row)
    columns = {
        "payments": ["invoice_id", "paid_on", "amount", "kind", "known_on"],
        "promises": ["invoice_id", "promised_on", "pay_by", "amount", "known_on"],
        "disputes": ["invoice_id", "opened_on", "resolved_on", "known_on"],
        "write_offs": ["invoice_id", "written_off_on", "amount", "known_on"],
    }
    names = [
        "invoice_id",
        "customer_id",
        "issued_on",
        "due_on",
        "amount",
        "currency",
        "known_on",
    ]
    tables = {"invoices": _frame(invoices, names)}
    tables |= {
        name: _frame(rows, columns[name]) for name, rows in events.items() if rows
    }
    people = [(f"C{i}", date(2020, 1, 1), date(2020, 1, 1)) for i in range(3)]
    tables["customers"] = _frame(people, ["customer_id", "registered_on", "known_on"])
    rates = [
        (c, date(2019, 1, 1), r, date(2019, 1, 1))
        for c, r in (("USD", 0.9), ("JPY", 0.006))
    ]
    tables["fx_rates"] = _frame(rates, ["currency", "rate_on", "rate", "known_on"])
    return Ledger(tables, "EUR")


def _frame(rows: list[tuple[object, ...]], columns: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=columns)
    for column in columns:
        if column.endswith("_on") or column == "pay_by":
            frame[column] = pd.to_datetime(frame[column]).astype(DAY_DTYPE)
        elif column.endswith("_id") or column in ("currency", "kind"):
            frame[column] = frame[column].astype("str")
    return frame


def _has_items(ledger: Ledger) -> bool:
    return bool((ledger["invoices"]["known_on"] <= pd.Timestamp(AS_OF)).any())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ledgers().filter(_has_items))
def test_an_account_gives_what_the_ledger_gives(ledger: Ledger) -> None:
    """Sent as rows, or kept as bytes; alone, or with others; compiled, or by the interpreter."""
    batch = build_features(known_on(ledger, AS_OF))
    rates, stored = rates_of(ledger), {}
    for account in accounts_of(ledger):
        items = account.items
        if len(items.due) and items.known_on.min() > day_number(AS_OF):
            continue  # asked about a time before the first item: an error, tested elsewhere
        stored[account.customer_id] = replace(unpacked(account.packed()), rates=rates)
        sent = known_account(ascii.account(ledger, account.customer_id), AS_OF)
        known = known_account(stored[account.customer_id], AS_OF)
        for one in (sent, known):
            wanted = batch.loc[[account.customer_id]].to_numpy()
            np.testing.assert_array_equal(account_features([one]), wanted)
            with plain_kernel():
                np.testing.assert_array_equal(account_features([one]), wanted)
    together = account_features(
        [known_account(account, AS_OF) for account in stored.values()]
    )
    np.testing.assert_array_equal(together, batch.loc[list(stored)].to_numpy())


def test_an_account_gives_what_a_real_ledger_gives(simulation: Simulation) -> None:
    batch = build_features(known_on(simulation.ledger, AS_OF))
    customers = batch.index[batch["invoice_count_365d"] > 0]
    rates, wanted = rates_of(simulation.ledger), set(customers)
    accounts = [
        replace(one, rates=rates)
        for one in accounts_of(simulation.ledger)
        if one.customer_id in wanted
    ]
    known = [known_account(account, AS_OF) for account in accounts]
    np.testing.assert_array_equal(
        account_features(known), batch.loc[customers].to_numpy()
    )
    with plain_kernel():
        np.testing.assert_array_equal(
            account_features(known[:20]), batch.loc[customers[:20]].to_numpy()
        )


def test_the_gate_hides_the_same_by_the_short_way(simulation: Simulation) -> None:
    """From the day everything was learnt the gate lets the account through as it is, and not a day earlier."""
    tried = 0
    for account in list(accounts_of(simulation.ledger))[:200]:
        packed = replace(unpacked(account.packed()), rates={})
        if len(packed.currencies) > 1 or not len(packed.items.due):
            continue
        for back in (-1, 0, 1, 40):
            day = day_of(packed.last_learnt() - back)
            if packed.items.known_on.min() > day_number(day):
                continue
            short, long = (
                known_account(packed, day),
                known_account(replace(packed, learnt_until=None), day),
            )
            assert (short.account is packed) == (back <= 0)
            np.testing.assert_array_equal(
                account_features([short]), account_features([long])
            )
            tried += 1
    assert tried > 300


@contextmanager
def plain_kernel() -> Iterator[None]:
    """The kernel run by the interpreter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "_compiled", lambda: kernel.all_customers)
        yield


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ledgers().filter(_has_items))
def test_values_lie_in_the_range_of_the_catalogue(ledger: Ledger) -> None:
    from obligor.features.catalogue import CATALOGUE

    features = build_features(known_on(ledger, AS_OF))
    for entry in CATALOGUE:
        values = features[entry.name].dropna()
        assert ((values >= entry.low - 1e-9) & (values <= entry.high + 1e-9)).all(), (
            entry.name
        )


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ledgers().filter(_has_items), st.integers(0, 2**32 - 1))
def test_no_change_after_the_date_moves_a_feature(ledger: Ledger, seed: int) -> None:
    """Rewrite the whole future at random: amounts, dates, new rows, lost rows, and what is learnt later."""
    before = build_features(known_on(ledger, AS_OF))
    after = build_features(
        known_on(_rewritten(ledger, AS_OF, np.random.default_rng(seed)), AS_OF)
    )
    pd.testing.assert_frame_equal(before, after)


def test_no_change_after_the_date_moves_a_feature_of_a_real_ledger(
    simulation: Simulation,
) -> None:
    before = build_features(known_on(simulation.ledger, AS_OF))
    changed = _rewritten(simulation.ledger, AS_OF, np.random.default_rng(1))
    assert len(changed["payments"]) < len(simulation.ledger["payments"])
    pd.testing.assert_frame_equal(before, build_features(known_on(changed, AS_OF)))
    ungated = build_features(
        replace(known_on(simulation.ledger, date(2024, 12, 31)), as_of=AS_OF)
    )
    assert not ungated.equals(before), (
        "with the gate left out this test must be able to fail"
    )


def _rewritten(ledger: Ledger, as_of: date, rng: np.random.Generator) -> Ledger:
    day, tables = pd.Timestamp(as_of), {}
    for name in ledger.tables:
        frame = ledger[name].copy()
        is_future = frame["known_on"] > day
        if name == "disputes":
            is_later = frame["resolved_on"] > day
            frame.loc[is_later, "resolved_on"] = frame.loc[
                is_later, "resolved_on"
            ] + pd.Timedelta(days=17)
        future = frame[is_future]
        future = future.sample(frac=0.7, random_state=int(rng.integers(2**31)))
        if "amount" in future:
            future = future.assign(
                amount=(future["amount"] * rng.uniform(0.1, 5, len(future))).round(2)
                + 0.01
            )
        days = [c for c in future if c.endswith("_on") and c != "resolved_on"]
        future = future.assign(
            **{c: future[c] + pd.Timedelta(days=int(rng.integers(0, 90))) for c in days}
        )
        tables[name] = pd.concat([frame[~is_future], future], ignore_index=True)
    return replace(ledger, tables=tables)


def test_catalogue_order_is_the_output_order(simulation: Simulation) -> None:
    assert list(build_features(known_on(simulation.ledger, AS_OF))) == list(NAMES)
