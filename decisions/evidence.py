"""All the evidence about one decision in one zip: what was said, why, by which model and rules, and that it was so."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
import rfc8785

from obligor.decisions.engine import Engine
from obligor.decisions.notice import notice
from obligor.decisions.replay import computed, replay
from obligor.errors import RecordError
from obligor.model.bundle import FILES, MANIFEST, SIGNATURE

_READ_ME = """What this is: the evidence about decision {id}.

  decision.html   to be read; decision.json is the exact answer, request.json the question
  notice.txt      the notice for the customer
  replay.json     the decision made again from its kept inputs: every difference, none where it is equal
  proof.json      the entry's place in the record, as verifier.py checks it
  receipt.txt     the signed receipt that went out with the answer
  model/          the model bundle, with model_card.md; rules/ the rulebook
  manifest.json   SHA-256 of every file; manifest.sig is the service's signature (Ed25519) over it

Check it with nothing of ours but `cryptography`:

  python verifier.py --key public.pem --proof proof.json --receipt receipt.txt

The proof is about the sealed (encrypted) form of the answer. That decision.json is its plain text is what the
signature over manifest.json says. Take public.pem from the checkpoints' folder, not from here.
"""


def evidence(entry_id: str, engine: Engine) -> bytes:
    """Return the evidence about a decision or an order check as a zip.

    Raises
    ------
    ObligorError
        As `computed` and `replay`.
    """
    kept = computed(entry_id, engine)
    answer = orjson.loads(kept.body)
    found = replay(entry_id, engine)
    files = {
        "README.txt": _READ_ME.format(id=entry_id).encode(),
        "decision.json": kept.body.encode(),
        "decision.html": page(answer).encode(),
        "request.json": kept.request.encode(),
        "replay.json": _json(asdict(found) | {"is_equal": found.is_equal}),
        "proof.json": _json(engine.notary.proof(entry_id)),
        "receipt.txt": engine.seal.receipt(entry_id, kept.leaf_hash).encode(),
        "public.pem": engine.seal.public,
        "verifier.py": resources.files("obligor.record")
        .joinpath("verifier.py")
        .read_bytes(),
    }
    if kept.kind == "decision":
        files["notice.txt"] = notice(kept, "en", "reasons", as_html=False).encode()
    files |= dict(
        _model_files(engine.champions.store / "models" / answer["model"]["sha256"])
    )
    rules = engine.folder_of(answer["policy"]["sha256"])
    files |= {
        f"rules/{path.name}": path.read_bytes()
        for path in sorted(rules.iterdir())
        if path.is_file()
    }
    manifest = rfc8785.dumps(
        {name: sha256(content).hexdigest() for name, content in sorted(files.items())}
    )
    files |= {
        "manifest.json": manifest,
        "manifest.sig": engine.seal.sign(manifest).hex().encode(),
    }
    return _zipped(files, datetime.fromisoformat(answer["recorded_at"]))


def _model_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for name in (MANIFEST, SIGNATURE, *FILES):
        if (folder / name).exists():
            yield f"model/{name}", (folder / name).read_bytes()
    yield (
        "model/model_card.md",
        model_card(orjson.loads((folder / MANIFEST).read_bytes())).encode(),
    )


def model_card(manifest: Mapping[str, Any]) -> str:
    """Return what a bundle's manifest says about its model, for people; what it does not say is said to be missing."""
    about = dict(manifest["about"])
    lines = [
        "# Model card",
        "",
        f"- horizon of the PD: {manifest['horizon_days']} days",
    ]
    lines += [f"- {name}: {_plain(value)}" for name, value in sorted(about.items())]
    lines += ["", "## Features", "", *(f"- {name}" for name in manifest["features"])]
    lines += [
        "",
        "## Files",
        "",
        *(f"- {name}: SHA-256 {hash_}" for name, hash_ in manifest["files"].items()),
    ]
    lines += [
        "",
        "Not in this bundle: validation figures beyond those above; see the report of the training run.",
    ]
    return "\n".join(lines) + "\n"


def page(answer: Mapping[str, Any]) -> str:
    """Return an answer as a page that can be printed, without scripts."""
    contributions = answer.get("explanation", {}).get(
        "contributions", {}
    )  # an order check has none
    pushes = sorted(contributions.items(), key=lambda one: -abs(one[1]))[:15]
    reasons = answer.get("reasons") or answer.get("blocks") or ()
    parts = [
        _table(
            "Decision",
            [
                (name, _plain(answer[name]))
                for name in (
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
                if name in answer
            ],
        ),
        _table("Reasons", [(one["code"], one["text"]) for one in reasons]),
        _table(
            "What moved the score most (log-odds)",
            [(name, f"{push:+.4f}") for name, push in pushes],
        ),
        _table(
            "Rules that fired",
            [
                (one["table"], f"{one['fired']}: {_plain(one['inputs'])}")
                for one in answer.get("rules", ())
            ],
        ),
        _table(
            "Model and rules",
            [("model", _plain(answer["model"])), ("rules", _plain(answer["policy"]))],
        ),
    ]
    style = "body{font:14px sans-serif;max-width:60em;margin:2em}td{padding:.2em 1em .2em 0;vertical-align:top}"
    title = f"Decision {escape(str(answer['decision_id']))}"
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{style}</style>'
    return f"{head}<h1>{title}</h1>{''.join(parts)}</html>\n"


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    cells = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>"
        for name, text in rows
    )
    return f"<h2>{escape(title)}</h2><table>{cells or '<tr><td>none</td></tr>'}</table>"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return "not said" if value is None else str(value)


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)


def _zipped(files: Mapping[str, bytes], at: datetime) -> bytes:
    """The same files give the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in sorted(files.items()):
            info = zipfile.ZipInfo(name, at.timetuple()[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return packed.getvalue()


def write_evidence(entry_id: str, engine: Engine, path: Path) -> int:
    """Write the evidence to a file and return its size; raises as `evidence`.

    Raises
    ------
    RecordError
        Where the file is there already.
    """
    if path.exists():
        raise RecordError(
            "is there already", where=str(path), do="name another file with --out"
        )
    content = evidence(entry_id, engine)
    path.write_bytes(content)
    return len(content)
