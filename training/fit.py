"""Fitting: LightGBM with the catalogue's monotone directions, trees and calibration chosen on folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from data.errors import SchemaError
from features import catalogue
from training.calibration import Calibration, choose_calibration
from training.config import TrainingConfig
from training.pd_model import PdModel
from training.sample import Sample

PATIENCE = 50
FEWEST_CUSTOMERS = 10  # of each kind; with fewer, folds by customer lose one kind


@dataclass(frozen=True)
class Fit:
    """A fitted model and what was learnt about it without looking at the test rows."""

    model: PdModel
    n_trees: int
    out_of_fold_margin: NDArray[np.float64]
    calibration_log_loss: dict[str, float]


def fit_model(train: Sample, config: TrainingConfig) -> Fit:
    """Fit on folds grouped by customer, choose trees and calibration there, then fit on all rows.

    Parameters
    ----------
    train : Sample
        Training rows; no test row may be among them.
    config : TrainingConfig
        Parameters and the seed.

    Raises
    ------
    SchemaError
        Where there are too few defaults to learn from.
    """
    for label, name in ((1, "with"), (0, "without")):
        n_customers = len(set(train.customers[train.label == label]))
        if n_customers < FEWEST_CUSTOMERS:
            raise SchemaError(
                f"only {n_customers} customers {name} a default in {len(train.rows)} training rows",
                where="training sample",
                expected=f"at least {FEWEST_CUSTOMERS}",
                do="use a longer ledger, or another definition, e.g. default.dpd_days = 30",
            )
    rows = lgb.Dataset(train.features, train.label, free_raw_data=False, params={"verbose": -1})
    folds = list(GroupKFold(config.model.folds, shuffle=True, random_state=config.seed).split(
        train.features, train.label, train.customers
    ))  # fmt: skip
    tuned: dict[str, Any] = lgb.cv(
        _parameters(config),
        rows,
        num_boost_round=config.model.max_trees,
        folds=folds,
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
        return_cvbooster=True,
    )
    n_trees = max(len(tuned["valid binary_logloss-mean"]), 1)
    margin = np.empty(len(train.rows))
    for booster, (_, held) in zip(tuned["cvbooster"].boosters, folds, strict=True):
        margin[held] = booster.predict(train.features.iloc[held], raw_score=True, num_iteration=n_trees)
    calibration, losses = choose_calibration(margin, train.label, train.customers)
    booster = lgb.train(_parameters(config), rows, num_boost_round=n_trees)
    model = PdModel(booster.model_to_string(), calibration, catalogue.NAMES, config.default.horizon_days, {})
    return Fit(model, n_trees, margin, losses)


def plain_lightgbm(train: Sample) -> PdModel:
    """LightGBM as it comes, on the same rows: the peer every report shows beside ours."""
    booster = lgb.train(
        {"objective": "binary", "verbose": -1, "seed": 0, "deterministic": True, "force_row_wise": True},
        lgb.Dataset(train.features, train.label),
    )
    return PdModel(booster.model_to_string(), Calibration("identity"), catalogue.NAMES, 0, {})


def _parameters(config: TrainingConfig) -> dict[str, Any]:
    choices = config.model
    return {
        "objective": "binary",
        "metric": "binary_logloss",
        "learning_rate": choices.learning_rate,
        "num_leaves": choices.num_leaves,
        "min_data_in_leaf": choices.min_rows_in_leaf,
        "feature_fraction": choices.feature_fraction,
        "bagging_fraction": choices.bagging_fraction,
        "bagging_freq": 1,
        "lambda_l2": choices.l2,
        "monotone_constraints": [feature.direction for feature in catalogue.CATALOGUE],
        "monotone_constraints_method": "intermediate",
        "seed": config.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }


def feature_gain(model: PdModel) -> pd.Series[float]:
    """Return the share of the total gain of each feature, largest first."""
    gain = pd.Series(model.booster.feature_importance("gain"), index=list(model.features), dtype=float)
    return (gain / max(gain.sum(), 1.0)).sort_values(ascending=False)
