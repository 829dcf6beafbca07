"""What an auditor can prove: proofs, receipts, tampering, replays, erasure."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from obligor.decisions.replay import Replay
from obligor.errors import KeyFileError, RecordError, UnknownDecisionError
from obligor.record import merkle
from obligor.record.checkpointer import Checkpointer, ProofAnswer
from obligor.record.encryption import Vault
from obligor.record.merkle_log import Tree
from obligor.record.receipts import Checkpoint, CheckpointFolder
from obligor.record.record import Record
from obligor.record.retention import erase, rotate
from obligor.record.verifier import check_proof, check_receipt
from obligor.serving.assembly import Service
from obligor.signing import key_file, parse_key
from tests.conftest import NOW, VAULT
from tests.records import ATTACKS, ENTRY, SIGNER, filled, findings, opened, tamper

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


def from_leaves(leaves: list[bytes]) -> merkle.Subtree:
    """Return subtrees computed from the leaves: the definition, nothing stored."""

    def subtree(start: int, size: int) -> bytes:
        if size == 1:
            return leaves[start]
        half = size // 2
        return merkle.node_hash(subtree(start, half), subtree(start + half, half))

    return subtree


def abbreviated(path: list[bytes]) -> list[str]:
    """Return the first digits of each hash of a path."""
    return [hash_.hex()[:8] for hash_ in path]


def test_roots_are_those_of_the_reference_tree() -> None:
    leaves = [merkle.leaf_hash(data) for data in DATA]
    roots = [merkle.root(size, from_leaves(leaves)).hex() for size in range(1, 9)]
    assert roots == list(ROOTS)
    assert merkle.root(0, from_leaves([])) == sha256(b"").digest()


def test_proofs_are_those_of_the_reference_tree() -> None:
    subtree = from_leaves([merkle.leaf_hash(data) for data in DATA])
    inclusion = merkle.inclusion_proof(5, 8, subtree)
    consistency = merkle.consistency_proof(6, 8, subtree)
    assert abbreviated(inclusion) == ["bc1a0643", "ca854ea1", "d37ee418"]
    assert abbreviated(consistency) == ["0ebc5d34", "ca854ea1", "d37ee418"]


def distinct_leaves(size: int) -> list[bytes]:
    """Return the hashes of leaves that all differ."""
    return [merkle.leaf_hash(number.to_bytes(2, "big")) for number in range(size)]


@given(st.integers(1, 300), st.data())
def test_only_the_true_inclusion_proof_is_accepted(
    size: int, data: st.DataObject
) -> None:
    leaves = distinct_leaves(size)
    index = data.draw(st.integers(0, size - 1))
    root = merkle.root(size, from_leaves(leaves))
    path = merkle.inclusion_proof(index, size, from_leaves(leaves))
    leaf = leaves[index]
    assert (
        merkle.root_of_path(
            leaf,
            index,
            size,
            path,
        )
        == root
    )
    other_leaf = merkle.leaf_hash(b"other")
    assert (
        merkle.root_of_path(
            other_leaf,
            index,
            size,
            path,
        )
        != root
    )
    if path:
        position = data.draw(st.integers(0, len(path) - 1))
        forged = list(path)
        forged[position] = bytes([path[position][0] ^ 1]) + path[position][1:]
        longer = [*path, path[0]]
        assert (
            merkle.root_of_path(
                leaf,
                index,
                size,
                forged,
            )
            != root
        )
        assert (
            merkle.root_of_path(
                leaf,
                index,
                size,
                path[:-1],
            )
            != root
        )
        assert (
            merkle.root_of_path(
                leaf,
                index,
                size,
                longer,
            )
            != root
        )


@given(st.integers(1, 300), st.data())
def test_only_the_true_consistency_proof_is_accepted(
    size: int, data: st.DataObject
) -> None:
    leaves = distinct_leaves(size)
    old_size = data.draw(st.integers(1, size))
    root = merkle.root(size, from_leaves(leaves))
    old_root = merkle.root(old_size, from_leaves(leaves))
    path = merkle.consistency_proof(old_size, size, from_leaves(leaves))
    assert merkle.is_grown(
        old_size,
        size,
        old_root,
        root,
        path,
    )
    if old_size < size:
        assert not merkle.is_grown(
            old_size,
            size,
            root,
            root,
            path,
        )
        assert not merkle.is_grown(
            old_size,
            size,
            old_root,
            old_root,
            path,
        )


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    yield from opened(tmp_path)


# --- the tree of a record


@dataclass(frozen=True)
class Proven:
    """A record of 700 signed entries and 3 others, and its tree."""

    record: Record
    tree: Tree
    folder: CheckpointFolder
    receipts: list[str]

    def leaves(self) -> list[bytes]:
        """Return the hashes stored of the leaves."""
        return [placed.node_hash for placed in self.tree.placed(1000)]


@pytest.fixture
def proven(record: Record, tmp_path: Path) -> Proven:
    folder = CheckpointFolder([tmp_path / "a", tmp_path / "b"])
    checkpointer, receipts = filled(
        record,
        folder,
        n_signed=700,
        n_unsigned=3,
    )
    return Proven(record, checkpointer.tree, folder, receipts)


def test_an_untouched_record_verifies(proven: Proven) -> None:
    assert findings(proven.record, proven.folder, proven.receipts) == []


def test_every_folder_has_the_public_key(proven: Proven, tmp_path: Path) -> None:
    assert (tmp_path / "a" / "public.pem").read_bytes() == SIGNER.public
    assert (tmp_path / "b" / "public.pem").read_bytes() == SIGNER.public


def test_roots_are_computed_from_the_stored_hashes(proven: Proven) -> None:
    leaves = proven.leaves()
    assert len(leaves) == 700
    for size in (1, 255, 256, 257, 511, 512, 513, 700):
        assert proven.tree.root(size) == merkle.root(size, from_leaves(leaves))


def test_the_tree_proves_that_it_grew(proven: Proven) -> None:
    tree = proven.tree
    for old_size, size in ((1, 700), (256, 700), (512, 513), (300, 600)):
        path = tree.consistency(old_size, size)
        old_root = tree.root(old_size)
        assert merkle.is_grown(
            old_size,
            size,
            old_root,
            tree.root(size),
            path,
        )


def test_the_tree_proves_its_entries(proven: Proven) -> None:
    leaves = proven.leaves()
    for index in (0, 255, 256, 699):
        proof = proven.tree.proof(f"d-{index}")
        root = merkle.root_of_path(
            leaves[index],
            index,
            proof.size,
            proof.path,
        )
        assert root == proof.root


def test_an_entry_has_no_proof_before_it_has_a_place(proven: Proven) -> None:
    with pytest.raises(UnknownDecisionError, match="has no place"):
        proven.tree.proof("d-702", 700)
    assert proven.tree.advance() == 703


def test_two_checkpointers_of_one_record_agree(record: Record, tmp_path: Path) -> None:
    folder = CheckpointFolder([tmp_path / "checkpoints"])
    first = Checkpointer(
        record,
        SIGNER,
        folder,
        lambda: NOW,
    )
    second = Checkpointer(
        record,
        SIGNER,
        folder,
        lambda: NOW,
    )
    for number in range(30):
        record.writer.append([replace(ENTRY, entry_id=f"d-{number}")])
        turn = first if number % 2 == 0 else second
        turn.step()
    assert findings(record, folder, []) == []
    for checkpointer in (first, second):
        checkpoint = checkpointer.step()
        assert checkpoint is not None
        assert checkpoint.size == 30


def test_a_checkpoint_is_read_back() -> None:
    checkpoint = SIGNER.checkpoint(5, bytes(32), NOW + timedelta(seconds=1))
    assert Checkpoint.of(checkpoint.as_json(), "here") == checkpoint


@pytest.mark.parametrize("line", ["", "{}", '{"size": "x"}', "[1]"])
def test_a_damaged_checkpoint_is_an_error(line: str) -> None:
    with pytest.raises(RecordError, match="does not contain a checkpoint"):
        Checkpoint.of(line, "here")


# --- tampering


@pytest.mark.parametrize(
    "redoes_hashes",
    [False, True],
    ids=["hashes left alone", "hashes computed again"],
)
@pytest.mark.parametrize("attack", ATTACKS)
def test_tampering_is_detected_wherever_it_is(
    attack: str, redoes_hashes: bool, tmp_path: Path
) -> None:
    path = tmp_path / "record.db"
    folder = CheckpointFolder([tmp_path / "checkpoints"])
    record = Record.open(f"sqlite:///{path}", VAULT)
    _, receipts = filled(
        record,
        folder,
        n_signed=120,
        n_unsigned=20,
    )
    record.close()
    clean = path.read_bytes()
    random = Random(attack)
    missed = []
    for _ in range(12):
        n = random.randint(1, 139)
        path.write_bytes(clean)
        for log in tmp_path.glob("record.db-*"):
            log.unlink()
        statements = ATTACKS[attack].format(n=n, m=n % 139 + 1, end=140)
        tamper(path, statements, redoes_hashes)
        touched = Record.open(f"sqlite:///{path}", VAULT)
        if not findings(touched, folder, receipts):
            missed.append(n)
        touched.close()
    # After the last checkpoint, nobody has a proof of the order of entries, nor of one
    # that no answer was given for.
    if attack == "reorder":
        assert [n for n in missed if n < 120] == []
    elif attack != "insert" or not redoes_hashes:
        assert missed == []


def test_a_ciphertext_moved_to_another_entry_is_not_decrypted(
    record: Record, tmp_path: Path
) -> None:
    record.writer.append([ENTRY, replace(ENTRY, entry_id="d-2", body="other")])
    record.close()
    move = """
        UPDATE entries SET body = (SELECT body FROM entries WHERE seq = 2)
            WHERE seq = 1
    """
    tamper(tmp_path / "record.db", move, redoes_hashes=False)
    with pytest.raises(RecordError, match="body of d-1: the text cannot be decrypted"):
        record.reader.entry("d-1")


# --- the standalone verifier

Proof = dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """A decision with its proof and receipt, as files beside each other."""

    decision_id: str
    receipt: str
    proof: Proof
    folder: Path

    def verify(self) -> subprocess.CompletedProcess[str]:
        """Run the verifier on the files, with nothing of Obligor importable."""
        verifier = Path(merkle.__file__).with_name("verifier.py")
        options = {
            "--key": "public.pem",
            "--proof": "proof.json",
            "--receipt": "receipt",
        }
        arguments = [word for option in options.items() for word in option]
        return subprocess.run(
            [sys.executable, "-I", str(verifier), *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def evidence(client: TestClient, service: Service, tmp_path: Path) -> Evidence:
    response = client.post("/decisions", json={"customer_id": "C0000002"})
    decision_id = response.json()["decision_id"]
    receipt = response.headers["obligor-receipt"]
    proof = client.get(f"/decisions/{decision_id}/proof").json()
    (tmp_path / "public.pem").write_bytes(service.signer.public)
    (tmp_path / "proof.json").write_text(json.dumps(proof))
    (tmp_path / "receipt").write_text(receipt)
    return Evidence(decision_id, receipt, proof, tmp_path)


def test_a_stored_answer_has_the_receipt_of_the_first(
    client: TestClient, evidence: Evidence
) -> None:
    stored = client.get(f"/decisions/{evidence.decision_id}")
    assert stored.headers["obligor-receipt"] == evidence.receipt


def test_a_proof_does_not_contain_the_customer(evidence: Evidence) -> None:
    TypeAdapter(ProofAnswer).validate_python(evidence.proof)
    assert "C0000002" not in json.dumps(evidence.proof)


def test_proof_and_receipt_are_verified_without_obligor(evidence: Evidence) -> None:
    result = evidence.verify()
    assert result.returncode == 0, result.stderr
    assert f"entry {evidence.decision_id} is number 0 of 1" in result.stdout
    assert f"the receipt of {evidence.decision_id} is valid" in result.stdout


def test_the_verifier_rejects_a_changed_leaf(evidence: Evidence) -> None:
    changed = json.dumps(evidence.proof).replace("approve", "decline")
    (evidence.folder / "proof.json").write_text(changed)
    assert "NOT valid" in evidence.verify().stderr


def test_an_unknown_decision_has_no_proof(client: TestClient) -> None:
    assert client.get("/decisions/nothing/proof").status_code == 404


def test_a_receipt_is_about_one_leaf(record: Record, tmp_path: Path) -> None:
    checkpointer, receipts = filled(record, CheckpointFolder([tmp_path]), 300)
    proof = checkpointer.proof("d-123")
    assert check_proof(proof, SIGNER.public)
    assert check_receipt(receipts[123], proof, SIGNER.public)
    with pytest.raises(ValueError, match="another leaf"):
        check_receipt(receipts[122], proof, SIGNER.public)


def test_ten_thousand_forged_proofs_are_rejected(
    record: Record, tmp_path: Path
) -> None:
    checkpointer, _ = filled(record, CheckpointFolder([tmp_path]), 300)
    proof = checkpointer.proof("d-123")
    random = Random(0)
    n_accepted = 0
    for _ in range(10_000):
        forged = json.loads(json.dumps(proof))
        forge = random.choice(FORGERIES)
        forge(forged, random)
        if forged == proof:
            continue
        try:
            check_proof(forged, SIGNER.public)
            n_accepted += 1
        except (ValueError, KeyError):
            pass
    assert n_accepted == 0


def forge_leaf(proof: Proof, random: Random) -> None:
    leaf = proof["leaf"]
    position = random.randrange(len(leaf))
    letter = chr(33 + random.randrange(90))
    proof["leaf"] = leaf[:position] + letter + leaf[position + 1 :]


def forge_place(proof: Proof, random: Random) -> None:
    others = [place for place in range(-1, 302) if place != proof["place"]]
    proof["place"] = random.choice(others)


def forge_path(proof: Proof, random: Random) -> None:
    position = random.randrange(len(proof["path"]))
    proof["path"][position] = random.randbytes(32).hex()


def drop_from_path(proof: Proof, random: Random) -> None:
    del proof["path"][random.randrange(len(proof["path"]))]


def forge_size(proof: Proof, random: Random) -> None:
    proof["checkpoint"]["size"] += random.choice([-1, 1, 7])


def forge_time(proof: Proof, random: Random) -> None:
    proof["checkpoint"]["at"] += "0"


def forge_root(proof: Proof, random: Random) -> None:
    proof["checkpoint"]["root"] = random.randbytes(32).hex()


def forge_signature(proof: Proof, random: Random) -> None:
    proof["checkpoint"]["signature"] = random.randbytes(64).hex()


FORGERIES: list[Callable[[Proof, Random], None]] = [
    forge_leaf,
    forge_place,
    forge_path,
    drop_from_path,
    forge_size,
    forge_root,
    forge_signature,
    forge_time,
]


# --- replays


@pytest.fixture
def decision_ids(client: TestClient) -> list[str]:
    """The ids of 41 decisions and an order check."""
    first = {
        "customer_id": "C0000007",
        "request": {"amount": "90000000.00", "currency": "USD"},
        "as_of": "2024-05-31",
    }
    questions: list[dict[str, Any]] = [first]
    questions += [{"customer_id": f"C{number:07d}"} for number in range(20, 60)]
    answers = [client.post("/decisions", json=question) for question in questions]
    order = {"amount": "90.00", "currency": "USD"}
    order_question = {"customer_id": "C0000002", "order": order}
    answers.append(client.post("/orders/check", json=order_question))
    return [answer.json()["decision_id"] for answer in answers]


def test_decisions_replay_bit_for_bit(
    client: TestClient, decision_ids: list[str]
) -> None:
    for decision_id in decision_ids:
        result = client.post(f"/decisions/{decision_id}/replay").json()
        assert result["is_equal"] is True


def test_a_replay_needs_neither_ledger_nor_rulebooks_of_today(
    service: Service, decision_ids: list[str]
) -> None:
    rulebooks = replace(service.rulebooks, released=[])
    alone = replace(service, ledger=None, rulebooks=rulebooks)  # type: ignore[arg-type]
    replayer = alone.replayer
    for decision_id in decision_ids:
        assert replayer.replay(decision_id).is_equal
    results = [result for result in replayer.replay_all() if isinstance(result, Replay)]
    assert sum(result.is_equal for result in results) == len(decision_ids)


def test_a_replay_that_differs_says_where(client: TestClient, service: Service) -> None:
    response = client.post("/decisions", json={"customer_id": "C0000002"})
    rulebook = service.rulebooks.released[-1]
    margin = rulebook.parameters["credit_margin"] * 2
    parameters = {**rulebook.parameters, "credit_margin": margin}
    released = [replace(rulebook, parameters=parameters)]
    rulebooks = replace(service.rulebooks, released=released)
    replayer = replace(service.replayer, rulebooks=rulebooks)
    result = replayer.replay(response.json()["decision_id"])
    assert not result.is_equal
    is_named = [
        difference.startswith("limit.caps.economic: ")
        for difference in result.differences
    ]
    assert any(is_named)


def test_an_act_of_a_person_is_not_replayed(client: TestClient) -> None:
    contact = {
        "customer_id": "C0000002",
        "by": "C",
        "channel": "mail",
        "outcome": "reached",
    }
    contact_id = client.post("/contacts", json=contact).json()["contact_id"]
    response = client.post(f"/decisions/{contact_id}/replay")
    assert response.status_code == 422


# --- erasure


@dataclass(frozen=True)
class Erased:
    """Decisions about a customer who was erased, and about another one."""

    decisions: list[httpx.Response]
    other: httpx.Response
    wrapped_keys: list[bytes]

    @property
    def decision_id(self) -> str:
        """The id of the first decision."""
        return str(self.decisions[0].json()["decision_id"])


@pytest.fixture
def erased(client: TestClient, service: Service) -> Erased:
    question = {"customer_id": "C0000002"}
    request = {"amount": "9.00", "currency": "EUR"}
    with_request = {"customer_id": "C0000002", "request": request}
    headers = {"Idempotency-Key": "k"}
    decisions = [
        client.post("/decisions", json=question, headers=headers),
        client.post("/decisions", json=with_request),
    ]
    other = client.post("/decisions", json={"customer_id": "C0000003"})
    with service.record.database.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT wrapped FROM customers").all()
    assert (
        erase(
            service.record,
            "C0000002",
            "asked by letter",
            NOW,
            "e-1",
        )
        == 2
    )
    return Erased(decisions, other, [bytes(row[0]) for row in rows])


def test_the_log_verifies_after_an_erasure(service: Service, erased: Erased) -> None:
    service.checkpointer.step()
    answers = [*erased.decisions, erased.other]
    receipts = [answer.headers["obligor-receipt"] for answer in answers]
    assert findings(service.record, service.checkpointer.folder, receipts) == []


def test_decisions_about_an_erased_customer_are_gone(
    client: TestClient, erased: Erased
) -> None:
    decision = client.get(f"/decisions/{erased.decision_id}")
    case = client.get(f"/cases/{erased.decision_id}")
    assert decision.status_code in (404, 410)
    assert case.status_code in (404, 410)
    listed = client.get("/customers/C0000002/decisions").json()
    assert listed["decisions"] == []


def test_an_erased_decision_is_not_replayed(client: TestClient, erased: Erased) -> None:
    response = client.post(f"/decisions/{erased.decision_id}/replay")
    assert response.status_code == 410
    assert "the customer was erased" in response.json()["detail"]


def test_other_customers_are_not_erased(client: TestClient, erased: Erased) -> None:
    other_id = erased.other.json()["decision_id"]
    assert client.get(f"/decisions/{other_id}").content == erased.other.content


def test_an_erased_key_is_no_longer_in_the_file(
    service: Service, erased: Erased, tmp_path: Path
) -> None:
    service.record.close()
    files = [path.read_bytes() for path in tmp_path.glob("record.db*")]
    content = b"".join(files)
    # Only the other customer's key is still there.
    assert sum(key in content for key in erased.wrapped_keys) == 1
    assert b"C0000002" not in content


@pytest.mark.usefixtures("erased")
def test_a_customer_is_erased_once(service: Service) -> None:
    with pytest.raises(UnknownDecisionError, match="nothing is recorded"):
        erase(
            service.record,
            "C0000002",
            "again",
            NOW,
            "e-2",
        )


@pytest.mark.usefixtures("erased")
def test_an_erased_customer_can_be_decided_about_again(client: TestClient) -> None:
    response = client.post("/decisions", json={"customer_id": "C0000002"})
    assert response.status_code == 200
    stored = client.get(f"/decisions/{response.json()['decision_id']}")
    assert stored.content == response.content


# --- keys


def test_a_rotated_key_opens_everything_and_the_old_one_nothing(
    record: Record, tmp_path: Path
) -> None:
    first = replace(ENTRY, idempotency_key="k")
    second = replace(ENTRY, entry_id="d-2", customer_id="BORIS")
    record.writer.append([first, second])
    new_vault = Vault(bytes(reversed(range(32))), VAULT.random)
    assert rotate(record.database, new_vault) == 2
    record.close()
    rotated = Record.open(f"sqlite:///{tmp_path}/record.db", new_vault)
    assert rotated.reader.entry("d-1").body == ENTRY.body
    entry = rotated.reader.for_key("k", ENTRY.request)
    assert entry is not None
    assert entry.body == ENTRY.body
    rotated.close()
    with pytest.raises(RecordError, match="set the data key it was written under"):
        Record.open(f"sqlite:///{tmp_path}/record.db", VAULT)


def test_the_file_contains_nothing_of_a_customer(
    record: Record, tmp_path: Path
) -> None:
    canary = "CANARY-4711"
    text = orjson.dumps({"customer_id": canary}).decode()
    entry = replace(
        ENTRY,
        customer_id=canary,
        request=text,
        body=text,
        idempotency_key=canary,
        inputs=canary.encode(),
    )
    record.writer.append([entry])
    record.close()
    files = [path.read_bytes() for path in tmp_path.glob("record.db*")]
    assert canary.encode() not in b"".join(files)


def test_a_key_file_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "data.key"
    first = key_file(path, VAULT.random)
    assert key_file(path, VAULT.random) == first
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["secret!", "ab" * 31, ""])
def test_a_bad_key_is_never_repeated_in_the_error(text: str) -> None:
    with pytest.raises(KeyFileError, match="expected 64 hexadecimal digits") as error:
        parse_key(text, "OBLIGOR_DATA_KEY")
    assert "secret" not in str(error.value)


def test_a_data_key_has_32_bytes() -> None:
    with pytest.raises(RecordError, match="31 bytes"):
        Vault(bytes(31), VAULT.random)
