"""What must not happen: no champion, a full disk, damaged bundles, bugs, leaks."""

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
from obligor.serving.assembly import Service
from obligor.signing import RELEASE_PUBLIC, Signer
from obligor.training.runs.ledger_run import Trained
from tests.conftest import client_of
from tests.records import fill_disk
from tests.service.test_api import INLINE, inline, post

# --- without a model, a ledger or a disk


def test_without_a_champion_it_is_503(
    untrained_service: Service, tmp_path: Path
) -> None:
    nobody = replace(untrained_service, champions=ChampionLoader(tmp_path))
    problem = post(client_of(nobody)).json()
    assert (problem["status"], problem["title"]) == (503, "Service Unavailable")
    assert "no champion" in problem["detail"]


def test_a_recorded_answer_needs_no_champion(
    untrained_service: Service, tmp_path: Path
) -> None:
    first = post(client_of(untrained_service), key="k")
    nobody = replace(untrained_service, champions=ChampionLoader(tmp_path))
    assert post(client_of(nobody), key="k").content == first.content


def test_without_a_ledger_the_problem_names_the_command(
    untrained_service: Service, tmp_path: Path
) -> None:
    empty = LedgerStore(f"sqlite:///{tmp_path}/l.db")
    problem = post(client_of(replace(untrained_service, ledger=empty))).json()
    assert problem["status"] == 422
    assert "obligor load" in problem["detail"]


def test_on_a_full_disk_it_is_503_and_nothing_is_answered(
    untrained_service: Service,
) -> None:
    client = client_of(untrained_service)
    assert post(client, key="before").status_code == 200
    fill_disk(untrained_service.record)
    while (response := post(client)).status_code == 200:
        pass
    assert response.status_code == 503
    assert "not given" in response.json()["detail"]
    assert "pd_12m" not in response.text
    # What was acknowledged is still there.
    assert post(client, key="before").status_code == 200


def test_absurd_amounts_meet_the_ceiling_of_the_grade(
    untrained_client: TestClient,
) -> None:
    rate = {"currency": "USD", "rate_on": "2024-01-01", "rate": 1e9}
    invoice = {
        **INLINE["invoices"][0],
        "issued_on": "2024-12-20",
        "due_on": "2025-01-20",
        "currency": "USD",
        "amount": 10**12,
    }
    body = {
        **inline(invoices=[invoice], payments=[], fx_rates=[rate]),
        "request": {"amount": 10**12, "currency": "USD"},
    }
    response = post(untrained_client, body)
    assert response.status_code == 200
    limit = response.json()["limit"]
    assert float(limit["caps"]["need"]) > 1e20
    assert float(limit["amount"]) <= float(limit["caps"]["ceiling"]) <= 20_000_000


# --- a new champion


@dataclass(frozen=True)
class OwnStore:
    """A copy of the store whose champion can be replaced."""

    folder: Path
    champions: ChampionLoader
    client: TestClient

    @property
    def pointer(self) -> dict[str, Any]:
        """The pointer to the champion."""
        pointer: dict[str, Any] = json.loads(
            (self.folder / "champion.json").read_text()
        )
        return pointer

    @property
    def bundle(self) -> Path:
        """The folder of the champion's bundle."""
        return self.folder / "models" / str(self.pointer["sha256"])

    def promote(self, **changes: str) -> None:
        """Change the pointer, as a promotion does."""
        text = json.dumps({**self.pointer, **changes})
        (self.folder / "champion.json").write_text(text)


@pytest.fixture
def own_store(service: Service, store: Path, tmp_path: Path) -> OwnStore:
    folder = tmp_path / "store"
    shutil.copytree(store / "models", folder / "models")
    shutil.copy(store / "champion.json", folder / "champion.json")
    champions = ChampionLoader(folder, [store / RELEASE_PUBLIC])
    client = client_of(replace(service, champions=champions))
    return OwnStore(folder, champions, client)


def edit(name: str) -> Callable[[OwnStore], None]:
    """A damage that changes a file of the bundle."""

    def damage(own_store: OwnStore) -> None:
        path = own_store.bundle / name
        path.write_text(path.read_text().replace("1", "2", 3))
        own_store.promote(version="2")

    return damage


def break_pointer(own_store: OwnStore) -> None:
    (own_store.folder / "champion.json").write_text("{")


def point_outside(own_store: OwnStore) -> None:
    own_store.promote(version="2", sha256="../../../../etc/passwd")


def point_nowhere(own_store: OwnStore) -> None:
    own_store.promote(version="2", sha256="f" * 64)


def remove_signature(own_store: OwnStore) -> None:
    (own_store.bundle / "signature").unlink()
    own_store.promote(version="2")


def sign_with_another_key(own_store: OwnStore) -> None:
    text = bundle_text(own_store.pointer["sha256"])
    signature = Signer(bytes(32)).sign(text).hex()
    (own_store.bundle / "signature").write_text(signature)
    own_store.promote(version="2")


def add_a_file(own_store: OwnStore) -> None:
    (own_store.bundle / "MLmodel").write_text("loader_module: os")
    own_store.promote(version="2")


DAMAGES = {
    "model.txt": edit("model.txt"),
    "manifest.json": edit("manifest.json"),
    "pointer": break_pointer,
    "path": point_outside,
    "gone": point_nowhere,
    "unsigned": remove_signature,
    "another's": sign_with_another_key,
    "extra": add_a_file,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_new_champion_is_refused_and_the_last_good_one_stays(
    own_store: OwnStore,
    damage: Callable[[OwnStore], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = post(own_store.client).json()
    damage(own_store)
    with caplog.at_level(logging.ERROR, logger="obligor"):
        post(own_store.client)
        own_store.champions.settle()
        after = post(own_store.client).json()
    assert "refused, the last good one stays" in caplog.text
    assert after["model"] == before["model"]
    assert after["pd_12m"] == before["pd_12m"]


def test_a_new_champion_serves_without_a_restart(own_store: OwnStore) -> None:
    assert post(own_store.client).json()["model"]["version"] == "1"
    own_store.promote(version="7")
    # No request waits for the new model.
    assert post(own_store.client).json()["model"]["version"] in ("1", "7")
    own_store.champions.settle()
    assert post(own_store.client).json()["model"]["version"] == "7"


def test_a_new_champion_that_fails_its_trial_is_refused(
    trained: Trained, tmp_path: Path
) -> None:
    """Every hash is right, and the model text is nonsense."""
    nonsense = replace(trained.fit.model, text="tree\nnum_tree_per_iteration=1\n")
    sha256 = save_bundle(nonsense, tmp_path)
    with pytest.raises(ModelError, match="trial"):
        try_bundle(tmp_path, sha256)


# --- rules, bugs, logs


def test_the_rulebook_in_force_is_chosen_by_the_as_of_date(
    untrained_service: Service, tmp_path: Path
) -> None:
    folder = shutil.copytree(RULES / "2000-01-01", tmp_path / "2024-07-01")
    for path in folder.glob("*.yaml"):
        old = path.read_text()
        path.write_text(old.replace("effective: 2000-01-01", "effective: 2024-07-01"))
    released = [*untrained_service.rulebooks.released, read_rulebook(folder)]
    rulebooks = replace(untrained_service.rulebooks, released=released)
    client = client_of(replace(untrained_service, rulebooks=rulebooks))
    expected = {
        "2023-12-30": "2000-01-01",
        "2023-12-31": "2023-12-31",
        "2024-06-30": "2023-12-31",
        "2024-07-01": "2024-07-01",
    }
    for as_of, version in expected.items():
        assert post(client, as_of=as_of).json()["policy"]["version"] == version


def test_a_bug_is_a_problem_without_a_traceback(untrained_service: Service) -> None:
    broken = replace(untrained_service, champions=None)  # type: ignore[arg-type]
    problem = post(client_of(broken)).json()
    assert problem["status"] == 500
    assert problem["detail"] == "a bug; please report"


def test_logs_hold_no_customer_data(
    untrained_client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="obligor"):
        post(untrained_client, customer_id="CANARY-NOBODY")
        post(untrained_client, {"customer_id": "CANARY", "as_of": "CANARY"})
        post(untrained_client, {**inline(), "customer_id": "CANARY"})
    assert "CANARY" not in caplog.text
