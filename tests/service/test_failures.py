"""What must not happen: no champion, a full disk, damaged bundles, bugs, leaks in the log."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from obligor.decisions.champion import ChampionLoader
from obligor.decisions.trial import try_bundle
from obligor.errors import ModelError
from obligor.model.bundle import bundle_text, save_bundle
from obligor.policy.rulebooks.rulebook import RULES, read_rulebook
from obligor.serving.api.routes import use_service
from obligor.serving.assembly import Service
from obligor.signing import RELEASE_PUBLIC, Signer
from obligor.training.runs.ledger_run import Trained
from tests.records import fill_disk
from tests.service.test_api import INLINE, inline, post


def test_without_a_champion_it_is_503(
    service: Service, client: TestClient, tmp_path: Path
) -> None:
    use_service(client.app, replace(service, champions=ChampionLoader(tmp_path)))  # type: ignore[arg-type]
    response = post(client)
    assert (response.status_code, response.json()["title"]) == (
        503,
        "Service Unavailable",
    )
    assert "no champion" in response.json()["detail"]


def test_what_was_answered_is_answered_again_without_a_champion(
    service: Service, client: TestClient, tmp_path: Path
) -> None:
    first = post(client, key="k")
    use_service(client.app, replace(service, champions=ChampionLoader(tmp_path)))  # type: ignore[arg-type]
    assert post(client, key="k").content == first.content


def test_absurd_amounts_meet_the_ceiling_of_the_grade(client: TestClient) -> None:
    rate = [{"currency": "USD", "rate_on": "2024-01-01", "rate": 1e9}]
    dates = {"issued_on": "2024-12-20", "due_on": "2025-01-20"}
    huge = [{**INLINE["invoices"][0], **dates, "currency": "USD", "amount": 10**12}]
    asked = {"request": {"amount": 10**12, "currency": "USD"}}
    response = post(
        client, {**inline(invoices=huge, payments=[], fx_rates=rate), **asked}
    )
    assert response.status_code == 200
    limit = response.json()["limit"]
    assert float(limit["caps"]["need"]) > 1e20
    assert float(limit["amount"]) <= float(limit["caps"]["ceiling"]) <= 20_000_000


def test_a_full_disk_is_503_and_nothing_is_answered(
    service: Service, client: TestClient
) -> None:
    assert post(client, key="before").status_code == 200
    fill_disk(service.record)
    while (response := post(client)).status_code == 200:
        pass
    assert response.status_code == 503
    assert "not given" in response.json()["detail"]
    assert "pd_12m" not in response.text
    assert (
        post(client, key="before").status_code == 200
    )  # what was acknowledged is still there


@pytest.mark.parametrize(
    "damage",
    [
        "model.txt",
        "manifest.json",
        "pointer",
        "path",
        "gone",
        "unsigned",
        "another's",
        "extra",
    ],
)
def test_a_damaged_newcomer_is_refused_and_the_last_good_model_stays(
    service: Service,
    client: TestClient,
    store: Path,
    tmp_path: Path,
    damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mine = tmp_path / "store"
    shutil.copytree(store / "models", mine / "models")
    shutil.copy(store / "champion.json", mine / "champion.json")
    keeper = ChampionLoader(mine, [store / RELEASE_PUBLIC])
    use_service(client.app, replace(service, champions=keeper))  # type: ignore[arg-type]
    before = post(client).json()
    pointer = json.loads((mine / "champion.json").read_text())
    bundle = mine / "models" / pointer["sha256"]
    if damage in ("model.txt", "manifest.json"):
        (bundle / damage).write_text((bundle / damage).read_text().replace("1", "2", 3))
    if damage == "unsigned":
        (bundle / "signature").unlink()
    elif damage == "another's":
        (bundle / "signature").write_text(
            Signer(bytes(32)).sign(bundle_text(pointer["sha256"])).hex()
        )
    elif damage == "extra":
        (bundle / "MLmodel").write_text("loader_module: os")
    pointer["version"] = "2"
    pointer["sha256"] = {"path": "../../../../etc/passwd", "gone": "f" * 64}.get(
        damage, pointer["sha256"]
    )
    (mine / "champion.json").write_text(
        "{" if damage == "pointer" else json.dumps(pointer)
    )
    with caplog.at_level(logging.ERROR, logger="obligor"):
        post(client)
        keeper.settle()
        after = post(client).json()
    assert "refused, the last good one stays" in caplog.text
    assert after["model"] == before["model"]
    assert after["pd_12m"] == before["pd_12m"]


def test_a_new_champion_is_taken_without_a_restart(
    service: Service, client: TestClient, store: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "store"
    shutil.copytree(store / "models", mine / "models")
    pointer = json.loads((store / "champion.json").read_text())
    (mine / "champion.json").write_text(json.dumps(pointer))
    keeper = ChampionLoader(mine, [store / RELEASE_PUBLIC])
    use_service(client.app, replace(service, champions=keeper))  # type: ignore[arg-type]
    assert post(client).json()["model"]["version"] == "1"
    (mine / "champion.json").write_text(json.dumps(pointer | {"version": "7"}))
    assert post(client).json()["model"]["version"] in (
        "1",
        "7",
    )  # nobody waits for the newcomer
    keeper.settle()
    assert post(client).json()["model"]["version"] == "7"


def test_a_newcomer_that_does_not_come_through_its_trial_is_refused(
    trained: Trained, tmp_path: Path
) -> None:
    """Every hash is right, and the model text is nonsense."""
    sha256 = save_bundle(
        replace(trained.fit.model, text="tree\nnum_tree_per_iteration=1\n"), tmp_path
    )
    with pytest.raises(ModelError, match="trial"):
        try_bundle(tmp_path, sha256)


def test_rules_are_those_in_force_on_the_day(
    service: Service, client: TestClient, tmp_path: Path
) -> None:
    shutil.copytree(RULES / "2000-01-01", tmp_path / "2024-07-01")
    for path in (tmp_path / "2024-07-01").glob("*.yaml"):
        path.write_text(
            path.read_text().replace("effective: 2000-01-01", "effective: 2024-07-01")
        )
    released = [*service.rulebooks.released, read_rulebook(tmp_path / "2024-07-01")]
    rulebooks = replace(service.rulebooks, released=released)
    use_service(client.app, replace(service, rulebooks=rulebooks))  # type: ignore[arg-type]
    assert post(client, as_of="2024-06-30").json()["policy"]["version"] == "2000-01-01"
    assert post(client, as_of="2024-07-01").json()["policy"]["version"] == "2024-07-01"


def test_a_bug_is_a_problem_without_a_traceback(
    service: Service, client: TestClient
) -> None:
    use_service(client.app, replace(service, champions=None))  # type: ignore[arg-type]
    response = post(client)
    assert (response.status_code, response.json()["detail"]) == (
        500,
        "a bug; please report",
    )


def test_logs_hold_no_customer_data(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="obligor"):
        post(client, customer_id="CANARY-NOBODY")
        post(client, {"customer_id": "CANARY", "as_of": "CANARY"})
        post(client, {**inline(), "customer_id": "CANARY"})
    assert "CANARY" not in caplog.text


def test_nothing_loaded_says_what_to_run(
    service: Service, client: TestClient, tmp_path: Path
) -> None:
    from obligor.data.store import LedgerStore

    use_service(
        client.app, replace(service, ledger=LedgerStore(f"sqlite:///{tmp_path}/l.db"))
    )  # type: ignore[arg-type]
    response = post(client)
    assert (response.status_code, "obligor load" in response.json()["detail"]) == (
        422,
        True,
    )
