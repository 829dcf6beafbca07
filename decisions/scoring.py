"""Features and scores of a batch of questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, TypeVar

import numpy as np

from obligor.arrays import Floats
from obligor.data.asof import KnownAccount
from obligor.decisions.counterfactuals import Refused, counterfactuals
from obligor.decisions.facts import DecidedQuestion, KnownQuestion, ScoredRow
from obligor.errors import ObligorError, SchemaError
from obligor.features.build import account_features
from obligor.features.catalogue import NAMES
from obligor.model.pd_model import PdModel

Result = TypeVar("Result")


def _or_raise(result: Result | ObligorError) -> Result:
    if isinstance(result, ObligorError):
        raise result
    return result


def _each(
    work: Callable[..., Result], *columns: Sequence[Any]
) -> list[Result | ObligorError]:
    """Do the work for each row of the columns; an error, met or made, takes the place of the result."""
    found = list[Result | ObligorError]()
    for row in zip(*columns, strict=True):
        error = next((cell for cell in row if isinstance(cell, ObligorError)), None)
        try:
            found.append(error or work(*row))
        except ObligorError as made:
            found.append(made)
    return found


def _catalogue_row(given: Mapping[str, float | str | None]) -> Floats:
    if given.keys() != set(NAMES):
        missing, unknown = (
            sorted(set(NAMES) - given.keys())[:5],
            sorted(given.keys() - set(NAMES))[:5],
        )
        expected = f"the {len(NAMES)} names of the catalogue, null where not known"
        raise SchemaError(
            f"missing {missing}, unknown {unknown}", where="features", expected=expected
        )
    for name in NAMES:
        if isinstance(given[name], str):
            raise SchemaError(
                "is no number", where=f"features.{name}", expected="a number, or null"
            )
    return np.array(
        [given[name] for name in NAMES], dtype=np.float64
    )  # null becomes NaN


def _features(
    known: Sequence[KnownQuestion | ObligorError],
) -> list[Floats | ObligorError]:
    """The features of each question, by one pass of the kernel per as-of date."""
    found: list[Any] = list(known)
    by_day = dict[date, list[int]]()
    for place, one in enumerate(known):
        if isinstance(one, KnownQuestion):
            by_day.setdefault(one.account.as_of, []).append(place)
    for places in by_day.values():
        accounts = [found[place].account for place in places]
        try:
            rows: Sequence[Floats | ObligorError] = list(account_features(accounts))
        except ObligorError:
            # A rate is missing: of one account, which the others must not pay for.
            rows = _each(lambda account: account_features([account])[0], accounts)
        for place, row in zip(places, rows, strict=True):
            found[place] = row
    return found


def _scored(
    model: PdModel, rows: Sequence[Floats | ObligorError]
) -> list[ScoredRow | ObligorError]:
    """The PD over 12 months and the contributions of each row, by one prediction."""
    good = [row for row in rows if not isinstance(row, ObligorError)]
    if not good:
        return [row for row in rows if isinstance(row, ObligorError)]
    contributions, margins = model.explain(np.array(good))
    *pds, ends = model.pds(margins)
    columns = (
        array.tolist() for array in (np.array(good), *pds, contributions, margins)
    )
    intervals = zip(*(end.tolist() for end in ends), strict=True)
    scored = (ScoredRow(*row) for row in zip(*columns, intervals, strict=True))
    return [row if isinstance(row, ObligorError) else next(scored) for row in rows]


def _counterfactuals(
    decided: Sequence[DecidedQuestion | ObligorError], model: PdModel
) -> list[list[dict[str, Any]]]:
    """What is offered to each question: nothing to those approved."""
    places = [
        place
        for place, one in enumerate(decided)
        if isinstance(one, DecidedQuestion) and one.decision.outcome != "approve"
    ]
    refused = [
        Refused(one.known.account, one.facts, one.decision, one.rulebook)
        for one in (decided[place] for place in places)
        if isinstance(one, DecidedQuestion)
    ]

    def score(accounts: Sequence[KnownAccount]) -> tuple[Floats, Floats]:
        rows = np.empty((len(accounts), len(NAMES)))
        for as_of in {account.as_of for account in accounts}:
            on_day = [
                place
                for place, account in enumerate(accounts)
                if account.as_of == as_of
            ]
            rows[on_day] = account_features([accounts[place] for place in on_day])
        return rows, model.predict_pd_12m(rows)

    found: list[list[dict[str, Any]]] = [[] for _ in decided]
    for place, acts in zip(places, counterfactuals(refused, score), strict=True):
        found[place] = acts
    return found
