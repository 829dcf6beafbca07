"""A model bundle: a folder of text, written, signed, and verified before it is read."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from obligor.errors import ModelError
from obligor.features import catalogue
from obligor.features.encoding import Encoding
from obligor.model.baseline import Baseline
from obligor.model.calibration import Band, Calibration
from obligor.model.pd_model import PdModel
from obligor.model.term_structure import TermStructure
from obligor.signing import is_signed, public_key

MODEL = "model.txt"
CALIBRATION = "calibration.json"
BASELINE = "baseline.json"
CATALOGUE = "catalogue.json"
ENCODING = "encoding.json"
FILES = (MODEL, CALIBRATION, BASELINE, CATALOGUE, ENCODING)
# The first bundles had no baseline; a bundle has either a catalogue or an encoding.
OPTIONAL_FILES = (BASELINE, CATALOGUE, ENCODING)
MANIFEST = "manifest.json"
SIGNATURE = "signature"

Fields = TypeVar("Fields")
Part = TypeVar("Part")

# What the registry writes and the service reads.
MODEL_NAME = "obligor-pd"  # of the registered model
CHAMPION_POINTER = "champion.json"  # names the version that decides
SHADOW_POINTER = "challenger.json"  # names the version that scores in the shadow
PROMOTIONS = "promotions.jsonl"  # one promotion a line
NAMED = "named"  # folder of a store with the pointers of models of another name
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Manifest(TypedDict):
    """What ``manifest.json`` holds.

    Attributes
    ----------
    format : int
        Version of the bundle's format.
    files : dict of str to str
        SHA-256 of each file.
    features : list of str
        Column names, in the order of every input row.
    catalogue_sha256 : str or None
        Fingerprint of the feature catalogue; None if the bundle has an encoding.
    horizon_days : int
        Length of the horizon the PD is for.
    about : dict
        Facts stored with the model.
    """

    format: int
    files: dict[str, str]
    features: list[str]
    catalogue_sha256: str | None
    horizon_days: int
    about: dict[str, Any]


def pointer_folder(store: Path, name: str = MODEL_NAME) -> Path:
    """Return the folder with the pointers and the promotions of a named model.

    Raises
    ------
    ModelError
        If the text cannot be a model's name, because it is part of a path.

    Examples
    --------
    >>> pointer_folder(Path("store"), "cards").as_posix()
    'store/named/cards'
    >>> pointer_folder(Path("store")).as_posix()
    'store'
    """
    if name == MODEL_NAME:
        return store
    if not _NAME.fullmatch(name):
        raise ModelError(
            f"{name[:80]!r} cannot be the name of a model",
            where="--name",
            expected="1 to 64 small letters, digits, - and _, such as `cards`",
        )
    return store / NAMED / name


def champion_names(store: Path) -> list[str]:
    """Return the names of the models that have a champion in a store, sorted."""
    names = [path.parent.name for path in (store / NAMED).glob(f"*/{CHAMPION_POINTER}")]
    if (store / CHAMPION_POINTER).exists():
        names.append(MODEL_NAME)
    return sorted(names)


def save_bundle(model: PdModel, folder: Path) -> str:
    """Write a model as a bundle and return its SHA-256, that of the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = _contents(model)
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8")
    manifest: Manifest = {
        "format": 1,
        "files": {name: _sha256(text.encode()) for name, text in contents.items()},
        "features": list(model.features),
        "catalogue_sha256": None if model.encoding else _edition_of(model),
        "horizon_days": model.horizon_days,
        "about": model.about,
    }
    manifest_path = folder / MANIFEST
    manifest_path.write_text(_json(manifest), encoding="utf-8")
    return _sha256(manifest_path.read_bytes())


def _contents(model: PdModel) -> dict[str, str]:
    """Return the text of each file but the manifest."""
    contents = {
        MODEL: model.text,
        CALIBRATION: _json(_calibration_fields(model)),
        BASELINE: _json(model.reference.as_dict()),
    }
    if model.encoding:
        contents[ENCODING] = _json(model.encoding.as_dict())
    else:
        edition = catalogue.edition_of(model.features)
        contents[CATALOGUE] = _json(_catalogue_entries(edition))
    return contents


def _edition_of(model: PdModel) -> str:
    return catalogue.edition_of(model.features).fingerprint()


def _calibration_fields(model: PdModel) -> dict[str, object]:
    fields: dict[str, object] = {**model.calibration.as_dict()}
    if model.band:
        fields["band"] = model.band.as_dict()
    if model.term:
        fields["term"] = model.term.as_dict()
    return fields


def _catalogue_entries(edition: catalogue.Edition) -> list[dict[str, object]]:
    entries = []
    for feature in edition.features:
        bounds = {"low": str(feature.low), "high": str(feature.high)}
        entries.append(feature.__dict__ | bounds)
    return entries


def load_bundle(folder: Path, sha256: str) -> PdModel:
    """Load a bundle; every file is verified BEFORE it is parsed.

    Parameters
    ----------
    folder : Path
        The folder `save_bundle` wrote.
    sha256 : str
        The hash `save_bundle` returned, from a source that is trusted (the registry's
        pointer); 64 hexadecimal digits.

    Raises
    ------
    ModelError
        If a file is missing or was changed, or if the features of the bundle mean
        something else in this version.
    """
    manifest, contents = verify_bundle(folder, sha256)
    is_of_table = ENCODING in contents
    if not is_of_table:
        _require_edition(manifest, folder)
    parsed = {
        name: json.loads(content) for name, content in contents.items() if name != MODEL
    }
    calibration = parsed[CALIBRATION]
    return PdModel(
        text=contents[MODEL].decode(),
        calibration=Calibration.from_dict(calibration),
        features=tuple(manifest["features"]),
        horizon_days=manifest["horizon_days"],
        about=manifest["about"],
        baseline=_optional(Baseline.from_dict, parsed.get(BASELINE)),
        encoding=_optional(Encoding.from_dict, parsed.get(ENCODING)),
        band=_optional(Band.from_dict, calibration.get("band")),
        term=_optional(TermStructure.from_dict, calibration.get("term")),
    )


def _require_edition(manifest: Manifest, folder: Path) -> None:
    """Refuse a bundle whose features mean something else than in every edition."""
    names = tuple(manifest["features"])
    for edition in catalogue.EDITIONS.values():
        is_equal = manifest["catalogue_sha256"] == edition.fingerprint()
        if is_equal and names == edition.names:
            return
    raise ModelError(
        "the features of the bundle mean something else in this version",
        where=str(folder),
        expected="an edition of the catalogue that this version has",
        do="train again with this version",
    )


def _optional(
    from_dict: Callable[[Fields], Part], fields: Fields | None
) -> Part | None:
    return None if fields is None else from_dict(fields)


def verify_bundle(folder: Path, sha256: str) -> tuple[Manifest, dict[str, bytes]]:
    """Check every hash of a bundle.

    Parameters
    ----------
    folder : Path
        The folder `save_bundle` wrote.
    sha256 : str
        The expected hash of the manifest, 64 hexadecimal digits.

    Returns
    -------
    Manifest, dict of str to bytes
        The manifest, and the content of each file.

    Raises
    ------
    ModelError
        If a file is missing, was changed, or does not belong to a bundle.
    """
    manifest_bytes = _read(folder / MANIFEST)
    _require_hash(folder / MANIFEST, manifest_bytes, sha256)
    _require_no_other_files(folder)
    manifest: Manifest = json.loads(manifest_bytes)
    contents = {}
    for name in FILES:
        if name in OPTIONAL_FILES and name not in manifest["files"]:
            continue
        content = _read(folder / name)
        _require_hash(folder / name, content, manifest["files"].get(name, ""))
        contents[name] = content
    return manifest, contents


def _require_no_other_files(folder: Path) -> None:
    present = {path.name for path in folder.iterdir()}
    unexpected = present - {MANIFEST, SIGNATURE, *FILES}
    if unexpected:
        raise ModelError(
            f"the bundle contains other files: {sorted(unexpected)}",
            where=folder.name,
            expected="only the files of a bundle",
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


def _require_hash(
    path: Path,
    content: bytes,
    sha256: str,
) -> None:
    if not hmac.compare_digest(_sha256(content), sha256):
        raise ModelError(
            "file was changed after it was made",
            where=path.name,
            expected=f"SHA-256 {sha256}",
            do="export again",
        )


def bundle_text(sha256: str) -> bytes:
    """Return the text that the signature of a bundle signs."""
    return f"obligor bundle v1\n{sha256}\n".encode()


def require_signature(
    folder: Path,
    sha256: str,
    trusted: Sequence[Path],
) -> None:
    """Refuse a bundle that no trusted key signed; only its signature is read.

    Parameters
    ----------
    folder : Path
        The bundle.
    sha256 : str
        The hash of its manifest, 64 hexadecimal digits.
    trusted : sequence of Path
        Public keys as PEM; those that do not exist are skipped.

    Raises
    ------
    ModelError
        If the signature is missing, or made with another key.
    """
    keys = [
        public_key(path.read_bytes(), str(path)) for path in trusted if path.exists()
    ]
    if not is_signed(_read(folder / SIGNATURE), bundle_text(sha256), keys):
        raise ModelError(
            f"the bundle is not signed by any of the {len(keys)} trusted keys",
            where=folder.name,
            do="run `obligor promote` again, or name the key that signed it in "
            "OBLIGOR_TRUSTED_KEYS",
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _json(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
