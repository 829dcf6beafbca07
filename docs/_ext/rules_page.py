"""The rule tables of the rulebook that ships, from its YAML files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from myst_text import code, escape, table

from obligor.policy.rulebooks.contracts import CONTRACTS

RULES = Path(__file__).parents[2] / "policy" / "rules"
Json = Mapping[str, Any]


def page() -> str:
    """Return the parameters and every table of the newest rulebook."""
    folder = sorted(path for path in RULES.iterdir() if path.is_dir())[-1]
    parts = [f"Rulebook {code(folder.name)}.\n"]
    for path in sorted(folder.glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "parameters" in content:
            parts.insert(1, parameters_section(content))
        elif "rules" in content:
            parts.append(table_section(content))
    return "\n".join(parts)


def parameters_section(content: Json) -> str:
    """Return the single numbers of a rulebook with unit and reference."""
    rows = [
        (
            code(name),
            escape(str(entry["value"])),
            escape(entry["unit"]),
            escape(entry["reference"]),
        )
        for name, entry in content["parameters"].items()
    ]
    header = ("parameter", "value", "unit", "reference")
    return "## Parameters\n\n" + table(header, rows)


def table_section(content: Json) -> str:
    """Return one decision table: inputs, then outputs, then the reason of each row."""
    source = content["source"]
    inputs = list(content["inputs"])
    outputs = list(content["outputs"])
    header = [
        "rule",
        *(f"{name} (in)" for name in inputs),
        *(f"{name} (out)" for name in outputs),
        "because",
    ]
    rows = []
    for rule in content["rules"]:
        when = rule.get("when", {})
        rows.append(
            [
                rule["id"],
                *(code(str(when.get(name, "-"))) for name in inputs),
                *(code(plain(rule["then"].get(name, ""))) for name in outputs),
                escape(str(rule.get("because", ""))),
            ]
        )
    intro = (
        f"Hit policy {code(content['hit'])}. Decided by {escape(source['decided_by'])} "
        f"on {source['decided_on']}: {escape(source['because'])}."
    )
    units = "; ".join(
        f"{code(name)}: {escape(column['unit'])}"
        for name, column in {**content["inputs"], **content["outputs"]}.items()
        if "unit" in column
    )
    parts = [f"## {content['id']}\n", intro + "\n", table(header, rows)]
    if units:
        parts.append(f"Units: {units}.\n")
    parts.append(f"Inputs there are: {offered_inputs(content['id'])}.\n")
    return "\n".join(parts)


def offered_inputs(table_id: str) -> str:
    """Return every input the code gives a table, with the start of its unit."""
    texts = []
    for column in CONTRACTS[table_id].inputs:
        unit = f" ({escape(column.unit)})" if column.unit else ""
        texts.append(f"{code(column.name)}{unit}")
    return ", ".join(texts)


def plain(value: object) -> str:
    """Return a value as the rule files spell it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
