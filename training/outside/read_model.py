"""Reading a model's file: what it is, by its content. Nothing in it is run."""

from __future__ import annotations

import json
from pathlib import Path

from obligor.errors import ModelError
from obligor.training.outside.coefficients import (
    read_coefficients_csv,
    read_coefficients_json,
)
from obligor.training.outside.lightgbm_file import read_lightgbm
from obligor.training.outside.outside_model import OutsideModel
from obligor.training.outside.points_csv import PointScale, read_points
from obligor.training.outside.xgboost_json import read_xgboost

MOST_BYTES = 500_000_000
EXPECTED = (
    "the text of LightGBM, the JSON of XGBoost, the coefficients of a logistic "
    "regression as JSON or CSV, or a scorecard as CSV"
)
EXPORT = (
    "save it as text: booster.save_model('model.txt') of LightGBM, "
    "booster.save_model('model.json') of XGBoost; docs/how-to/bring-a-model.md"
)
PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # how such a file begins
ZIP = b"PK"


def read_outside_model(path: Path, scale: PointScale) -> OutsideModel:
    """Read a model from a file.

    Parameters
    ----------
    path : Path
        The file.
    scale : PointScale
        How points of a scorecard become odds.

    Raises
    ------
    ModelError
        If it cannot be read, or is none of the forms that are read.
    """
    content = _content(path)
    try:
        return _read(content, scale)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ModelError(
            f"the file cannot be read: {type(error).__name__} {error}",
            where=str(path),
            expected=EXPECTED,
            do=EXPORT,
        ) from None


def _content(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ModelError(
                "the file is too large",
                where=str(path),
                expected=f"at most {MOST_BYTES:,} bytes",
            )
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"the file cannot be read: {error.strerror}",
            where=str(path),
            expected=EXPECTED,
        ) from None
    if content.startswith((*PICKLES, ZIP)):
        raise ModelError(
            "the file holds objects of Python, which are code: they are never loaded",
            where=str(path),
            expected=EXPECTED,
            do=EXPORT,
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ModelError(
            "the file is not a text",
            where=str(path),
            expected=EXPECTED,
            do=EXPORT,
        ) from None


def _read(content: str, scale: PointScale) -> OutsideModel:
    start = content.lstrip()
    if start.startswith("tree"):
        return read_lightgbm(start)
    if start.startswith("{"):
        fields = json.loads(content)
        is_xgboost = "learner" in fields
        return read_xgboost(content) if is_xgboost else read_coefficients_json(content)
    heading = start.partition("\n")[0].lower()
    if "coefficient" in heading:
        return read_coefficients_csv(content)
    return read_points(content, scale)
