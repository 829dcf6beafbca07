"""Settings that a person writes in TOML: read, checked, and refused by name."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from obligor.errors import SchemaError

UNKNOWN = "extra_forbidden"  # pydantic's name for a key that is not a field
Settings = TypeVar("Settings", bound=BaseModel)


def read_settings(
    path: Path,
    kind: type[Settings],
    noun: str,
    do: str,
) -> Settings:
    """Read settings from a TOML file.

    Parameters
    ----------
    path : Path
        The file.
    kind : type
        The class of the settings.
    noun : str
        What the file is, for the message.
    do : str
        What a person can do about a value that is not valid.

    Raises
    ------
    SchemaError
        If the file cannot be read or a value is not valid. A key that does not exist
        is named, with the nearest one that does.
    """
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SchemaError(
            f"the {noun} cannot be read: {error}",
            where=str(path),
            expected="a TOML file",
        ) from None
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise _refusal(error, path, kind, do) from None


def _refusal(
    error: ValidationError,
    path: Path,
    kind: type[BaseModel],
    do: str,
) -> SchemaError:
    errors = error.errors()
    unknown = [details for details in errors if details["type"] == UNKNOWN]
    if unknown:
        return _unknown_keys(unknown, path, kind)
    first = errors[0]
    field = ".".join(str(part) for part in first["loc"])
    return SchemaError(
        first["msg"].removeprefix("Value error, "),
        where=f"{path}: {field}",
        do=do,
    )


def _unknown_keys(
    errors: list[ErrorDetails],
    path: Path,
    kind: type[BaseModel],
) -> SchemaError:
    sentences = []
    for details in errors:
        *sections, key = (str(part) for part in details["loc"])
        name = ".".join([*sections, key])
        nearest = nearest_key(kind, sections, key)
        hint = f" (nearest: {nearest})" if nearest else ""
        sentences.append(f"the key {name} does not exist{hint}")
    *sections, _ = (str(part) for part in errors[0]["loc"])
    valid = ", ".join(sorted(_keys_of(kind, sections)))
    section = f"[{'.'.join(sections)}]" if sections else "the top of the file"
    return SchemaError(
        "; ".join(sentences),
        where=str(path),
        expected=f"in {section} some of {valid}",
    )


def nearest_key(
    kind: type[BaseModel],
    sections: list[str],
    key: str,
) -> str | None:
    """Return the existing key that most resembles one that does not exist.

    Parameters
    ----------
    kind : type
        The class of the settings.
    sections : list of str
        The sections that lead to the key, outermost first.
    key : str
        The key that does not exist.

    Returns
    -------
    str or None
        With its sections; None if no key resembles it. A key of the same section is
        preferred to the same key of another.
    """
    here = get_close_matches(key, sorted(_keys_of(kind, sections)), n=1)
    if here:
        return ".".join([*sections, here[0]])
    elsewhere = {name.rpartition(".")[2]: name for name in _all_keys(kind)}
    matches = get_close_matches(key, sorted(elsewhere), n=1)
    return elsewhere[matches[0]] if matches else None


def _keys_of(kind: type[BaseModel], sections: list[str]) -> set[str]:
    """Return the keys of a section; none if the section is a table of free names."""
    for section in sections:
        field = kind.model_fields.get(section)
        if field is None:
            # A free name, such as that of a column, keeps the class of its table.
            continue
        inner = _section_class(field.annotation)
        if inner is None:
            return set()
        kind = inner
    return set(kind.model_fields)


def _all_keys(kind: type[BaseModel], before: str = "") -> Iterator[str]:
    for name, field in kind.model_fields.items():
        yield before + name
        inner = _section_class(field.annotation)
        if inner is not None:
            yield from _all_keys(inner, f"{before}{name}.")


def _section_class(annotation: object) -> type[BaseModel] | None:
    """Return the class of a section, also of an optional one or of a table of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        inner = _section_class(part)
        if inner is not None:
            return inner
    return None
