"""The feature catalogue as a page: one section for each family."""

from __future__ import annotations

from math import isinf

from myst_text import code, escape, table

from obligor.features.catalogue import CATALOGUE, UNKNOWN, Feature

DIRECTIONS = {1: "raises", -1: "lowers", 0: "either"}


def page() -> str:
    """Return a table of features for each family, in the order of the catalogue."""
    families = dict.fromkeys(feature.family for feature in CATALOGUE)
    parts = [f"The catalogue holds {len(CATALOGUE)} features.\n"]
    for family in families:
        members = [feature for feature in CATALOGUE if feature.family == family]
        parts.append(f"## {family.replace('_', ' ')}\n")
        header = ("feature", "definition", "unit, range", "effect on PD", "if unknown")
        parts.append(table(header, [feature_row(feature) for feature in members]))
        parts.append(
            f"Reason: {escape(members[0].reason_en)} / {members[0].reason_zh}\n"
        )
    return "\n".join(parts)


def feature_row(feature: Feature) -> tuple[str, ...]:
    """Return the row of one feature."""
    high = "no bound" if isinf(feature.high) else f"{feature.high:g}"
    low = "no bound" if isinf(feature.low) else f"{feature.low:g}"
    unknown = ""
    if feature.unknown != "never":
        unknown = UNKNOWN[feature.unknown][0].format(n=feature.window)
    return (
        code(feature.name),
        escape(feature.definition),
        f"{feature.unit}, {low} to {high}",
        DIRECTIONS[feature.direction],
        escape(unknown),
    )
