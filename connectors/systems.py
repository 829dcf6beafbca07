"""The ready mappings of known systems."""

from __future__ import annotations

import re
from importlib.resources import files

from obligor.errors import SchemaError

_FOLDER = files("obligor.connectors") / "systems"


def system_names() -> dict[str, str]:
    """Return the systems by name, each with the first line of its mapping."""
    names = {}
    for item in sorted(_FOLDER.iterdir(), key=lambda path: path.name):
        if item.name.endswith(".toml"):
            first_line = item.read_text(encoding="utf-8").splitlines()[0]
            names[item.name.removesuffix(".toml")] = first_line.lstrip("# ")
    return names


def system_text(name: str, currency: str = "") -> str:
    """Return the mapping of a system, with another reporting currency if one is given.

    Raises
    ------
    SchemaError
        If there is none of that name.
    """
    names = list(system_names())
    if name not in names:
        raise SchemaError(
            f"there is no mapping for {name!r}",
            where="--system",
            expected=f"one of {names}",
        )
    text = (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    if not currency:
        return text
    return re.sub(r'(?m)^currency = ".*"$', f'currency = "{currency}"', text, count=1)
