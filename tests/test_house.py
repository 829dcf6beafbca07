"""The house rules that no linter knows: lengths, docstrings, names, and a README that is true."""

from __future__ import annotations

import ast
import re
import subprocess
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from obligor.cli.app import app
from obligor.data.asof import known_on
from obligor.features.build import build_features
from obligor.features.catalogue import CATALOGUE, NAMES
from tests.ascii import ledger

ROOT = Path(__file__).parent.parent
ROOMS = ("obligor", "cli", "data", "features", "policy", "training", "serving")
FILES = [
    *(
        path
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        if not path.parent.is_symlink()
    ),
]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
RIM = {
    "app.py",
    "audit.py",
    "keys.py",
    "models.py",
    "policy.py",
    "portfolio.py",
    "tables.py",
    "service.py",
}


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text())
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_public_names_have_docstrings(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "module"
    for node in ast.walk(tree):
        if isinstance(
            node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and not node.name.startswith("_"):
            is_nested = not any(
                node in ast.iter_child_nodes(p) for p in (tree, *_classes(tree))
            )
            assert is_nested or ast.get_docstring(node), node.name


def _classes(tree: ast.Module) -> list[ast.ClassDef]:
    return [node for node in tree.body if isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_clock_environment_and_chance_live_at_the_rim(path: Path) -> None:
    if path.name in RIM:
        return
    text = path.read_text()
    for banned in (
        "date.today",
        "datetime.now",
        "time.time(",
        "os.environ",
        "os.getenv",
        "uuid4",
        "np.random.seed",
    ):
        assert banned not in text, banned


def test_no_file_is_named_for_nothing() -> None:
    assert not [
        p
        for p in [*FILES, *TESTS]
        if re.fullmatch(r"(utils?|helpers?|common|misc)\.py", p.name)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled_and_nothing_is_unfinished(path: Path) -> None:
    text = path.read_text()
    for banned in (
        "pickle",
        "joblib",
        "pyfunc",
        "TODO",
        "FIXME",
        "NotImplementedError",
        "pragma: no cover",
    ):
        assert banned not in text, banned


def test_there_is_one_service_and_nothing_depends_on_it() -> None:
    """BentoML's sockets between services run what they are sent."""
    texts = [path.read_text() for path in FILES if path.parent.name == "serving"]
    assert sum(text.count("@bentoml.service") for text in texts) == 1
    assert not any("depends(" in text for text in texts)


def test_the_catalogue_is_whole() -> None:
    assert len(NAMES) == len(set(NAMES)) >= 40
    for feature in CATALOGUE:
        assert "{value}" in feature.reason_en
        assert "{value}" in feature.reason_zh
        assert re.search(r"[\u4e00-\u9fff]", feature.reason_zh)
        assert feature.definition
        assert feature.unit in ("days", "share", "count", "ratio", "money")
        assert feature.low <= feature.high
        assert feature.direction in (-1, 0, 1)


def test_reasons_say_their_value_in_both_languages() -> None:
    said = [
        feature.reason(0.5, language)
        for feature in CATALOGUE
        for language in ("en", "zh")
    ]
    assert all("{" not in text for text in said)


def test_a_feature_that_can_be_unknown_says_why() -> None:
    people = "customer_id | registered_on\n A | 2024-01-01\n B | 2024-01-01"
    items = "invoice_id | customer_id | issued_on | due_on | amount\n I | B | 2024-01-01 | 2024-02-01 | 5"
    built = build_features(
        known_on(ledger(customers=people, invoices=items), date(2024, 3, 1))
    )
    unknown = {str(name) for name in built.columns[built.loc["A"].isna()]}
    assert unknown == {
        feature.name for feature in CATALOGUE if feature.unknown != "never"
    }
    for feature in CATALOGUE:
        assert set(feature.reason(float("nan"))) != set(
            feature.reason(float("nan"), "zh")
        )
        assert "{" not in feature.reason(float("nan"))


# --- the README


README = (ROOT / "README.md").read_text()


def test_the_readmes_commands_exist_with_their_options() -> None:
    commands = re.findall(
        r"^(?:\$ )?obligor ((?:policy|audit|keys|spec) \w+|\w+)(.*)$",
        README,
        re.MULTILINE,
    )
    assert {name for name, _ in commands} >= {
        "simulate",
        "check",
        "load",
        "train",
        "evaluate",
        "promote",
        "serve",
        "decide",
        "policy check",
        "policy release",
    }
    for name, rest in commands:
        text = (
            CliRunner()
            .invoke(app, [*name.split(), "--help"], env={"COLUMNS": "200"})
            .stdout
        )
        for option in re.findall(r"(--[a-z-]+)", rest):
            assert option in text, f"obligor {name} {option}"


def test_the_readmes_make_targets_and_files_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make (\w+)`", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for name in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (ROOT / name).exists(), name
    for name in re.findall(
        r"`((?:data|features|policy|training|serving|tests|notebooks)/[\w./-]*)`",
        README,
    ):
        assert (ROOT / name).exists(), name


def test_the_gate_calls_the_readmes_test_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert "`make test`" in README


def test_nothing_names_a_machine_or_a_registry() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    for name in listed:
        if not name.endswith((".png", ".csv", ".xz")) and (ROOT / name).is_file():
            text = (ROOT / name).read_text(encoding="utf-8")
            for banned in (
                "/work/" + "main",
                "/root" + "/",
                "pypi" + ".org",
                "files.python" + "hosted",
            ):
                assert banned not in text, name
