"""A model bundle on disk: written, signed, verified, loaded without unpickling."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from obligor.errors import ModelError
from obligor.features import catalogue
from obligor.features.encoding import Encoding
from obligor.model.baseline import Baseline
from obligor.model.calibration import Band, Calibration
from obligor.model.pd_model import PdModel
from obligor.model.term_structure import TermStructure
from obligor.signing import is_signed, public_key

BASELINE = "baseline.json"

ENCODING = "encoding.json"

FILES = ("model.txt", "calibration.json", BASELINE, "catalogue.json", ENCODING)

_OPTIONAL = (
    BASELINE,
    "catalogue.json",
    ENCODING,
)  # bundles of old had no baseline; one of the others says what a row is

MANIFEST = "manifest.json"

SIGNATURE = "signature"

# What the registry writes and the service reads: the registered name, and the file that names the champion.
NAME = "obligor-pd"

POINTER = "champion.json"

SHADOW_POINTER = "challenger.json"  # who scores in the shadow

PROMOTIONS = "promotions.jsonl"  # every promotion, one a line


def verify_bundle(folder: Path, sha256: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return manifest and files of a bundle, every hash checked.

    Raises
    ------
    ModelError
        Where a file is missing, was changed, or does not belong there.
    """
    manifest_bytes = _read(folder / MANIFEST)
    _require_hash(folder / MANIFEST, manifest_bytes, sha256)
    if extra := {path.name for path in folder.iterdir()} - {
        MANIFEST,
        SIGNATURE,
        *FILES,
    }:
        raise ModelError(
            f"holds {sorted(extra)} besides",
            where=folder.name,
            expected="a bundle's own files alone",
        )
    manifest = json.loads(manifest_bytes)
    contents = {}
    for name in FILES:
        if name in _OPTIONAL and name not in manifest["files"]:
            continue
        contents[name] = _read(folder / name)
        _require_hash(folder / name, contents[name], manifest["files"].get(name, ""))
    return manifest, contents


def bundle_text(sha256: str) -> bytes:
    """Return what the signature of a bundle is over."""
    return f"obligor bundle v1\n{sha256}\n".encode()


def require_signature(folder: Path, sha256: str, trusted: Sequence[Path]) -> None:
    """Refuse a bundle that none of the trusted keys signed; nothing of it is read but the signature.

    Parameters
    ----------
    trusted : sequence of Path
        Public keys as PEM.

    Raises
    ------
    ModelError
        Where the signature is missing or is another's.
    """
    do = "run `obligor promote` again, or name the key that signed it in OBLIGOR_TRUSTED_KEYS"
    keys = [
        public_key(path.read_bytes(), str(path)) for path in trusted if path.exists()
    ]
    if not is_signed(_read(folder / SIGNATURE), bundle_text(sha256), keys):
        raise ModelError(
            f"is not signed by any of {len(keys)} trusted keys",
            where=folder.name,
            do=do,
        )


def save_bundle(model: PdModel, folder: Path) -> str:
    """Write a model as a bundle and return its SHA-256, that of the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "model.txt": model.text,
        "calibration.json": _json(_calibration_dict(model)),
        BASELINE: _json(model.reference.as_dict()),
    }
    if model.encoding:
        contents[ENCODING] = _json(model.encoding.as_dict())
    else:
        contents["catalogue.json"] = _json(_catalogue_entries())
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8")
    manifest = {
        "format": 1,
        "files": {name: _sha256(text.encode()) for name, text in contents.items()},
        "features": list(model.features),
        "catalogue_sha256": None if model.encoding else catalogue.fingerprint(),
        "horizon_days": model.horizon_days,
        "about": model.about,
    }
    (folder / MANIFEST).write_text(_json(manifest), encoding="utf-8")
    return _sha256((folder / MANIFEST).read_bytes())


def _calibration_dict(model: PdModel) -> dict[str, object]:
    fields: dict[str, object] = dict(model.calibration.as_dict())
    if model.band:
        fields["band"] = {
            "knots": model.band.knots,
            "low": model.band.low,
            "high": model.band.high,
        }
    if model.term:
        fields["term"] = model.term.as_dict()
    return fields


def _catalogue_entries() -> list[dict[str, object]]:
    entries = []
    for feature in catalogue.CATALOGUE:
        bounds = {"low": str(feature.low), "high": str(feature.high)}
        entries.append(feature.__dict__ | bounds)
    return entries


def load_bundle(folder: Path, sha256: str) -> PdModel:
    """Load a bundle whose manifest has that SHA-256; every file is checked BEFORE it is parsed.

    Parameters
    ----------
    folder : Path
        Where `save_bundle` wrote.
    sha256 : str
        What `save_bundle` returned, from a source that is trusted (the registry's pointer).

    Raises
    ------
    ModelError
        Where a file is missing, was changed, or speaks of other features than this version's.
    """
    manifest, contents = verify_bundle(folder, sha256)
    if (
        ENCODING not in contents
        and manifest["catalogue_sha256"] != catalogue.fingerprint()
    ):
        raise ModelError(
            "its features mean something else in this version",
            where=str(folder),
            expected="the catalogue the model was trained with",
            do="train again with this version",
        )
    calibration = json.loads(contents["calibration.json"])
    return PdModel(
        text=contents["model.txt"].decode(),
        calibration=Calibration(calibration["kind"], tuple(calibration["parameters"])),
        features=tuple(manifest["features"]),
        horizon_days=manifest["horizon_days"],
        about=manifest["about"],
        baseline=Baseline.from_dict(json.loads(contents[BASELINE]))
        if BASELINE in contents
        else None,
        encoding=Encoding.from_dict(json.loads(contents[ENCODING]))
        if ENCODING in contents
        else None,
        band=Band(**{name: tuple(of) for name, of in calibration["band"].items()})
        if "band" in calibration
        else None,
        term=TermStructure.from_dict(calibration["term"])
        if "term" in calibration
        else None,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise ModelError(
            "file is missing",
            where=path.name,
            expected="a complete bundle",
            do="export again",
        ) from None


def _require_hash(path: Path, content: bytes, sha256: str) -> None:
    if not hmac.compare_digest(_sha256(content), sha256):
        raise ModelError(
            "file was changed after it was made",
            where=path.name,
            expected=f"SHA-256 {sha256}",
            do="export again",
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
