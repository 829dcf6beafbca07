"""Models of a flat table of applications: the fit, and the fitted models."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from obligor.arrays import Ints
from obligor.errors import SchemaError
from obligor.features.applications import Applications
from obligor.features.encoding import Encoding, fit_encoding
from obligor.features.population import Population
from obligor.features.row_roles import FEWEST_FOLDS
from obligor.features.table_spec import Spec
from obligor.model.pd_model import PdModel
from obligor.training.candidates.candidates import CandidateSet, fit_candidates
from obligor.training.candidates.fit_settings import FitSettings, cores
from obligor.training.candidates.kept_fits import KeptFits
from obligor.training.candidates.level_evidence import (
    levels_of,
    with_evidence,
    with_evidence_columns,
)
from obligor.training.candidates.reject_inference import Method, with_rejects
from obligor.training.candidates.training_rows import Columns, TrainingRows
from obligor.training.candidates.tune import Tuning, tune_members
from obligor.training.candidates.watch import SEARCH, Watch, cost_of


@dataclass(frozen=True)
class TableModel:
    """The fitted candidates with the encoding of their rows.

    Attributes
    ----------
    encoding : Encoding
        How a row of the table becomes numbers.
    candidates : CandidateSet
        Every candidate, and the chosen one.
    spec : Spec
        What the table's columns are.
    findings : tuple of str
        Columns that were left out, and why.
    population : Population, optional
        To which the PDs are moved.
    """

    encoding: Encoding
    candidates: CandidateSet
    spec: Spec
    findings: tuple[str, ...]
    population: Population | None = None

    def model(self, name: str | None = None) -> PdModel:
        """Return a candidate as a model; the chosen one by default."""
        name = name or self.candidates.chosen_name
        candidate = self.candidates.by_name[name]
        encoding = self.encoding_of(name)
        return PdModel(
            text=candidate.text,
            calibration=candidate.calibration,
            features=encoding.names,
            horizon_days=self.spec.target.horizon_days,
            about={},
            encoding=encoding,
        )

    def points(self) -> pd.DataFrame:
        """Return the printed scorecard, a row per bin; see `Scorecard.points`."""
        scorecard = self.candidates.scorecard
        if self.population is not None:
            intercept = scorecard.intercept + self.population.shift
            scorecard = replace(scorecard, intercept=intercept)
        return scorecard.points(self.encoding.level_texts())

    def encoding_of(self, name: str) -> Encoding:
        """Return how rows become numbers for a candidate.

        The blend and some of its members read columns computed from others too.
        """
        if name in self.candidates.derived_names:
            return replace(self.encoding, pairs=self.candidates.derived)
        return self.encoding


@dataclass(frozen=True)
class FitOptions:
    """How candidates are fitted, beside the seed.

    Attributes
    ----------
    threads : int, optional
        For LightGBM; all processors by default. The model does not depend on it.
    tuning : Tuning, optional
        A search for LightGBM's parameters.
    inference : {"augmentation", "fuzzy"}, optional
        How refused applicants are used; see `training.candidates.reject_inference`.
        By default they are not.
    kept : KeptFits
        Where fits are kept in case the run is stopped; nowhere by default.
    watch : Watch
        Is told of each step.
    """

    threads: int | None = None
    tuning: Tuning | None = None
    inference: Method | None = None
    kept: KeptFits = field(default_factory=KeptFits)
    watch: Watch = field(default_factory=Watch)


def fit_table(
    data: Applications,
    seed: int,
    options: FitOptions | None = None,
) -> TableModel:
    """Learn the encoding and fit every candidate on all rows.

    Parameters
    ----------
    data : Applications
        The rows to learn from.
    seed : int
        Of the folds and of LightGBM.
    options : FitOptions, optional
        Threads, search, refused applicants, and who watches.

    Returns
    -------
    TableModel
        The fitted candidates.

    Raises
    ------
    SchemaError
        If no column is left, if one kind of row is too rare, or if refused applicants
        are to be used and there are none.
    """
    options = options or FitOptions()
    tuning = options.tuning
    inference = options.inference
    settings = FitSettings(
        seed,
        options.threads or cores(),
        prefer=data.spec.prefer,
        kept=options.kept,
        watch=options.watch,
    )
    options.watch.expect(settings.cost())
    encoding, findings = fit_encoding(data.frame, data.spec)
    encoding = with_evidence_columns(encoding, data.frame)
    rows = training_rows(data, encoding)
    if tuning:
        options.watch.expect(cost_of(SEARCH))
        with options.watch.step(SEARCH):
            tuned = tune_members(rows, tuning, settings)
        settings = replace(settings, members=tuned)
    if inference:
        _require_refused(data)
        refused = encoding.rows(data.refused)
        rows = with_rejects(
            rows,
            refused,
            inference,
            odds_of(data.spec),
            data.refused_weight,
        )
        rows = _with_levels_of_refused(rows, data, encoding)
    candidates = _in_population(fit_candidates(rows, settings), data.population)
    return TableModel(
        with_evidence(encoding, candidates.evidence),
        candidates,
        data.spec,
        tuple(findings),
        data.population,
    )


def _in_population(
    candidates: CandidateSet, population: Population | None
) -> CandidateSet:
    """Return the candidates with PDs at the odds of the population."""
    if population is None:
        return candidates
    moved = {}
    for name, candidate in candidates.by_name.items():
        calibration = candidate.calibration.moved(population.shift)
        moved[name] = replace(candidate, calibration=calibration)
    return replace(candidates, by_name=moved)


def training_rows(data: Applications, encoding: Encoding) -> TrainingRows:
    """Return applications as the candidates learn from them."""
    return TrainingRows(
        rows=encoding.rows(data.frame),
        label=data.label,
        groups=data.groups,
        columns=Columns(encoding.names, encoding.categorical, encoding.directions),
        times=None if data.dates is None else data.dates.astype(np.int64),
        weight=data.weight,
        folds=_stated_folds(data),
        levels=levels_of(encoding, data.frame),
    )


def _stated_folds(data: Applications) -> Ints | None:
    """Return the folds of a column if two of them or more are learned from."""
    if data.folds is None or len(np.unique(data.folds)) < FEWEST_FOLDS:
        return None
    return data.folds


def _with_levels_of_refused(
    rows: TrainingRows, data: Applications, encoding: Encoding
) -> TrainingRows:
    """Return the rows with the levels of the refused applicants added to them."""
    n_copies = (len(rows.label) - rows.n_observed) // len(data.refused)
    frames = [data.frame, *[data.refused] * n_copies]
    return replace(rows, levels=levels_of(encoding, pd.concat(frames)))


def odds_of(spec: Spec) -> float:
    """Return the odds of default of a refused applicant over an accepted one's."""
    return spec.rejects.odds if spec.rejects else 1.0


def _require_refused(data: Applications) -> None:
    if data.refused.empty:
        raise SchemaError(
            "no row is an applicant who was refused",
            where=data.spec.name,
            expected="rows without an outcome that [rejects] of the spec names by "
            "column and values",
            do="name them there, or train without --rejects",
        )
