"""The README and the documentation name only commands, options and files that exist."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from obligor.cli.app import app
from obligor.serving.api.openapi import openapi

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
GENERATED = ("_build", "generated", "notebooks")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *(
        path
        for path in sorted(DOCS.rglob("*.md"))
        if not set(GENERATED) & set(path.relative_to(DOCS).parts)
    ),
]
LONGEST_README = 9_000  # bytes
GROUPS = ("policy", "audit", "keys", "spec", "webhooks")
TOCTREE = re.compile(r"^```\{toctree\}.*?^```", re.MULTILINE | re.DOTALL)
FENCED_BLOCK = re.compile(r"^```.*?\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
VARIABLE = re.compile(r"\bOBLIGOR_[A-Z_]+\b")
# A path below one of these folders must exist if a page names it.
FOLDERS = [
    "benchmarks",
    "casework",
    "cli",
    "data",
    "decisions",
    "deploy",
    "docs",
    "features",
    "forecasts",
    "metrics",
    "model",
    "notebooks",
    "obligor",
    "policy",
    "portfolio",
    "record",
    "reliability",
    "serving",
    "tests",
    "estimators",
    "training",
]

pages = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(ROOT))
)


@cache
def help_text(command: str) -> str:
    """Return the help of a command, wide enough that no option is cut."""
    arguments = [*command.split(), "--help"]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "250"})
    assert result.exit_code == 0, f"obligor {command}: {result.output}"
    return result.output


def code_of(page: Path) -> list[str]:
    """Return the code of a page: the lines of its blocks, and its inline code."""
    text = TOCTREE.sub("", page.read_text(encoding="utf-8"))
    blocks = "\n".join(FENCED_BLOCK.findall(text)).replace("\\\n", " ")
    return [*blocks.splitlines(), *INLINE_CODE.findall(FENCED_BLOCK.sub("", text))]


def commands_of(page: Path) -> list[tuple[str, list[str]]]:
    """Return each command of ours that a page shows, with its options."""
    commands = []
    for line in code_of(page):
        match = re.match(r"(?:\w+=\S+ )*obligor ((?:[a-z]+ ?)+)(.*)", line.strip())
        if match is None:
            continue
        words = match[1].split()
        length = 2 if words[0] in GROUPS else 1
        options = re.findall(r"(?<!\S)--[a-z-]+", line)
        commands.append((" ".join(words[:length]), options))
    return commands


@pages
def test_commands_and_options_exist(page: Path) -> None:
    for command, options in commands_of(page):
        for option in options:
            assert option in help_text(command), f"obligor {command} {option}"
        assert help_text(command)


def test_documentation_shows_every_command() -> None:
    shown = {command for page in PAGES for command, _ in commands_of(page)}
    root = help_text("")
    for command in re.findall(r"^│ (\w+) ", root, re.MULTILINE):
        if command in GROUPS:
            assert any(name.startswith(f"{command} ") for name in shown), command
        else:
            assert command in shown, command


@pages
def test_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for line in code_of(page):
        match = re.fullmatch(r"make (\w+)", line.strip())
        if match:
            assert re.search(rf"^{match[1]}:", makefile, re.MULTILINE), line


@pages
def test_links_lead_to_files(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path = (page.parent / target).resolve()
        if path.parent == DOCS / "tutorials" / "notebooks":
            path = (ROOT / "notebooks" / path.name).with_suffix(".ipynb")
        assert path.exists(), target


@pages
def test_named_paths_exist(page: Path) -> None:
    for code in code_of(page):
        for word in re.findall(r"(?<![\w/.-])[\w.-]+/[\w./*-]*", code):
            folder = word.split("/")[0]
            if folder in FOLDERS and "_build" not in word:
                assert list(ROOT.glob(word.rstrip("/."))), word


@pages
def test_options_of_programs_exist(page: Path) -> None:
    for line in code_of(page):
        match = re.match(r"python ((?:benchmarks|reliability|docs)/\S+\.py)(.*)", line)
        if match is None or not (ROOT / match[1]).exists():
            continue
        program = (ROOT / match[1]).read_text(encoding="utf-8")
        for option in re.findall(r"(?<!\S)--[a-z-]+", match[2]):
            assert f'"{option}"' in program, line


def test_every_environment_variable_is_documented() -> None:
    page = (DOCS / "reference" / "environment.md").read_text(encoding="utf-8")
    documented = set(VARIABLE.findall(page))
    read: set[str] = set()
    for folder in ("cli", "serving", "obligor", "decisions", "record", "policy"):
        for path in (ROOT / folder).glob("**/*.py"):
            read |= set(VARIABLE.findall(path.read_text(encoding="utf-8")))
    prefixes = tuple(name for name in read if name.endswith("_"))
    assert {name for name in read if not name.endswith("_")} <= documented
    assert {name for name in documented if not name.startswith(prefixes)} <= read


def test_every_route_is_documented() -> None:
    page = (DOCS / "reference" / "http.md").read_text(encoding="utf-8")
    for path, methods in openapi()["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}`" in page, path


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= LONGEST_README


def test_gate_calls_the_test_command_of_the_readme() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert "`make test`" in (ROOT / "README.md").read_text()
