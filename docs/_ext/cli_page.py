"""The reference of the command line, from the help texts of the commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import typer.main
from myst_text import block, code, escape, table

from obligor.cli.app import app

ROOT = Path(__file__).parents[2]


class Parameter(Protocol):
    """An argument or an option, as typer describes it."""

    name: str
    opts: list[str]
    secondary_opts: list[str]
    help: str | None
    required: bool
    default: object
    envvar: str | None
    min: int | None
    max: int | None
    param_type_name: str


class Command(Protocol):
    """A command with its help text and parameters."""

    help: str | None
    params: list[Parameter]


def page() -> str:
    """Return one section for each command, groups after the plain commands."""
    root = typer.main.get_command(app)
    plain: list[str] = []
    grouped: list[str] = []
    for name, command in sorted(root.commands.items()):  # type: ignore[attr-defined]
        subcommands = getattr(command, "commands", None)
        if subcommands is None:
            plain.append(section(name, command, "##"))
            continue
        grouped.append(f"## obligor {name}\n\n{command.help}\n")
        for subname, subcommand in sorted(subcommands.items()):
            grouped.append(section(f"{name} {subname}", subcommand, "###"))
    return "\n".join([*plain, *grouped])


def section(name: str, command: Command, level: str) -> str:
    """Return the section of one command: usage, text, examples, parameters."""
    paragraphs = (command.help or "").split("\n\n")
    examples = [
        text.removeprefix("Example:").strip().strip("`")
        for text in paragraphs
        if text.startswith("Example:")
    ]
    prose = [text for text in paragraphs if not text.startswith("Example:")]
    parts = [f"{level} obligor {name}\n", "\n\n".join(prose) + "\n"]
    if examples:
        parts.append(block("\n".join(examples), "console"))
    rows = list(parameter_rows(command.params))
    if rows:
        parts.append(table(("parameter", "meaning", "default"), rows))
    return "\n".join(parts)


def parameter_rows(parameters: list[Parameter]) -> Iterator[tuple[str, str, str]]:
    """Yield a row for each argument and option."""
    for parameter in parameters:
        if parameter.name == "help":
            continue
        names = [*parameter.opts, *parameter.secondary_opts]
        label = " / ".join(code(name) for name in names)
        if parameter.param_type_name == "argument":
            label = code(parameter.name.upper())
        yield label, meaning(parameter), default_text(parameter)


def meaning(parameter: Parameter) -> str:
    """Return the help text with the range and the environment variable."""
    parts = [escape(parameter.help or parameter.name.replace("_", " ")).rstrip(".")]
    if parameter.min is not None or parameter.max is not None:
        low = "" if parameter.min is None else f"{parameter.min:,}"
        high = "" if parameter.max is None else f"{parameter.max:,}"
        parts.append(f"{low} to {high}" if low and high else f"at least {low}")
    if parameter.envvar:
        parts.append(f"also {code(str(parameter.envvar))}")
    return "; ".join(parts)


def default_text(parameter: Parameter) -> str:
    """Return the default; paths of this machine are shortened to the repository."""
    if parameter.required:
        return "required"
    if parameter.default in (None, "", False) or callable(parameter.default):
        return ""
    return code(str(parameter.default).replace(f"{ROOT}/", ""))
