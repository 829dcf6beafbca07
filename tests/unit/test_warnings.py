"""Early warnings: each trigger at its threshold, what changed, and the route."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from starlette.testclient import TestClient

from obligor.policy.credit.credit_file import CreditFile, Security
from obligor.policy.credit.early_warnings import Snapshot, drivers, early_warnings
from tests.customers import AS_OF, NEW_RULEBOOK, RULEBOOK

CALM: dict[str, float | None] = {
    "open_amount": 1000.0,
    "invoiced_amount_30d": 1000.0,
    "invoiced_amount_90d": 3000.0,
    "paid_amount_90d": 3000.0,
    "invoiced_amount_365d": 12_000.0,
    "disputed_share": 0.0,
    "broken_promises_365d": 0.0,
    "dpd_days": 0.0,
    "days_since_last_invoice": 5.0,
}
NOW = Snapshot(
    as_of=AS_OF,
    pd_12m=0.01,
    grade=5,
    limit=Decimal(2000),
    features=CALM,
    contributions={"dpd_days": 0.1, "open_amount": -0.2},
    margin=-4.0,
    model_sha256="m" * 64,
    credit_file=CreditFile(),
)
BEFORE = replace(NOW, as_of=AS_OF - timedelta(days=90))


def with_features(snapshot: Snapshot = NOW, **features: float | None) -> Snapshot:
    return replace(snapshot, features={**CALM, **features})


def with_grade(grade: int) -> Snapshot:
    return replace(NOW, grade=grade)


def with_bond(days: int) -> Snapshot:
    """A security that ends in so many days."""
    expires_on = AS_OF + timedelta(days=days)
    bond = Security(
        "insurance",
        Decimal(1),
        Decimal(0),
        expires_on,
    )
    return replace(NOW, credit_file=CreditFile(securities=(bond,)))


def with_new_payment_details(day: date) -> Snapshot:
    credit_file = CreditFile(payment_details_changed_on=day)
    return replace(NOW, credit_file=credit_file)


def warnings_of(now: Snapshot, before: Snapshot | None = BEFORE) -> list[str]:
    return [warning.fired for warning in early_warnings(now, before, RULEBOOK)]


@pytest.mark.parametrize(
    ("days_before", "days_now", "codes"),
    [(0, 3, []), (0, 14, []), (0, 15, ["W03"]), (None, 0, ["W03"])],
)
def test_a_remainder_that_grows_older_is_no_alarm(
    days_before: int | None,
    days_now: int,
    codes: list[str],
) -> None:
    """A bank charge has been open for 170 and then for 260 days.

    A decision of an earlier version does not show what is material.
    """
    is_shown = days_before is not None
    before = replace(
        BEFORE,
        features={**CALM, "dpd_days": 170.0},
        material_dpd_days=Decimal(days_before) if is_shown else None,
    )
    now = replace(
        NOW,
        features={**CALM, "dpd_days": 260.0},
        material_dpd_days=Decimal(days_now),
    )
    fired = [warning.fired for warning in early_warnings(now, before, NEW_RULEBOOK)]
    assert fired == codes
    assert warnings_of(now, before) == ["W03"]


@pytest.mark.parametrize(("owed", "codes"), [("1599", []), ("1800", ["W02"])])
def test_unapplied_money_does_not_use_the_limit(owed: str, codes: list[str]) -> None:
    now = with_features(replace(NOW, owed=Decimal(owed)), open_amount=1900.0)
    assert warnings_of(now) == codes


@pytest.mark.parametrize(
    ("now", "codes"),
    [
        (NOW, []),
        (with_features(open_amount=1599.99), []),
        (with_features(open_amount=1600.0), ["W01"]),
        (with_features(open_amount=1800.0), ["W02"]),
        (with_features(dpd_days=14.0), []),
        (with_features(dpd_days=15.0), ["W03"]),
        (with_grade(6), []),
        (with_grade(7), ["W04"]),
        (with_features(paid_amount_90d=2999.0), ["W05"]),
        (with_features(invoiced_amount_90d=0.0, paid_amount_90d=0.0), []),
        (with_features(disputed_share=0.2), []),
        (with_features(disputed_share=0.21), ["W06"]),
        (with_features(broken_promises_365d=1.0), ["W07"]),
        (with_new_payment_details(AS_OF), ["W08"]),
        # Known at the last decision.
        (with_new_payment_details(BEFORE.as_of), []),
        (with_bond(30), ["W10"]),
        (with_bond(31), []),
        # Expired: it no longer counts in the limit.
        (with_bond(-1), []),
        (
            with_features(
                open_amount=None,
                dpd_days=None,
                disputed_share=None,
            ),
            [],
        ),
    ],
)
def test_each_trigger_at_its_threshold(now: Snapshot, codes: list[str]) -> None:
    assert warnings_of(now) == codes


def test_a_spike_needs_a_pause_before_it() -> None:
    paused = with_features(BEFORE, days_since_last_invoice=91.0)
    large = with_features(invoiced_amount_30d=3001.0)
    usual = with_features(invoiced_amount_30d=3000.0)
    assert warnings_of(large, paused) == ["W09"]
    assert warnings_of(usual, paused) == []
    assert warnings_of(large) == []


def test_the_first_decision_about_a_customer_shows_no_change() -> None:
    worse = with_features(with_new_payment_details(AS_OF), dpd_days=60.0)
    worse = replace(worse, grade=9, features={**worse.features, "open_amount": 1900.0})
    assert warnings_of(worse, None) == ["W02"]


WORSE = replace(NOW, margin=-3.0, contributions={"dpd_days": 1.3, "open_amount": -0.4})


def test_drivers_moved_in_the_direction_of_the_margin() -> None:
    (driver,) = drivers(WORSE, BEFORE)
    assert driver.feature == "dpd_days"
    assert round(driver.margin_change, 9) == 1.2
    better = replace(WORSE, margin=-5.0)
    assert [driver.feature for driver in drivers(better, BEFORE)] == ["open_amount"]


def test_drivers_are_not_given_across_two_models() -> None:
    assert drivers(replace(WORSE, model_sha256="n" * 64), BEFORE) == []


# --- the route over the record

CUSTOMER = "C0000002"
URL = f"/customers/{CUSTOMER}/warnings"


def test_the_route_needs_a_decision(client: TestClient) -> None:
    assert client.get(URL).status_code == 404


def test_the_route_shows_no_change_after_one_decision(client: TestClient) -> None:
    question = {"customer_id": CUSTOMER, "as_of": "2024-03-31"}
    decision = client.post("/decisions", json=question).json()
    answer = client.get(URL).json()
    assert answer["decision_id"] == decision["decision_id"]
    assert answer["since"] is None


class TwoDecisions:
    """A customer that was decided on twice, and the warnings after that."""

    def __init__(self, client: TestClient) -> None:
        override = {
            "grade": 10,
            "by": "C. Manager",
            "because": "rumours",
            "expires_on": "2025-12-31",
        }
        credit_file = {
            "override": override,
            "payment_details_changed_on": "2024-12-01",
        }
        self.first = client.post(
            "/decisions", json={"customer_id": CUSTOMER, "as_of": "2024-03-31"}
        ).json()
        self.second = client.post(
            "/decisions",
            json={
                "customer_id": CUSTOMER,
                "as_of": "2024-12-31",
                "file": credit_file,
            },
        ).json()
        self.answer = client.get(URL).json()


@pytest.fixture
def two_decisions(client: TestClient) -> TwoDecisions:
    return TwoDecisions(client)


def test_the_route_compares_the_last_two_recorded_decisions(
    two_decisions: TwoDecisions,
) -> None:
    first = two_decisions.first
    second = two_decisions.second
    since = two_decisions.answer["since"]
    assert since["pd_12m"] == [first["pd_12m"], second["pd_12m"]]
    assert since["grade"] == [first["grade"], 10]
    margins = [answer["explanation"]["margin"] for answer in (first, second)]
    assert since["margin_change"] == margins[1] - margins[0]


def test_the_route_gives_the_evidence_of_each_warning(
    two_decisions: TwoDecisions,
) -> None:
    warnings = {
        warning["code"]: warning for warning in two_decisions.answer["warnings"]
    }
    assert {"W04", "W08"} <= set(warnings)
    grade_change = 10 - two_decisions.first["grade"]
    assert warnings["W04"]["evidence"]["grade_change"] == grade_change


def test_the_route_names_the_drivers_of_the_change(
    two_decisions: TwoDecisions,
) -> None:
    since = two_decisions.answer["since"]
    before = two_decisions.first["explanation"]["contributions"]
    now = two_decisions.second["explanation"]["contributions"]
    for driver in since["drivers"]:
        name = driver["feature"]
        assert driver["margin_change"] == now[name] - before[name]
    assert since["drivers"][0]["feature"] in since["text"]
