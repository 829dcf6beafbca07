"""Random tables of applications, with cells as people export them, and their models.

The benchmark of served PDs and the property test of reading draw them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.random import Generator

from obligor.features.applications import Applications, applications
from obligor.features.encoding import fit_encoding
from obligor.features.table_files import read_frame
from obligor.features.table_spec import Spec
from obligor.model.calibration import Calibration
from obligor.model.pd_model import PdModel

ROWS = 300
TREES = 20
GAPS = 0.1  # the share of missing cells in some columns
MISSING_WORDS = ("", "NA", "null", "n/a")
# Makes the cells of a column, all of them texts.
Maker = Callable[[Generator, int], list[str]]


def _english(amount: float) -> str:
    return f"{amount:,.2f}"


def _continental(amount: float) -> str:
    return _english(amount).translate(str.maketrans(",.", ".,"))


def _amounts(draw: Generator, n: int) -> list[float]:
    return np.round(draw.lognormal(7, 2, n), 2).tolist()


def _in_brackets(amount: float) -> str:
    return f"({_english(amount)})" if amount > 1000 else _english(amount)


def _chosen(*words: str) -> Maker:
    return lambda draw, n: draw.choice(words, n).tolist()


MAKERS: Mapping[str, Maker] = {
    "whole": lambda draw, n: [str(x) for x in draw.integers(0, 90, n)],
    "flag": _chosen("0", "1"),
    "decimal": lambda draw, n: [repr(x) for x in draw.normal(size=n)],
    "special": lambda draw, n: [str(x) for x in draw.choice([-9, 1, 2, 3, 4.5], n)],
    "decimal comma": lambda draw, n: [
        repr(x).replace(".", ",") for x in np.round(draw.normal(size=n), 2)
    ],
    "continental money": lambda draw, n: [
        f"{_continental(x)} €" for x in _amounts(draw, n)
    ],
    "english money": lambda draw, n: [f"${_english(x)}" for x in _amounts(draw, n)],
    "brackets": lambda draw, n: [_in_brackets(x) for x in _amounts(draw, n)],
    "blanks": lambda draw, n: [
        _english(x).replace(",", " ") for x in _amounts(draw, n)
    ],
    "percent": lambda draw, n: [f"{x:.1f} %" for x in draw.uniform(0, 30, n)],
    "code": _chosen("1", "2", "3", "7"),
    "decimal code": _chosen("0.5", "1.0", "1.50"),
    "zero-led code": _chosen("01", "02", "1", "A1"),
    "yes": _chosen("yes", "no"),
    "ja": _chosen("J", "N"),
    "truth": _chosen("True", "False"),
    "town": lambda draw, n: [f"town {x}" for x in draw.geometric(0.2, n)],
    "mixed words": _chosen("a", "B ", "yes", "1", "NA", "true"),
    "pd": lambda draw, n: [repr(x) for x in draw.uniform(size=n)],
    "label": _chosen("good", "bad"),
    "seen on": lambda draw, n: [f"{x % 28 + 1:02d}.12.2024" for x in range(n)],
}
CODES = ("code", "decimal code", "zero-led code")


@dataclass(frozen=True)
class RandomTable:
    """A table as it stands in its file.

    Attributes
    ----------
    cells : DataFrame
        Its texts.
    content : str
        The file.
    spec : Spec
        What it is.
    """

    cells: pd.DataFrame
    content: str
    spec: Spec

    def read(self, folder: Path) -> pd.DataFrame:
        """Write the file, and read it as `obligor train` does."""
        file = folder / "table.csv"
        file.write_text(self.content, encoding="utf-8")
        return read_frame(file)


def random_table(seed: int, n_rows: int = ROWS) -> RandomTable:
    """Draw a table of five to nine columns of random kinds.

    Parameters
    ----------
    seed : int
        Of the draw.
    n_rows : int
        Its rows.
    """
    draw = np.random.default_rng(seed)
    n_columns = int(draw.integers(5, 10))
    names = draw.choice(sorted(MAKERS), n_columns, replace=False).tolist()
    columns = {}
    for name in names:
        cells = MAKERS[name](draw, n_rows)
        if draw.random() < 0.5:
            gaps = np.flatnonzero(draw.random(n_rows) < GAPS)
            for index in gaps.tolist():
                cells[index] = str(draw.choice(MISSING_WORDS))
        columns[name] = cells
    cells = pd.DataFrame(columns)
    first = pd.factorize(cells[names[0]])[0]
    is_bad = draw.random(n_rows) < 0.2 + 0.5 * (first % 3 == 0)
    separator = ";" if draw.random() < 0.5 else ","
    stream = io.StringIO()
    cells.assign(y=is_bad.astype(int)).to_csv(stream, index=False, sep=separator)
    stated = {name: {"type": "category"} for name in names if name in CODES}
    if "special" in names:
        stated["special"] = {"special": [-9]}  # type: ignore[dict-item]
    spec = Spec.model_validate({"target": {"column": "y"}, "columns": stated})
    return RandomTable(cells, stream.getvalue(), spec)


def fit_quickly(data: Applications) -> PdModel:
    """Return a small model of a table; its reading is that of any candidate."""
    encoding, _ = fit_encoding(data.frame, data.spec)
    learned = lgb.Dataset(
        encoding.rows(data.frame),
        data.label,
        categorical_feature=list(encoding.categorical),
        params={"verbose": -1},
    )
    choices = {
        "objective": "binary",
        "num_leaves": 7,
        "min_data_in_leaf": 5,
        "min_data_per_group": 5,
        "num_threads": 1,
        "seed": 0,
        "verbose": -1,
    }
    booster = lgb.train(choices, learned, TREES)
    return PdModel(
        text=booster.model_to_string(),
        calibration=Calibration("platt", (0.9, -0.1)),
        features=encoding.names,
        horizon_days=365,
        about={},
        encoding=encoding,
    )


def applications_of(table: RandomTable, folder: Path) -> Applications:
    """Return a random table as training takes it."""
    return applications(table.read(folder), table.spec)


def requests_of(
    table: RandomTable,
    data: Applications,
    index: int,
    names: list[str],
) -> list[str]:
    """Return a row as JSON: with the types that were read, and as texts.

    Parameters
    ----------
    table : RandomTable
        With its texts.
    data : Applications
        The same rows as they were read.
    index : int
        Of the row.
    names : list of str
        The columns that the model reads.
    """
    typed = {name: _json_value(data.frame[name].iloc[index]) for name in names}
    texts = {name: table.cells[name].iloc[index] for name in names}
    return [json.dumps({"features": values}) for values in (typed, texts)]


def _json_value(cell: object) -> object:
    if cell is None or cell is pd.NA or cell != cell:
        return None
    return cell.item() if isinstance(cell, np.generic) else cell
