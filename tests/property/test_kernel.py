"""The kernel: an account gives what its ledger gives, bit for bit.

So does the kernel in the interpreter, and nothing after the as-of date has an effect.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from obligor.data.account import Account, unpacked
from obligor.data.account_building import accounts_of, rates_of
from obligor.data.asof import KnownAccount, known_account, known_on
from obligor.data.days import day_number, day_of
from obligor.data.ledger import DAY_DTYPE, Ledger
from obligor.data.open_items import settled_promises
from obligor.data.synthetic import Simulation
from obligor.decisions.ageing import ageing_of
from obligor.features import build, kernel
from obligor.features.build import account_features, build_features
from obligor.features.catalogue import CATALOGUE, NAMES
from obligor.features.kernel import MaterialAmount
from obligor.policy.rulebooks.rulebook import Materiality
from tests import ascii

AS_OF = date(2024, 6, 30)
DAYS = st.integers(-500, 60).map(lambda n: AS_OF + timedelta(days=n))
CENTS = st.integers(1, 500_000).map(lambda n: n / 100)
WHOLE = st.integers(1, 500_000).map(float)
CURRENCIES = st.sampled_from(["EUR", "USD", "JPY"])
SLOW = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

# Between the amounts of these ledgers, so that some debts are material and some not.
MATERIAL = MaterialAmount(amount=1500.0, share=0.25)
DPD_DAYS = NAMES.index("dpd_days")

Row = dict[str, object]


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    """A few customers with items and all that can happen to them.

    Some of it happens before the as-of date, some of it after.
    """
    events: dict[str, list[Row]] = {
        "payments": [],
        "promises": [],
        "disputes": [],
        "write_offs": [],
    }
    invoices = []
    for number in range(draw(st.integers(1, 6))):
        invoice = draw(invoice_rows(f"I{number}"))
        invoices.append(invoice)
        for _ in range(draw(st.integers(0, 3))):
            table = draw(st.sampled_from(list(events)))
            events[table].append(draw(event_rows(table, invoice)))
    tables = {name: frame_of(rows) for name, rows in events.items() if rows}
    tables["invoices"] = frame_of(invoices)
    tables["customers"] = frame_of([customer_row(f"C{n}") for n in range(3)])
    tables["fx_rates"] = frame_of([rate_row("USD", 0.9), rate_row("JPY", 0.006)])
    return Ledger(tables, "EUR")


@st.composite
def invoice_rows(draw: st.DrawFn, invoice_id: str) -> Row:
    issued_on = draw(DAYS)
    currency = draw(CURRENCIES)
    return {
        "invoice_id": invoice_id,
        "customer_id": f"C{draw(st.integers(0, 2))}",
        "issued_on": issued_on,
        "due_on": issued_on + timedelta(days=draw(st.integers(-40, 60))),
        "amount": draw(amounts(currency)),
        "currency": currency,
        "known_on": issued_on,
    }


def amounts(currency: object) -> st.SearchStrategy[float]:
    """Amounts of a currency: a ledger has no parts of a minor unit."""
    return WHOLE if currency == "JPY" else CENTS


@st.composite
def event_rows(
    draw: st.DrawFn,
    table: str,
    invoice: Row,
) -> Row:
    """A row of a table of events, up to 200 days after its invoice was issued."""
    issued_on = invoice["issued_on"]
    assert isinstance(issued_on, date)
    day = issued_on + timedelta(days=draw(st.integers(0, 200)))
    later = day + timedelta(days=draw(st.integers(0, 40)))
    row: Row = {"invoice_id": invoice["invoice_id"], "known_on": day}
    if table == "payments":
        kind = draw(st.sampled_from(["payment", "credit_note"]))
        row |= {
            "paid_on": day,
            "kind": kind,
            "known_on": later,
        }
    elif table == "promises":
        row |= {"promised_on": day, "pay_by": later}
    elif table == "disputes":
        return row | {
            "opened_on": day,
            "resolved_on": draw(st.sampled_from([later, None])),
        }
    else:
        row |= {"written_off_on": day}
    return row | {"amount": draw(amounts(invoice["currency"]))}


@st.composite
def undone_ledgers(draw: st.DrawFn) -> Ledger:
    """Ledgers in which payments come back, and money, days and invoices change."""
    whole = draw(ledgers())
    added: dict[str, list[Row]] = {}
    invoices = whole["invoices"].to_dict("records")
    for _ in range(draw(st.integers(1, 5))):
        invoice = draw(st.sampled_from(invoices))
        table, row = draw(undoing_rows({str(k): v for k, v in invoice.items()}))
        added.setdefault(table, []).append(row)
    tables = dict(whole.tables)
    for table, rows in added.items():
        frames = [whole[table], frame_of(rows)] if table in tables else [frame_of(rows)]
        tables[table] = pd.concat(frames, ignore_index=True)
    if "payments" in tables:
        ids = [f"P{row}" for row in range(len(tables["payments"]))]
        kind = tables["payments"]["kind"].fillna("payment")
        tables["payments"] = tables["payments"].assign(payment_id=ids, kind=kind)
    return replace(whole, tables=tables)


@st.composite
def undoing_rows(draw: st.DrawFn, invoice: Row) -> tuple[str, Row]:
    """A row that undoes or changes, or money without an invoice, with its table."""
    issued_on = invoice["issued_on"]
    assert isinstance(issued_on, pd.Timestamp)
    day = issued_on.date() + timedelta(days=draw(st.integers(0, 200)))
    later = day + timedelta(days=draw(st.integers(0, 40)))
    row: Row = {"invoice_id": invoice["invoice_id"], "known_on": later}
    amount = draw(amounts(invoice["currency"]))
    payment: Row = {"paid_on": day, "kind": "payment", "amount": amount}
    return draw(
        st.sampled_from(
            [
                ("payments", row | payment | {"amount": -amount}),
                (
                    "payments",
                    row
                    | payment
                    | {"invoice_id": None, "customer_id": invoice["customer_id"]},
                ),
                ("cancellations", row | {"cancelled_on": day}),
                ("extensions", row | {"extended_on": day, "due_on": later}),
                (
                    "disputes",
                    row | {"opened_on": day, "resolved_on": None, "amount": amount},
                ),
            ]
        )
    )


def customer_row(customer_id: str) -> Row:
    day = date(2020, 1, 1)
    return {
        "customer_id": customer_id,
        "registered_on": day,
        "known_on": day,
    }


def rate_row(currency: str, rate: float) -> Row:
    day = date(2019, 1, 1)
    return {
        "currency": currency,
        "rate_on": day,
        "rate": rate,
        "known_on": day,
    }


def frame_of(rows: list[Row]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    for column in map(str, frame.columns):
        if column.endswith("_on") or column == "pay_by":
            frame[column] = pd.to_datetime(frame[column]).astype(DAY_DTYPE)
        elif column.endswith("_id") or column in ("currency", "kind"):
            frame[column] = frame[column].astype("str")
    return frame


def has_items(ledger: Ledger) -> bool:
    is_known = ledger["invoices"]["known_on"] <= pd.Timestamp(AS_OF)
    return bool(is_known.any())


@contextmanager
def interpreted_kernel() -> Iterator[None]:
    """Run the kernel in the interpreter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "_compiled", lambda: kernel.all_customers)
        yield


def stored_accounts(ledger: Ledger) -> dict[str, Account]:
    """Return the accounts as the store gives them, without those that begin later."""
    rates = rates_of(ledger)
    accounts = {}
    for account in accounts_of(ledger):
        item_days = account.items.known_on
        begins_later = len(item_days) and item_days.min() > day_number(AS_OF)
        if not begins_later:
            packed = unpacked(account.packed())
            accounts[account.customer_id] = replace(packed, rates=rates)
    return accounts


@SLOW
@given(ledgers().filter(has_items))
def test_an_account_gives_the_features_of_its_ledger(ledger: Ledger) -> None:
    """Sent as rows or stored as bytes; compiled or interpreted."""
    features = build_features(known_on(ledger, AS_OF))
    for customer_id, stored in stored_accounts(ledger).items():
        expected = features.loc[[customer_id]].to_numpy()
        sent = ascii.account(ledger, customer_id)
        for account in (sent, stored):
            gated = known_account(account, AS_OF)
            np.testing.assert_array_equal(account_features([gated]), expected)
            with interpreted_kernel():
                np.testing.assert_array_equal(account_features([gated]), expected)


@SLOW
@given(undone_ledgers().filter(has_items))
def test_an_account_that_undoes_gives_the_features_of_its_ledger(
    ledger: Ledger,
) -> None:
    features = build_features(known_on(ledger, AS_OF), MATERIAL)
    for customer_id, stored in stored_accounts(ledger).items():
        expected = features.loc[[customer_id]].to_numpy()
        gated = known_account(stored, AS_OF)
        np.testing.assert_array_equal(account_features([gated], MATERIAL), expected)
        assert expected[0, DPD_DAYS] == days_by_the_rules(gated)
        n_broken = expected[0, NAMES.index("broken_promises_365d")]
        if n_broken:
            outcomes = settled_promises(gated)
            assert any(not is_kept for _, is_kept in outcomes)


def days_by_the_rules(gated: KnownAccount) -> int:
    """Return the days for which a material amount is past due, as the rules count."""
    ageing = ageing_of(gated)
    amount = Decimal(str(MATERIAL.amount))
    return ageing.material_dpd_days(Materiality(amount, Decimal(str(MATERIAL.share))))


@SLOW
@given(ledgers().filter(has_items))
def test_accounts_give_the_same_features_alone_and_together(ledger: Ledger) -> None:
    features = build_features(known_on(ledger, AS_OF), MATERIAL)
    accounts = stored_accounts(ledger)
    gated = [known_account(account, AS_OF) for account in accounts.values()]
    expected = features.loc[list(accounts)].to_numpy()
    np.testing.assert_array_equal(account_features(gated, MATERIAL), expected)
    for known, row in zip(gated, expected, strict=True):
        assert row[DPD_DAYS] == days_by_the_rules(known)


def test_accounts_give_the_features_of_a_realistic_ledger(
    simulation: Simulation,
) -> None:
    features = build_features(known_on(simulation.ledger, AS_OF))
    features = features[features["invoice_count_365d"] > 0]
    rates = rates_of(simulation.ledger)
    gated = [
        known_account(replace(account, rates=rates), AS_OF)
        for account in accounts_of(simulation.ledger)
        if account.customer_id in features.index
    ]
    expected = features.to_numpy()
    np.testing.assert_array_equal(account_features(gated), expected)
    with interpreted_kernel():
        np.testing.assert_array_equal(account_features(gated[:20]), expected[:20])
    material = account_features(gated, MATERIAL)
    assert (material[:, DPD_DAYS] < expected[:, DPD_DAYS]).any()
    with interpreted_kernel():
        interpreted = account_features(gated[:20], MATERIAL)
    np.testing.assert_array_equal(interpreted, material[:20])


def test_the_gates_short_way_hides_the_same(simulation: Simulation) -> None:
    """From the day everything was learnt the gate returns the account itself.

    It does not do so a day earlier.
    """
    n_compared = 0
    for account in list(accounts_of(simulation.ledger))[:200]:
        packed = replace(unpacked(account.packed()), rates={})
        if len(packed.currencies) > 1 or not len(packed.items.due):
            continue
        for days_before in (-1, 0, 1, 40):
            day = day_of(packed.last_learnt() - days_before)
            if packed.items.known_on.min() > day_number(day):
                continue
            short = known_account(packed, day)
            long = known_account(replace(packed, learnt_until=None), day)
            assert (short.account is packed) == (days_before <= 0)
            np.testing.assert_array_equal(
                account_features([short]), account_features([long])
            )
            n_compared += 1
    assert n_compared > 300


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(ledgers().filter(has_items))
def test_values_are_in_the_range_of_the_catalogue(ledger: Ledger) -> None:
    features = build_features(known_on(ledger, AS_OF))
    for entry in CATALOGUE:
        values = features[entry.name].dropna()
        is_in_range = values.between(entry.low - 1e-9, entry.high + 1e-9)
        assert is_in_range.all(), entry.name


@SLOW
@given(
    st.one_of(ledgers(), undone_ledgers()).filter(has_items),
    st.integers(0, 2**32 - 1),
)
def test_no_change_after_the_date_moves_a_feature(ledger: Ledger, seed: int) -> None:
    """The whole future is rewritten at random.

    Amounts and dates change, rows are lost, and what is learnt later is another thing.
    """
    before = build_features(known_on(ledger, AS_OF))
    changed = with_another_future(ledger, AS_OF, np.random.default_rng(seed))
    after = build_features(known_on(changed, AS_OF))
    pd.testing.assert_frame_equal(before, after)


def test_no_change_after_the_date_moves_a_feature_of_a_realistic_ledger(
    simulation: Simulation,
) -> None:
    ledger = simulation.ledger
    before = build_features(known_on(ledger, AS_OF))
    changed = with_another_future(ledger, AS_OF, np.random.default_rng(1))
    assert len(changed["payments"]) < len(ledger["payments"])
    pd.testing.assert_frame_equal(before, build_features(known_on(changed, AS_OF)))


def test_without_the_gate_the_future_would_move_features(
    simulation: Simulation,
) -> None:
    """The two tests above are able to fail."""
    gated = build_features(known_on(simulation.ledger, AS_OF))
    ungated = known_on(simulation.ledger, date(2024, 12, 31))
    assert not build_features(replace(ungated, as_of=AS_OF)).equals(gated)


def with_another_future(
    ledger: Ledger,
    as_of: date,
    rng: np.random.Generator,
) -> Ledger:
    """Return a ledger in which everything known after a day is different."""
    day = pd.Timestamp(as_of)
    tables = {}
    for name in ledger.tables:
        frame = ledger[name].copy()
        is_future = frame["known_on"] > day
        if name == "disputes":
            resolved_on = frame["resolved_on"]
            other_day = resolved_on + pd.Timedelta(days=17)
            frame["resolved_on"] = resolved_on.mask(resolved_on > day, other_day)
        future = changed_rows(frame[is_future], rng)
        tables[name] = pd.concat([frame[~is_future], future], ignore_index=True)
    return replace(ledger, tables=tables)


def changed_rows(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return 70% of some rows with other amounts and dates."""
    rows = rows.sample(
        frac=0.7,
        random_state=int(rng.integers(2**31)),
    )
    if "amount" in rows:
        factor = rng.uniform(0.1, 5, len(rows))
        rows = rows.assign(amount=(rows["amount"] * factor).round(2) + 0.01)
    for name in map(str, rows.columns):
        if name.endswith("_on") and name != "resolved_on":
            delay = pd.Timedelta(days=int(rng.integers(0, 90)))
            rows = rows.assign(**{name: rows[name] + delay})
    return rows


def test_catalogue_order_is_the_output_order(simulation: Simulation) -> None:
    assert list(build_features(known_on(simulation.ledger, AS_OF))) == list(NAMES)
