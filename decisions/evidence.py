"""All the evidence about one decision in one zip.

The answer, its reasons, the model and rules that gave it, and the proof that it was
recorded.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import rfc8785

from obligor.decisions.notice import notice
from obligor.decisions.pages import render
from obligor.decisions.replay import Replayer
from obligor.decisions.rulebooks import Rulebooks
from obligor.decisions.scores import SCORE
from obligor.errors import RecordError
from obligor.model.bundle import FILES, MANIFEST, SIGNATURE
from obligor.record.checkpointer import Checkpointer
from obligor.record.receipts import ReceiptSigner

_READ_ME = """Evidence about decision {id}.

  decision.html   the decision, to be read; decision.json is the exact answer,
                  request.json the question
  notice.txt      the notice for the customer
  replay.json     the decision computed again from its recorded inputs; it lists every
                  difference, none if the answer is equal
  proof.json      the entry's place in the record, as verifier.py checks it
  receipt.txt     the signed receipt that was sent with the answer
  model/          the model bundle, with model_card.md; rules/ the rulebook
  manifest.json   SHA-256 of every file; manifest.sig is the service's signature
                  (Ed25519) over it

To check it you need nothing of ours but `cryptography`:

  python verifier.py --key public.pem --proof proof.json --receipt receipt.txt

The proof is about the encrypted form of the answer. The signature over manifest.json
states that decision.json is its plain text. Take public.pem from the checkpoints'
folder, not from here.
"""
_SUMMARY_FIELDS = (
    "decision_id",
    "customer_id",
    "as_of",
    "recorded_at",
    "outcome",
    "pd_12m",
    "grade",
    "limit",
    "terms",
    "authority",
)
_MAX_CONTRIBUTIONS = 15

Json = Mapping[str, Any]


class Section(NamedTuple):
    """A table of the page about a decision."""

    title: str
    rows: list[tuple[str, str]]


@dataclass(frozen=True)
class EvidenceCollector:
    """Collects the evidence about recorded decisions.

    Attributes
    ----------
    replayer : Replayer
        Computes the decision again.
    checkpointer : Checkpointer
        Proves that the entry is in the record.
    signer : ReceiptSigner
        Signs the manifest.
    models : Path
        The folder of the model bundles, by hash.
    rulebooks : Rulebooks
        The rulebooks that decided.
    """

    replayer: Replayer
    checkpointer: Checkpointer
    signer: ReceiptSigner
    models: Path
    rulebooks: Rulebooks

    def collect(self, entry_id: str) -> bytes:
        """Return the evidence about a decision, order check or score as a zip.

        Raises
        ------
        ObligorError
            As `Replayer.computed` and `Replayer.replay`.
        """
        entry = self.replayer.computed(entry_id)
        answer = orjson.loads(entry.body)
        replay = self.replayer.replay(entry_id)
        proof = self.checkpointer.proof(entry_id)
        receipt = self.signer.receipt(entry_id, entry.leaf_hash)
        verifier = resources.files("obligor.record").joinpath("verifier.py")
        files = {
            "README.txt": _READ_ME.format(id=entry_id).encode(),
            "decision.json": entry.body.encode(),
            "request.json": entry.request.encode(),
            "replay.json": _json(asdict(replay) | {"is_equal": replay.is_equal}),
            "proof.json": _json(proof),
            "receipt.txt": receipt.encode(),
            "public.pem": self.signer.public,
            "verifier.py": verifier.read_bytes(),
        }
        if entry.kind == "decision":
            text = notice(entry, "en", "reasons", as_html=False)
            files["notice.txt"] = text.encode()
        files |= _model_files(self.models / answer["model"]["sha256"])
        if entry.kind != SCORE:  # no rules have a part in a score
            files["decision.html"] = page(answer).encode()
            rules = self.rulebooks.rulebook_folder(answer["policy"]["sha256"])
            files |= _rule_files(rules)
        files |= self._manifest(files)
        return _zipped(files, datetime.fromisoformat(answer["recorded_at"]))

    def write(self, entry_id: str, path: Path) -> int:
        """Write the evidence to a new file and return its size; raises as `collect`.

        Raises
        ------
        RecordError
            If the file exists.
        """
        if path.exists():
            raise RecordError(
                "the file exists already",
                where=str(path),
                do="name another file with --out",
            )
        content = self.collect(entry_id)
        path.write_bytes(content)
        return len(content)

    def _manifest(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        hashes = {
            name: sha256(content).hexdigest() for name, content in sorted(files.items())
        }
        manifest = rfc8785.dumps(dict(hashes))
        signature = self.signer.sign(manifest)
        return {
            "manifest.json": manifest,
            "manifest.sig": signature.hex().encode(),
        }


def _model_files(folder: Path) -> dict[str, bytes]:
    files = dict[str, bytes]()
    for name in (MANIFEST, SIGNATURE, *FILES):
        if (folder / name).exists():
            files[f"model/{name}"] = (folder / name).read_bytes()
    manifest = orjson.loads((folder / MANIFEST).read_bytes())
    files["model/model_card.md"] = model_card(manifest).encode()
    return files


def _rule_files(folder: Path) -> dict[str, bytes]:
    files = dict[str, bytes]()
    for path in sorted(folder.iterdir()):
        if path.is_file():
            files[f"rules/{path.name}"] = path.read_bytes()
    return files


def model_card(manifest: Json) -> str:
    """Return the manifest of a bundle as a page for people (Markdown)."""
    about = dict(manifest["about"])
    lines = [
        "# Model card",
        "",
        f"- horizon of the PD: {manifest['horizon_days']} days",
    ]
    lines.extend(f"- {name}: {_text(value)}" for name, value in sorted(about.items()))
    lines.extend(["", "## Features", ""])
    lines.extend(f"- {name}" for name in manifest["features"])
    lines.extend(["", "## Files", ""])
    lines.extend(
        f"- {name}: SHA-256 {hash_}" for name, hash_ in manifest["files"].items()
    )
    lines.extend(
        [
            "",
            "The bundle contains no other validation figures than these; "
            "see the report of the training run.",
        ]
    )
    return "\n".join(lines) + "\n"


def page(answer: Json) -> str:
    """Return an answer as a page that can be printed, without scripts."""
    return render(
        "decision.html",
        title=f"Decision {answer['decision_id']}",
        sections=[
            Section("Decision", _summary_rows(answer)),
            Section("Reasons", _reason_rows(answer)),
            Section(
                "Largest contributions to the score (log-odds)",
                _contribution_rows(answer),
            ),
            Section("Rules that fired", _rule_rows(answer)),
            Section(
                "Model and rules",
                [
                    ("model", _text(answer["model"])),
                    ("rules", _text(answer["policy"])),
                ],
            ),
        ],
    )


def _summary_rows(answer: Json) -> list[tuple[str, str]]:
    return [(name, _text(answer[name])) for name in _SUMMARY_FIELDS if name in answer]


def _reason_rows(answer: Json) -> list[tuple[str, str]]:
    reasons = answer.get("reasons") or answer.get("blocks") or ()
    return [(reason["code"], reason["text"]) for reason in reasons]


def _contribution_rows(answer: Json) -> list[tuple[str, str]]:
    # An order check has no explanation of its own.
    contributions = answer.get("explanation", {}).get("contributions", {})
    ordered = sorted(contributions.items(), key=lambda pair: -abs(pair[1]))
    largest = ordered[:_MAX_CONTRIBUTIONS]
    return [(name, f"{contribution:+.4f}") for name, contribution in largest]


def _rule_rows(answer: Json) -> list[tuple[str, str]]:
    return [
        (rule["table"], f"{rule['fired']}: {_text(rule['inputs'])}")
        for rule in answer.get("rules", ())
    ]


def _text(value: object) -> str:
    """Return a JSON value as text for people."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return "not known" if value is None else str(value)


def _json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)


def _zipped(files: Mapping[str, bytes], at: datetime) -> bytes:
    """Return a zip; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted(files.items()):
            info = zipfile.ZipInfo(name, at.timetuple()[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()
