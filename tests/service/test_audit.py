"""What an auditor can prove: RFC 6962, receipts, checkpoints, tampering found, decisions made again, erasure."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from random import Random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from obligor.errors import KeyFileError, RecordError, UnknownDecisionError
from obligor.record import merkle
from obligor.record.checkpointer import Checkpointer, ProofAnswer
from obligor.record.encryption import Vault
from obligor.record.merkle_log import Tree
from obligor.record.receipts import Checkpoint, CheckpointFolder, ReceiptSigner
from obligor.record.record import Record
from obligor.record.retention import erase, rotate
from obligor.record.verifier import check_proof, check_receipt
from obligor.record.verify import verify
from obligor.serving.assembly import Service
from obligor.signing import key_file, parse_key
from tests.conftest import NOW, VAULT
from tests.service.test_record import ENTRY

# The leaves and roots of certificate-transparency's reference tree for RFC 6962.
DATA = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    bytes(range(0x50, 0x58)),
    bytes(range(0x60, 0x70)),
]
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def plain(leaves: list[bytes]) -> merkle.Subtree:
    """Subtrees worked out from the leaves: the definition, without any kept hash."""

    def subtree(start: int, size: int) -> bytes:
        if size == 1:
            return leaves[start]
        return merkle.node_hash(
            subtree(start, size // 2), subtree(start + size // 2, size // 2)
        )

    return subtree


def test_the_reference_tree_of_rfc_6962() -> None:
    leaves = [merkle.leaf_hash(data) for data in DATA]
    assert [merkle.root(n, plain(leaves)).hex() for n in range(1, 9)] == list(ROOTS)
    assert merkle.root(0, plain([])) == sha256(b"").digest()
    path = merkle.inclusion_proof(5, 8, plain(leaves))
    assert [hash_.hex()[:8] for hash_ in path] == ["bc1a0643", "ca854ea1", "d37ee418"]
    assert [
        hash_.hex()[:8] for hash_ in merkle.consistency_proof(6, 8, plain(leaves))
    ] == [
        "0ebc5d34",
        "ca854ea1",
        "d37ee418",
    ]


@given(st.integers(1, 300), st.data())
def test_every_proof_holds_and_no_other(size: int, data: st.DataObject) -> None:
    leaves = [merkle.leaf_hash(n.to_bytes(2, "big")) for n in range(size)]
    place, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    whole, start = merkle.root(size, plain(leaves)), merkle.root(old, plain(leaves))
    path, grown = (
        merkle.inclusion_proof(place, size, plain(leaves)),
        merkle.consistency_proof(old, size, plain(leaves)),
    )
    assert merkle.root_of_path(leaves[place], place, size, path) == whole
    assert merkle.is_grown(old, size, start, whole, grown)
    forged = [*path]
    if forged:
        at = data.draw(st.integers(0, len(forged) - 1))
        forged[at] = bytes([forged[at][0] ^ 1]) + forged[at][1:]
        assert merkle.root_of_path(leaves[place], place, size, forged) != whole
        assert merkle.root_of_path(leaves[place], place, size, path[:-1]) != whole
        assert (
            merkle.root_of_path(leaves[place], place, size, [*path, path[0]]) != whole
        )
    assert merkle.root_of_path(merkle.leaf_hash(b"other"), place, size, path) != whole
    if old < size:
        assert not merkle.is_grown(old, size, whole, whole, grown)
        assert not merkle.is_grown(old, size, start, start, grown)


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    record = Record.open(f"sqlite:///{tmp_path}/record.db", VAULT)
    yield record
    record.close()


SEAL = ReceiptSigner(bytes(32))


def filled(
    record: Record, shelf: CheckpointFolder, n: int, behind: int = 0
) -> tuple[Checkpointer, list[str]]:
    """n entries with signed checkpoints on the way, and some more behind the last one; and all receipts."""
    notary, receipts = Checkpointer(record, SEAL, shelf, lambda: NOW), list[str]()
    for place in range(n + behind):
        entry = replace(ENTRY, entry_id=f"d-{place}", customer_id=f"C{place % 7}")
        receipts += [
            SEAL.receipt(entry.entry_id, hash_)
            for hash_ in record.writer.append([entry])
        ]
        if place < n and (place % 100 == 99 or place == n - 1):
            notary.step()
    return notary, receipts


def findings(record: Record, shelf: CheckpointFolder, receipts: list[str]) -> list[str]:
    found = verify(Tree(record.database), shelf.all(), SEAL.public, receipts)
    return [f"{one.where}: {one.what}" for one in found]


def test_an_untouched_record_verifies_and_the_kept_hashes_are_those_of_the_leaves(
    record: Record, tmp_path: Path
) -> None:
    shelf = CheckpointFolder([tmp_path / "a", tmp_path / "b"])
    notary, receipts = filled(record, shelf, 700, behind=3)
    assert findings(record, shelf, receipts) == []
    assert (
        (tmp_path / "a" / "public.pem").read_bytes()
        == (tmp_path / "b" / "public.pem").read_bytes()
        == SEAL.public
    )
    leaves = [hash_ for _, _, hash_, _ in notary.tree.placed(1000)]
    assert len(leaves) == 700
    for size in (1, 255, 256, 257, 511, 512, 513, 700):
        assert notary.tree.root(size) == merkle.root(size, plain(leaves))
    for old, new in ((1, 700), (256, 700), (512, 513), (300, 600)):
        path = notary.tree.consistency(old, new)
        assert merkle.is_grown(
            old, new, notary.tree.root(old), notary.tree.root(new), path
        )
    for place in (0, 255, 256, 699):
        proof = notary.tree.proof(f"d-{place}")
        assert (
            merkle.root_of_path(leaves[place], place, proof.size, proof.path)
            == proof.root
        )
    with pytest.raises(UnknownDecisionError, match="has no place"):
        notary.tree.proof("d-702", 700)
    assert notary.tree.advance() == 703


# What somebody with the database file in hand may try, with or without setting the hashes in it right again.
ATTACKS = {
    "edit": "UPDATE entries SET outcome = 'decline', grade = 9 WHERE seq = {n}",
    "edit sealed": "UPDATE entries SET body = CAST(substr(body, 1, 20) || CASE substr(body, 21, 1) "
    "WHEN x'00' THEN x'01' ELSE x'00' END || substr(body, 22) AS BLOB) WHERE seq = {n}",
    "delete": "DELETE FROM entries WHERE seq = {n}",
    "swap": "CREATE TEMP TABLE two AS SELECT seq, outcome, body, leaf_hash FROM entries WHERE seq IN ({n}, {m}); "
    "UPDATE entries SET (outcome, body, leaf_hash) = (SELECT outcome, body, leaf_hash FROM two "
    "WHERE two.seq <> entries.seq) WHERE seq IN ({n}, {m})",
    "reorder": "UPDATE entries SET seq = CASE seq WHEN {n} THEN -1 WHEN {m} THEN {n} END WHERE seq IN ({n}, {m}); "
    "UPDATE entries SET seq = {m} WHERE seq = -1",
    "insert": "INSERT INTO entries SELECT {end} + 1, xid, 'forged', kind, about, customer_ref, as_of, "
    "recorded_at, NULL, request_ref, outcome, pd_12m, grade, limit_minor, currency, model_sha256, "
    "policy_sha256, is_filed, request, body, inputs, leaf_hash, made_by FROM entries WHERE seq = {n}",
    "truncate": "DELETE FROM entries WHERE seq >= {n}",
}


@pytest.mark.parametrize(
    "is_redone", [False, True], ids=["hashes left", "hashes redone"]
)
@pytest.mark.parametrize("attack", ATTACKS)
def test_tampering_is_found_wherever_it_is(
    attack: str, is_redone: bool, tmp_path: Path
) -> None:
    random, missed = Random(attack), []
    record, shelf = (
        Record.open(f"sqlite:///{tmp_path}/record.db", VAULT),
        CheckpointFolder([tmp_path / "shelf"]),
    )
    _, receipts = filled(record, shelf, 120, behind=20)
    record.close()
    clean = (tmp_path / "record.db").read_bytes()
    for _ in range(12):
        n = random.randint(1, 139)
        (tmp_path / "record.db").write_bytes(clean)
        for log in tmp_path.glob("record.db-*"):
            log.unlink()
        tamper(
            tmp_path / "record.db",
            ATTACKS[attack].format(n=n, m=n % 139 + 1, end=140),
            is_redone,
        )
        touched = Record.open(f"sqlite:///{tmp_path}/record.db", VAULT)
        if not findings(touched, shelf, receipts):
            missed.append(n)
        touched.close()
    # Behind the last checkpoint an order of entries, or one nobody was ever answered with, is in nobody's hands yet.
    assert [
        n
        for n in missed
        if attack not in ("reorder", "insert") or (attack == "reorder" and n < 120)
    ] == []
    assert not (attack == "insert" and missed and not is_redone)


def tamper(path: Path, sql: str, is_redone: bool) -> None:
    """Change a record behind its back, its triggers gone; redo every hash in it where that is asked for."""
    with closing(sqlite3.connect(path)) as raw:
        for (name,) in raw.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        raw.executescript(sql)
        raw.commit()
    if is_redone:
        record = Record.open(f"sqlite:///{path}", VAULT)
        tree = Tree(record.database)
        hashes = [
            (merkle.leaf_hash(row.leaf()), row.entry_id)
            for _, row, _, _ in tree.placed(1000)
        ]
        hashes += [
            (merkle.leaf_hash(row.leaf()), row.entry_id) for row, _ in tree.unplaced()
        ]
        record.close()
        with closing(sqlite3.connect(path)) as raw:
            raw.executemany(
                "UPDATE entries SET leaf_hash = ? WHERE entry_id = ?", hashes
            )
            raw.execute("DELETE FROM nodes")
            rows = raw.execute(
                "SELECT seq, xid, leaf_hash FROM entries ORDER BY seq"
            ).fetchall()
            leaves = [
                (place, leaf, seq, xid) for place, (seq, xid, leaf) in enumerate(rows)
            ]
            raw.executemany("INSERT INTO nodes VALUES (0, ?, ?, ?, ?)", leaves)
            raw.commit()


def test_a_proof_and_a_receipt_are_checked_without_us(
    client: TestClient, service: Service, tmp_path: Path
) -> None:
    response = client.post("/decisions", json={"customer_id": "C0000002"})
    decision_id, receipt = (
        response.json()["decision_id"],
        response.headers["obligor-receipt"],
    )
    assert client.get(f"/decisions/{decision_id}").headers["obligor-receipt"] == receipt
    proof = client.get(f"/decisions/{decision_id}/proof").json()
    TypeAdapter(ProofAnswer).validate_python(proof)
    assert "C0000002" not in json.dumps(proof)
    files = {
        "public.pem": service.signer.public,
        "proof.json": json.dumps(proof).encode(),
        "receipt": receipt.encode(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    verifier = Path(merkle.__file__).with_name("verifier.py")
    words = ["--key", "public.pem", "--proof", "proof.json", "--receipt", "receipt"]

    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", str(verifier), *words]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    done = run()
    assert done.returncode == 0, done.stderr
    assert f"entry {decision_id} is number 0 of 1" in done.stdout
    assert f"the receipt of {decision_id} is valid" in done.stdout
    (tmp_path / "proof.json").write_text(
        json.dumps(proof).replace("approve", "decline")
    )
    assert "NOT valid" in run().stderr
    assert client.get("/decisions/nothing/proof").status_code == 404


def test_ten_thousand_forged_proofs_are_refused(record: Record, tmp_path: Path) -> None:
    notary, receipts = filled(record, CheckpointFolder([tmp_path]), 300)
    proof, random, accepted = notary.proof("d-123"), Random(0), 0
    assert check_proof(proof, SEAL.public)
    assert check_receipt(receipts[123], proof, SEAL.public)
    with pytest.raises(ValueError, match="another leaf"):
        check_receipt(receipts[122], proof, SEAL.public)
    for _ in range(10_000):
        forged = json.loads(json.dumps(proof))
        kind = random.choice(
            ["leaf", "place", "path", "drop", "size", "root", "signature", "at"]
        )
        if kind == "leaf":
            at = random.randrange(len(forged["leaf"]))
            forged["leaf"] = (
                forged["leaf"][:at]
                + chr(33 + random.randrange(90))
                + forged["leaf"][at + 1 :]
            )
        elif kind == "place":
            forged["place"] = random.choice(
                [n for n in range(-1, 302) if n != proof["place"]]
            )
        elif kind in ("path", "drop"):
            at = random.randrange(len(forged["path"]))
            forged["path"][at : at + 1] = (
                [random.randbytes(32).hex()] if kind == "path" else []
            )
        elif kind == "size":
            forged["checkpoint"]["size"] += random.choice([-1, 1, 7])
        elif kind == "at":
            forged["checkpoint"]["at"] += "0"
        else:
            forged["checkpoint"][kind] = random.randbytes(
                32 if kind == "root" else 64
            ).hex()
        if forged == proof:
            continue
        try:
            check_proof(forged, SEAL.public)
            accepted += 1
        except (ValueError, KeyError):
            pass
    assert accepted == 0


def test_a_decision_is_made_again_bit_for_bit(
    client: TestClient, service: Service
) -> None:
    asked = {
        "customer_id": "C0000007",
        "request": {"amount": "90000000.00", "currency": "USD"},
        "as_of": "2024-05-31",
    }
    ids = [client.post("/decisions", json=asked).json()["decision_id"]]
    ids += [
        client.post("/decisions", json={"customer_id": f"C{n:07d}"}).json()[
            "decision_id"
        ]
        for n in range(20, 60)
    ]
    order = {"customer_id": "C0000002", "order": {"amount": "90.00", "currency": "USD"}}
    ids.append(client.post("/orders/check", json=order).json()["decision_id"])
    assert [
        client.post(f"/decisions/{one}/replay").json()["is_equal"] for one in ids
    ] == [True] * len(ids)
    # It does not look at the ledger of today, nor at the rulebooks of today.
    rulebooks = replace(service.rulebooks, released=[])
    replayer = replace(service, ledger=None, rulebooks=rulebooks).replayer  # type: ignore[arg-type]
    assert all(replayer.replay(entry_id).is_equal for entry_id in ids)
    replays = [
        replay for replay in replayer.replay_all() if getattr(replay, "is_equal", False)
    ]
    assert len(replays) == len(ids)


def test_a_replay_that_differs_says_where(client: TestClient, service: Service) -> None:
    decision_id = client.post("/decisions", json={"customer_id": "C0000002"}).json()[
        "decision_id"
    ]
    book = service.rulebooks.released[0]
    richer = {**book.parameters, "credit_margin": book.parameters["credit_margin"] * 2}
    released = [replace(book, parameters=richer)]
    rulebooks = replace(service.rulebooks, released=released)
    replayed = replace(service.replayer, rulebooks=rulebooks).replay(decision_id)
    assert not replayed.is_equal
    assert any(
        difference.startswith("limit.caps.economic: ")
        for difference in replayed.differences
    )


def test_what_a_person_did_is_not_replayed(client: TestClient) -> None:
    contact = {
        "customer_id": "C0000002",
        "by": "C",
        "channel": "mail",
        "outcome": "reached",
    }
    response = client.post(
        f"/decisions/{client.post('/contacts', json=contact).json()['contact_id']}/replay"
    )
    assert response.status_code == 422


# --- erasing


def test_an_erased_customer_is_gone_and_the_log_verifies(
    client: TestClient, service: Service, tmp_path: Path
) -> None:
    mine = [
        client.post(
            "/decisions",
            json={"customer_id": "C0000002"},
            headers={"Idempotency-Key": "k"},
        )
    ]
    mine.append(
        client.post(
            "/decisions",
            json={
                "customer_id": "C0000002",
                "request": {"amount": "9.00", "currency": "EUR"},
            },
        )
    )
    other = client.post("/decisions", json={"customer_id": "C0000003"})
    with service.record.database.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT wrapped FROM customers").all()
    assert erase(service.record, "C0000002", "asked by letter", NOW, "e-1") == 2
    service.checkpointer.step()
    assert (
        findings(
            service.record,
            service.checkpointer.folder,
            [one.headers["obligor-receipt"] for one in (*mine, other)],
        )
        == []
    )
    for path in (
        f"/decisions/{mine[0].json()['decision_id']}",
        f"/cases/{mine[0].json()['decision_id']}",
    ):
        assert client.get(path).status_code in (404, 410)
    gone = client.post(f"/decisions/{mine[0].json()['decision_id']}/replay")
    assert gone.status_code == 410
    assert "the customer was erased" in gone.json()["detail"]
    assert (
        client.get(f"/decisions/{other.json()['decision_id']}").content == other.content
    )
    assert client.get("/customers/C0000002/decisions").json()["decisions"] == []
    service.record.close()
    left = b"".join(path.read_bytes() for path in tmp_path.glob("record.db*"))
    assert (
        sum(bytes(row[0]) in left for row in rows) == 1
    )  # only the other customer's key is still there
    assert b"C0000002" not in left
    with pytest.raises(UnknownDecisionError, match="nothing is recorded"):
        erase(service.record, "C0000002", "again", NOW, "e-2")
    fresh = client.post("/decisions", json={"customer_id": "C0000002"})
    assert fresh.status_code == 200
    assert (
        client.get(f"/decisions/{fresh.json()['decision_id']}").content == fresh.content
    )


def test_a_rotated_key_opens_everything_and_the_old_one_nothing(
    record: Record, tmp_path: Path
) -> None:
    record.writer.append(
        [
            replace(ENTRY, idempotency_key="k"),
            replace(ENTRY, entry_id="d-2", customer_id="BORIS"),
        ]
    )
    new = Vault(bytes(reversed(range(32))), VAULT.random)
    assert rotate(record.database, new) == 2
    record.close()
    again = Record.open(f"sqlite:///{tmp_path}/record.db", new)
    assert again.reader.entry("d-1").body == ENTRY.body
    assert again.reader.for_key("k", ENTRY.request).body == ENTRY.body  # type: ignore[union-attr]
    again.close()
    with pytest.raises(RecordError, match="set the data key it was written under"):
        Record.open(f"sqlite:///{tmp_path}/record.db", VAULT)


def test_nothing_of_a_customer_lies_in_the_file_as_it_is(
    record: Record, tmp_path: Path
) -> None:
    canary = "CANARY-4711"
    body = orjson.dumps({"customer_id": canary}).decode()
    record.writer.append(
        [
            replace(
                ENTRY,
                customer_id=canary,
                request=body,
                body=body,
                idempotency_key=canary,
                inputs=canary.encode(),
            )
        ]
    )
    record.close()
    assert canary.encode() not in b"".join(
        path.read_bytes() for path in tmp_path.glob("record.db*")
    )


def test_sealed_text_moved_to_another_entry_does_not_open(
    record: Record, tmp_path: Path
) -> None:
    record.writer.append([ENTRY, replace(ENTRY, entry_id="d-2", body="other")])
    record.close()
    tamper(
        tmp_path / "record.db",
        "UPDATE entries SET body = (SELECT body FROM entries WHERE seq = 2) WHERE seq = 1",
        False,
    )
    with pytest.raises(RecordError, match="body of d-1: the text cannot be decrypted"):
        record.reader.entry("d-1")


def test_keys_are_made_once_for_their_owner_only_and_never_repeated_in_an_error(
    tmp_path: Path,
) -> None:
    path = tmp_path / "keys" / "data.key"
    first, second = (key_file(path, VAULT.random) for _ in range(2))
    assert first == second
    assert path.stat().st_mode & 0o077 == 0
    for wrong in ("secret!", "ab" * 31, ""):
        with pytest.raises(
            KeyFileError, match="expected 64 hexadecimal digits"
        ) as error:
            parse_key(wrong, "OBLIGOR_DATA_KEY")
        assert "secret" not in str(error.value)
    with pytest.raises(RecordError, match="31 bytes"):
        Vault(bytes(31), VAULT.random)


def test_a_checkpoint_is_read_back_and_a_damaged_one_is_an_error() -> None:
    signed = SEAL.checkpoint(5, bytes(32), NOW + timedelta(seconds=1))
    assert Checkpoint.of(signed.as_json(), "here") == signed
    for wrong in ("", "{}", '{"size": "x"}', "[1]"):
        with pytest.raises(RecordError, match="does not contain a checkpoint"):
            Checkpoint.of(wrong, "here")


def test_two_notaries_of_one_record_agree(record: Record, tmp_path: Path) -> None:
    notaries = [
        Checkpointer(record, SEAL, CheckpointFolder([tmp_path / "shelf"]), lambda: NOW)
        for _ in range(2)
    ]
    for place in range(30):
        record.writer.append([replace(ENTRY, entry_id=f"d-{place}")])
        notaries[place % 2].step()
    assert findings(record, CheckpointFolder([tmp_path / "shelf"]), []) == []
    assert [one.step().size for one in notaries] == [30, 30]  # type: ignore[union-attr]
