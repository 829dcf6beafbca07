"""The house rules that no linter knows: names, density, parameters, docstrings, rim."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

import pytest

from obligor.data.asof import known_on
from obligor.features.build import build_features
from obligor.features.catalogue import CATALOGUE, NAMES, Feature
from tests.ascii import ledger

ROOT = Path(__file__).parent.parent
ROOMS = (
    "obligor",
    "documents",
    "data",
    "reading",
    "connectors",
    "record",
    "features",
    "policy",
    "model",
    "metrics",
    "training",
    "estimators",
    "forecasts",
    "decisions",
    "portfolio",
    "casework",
    "serving",
    "cli",
)
# Numba compiles these; a struct in place of their parameters costs it its speed.
KERNELS = {
    "features/kernel.py",
    "model/treeshap/kernel.py",
    "model/treeshap/table_kernel.py",
}
# Clock, environment and chance may enter here, and nowhere else.
RIM = {"cli/arguments.py", "cli/app.py", "serving/process/service.py"}
VAGUE_NAMES = {
    "found",
    "one",
    "said",
    "told",
    "asked",
    "given",
    "wanted",
    "mine",
    "place",
    "known",
    "kept",
}
MOST_COLUMNS = 88
MOST_TOKENS_ON_A_LINE = 7.5
MOST_VAGUE_NAMES = 4 / 1000
MOST_PAIRED_ASSIGNMENTS = 3 / 1000
MOST_PARAMETERS = 5
MOST_STATEMENTS = 25
MOST_ANY_IN_SIGNATURES = 25
MOST_OF_ONE_ROOM = 0.20

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One file of Python: its path from the root, its text, its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    def functions(self) -> Iterator[Function]:
        """Give every function, nested ones too."""
        for node in ast.walk(self.tree):
            if isinstance(node, Function):
                yield node

    def public_functions(self) -> Iterator[Function]:
        """Give the public functions and methods of public classes."""
        for owner in (self.tree, *_public_classes(self.tree)):
            for node in owner.body:
                if isinstance(node, Function) and not node.name.startswith("_"):
                    yield node

    def code_lines(self) -> list[int]:
        """Return the number of tokens of each line of code, docstrings apart."""
        docstring_lines = set[int]()
        for node in ast.walk(self.tree):
            if _docstring(node) is not None:
                docstring = node.body[0]  # type: ignore[attr-defined]
                docstring_lines |= set(
                    range(docstring.lineno, docstring.end_lineno + 1)
                )
        counts: dict[int, int] = {}
        kinds = (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING)
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            line = token.start[0]
            if token.type in kinds and line not in docstring_lines:
                counts[line] = counts.get(line, 0) + 1
        return list(counts.values())


def _public_classes(tree: ast.Module) -> list[ast.ClassDef]:
    return [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]


def _docstring(node: ast.AST) -> str | None:
    if isinstance(node, Function | ast.ClassDef | ast.Module):
        return ast.get_docstring(node, clean=False)
    return None


def _parameters(function: Function) -> list[ast.arg]:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [parameter for parameter in every if parameter.arg not in ("self", "cls")]


def _read(path: Path) -> Source:
    text = path.read_text(encoding="utf-8")
    return Source(str(path.relative_to(ROOT)), text, ast.parse(text))


def _python_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*.py")) if path.is_file()]


@cache
def sources() -> tuple[Source, ...]:
    """Return every source file of the package."""
    return tuple(_read(path) for room in ROOMS for path in _python_files(ROOT / room))


@cache
def all_python() -> tuple[Source, ...]:
    """Return the sources, and the tests, benchmarks and reliability programs."""
    folders = ("tests", "benchmarks", "reliability")
    more = [path for folder in folders for path in _python_files(ROOT / folder)]
    return (*sources(), *map(_read, more))


def statements_of(function: Function) -> int:
    """Return how many statements a function has, nested functions apart."""
    count = 0
    queue: list[ast.AST] = list(function.body)
    while queue:
        node = queue.pop()
        if isinstance(node, ast.stmt):
            count += 1
        if not isinstance(node, Function | ast.ClassDef):
            queue += ast.iter_child_nodes(node)
    has_docstring = _docstring(function) is not None
    return count - has_docstring


# --- how the code reads


def test_a_line_of_code_is_light() -> None:
    counts = [count for source in sources() for count in source.code_lines()]
    mean = sum(counts) / len(counts)
    assert mean <= MOST_TOKENS_ON_A_LINE


def test_no_line_is_longer_than_88_columns() -> None:
    long_lines = [
        f"{source.path}:{number}"
        for source in all_python()
        for number, line in enumerate(source.text.split("\n"), start=1)
        if len(line) > MOST_COLUMNS
    ]
    assert not long_lines


def test_nothing_is_kept_from_the_formatter() -> None:
    pattern = re.compile(r"#\s*fmt:\s*(skip|off)")
    assert not [source.path for source in all_python() if pattern.search(source.text)]


def test_names_say_what_they_hold() -> None:
    names = []
    for source in sources():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Name):
                names.append(node.id)
            elif isinstance(node, ast.arg):
                names.append(node.arg)
    vague = [name for name in names if name in VAGUE_NAMES]
    assert len(vague) / len(names) <= MOST_VAGUE_NAMES


def test_unlike_things_are_not_assigned_in_one_statement() -> None:
    pairs = [
        f"{source.path}:{node.lineno}"
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Tuple)
        and isinstance(node.value, ast.Tuple)
    ]
    n_lines = sum(len(source.code_lines()) for source in sources())
    assert len(pairs) / n_lines <= MOST_PAIRED_ASSIGNMENTS, pairs


def test_no_function_takes_more_than_five_parameters() -> None:
    crowded = [
        f"{source.path}:{function.lineno} {function.name}"
        for source in sources()
        if source.path not in KERNELS
        for function in source.functions()
        if len(_parameters(function)) > MOST_PARAMETERS
    ]
    assert not crowded


def test_no_function_has_more_than_25_statements() -> None:
    long_functions = [
        f"{source.path}:{function.lineno} {function.name}: {statements_of(function)}"
        for source in sources()
        if source.path not in KERNELS
        for function in source.functions()
        if statements_of(function) > MOST_STATEMENTS
    ]
    assert not long_functions


def test_any_stays_at_the_edges() -> None:
    places = [
        f"{source.path}:{function.lineno}"
        for source in sources()
        for function in source.functions()
        for annotation in _annotations(function)
        if _mentions_any(annotation)
    ]
    assert len(places) <= MOST_ANY_IN_SIGNATURES, places


def _annotations(function: Function) -> list[ast.expr]:
    arguments = function.args
    every = [*_parameters(function), arguments.vararg, arguments.kwarg]
    annotations = [parameter.annotation for parameter in every if parameter]
    return [node for node in (*annotations, function.returns) if node]


def _mentions_any(annotation: ast.expr) -> bool:
    names = (node.id for node in ast.walk(annotation) if isinstance(node, ast.Name))
    return "Any" in names


def test_no_room_is_crowded() -> None:
    lines_by_room = {
        room: sum(
            len(source.code_lines())
            for source in sources()
            if source.path.startswith(f"{room}/")
        )
        for room in ROOMS
    }
    largest = max(lines_by_room, key=lambda room: lines_by_room[room])
    share = lines_by_room[largest] / sum(lines_by_room.values())
    assert share <= MOST_OF_ONE_ROOM, f"{largest} holds {share:.0%}"


# --- docstrings


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.path)
def test_public_names_have_docstrings(source: Source) -> None:
    assert _docstring(source.tree), "module"
    for owner in _public_classes(source.tree):
        assert _docstring(owner), owner.name
    for function in source.public_functions():
        assert _docstring(function), function.name


def test_parameters_of_public_functions_are_documented() -> None:
    lacking = []
    for source in sources():
        for function in source.public_functions():
            names = {parameter.arg for parameter in _parameters(function)}
            missing = names - _documented(function)
            if len(names) >= 3 and missing:
                place = f"{source.path}:{function.lineno} {function.name}"
                lacking.append(f"{place}: {', '.join(sorted(missing))}")
    assert not lacking


def _documented(function: Function) -> set[str]:
    """Return the names in the Parameters section of a docstring."""
    text = ast.get_docstring(function) or ""
    section = re.search(
        r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)",
        text,
        flags=re.MULTILINE | re.DOTALL,
    )
    if section is None:
        return set()
    names = set[str]()
    for line in section.group(1).split("\n"):
        is_entry = line and not line[0].isspace()
        if is_entry:
            names |= {name.strip(" *") for name in line.split(":")[0].split(",")}
    return names


# --- what may not be there


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.path)
def test_clock_environment_and_chance_live_at_the_rim(source: Source) -> None:
    if source.path in RIM:
        return
    banned = (
        "date.today",
        "datetime.now",
        "time.time(",
        "os.environ",
        "os.getenv",
        "uuid4",
        "np.random.seed",
    )
    assert not [name for name in banned if name in source.text]


def test_no_file_is_named_for_nothing() -> None:
    pattern = re.compile(r"(^|/)(utils?|helpers?|common|misc)\.py$")
    assert not [source.path for source in all_python() if pattern.search(source.path)]


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.path)
def test_nothing_is_unpickled_and_nothing_is_unfinished(source: Source) -> None:
    banned = (
        "pickle",
        "joblib",
        "TODO",
        "FIXME",
        "NotImplementedError",
        "pragma: no cover",
    )
    assert not [name for name in banned if name in source.text]


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.path)
def test_mlflow_loads_a_model_by_our_own_loader_only(source: Source) -> None:
    """MLflow's other ways to store a model run what they load."""
    allowed = {
        "model/mlflow_loader.py": {"_load_pyfunc"},
        "training/lifecycle/mlflow_store.py": {"mlflow.pyfunc.save_model"},
    }
    uses = re.findall(r"[\w.]*pyfunc[\w.]*", source.text)
    assert set(uses) <= allowed.get(source.path, set())
    assert "python_model" not in source.text


def test_there_is_one_service_and_nothing_depends_on_it() -> None:
    """BentoML's sockets between services run whatever they are sent."""
    texts = [source.text for source in sources() if source.path.startswith("serving/")]
    assert sum(text.count("@bentoml.service") for text in texts) == 1
    assert not any("depends(" in text for text in texts)


def test_nothing_names_a_machine_or_a_registry() -> None:
    banned = (
        "/work/" + "main",
        "/root" + "/",
        "pypi" + ".org",
        "files.python" + "hosted",
    )
    for path in listed_files():
        if path.suffix in (".png", ".csv", ".zip", ".gz", ".xz"):
            continue
        text = path.read_text(encoding="utf-8")
        assert not [name for name in banned if name in text], path


def listed_files() -> list[Path]:
    """Return the files that git knows, links to folders apart."""
    listing = subprocess.run(
        ["git", "ls-files"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [ROOT / name for name in listing.stdout.split()]
    return [path for path in paths if path.is_file()]


# --- one package


def project() -> dict[str, dict[str, dict[str, object]]]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_packages_are_the_folders() -> None:
    folders = {"obligor"}
    for room in ROOMS[1:]:
        for path in _python_files(ROOT / room):
            folder = path.parent.relative_to(ROOT)
            folders.add(".".join(("obligor", *folder.parts)))
    setuptools = project()["tool"]["setuptools"]
    assert set(setuptools["packages"]) == folders  # type: ignore[call-overload]
    assert setuptools["package-dir"] == {f"obligor.{room}": room for room in ROOMS[1:]}


@pytest.mark.parametrize("room", ROOMS[1:])
def test_every_room_has_its_link(room: str) -> None:
    link = ROOT / "obligor" / room
    assert link.is_symlink()
    assert link.readlink() == Path("..") / room


def test_the_gate_calls_the_readmes_test_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert "`make test`" in (ROOT / "README.md").read_text(encoding="utf-8")


# --- the feature catalogue


def test_the_catalogue_is_whole() -> None:
    assert len(NAMES) == len(set(NAMES)) >= 40
    for feature in CATALOGUE:
        assert feature.definition
        assert feature.unit in ("days", "share", "count", "ratio", "money")
        assert feature.low <= feature.high
        assert feature.direction in (-1, 0, 1)


@pytest.mark.parametrize("feature", CATALOGUE, ids=lambda feature: feature.name)
def test_a_reason_is_written_in_both_languages(feature: Feature) -> None:
    assert "{value}" in feature.reason_en
    assert "{value}" in feature.reason_zh
    assert re.search(r"[\u4e00-\u9fff]", feature.reason_zh)


def test_reasons_show_their_value_in_both_languages() -> None:
    texts = [
        feature.reason(0.5, language)
        for feature in CATALOGUE
        for language in ("en", "zh")
    ]
    assert all("{" not in text for text in texts)


def test_a_feature_that_can_be_unknown_explains_why() -> None:
    customers = """
        customer_id | registered_on
        A           | 2024-01-01
        B           | 2024-01-01
        """
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        I          | B           | 2024-01-01 | 2024-02-01 | 5
        """
    history = known_on(
        ledger(customers=customers, invoices=invoices),
        date(2024, 3, 1),
    )
    features = build_features(history)
    unknown = {str(name) for name in features.columns[features.loc["A"].isna()]}
    assert unknown == {
        feature.name for feature in CATALOGUE if feature.unknown != "never"
    }


@pytest.mark.parametrize("feature", CATALOGUE, ids=lambda feature: feature.name)
def test_an_unknown_value_has_a_reason_in_both_languages(feature: object) -> None:
    english = feature.reason(float("nan"))  # type: ignore[attr-defined]
    chinese = feature.reason(float("nan"), "zh")  # type: ignore[attr-defined]
    assert english != chinese
    assert "{" not in english
