"""Fitting a model of a ledger: the candidates with the catalogue's directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import lightgbm as lgb
import numpy as np
import pandas as pd

from obligor.arrays import Floats
from obligor.errors import SchemaError
from obligor.features.catalogue import Feature, edition_of
from obligor.features.encoding import Column, Encoding
from obligor.metrics.statistics import Resampling
from obligor.model.calibration import Calibration
from obligor.model.pd_model import PdModel
from obligor.model.term_structure import STATE
from obligor.training.candidates.calibrate import fit_band
from obligor.training.candidates.candidates import CandidateSet, fit_candidates
from obligor.training.candidates.fit_settings import (
    LIGHTGBM,
    MEMBERS,
    PLAIN,
    FitSettings,
    TreeChoices,
    cores,
)
from obligor.training.candidates.kept_fits import KeptFits
from obligor.training.candidates.term_structure import fit_term_structure
from obligor.training.candidates.training_rows import Columns, TrainingRows
from obligor.training.candidates.tune import Tuning, tune_members
from obligor.training.candidates.watch import SEARCH, Watch, cost_of
from obligor.training.samples.config import TrainingConfig
from obligor.training.samples.sample import Sample

BAND_ROUNDS = 100
FEWEST_CUSTOMERS = 10  # with and without a default; else a fold may lack one kind


@dataclass(frozen=True)
class Fit:
    """A fitted model and what was learned without looking at the test rows.

    Attributes
    ----------
    model : PdModel
        The chosen candidate.
    candidates : CandidateSet
        All candidates.
    """

    model: PdModel
    candidates: CandidateSet

    @property
    def out_of_fold_margin(self) -> Floats:
        """Margin of each training row, from a fit that had not seen its customer."""
        return self.candidates.chosen.out_of_fold


@dataclass(frozen=True)
class FitSteps:
    """What surrounds a fit: a search, what is kept of it, and who watches.

    Attributes
    ----------
    tuning : Tuning, optional
        A search for LightGBM's parameters, in place of those in the configuration.
    kept : KeptFits
        Where fits are kept in case the run is stopped; nowhere by default.
    watch : Watch
        Is told of each step.
    """

    tuning: Tuning | None = None
    kept: KeptFits = field(default_factory=KeptFits)
    watch: Watch = field(default_factory=Watch)


def fit_model(
    train: Sample,
    config: TrainingConfig,
    steps: FitSteps | None = None,
) -> Fit:
    """Fit the candidates on folds grouped by customer and finish the chosen one.

    Parameters
    ----------
    train : Sample
        Training rows; no test row may be among them.
    config : TrainingConfig
        Parameters and the seed.
    steps : FitSteps, optional
        A search for parameters, and what is kept in case the run is stopped.

    Returns
    -------
    Fit
        The model has its calibration, the interval of its PD and a term structure,
        but neither facts nor a baseline yet.

    Raises
    ------
    SchemaError
        If there are too few customers with, or without, a default.
    """
    steps = steps or FitSteps()
    _require_customers_of_both_kinds(train)
    rows = training_rows(train)
    settings = FitSettings(
        seed=config.seed,
        threads=cores(),
        n_folds=config.model.folds,
        most_trees=config.model.max_trees,
        members=_configured_members(config),
        has_deep=False,  # on the simulator they ranked no better out of time
        has_ratios=False,  # most features of the catalogue are ratios already
        kept=steps.kept,
        watch=steps.watch,
        prefer=config.model.prefer,
    )
    steps.watch.expect(settings.cost() + cost_of("validation"))
    if steps.tuning:
        steps.watch.expect(cost_of(SEARCH))
        with steps.watch.step(SEARCH):
            tuned = tune_members(rows, steps.tuning, settings)
        settings = replace(settings, members=tuned)
    candidates = fit_candidates(rows, settings)
    model = finish_candidate(candidates, candidates.chosen_name, train, config)
    return Fit(model, candidates)


def _require_customers_of_both_kinds(train: Sample) -> None:
    for outcome, kind in ((1, "with"), (0, "without")):
        n_customers = len(set(train.customers[train.label == outcome]))
        if n_customers < FEWEST_CUSTOMERS:
            raise SchemaError(
                f"the {len(train.rows)} training rows contain only {n_customers} "
                f"customers {kind} a default",
                where="training sample",
                expected=f"at least {FEWEST_CUSTOMERS}",
                do="use a longer ledger, or another definition of default, "
                "e.g. default.dpd_days = 30",
            )


def finish_candidate(
    candidates: CandidateSet,
    name: str,
    train: Sample,
    config: TrainingConfig,
) -> PdModel:
    """Return a candidate as a model, with the interval of its PD and a term structure.

    Parameters
    ----------
    candidates : CandidateSet
        What `fit_candidates` returned.
    name : str
        Which candidate.
    train : Sample
        The rows it was fitted on.
    config : TrainingConfig
        Horizon and seed.
    """
    candidate = candidates.by_name[name]
    margin = candidate.out_of_fold
    horizon_days = config.default.horizon_days
    resampling = Resampling(
        train.customers,
        BAND_ROUNDS,
        config.seed,
        train.weight,
    )
    return PdModel(
        text=candidate.text,
        calibration=candidate.calibration,
        features=tuple(train.features.columns),
        horizon_days=horizon_days,
        about={},
        encoding=_encoding_of(train),
        band=fit_band(candidate.calibration.kind, margin, train.label, resampling),
        term=fit_term_structure(
            margin,
            train.days_to_default,
            horizon_days,
            train.features[STATE].to_numpy(),
        ),
    )


def training_rows(sample: Sample) -> TrainingRows:
    """Return a sample as training rows with the catalogue's columns and directions."""
    names = tuple(sample.features.columns)
    directions = tuple(feature.direction for feature in _entries_of(sample))
    as_of = pd.to_datetime(sample.rows["as_of"]).to_numpy()
    return TrainingRows(
        rows=sample.features.to_numpy(),
        label=sample.label,
        groups=sample.customers,
        columns=Columns(names, (), directions),
        times=as_of.astype("datetime64[D]").astype(np.int64),
        weight=sample.weight,
    )


def _entries_of(sample: Sample) -> tuple[Feature, ...]:
    """Return the entry of each column of a sample."""
    names = tuple(sample.features.columns)
    if sample.own is None:
        return edition_of(names).features
    n_own = len(sample.own.entries)
    return (*edition_of(names[:-n_own]).features, *sample.own.entries)


def _encoding_of(sample: Sample) -> Encoding | None:
    """Return the columns as a table's, if the catalogue does not have all of them.

    A bundle with features of one's own then holds all that is needed to score values
    by name; nothing in it is code.
    """
    if sample.own is None:
        return None
    return Encoding(
        tuple(
            Column(entry.name, "number", direction=entry.direction)
            for entry in _entries_of(sample)
        )
    )


def _configured_members(config: TrainingConfig) -> Mapping[str, TreeChoices]:
    """Return the tree models, with the configured parameters for LightGBM."""
    choices = config.model
    configured: TreeChoices = {
        "learning_rate": choices.learning_rate,
        "num_leaves": choices.num_leaves,
        "lambda_l2": choices.l2,
        "min_data_in_leaf": choices.min_rows_in_leaf,
        "feature_fraction": choices.feature_fraction,
        "bagging_fraction": choices.bagging_fraction,
    }
    return {**MEMBERS, LIGHTGBM: configured}


def fit_plain_lightgbm(train: Sample) -> PdModel:
    """Fit LightGBM with default parameters: the peer every report shows beside ours."""
    dataset = lgb.Dataset(train.features, train.label, weight=train.weight)
    booster = lgb.train(PLAIN, dataset)
    return PdModel(
        text=booster.model_to_string(),
        calibration=Calibration("identity"),
        features=tuple(train.features.columns),
        horizon_days=0,
        about={},
    )
