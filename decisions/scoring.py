"""Features, scores and counterfactuals of a batch of questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np

from obligor.arrays import Floats
from obligor.decisions.answer import ScoreBody, score_answer
from obligor.decisions.batch import Batch, Failed, for_each, not_failed
from obligor.decisions.champion import Champion
from obligor.decisions.counterfactuals import (
    Counterfactual,
    OfferedQuestion,
    counterfactuals,
)
from obligor.decisions.facts import (
    DecidedQuestion,
    KnownQuestion,
    QuestionFeatures,
    ScoredQuestion,
    ScoredRow,
)
from obligor.decisions.questions import ScoreRequest
from obligor.errors import ObligorError, SchemaError
from obligor.features.build import account_features
from obligor.features.catalogue import NAMES
from obligor.model.pd_model import PdModel


def features(
    batch: Batch[KnownQuestion],
    model: PdModel,
) -> Batch[QuestionFeatures]:
    """Return the features of each question, by one kernel pass per as-of date.

    They are those of the catalogue; days past due are of what is material to the model.
    """
    by_day = dict[date, list[KnownQuestion]]()
    for known_question in not_failed(batch):
        by_day.setdefault(known_question.account.as_of, []).append(known_question)
    rows_by_day = {
        as_of: iter(_features_on_day(questions, model))
        for as_of, questions in by_day.items()
    }
    return [
        item if isinstance(item, Failed) else next(rows_by_day[item.account.as_of])
        for item in batch
    ]


def _features_on_day(
    questions: Sequence[KnownQuestion],
    model: PdModel,
) -> Batch[QuestionFeatures]:
    """Return the features of questions about one day."""
    try:
        rows = account_features(
            [known_question.account for known_question in questions],
            model.material,
            [known_question.reports for known_question in questions],
        )
    except ObligorError:
        # An account lacks a rate: it fails alone, not with all others of the day.
        return for_each(questions, lambda alone: features_alone(alone, model))
    return [
        QuestionFeatures(known_question, row)
        for known_question, row in zip(questions, rows, strict=True)
    ]


def features_alone(known_question: KnownQuestion, model: PdModel) -> QuestionFeatures:
    """Return the features of one question."""
    rows = account_features(
        [known_question.account],
        model.material,
        [known_question.reports],
    )
    return QuestionFeatures(known_question, rows[0])


def scored(batch: Batch[QuestionFeatures], model: PdModel) -> Batch[ScoredQuestion]:
    """Return the PD and the contributions of each question, by one prediction."""
    rows = [item.values for item in not_failed(batch)]
    if not rows:
        return [item for item in batch if isinstance(item, Failed)]
    scores = iter(score_rows(model, model.own_columns(np.array(rows))))
    return for_each(
        batch, lambda item: ScoredQuestion(item.known_question, next(scores))
    )


def score_rows(model: PdModel, rows: Floats) -> list[ScoredRow]:
    """Return the scores of rows of a model's features, by one prediction."""
    contributions, margins = model.explain(rows)
    pd_12m, pd_3m, pd_6m, (low, high) = model.pds(margins, rows)
    intervals = zip(low.tolist(), high.tolist(), strict=True)
    columns = [
        column.tolist()
        for column in (rows, pd_12m, pd_3m, pd_6m, contributions, margins)
    ]
    return [ScoredRow(*row) for row in zip(*columns, intervals, strict=True)]


def with_counterfactuals(
    batch: Batch[DecidedQuestion], model: PdModel
) -> Batch[OfferedQuestion]:
    """Return each decided question with the acts that would lead to an approval."""
    refused = [
        decided
        for decided in not_failed(batch)
        if decided.decision.outcome != "approve"
    ]
    acts = iter(counterfactuals_for(refused, model))

    def offered(decided: DecidedQuestion) -> OfferedQuestion:
        is_approved = decided.decision.outcome == "approve"
        return OfferedQuestion(decided, [] if is_approved else next(acts))

    return for_each(batch, offered)


def counterfactuals_for(
    refused: Sequence[DecidedQuestion], model: PdModel
) -> list[list[Counterfactual]]:
    """Return the acts that would lead to an approval, for questions that got none."""

    def score(questions: Sequence[KnownQuestion]) -> tuple[Floats, Floats]:
        rows = np.empty((len(questions), len(NAMES)))
        days = np.array([question.account.as_of for question in questions])
        for as_of in set(days.tolist()):
            on_day = np.flatnonzero(days == as_of).tolist()
            rows[on_day] = account_features(
                [questions[index].account for index in on_day],
                model.material,
                [questions[index].reports for index in on_day],
            )
        return rows, model.predict_pd_12m(model.own_columns(rows))

    return counterfactuals(refused, score)


def score_features(request: ScoreRequest, champion: Champion) -> ScoreBody:
    """Return the PD of ready-made features with its explanation; nothing is recorded.

    Raises
    ------
    SchemaError
        If a feature is missing, unknown or not a number.
    """
    row = feature_row(request.features, champion.model)
    (scored_row,) = score_rows(champion.model, row[np.newaxis])
    return score_answer(champion, scored_row)


def feature_row(
    features: Mapping[str, bool | float | str | None], model: PdModel
) -> Floats:
    """Return ready-made features as a model takes them, shape (columns,).

    Raises
    ------
    SchemaError
        If a feature is missing, unknown or not a number.
    """
    if model.encoding:
        row: Floats = model.encoding.row(features)[0]
        return row
    return _catalogue_row(features, model.features)


def _catalogue_row(
    values: Mapping[str, bool | float | str | None],
    names: Sequence[str],
) -> Floats:
    """Return ready-made features as a row in the model's order; null becomes NaN."""
    missing = sorted(set(names) - values.keys())[:5]
    unknown = sorted(values.keys() - set(names))[:5]
    if missing or unknown:
        raise SchemaError(
            f"missing: {missing}; not in the catalogue: {unknown}",
            where="features",
            expected=f"the {len(names)} names of the catalogue, null if not known",
        )
    for name in names:
        if isinstance(values[name], bool | str):
            raise SchemaError(
                "the value is not a number",
                where=f"features.{name}",
                expected="a number, or null",
            )
    return np.array([values[name] for name in names], dtype=np.float64)
