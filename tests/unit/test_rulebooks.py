"""Rulebooks between people: drafts, releases, Excel and back, and differences."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from openpyxl import load_workbook

from obligor.data.synthetic import simulate_ledger, write_ledger
from obligor.errors import (
    ObligorError,
    PolicyError,
    SchemaError,
    UnknownCustomerError,
)
from obligor.policy.collecting.late_interest import outdated_rates
from obligor.policy.rulebooks.rulebook import (
    INTEREST_TABLES,
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

AT = datetime(
    2025,
    12,
    1,
    tzinfo=UTC,
)
OLD, NEW = "2000-01-01", "2026-01-01"
LAW_BY_DAY = "2023-12-31"  # the first one with the law on late interest by day


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(RULES / OLD, tmp_path / "rules" / OLD)
    return tmp_path / "rules"


@pytest.fixture
def xlsx(tmp_path: Path) -> Path:
    export_workbook(read_rulebook(RULES / OLD), tmp_path / "rules.xlsx")
    return tmp_path / "rules.xlsx"


class Edit(NamedTuple):
    """What a person types into one cell of a rulebook in Excel."""

    sheet: str
    row: str
    column: str
    value: object

    def apply(self, xlsx: Path) -> None:
        book = load_workbook(xlsx)
        rows = list(book[self.sheet].iter_rows())
        header = next(row for row in rows if row[0].value in ("rule", "name"))
        cells = next(row for row in rows if row[0].value == self.row)
        names = [cell.value for cell in header]
        cells[names.index(self.column)].value = self.value
        book.save(xlsx)


def test_export_and_import_change_nothing(xlsx: Path, root: Path) -> None:
    old = read_rulebook(root / OLD)
    new = import_workbook(xlsx, root / NEW)
    assert list(differences(old, new)) == []
    for name in TABLES:
        assert new.tables[name].rules == old.tables[name].rules
        assert new.tables[name].inputs == old.tables[name].inputs
        assert new.specs[name]["cases"] == old.specs[name]["cases"]
    assert new.parameters == old.parameters


def test_a_rulebook_with_the_law_by_day_survives_excel(tmp_path: Path) -> None:
    old = read_rulebook(RULES / LAW_BY_DAY)
    path = tmp_path / "rules.xlsx"
    export_workbook(old, path)
    new = import_workbook(path, tmp_path / NEW)
    assert list(differences(old, new)) == []
    assert set(INTEREST_TABLES) <= set(new.tables)
    assert "late_interest" not in new.tables


def test_the_rate_of_a_half_year_is_added_in_excel(tmp_path: Path) -> None:
    path = tmp_path / "rules.xlsx"
    export_workbook(read_rulebook(RULES / LAW_BY_DAY), path)
    Edit("reference_rates", "E09", "day", "[20260701..20270701)").apply(path)
    Edit("reference_rates", "E99", "day", ">= 20270701").apply(path)
    # The worked example says that the day has no rate.
    book = load_workbook(path)
    book["reference_rates cases"]["B3"].value = 20270701
    book.save(path)
    new = import_workbook(path, tmp_path / "2027-01-01")
    day = date(2027, 2, 1)
    references = [rate.reference for rate in outdated_rates(new, day)]
    assert "ecb" not in references
    assert "bundesbank" in references


def test_differences_name_the_tables_that_only_one_rulebook_has() -> None:
    old = read_rulebook(RULES / OLD)
    changes = list(differences(old, read_rulebook(RULES / LAW_BY_DAY)))
    assert "late_interest hit: unique -> (none)" in changes
    assert "compensation hit: (none) -> unique" in changes


@pytest.mark.parametrize(
    ("table", "before", "after", "message"),
    [
        (
            "compensation",
            "values: [AT, BE,",
            "values: [BE, AT,",
            "those of interest_law",
        ),
        (
            "reference_rates",
            "[ecb, bundesbank,",
            "[bundesbank, ecb,",
            "those of interest",
        ),
        ("interest_laws", "other", "elsewhere", "lacks the value other"),
    ],
)
def test_the_tables_of_the_law_name_the_same_countries_and_rates(
    tmp_path: Path, table: str, before: str, after: str, message: str
) -> None:
    folder = tmp_path / LAW_BY_DAY
    shutil.copytree(RULES / LAW_BY_DAY, folder)
    path = folder / f"{table}.yaml"
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(PolicyError, match=message):
        read_rulebook(folder)


def test_an_imported_rulebook_has_its_date_and_its_makers(
    xlsx: Path, root: Path
) -> None:
    new = import_workbook(xlsx, root / NEW)
    assert new.effective == date(2026, 1, 1)
    assert new.makers == read_rulebook(root / OLD).makers


def test_an_edit_in_excel_is_the_only_difference(xlsx: Path, root: Path) -> None:
    Edit("hard_stops", "P09", "disputed_share", "> 0.4").apply(xlsx)
    Edit("review", "N1", "review_days", 14).apply(xlsx)
    Edit("parameters", "lgd", "value", 0.5).apply(xlsx)
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
    ("edit", "message"),
    [
        (
            Edit("hard_stops", "P05", "dpd_days", "> 6O"),
            "hard_stops row P05, dpd_days: cannot read '> 6O'",
        ),
        (
            Edit("hard_stops", "P05", "because", ""),
            "hard_stops row P05: the row has no id or no because",
        ),
        (
            Edit("terms", "T6", "grade", "[7..8]"),
            "overlap",
        ),
        (
            Edit("review", "N1", "review_days", 14),
            "gives review_days = 14",
        ),
        (
            Edit("review", "N1", "review_days", "soon"),
            "another type",
        ),
        (
            Edit("parameters", "lgd", "value", 4.5),
            "parameters.lgd: 4.5 is out of range",
        ),
        (
            Edit("parameters", "lgd", "value", "=1/2"),
            "is not a number",
        ),
    ],
)
def test_a_doubtful_edit_is_refused_and_leaves_nothing(
    xlsx: Path,
    root: Path,
    edit: Edit,
    message: str,
) -> None:
    edit.apply(xlsx)
    with pytest.raises(PolicyError, match=message):
        import_workbook(xlsx, root / NEW)
    assert [folder.name for folder in folders(root)] == [OLD]


def test_a_file_that_is_not_a_workbook_is_refused(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "text.xlsx"
    path.write_text("id,hit")
    with pytest.raises(PolicyError, match="cannot be read"):
        import_workbook(path, root / NEW)


@pytest.mark.parametrize(
    ("version", "message"), [(OLD, "already exists"), ("next-year", "is not a date")]
)
def test_an_import_needs_a_new_date(
    xlsx: Path,
    root: Path,
    version: str,
    message: str,
) -> None:
    with pytest.raises(PolicyError, match=message):
        import_workbook(xlsx, root / version)


def test_a_workbook_without_a_sheet_is_refused(xlsx: Path, root: Path) -> None:
    book = load_workbook(xlsx)
    del book["terms"]
    book.save(xlsx)
    with pytest.raises(PolicyError, match=r"lacks the sheets \['terms'\]"):
        import_workbook(xlsx, root / NEW)


# --- releases


@pytest.fixture
def draft(xlsx: Path, root: Path) -> Path:
    """A folder with a draft of a new rulebook."""
    import_workbook(xlsx, root / NEW)
    return root / NEW


@pytest.fixture
def released(draft: Path) -> Path:
    """A folder with a rulebook that C. Manager released."""
    release_rulebook(draft, "C. Manager", "board decision", AT, SIGNER)
    return draft


def version_in_force(root: Path, as_of: date) -> str:
    rulebooks, _ = read_rulebooks(root)
    return in_force(rulebooks, as_of).version


def test_a_draft_decides_nothing(draft: Path, root: Path) -> None:
    assert version_in_force(root, date(2026, 6, 1)) == OLD


@pytest.mark.parametrize(
    ("by", "because", "message"),
    [
        ("Obligor's authors", "x", "made it; expected a second person"),
        ("  obligor's AUTHORS ", "x", "made it; expected a second person"),
        (" ", "x", "the release has no name or no reason"),
        ("C. Manager", "", "the release has no name or no reason"),
    ],
)
def test_a_release_needs_a_second_person_and_a_reason(
    draft: Path,
    by: str,
    because: str,
    message: str,
) -> None:
    with pytest.raises(PolicyError, match=message):
        release_rulebook(draft, by, because, AT, SIGNER)


def test_a_released_rulebook_is_in_force_from_its_date(
    released: Path, root: Path
) -> None:
    _, refused = read_rulebooks(root)
    assert not refused
    assert version_in_force(root, date(2025, 12, 31)) == OLD
    assert version_in_force(root, date(2026, 1, 1)) == NEW


def test_a_release_says_who_and_when(released: Path) -> None:
    release = read_release(released, read_rulebook(released))
    assert release["released_by"] == "C. Manager"
    assert release["released_at"] == AT.isoformat()


def test_a_rulebook_is_released_once(released: Path) -> None:
    with pytest.raises(PolicyError, match="is already released"):
        release_rulebook(released, "D. Director", "again", AT, SIGNER)


TRUSTED_KEY = public_key(SIGNER.public, "test")
OTHER_KEY = public_key(Signer(bytes(32)).public, "test")


@pytest.fixture
def signed_root(released: Path, root: Path) -> Path:
    """A folder with the signed rulebook only; the shipped one has no signature."""
    shutil.rmtree(root / OLD)
    return root


def test_one_trusted_key_must_have_signed(signed_root: Path) -> None:
    rulebooks, _ = read_rulebooks(signed_root, [OTHER_KEY, TRUSTED_KEY])
    assert [rulebook.version for rulebook in rulebooks] == [NEW]


@pytest.mark.parametrize("name", ["terms.yaml", "release.yaml", "release.sig"])
def test_nothing_is_parsed_before_its_signature_is_checked(
    signed_root: Path, name: str
) -> None:
    path = signed_root / NEW / name
    # Not YAML any more: an attempt to parse it would say so.
    path.write_bytes(b"{" + path.read_bytes()[1:])
    with pytest.raises(PolicyError, match="not signed by any of 1 trusted"):
        read_rulebooks(signed_root, [TRUSTED_KEY])


@pytest.mark.parametrize("keys", [[], [OTHER_KEY]])
def test_a_rulebook_of_an_unknown_key_is_refused(
    signed_root: Path, keys: list[Ed25519PublicKey]
) -> None:
    with pytest.raises(PolicyError, match="OBLIGOR_TRUSTED_KEYS"):
        read_rulebooks(signed_root, keys)


def test_a_rulebook_changed_after_its_release_is_refused(
    released: Path, root: Path
) -> None:
    path = released / "parameters.yaml"
    path.write_text(path.read_text().replace("0.45", "0.44", 1))
    rulebooks, (error,) = read_rulebooks(root)
    assert "changed after its release" in str(error)
    assert in_force(rulebooks, date(2026, 6, 1)).version == OLD


def test_an_incomplete_release_is_refused(released: Path, root: Path) -> None:
    (released / "release.yaml").write_text("released_by: C. Manager\n")
    _, (error,) = read_rulebooks(root)
    assert "lacks" in str(error)


# --- commands


def policy(*words: str, root: Path) -> str:
    """What a command on a folder of rulebooks prints."""
    return run(
        "policy",
        *words,
        "--rules",
        str(root),
    ).stdout


def test_the_shipped_rulebook_can_be_checked_shown_and_tested(root: Path) -> None:
    assert "good" in policy("check", root=root)
    stops = policy(
        "show",
        "--table",
        "hard_stops",
        "--as-of",
        "2025-01-01",
        root=root,
    )
    assert "P05" in stops
    assert "lgd" in policy("show", OLD, root=root)
    assert "cases pass" in policy("test", OLD, root=root)


def test_a_rulebook_is_edited_in_excel_and_released(root: Path, tmp_path: Path) -> None:
    xlsx = tmp_path / "out.xlsx"
    policy(
        "export",
        OLD,
        "--xlsx",
        str(xlsx),
        root=root,
    )
    Edit("parameters", "lgd", "value", 0.5).apply(xlsx)
    assert "draft" in policy(
        "import",
        NEW,
        "--xlsx",
        str(xlsx),
        root=root,
    )
    assert "draft" in policy("check", root=root)
    changes = policy(
        "diff",
        OLD,
        NEW,
        root=root,
    )
    assert "parameters lgd: 0.45 -> 0.5" in changes
    assert "1 changes" in changes
    policy(
        "release",
        NEW,
        "--by",
        "C. Manager",
        "--because",
        "board",
        root=root,
    )
    assert "released by C. Manager" in policy("check", root=root)


def test_the_check_of_a_doubtful_rulebook_fails(draft: Path, root: Path) -> None:
    (draft / "terms.yaml").unlink()
    checked = run(
        "policy",
        "check",
        "--rules",
        str(root),
    )
    assert checked.exit_code == 1
    assert "doubtful" in checked.stdout


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["show", "--table", "nothing"], PolicyError, "no table 'nothing'"),
        (["show", "--as-of", "yesterday"], SchemaError, "is not a date"),
        (["check", "--rules", "/nowhere"], PolicyError, "no such folder"),
    ],
)
def test_a_wrong_option_is_an_error(
    words: list[str],
    error: type[ObligorError],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        run("policy", *words)


class WhatIf:
    """`obligor policy simulate` on a small ledger, with a higher loss given default."""

    def __init__(
        self,
        root: Path,
        store: Path,
        folder: Path,
    ) -> None:
        write_ledger(simulate_ledger(200, 24, seed=5), folder)
        shutil.copytree(root / OLD, root / NEW)
        for path in (root / NEW).glob("*.yaml"):
            text = path.read_text()
            text = text.replace(f"effective: {OLD}", f"effective: {NEW}")
            path.write_text(text.replace("0.45,", "0.9,"))
        self.words = ["policy", "simulate", str(folder / "mapping.toml")]
        self.words += [
            "--from",
            OLD,
            "--to",
            NEW,
            "--as-of",
            "2023-10-31",
        ]
        self.words += [
            "--store",
            str(store),
            "--rules",
            str(root),
        ]

    def printed(self) -> str:
        return run(*self.words).stdout

    def as_json(self, *options: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(run(*self.words, *options, "--json").stdout)
        return answer


@pytest.fixture
def what_if(
    root: Path,
    trained: Trained,
    store: Path,
    tmp_path: Path,
) -> WhatIf:
    return WhatIf(root, store, tmp_path / "ledger")


def test_a_ledger_is_decided_under_two_rulebooks(what_if: WhatIf) -> None:
    figures = what_if.as_json()
    everyone = figures["all"]["all"]
    assert 150 < everyone["customers"] <= 200
    assert everyone["expected_loss"][1] > everyone["expected_loss"][0]
    groups = {"all", "grade", "customer_class", "sector", "country"}
    assert set(figures) == {*groups, "movers"}


def test_the_largest_mover_is_explained_and_can_be_asked_for(what_if: WhatIf) -> None:
    mover = what_if.as_json()["movers"][0]
    assert any(change.startswith("cap economic") for change in mover["because"])
    assert mover["customer_id"] in what_if.printed()
    alone = what_if.as_json("--customer", mover["customer_id"])
    assert alone["movers"] == [mover]
    with pytest.raises(UnknownCustomerError, match="no customer 'NOBODY'"):
        what_if.as_json("--customer", "NOBODY")
