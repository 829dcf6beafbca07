"""The principal reasons of a decision, from the rules that fired and the exact contributions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from features.catalogue import CATALOGUE, NAMES
from policy.tables import Evaluation

MOST_REASONS = 4
SMALLEST_SHARE = 0.02


def principal_reasons(
    rules: Sequence[Evaluation], values: Mapping[str, float], contributions: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return at most four reasons, ordered: rules that decided, then features that raised the PD most.

    Parameters
    ----------
    rules : sequence of Evaluation
        The rules that kept the decision from being an approval, the deciding one first.
    values, contributions : mapping
        Value and contribution (log-odds) of each feature by name.

    Notes
    -----
    Only contributions above 0 are reasons, and of these the ones that matter: at least 2% of their
    sum. Features of one catalogue family say the same thing, so the strongest speaks for its family.
    """
    found = [_rule_reason(rule) for rule in rules]
    raising = [(-contributions[name], place) for place, name in enumerate(NAMES) if contributions[name] > 0]
    families, least = set[str](), -SMALLEST_SHARE * sum(given for given, _ in raising)
    for given, place in sorted(raising):
        feature = CATALOGUE[place]
        if -given <= least or len(found) >= MOST_REASONS:
            break
        if feature.family in families:
            continue
        families.add(feature.family)
        value = values[feature.name]
        found.append(
            {
                "code": f"F{place + 1:02d}",
                "text": feature.reason(value),
                "feature": feature.name,
                "value": None if math.isnan(value) else value,
                "contribution": contributions[feature.name],
            }
        )
    return found[:MOST_REASONS]


def _rule_reason(rule: Evaluation) -> dict[str, Any]:
    return {"code": rule.fired, "text": rule.because, "feature": None, "value": None, "contribution": None}
