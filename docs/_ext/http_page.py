"""The reference of the HTTP interface, from the OpenAPI document of the service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from myst_text import code, escape, table

from obligor.serving.access.roles import ALLOWED
from obligor.serving.api.openapi import openapi

Json = Mapping[str, Any]


def page() -> str:
    """Return a section for each operation, then one for each schema."""
    document = openapi()
    parts = ["## Operations\n"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(operation_section(path, method, operation))
    parts.append("## Schemas\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts.append(schema_section(name, schema))
    return "\n".join(parts)


def operation_section(path: str, method: str, operation: Json) -> str:
    """Return one operation: who may call it, its parameters, bodies and errors."""
    parts = [f"### {method.upper()} {escape(path)}\n"]
    roles = ALLOWED.get((method.upper(), path.removeprefix("/v1")))
    if roles:
        parts.append(f"Roles: {', '.join(sorted(roles))}.\n")
    if body := operation.get("requestBody"):
        parts.append(f"Request body: {schema_link(body['content'])}.\n")
    answer = operation["responses"]["200"]
    answer_schema = schema_link(answer.get("content", {}))
    parts.append(f"Answer: {answer_schema or answer['description']}.\n")
    errors = sorted(set(operation["responses"]) - {"200"})
    if errors:
        parts.append(f"Errors: {', '.join(errors)}.\n")
    rows = [
        (
            code(parameter["name"]),
            parameter["in"],
            type_text(parameter["schema"]),
            escape(parameter.get("description", "")),
        )
        for parameter in operation.get("parameters", ())
    ]
    if rows:
        parts.append(table(("parameter", "in", "type", "meaning"), rows))
    return "\n".join(parts)


def schema_link(content: Json) -> str:
    """Return a link to the schema of a body, or the names of its media types."""
    for media in content.values():
        reference = media.get("schema", {}).get("$ref")
        if reference:
            name = reference.rsplit("/", 1)[-1]
            return f"[{name}](#schema-{name.lower()})"
    return ", ".join(content)


def schema_section(name: str, schema: Json) -> str:
    """Return one schema with a row for each property."""
    parts = [f"(schema-{name.lower()})=\n### {name}\n"]
    if schema.get("description"):
        parts.append(escape(schema["description"]) + "\n")
    required = set(schema.get("required", ()))
    rows = [
        (
            code(key),
            type_text(value),
            "yes" if key in required else "",
            escape(value.get("description", "")),
        )
        for key, value in schema.get("properties", {}).items()
    ]
    if rows:
        parts.append(table(("field", "type", "required", "meaning"), rows))
    elif "enum" in schema:
        parts.append(
            "One of " + ", ".join(code(str(v)) for v in schema["enum"]) + ".\n"
        )
    return "\n".join(parts)


def type_text(schema: Json) -> str:
    """Return the type of a schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#schema-{name.lower()})"
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(type_text(part) for part in schema[key]))
    if "const" in schema:
        return code(str(schema["const"]))
    if "enum" in schema:
        return enum_text(schema["enum"])
    if schema.get("type") == "array":
        return array_text(schema)
    parts = [str(schema.get("format") or schema.get("type", "any"))]
    parts.extend(bounds(schema))
    return ", ".join(parts)


def enum_text(values: list[Any]) -> str:
    """Return the values of an enumeration; a long one is cut."""
    if len(values) > 8:
        return f"one of {len(values)} codes such as {code(str(values[0]))}"
    return ", ".join(code(str(value)) for value in values)


def array_text(schema: Json) -> str:
    """Return the type of an array with the type of its items."""
    items = schema.get("items") or schema.get("prefixItems", [{}])[0]
    most = f", at most {schema['maxItems']:,}" if "maxItems" in schema else ""
    return f"list of {type_text(items)}{most}"


def bounds(schema: Json) -> Iterator[str]:
    """Yield the bounds of a number or of the length of a text."""
    words = {
        "minimum": ">=",
        "exclusiveMinimum": ">",
        "maximum": "<=",
        "exclusiveMaximum": "<",
    }
    for key, word in words.items():
        if key in schema:
            yield escape(f"{word} {schema[key]:g}")
    if "maxLength" in schema:
        yield f"at most {schema['maxLength']} characters"
