"""Early warnings: each trigger at its threshold, what changed, and the route over the record."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from starlette.testclient import TestClient

from obligor.policy.credit.credit_file import CreditFile, Security
from obligor.policy.credit.early_warnings import Snapshot, drivers, early_warnings
from obligor.policy.rulebooks.rulebook import RULES, read_rulebook

RULEBOOK = read_rulebook(RULES / "2000-01-01")
TODAY = date(2025, 6, 30)
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


def at(
    day: date = TODAY,
    grade: int = 5,
    file: CreditFile | None = None,
    **features: float | None,
) -> Snapshot:
    parts = {"dpd_days": 0.1, "open_amount": -0.2}
    return Snapshot(
        day,
        0.01,
        grade,
        Decimal(2000),
        CALM | features,
        parts,
        -4.0,
        "m" * 64,
        file or CreditFile(),
    )


BEFORE = at(TODAY - timedelta(days=90))


def fired(now: Snapshot, before: Snapshot | None = BEFORE) -> list[str]:
    return [one.fired for one in early_warnings(now, before, RULEBOOK)]


def bond(days: int) -> CreditFile:
    return CreditFile(
        securities=(
            Security("insurance", Decimal(1), Decimal(0), TODAY + timedelta(days=days)),
        )
    )


def changed(day: date) -> CreditFile:
    return CreditFile(payment_details_changed_on=day)


@pytest.mark.parametrize(
    ("now", "codes"),
    [
        (at(), []),
        (at(open_amount=1599.99), []),
        (at(open_amount=1600.0), ["W01"]),
        (at(open_amount=1800.0), ["W02"]),
        (at(dpd_days=14.0), []),
        (at(dpd_days=15.0), ["W03"]),
        (at(grade=6), []),
        (at(grade=7), ["W04"]),
        (at(paid_amount_90d=2999.0), ["W05"]),
        (at(invoiced_amount_90d=0.0, paid_amount_90d=0.0), []),
        (at(disputed_share=0.2), []),
        (at(disputed_share=0.21), ["W06"]),
        (at(broken_promises_365d=1.0), ["W07"]),
        (at(file=changed(TODAY)), ["W08"]),
        (at(file=changed(BEFORE.as_of)), []),  # known at the last decision
        (at(file=bond(30)), ["W10"]),
        (at(file=bond(31)), []),
        (at(file=bond(-1)), []),  # gone: it no longer counts in the limit
        (at(open_amount=None, dpd_days=None, disputed_share=None), []),
    ],
)
def test_each_trigger_at_its_threshold(now: Snapshot, codes: list[str]) -> None:
    assert fired(now) == codes


def test_a_spike_is_one_after_a_pause() -> None:
    paused = replace(BEFORE, features=CALM | {"days_since_last_invoice": 91.0})
    assert fired(at(invoiced_amount_30d=3001.0), paused) == ["W09"]
    assert fired(at(invoiced_amount_30d=3000.0), paused) == []
    assert fired(at(invoiced_amount_30d=3001.0)) == []


def test_without_a_decision_before_nothing_has_changed() -> None:
    worse = at(grade=9, dpd_days=60.0, file=changed(TODAY), open_amount=1900.0)
    assert fired(worse, None) == ["W02"]


def test_drivers_go_the_way_the_margin_went_and_never_across_models() -> None:
    worse = replace(
        at(), margin=-3.0, contributions={"dpd_days": 1.3, "open_amount": -0.4}
    )
    assert [
        (one.feature, round(one.margin_change, 9)) for one in drivers(worse, BEFORE)
    ] == [("dpd_days", 1.2)]
    better = replace(worse, margin=-5.0)
    assert [one.feature for one in drivers(better, BEFORE)] == ["open_amount"]
    assert drivers(replace(worse, model_sha256="n" * 64), BEFORE) == []


def test_the_route_compares_the_last_two_recorded_decisions(client: TestClient) -> None:
    url = "/customers/C0000002/warnings"
    assert client.get(url).status_code == 404

    def decided(as_of: str, **file: Any) -> Any:
        body = {"customer_id": "C0000002", "as_of": as_of, "file": file or None}
        return client.post("/decisions", json=body).json()

    first = decided("2024-03-31")
    alone = client.get(url).json()
    assert (alone["decision_id"], alone["since"]) == (first["decision_id"], None)
    override = {
        "grade": 10,
        "by": "C. Manager",
        "because": "rumours",
        "expires_on": "2025-12-31",
    }
    second = decided(
        "2024-12-31", override=override, payment_details_changed_on="2024-12-01"
    )
    found = client.get(url).json()
    since = found["since"]
    assert since["pd_12m"] == [first["pd_12m"], second["pd_12m"]]
    assert (
        since["margin_change"]
        == second["explanation"]["margin"] - first["explanation"]["margin"]
    )
    assert since["grade"] == [first["grade"], 10]
    assert {"W04", "W08"} <= {one["code"] for one in found["warnings"]}
    changed_by = next(one for one in found["warnings"] if one["code"] == "W04")[
        "evidence"
    ]
    assert changed_by["grade_change"] == 10 - first["grade"]
    now, before = (one["explanation"]["contributions"] for one in (second, first))
    parts = [now[one["feature"]] - before[one["feature"]] for one in since["drivers"]]
    assert parts == [one["margin_change"] for one in since["drivers"]]
    assert since["drivers"][0]["feature"] in since["text"]
