"""Names, reports and groups in the ledger store: sealed, read, and erased for good."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from obligor.casework.erasure import Eraser
from obligor.data.ledger import Ledger
from obligor.data.ledger_tables import ROWS
from obligor.data.party_store import BUREAU, PROFILES
from obligor.data.profiles import Contact
from obligor.data.row_packing import unpacked_rows
from obligor.data.store import LedgerStore
from obligor.errors import RecordError, SchemaError, UnknownDecisionError
from obligor.record.encryption import Vault
from obligor.record.record import Record
from obligor.record.retention import RetentionPeriod, purge, rotate
from obligor.record.seals import CustomerSeals
from obligor.serving.operations.backup import StoreFolders, back_up, restore
from tests.ascii import ledger
from tests.conftest import NOW, VAULT
from tests.fakes import Ids
from tests.records import opened

# Personal and confidential texts, each unlike any other byte in the files.
SECRETS = (
    "Anna Secretowitz",
    "DE136695976",
    "HRB 998877",
    "213800KUD8LAJWSQ9D15",
    "Hidden Lane 7",
    "O. Wner",
    "Conny Tact",
    "secret-mail",
    "+49 30 9988776",
    "AAA-minus",
    "insolvency opened",
)


# What is known of ANNA besides her invoices.
NAMES = {
    "name": "Anna Secretowitz",
    "vat_id": "DE136695976",
    "registration_id": "HRB 998877",
    "lei": "213800KUD8LAJWSQ9D15",
    "address": "Hidden Lane 7",
    "language": "de",
    "owner": "O. Wner",
}
CONTACT = {
    "name": "Conny Tact",
    "role": "buyer",
    "email": "conny@secret-mail.example.org",
    "phone": "+49 30 9988776",
}
REPORT = {
    "score": 12.5,
    "scale": "0-100",
    "rating": "AAA-minus",
    "recommended_limit": 7777.77,
    "event": "insolvency opened",
}


def whole_ledger() -> Ledger:
    """Return a ledger of ANNA and BERT, in which everything is known of ANNA."""
    book = ledger(
        invoices="""
            invoice_id | customer_id | issued_on  | due_on     | amount
            A1         | ANNA        | 2024-01-01 | 2024-01-31 | 100.00
            B1         | BERT        | 2024-01-01 | 2024-01-31 | 200.00
        """,
        customers="""
            customer_id | registered_on | parent_id
            ANNA        | 2020-01-01    | HOLD
            BERT        | 2020-01-01    | ANNA
        """,
        contacts="""
            customer_id | known_on
            ANNA        | 2024-01-01
        """,
        bureau="""
            customer_id | source | as_of
            ANNA        | Agency | 2024-03-01
        """,
    )
    tables = dict(book.tables)
    tables["customers"] = tables["customers"].assign(
        **{column: [text, None] for column, text in NAMES.items()}
    )
    tables["contacts"] = tables["contacts"].assign(**CONTACT)
    tables["bureau"] = tables["bureau"].assign(**REPORT)
    return replace(book, tables=tables)


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    yield from opened(tmp_path)


@pytest.fixture
def store(record: Record, tmp_path: Path) -> LedgerStore:
    loaded = LedgerStore(
        f"sqlite:///{tmp_path}/ledger.db", lambda: CustomerSeals(record.database)
    )
    loaded.write(whole_ledger())
    return loaded


def eraser_of(record: Record, store: LedgerStore) -> Eraser:
    return Eraser(
        record,
        store,
        now=lambda: NOW,
        new_id=Ids("e"),
    )


def raw_bytes(folder: Path, name: str) -> bytes:
    """Return a database as it is on disk: the file, its log, and its index."""
    paths = sorted(folder.glob(f"{name}*"))
    return b"".join(path.read_bytes() for path in paths)


def sealed_texts(folder: Path) -> list[bytes]:
    """Return the sealed profile, the sealed reports, and the sealed source rows."""
    queries = (
        f"SELECT sealed FROM {PROFILES.name}",
        f"SELECT sealed FROM {BUREAU.name}",
        f"SELECT sealed_rows FROM {ROWS.name} WHERE length(sealed_rows) > 0",
    )
    with closing(sqlite3.connect(folder / "ledger.db")) as connection:
        texts = []
        for query in queries:
            texts += [bytes(text) for (text,) in connection.execute(query)]
    return texts


def test_a_profile_comes_back_as_it_was_loaded(store: LedgerStore) -> None:
    profile = store.profile("ANNA")
    assert profile.name == "Anna Secretowitz"
    assert profile.lei == "213800KUD8LAJWSQ9D15"
    assert profile.contacts == (Contact(**CONTACT),)
    assert store.profile("BERT").is_empty
    (report,) = store.reports("ANNA")
    assert report.recommended_limit == 7777.77
    assert report.as_of == date(2024, 3, 1)


def test_nothing_personal_can_be_read_in_the_files(
    store: LedgerStore, tmp_path: Path
) -> None:
    content = raw_bytes(tmp_path, "ledger.db") + raw_bytes(tmp_path, "record.db")
    # Source rows are compressed, so that a secret in them would not be found as it is.
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        for (rows,) in connection.execute(f"SELECT rows FROM {ROWS.name}"):
            for frame in unpacked_rows([("", bytes(rows))]).values():
                content += frame.to_csv().encode()
    readable = [text for text in SECRETS if text.encode() in content]
    assert readable == []
    assert len(sealed_texts(tmp_path)) == 3


def test_an_erased_customer_leaves_nothing_behind(
    record: Record, store: LedgerStore, tmp_path: Path
) -> None:
    """Neither plain nor sealed bytes: not in the file, not in its log."""
    sealed = sealed_texts(tmp_path)
    before = raw_bytes(tmp_path, "ledger.db")
    assert all(text in before for text in sealed)
    assert b"ANNA" in before
    # The account, the profile, the reports, three legal ids, two links of groups, the
    # source rows, and the id of an invoice.
    erased = eraser_of(record, store).erase("ANNA", "a request")
    assert erased == (0, 10)
    after = raw_bytes(tmp_path, "ledger.db")
    assert not any(text in after for text in sealed)
    assert b"ANNA" not in after
    assert store.customer_ids() == ["BERT"]
    assert store.profile("ANNA").is_empty


def test_the_rows_of_others_do_not_name_an_erased_customer(
    record: Record, store: LedgerStore
) -> None:
    """Rows are compressed, so that looking for an id in the file does not find it."""
    eraser_of(record, store).erase("ANNA", "a request")
    with store.rows.writing() as connection:
        rows = store.rows.read(connection, store.customer_ids())
    names = {str(cell) for frame in rows.values() for cell in frame.to_numpy().flat}
    assert "BERT" in names
    assert not {name for name in names if "ANNA" in name}


def test_the_key_of_an_erased_customer_is_gone(
    record: Record, store: LedgerStore, tmp_path: Path
) -> None:
    """A copy of the sealed row that somebody kept cannot be opened any more."""
    (profile, *_) = sealed_texts(tmp_path)
    seals = CustomerSeals(record.database)
    assert b"Secretowitz" in seals.opened("profile", "ANNA", profile)
    eraser_of(record, store).erase("ANNA", "a request")
    with pytest.raises(RecordError, match="its key is gone"):
        seals.opened("profile", "ANNA", profile)


def test_the_children_of_an_erased_customer_stay_one_group(
    record: Record, store: LedgerStore
) -> None:
    eraser_of(record, store).erase("ANNA", "a request")
    tree = store.parties.tree_around("BERT", date(2024, 12, 31))
    (top,) = set(tree.line_of("BERT")) - {"BERT"}
    assert top.startswith("erased-")


def test_a_customer_is_erased_once(record: Record, store: LedgerStore) -> None:
    eraser = eraser_of(record, store)
    eraser.erase("ANNA", "a request")
    with pytest.raises(UnknownDecisionError):
        eraser.erase("ANNA", "a request")
    # Nothing is sealed of BERT, and nothing recorded: only the ledger knows him.
    assert eraser.erase("BERT", "a request").ledger_rows == 4
    kinds = [entry.kind for entry in _service_entries(record)]
    assert kinds == ["erasure", "erasure"]


def _service_entries(record: Record) -> list[object]:
    ids = record.reader.ids_of_kinds(["erasure"])
    return [record.reader.entry(entry_id) for entry_id in ids]


def test_a_purge_of_old_months_leaves_the_ledgers_keys(
    record: Record, store: LedgerStore
) -> None:
    purge(record, NOW, "p-1", RetentionPeriod(1, 1))
    assert store.profile("ANNA").name == "Anna Secretowitz"


def test_another_data_key_opens_what_was_sealed_before(
    record: Record, store: LedgerStore, tmp_path: Path
) -> None:
    new_vault = Vault(bytes(range(1, 33)), VAULT.random)
    rotate(record.database, new_vault)
    rotated = Record.open(f"sqlite:///{tmp_path}/record.db", new_vault)
    reopened = LedgerStore(
        f"sqlite:///{tmp_path}/ledger.db", lambda: CustomerSeals(rotated.database)
    )
    assert reopened.profile("ANNA").name == "Anna Secretowitz"
    rotated.close()


def test_a_backup_restores_names_and_accounts(
    record: Record, store: LedgerStore, tmp_path: Path
) -> None:
    folders = StoreFolders(tmp_path, tmp_path / "checkpoints", store)
    backup = tmp_path / "backup"
    back_up(record, folders, backup, NOW)
    content = b"".join(
        gzip.decompress(path.read_bytes()) for path in backup.rglob("*.gz")
    )
    # Whoever has the backup learns nothing without the data key, not even ids.
    assert b"ANNA" not in content
    assert b"Secretowitz" not in content
    new_store = LedgerStore(
        f"sqlite:///{tmp_path}/new-ledger.db", lambda: CustomerSeals(fresh.database)
    )
    fresh = Record.open(f"sqlite:///{tmp_path}/new-record.db", VAULT)
    target = StoreFolders(tmp_path / "new", tmp_path / "new", new_store)
    (tmp_path / "new").mkdir()
    counts = restore(fresh, target, backup)
    fresh.close()
    fresh = Record.open(f"sqlite:///{tmp_path}/new-record.db", VAULT)
    assert counts["ledger accounts"] == 2
    assert new_store.profile("ANNA") == store.profile("ANNA")
    assert new_store.reports("ANNA") == store.reports("ANNA")
    assert new_store.account("BERT").packed() == store.account("BERT").packed()
    with pytest.raises(RecordError, match="the ledger store is not empty"):
        restore(fresh, target, backup)
    fresh.close()


def test_it_works_on_postgresql(postgres: str, tmp_path: Path) -> None:
    """Record and ledger in one database, as some houses have it."""
    record = Record.open(postgres, VAULT)
    store = LedgerStore(postgres, lambda: CustomerSeals(record.database))
    store.write(whole_ledger())
    store.write(whole_ledger())
    assert store.profile("ANNA").name == "Anna Secretowitz"
    assert len(store.reports("ANNA")) == 1
    tree = store.parties.tree_around("BERT", date(2024, 12, 31))
    assert tree.line_of("BERT") == ["BERT", "ANNA", "HOLD"]
    assert eraser_of(record, store).erase("ANNA", "a request").ledger_rows > 3
    assert store.profile("ANNA").is_empty
    record.close()
    store.engine.dispose()


def test_every_report_is_opened_at_once(store: LedgerStore) -> None:
    assert store.parties.every_report() == {"ANNA": store.reports("ANNA")}


def test_a_report_whose_key_is_gone_is_an_error(
    store: LedgerStore, tmp_path: Path
) -> None:
    """An insolvency must not be overlooked for the lack of a key."""
    other = Record.open(f"sqlite:///{tmp_path}/other.db", VAULT)
    strange = LedgerStore(
        f"sqlite:///{tmp_path}/ledger.db", lambda: CustomerSeals(other.database)
    )
    with pytest.raises(RecordError, match="its key is gone"):
        strange.reports("ANNA")
    with pytest.raises(RecordError, match="its key is gone"):
        strange.parties.every_report()
    other.close()


def test_the_number_of_sealed_names_is_counted(
    store: LedgerStore, tmp_path: Path
) -> None:
    """`obligor doctor` shows it; with other keys it shows the error."""
    assert store.parties.n_sealed() == 1
    other = Record.open(f"sqlite:///{tmp_path}/other.db", VAULT)
    strange = LedgerStore(
        f"sqlite:///{tmp_path}/ledger.db", lambda: CustomerSeals(other.database)
    )
    with pytest.raises(RecordError, match="its key is gone"):
        strange.parties.n_sealed()
    other.close()


def test_a_store_without_keys_takes_no_names(tmp_path: Path) -> None:
    bare = LedgerStore(f"sqlite:///{tmp_path}/ledger.db")
    with pytest.raises(SchemaError, match="no keys to seal them"):
        bare.write(whole_ledger())
    assert bare.customer_ids() == []


def test_a_sealed_text_opens_for_its_customer_only(
    record: Record, store: LedgerStore, tmp_path: Path
) -> None:
    (profile, reports, *_) = sealed_texts(tmp_path)
    seals = CustomerSeals(record.database)
    seals.sealed("profile", {"BERT": b"x"})
    opening: list[Callable[[], bytes]] = [
        lambda: seals.opened("profile", "BERT", profile),
        lambda: seals.opened("profile", "ANNA", reports),
    ]
    for each in opening:
        with pytest.raises(RecordError, match="cannot be decrypted"):
            each()
