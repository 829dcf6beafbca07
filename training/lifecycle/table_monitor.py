"""What became of a table's model: drift of columns and scores, PDs against outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from obligor.arrays import Floats
from obligor.errors import SchemaError
from obligor.features.applications import Applications
from obligor.features.levels import texts
from obligor.metrics.significance import area
from obligor.training.lifecycle.backtest import BackTest, back_test
from obligor.training.lifecycle.monitor import (
    Alert,
    ComparedColumn,
    Monitoring,
    alerts_of_drift,
    alerts_of_level,
    compared,
    moved_columns,
    with_binomial_range,
)
from obligor.training.lifecycle.raw_rows import (
    KnownModel,
    missing_columns,
    model_matrix,
)
from obligor.training.lifecycle.table_rows import months_of, read_again, spec_of
from obligor.training.validation.subject import feature_matrix

EXPLAINED = 2000  # rows whose contributions are averaged, on each side
FALLEN = 0.05  # fall of the AUC since the test that raises an alert
SEED = 0


@dataclass(frozen=True)
class Outcomes:
    """What happened to the rows of a table that a model had not learnt from.

    Attributes
    ----------
    data : Applications
        The rows with outcomes.
    test : BackTest
        Figures and counts.
    """

    data: Applications
    test: BackTest


def monitor_table(
    known: KnownModel,
    reference: pd.DataFrame,
    frame: pd.DataFrame,
) -> Monitoring:
    """Compare the rows of a table with those that a model was tested on.

    Parameters
    ----------
    known : KnownModel
        The version that scores the table.
    reference : DataFrame
        Its test rows as they were stored.
    frame : DataFrame
        The table; outcomes are looked at if it has any.

    Returns
    -------
    Monitoring
        Drift of the PD and of each column; figures, months and alerts of the outcomes.

    Raises
    ------
    SchemaError
        If the model is one of a ledger, or the table has none of its columns.
    """
    model = known.model
    if model.encoding is None:
        raise SchemaError(
            "the model scores customers of a ledger, not applications",
            where="--table",
            expected="a mapping file",
        )
    if frame.empty:
        raise SchemaError(
            "there are no rows to look at",
            where=known.name,
            expected="--table FILE, or recorded scores",
        )
    absent = missing_columns(model, frame)
    if len(absent) == len(model.encoding.columns):
        raise SchemaError(
            f"the table has none of the columns of the {known.name}",
            where="--table",
            expected=f"columns such as {absent[:5]}",
        )
    now = model_matrix(model, frame)
    then = feature_matrix(reference)
    drift = table_drift(known, then, now)
    notes = [f"{len(absent)} columns are missing: {absent[:5]}."] if absent else []
    watched = Monitoring(
        decisions=len(frame),
        drift=drift,
        backtest=pd.DataFrame(),
        alerts=tuple(alerts_of_drift(drift)),
        challenger={},
        unit="rows",
        notes=tuple(notes),
    )
    return _with_outcomes(watched, known, reference, frame)


def table_drift(known: KnownModel, then: Floats, now: Floats) -> pd.DataFrame:
    """Return how far the PD and each column have moved, and what that did to the PD.

    Parameters
    ----------
    known : KnownModel
        A model of a table.
    then, now : ndarray of float, shape (n, columns)
        Its test rows, and new rows, as it takes them.

    Returns
    -------
    DataFrame
        ``psi, noise, beyond`` and ``csi``: by how much the mean contribution of the
        column to the log-odds has changed. For a scorecard this is the characteristic
        stability index, the change in shares times the points, in log-odds.
    """
    model = known.model
    assert model.encoding is not None
    columns = [ComparedColumn("the PD", model.predict_pd(then), model.predict_pd(now))]
    for index, name in enumerate(model.features):
        is_category = index in model.encoding.categorical
        columns.append(ComparedColumn(name, then[:, index], now[:, index], is_category))
    moved = moved_columns(columns)
    shift = _mean_contributions(known, now) - _mean_contributions(known, then)
    csi = dict(zip(model.features, shift.tolist(), strict=True))
    csi["the PD"] = float(shift.sum())
    return moved.assign(csi=[csi[str(name)] for name in moved.index])


def _mean_contributions(known: KnownModel, rows: Floats) -> Floats:
    drawn = np.random.default_rng(SEED).permutation(len(rows))[:EXPLAINED]
    contributions, _ = known.model.explain(rows[drawn])
    mean: Floats = contributions.mean(axis=0)
    return mean


def _with_outcomes(
    watched: Monitoring,
    known: KnownModel,
    reference: pd.DataFrame,
    frame: pd.DataFrame,
) -> Monitoring:
    """Add what happened to the rows, or why nobody knows."""
    try:
        outcomes = outcomes_of(known, frame)
    except SchemaError as error:
        return watched.with_note(f"There are no outcomes to compare with: {error}.")
    test = outcomes.test
    months = _by_month(outcomes)
    alerts = [*watched.alerts, *alerts_of_level(months)]
    alerts += _alerts_of_rank(known, reference, test)
    figures = {name: str(interval) for name, interval in test.figures.items()}
    notes = [*watched.notes, *test.notes]
    return replace(
        watched,
        backtest=months,
        alerts=tuple(alerts),
        figures=figures,
        notes=tuple(dict.fromkeys(notes)),
    )


def outcomes_of(known: KnownModel, frame: pd.DataFrame) -> Outcomes:
    """Return what happened to the rows of a table that a model had not learnt from.

    Parameters
    ----------
    known : KnownModel
        A version of a table, with the spec that it was trained under.
    frame : DataFrame
        The table.

    Raises
    ------
    SchemaError
        If the table has no outcomes, or the model has learnt from all of them.
    """
    spec = spec_of(known.model)
    if spec is None:
        raise SchemaError(
            "the version does not say which column is the outcome",
            where=known.name,
        )
    if spec.target.column not in frame:
        raise SchemaError(
            f"the table has no column {spec.target.column!r}",
            where="target",
        )
    data = read_again(frame, spec)
    return Outcomes(data, back_test(known, data))


def with_recorded(
    watched: Monitoring,
    scores: pd.DataFrame,
    outcomes: Outcomes,
    shadow: Mapping[str, float],
) -> Monitoring:
    """Add how recorded scores compare with what happened to their applicants.

    Parameters
    ----------
    watched : Monitoring
        From `monitor_table`, on the table with the outcomes.
    scores : DataFrame
        Recorded scores: ``entry_id, customer_id, pd_12m``.
    outcomes : Outcomes
        The table; its first identifier is the ``customer_id`` of a score.
    shadow : mapping of float
        The challenger's PDs over 12 months, by ``entry_id``.

    Returns
    -------
    Monitoring
        With the challenger beside the champion, and how many scores have an outcome.
    """
    if scores.empty:
        return watched.with_note("No score of this version is recorded.")
    data = outcomes.data
    identifiers = data.spec.table.id
    if not identifiers:
        return watched.with_note(
            f"{len(scores):,} scores are recorded, but the spec has no [table] id, so "
            "they cannot be joined with outcomes."
        )
    applicants = texts(data.table[identifiers[0]]).tolist()
    label = dict(zip(applicants, data.label.tolist(), strict=True))
    mature = scores[scores["customer_id"].isin(list(label))]
    mature = mature.drop_duplicates("customer_id", keep="last")
    mature = mature.rename(columns={"entry_id": "decision_id"})
    mature = mature.assign(label=mature["customer_id"].map(label).astype(np.int64))
    note = (
        f"{len(scores):,} scores of this version are recorded; {len(mature):,} of them "
        f"have an outcome in the table (by {identifiers[0]})."
    )
    return replace(
        watched,
        challenger=compared(mature, shadow),
        notes=(*watched.notes, note),
    )


def _by_month(outcomes: Outcomes) -> pd.DataFrame:
    """Expected and observed defaults by month, as of decisions on a ledger."""
    scored = outcomes.test.scored
    rows = pd.DataFrame(
        {
            "month": months_of(scored.data),
            "pd": scored.pd,
            "label": scored.data.label,
        }
    )
    return with_binomial_range(rows)


def _alerts_of_rank(
    known: KnownModel,
    reference: pd.DataFrame,
    test: BackTest,
) -> list[Alert]:
    """An AUC far below that of the test, beyond chance."""
    label = test.scored.data.label
    if not test.figures:
        return []
    then = area(reference["pd"].to_numpy(), reference["label"].to_numpy())
    now = area(test.scored.pd, label)
    fall = then.value - now.value
    if fall > FALLEN and now.high < then.value:
        return [Alert("fall of the AUC since the test", fall, FALLEN)]
    return []
