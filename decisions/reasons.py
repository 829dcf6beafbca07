"""The principal reasons of a decision: the rules that decided, then what moved the PD away from the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import itemgetter, sub
from typing import Any

from obligor.features.catalogue import CATALOGUE
from obligor.features.encoding import Column, Encoding
from obligor.model.baseline import Baseline
from obligor.policy.rulebooks.decision_table import Evaluation

MOST_REASONS = 4
SMALLEST_SHARE = 0.02
_FAMILIES: dict[str, tuple[int, ...]] = {
    family: tuple(
        place for place, feature in enumerate(CATALOGUE) if feature.family == family
    )
    for family in dict.fromkeys(feature.family for feature in CATALOGUE)
}

_PICK = {
    family: itemgetter(*places)
    if len(places) > 1
    else itemgetter(slice(places[0], places[0] + 1))
    for family, places in _FAMILIES.items()
}


def principal_reasons(
    rules: Sequence[Evaluation],
    values: Sequence[float],
    contributions: Sequence[float],
    baseline: Baseline,
    currency: str = "",
) -> list[dict[str, Any]]:
    """Return at most four reasons, ordered: rules that decided, then families of features that raised the PD most.

    Parameters
    ----------
    rules : sequence of Evaluation
        The rules that kept the decision from being an approval, the deciding one first.
    values, contributions : sequence of float
        Value and SHAP contribution (log-odds) of each feature, in catalogue order.
    baseline : Baseline
        Who the customer is compared with.
    currency : str
        Of amounts; they are said without where it is not known.

    Notes
    -----
    A feature's push is its contribution less its mean over the baseline. Features of one family are
    correlated and share their effect between them, so a family's pushes are summed and its strongest
    feature speaks. Families below 2% of the whole push upwards are no reasons; nor is a feature that pushed
    down, or that the model does not use (its push is 0).
    """
    found = [_rule_reason(rule) for rule in rules][:MOST_REASONS]
    push = list(map(sub, contributions, baseline.contributions))
    totals = [(sum(pick(push)), family) for family, pick in _PICK.items()]
    raising = [(total, family) for total, family in totals if total > 0]
    least = SMALLEST_SHARE * sum(total for total, _ in raising)
    # A stable order: families of equal push stay as the catalogue has them.
    for total, family in sorted(raising, key=lambda pair: -pair[0])[
        : MOST_REASONS - len(found)
    ]:
        if total > least:
            found.append(
                _feature_reason(family, total, push, values, baseline, currency)
            )
    return found


def column_reasons(
    values: Sequence[float],
    contributions: Sequence[float],
    baseline: Baseline,
    encoding: Encoding,
) -> list[dict[str, Any]]:
    """Return at most four reasons of an application: the columns that raised its PD most against the baseline.

    A column's push is that of its value and of its special codes together.
    """
    push = list(map(sub, contributions, baseline.contributions))
    found = [
        (sum(push[part]), number, one, values[part], baseline.values[part.start])
        for number, (one, part) in enumerate(encoding.parts, start=1)
    ]
    raising = sorted(
        (row for row in found if row[0] > 0), key=lambda row: (-row[0], row[1])
    )
    least = SMALLEST_SHARE * sum(row[0] for row in raising)
    return [_column_reason(*row) for row in raising[:MOST_REASONS] if row[0] > least]


def _column_reason(
    total: float, number: int, one: Column, values: Sequence[float], typical: float
) -> dict[str, Any]:
    is_number = one.kind == "number"
    said, usual = one.said(values), one.said((typical, 0.0))
    return {
        "code": f"C{number:02d}",
        "text": f"{one.name} is {said}; typical is {usual}",
        "text_zh": f"{one.name} 为 {said}，通常为 {usual}",
        "family": one.name,
        "features": [one.name],
        "feature": one.name,
        "value": values[0] if is_number and not math.isnan(values[0]) else None,
        "baseline": typical if is_number and not math.isnan(typical) else None,
        "unit": None,
        "contribution": total,
    }


def _feature_reason(
    family: str,
    total: float,
    push: Sequence[float],
    values: Sequence[float],
    baseline: Baseline,
    currency: str,
) -> dict[str, Any]:
    strongest = max(_FAMILIES[family], key=push.__getitem__)
    feature, value, typical = (
        CATALOGUE[strongest],
        values[strongest],
        baseline.values[strongest],
    )
    return {
        "code": f"F{strongest + 1:02d}",
        "text": feature.reason(value, "en", currency),
        "text_zh": feature.reason(value, "zh", currency),
        "family": family,
        "features": [
            CATALOGUE[place].name for place in _FAMILIES[family] if push[place] > 0
        ],
        "feature": feature.name,
        "value": None if math.isnan(value) else value,
        "baseline": None if math.isnan(typical) else typical,
        "unit": currency if feature.unit == "money" and currency else feature.unit,
        "contribution": total,
    }


def _rule_reason(rule: Evaluation) -> dict[str, Any]:
    return {
        "code": rule.fired,
        "text": rule.because,
        "text_zh": rule.because_zh,
        "family": None,
        "features": [],
        "feature": None,
        "value": None,
        "baseline": None,
        "unit": None,
        "contribution": None,
    }
