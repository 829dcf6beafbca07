"""Rulebooks between people: drafts, release by a second person, Excel there and back, differences."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from openpyxl import load_workbook

from obligor.data.synthetic import simulate_ledger, write_ledger
from obligor.errors import PolicyError, SchemaError, UnknownCustomerError
from obligor.policy.rulebooks.rulebook import (
    RULES,
    TABLES,
    folders,
    in_force,
    read_release,
    read_rulebook,
    read_rulebooks,
    release_rulebook,
)
from obligor.policy.rulebooks.workbook import (
    differences,
    export_workbook,
    import_workbook,
)
from obligor.signing import Signer, public_key
from obligor.training.runs.ledger_run import Trained
from tests.conftest import SIGNER
from tests.unit.test_cli import run

AT = datetime(2025, 12, 1, tzinfo=UTC)
OLD, NEW = "2000-01-01", "2026-01-01"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(RULES, tmp_path / "rules")
    return tmp_path / "rules"


@pytest.fixture
def xlsx(tmp_path: Path) -> Path:
    export_workbook(read_rulebook(RULES / OLD), tmp_path / "rules.xlsx")
    return tmp_path / "rules.xlsx"


def edited(xlsx: Path, sheet: str, rule: str, column: str, value: object) -> None:
    """What a person does: find the row, find the column, type."""
    book = load_workbook(xlsx)
    rows = list(book[sheet].iter_rows())
    names = next(row for row in rows if row[0].value in ("rule", "name"))
    row = next(row for row in rows if row[0].value == rule)
    row[[cell.value for cell in names].index(column)].value = value
    book.save(xlsx)


def test_excel_there_and_back_changes_nothing(xlsx: Path, root: Path) -> None:
    old, new = read_rulebook(root / OLD), import_workbook(xlsx, root / NEW)
    assert list(differences(old, new)) == []
    for name in TABLES:
        assert new.tables[name].rules == old.tables[name].rules
        assert new.tables[name].inputs == old.tables[name].inputs
        assert [new.specs[name]["cases"]] == [old.specs[name]["cases"]]
    assert new.parameters == old.parameters
    assert (new.effective, new.makers) == (date(2026, 1, 1), old.makers)


def test_an_edit_in_excel_is_the_only_difference(xlsx: Path, root: Path) -> None:
    edited(xlsx, "hard_stops", "P09", "disputed_share", "> 0.4")
    edited(xlsx, "review", "N1", "review_days", 14)
    edited(xlsx, "parameters", "lgd", "value", 0.5)
    book = load_workbook(xlsx)
    cases = book["review cases"]
    assert cases["C3"].value == 30
    cases["C3"].value = 14
    book.save(xlsx)
    new = import_workbook(xlsx, root / NEW)
    assert list(differences(read_rulebook(root / OLD), new)) == [
        "parameters lgd: 0.45 -> 0.5",
        "hard_stops P09 disputed_share: > 0.5 -> > 0.4",
        "review N1 review_days: 30 -> 14",
    ]


@pytest.mark.parametrize(
    ("sheet", "rule", "column", "value", "told"),
    [
        (
            "hard_stops",
            "P05",
            "dpd_days",
            "> 6O",
            "hard_stops row P05, dpd_days: cannot read '> 6O'",
        ),
        (
            "hard_stops",
            "P05",
            "because",
            "",
            "hard_stops row P05: the row has no id or no because",
        ),
        ("terms", "T6", "grade", "[7..8]", "overlap"),
        ("review", "N1", "review_days", 14, "gives review_days = 14"),
        ("review", "N1", "review_days", "soon", "another type"),
        ("parameters", "lgd", "value", 4.5, "parameters.lgd: 4.5 is out of range"),
        ("parameters", "lgd", "value", "=1/2", "is not a number"),
    ],
)
def test_a_doubtful_edit_is_refused_and_leaves_nothing(
    xlsx: Path, root: Path, sheet: str, rule: str, column: str, value: object, told: str
) -> None:
    edited(xlsx, sheet, rule, column, value)
    with pytest.raises(PolicyError, match=told):
        import_workbook(xlsx, root / NEW)
    assert [folder.name for folder in folders(root)] == [OLD]


def test_what_is_no_workbook_of_ours_is_refused(
    tmp_path: Path, xlsx: Path, root: Path
) -> None:
    (tmp_path / "text.xlsx").write_text("id,hit")
    with pytest.raises(PolicyError, match="cannot be read"):
        import_workbook(tmp_path / "text.xlsx", root / NEW)
    with pytest.raises(PolicyError, match="already exists"):
        import_workbook(xlsx, root / OLD)
    with pytest.raises(PolicyError, match="is not a date"):
        import_workbook(xlsx, root / "next-year")
    book = load_workbook(xlsx)
    del book["terms"]
    book.save(xlsx)
    with pytest.raises(PolicyError, match=r"lacks the sheets \['terms'\]"):
        import_workbook(xlsx, root / NEW)


def test_a_draft_decides_nothing_until_a_second_person_releases_it(
    xlsx: Path, root: Path
) -> None:
    import_workbook(xlsx, root / NEW)
    assert in_force(read_rulebooks(root)[0], date(2026, 6, 1)).version == OLD
    for by, because, told in (
        ("Obligor's authors", "x", "made it; expected a second person"),
        ("  obligor's AUTHORS ", "x", "made it; expected a second person"),
        (" ", "x", "the release has no name or no reason"),
        ("C. Manager", "", "the release has no name or no reason"),
    ):
        with pytest.raises(PolicyError, match=told):
            release_rulebook(root / NEW, by, because, AT, SIGNER)
    release_rulebook(root / NEW, "C. Manager", "board decision", AT, SIGNER)
    rulebooks, refused = read_rulebooks(root)
    assert not refused
    assert in_force(rulebooks, date(2025, 12, 31)).version == OLD
    assert in_force(rulebooks, date(2026, 1, 1)).version == NEW
    found = read_release(root / NEW, rulebooks[1])
    assert (found["released_by"], found["released_at"]) == (
        "C. Manager",
        AT.isoformat(),
    )
    with pytest.raises(PolicyError, match="is already released"):
        release_rulebook(root / NEW, "D. Director", "again", AT, SIGNER)


def test_only_what_a_trusted_key_signed_is_parsed(xlsx: Path, root: Path) -> None:
    import_workbook(xlsx, root / NEW)
    release_rulebook(root / NEW, "C. Manager", "board decision", AT, SIGNER)
    shutil.rmtree(root / OLD)
    mine, other = (
        public_key(signer.public, "test") for signer in (SIGNER, Signer(bytes(32)))
    )
    assert [one.version for one in read_rulebooks(root, [other, mine])[0]] == [NEW]
    release, signature = root / NEW / "release.yaml", root / NEW / "release.sig"
    for path in (root / NEW / "terms.yaml", release, signature):
        whole = path.read_bytes()
        path.write_bytes(b"{" + whole[1:])  # no YAML any more: parsing it would say so
        with pytest.raises(PolicyError, match="not signed by any of 1 trusted"):
            read_rulebooks(root, [mine])
        path.write_bytes(whole)
    for keys in ([], [other]):
        with pytest.raises(PolicyError, match="OBLIGOR_TRUSTED_KEYS"):
            read_rulebooks(root, keys)


def test_what_was_changed_after_its_release_is_refused(xlsx: Path, root: Path) -> None:
    import_workbook(xlsx, root / NEW)
    release_rulebook(root / NEW, "C. Manager", "board decision", AT, SIGNER)
    path = root / NEW / "parameters.yaml"
    path.write_text(path.read_text().replace("0.45", "0.44", 1))
    rulebooks, (told,) = read_rulebooks(root)
    assert "changed after its release" in str(told)
    assert in_force(rulebooks, date(2026, 6, 1)).version == OLD
    (root / NEW / "release.yaml").write_text("released_by: C. Manager\n")
    assert "lacks" in str(read_rulebooks(root)[1][0])


def test_the_commands(xlsx: Path, root: Path, tmp_path: Path) -> None:
    rules = ["--rules", str(root)]
    assert "good" in run("policy", "check", *rules).stdout
    assert (
        "P05"
        in run(
            "policy", "show", "--table", "hard_stops", "--as-of", "2025-01-01", *rules
        ).stdout
    )
    assert "lgd" in run("policy", "show", OLD, *rules).stdout
    assert "cases pass" in run("policy", "test", OLD, *rules).stdout
    run("policy", "export", OLD, "--xlsx", str(tmp_path / "out.xlsx"), *rules)
    edited(tmp_path / "out.xlsx", "parameters", "lgd", "value", 0.5)
    assert (
        "draft"
        in run(
            "policy", "import", NEW, "--xlsx", str(tmp_path / "out.xlsx"), *rules
        ).stdout
    )
    assert "draft" in run("policy", "check", *rules).stdout
    told = run("policy", "diff", OLD, NEW, *rules).stdout
    assert "parameters lgd: 0.45 -> 0.5" in told
    assert "1 changes" in told
    run("policy", "release", NEW, "--by", "C. Manager", "--because", "board", *rules)
    assert "released by C. Manager" in run("policy", "check", *rules).stdout
    (root / NEW / "terms.yaml").unlink()
    done = run("policy", "check", *rules)
    assert (done.exit_code, "doubtful" in done.stdout) == (1, True)
    nowhere = str(tmp_path / "nowhere")
    for words, error, message in (
        (["show", "--table", "nothing"], PolicyError, "no table 'nothing'"),
        (["show", "--as-of", "yesterday"], SchemaError, "is not a date"),
        (["check", "--rules", nowhere], PolicyError, "no such folder"),
    ):
        with pytest.raises(error, match=message):
            run("policy", *words)


def test_a_ledger_is_simulated_under_two_rulebooks(
    root: Path, trained: Trained, store: Path, tmp_path: Path
) -> None:
    write_ledger(simulate_ledger(200, 24, seed=5), tmp_path / "ledger")
    shutil.copytree(root / OLD, root / NEW)
    for path in (root / NEW).glob("*.yaml"):
        path.write_text(
            path.read_text()
            .replace(f"effective: {OLD}", f"effective: {NEW}")
            .replace("0.45,", "0.9,")
        )
    words = [
        "policy",
        "simulate",
        str(tmp_path / "ledger" / "mapping.toml"),
        "--from",
        OLD,
        "--to",
        NEW,
        "--as-of",
        "2023-10-31",
        "--store",
        str(store),
        "--rules",
        str(root),
    ]
    found = json.loads(run(*words, "--json").stdout)
    everyone = found["all"]["all"]
    assert 150 < everyone["customers"] <= 200
    assert everyone["expected_loss"][1] > everyone["expected_loss"][0]
    assert set(found) == {
        "all",
        "grade",
        "customer_class",
        "sector",
        "country",
        "movers",
    }
    moved = found["movers"][0]
    assert any(change.startswith("cap economic") for change in moved["because"])
    assert moved["customer_id"] in run(*words).stdout
    alone = json.loads(run(*words, "--customer", moved["customer_id"], "--json").stdout)
    assert alone["movers"] == [moved]
    with pytest.raises(UnknownCustomerError, match="no customer 'NOBODY'"):
        run(*words, "--customer", "NOBODY")
