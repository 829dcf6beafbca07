"""The files of a rulebook: their YAML, and the entries each one must have."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TypedDict, cast

import yaml

from obligor.errors import PolicyError

Scalar = str | int | float | bool | date | None

# Every number that the policy works with, and the range it must lie in.
PARAMETERS: dict[str, tuple[str, str]] = {
    "lgd": ("0", "1"),
    "credit_margin": ("0", "1"),
    "cost_of_funds": ("0", "1"),
    "hurdle_rate": ("0", "1"),
    "capital_confidence": ("0.5", "0.9999"),
    "secured_share": ("0", "1"),
    "order_horizon_days": ("0", "365"),
    "small_order": ("0", "1000000"),
    "base_score": ("0", "1000"),
    "base_odds": ("1", "1000"),
    "points_to_double_odds": ("1", "200"),
    "collector_cost": ("0", "1000"),
    "insurer_extension_days": ("0", "365"),
    "insurer_handover_days": ("0", "365"),
    "materiality_amount": ("0", "1000000"),
    "materiality_share": ("0", "1"),
}
# Rulebooks made before these parameters existed lack them. Without them the oldest item
# counts however small it is, as it did when those rulebooks were released.
MATERIALITY = ("materiality_amount", "materiality_share")
# libyaml, if it is installed, is ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class SourceEntry(TypedDict):
    """Who decided a file, when and why."""

    decided_by: str
    decided_on: date
    because: str


class ColumnEntry(TypedDict, total=False):
    """A column of a decision table."""

    type: str
    unit: str
    low: float | None
    high: float | None
    values: list[str]
    nullable: bool


class RuleEntry(TypedDict, total=False):
    """A row of a decision table; `zh` is its reason in Chinese."""

    id: str
    when: dict[str, str]
    then: dict[str, Scalar]
    because: str
    zh: str


# A worked example of a table. (``in`` is a keyword, so this cannot be a class.)
WorkedExample = TypedDict(
    "WorkedExample",
    {"in": dict[str, Scalar], "out": dict[str, Scalar | list[str]]},
)


class ParameterEntry(TypedDict):
    """A number of the policy, with its unit and the source it is taken from."""

    value: float
    unit: str
    reference: str


class RulebookFile(TypedDict, total=False):
    """A file of a rulebook: the parameters, or one decision table."""

    id: str
    hit: str
    effective: date
    source: SourceEntry
    parameters: dict[str, ParameterEntry]
    inputs: dict[str, ColumnEntry]
    outputs: dict[str, ColumnEntry]
    rules: list[RuleEntry]
    cases: list[WorkedExample]


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file; `PolicyError` if it is missing."""
    try:
        return path.read_bytes()
    except OSError:
        raise PolicyError(
            "file is missing", where=f"{path.parent.name}/{path.name}"
        ) from None


def parse(content: bytes, where: str) -> dict[str, object]:
    """Return the mapping that a YAML file holds.

    Raises
    ------
    PolicyError
        If the bytes are not YAML, or not a mapping.
    """
    try:
        parsed = yaml.load(content, _LOADER)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PolicyError(
            f"file cannot be read: {error}", where=where, expected="YAML"
        ) from None
    if not isinstance(parsed, dict):
        raise PolicyError(
            "file does not hold a mapping",
            where=where,
            expected="keys such as id, effective, source",
        )
    return parsed


def parse_rulebook_file(content: bytes, where: str) -> RulebookFile:
    """Return a file of a rulebook, parsed; its entries are checked when used."""
    return cast(RulebookFile, parse(content, where))


def effective_date(files: Mapping[str, RulebookFile], folder: Path) -> date:
    """Return the date from which a rulebook applies: that of its folder's name.

    Raises
    ------
    PolicyError
        If a file has another date.
    """
    dates = {file.get("effective") for file in files.values()}
    effective = dates.pop() if len(dates) == 1 else None
    if not isinstance(effective, date) or str(effective) != folder.name:
        stated = sorted({str(file.get("effective")) for file in files.values()})
        raise PolicyError(
            f"effective dates {stated} differ from the folder",
            where=folder.name,
            expected="the folder's name in every file",
        )
    return effective


def source_of(file: RulebookFile, name: str) -> str:
    """Return who decided a file, when and why, in one line.

    Raises
    ------
    PolicyError
        If one of the three is missing.
    """
    source = file.get("source")
    missing = {"decided_by", "decided_on", "because"} - set(source or {})
    if source is None or missing:
        raise PolicyError(
            f"source lacks {sorted(missing)}",
            where=name,
            expected="who decided, when, why",
        )
    return f"{source['decided_by']}, {source['decided_on']}: {source['because']}"


def parameters_of(file: RulebookFile) -> dict[str, Decimal]:
    """Return the parameters of a rulebook.

    Raises
    ------
    PolicyError
        If one is missing, unknown, out of range, or lacks its unit or reference.
    """
    entries = file.get("parameters", {})
    required = set(PARAMETERS)
    if entries.keys().isdisjoint(MATERIALITY):
        required -= set(MATERIALITY)
    unknown = sorted(set(entries) - set(PARAMETERS))
    missing = sorted(required - set(entries))
    if unknown or missing:
        raise PolicyError(f"unknown {unknown}, missing {missing}", where="parameters")
    return {name: _parameter(name, entry) for name, entry in entries.items()}


def _parameter(name: str, entry: ParameterEntry) -> Decimal:
    where = f"parameters.{name}"
    low, high = PARAMETERS[name]
    value: object = entry.get("value")
    # YAML reads yes as True, and a bool is an int.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PolicyError(
            f"{value!r} is not a number", where=where, expected=f"{low} to {high}"
        )
    number = Decimal(str(value))
    if not Decimal(low) <= number <= Decimal(high):
        raise PolicyError(
            f"{value} is out of range", where=where, expected=f"{low} to {high}"
        )
    if not entry.get("unit") or not entry.get("reference"):
        raise PolicyError(
            "the parameter has no unit or no reference", where=where, expected="both"
        )
    return number
