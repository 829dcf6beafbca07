"""A scorecard, read from a CSV file of its points."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, log, nextafter

import pandas as pd

from obligor.errors import ModelError
from obligor.training.candidates.lightgbm_text import (
    blend_texts,
    category_tree,
    model_text,
    number_tree,
)
from obligor.training.outside.outside_model import OutsideModel, require

BASE = ("basepoints", "base points", "intercept")
MISSING = ("missing", "nan", "")
TOTALS = "totals"
ANOTHER = ("another", "other", "others", "else")
_NUMBER = r"-?(?:inf|\d[\d.]*(?:[eE][+-]?\d+)?|\.\d+)"
OURS = re.compile(rf"({_NUMBER}) < x <= ({_NUMBER})")
INTERVAL = re.compile(rf"([\[(])\s*({_NUMBER})\s*,\s*({_NUMBER})\s*([\])])")


@dataclass(frozen=True)
class PointScale:
    """How points become odds.

    Attributes
    ----------
    base_score : float
        Score of an applicant with the odds `base_odds`.
    base_odds : float
        Odds of good, above 0.
    pdo : float
        Points that double the odds; not 0.
    """

    base_score: float = 600
    base_odds: float = 50
    pdo: float = 20

    @property
    def margin_per_point(self) -> float:
        """What a point adds to the log-odds of a default."""
        return -log(2) / self.pdo

    @property
    def constant(self) -> float:
        """Log-odds of a default at 0 points."""
        return -log(self.base_odds) - self.base_score * self.margin_per_point


@dataclass(frozen=True)
class _Bin:
    """A bin of a number: it holds ``low < x <= high``."""

    low: float
    high: float
    points: float
    rows: float


def read_points(content: str, scale: PointScale) -> OutsideModel:
    """Read a scorecard with the columns feature, bin and points.

    Bins of numbers are ``5 < x <= 9`` or ``(5, 9]`` or ``[5, 9)``; other bins are
    levels of a category. The bin ``missing`` holds missing values, ``another`` unseen
    levels.

    Parameters
    ----------
    content : str
        The file.
    scale : PointScale
        How points become odds.

    Raises
    ------
    ModelError
        If bins overlap or leave a gap, or points are not numbers.
    """
    table = _table(content)
    constant = scale.constant
    is_base = table["feature"].str.lower().isin(BASE)
    constant += scale.margin_per_point * float(table.loc[is_base, "points"].sum())
    trees = []
    names = list[str]()
    levels = dict[str, tuple[str, ...]]()
    notes = list[str]()
    for feature, rows in table[~is_base].groupby("feature", sort=False):
        name = str(feature)
        place = len(names)
        names.append(name)
        if any(_interval(text) for text in rows["bin"]):
            tree = _number_tree(place, name, rows, scale, notes)
        else:
            levels[name] = tuple(
                text for text in rows["bin"] if text.lower() not in (*MISSING, *ANOTHER)
            )
            tree = _category_tree(place, name, rows, scale, notes)
        trees.append(tree)
    require(bool(trees), "the scorecard has no bins", "at least one column")
    text = blend_texts([(model_text(trees, len(names)), 1.0)], constant, len(names))
    return OutsideModel(
        kind="scorecard CSV",
        text=text,
        columns=tuple(names),
        levels=levels,
        notes=tuple(notes),
    )


def _table(content: str) -> pd.DataFrame:
    table = pd.read_csv(
        io.StringIO(content),
        dtype=str,
        keep_default_na=False,
    )
    table.columns = [str(name).strip().lower() for name in table]
    table = table.rename(columns={"variable": "feature", "count": "rows"})
    require(
        {"feature", "bin", "points"} <= set(table),
        f"the columns are {list(table)}",
        "feature, bin and points",
    )
    table = table[table["bin"].str.lower() != TOTALS]
    points = pd.to_numeric(table["points"], errors="coerce")
    wrong = table.loc[points.isna(), "feature"].tolist()
    require(not wrong, f"the points of {wrong[:3]} are not numbers", "a number each")
    rows = pd.Series(1.0, index=table.index)
    if "rows" in table:
        rows = pd.to_numeric(table["rows"], errors="coerce").fillna(0.0)
    return pd.DataFrame(
        {
            "feature": table["feature"].str.strip(),
            "bin": table["bin"].str.strip(),
            "points": points.astype(float),
            "rows": rows.clip(lower=0.0),
        }
    )


def _interval(text: str) -> tuple[float, float] | None:
    """Return the ends of a bin that holds ``low < x <= high``; None for a level.

    Examples
    --------
    >>> _interval("-inf < x <= 5"), _interval("(5, 9]"), _interval("[a, b)")
    ((-inf, 5.0), (5.0, 9.0), None)
    >>> _interval("[5, 9)") == (nextafter(5, -inf), nextafter(9, -inf))
    True
    """
    ours = OURS.fullmatch(text)
    if ours:
        return float(ours[1]), float(ours[2])
    match = INTERVAL.fullmatch(text)
    if match is None:
        return None
    opening, low, high, closing = match.groups()
    # An end that belongs to the bin on its right is moved by the least step.
    first = nextafter(float(low), -inf) if opening == "[" else float(low)
    last = nextafter(float(high), -inf) if closing == ")" else float(high)
    return (-inf if float(low) == -inf else first), (inf if last >= 1e308 else last)


def _number_tree(
    place: int,
    name: str,
    rows: pd.DataFrame,
    scale: PointScale,
    notes: list[str],
) -> str:
    bins = []
    missing = None
    for text, points, n_rows in zip(
        rows["bin"], rows["points"], rows["rows"], strict=True
    ):
        ends = _interval(text)
        if ends is not None:
            bins.append(_Bin(*ends, points, n_rows))
        elif text.lower() in MISSING:
            missing = (points, n_rows)
        else:
            raise ModelError(
                f"the bin {text!r} of {name} is not a range",
                where="--model",
                expected="bins such as 5 < x <= 9, (5, 9] or [5, 9), and missing",
            )
    bins.sort(key=lambda each: each.low)
    _require_whole_line(name, bins)
    if missing is None:
        missing = (_prudent([each.points for each in bins], scale), 0.0)
        notes.append(
            f"{name} has no bin for missing values: they get the fewest points"
        )
    points_of_bins = [*(each.points for each in bins), missing[0]]
    rows_of_bins = [*(each.rows for each in bins), missing[1]]
    return number_tree(
        place,
        [each.high for each in bins[:-1]],
        [points * scale.margin_per_point for points in points_of_bins],
        [max(round(n_rows), 1) for n_rows in rows_of_bins],
    )


def _require_whole_line(name: str, bins: Sequence[_Bin]) -> None:
    require(
        bins[0].low == -inf and bins[-1].high == inf,
        f"the bins of {name} run from {bins[0].low:g} to {bins[-1].high:g}",
        "from -inf to inf",
    )
    for before, after in pairwise(bins):
        kind = "overlap" if before.high > after.low else "leave a gap"
        require(
            before.high == after.low,
            f"the bins of {name} {kind} at {before.high:g} and {after.low:g}",
            "each bin to begin where the one before ends",
        )


def _category_tree(
    place: int,
    name: str,
    rows: pd.DataFrame,
    scale: PointScale,
    notes: list[str],
) -> str:
    is_other = rows["bin"].str.lower().isin((*MISSING, *ANOTHER))
    levels = rows[~is_other]
    others = rows[is_other]
    repeated = levels["bin"][levels["bin"].duplicated()].tolist()
    require(
        not repeated, f"the levels {repeated[:3]} of {name} occur twice", "a bin each"
    )
    if len(others):
        # One leaf holds missing values and unseen levels: the fewer points of the two.
        fewest = _prudent(others["points"].tolist(), scale)
    else:
        fewest = _prudent(levels["points"].tolist(), scale)
        notes.append(f"{name} has no bin for other levels: they get the fewest points")
    points = [*levels["points"], fewest]
    counts = [*levels["rows"], others["rows"].sum()]
    return category_tree(
        place,
        [value * scale.margin_per_point for value in points],
        [max(round(float(count)), 1) for count in counts],
    )


def _prudent(points: Sequence[float], scale: PointScale) -> float:
    """Return the points of the highest risk."""
    return min(points) if scale.pdo > 0 else max(points)
