"""A logistic regression, read from its coefficients in JSON or CSV."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from obligor.errors import ModelError
from obligor.model.linear import LinearModel, Term
from obligor.training.outside.outside_model import (
    OutsideModel,
    require,
    require_names,
)

FORMAT: Literal["obligor logistic 1"] = "obligor logistic 1"
INTERCEPT = ("intercept", "(intercept)", "const", "constant")


class Coefficients(BaseModel):
    """A logistic regression for the log-odds of a default.

    Attributes
    ----------
    format : str
        `FORMAT`.
    intercept : float
        Log-odds of a row whose columns add nothing.
    coefficients : dict of float
        Slope of each number, by its column, after `means` and `scales`.
    means, scales : dict of float
        What is subtracted from a number, and what it is then divided by, as
        ``StandardScaler`` has them; 0 and 1 if absent.
    missing : dict of float
        The value that stands for a missing one, by column, as ``SimpleImputer`` has
        them; the mean if absent.
    categories : dict of dict of float
        What each level of a category adds, by its column.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
    )
    format: Literal["obligor logistic 1"] = FORMAT
    intercept: float
    coefficients: dict[str, float] = {}
    means: dict[str, float] = {}
    scales: dict[str, float] = {}
    missing: dict[str, float] = {}
    categories: dict[str, dict[str, float]] = {}


def read_coefficients_json(content: str) -> OutsideModel:
    """Read a logistic regression from JSON in the form of `Coefficients`.

    Raises
    ------
    ModelError
        If the form is another one, or a number is not finite.
    """
    try:
        return _outside_model(Coefficients.model_validate_json(content), "JSON")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ModelError(
            f"{where}: {first['msg']}",
            where="--model",
            expected=f"JSON with the format {FORMAT!r}",
            do="see docs/how-to/bring-a-model.md",
        ) from None


def read_coefficients_csv(content: str) -> OutsideModel:
    """Read a logistic regression from CSV.

    Its columns are ``feature`` and ``coefficient``, and may be ``mean``, ``scale`` and
    ``missing``; the row of the intercept is called ``intercept``.

    Raises
    ------
    ModelError
        If a column is missing, a number is not finite, or there is no intercept.
    """
    table = pd.read_csv(io.StringIO(content), skipinitialspace=True)
    table.columns = [str(name).strip().lower() for name in table]
    require(
        {"feature", "coefficient"} <= set(table),
        f"the columns are {list(table)}",
        "feature and coefficient",
    )
    names = table["feature"].astype(str).str.strip()
    is_intercept = names.str.lower().isin(INTERCEPT)
    require(
        int(is_intercept.sum()) == 1,
        f"{int(is_intercept.sum())} rows are called intercept",
        "one",
    )
    rows = table[~is_intercept].assign(feature=names[~is_intercept])
    require_names(rows["feature"].tolist())
    fields: dict[str, object] = {
        "intercept": table.loc[is_intercept, "coefficient"].item(),
        "coefficients": _by_feature(rows, "coefficient"),
        "means": _by_feature(rows, "mean"),
        "scales": _by_feature(rows, "scale"),
        "missing": _by_feature(rows, "missing"),
    }
    return read_coefficients_json(json.dumps(fields))


def _by_feature(rows: pd.DataFrame, name: str) -> dict[str, float]:
    if name not in rows:
        return {}
    filled = rows if name == "coefficient" else rows[rows[name].notna()]
    numbers = pd.to_numeric(filled[name], errors="coerce")
    return dict(zip(filled["feature"], numbers.tolist(), strict=True))


def _outside_model(fields: Coefficients, form: str) -> OutsideModel:
    columns = require_names([*fields.coefficients, *fields.categories])
    require(bool(columns), "the model has no coefficients", "at least one column")
    for name, part in (("means", fields.means), ("scales", fields.scales)):
        unknown = sorted(set(part) - set(fields.coefficients))
        require(not unknown, f"{name} names {unknown[:5]}", "columns of coefficients")
    require(
        all(scale != 0 for scale in fields.scales.values()),
        "a scale is 0",
        "what the column is divided by",
    )
    intercept = fields.intercept
    terms = []
    for name in fields.coefficients:
        term, shift = _number_term(fields, name)
        terms.append(term)
        intercept += shift
    for values in fields.categories.values():
        levels = tuple(values.values())
        # A level that is not known adds what the riskiest known one does.
        terms.append(Term(0.0, levels, max(levels), 0.0))
    return OutsideModel(
        kind=f"logistic regression in {form}",
        text=LinearModel(intercept, tuple(terms)).text(),
        columns=columns,
        levels={name: tuple(values) for name, values in fields.categories.items()},
        notes=_notes(fields),
    )


def _number_term(fields: Coefficients, name: str) -> tuple[Term, float]:
    """Return a number's term in its own unit, and what moves to the intercept."""
    scale = fields.scales.get(name, 1.0)
    slope = fields.coefficients[name] / scale
    mean = fields.means.get(name, 0.0)
    missing = fields.missing.get(name, mean)
    return Term(slope, (), slope * missing, 0.0), -slope * mean


def _notes(fields: Coefficients) -> tuple[str, ...]:
    notes = []
    unstated = [name for name in fields.coefficients if name not in fields.missing]
    if unstated:
        notes.append(
            f"no value is stated for a missing {', '.join(unstated[:5])}: its mean is "
            "taken"
        )
    if fields.categories:
        notes.append(
            "a level of a category that is not known adds what the riskiest one does"
        )
    return tuple(notes)


def coefficients_of(
    names: list[str],
    slopes: list[float],
    intercept: float,
    scaler: Mapping[str, list[float]] | None = None,
) -> str:
    """Return the JSON of a logistic regression, ready for `obligor register`.

    Parameters
    ----------
    names : list of str
        The columns, in the order of the slopes.
    slopes : list of float
        ``model.coef_[0].tolist()``; of the log-odds of a default.
    intercept : float
        ``model.intercept_.item()``.
    scaler : mapping of list, optional
        ``{"means": scaler.mean_.tolist(), "scales": scaler.scale_.tolist()}``.

    Examples
    --------
    >>> json.loads(coefficients_of(["income"], [-0.5], 1.0))["coefficients"]
    {'income': -0.5}
    """
    fields: dict[str, object] = {
        "format": FORMAT,
        "intercept": intercept,
        "coefficients": dict(zip(names, slopes, strict=True)),
    }
    for part, values in (scaler or {}).items():
        fields[part] = dict(zip(names, values, strict=True))
    return json.dumps(fields, indent=1)
