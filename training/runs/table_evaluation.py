"""Out-of-fold figures of every candidate on a table of applications."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TypedDict

import numpy as np

from obligor.arrays import Floats, Ints
from obligor.features.applications import Applications
from obligor.metrics.figures import figures
from obligor.training.candidates.fit_settings import cores
from obligor.training.candidates.training_rows import stated_folds, stratified_folds
from obligor.training.runs.table_model import FitOptions, fit_table

FIGURES = (
    "auc",
    "gini",
    "ks",
    "brier",
    "brier_constant",
    "log_loss",
    "ece",
    "calibration_slope",
)
PROMOTED = "promoted"  # whichever candidate is chosen in each fold


@dataclass(frozen=True)
class FoldResult:
    """PDs of every candidate on the held-back rows of a fold, and the chosen one."""

    pds: Mapping[str, Floats]
    chosen: str


# Watches folds finish, and is told how many there are.
Progress = Callable[[Iterable[FoldResult], int], Iterable[FoldResult]]


class TableFigures(TypedDict):
    """What `obligor evaluate --table --json` prints."""

    name: str
    rows: int
    default_rate: float
    folds: int
    repeats: int
    seed: int
    models: dict[str, dict[str, float]]
    promoted: dict[str, float]
    chosen: dict[str, int]
    seconds: float


@dataclass(frozen=True)
class _Fold:
    repeat: int
    fit: Ints
    held: Ints


def _watch_nothing(folds: Iterable[FoldResult], _: int) -> Iterable[FoldResult]:
    return folds


def evaluate_table(
    data: Applications,
    folds: int = 5,
    repeats: int = 1,
    seed: int = 0,
    progress: Progress = _watch_nothing,
) -> TableFigures:
    """Return the out-of-fold figures of every candidate, and of what would serve.

    Everything is learned anew in each fold: the encoding, the number of trees, the
    blend, the calibration and the choice among the candidates. The rows that are
    measured had no part in any of it.

    Parameters
    ----------
    data : Applications
        All rows.
    folds : int
        Of each repeat, at least 2; unless the spec names a column of folds.
    repeats : int
        With other folds each; figures are means over the repeats. Stated folds are
        evaluated once.
    seed : int
        Of the first repeat; the next ones count up from it.
    progress : callable
        Wraps the results so that a person can watch.

    Returns
    -------
    TableFigures
        ``models``: per candidate and for ``promoted`` each of `FIGURES`; ``chosen``:
        in how many folds each candidate was chosen; ``seconds`` of all.
    """
    started = time.perf_counter()
    plan = _plan_folds(data, folds, repeats, seed)
    n_repeats = plan[-1].repeat + 1
    results = _run_folds(data, plan, seed, progress)
    models = {}
    for name in fitted_in_all(results):
        models[name] = _mean_figures(
            data,
            plan,
            results,
            name,
        )
    return {
        "name": data.spec.name,
        "rows": len(data),
        "default_rate": float(np.average(data.label, weights=data.measured_weight)),
        "folds": len(plan) // n_repeats,
        "repeats": n_repeats,
        "seed": seed,
        "models": models,
        "promoted": models[PROMOTED],
        "chosen": dict(Counter(result.chosen for result in results)),
        "seconds": round(time.perf_counter() - started, 1),
    }


def fitted_in_all(results: Sequence[FoldResult]) -> list[str]:
    """Return the candidates of every fold: some may give one up, and others not."""
    first, *others = results
    return [name for name in first.pds if all(name in result.pds for result in others)]


def _plan_folds(
    data: Applications,
    folds: int,
    repeats: int,
    seed: int,
) -> list[_Fold]:
    plan = list[_Fold]()
    if data.folds is not None:
        for fit, held in stated_folds(data.folds, data.groups):
            plan.append(_Fold(0, fit, held))
        return plan
    for repeat in range(repeats):
        for fit, held in stratified_folds(
            data.label, data.groups, folds, seed + repeat
        ):
            plan.append(_Fold(repeat, fit, held))
    return plan


def _run_folds(
    data: Applications,
    plan: Sequence[_Fold],
    seed: int,
    progress: Progress,
) -> list[FoldResult]:
    """Each fold in a process of its own."""
    jobs = [
        (data.take(fold.fit), data.take(fold.held), seed + fold.repeat) for fold in plan
    ]
    n_workers = min(len(jobs), cores())
    # A forked process would inherit the locks of OpenMP's threads and could hang.
    with ProcessPoolExecutor(n_workers, mp_context=get_context("spawn")) as pool:
        return list(progress(pool.map(_run_fold, jobs), len(jobs)))


def _run_fold(job: tuple[Applications, Applications, int]) -> FoldResult:
    fit, held, seed = job
    fitted = fit_table(fit, seed, FitOptions(threads=1))
    pds = {}
    for name in fitted.candidates.by_name:
        rows = fitted.encoding_of(name).rows(held.frame)
        pds[name] = fitted.model(name).predict_pd(rows)
    chosen = fitted.candidates.chosen_name
    pds[PROMOTED] = pds[chosen]
    return FoldResult(pds, chosen)


def _mean_figures(
    data: Applications,
    plan: Sequence[_Fold],
    results: Sequence[FoldResult],
    name: str,
) -> dict[str, float]:
    """Figures of one candidate over all rows, averaged over the repeats."""
    n_repeats = plan[-1].repeat + 1
    out_of_fold = np.empty((n_repeats, len(data)))
    for fold, result in zip(plan, results, strict=True):
        out_of_fold[fold.repeat, fold.held] = result.pds[name]
    weight = data.measured_weight
    of_each = [figures(pd_, data.label, weight) for pd_ in out_of_fold]
    return {
        figure: float(np.mean([measured[figure] for measured in of_each]))
        for figure in FIGURES
    }
