"""A logistic regression as it scores and explains: a sum of functions of one column.

The margin is ``intercept + sum of f_j(x_j)``, where ``f_j`` is a slope for a number and
a value for each level of a category. The SHAP values of such a sum are exact:
``f_j(x_j)`` less its mean (Lundberg and Lee 2017, section 4.2).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from obligor.arrays import Floats
from obligor.errors import ModelError

if TYPE_CHECKING:
    import shap

FORMAT = "obligor linear 1"


class LinearFields(TypedDict):
    """A linear model as it stands in ``model.txt``."""

    format: str
    intercept: float
    terms: list[TermFields]


class TermFields(TypedDict):
    """One term as it stands there."""

    slope: float
    levels: list[float]
    missing: float
    mean: float


@dataclass(frozen=True)
class Term:
    """What one column adds to the margin.

    Attributes
    ----------
    slope : float
        Of a number; 0 for a category.
    levels : tuple of float
        What each level of a category adds; empty for a number.
    missing : float
        What a missing value adds, and a level that is not known.
    mean : float
        The mean of what the column adds, to which its contribution is relative.
    """

    slope: float
    levels: tuple[float, ...]
    missing: float
    mean: float

    def values(self, column: Floats) -> Floats:
        """Return what each value of the column adds, shape (n,).

        Examples
        --------
        >>> Term(2.0, (), -1.0, 0.0).values(np.array([3.0, np.nan])).tolist()
        [6.0, -1.0]
        >>> Term(0.0, (0.5, 0.7), 0.1, 0.0).values(np.array([1.0, 9.0])).tolist()
        [0.7, 0.1]
        """
        is_missing = np.isnan(column)
        if not self.levels:
            return np.where(is_missing, self.missing, column * self.slope)
        is_known = ~is_missing & (column < len(self.levels))
        codes = np.where(is_known, column, 0).astype(np.int64)
        return np.where(is_known, np.array(self.levels)[codes], self.missing)


@dataclass(frozen=True)
class LinearModel:
    """A linear model with the interface of `model.treeshap.explainer.TreeShap`.

    Attributes
    ----------
    intercept : float
        The margin of a row whose columns add nothing.
    terms : tuple of Term
        One for each column, in their order.
    """

    intercept: float
    terms: tuple[Term, ...]

    @property
    def n_features(self) -> int:
        """Columns of an input row."""
        return len(self.terms)

    @property
    def expected_value(self) -> float:
        """What contributions are added to."""
        return self.intercept + sum(term.mean for term in self.terms)

    def explain(self, rows: Floats) -> tuple[Floats, Floats]:
        """Return contributions, shape (n, features), and margins, shape (n,).

        Raises
        ------
        ModelError
            If the rows do not have `n_features` columns.
        """
        added = self._added(rows)
        means = np.array([term.mean for term in self.terms])
        return added - means, self._sum(added)

    def margin(self, rows: Floats) -> Floats:
        """Return the margin of each row, shape (n,)."""
        return self._sum(self._added(rows))

    def _added(self, rows: Floats) -> Floats:
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise ModelError(
                f"the rows have shape {rows.shape}",
                where="linear model",
                expected=f"(n, {self.n_features})",
            )
        columns = [
            term.values(column) for term, column in zip(self.terms, rows.T, strict=True)
        ]
        return np.column_stack(columns)

    def _sum(self, added: Floats) -> Floats:
        # Column by column, so that a row's sum does not depend on the rows beside it.
        margin = np.full(len(added), self.intercept)
        for column in added.T:
            margin += column
        return margin

    def __call__(
        self, rows: Floats, feature_names: Sequence[str] | None = None
    ) -> shap.Explanation:
        """Return a `shap.Explanation`, which every plot of shap takes."""
        import shap  # here: a serving process never needs it

        contributions, _ = self.explain(rows)
        return shap.Explanation(
            contributions,
            np.full(len(rows), self.expected_value),
            np.asarray(rows),
            feature_names=feature_names,
        )

    def text(self) -> str:
        """Return the model as the text of a bundle's ``model.txt``."""
        fields = {
            "format": FORMAT,
            "intercept": self.intercept,
            "terms": [asdict(term) for term in self.terms],
        }
        return json.dumps(fields, indent=1)

    @classmethod
    def of_text(cls, text: str) -> LinearModel:
        """Return the model that `text` wrote.

        Raises
        ------
        ModelError
            If it is written in another form.
        """
        fields: LinearFields = json.loads(text)
        if fields.get("format") != FORMAT:
            raise ModelError(
                f"the model has the form {fields.get('format')!r}",
                where="model.txt",
                expected=FORMAT,
            )
        terms = [
            Term(
                slope=term["slope"],
                levels=tuple(term["levels"]),
                missing=term["missing"],
                mean=term["mean"],
            )
            for term in fields["terms"]
        ]
        return cls(fields["intercept"], tuple(terms))


def is_linear(text: str) -> bool:
    """Return whether a model's text is of a linear model, not of trees."""
    return text.startswith("{")
