"""What MLflow calls to load a model of ours: a bundle, which is read as data.

It is named in the file ``MLmodel`` beside the bundle, and imports nothing of mlflow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from obligor.arrays import Floats
from obligor.errors import ModelError, SchemaError
from obligor.model.bundle import MANIFEST, load_bundle
from obligor.model.pd_model import PdModel

LOADER = "obligor.model.mlflow_loader"  # as MLflow imports it
CONTRIBUTIONS = "contributions"  # a parameter of `predict`
OUTPUT = ("pd", "pd_12m", "pd_12m_low", "pd_12m_high", "pd_6m", "pd_3m", "margin")


@dataclass(frozen=True)
class RawScorer:
    """A model that takes raw columns by name.

    Attributes
    ----------
    model : PdModel
        Of a table, which reads the table's own columns; or of a ledger, which reads
        the features of the catalogue.
    """

    model: PdModel

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that a row must have."""
        encoding = self.model.encoding
        if encoding is None:
            return self.model.features
        return tuple(column.name for column in encoding.columns)

    def predict(
        self,
        model_input: pd.DataFrame,
        params: Mapping[str, object] | None = None,
    ) -> pd.DataFrame:
        """Return the PDs of raw rows.

        Parameters
        ----------
        model_input : DataFrame
            The columns `columns`, in any order; others are not read. NaN or None if a
            value is not known.
        params : mapping, optional
            ``{"contributions": True}`` adds each feature's exact contribution to the
            margin, in log-odds, as the column ``contribution: NAME``, and their base.

        Returns
        -------
        DataFrame
            A row each, with the index of `model_input`: ``pd`` over the horizon of the
            model, ``pd_12m`` with its 95% interval, ``pd_6m``, ``pd_3m``, ``margin``.

        Raises
        ------
        SchemaError
            If a column is missing, or a feature of the catalogue is not a number.
        """
        frame = pd.DataFrame(model_input).rename(columns=str)
        missing = [name for name in self.columns if name not in frame]
        if missing:
            raise SchemaError(
                f"the columns {missing[:5]} are missing",
                where="model input",
                expected=f"the {len(self.columns)} columns of the model, null if a "
                "value is not known",
            )
        rows = self._rows(frame)
        contributions, margin = self.model.explain(rows)
        scores = self._scores(margin)
        if params and params.get(CONTRIBUTIONS):
            scores["base"] = self.model.base
            for name, values in zip(self.model.features, contributions.T, strict=True):
                scores[f"contribution: {name}"] = values
        return pd.DataFrame(scores, index=frame.index)

    def _rows(self, frame: pd.DataFrame) -> Floats:
        if self.model.encoding is not None:
            return self.model.encoding.checked_rows(frame)
        try:
            features = frame[list(self.columns)].astype(np.float64)
        except (TypeError, ValueError) as error:
            raise SchemaError(
                f"a feature is not a number: {error}",
                where="model input",
                expected="the features of the catalogue by name",
            ) from None
        return features.to_numpy(dtype=np.float64)

    def _scores(self, margin: Floats) -> dict[str, Floats | float]:
        pds = self.model.pds(margin)
        low, high = pds.interval_12m
        return {
            "pd": self.model.calibration(margin),
            "pd_12m": pds.pd_12m,
            "pd_12m_low": low,
            "pd_12m_high": high,
            "pd_6m": pds.pd_6m,
            "pd_3m": pds.pd_3m,
            "margin": margin,
        }


def _load_pyfunc(path: str) -> RawScorer:
    """Return the model in a bundle; MLflow calls it with the folder.

    Every file is checked against the manifest before it is parsed.

    Raises
    ------
    ModelError
        If a file is missing or was changed.
    """
    folder = Path(path)
    try:
        manifest = (folder / MANIFEST).read_bytes()
    except OSError:
        raise ModelError(
            "the bundle has no manifest",
            where=path,
            expected="the folder of a complete bundle",
        ) from None
    return RawScorer(load_bundle(folder, hashlib.sha256(manifest).hexdigest()))
