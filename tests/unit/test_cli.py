"""The command line, from a ledger to a decision; errors are one line and an exit code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from obligor.cli.app import app, main

COMMANDS = (
    "simulate",
    "check",
    "load",
    "train",
    "evaluate",
    "promote",
    "serve",
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
POLICY = ("check", "show", "diff", "export", "import", "test", "release", "simulate")
SMALL = Path(__file__).parents[2] / "data" / "samples" / "small" / "mapping.toml"
QUICK = "bootstrap_rounds = 30\n[model]\nmax_trees = 60\n[sample]\ntest_dates = 2\n"


def run(*words: str) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def demo(
    tmp_path_factory: pytest.TempPathFactory, ports: Iterator[int]
) -> tuple[Path, str, int]:
    """The folder `obligor demo` leaves, what it printed, and the port it served on."""
    folder, port = tmp_path_factory.mktemp("cli") / "demo", next(ports)
    return (
        folder,
        run("demo", folder, "--customers", "1000", "--port", port).stdout,
        port,
    )


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
        ("spec", "infer"),
    ],
)
def test_every_command_of_a_group_has_help_with_an_example(
    group: str, command: str
) -> None:
    text = run(group, command, "--help").stdout
    assert f"obligor {group} {command}" in " ".join(
        text.split("Example:")[1].replace("│", " ").split()
    )


def test_the_help_lists_exactly_the_commands() -> None:
    names = {
        command.name or command.callback.__name__ for command in app.registered_commands
    }  # type: ignore[union-attr]
    assert names == set(COMMANDS)


def test_the_demo_runs_end_to_end(demo: tuple[Path, str, int]) -> None:
    folder, printed, port = demo
    for expected in (
        "invoices of 1,000 customers",
        "loaded 1,000 customers",
        "plain LightGBM",
        "version 1, challenger",
        "version 1 is the champion, by demo",
        "PD, 12 months",
        "binds",
        "where to look next",
    ):
        assert expected in printed
    answer = json.loads((folder / "decision.json").read_bytes())
    assert answer["outcome"] in ("approve", "refer", "decline")
    assert answer["explanation"]["margin"]
    assert (folder / "model_report.html").stat().st_size > 50_000
    assert {p.name for p in folder.glob("*.png")} >= {
        "roc_curve.png",
        "reliability.png",
    }
    import httpx

    with pytest.raises(httpx.TransportError):  # it has stopped
        httpx.get(f"http://127.0.0.1:{port}/livez", timeout=2)


def test_from_a_model_to_an_audit(demo: tuple[Path, str, int]) -> None:
    folder, store = demo[0], demo[0] / "store"
    mapping = folder / "ledger" / "mapping.toml"
    (folder / "quick.toml").write_text(QUICK)
    options = ("--config", folder / "quick.toml", "--store", store)
    assert run("check", mapping).stdout.strip().endswith("usable")
    figures = json.loads(
        run("evaluate", mapping, *options, "--json").stdout.splitlines()[-1]
    )
    assert figures["version"] == "1"
    assert figures["figures"]["gini"]["low"] <= figures["figures"]["gini"]["value"]
    assert (
        "brier_constant" in run("evaluate", mapping, *options, "--version", "1").stdout
    )
    promoted = run(
        "promote",
        "latest",
        "--by",
        "A",
        "--because",
        "B",
        "--force",
        "--second",
        "C",
        "--store",
        store,
    )
    assert "version 1 is the champion, by A: B" in promoted.stdout
    shown = run("decide", "C0000001", "--amount", "100", "--store", store).stdout
    assert "PD, 12 months" in shown
    assert "binds" in shown
    answer = json.loads(
        run(
            "decide", "C0000001", "--as-of", "2024-06-30", "--json", "--store", store
        ).stdout
    )
    assert answer["as_of"] == "2024-06-30"
    # What was recorded is proven, replayed, resolved, erased.
    run("decide", "C0000002", "--amount", "90000000", "--store", store)
    assert (
        "credit" in run("cases", "--reevaluate", "--store", store).stdout
        or "director" in run("cases", "--store", store).stdout
    )
    assert (
        "5 came out bit for bit, 0 did not"
        in run("audit", "replay", "--all", "--store", store).stdout
    )
    checkpoints = store / "checkpoints"
    from obligor.serving.assembly import assemble_service
    from obligor.serving.settings import Settings
    from tests.conftest import NOW, VAULT

    settings = Settings.of({"OBLIGOR_STORE": str(store)})
    service = assemble_service(
        settings, now=lambda: NOW, new_id=str, random=VAULT.random
    )
    service.checkpointer.step()
    assert (
        "5 entries, 2 checkpoints, 0 receipts: all hold"
        in run("audit", "verify", "--store", store).stdout
    )
    assert (
        "entries cannot be read"
        in run(
            "audit", "erase", "C0000002", "--because", "asked", "--store", store
        ).stdout
    )
    assert (
        "all hold"
        in run("audit", "verify", "--against", checkpoints, "--store", store).stdout
    )
    assert (
        '"because":"asked"'
        in run("audit", "events", "--kind", "erasure", "--store", store).stdout
    )
    assert (
        "0 entries would go"
        in run("audit", "purge", "--trial", "--store", store).stdout
    )
    kept = json.loads(run("decide", "C0000001", "--json", "--store", store).stdout)[
        "decision_id"
    ]
    evidence, backup, fresh = (
        store.parent / "evidence.zip",
        store.parent / "backup",
        store.parent / "fresh",
    )
    assert (
        "README.txt"
        in run("audit", "bundle", kept, "--out", evidence, "--store", store).stdout
    )
    assert evidence.stat().st_size > 10_000
    assert "7 entries" in run("audit", "backup", backup, "--store", store).stdout
    shutil.copytree(store / "keys", fresh / "keys")
    restored = run("audit", "restore", backup, "--store", fresh).stdout
    assert "restored" in restored
    assert "7 entries, 3 checkpoints, 0 receipts: all hold" in restored
    looked = run("doctor", "--store", store)
    assert looked.exit_code == 1  # nobody has a key
    assert "nobody has one" in looked.stdout
    assert "version 1, signed" in looked.stdout
    assert "2 are erased" in run("audit", "replay", "--all", "--store", store).stdout
    shown = run("audit", "timeline", "--store", store).stdout
    assert "model" in shown
    assert "rulebook" in shown


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
        (["check", "nowhere.toml"], "error: nowhere.toml: cannot be read"),
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
