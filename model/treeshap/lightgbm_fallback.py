"""Contributions by LightGBM itself, for models the engine cannot take."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np

from obligor.arrays import Floats
from obligor.errors import ModelError


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
