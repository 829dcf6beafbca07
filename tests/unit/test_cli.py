"""The command line, from a ledger to a decision; an error is one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from obligor.cli.app import app, main
from obligor.serving.assembly import assemble_service
from obligor.serving.settings import Settings
from tests.conftest import NOW, VAULT

COMMANDS = (
    "simulate",
    "map",
    "check",
    "load",
    "train",
    "evaluate",
    "promote",
    "serve",
    "customer",
    "decide",
    "demo",
    "review",
    "cash",
    "cases",
    "doctor",
    "recalibrate",
    "monitor",
    "lgd",
    "shadow",
    "compare",
    "models",
    "register",
    "score",
    "mlflow",
)
KEYS = ("create", "revoke", "list")
AUDIT = (
    "verify",
    "replay",
    "erase",
    "rotate",
    "timeline",
    "purge",
    "events",
    "bundle",
    "backup",
    "restore",
)
WEBHOOKS = (
    "add",
    "list",
    "remove",
    "rotate",
    "test",
    "deliveries",
    "retry",
    "deliver",
)
POLICY = ("check", "show", "diff", "export", "import", "test", "release", "simulate")
SMALL = Path(__file__).parents[2] / "data" / "samples" / "small" / "mapping.toml"
QUICK = "bootstrap_rounds = 30\n[model]\nmax_trees = 60\n[sample]\ntest_dates = 2\n"


def run(*words: str) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@dataclass(frozen=True)
class Demo:
    """What `obligor demo` leaves behind."""

    folder: Path
    printed: str
    port: int

    @property
    def mapping(self) -> Path:
        return self.folder / "ledger" / "mapping.toml"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, ports: Iterator[int]) -> Demo:
    folder = tmp_path_factory.mktemp("cli") / "demo"
    port = next(ports)
    result = run("demo", folder, "--customers", "1000", "--port", port)
    return Demo(folder, result.stdout, port)


@pytest.fixture
def store(demo: Demo, tmp_path: Path) -> Path:
    """A copy of the demo's store; one decision is recorded in it."""
    return Path(shutil.copytree(demo.folder / "store", tmp_path / "store"))


@pytest.fixture
def quick_config(tmp_path: Path) -> Path:
    path = tmp_path / "quick.toml"
    path.write_text(QUICK)
    return path


def decided(store: Path, customer_id: str, *options: str) -> dict[str, Any]:
    """Decide on a customer and return the answer."""
    result = run("decide", customer_id, *options, "--json", "--store", store)
    return dict(json.loads(result.stdout))


def sign_checkpoint(store: Path) -> None:
    """Sign for every entry of a store, as the service does once or twice a second."""
    settings = Settings.of({"OBLIGOR_STORE": str(store)})
    service = assemble_service(
        settings,
        now=lambda: NOW,
        new_id=str,
        random=VAULT.random,
    )
    service.checkpointer.step()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    text = run(command, "--help").stdout
    assert f"Example: obligor {command}" in " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    ("group", "command"),
    [
        *(("policy", name) for name in POLICY),
        *(("audit", name) for name in AUDIT),
        *(("keys", name) for name in KEYS),
        *(("webhooks", name) for name in WEBHOOKS),
        ("spec", "infer"),
    ],
)
def test_every_command_of_a_group_has_help_with_an_example(
    group: str, command: str
) -> None:
    text = run(group, command, "--help").stdout
    example = " ".join(text.split("Example:")[1].replace("│", " ").split())
    assert f"obligor {group} {command}" in example


def test_the_help_lists_exactly_the_commands() -> None:
    names = set[str]()
    for command in app.registered_commands:
        assert command.callback is not None
        names.add(command.name or command.callback.__name__)
    assert names == set(COMMANDS)


@pytest.mark.parametrize(
    "text",
    [
        "invoices of 1,000 customers",
        "loaded 1,000 customers",
        "plain LightGBM",
        "version 1, challenger",
        "version 1 is the champion, by demo",
        "PD, 12 months",
        "binds",
        "where to look next",
    ],
)
def test_the_demo_prints_each_step(demo: Demo, text: str) -> None:
    assert text in demo.printed


def test_the_demo_leaves_an_answer_a_report_and_pictures(demo: Demo) -> None:
    answer = json.loads((demo.folder / "decision.json").read_bytes())
    assert answer["outcome"] in ("approve", "refer", "decline")
    assert answer["explanation"]["margin"]
    assert (demo.folder / "model_report.html").stat().st_size > 50_000
    pictures = {path.name for path in demo.folder.glob("*.png")}
    assert pictures >= {"roc_curve.png", "reliability.png"}


def test_the_demo_stops_its_service(demo: Demo) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{demo.port}/livez", timeout=2)


def test_a_good_ledger_is_usable(demo: Demo) -> None:
    assert run("check", demo.mapping).stdout.strip().endswith("usable")


def test_evaluate_prints_one_json_object(
    demo: Demo, store: Path, quick_config: Path
) -> None:
    options = ("--config", quick_config, "--store", store, "--json")
    last_line = run("evaluate", demo.mapping, *options).stdout.splitlines()[-1]
    evaluation = json.loads(last_line)
    assert evaluation["version"] == "1"
    gini = evaluation["figures"]["gini"]
    assert gini["low"] <= gini["value"]


def test_evaluate_prints_a_table(demo: Demo, store: Path, quick_config: Path) -> None:
    options = ("--config", quick_config, "--store", store, "--version", "1")
    assert "brier_constant" in run("evaluate", demo.mapping, *options).stdout


def test_a_forced_promotion_names_who_and_why(store: Path) -> None:
    people = ("--by", "A", "--because", "B", "--force", "--second", "C")
    result = run("promote", "latest", *people, "--store", store)
    assert "version 1 is the champion, by A: B" in result.stdout


def test_decide_prints_a_decision(store: Path) -> None:
    result = run("decide", "C0000001", "--amount", "100", "--store", store)
    assert "PD, 12 months" in result.stdout
    assert "binds" in result.stdout
    assert "of it past due" in result.stdout


def test_decide_takes_a_past_date(store: Path) -> None:
    answer = decided(store, "C0000001", "--as-of", "2024-06-30")
    assert answer["as_of"] == "2024-06-30"


def test_a_large_request_becomes_a_case(store: Path) -> None:
    run("decide", "C0000002", "--amount", "90000000", "--store", store)
    reevaluated = run("cases", "--reevaluate", "--store", store).stdout
    listed = run("cases", "--store", store).stdout
    assert "credit" in reevaluated or "director" in listed


def test_recorded_decisions_replay_bit_for_bit(store: Path) -> None:
    decided(store, "C0000001")
    result = run("audit", "replay", "--all", "--store", store)
    assert "2 came out bit for bit, 0 did not" in result.stdout


def test_the_record_verifies_against_its_checkpoints(store: Path) -> None:
    decided(store, "C0000001")
    sign_checkpoint(store)
    result = run("audit", "verify", "--store", store)
    assert "2 entries, 2 checkpoints, 0 receipts: all hold" in result.stdout


def test_an_erased_customer_cannot_be_read_and_the_record_verifies(
    store: Path,
) -> None:
    decided(store, "C0000002")
    sign_checkpoint(store)
    options = ("--because", "requested", "--store", store)
    erased = run("audit", "erase", "C0000002", *options)
    assert "1 entries cannot be read" in erased.stdout
    replayed = run("audit", "replay", "--all", "--store", store)
    assert "1 are erased" in replayed.stdout
    checkpoints = ("--against", store / "checkpoints")
    verified = run("audit", "verify", *checkpoints, "--store", store)
    assert "all hold" in verified.stdout


def test_an_erasure_is_an_event(store: Path) -> None:
    decided(store, "C0000002")
    options = ("--because", "requested", "--store", store)
    run("audit", "erase", "C0000002", *options)
    events = run("audit", "events", "--kind", "erasure", "--store", store).stdout
    assert '"because":"requested"' in events


def test_a_trial_purge_only_counts(store: Path) -> None:
    result = run("audit", "purge", "--trial", "--store", store)
    assert "0 entries would go" in result.stdout


def test_a_bundle_of_evidence_is_written(store: Path, tmp_path: Path) -> None:
    decision_id = decided(store, "C0000001")["decision_id"]
    path = tmp_path / "evidence.zip"
    result = run("audit", "bundle", decision_id, "--out", path, "--store", store)
    assert "README.txt" in result.stdout
    assert path.stat().st_size > 10_000


def test_a_backup_is_restored_and_verified(store: Path, tmp_path: Path) -> None:
    decided(store, "C0000001")
    sign_checkpoint(store)
    backup = run("audit", "backup", tmp_path / "backup", "--store", store)
    # The line is broken wherever the paths of the day end.
    assert "2 entries" in " ".join(backup.stdout.split())
    fresh = tmp_path / "fresh"
    shutil.copytree(store / "keys", fresh / "keys")
    restored = run("audit", "restore", tmp_path / "backup", "--store", fresh)
    assert "restored" in restored.stdout
    assert "2 entries, 2 checkpoints, 0 receipts: all hold" in restored.stdout


def test_the_doctor_warns_that_nobody_has_a_key(store: Path) -> None:
    result = run("doctor", "--store", store)
    assert result.exit_code == 1
    assert "there is no valid" in result.stdout
    assert "version 1, signed" in result.stdout


def test_the_timeline_names_model_and_rulebook(store: Path) -> None:
    timeline = run("audit", "timeline", "--store", store).stdout
    assert "model" in timeline
    assert "rulebook" in timeline


def test_check_prints_findings_and_says_usable(tmp_path: Path) -> None:
    result = run("check", SMALL, "--quarantine", tmp_path)
    assert result.exit_code == 0
    assert "usable" in result.stdout


def test_check_exits_1_on_a_refused_ledger(tmp_path: Path) -> None:
    for path in SMALL.parent.iterdir():
        (tmp_path / path.name).write_text(path.read_text())
    invoices = (tmp_path / "invoices.csv").read_text().replace(",EUR,", ",EURO,")
    (tmp_path / "invoices.csv").write_text(invoices)
    result = CliRunner().invoke(
        app,
        ["check", str(tmp_path / "mapping.toml"), "--quarantine", str(tmp_path / "q")],
    )
    assert result.exit_code == 1
    assert "is 'EURO'; expected an ISO 4217 currency code" in " ".join(
        result.stdout.split()
    )
    assert "and" in result.stdout  # more findings than are printed are counted
    assert "refused" in result.stdout
    assert (tmp_path / "q" / "invoices.csv").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["check", "nowhere.toml"], "error: nowhere.toml: the mapping cannot be read"),
        (
            ["decide", "X", "--as-of", "soon"],
            "error: as_of: Input should be a valid date",
        ),
        (["decide", "X"], "no champion model"),
        (["train", str(SMALL)], "error: as-of grid: the ledger is too short"),
        (
            ["promote", "latest", "--by", "a", "--because", "b"],
            "run `obligor train` first",
        ),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["obligor", *words])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    text = " ".join(capsys.readouterr().err.split())
    assert told in text
    assert "Traceback" not in text


def test_a_good_command_exits_0_and_an_unknown_one_2() -> None:
    for words, code in ((["--help"], 0), (["fly"], 2)):
        done = subprocess.run(
            [sys.executable, "-m", "obligor", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code
        assert "Traceback" not in done.stderr
