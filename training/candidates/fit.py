"""Fitting a model of a ledger: the ladder with the catalogue's monotone directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.errors import SchemaError
from obligor.features import catalogue
from obligor.model.calibration import Calibration
from obligor.model.pd_model import PdModel
from obligor.model.term_structure import fit_term_structure
from obligor.training.candidates.calibrate import fit_band
from obligor.training.candidates.candidates import (
    LIGHTGBM,
    MEMBERS,
    PLAIN,
    CandidateSet,
    TrainingRows,
    cores,
    fit_ladder,
)
from obligor.training.candidates.tune import Tuning, tuned_members
from obligor.training.metrics.statistics import resamples
from obligor.training.samples.config import TrainingConfig
from obligor.training.samples.sample import Sample

BAND_ROUNDS = 100
FEWEST_CUSTOMERS = 10  # of each kind; with fewer, folds by customer lose one kind


@dataclass(frozen=True)
class Fit:
    """A fitted model and what was learnt about it without looking at the test rows."""

    model: PdModel
    ladder: CandidateSet

    @property
    def out_of_fold_margin(self) -> NDArray[np.float64]:
        """Margins of the training rows, each from a fit that had not seen its customer."""
        return self.ladder.rungs[self.ladder.chosen].out_of_fold


def fit_model(
    train: Sample, config: TrainingConfig, tuning: Tuning | None = None
) -> Fit:
    """Fit the ladder on folds grouped by customer, choose a rung, its calibration on later dates, its term structure.

    Parameters
    ----------
    train : Sample
        Training rows; no test row may be among them.
    config : TrainingConfig
        Parameters and the seed.
    tuning : Tuning, optional
        A search for LightGBM's parameters, in place of the configuration's.

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
    table = table_of(train)
    members = (
        tuned_members(table, tuning, config.seed, cores())
        if tuning
        else _members(config)
    )
    ladder = fit_ladder(
        table,
        config.seed,
        cores(),
        members=members,
        ratios=False,
        n_folds=config.model.folds,
        most_trees=config.model.max_trees,
    )
    return Fit(finished(ladder, ladder.chosen, train, config), ladder)


def finished(
    ladder: CandidateSet, name: str, train: Sample, config: TrainingConfig
) -> PdModel:
    """Return a rung as a model, with how sure its PD is and when its defaults come."""
    rung, horizon = ladder.rungs[name], config.default.horizon_days
    weights = resamples(train.customers, BAND_ROUNDS, config.seed)
    return PdModel(
        rung.text,
        rung.calibration,
        catalogue.NAMES,
        horizon,
        {},
        band=fit_band(rung.calibration.kind, rung.out_of_fold, train.label, weights),
        term=fit_term_structure(rung.out_of_fold, train.days_to_default, horizon),
    )


def table_of(sample: Sample) -> TrainingRows:
    """Return a sample's rows as the ladder takes them: the catalogue's columns and directions, grouped by customer."""
    directions = tuple(feature.direction for feature in catalogue.CATALOGUE)
    days = (
        pd.to_datetime(sample.rows["as_of"])
        .to_numpy()
        .astype("datetime64[D]")
        .astype(np.int64)
    )
    return TrainingRows(
        sample.features.to_numpy(),
        sample.label,
        sample.customers,
        catalogue.NAMES,
        (),
        directions,
        days,
    )


def _members(config: TrainingConfig) -> dict[str, Mapping[str, Any]]:
    """The ladder's trees; LightGBM's own parameters are the configuration's."""
    choices = config.model
    own = {
        "learning_rate": choices.learning_rate,
        "num_leaves": choices.num_leaves,
        "lambda_l2": choices.l2,
        "min_data_in_leaf": choices.min_rows_in_leaf,
        "feature_fraction": choices.feature_fraction,
        "bagging_fraction": choices.bagging_fraction,
    }
    return {**MEMBERS, LIGHTGBM: own}


def plain_lightgbm(train: Sample) -> PdModel:
    """LightGBM as it comes, on the same rows: the peer every report shows beside ours."""
    booster = lgb.train(PLAIN, lgb.Dataset(train.features, train.label))
    return PdModel(
        booster.model_to_string(), Calibration("identity"), catalogue.NAMES, 0, {}
    )
