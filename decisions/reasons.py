"""The principal reasons of a decision.

Rules that decided come first, then what moved the PD away from the baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter, sub
from typing import Annotated, NamedTuple, NotRequired, TypeAlias

from pydantic import Field
from typing_extensions import TypedDict

from obligor.decisions.json_values import value_or_none
from obligor.features.catalogue import EDITIONS, Edition, edition_of
from obligor.features.encoding import Column, Encoding
from obligor.model.baseline import Baseline
from obligor.policy.rulebooks.decision_table import Evaluation

# More than four are not likely to help (Regulation B, official interpretation of
# 12 CFR 1002.9(b)(2), paragraph 1).
MAX_REASONS = 4
# A family below this share of the whole upward push is not a principal reason.
SMALLEST_SHARE = 0.02


class Reason(TypedDict):
    """A rule that decided (P..), or a family of features that raised the PD (F..)."""

    code: str
    text: str
    text_zh: str
    family: Annotated[
        str | None,
        Field(description="The family whose features are reported together"),
    ]
    features: Annotated[
        list[str],
        Field(description="Features of the family that raised the PD"),
    ]
    feature: Annotated[
        str | None,
        Field(description="The strongest of these features; the text is about it"),
    ]
    value: float | None
    baseline: Annotated[
        float | None,
        Field(description="The feature's median over the baseline population"),
    ]
    unit: str | None
    contribution: Annotated[
        float | None,
        Field(description="Log-odds that the family adds to the baseline's mean"),
    ]
    sources: NotRequired[
        Annotated[
            list[str],
            Field(description="The bureaus on whose reports the reason rests"),
        ]
    ]


class ExplainedRow(NamedTuple):
    """A scored row, in the order of the model's features.

    Attributes
    ----------
    features : tuple of str
        The names of the features: those of an edition of the catalogue.
    values, contributions : sequence of float
        Value and SHAP contribution (log-odds) of each feature.
    """

    features: tuple[str, ...]
    values: Sequence[float]
    contributions: Sequence[float]


class _Comparison(NamedTuple):
    """A row against the baseline.

    `push` is how far each feature's contribution exceeds its mean over the baseline.
    """

    edition: Edition
    values: Sequence[float]
    push: Sequence[float]
    typical: Sequence[float]
    currency: str


def _families_of(edition: Edition) -> dict[str, tuple[int, ...]]:
    """Return the places of each family's features, in catalogue order."""
    families = dict[str, tuple[int, ...]]()
    for index, feature in enumerate(edition.features):
        families[feature.family] = (*families.get(feature.family, ()), index)
    return families


Picker: TypeAlias = Callable[[list[float]], Sequence[float]]


def _picker(indices: tuple[int, ...]) -> Picker:
    """Return what picks a family's values as a sequence, even of one feature."""
    if len(indices) > 1:
        return itemgetter(*indices)
    part = slice(indices[0], indices[0] + 1)
    return itemgetter(part)


def _pickers_of(edition: Edition) -> dict[str, Picker]:
    families = _families_of(edition)
    return {family: _picker(indices) for family, indices in families.items()}


_FAMILIES = {number: _families_of(edition) for number, edition in EDITIONS.items()}
_PICKERS = {number: _pickers_of(edition) for number, edition in EDITIONS.items()}


def principal_reasons(
    rules: Sequence[Evaluation],
    row: ExplainedRow,
    baseline: Baseline,
    currency: str = "",
) -> list[Reason]:
    """Return the principal reasons of a decision, at most four, in order.

    Parameters
    ----------
    rules : sequence of Evaluation
        The rules that kept the decision from being an approval, the deciding one first.
    row : ExplainedRow
        The scored customer.
    baseline : Baseline
        The population that the customer is compared with.
    currency : str, optional
        Of the amounts; without it amounts are given as plain numbers.

    Returns
    -------
    list of Reason
        The rules, then the families of features that raised the PD most.

    Notes
    -----
    A feature's push is its contribution less its mean over the baseline. Features of
    one family are correlated and share their effect between them, so a family's pushes
    are summed, and the family is reported through its strongest feature. Families with
    less than 2% of the whole upward push are left out, and so are features that lowered
    the PD or that the model does not use (their push is 0).
    """
    reasons = [_rule_reason(rule) for rule in rules[:MAX_REASONS]]
    edition = edition_of(row.features)
    push = list(map(sub, row.contributions, baseline.contributions))
    raising = list[tuple[float, str]]()
    for family, pick in _PICKERS[edition.number].items():
        total = sum(pick(push))
        if total > 0:
            raising.append((total, family))
    least = SMALLEST_SHARE * sum(total for total, _ in raising)
    comparison = _Comparison(edition, row.values, push, baseline.values, currency)
    # Sorting is stable: families of equal push stay in the order of the catalogue.
    raising.sort(key=lambda pair: -pair[0])
    for total, family in raising[: MAX_REASONS - len(reasons)]:
        if total > least:
            reasons.append(_family_reason(family, total, comparison))
    return reasons


def column_reasons(
    values: Sequence[float],
    contributions: Sequence[float],
    baseline: Baseline,
    encoding: Encoding,
) -> list[Reason]:
    """Return the columns that raised the PD of an application most.

    Parameters
    ----------
    values, contributions : sequence of float
        Value and SHAP contribution (log-odds) of each encoded column.
    baseline : Baseline
        The population that the application is compared with.
    encoding : Encoding
        What maps the columns of the table to the model's.

    Returns
    -------
    list of Reason
        At most four; the push of a column includes that of its special codes.
    """
    push = list(map(sub, contributions, baseline.contributions))
    raising = list[tuple[float, int]]()
    for index, (_, part) in enumerate(encoding.parts):
        total = sum(push[part])
        if total > 0:
            raising.append((total, index))
    least = SMALLEST_SHARE * sum(total for total, _ in raising)
    raising.sort(key=lambda pair: (-pair[0], pair[1]))
    reasons = list[Reason]()
    for total, index in raising[:MAX_REASONS]:
        if total > least:
            column, part = encoding.parts[index]
            typical = baseline.values[part.start]
            code = f"C{index + 1:02d}"
            reasons.append(_column_reason(code, column, values[part], typical, total))
    return reasons


def _column_reason(
    code: str, column: Column, values: Sequence[float], typical: float, total: float
) -> Reason:
    is_number = column.kind == "number"
    text = column.value_text(values)
    usual = column.value_text((typical, 0.0))
    return {
        "code": code,
        "text": f"{column.name} is {text}; typical is {usual}",
        "text_zh": f"{column.name} 为 {text}，通常为 {usual}",
        "family": column.name,
        "features": [column.name],
        "feature": column.name,
        "value": value_or_none(values[0]) if is_number else None,
        "baseline": value_or_none(typical) if is_number else None,
        "unit": None,
        "contribution": total,
    }


def _family_reason(family: str, total: float, comparison: _Comparison) -> Reason:
    features = comparison.edition.features
    indices = _FAMILIES[comparison.edition.number][family]
    push = comparison.push
    currency = comparison.currency
    strongest = max(indices, key=push.__getitem__)
    feature = features[strongest]
    value = comparison.values[strongest]
    is_money = feature.unit == "money"
    return {
        "code": f"F{strongest + 1:02d}",
        "text": feature.reason(value, "en", currency),
        "text_zh": feature.reason(value, "zh", currency),
        "family": family,
        "features": [features[index].name for index in indices if push[index] > 0],
        "feature": feature.name,
        "value": value_or_none(value),
        "baseline": value_or_none(comparison.typical[strongest]),
        "unit": currency if is_money and currency else feature.unit,
        "contribution": total,
    }


def _rule_reason(rule: Evaluation) -> Reason:
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
