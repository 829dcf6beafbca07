"""Failures: no champion, a full disk, damaged bundles, bugs, leaks into the log."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from obligor.data.store import LedgerStore
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


def use(client: TestClient, service: Service, **parts: object) -> None:
    """Let a client's app answer with a service some parts of which are replaced."""
    changed = replace(service, **parts)  # type: ignore[arg-type]
    use_service(client.app, changed)  # type: ignore[arg-type]


# --- the champion


def test_without_a_champion_it_is_503(
    service: Service, client: TestClient, tmp_path: Path
) -> None:
    use(client, service, champions=ChampionLoader(tmp_path))
    response = post(client)
    assert response.status_code == 503
    assert response.json()["title"] == "Service Unavailable"
    assert "no champion" in response.json()["detail"]


def test_a_stored_answer_needs_no_champion(
    service: Service, client: TestClient, tmp_path: Path
) -> None:
    first = post(client, key="k")
    use(client, service, champions=ChampionLoader(tmp_path))
    assert post(client, key="k").content == first.content


@dataclass
class Newcomer:
    """A store in which another bundle becomes the champion."""

    store: Path

    def __post_init__(self) -> None:
        self.pointer = json.loads((self.store / "champion.json").read_text())
        self.bundle = self.store / "models" / self.pointer["sha256"]

    def point_to(self, **changes: str) -> None:
        """Write the pointer with changes."""
        text = json.dumps({**self.pointer, **changes})
        (self.store / "champion.json").write_text(text)

    def change_file(self, name: str) -> None:
        """Change some digits in a file."""
        path = self.bundle / name
        path.write_text(path.read_text().replace("1", "2", 3))

    def sign_with_another_key(self) -> None:
        """Sign the bundle with a key that is not trusted."""
        signature = Signer(bytes(32)).sign(bundle_text(self.pointer["sha256"]))
        (self.bundle / "signature").write_text(signature.hex())


@pytest.fixture
def newcomer(trained: Trained, store: Path, tmp_path: Path) -> Newcomer:
    own_store = tmp_path / "store"
    shutil.copytree(store / "models", own_store / "models")
    shutil.copy(store / "champion.json", own_store / "champion.json")
    return Newcomer(own_store)


@pytest.fixture
def loader(
    service: Service,
    client: TestClient,
    newcomer: Newcomer,
    store: Path,
) -> ChampionLoader:
    """The loader of the newcomer's store, which the client's app uses."""
    loader = ChampionLoader(newcomer.store, [store / RELEASE_PUBLIC])
    use(client, service, champions=loader)
    return loader


def change_model(newcomer: Newcomer) -> None:
    newcomer.change_file("model.txt")
    newcomer.point_to(version="2")


def change_manifest(newcomer: Newcomer) -> None:
    newcomer.change_file("manifest.json")
    newcomer.point_to(version="2")


def damage_pointer(newcomer: Newcomer) -> None:
    (newcomer.store / "champion.json").write_text("{")


def point_outside(newcomer: Newcomer) -> None:
    newcomer.point_to(version="2", sha256="../../../../etc/passwd")


def point_to_nothing(newcomer: Newcomer) -> None:
    newcomer.point_to(version="2", sha256="f" * 64)


def remove_signature(newcomer: Newcomer) -> None:
    (newcomer.bundle / "signature").unlink()
    newcomer.point_to(version="2")


def sign_with_another_key(newcomer: Newcomer) -> None:
    newcomer.sign_with_another_key()
    newcomer.point_to(version="2")


def add_file(newcomer: Newcomer) -> None:
    (newcomer.bundle / "MLmodel").write_text("loader_module: os")
    newcomer.point_to(version="2")


@pytest.mark.parametrize(
    "damage",
    [
        change_model,
        change_manifest,
        damage_pointer,
        point_outside,
        point_to_nothing,
        remove_signature,
        sign_with_another_key,
        add_file,
    ],
)
def test_a_damaged_champion_is_refused_and_the_last_good_one_stays(
    client: TestClient,
    newcomer: Newcomer,
    loader: ChampionLoader,
    damage: Callable[[Newcomer], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = post(client).json()
    damage(newcomer)
    with caplog.at_level(logging.ERROR, logger="obligor"):
        post(client)
        loader.settle()
        after = post(client).json()
    assert "refused, the last good one stays" in caplog.text
    assert after["model"] == before["model"]
    assert after["pd_12m"] == before["pd_12m"]


def version_of(response: Any) -> str:
    """Return the version of the model that answered."""
    return str(response.json()["model"]["version"])


def test_a_new_champion_is_used_without_a_restart(
    client: TestClient, newcomer: Newcomer, loader: ChampionLoader
) -> None:
    assert version_of(post(client)) == "1"
    newcomer.point_to(version="7")
    # No request waits for the new champion.
    assert version_of(post(client)) in ("1", "7")
    loader.settle()
    assert version_of(post(client)) == "7"


def test_a_champion_that_fails_its_trial_is_refused(
    trained: Trained, tmp_path: Path
) -> None:
    """Every hash is right, and the model's text is nonsense."""
    nonsense = replace(trained.fit.model, text="tree\nnum_tree_per_iteration=1\n")
    sha256 = save_bundle(nonsense, tmp_path)
    with pytest.raises(ModelError, match="trial"):
        try_bundle(tmp_path, sha256)


# --- the other parts


def test_absurd_amounts_are_capped_by_the_grade(client: TestClient) -> None:
    rate = {"currency": "USD", "rate_on": "2024-01-01", "rate": 1e9}
    amount = {"currency": "USD", "amount": 10**12}
    invoice = {
        **INLINE["invoices"][0],
        "issued_on": "2024-12-20",
        "due_on": "2025-01-20",
        **amount,
    }
    question = inline(invoices=[invoice], payments=[], fx_rates=[rate])
    response = post(client, {**question, "request": amount})
    assert response.status_code == 200
    limit = response.json()["limit"]
    assert float(limit["caps"]["need"]) > 1e20
    assert float(limit["amount"]) <= float(limit["caps"]["ceiling"]) <= 20_000_000


def test_on_a_full_disk_no_decision_is_given(
    service: Service, client: TestClient
) -> None:
    assert post(client, key="before").status_code == 200
    fill_disk(service.record)
    while (response := post(client)).status_code == 200:
        pass
    assert response.status_code == 503
    assert "not given" in response.json()["detail"]
    assert "pd_12m" not in response.text
    # What was acknowledged is still there.
    assert post(client, key="before").status_code == 200


def test_the_rulebook_in_force_is_chosen_by_the_as_of_date(
    service: Service, client: TestClient, tmp_path: Path
) -> None:
    folder = tmp_path / "2024-07-01"
    shutil.copytree(RULES / "2000-01-01", folder)
    for path in folder.glob("*.yaml"):
        text = path.read_text()
        later = text.replace("effective: 2000-01-01", "effective: 2024-07-01")
        path.write_text(later)
    released = [*service.rulebooks.released, read_rulebook(folder)]
    use(client, service, rulebooks=replace(service.rulebooks, released=released))
    before = post(client, as_of="2024-06-30").json()
    after = post(client, as_of="2024-07-01").json()
    assert before["policy"]["version"] == "2000-01-01"
    assert after["policy"]["version"] == "2024-07-01"


def test_a_bug_is_a_problem_without_a_traceback(
    service: Service, client: TestClient
) -> None:
    use(client, service, champions=None)
    response = post(client)
    assert response.status_code == 500
    assert response.json()["detail"] == "a bug; please report"


def test_logs_contain_no_customer_data(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="obligor"):
        post(client, customer_id="CANARY-NOBODY")
        post(client, {"customer_id": "CANARY", "as_of": "CANARY"})
        post(client, {**inline(), "customer_id": "CANARY"})
    assert "CANARY" not in caplog.text


def test_without_a_ledger_the_error_says_what_to_run(
    service: Service, client: TestClient, tmp_path: Path
) -> None:
    use(client, service, ledger=LedgerStore(f"sqlite:///{tmp_path}/l.db"))
    response = post(client)
    assert response.status_code == 422
    assert "obligor load" in response.json()["detail"]
