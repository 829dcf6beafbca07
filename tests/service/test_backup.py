"""A backup of a running record, restored into an empty one on either database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from obligor.errors import RecordError
from obligor.record.checkpointer import Checkpointer
from obligor.record.encryption import Vault
from obligor.record.entry import Entry
from obligor.record.receipts import CheckpointFolder
from obligor.record.record import Record
from obligor.serving.access.api_keys import NewKey, create_key, list_keys
from obligor.serving.operations.backup import StoreFolders, back_up, restore
from tests.conftest import NOW, VAULT
from tests.records import ENTRY, SIGNER, findings

N_ENTRIES = 600
BATCH = 20


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Record]:
    """600 entries, backed up; the last 20 have no place in the tree yet."""
    store = tmp_path / "old"
    record = Record.open(f"sqlite:///{tmp_path}/old.db", VAULT)
    folder = CheckpointFolder([store / "checkpoints"])
    checkpointer = Checkpointer(
        record,
        SIGNER,
        folder,
        lambda: NOW,
    )
    entries = [numbered(number) for number in range(N_ENTRIES)]
    for start in range(0, N_ENTRIES, BATCH):
        if start == N_ENTRIES - BATCH:
            checkpointer.step()
        record.writer.append(entries[start : start + BATCH])
    create_key(
        record.database.engine,
        NewKey("shop", "application"),
        NOW,
        VAULT.random,
    )
    (store / "models" / "abc").mkdir(parents=True)
    (store / "models" / "abc" / "model.txt").write_text("trees")
    (store / "champion.json").write_text("{}")
    source = StoreFolders(store, store / "checkpoints")
    back_up(record, source, tmp_path / "backup", NOW)
    yield record
    record.close()


def numbered(number: int) -> Entry:
    return replace(
        ENTRY,
        entry_id=f"d-{number}",
        customer_id=f"C{number % 7}",
        idempotency_key=f"k-{number}",
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Record]:
    url = f"sqlite:///{tmp_path}/new.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres")
    record = Record.open(url, VAULT)
    yield record
    record.close()


@dataclass(frozen=True)
class Restored:
    """A record that was restored and opened again, with its store."""

    record: Record
    store: Path
    rows: dict[str, int]

    @property
    def folder(self) -> CheckpointFolder:
        """The folder of its checkpoints."""
        return CheckpointFolder([self.store / "checkpoints"])


@pytest.fixture
def restored(filled: Record, fresh: Record, tmp_path: Path) -> Iterator[Restored]:
    store = tmp_path / "new"
    store.mkdir()
    target = StoreFolders(store, store / "checkpoints")
    rows = restore(fresh, target, tmp_path / "backup")
    url = fresh.database.engine.url.render_as_string(hide_password=False)
    record = Record.open(url, VAULT)
    yield Restored(record, store, rows)
    record.close()


def test_every_row_is_restored(restored: Restored) -> None:
    assert restored.rows["entries"] == N_ENTRIES
    assert restored.rows["api_keys"] == 1


def test_restored_entries_are_read_back_exactly(
    filled: Record, restored: Restored
) -> None:
    for number in (0, 577, 599):
        entry = restored.record.reader.entry(f"d-{number}")
        assert entry.body == filled.reader.entry(f"d-{number}").body
        by_key = restored.record.reader.for_key(f"k-{number}", ENTRY.request)
        assert by_key is not None


def test_restored_keys_are_valid(restored: Restored) -> None:
    (key,) = list_keys(restored.record.database.engine)
    assert key["name"] == "shop"


def test_a_restored_record_goes_on(restored: Restored) -> None:
    record = restored.record
    checkpointer = Checkpointer(
        record,
        SIGNER,
        restored.folder,
        lambda: NOW,
    )
    checkpointer.step()
    new_entries = [replace(ENTRY, entry_id=f"new-{number}") for number in range(5)]
    record.writer.append(new_entries)
    checkpoint = checkpointer.step()
    assert checkpoint is not None
    assert checkpoint.size == N_ENTRIES + 5
    assert findings(record, restored.folder, []) == []
    proof = checkpointer.proof("new-4")
    assert proof["place"] in range(N_ENTRIES, N_ENTRIES + 5)


def test_the_files_of_the_store_are_restored(restored: Restored) -> None:
    model = restored.store / "models" / "abc" / "model.txt"
    assert model.read_text() == "trees"
    assert (restored.store / "champion.json").exists()


# --- refusals


@dataclass(frozen=True)
class Target:
    """A backup, and an empty record and store to restore it into."""

    backup: Path
    record: Record
    folders: StoreFolders

    def restore(self) -> None:
        """Restore the backup."""
        restore(self.record, self.folders, self.backup)

    def is_empty(self) -> bool:
        """Return whether nothing was restored."""
        return self.record.reader.ids_of_kinds(("decision",)) == []


@pytest.fixture
def target(filled: Record, tmp_path: Path) -> Iterator[Target]:
    store = tmp_path / "new"
    store.mkdir()
    record = Record.open(f"sqlite:///{tmp_path}/new.db", VAULT)
    yield Target(tmp_path / "backup", record, StoreFolders(store, store))
    record.close()


def test_nothing_is_restored_over_other_entries(filled: Record, target: Target) -> None:
    with pytest.raises(RecordError, match="is not empty"):
        restore(filled, target.folders, target.backup)


def test_each_backup_needs_a_new_folder(filled: Record, target: Target) -> None:
    with pytest.raises(RecordError, match="expected a new folder"):
        back_up(
            filled,
            target.folders,
            target.backup,
            NOW,
        )


def test_a_backup_needs_its_data_key(target: Target, tmp_path: Path) -> None:
    vault = Vault(bytes(reversed(range(32))), VAULT.random)
    other = Record.open(f"sqlite:///{tmp_path}/other.db", vault)
    with pytest.raises(RecordError, match="data key it was written under"):
        restore(other, target.folders, target.backup)
    other.close()


def test_a_backup_with_a_changed_file_is_refused(target: Target) -> None:
    path = target.backup / "entries.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RecordError, match=r"was changed: \['entries.jsonl.gz'\]"):
        target.restore()
    assert target.is_empty()


def test_a_backup_without_a_readable_manifest_is_refused(target: Target) -> None:
    (target.backup / "manifest.json").write_text("{")
    with pytest.raises(RecordError, match="is not a complete backup"):
        target.restore()
    assert target.is_empty()
