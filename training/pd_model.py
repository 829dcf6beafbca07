"""The PD model: a LightGBM booster with a calibration, kept as a bundle that needs no unpickling."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from obligor.errors import ModelError
from obligor.features import catalogue
from obligor.features.encoding import Encoding
from obligor.signing import is_signed, public_key
from obligor.training.baseline import Baseline
from obligor.training.calibration import Band, Calibration
from obligor.training.term import TermStructure
from obligor.training.treeshap import TreeShap

if TYPE_CHECKING:
    import lightgbm as lgb

log = logging.getLogger("obligor")
Floats = NDArray[np.float64]
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


@dataclass(frozen=True)
class PdModel:
    """A fitted model.

    Attributes
    ----------
    text : str
        LightGBM's model as text; gives the margin (log-odds before calibration).
    calibration : Calibration
        From margin to PD over `horizon_days`.
    features : tuple of str
        Column names, in the order of every input row.
    horizon_days : int
        The window the PD speaks of.
    about : dict
        Facts kept with the model: default definition, training dates, figures.
    baseline : Baseline, optional
        Who reasons compare a customer with; SHAP's own base where absent.
    encoding : Encoding, optional
        How a row of a table of applications becomes numbers; None where the features are the catalogue's.
    band : Band, optional
        How sure the PD is at each margin.
    term : TermStructure, optional
        When within the horizon a default comes; a constant hazard where absent.
    """

    text: str
    calibration: Calibration
    features: tuple[str, ...]
    horizon_days: int
    about: dict[str, Any]
    baseline: Baseline | None = None
    encoding: Encoding | None = None
    band: Band | None = None
    term: TermStructure | None = None

    @cached_property
    def reference(self) -> Baseline:
        """The baseline that reasons are given against."""
        return self.baseline or Baseline.none(len(self.features))

    @cached_property
    def explainer(self) -> TreeShap | LightGbmShap:
        """What gives margins and contributions: our engine, or LightGBM where it cannot take the model."""
        try:
            return TreeShap(self.text)
        except ModelError as reason:
            log.warning(
                "LightGBM explains this model itself, some 60 times slower: %s", reason
            )
            return LightGbmShap(self.booster)

    @cached_property
    def booster(self) -> lgb.Booster:
        """LightGBM's own form of the model; scoring does without (its import takes seconds)."""
        import lightgbm as lgb

        return lgb.Booster(model_str=self.text)

    def margin(self, rows: Floats) -> Floats:
        """Return the margin of each row, shape (n,)."""
        return self.explainer.margin(rows)

    def predict_pd(self, rows: Floats) -> Floats:
        """Return P(default within `horizon_days`) of each row, shape (n,), in (0, 1)."""
        return self.calibration(self.margin(rows))

    def predict_pd_12m(self, rows: Floats) -> Floats:
        """Return the PD over 12 months; another horizon is converted at a constant hazard.

        ``pd_12m = 1 - (1 - pd) ** (365 / horizon_days)``.
        """
        return self.pd_12m(self.margin(rows))

    def pd_12m(self, margin: Floats) -> Floats:
        """Return what `predict_pd_12m` does, from margins that are there already."""
        return self._year(self.calibration(margin))

    def pd_within(self, margin: Floats, days: int) -> Floats:
        """Return the PD within some days; it rises with them, and is the calibrated PD at the horizon."""
        return self._within(self.calibration(margin), margin, days)

    def interval_12m(self, margin: Floats) -> tuple[Floats, Floats]:
        """Return low and high of the 95% interval of the PD over 12 months; see `Band` for what it covers."""
        return self._interval(self.calibration(margin), margin)

    def pds(
        self, margin: Floats
    ) -> tuple[Floats, Floats, Floats, tuple[Floats, Floats]]:
        """Return the PD over 12, 3 and 6 months and the interval of the first, from one calibration of the margins."""
        pd_ = self.calibration(margin)
        sooner = (self._within(pd_, margin, days) for days in (91, 182))
        return self._year(pd_), *sooner, self._interval(pd_, margin)  # type: ignore[return-value]

    def _within(self, pd_: Floats, margin: Floats, days: int) -> Floats:
        share = (
            days / self.horizon_days
            if self.term is None
            else self.term.share(margin, days)
        )
        return _compounded(pd_, share)

    def _interval(self, pd_: Floats, margin: Floats) -> tuple[Floats, Floats]:
        low, high = self.band(margin, pd_) if self.band else (pd_, pd_)
        return self._year(low), self._year(high)

    def _year(self, pd_: Floats) -> Floats:
        return (
            pd_
            if self.horizon_days == 365
            else 1 - (1 - pd_) ** (365 / self.horizon_days)
        )

    def explain(self, rows: Floats) -> tuple[Floats, Floats]:
        """Return exact SHAP contributions, shape (n, features), and margins, shape (n,).

        `base` plus the contributions of a row is its margin.
        """
        return self.explainer.explain(rows)

    @property
    def base(self) -> float:
        """What every row's contributions start from: the mean margin over the training rows."""
        return self.explainer.expected_value

    def _calibrated(self) -> dict[str, Any]:
        found = self.calibration.as_dict()
        if self.band:
            found["band"] = {
                "knots": self.band.knots,
                "low": self.band.low,
                "high": self.band.high,
            }
        if self.term:
            found["term"] = self.term.as_dict()
        return found

    def save(self, folder: Path) -> str:
        """Write the bundle and return its SHA-256, that of the manifest."""
        folder.mkdir(parents=True, exist_ok=True)
        contents = {
            "model.txt": self.text,
            "calibration.json": _json(self._calibrated()),
            BASELINE: _json(self.reference.as_dict()),
        }
        if self.encoding:
            contents[ENCODING] = _json(self.encoding.as_dict())
        else:
            entries = [
                one.__dict__ | {"low": str(one.low), "high": str(one.high)}
                for one in catalogue.CATALOGUE
            ]
            contents["catalogue.json"] = _json(entries)
        for name, text in contents.items():
            (folder / name).write_text(text, encoding="utf-8")
        manifest = {
            "format": 1,
            "files": {name: _sha256(text.encode()) for name, text in contents.items()},
            "features": list(self.features),
            "catalogue_sha256": None if self.encoding else catalogue.fingerprint(),
            "horizon_days": self.horizon_days,
            "about": self.about,
        }
        (folder / MANIFEST).write_text(_json(manifest), encoding="utf-8")
        return _sha256((folder / MANIFEST).read_bytes())


class LightGbmShap:
    """The interface of `TreeShap` by LightGBM's own contributions.

    Parameters
    ----------
    booster : lightgbm.Booster
        Any model.
    """

    def __init__(self, booster: lgb.Booster) -> None:
        self.booster = booster
        self.expected_value = float(
            self.explained(np.zeros((1, booster.num_feature())))[0, -1]
        )

    def explained(self, rows: Floats) -> Floats:
        """Return contributions and, behind them, the base of each row (of each class, where there are several).

        Raises
        ------
        ModelError
            Where LightGBM has no contributions either: linear models in the leaves.
        """
        import lightgbm as lgb

        try:
            return np.asarray(
                self.booster.predict(rows, pred_contrib=True, num_threads=1)
            )
        except lgb.basic.LightGBMError as error:
            raise ModelError(
                f"cannot be explained: {error}",
                where="model",
                do="train without linear_tree",
            ) from None

    def explain(self, rows: Floats) -> tuple[Floats, Floats]:
        """Return contributions, shape (n, features), and margins, shape (n,)."""
        return self.explained(rows)[:, :-1], self.margin(rows)

    def margin(self, rows: Floats) -> Floats:
        """Return the margin of each row, shape (n,)."""
        return np.asarray(self.booster.predict(rows, raw_score=True, num_threads=1))


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


def load_bundle(folder: Path, sha256: str) -> PdModel:
    """Load a bundle whose manifest has that SHA-256; every file is checked BEFORE it is parsed.

    Parameters
    ----------
    folder : Path
        Where `PdModel.save` wrote.
    sha256 : str
        What `save` returned, from a source that is trusted (the registry's pointer).

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


def _compounded(pd_: Floats, share: Floats | float) -> Floats:
    """Return ``1 - (1 - pd) ** share`` without loss where the PD is small."""
    return np.asarray(-np.expm1(share * np.log1p(-pd_)))


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
