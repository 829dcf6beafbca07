"""A backup of a running record, brought into an empty one, on either database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from obligor.errors import RecordError
from obligor.record.checkpointer import Checkpointer
from obligor.record.encryption import Vault
from obligor.record.merkle_log import Tree
from obligor.record.receipts import CheckpointFolder, ReceiptSigner
from obligor.record.record import Record
from obligor.record.verify import verify
from obligor.serving.access.api_keys import NewKey, create_key, list_keys
from obligor.serving.operations.backup import StoreFolders, back_up, restore
from tests.conftest import NOW, VAULT
from tests.records import ENTRY

SEAL = ReceiptSigner(bytes(32))


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Record]:
    """600 entries, of which the last 20 have no place in the tree yet."""
    record = Record.open(f"sqlite:///{tmp_path}/old.db", VAULT)
    notary = Checkpointer(
        record, SEAL, CheckpointFolder([tmp_path / "old" / "checkpoints"]), lambda: NOW
    )
    for start in range(0, 600, 20):
        if start == 580:
            notary.step()
        record.writer.append(
            [
                replace(
                    ENTRY,
                    entry_id=f"d-{n}",
                    customer_id=f"C{n % 7}",
                    idempotency_key=f"k-{n}",
                )
                for n in range(start, start + 20)
            ]
        )
    create_key(record.database.engine, NewKey("shop", "application"), NOW, VAULT.random)
    (tmp_path / "old" / "models" / "abc").mkdir(parents=True)
    (tmp_path / "old" / "models" / "abc" / "model.txt").write_text("trees")
    (tmp_path / "old" / "champion.json").write_text("{}")
    back_up(
        record,
        StoreFolders(tmp_path / "old", tmp_path / "old" / "checkpoints"),
        tmp_path / "backup",
        NOW,
    )
    yield record
    record.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Record]:
    url = f"sqlite:///{tmp_path}/new.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres")
    record = Record.open(url, VAULT)
    yield record
    record.close()


def test_a_restored_record_is_the_same_and_goes_on(
    filled: Record, fresh: Record, tmp_path: Path
) -> None:
    target = tmp_path / "new"
    target.mkdir()
    rows = restore(
        fresh, StoreFolders(target, target / "checkpoints"), tmp_path / "backup"
    )
    assert (rows["entries"], rows["api_keys"]) == (600, 1)
    again = Record.open(
        fresh.database.engine.url.render_as_string(hide_password=False), VAULT
    )
    try:
        for n in (0, 577, 599):
            assert (
                again.reader.entry(f"d-{n}").body == filled.reader.entry(f"d-{n}").body
            )
            assert again.reader.for_key(f"k-{n}", ENTRY.request) is not None
        assert list_keys(again.database.engine)[0]["name"] == "shop"
        notary = Checkpointer(
            again, SEAL, CheckpointFolder([target / "checkpoints"]), lambda: NOW
        )
        notary.step()
        again.writer.append(
            [
                replace(ENTRY, entry_id=f"new-{n}", idempotency_key=None)
                for n in range(5)
            ]
        )
        last = notary.step()
        assert last is not None
        assert last.size == 605
        assert (
            list(verify(Tree(again.database), notary.folder.all(), SEAL.public)) == []
        )
        assert notary.proof("new-4")["place"] in range(600, 605)
    finally:
        again.close()
    assert (target / "models" / "abc" / "model.txt").read_text() == "trees"
    assert (target / "champion.json").exists()


def test_nothing_is_restored_over_something_or_from_something_damaged(
    filled: Record, tmp_path: Path
) -> None:
    folder, target = tmp_path / "backup", tmp_path / "new"
    target.mkdir()
    with pytest.raises(RecordError, match="is not empty"):
        restore(filled, StoreFolders(target, target), folder)
    with pytest.raises(RecordError, match="expected a new folder"):
        back_up(filled, StoreFolders(target, target), folder, NOW)
    fresh = Record.open(f"sqlite:///{tmp_path}/new.db", VAULT)
    other = Record.open(
        f"sqlite:///{tmp_path}/other.db",
        Vault(bytes(reversed(range(32))), VAULT.random),
    )
    with pytest.raises(RecordError, match="data key it was written under"):
        restore(other, StoreFolders(target, target), folder)
    whole = (folder / "entries.jsonl.gz").read_bytes()
    (folder / "entries.jsonl.gz").write_bytes(whole[:-1])
    with pytest.raises(RecordError, match=r"was changed: \['entries.jsonl.gz'\]"):
        restore(fresh, StoreFolders(target, target), folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(RecordError, match="is not a complete backup"):
        restore(fresh, StoreFolders(target, target), folder)
    assert fresh.reader.ids_of_kinds(("decision",)) == []
    fresh.close()
    other.close()
