"""What is written beside a run on a table: parameters, data, candidates, files."""

from __future__ import annotations

import json
from collections.abc import Mapping

from obligor.features.applications import Applications
from obligor.metrics.statistics import Interval
from obligor.training.candidates.fit_settings import SCORECARD
from obligor.training.lifecycle.run_facts import (
    CandidateFacts,
    RunFacts,
    logged_data,
)
from obligor.training.runs.run_metrics import with_ends
from obligor.training.runs.table_model import TableModel
from obligor.training.runs.table_split import TEST_SHARE

Measured = Mapping[str, Mapping[str, Interval]]


def table_parameters(fitted: TableModel, seed: int) -> dict[str, object]:
    """Return the choices of a run on a table, by name.

    Parameters
    ----------
    fitted : TableModel
        The fitted candidates.
    seed : int
        Of the split, the folds and the fits.
    """
    spec = fitted.spec
    columns = [column.name for column in fitted.encoding.columns]
    return {
        "seed": seed,
        "spec": spec.name,
        "target": spec.target.column,
        "bad": ", ".join(map(str, spec.target.bad)),
        "horizon_days": spec.target.horizon_days,
        "split": describe_split(fitted),
        "chosen": fitted.candidates.chosen_name,
        "calibration": fitted.candidates.chosen.calibration.kind,
        "n_columns": len(columns),
        "columns": ", ".join(columns),
        "forbidden": ", ".join(spec.table.forbidden) or "none",
    }


def describe_split(fitted: TableModel) -> str:
    """Return which rows of the table are tested on, in words."""
    roles = fitted.spec.table
    if roles.test_from is not None:
        return f"applied on {roles.test_from} or later"
    if roles.split is not None:
        return f"as column {roles.split} says"
    if roles.origins is not None:
        return f"rolling origins {roles.origins}"
    share = f"{TEST_SHARE:.0%}"
    if roles.date is not None:
        return f"the latest {share} by {roles.date}"
    return f"{share}, drawn"


def table_facts(
    fitted: TableModel,
    fit: Applications,
    test: Applications,
    measured: Measured,
    fingerprint: str,
) -> RunFacts:
    """Return what tells a run on a table from others.

    Parameters
    ----------
    fitted : TableModel
        The fitted candidates.
    fit, test : Applications
        The rows learnt from and tested on.
    measured : mapping
        Figures of each candidate on the test rows.
    fingerprint : str
        SHA-256 of the file that the rows came from, or "".
    """
    spec = fitted.spec
    spec_text = json.dumps(spec.model_dump(mode="json"), indent=1)
    return RunFacts(
        data=spec.name,
        kind="table",
        chosen=fitted.candidates.chosen_name,
        datasets=(
            logged_data(spec.name, "training", fit.frame, fit.label, fingerprint),
            logged_data(spec.name, "test", test.frame, test.label, fingerprint),
        ),
        candidates=tuple(
            _candidate(fitted, name, figures) for name, figures in measured.items()
        ),
        texts={
            "spec.json": spec_text,
            "scorecard.csv": fitted.points().to_csv(index=False),
            "figures.json": _figures_text(measured),
        },
        tags={"target": spec.target.column, "model": fitted.candidates.chosen_name},
    )


def _candidate(
    fitted: TableModel,
    name: str,
    figures: Mapping[str, Interval],
) -> CandidateFacts:
    candidate = fitted.candidates.by_name[name]
    parameters: dict[str, object] = {
        "calibration": candidate.calibration.kind,
        "weight_in_blend": fitted.candidates.weights.get(name, 0.0),
        "is_chosen": name == fitted.candidates.chosen_name,
    }
    if name == SCORECARD:
        parameters["columns_used"] = int(
            (fitted.candidates.scorecard.coefficients > 0).sum()
        )
    for kind, loss in candidate.losses.items():
        parameters[f"log_loss_{kind}"] = round(loss, 6)
    return CandidateFacts(name, parameters, with_ends(figures))


def _figures_text(measured: Measured) -> str:
    by_candidate = {
        name: {figure: vars(interval) for figure, interval in figures.items()}
        for name, figures in measured.items()
    }
    return json.dumps(by_candidate, indent=1)
