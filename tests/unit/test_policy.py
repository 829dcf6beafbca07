"""Decision tables fail closed; rulebooks are dated; decisions are worked by hand."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from math import nan
from pathlib import Path
from typing import NamedTuple, cast

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from obligor.errors import AsOfError, PolicyError
from obligor.policy.credit.facts import Facts, RequestedCredit
from obligor.policy.economics import capital_ratio
from obligor.policy.rulebooks.cells import Column, Value
from obligor.policy.rulebooks.decision_table import (
    DecisionTable,
    Evaluation,
    compile_table,
)
from obligor.policy.rulebooks.files import RulebookFile, RuleEntry
from obligor.policy.rulebooks.rulebook import (
    RULES,
    in_force,
    read_rulebook,
    read_rulebooks,
    release_rulebook,
)
from tests.conftest import SIGNER
from tests.customers import FACTS, RULEBOOK, decision_about

GOOD = """
id: t
hit: unique
inputs:
  dpd: {type: number, unit: days, low: 0}
  kind: {type: text, values: [a, b], nullable: true}
outputs: {stop: {type: boolean}}
rules:
  - {id: R1, when: {dpd: "<= 30"}, then: {stop: false}, because: x}
  - {id: R2, when: {dpd: "> 30", kind: "a"}, then: {stop: true}, because: x}
  - {id: R3, when: {dpd: "> 30", kind: "b, null"}, then: {stop: false}, because: x}
cases: [{in: {dpd: 31, kind: a}, out: {stop: true}}]
"""


def good_spec() -> RulebookFile:
    return cast(RulebookFile, yaml.safe_load(GOOD))


def good_table(old: str = "", new: str = "") -> DecisionTable:
    """Compile the good table after one edit."""
    assert old in GOOD
    return compile_table(yaml.safe_load(GOOD.replace(old, new, 1)))


def test_a_table_answers_with_its_trace() -> None:
    evaluation = good_table()(dpd=Decimal(31), kind="b")
    assert evaluation.fired == "R3"
    assert evaluation.tried == ("R1", "R2", "R3")
    assert evaluation.outputs == {"stop": False}
    assert evaluation.inputs == {"dpd": Decimal(31), "kind": "b"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('dpd: "<= 30"', 'dpd: "<= 3O"', r"t row R1, dpd: cannot read '<= 3O'"),
        ('dpd: "<= 30"', 'dpd: "<<= 30"', "cannot read '<<= 30'"),
        ('dpd: "<= 30"', 'dpd: "[30..0]"', "range .* is empty"),
        ('dpd: "<= 30"', 'dpd: "< 30"', "gap: no row answers dpd = 30"),
        (
            'dpd: "<= 30"',
            'dpd: "<= 31"',
            "overlap: rows R1 and R. all answer dpd = 3[01]",
        ),
        ('kind: "b, null"', 'kind: "b"', "gap: no row answers .*kind = None"),
        ('kind: "a"', 'kind: "c"', "cannot read 'c'; expected one of"),
        ('when: {dpd: "<= 30"}', 'when: {dpb: "<= 30"}', "unknown column 'dpb'"),
        ("then: {stop: true}", "then: {stopp: true}", "unknown column 'stopp'"),
        ("then: {stop: true}", "then: {}", "the row has no output"),
        ("then: {stop: true}", "then: {stop: 1}", "another type"),
        ("unit: days, ", "", "the column has no unit"),
        ("values: [a, b], ", "", "the column has no values"),
        ("type: number", "type: numbr", "unknown type 'numbr'"),
        ("hit: unique", "hit: any", "unknown hit policy 'any'"),
        (", nullable: true", "", "the cell tests for null, which cannot occur"),
        (
            "because: x}\n  - {id: R2",
            "}\n  - {id: R2",
            "the row has no id or no because",
        ),
        (
            "{in: {dpd: 31, kind: a}, out: {stop: true}}",
            "{in: {dpd: 31, kind: a}, out: {stop: false}}",
            "gives stop",
        ),
        (
            "cases: [{in: {dpd: 31, kind: a}, out: {stop: true}}]",
            "",
            "the table has no cases",
        ),
        ("hit: unique", "hit: unique\nhitt: 3", "unknown column 'hitt'"),
    ],
)
def test_a_doubtful_table_is_refused_naming_row_and_column(
    old: str,
    new: str,
    message: str,
) -> None:
    with pytest.raises(PolicyError, match=message):
        good_table(old, new)


def test_an_unreachable_row_is_refused() -> None:
    text = GOOD.replace("hit: unique", "hit: first").replace(
        "cases:",
        '  - {id: R4, when: {dpd: "> 90"}, then: {stop: true}, because: x}\ncases:',
    )
    with pytest.raises(PolicyError, match="t row R4: unreachable row"):
        compile_table(yaml.safe_load(text))


def test_a_table_too_large_to_prove_is_refused() -> None:
    spec = good_spec()
    for n in range(6):
        spec["inputs"][f"x{n}"] = {"type": "text", "values": list("abcdefghij")}
    with pytest.raises(PolicyError, match="the table is too large to prove"):
        compile_table(spec)


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "a"},
        {"dpd": Decimal(-1)},
        {"dpd": "31"},
        {"dpd": Decimal("NaN")},
        {"dpd": True},
    ],
)
def test_a_value_outside_its_column_is_an_error(value: dict[str, Value]) -> None:
    with pytest.raises(PolicyError, match=r"t\.dpd"):
        good_table()(**value)


def collect_spec() -> RulebookFile:
    """A table of three rows that fire beyond 30, 60 and 90 days."""
    spec = good_spec()
    spec["hit"] = "collect"
    for rule, test in zip(spec["rules"], ("> 30", "> 60", "> 90"), strict=True):
        rule["when"] = {"dpd": test}
    spec["cases"] = [
        {"in": {"dpd": 61}, "out": {"fired": ["R1", "R2"]}},
        {"in": {"dpd": 0}, "out": {"fired": []}},
    ]
    return spec


def fired(evaluations: Sequence[Evaluation]) -> list[str]:
    return [evaluation.fired for evaluation in evaluations]


def test_a_collect_table_gives_every_row_that_fits() -> None:
    table = compile_table(collect_spec())
    assert fired(table.all(dpd=Decimal(91))) == ["R1", "R2", "R3"]
    assert table.all(dpd=Decimal(30)) == []
    assert table.all(dpd=Decimal(31))[0].tried == ("R1", "R2", "R3")


def test_a_wrong_example_of_a_collect_table_is_refused() -> None:
    spec = collect_spec()
    spec["cases"][0]["out"] = {"fired": ["R1"]}
    with pytest.raises(PolicyError, match="gives fired"):
        compile_table(spec)


def wide_collect_spec() -> RulebookFile:
    """A table of so many inputs that their combinations cannot be tried."""
    spec = good_spec()
    spec["hit"] = "collect"
    spec["cases"] = [{"in": {"dpd": 0}, "out": {"fired": ["R1"]}}]
    for n in range(12):
        spec["inputs"][f"x{n}"] = {
            "type": "number",
            "unit": "u",
            "nullable": True,
        }
    for rule in spec["rules"][1:]:
        rule["when"] |= {f"x{n}": "not(> 5)" for n in range(12)}
    return spec


def test_a_collect_table_needs_no_proof_of_every_combination() -> None:
    table = compile_table(wide_collect_spec())
    known_values = {f"x{n}": Decimal(5) for n in range(12)}
    rows = table.all(
        dpd=Decimal(31),
        kind="a",
        **known_values,
    )
    assert fired(rows) == ["R2"]
    # Null does not pass a not().
    assert table.all(dpd=Decimal(31), kind="a") == []


def test_an_unreachable_row_of_a_collect_table_is_refused() -> None:
    spec = wide_collect_spec()
    spec["rules"][0]["when"]["dpd"] = "[-5..-1]"
    with pytest.raises(PolicyError, match="t row R1: unreachable row"):
        compile_table(spec)


@pytest.mark.parametrize("n_rows", [0, 61])
def test_a_table_of_too_many_rows_or_none_is_refused(n_rows: int) -> None:
    spec = good_spec()
    row = spec["rules"][0]
    spec["rules"] = [{**row, "id": f"R{n}"} for n in range(n_rows)]
    message = f"the table has {n_rows} rows; expected 1 to 60"
    with pytest.raises(PolicyError, match=message):
        compile_table(spec)


def value_of(column: Column) -> st.SearchStrategy[Value]:
    """Draw a value that a column allows."""
    values: st.SearchStrategy[Value]
    if column.type == "boolean":
        values = st.booleans()
    elif column.type == "text":
        values = st.sampled_from(column.values)
    else:
        low = 0 if column.low is None else int(column.low)
        high = 200 if column.high is None else int(column.high)
        values = st.integers(low, high)
        if column.type == "number":
            values |= st.decimals(low, high, places=4)
    return st.none() | values if column.is_nullable else values


TABLES_BY_ID = sorted(RULEBOOK.tables.values(), key=lambda table: table.id)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_lookup_answers_as_the_cells_do(data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(TABLES_BY_ID))
    values = {column.name: data.draw(value_of(column)) for column in table.inputs}
    row = [values[column.name] for column in table.inputs]
    hits = [
        rule.id
        for rule in table.rules
        if all(cell(value) for cell, value in zip(rule.cells, row, strict=True))
    ]
    expected = hits if table.hit == "collect" else hits[:1]
    assert fired(table.all(**values)) == expected


NUMBERS = st.decimals(-5, 130, places=3)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.integers(0, 120),
        min_size=1,
        max_size=5,
        unique=True,
    ),
    NUMBERS,
)
def test_any_cut_of_the_number_line_is_complete_and_finds_its_row(
    cuts: list[int], value: Decimal
) -> None:
    ends = sorted(cuts)
    between = [f"[{low}..{high})" for low, high in itertools.pairwise(ends)]
    cells = [f"< {ends[0]}", *between, f">= {ends[-1]}"]
    rules: list[RuleEntry] = []
    for row, cell in enumerate(cells):
        rules.append(
            {
                "id": f"R{row}",
                "when": {"x": cell},
                "then": {"row": row},
                "because": "x",
            }
        )
    spec: RulebookFile = {
        "id": "t",
        "hit": "unique",
        "inputs": {"x": {"type": "number", "unit": "u"}},
        "outputs": {"row": {"type": "integer", "unit": "row"}},
        "rules": rules,
        "cases": [{"in": {"x": ends[0]}, "out": {"row": 1}}],
    }
    expected_row = sum(value >= end for end in ends)
    assert compile_table(spec)(x=value).outputs["row"] == expected_row


def test_not_inverts_a_cell_but_never_matches_null() -> None:
    table = good_table('kind: "a"', 'kind: "not(b)"')
    assert table(dpd=Decimal(31), kind="a").fired == "R2"
    assert table(dpd=Decimal(31), kind=None).fired == "R3"


# --- rulebooks


def test_the_shipped_rulebook_is_good_and_sourced() -> None:
    assert set(RULEBOOK.sources) == {"parameters", *RULEBOOK.tables}
    assert len(RULEBOOK.sha256) == 64


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(RULES / "2000-01-01", tmp_path / "rules" / "2000-01-01")
    return tmp_path / "rules"


class Edit(NamedTuple):
    """An edit of one file of a rulebook."""

    file: str
    old: str
    new: str


def copied(root: Path, version: str) -> Path:
    """Copy the shipped rulebook to a new date; it is a draft then."""
    folder = root / version
    shutil.copytree(root / "2000-01-01", folder)
    (folder / "release.yaml").unlink()
    for path in folder.glob("*.yaml"):
        text = path.read_text()
        text = text.replace("effective: 2000-01-01", f"effective: {version}")
        path.write_text(text)
    return folder


def edited(
    root: Path,
    version: str,
    edit: Edit,
) -> Path:
    """Copy the shipped rulebook, keep its release, and edit one file."""
    folder = copied(root, version)
    shutil.copy(root / "2000-01-01" / "release.yaml", folder)
    path = folder / f"{edit.file}.yaml"
    text = path.read_text()
    assert edit.old in text
    path.write_text(text.replace(edit.old, edit.new, 1))
    return folder


def test_a_draft_is_not_read(root: Path) -> None:
    copied(root, "2024-06-01")
    rulebooks, _ = read_rulebooks(root)
    assert [rulebook.version for rulebook in rulebooks] == ["2000-01-01"]


def test_the_rulebook_in_force_is_the_last_one_effective(root: Path) -> None:
    folder = copied(root, "2024-06-01")
    released_at = datetime(
        2024,
        5,
        1,
        tzinfo=UTC,
    )
    release_rulebook(folder, "B. Checker", "spring", released_at, SIGNER)
    rulebooks, refused = read_rulebooks(root)
    assert not refused
    assert in_force(rulebooks, date(2024, 5, 31)).version == "2000-01-01"
    assert in_force(rulebooks, date(2024, 6, 1)).version == "2024-06-01"
    with pytest.raises(AsOfError, match="no rulebook was in force on 1999"):
        in_force(rulebooks, date(1999, 1, 1))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "parameters",
            "{value: 0.45",
            "{value: 4.5",
            "parameters.lgd: 4.5 is out of range",
        ),
        ("parameters", "{value: 0.45", "{value: yes", "is not a number"),
        ("parameters", "  lgd:", "  lgdd:", r"unknown \['lgdd'\], missing \['lgd'\]"),
        (
            "parameters",
            "unit: points, reference: scorecard convention",
            "unit: points",
            "has no unit or no reference",
        ),
        ("terms", "decided_by: Obligor's authors, ", "", "source lacks"),
        ("terms", "effective: 2024-06-01", "effective: 2024-06-02", "effective dates"),
        ("terms", "id: terms", "id: [", "cannot be read"),
        ("terms", 'when: {grade: "8"}', 'when: {grade: "[7..8]"}', "overlap"),
        (
            "outcome",
            ", zh: 触发硬性停止规则，拒绝",
            "",
            "outcome row P20: the row has no text in Chinese",
        ),
        (
            "exposure_caps",
            "ceiling: 15000000",
            "ceiling: 25000000",
            "ceiling rises at grade 2",
        ),
        (
            "review",
            "review_days: {type",
            "Review days: {type",
            "'Review days' is not a valid column name",
        ),
        ("hard_stops", '"> 60"', '"> 6O"', "cannot read '> 6O'"),
    ],
)
def test_a_doubtful_rulebook_is_refused_and_the_last_good_one_stays(
    root: Path,
    file: str,
    old: str,
    new: str,
    message: str,
) -> None:
    folder = edited(root, "2024-06-01", Edit(file, old, new))
    with pytest.raises(PolicyError, match=message):
        read_rulebook(folder)
    rulebooks, refused = read_rulebooks(root)
    assert len(refused) == 1
    assert in_force(rulebooks, date(2024, 7, 1)).version == "2000-01-01"


def test_a_rulebook_without_a_file_is_refused(root: Path) -> None:
    (root / "2000-01-01" / "terms.yaml").unlink()
    with pytest.raises(PolicyError, match=r"terms\.yaml: file is missing"):
        read_rulebooks(root)


def test_a_folder_without_a_rulebook_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="the folder has no rulebook"):
        read_rulebooks(tmp_path)


def test_a_file_that_is_not_a_mapping_is_refused(root: Path) -> None:
    (root / "2000-01-01" / "terms.yaml").write_text("- 1")
    with pytest.raises(PolicyError, match="does not hold a mapping"):
        read_rulebook(root / "2000-01-01")


# --- decisions


def test_a_good_customer_is_approved_within_need() -> None:
    decision = decision_about()
    assert decision.outcome == "approve"
    assert decision.grade == 5
    assert decision.score == 620
    assert decision.terms.terms_days == 45
    assert decision.reasons == ()


def test_limit_and_loss_of_a_good_customer_are_worked_by_hand() -> None:
    decision = decision_about()
    # 120,000 / 365 a day x (45 + 5) days
    assert decision.limit.amount == Decimal("16438.35")
    assert decision.limit.binding_cap == "need"
    assert decision.expected_loss == Decimal("73.97")  # 0.01 x 0.45 x 16,438.35


def test_the_trace_lists_every_table_in_order() -> None:
    assert [evaluation.table for evaluation in decision_about().trace] == [
        "master_scale",
        "overlay",
        "customer_class",
        "hard_stops",
        "terms",
        "ladder",
        "exposure_caps",
        "step_up",
        "authority",
        "outcome",
        "review",
    ]


def test_the_economic_cap_is_margin_over_cost() -> None:
    caps = decision_about(0.10).limit.caps
    capital = Decimal(str(capital_ratio(0.10, 0.45)))
    cost = Decimal("0.045") + Decimal("0.082") + Decimal("0.12") * capital
    assert abs(caps["economic"] - Decimal("2400") / cost) < Decimal("0.01")


@pytest.mark.parametrize(
    ("features", "outcome", "rule"),
    [
        ({"days_since_first_invoice": nan}, "refer", "P01"),
        ({"written_off_amount_365d": 1.0}, "decline", "P04"),
        ({"dpd_days": 61.0}, "decline", "P05"),
        ({"dpd_days": 31.0}, "refer", "P06"),
        ({"disputed_share": 0.6}, "refer", "P09"),
        ({"dpd_days": nan}, "refer", "P02"),
        ({"written_off_amount_365d": nan}, "refer", "P03"),
        ({"open_amount": nan}, "refer", "P07"),
        ({"disputed_share": nan}, "refer", "P08"),
        ({"open_amount": 0.0, "disputed_share": nan}, "approve", None),
        ({"dpd_days": 30.0}, "approve", None),
    ],
)
def test_hard_stops_apply_whatever_the_score(
    features: dict[str, float],
    outcome: str,
    rule: str | None,
) -> None:
    decision = decision_about(0.0001, **features)
    assert decision.outcome == outcome
    fired = [reason.fired for reason in decision.reasons]
    assert fired == ([rule] if rule else [])


def test_a_declined_customer_has_no_limit() -> None:
    decision = decision_about(0.5)
    assert decision.outcome == "decline"
    assert decision.grade == 10
    assert decision.terms.is_prepaid is True
    assert decision.limit.amount == Decimal("0.00")
    assert decision.limit.binding_cap == "decline"
    assert decision.reasons[0].fired == "P21"


def test_a_declined_grade_is_named_with_the_hard_stop() -> None:
    reasons = decision_about(0.5, dpd_days=31.0).reasons
    assert [reason.fired for reason in reasons] == ["P21", "P06"]


def requesting(amount: int, terms_days: int | None = None) -> Facts:
    request = RequestedCredit(Decimal(amount), terms_days)
    return replace(FACTS, request=request)


def test_a_request_must_fit_with_the_open_amount() -> None:
    assert decision_about(0.01, requesting(10_000)).outcome == "approve"
    decision = decision_about(0.05, requesting(60_000))
    assert decision.outcome == "refer"
    assert decision.reasons[0].fired == "P24"


def test_only_shorter_terms_are_granted_on_request() -> None:
    shorter = decision_about(0.01, requesting(100, terms_days=10))
    longer = decision_about(0.01, requesting(100, terms_days=90))
    assert shorter.terms.terms_days == 10
    assert longer.terms.terms_days == 45


def test_an_overdue_customer_has_a_collection_priority() -> None:
    collection = decision_about(0.04, overdue_amount=1200.0, dpd_days=20.0).collection
    assert collection is not None
    assert collection.stage == "call"
    # (1200 x .04 x .45 x .2 + 1200 x .082 x 7 / 365) / 12 minutes
    assert collection.value_per_minute == Decimal("0.52")
    assert decision_about().collection is None


def test_a_short_history_is_scaled_to_a_year() -> None:
    caps = decision_about(
        days_since_first_invoice=181.0, invoiced_amount_365d=10_000.0
    ).limit.caps
    daily_sales = Decimal("10000") * 365 / 182 / 365
    need = (daily_sales * 50).quantize(Decimal("0.01"), "ROUND_DOWN")
    assert caps["need"] == need


@pytest.mark.parametrize("pd_12m", [-0.1, 1.1, nan])
def test_a_pd_outside_0_to_1_is_an_error(pd_12m: float) -> None:
    with pytest.raises(PolicyError, match="is not a probability"):
        decision_about(pd_12m)


PDS = st.floats(0.0, 1.0, allow_nan=False)
PAIRS_OF_PDS = st.tuples(PDS, PDS).map(sorted)


@settings(max_examples=300, deadline=None)
@given(
    PAIRS_OF_PDS,
    st.floats(0, 1e7),
    st.floats(0, 1e6),
    st.floats(0, 90),
)
def test_a_higher_pd_never_raises_a_limit(
    pds: list[float],
    sales: float,
    open_amount: float,
    dbt_days: float,
) -> None:
    features = {
        "invoiced_amount_365d": sales,
        "open_amount": open_amount,
        "dbt_days_mean_365d": dbt_days,
    }
    lower, higher = (decision_about(pd_12m, **features) for pd_12m in pds)
    assert higher.limit.amount <= lower.limit.amount
    assert higher.grade >= lower.grade
    assert higher.score <= lower.score


@pytest.mark.parametrize(
    ("pd_12m", "weight"), [(0.0005, 0.1965), (0.01, 0.9232), (0.2, 2.3823)]
)
def test_capital_equals_the_published_risk_weights(
    pd_12m: float, weight: float
) -> None:
    """Basel II, Annex 5: corporates, LGD 45%, maturity 2.5 years."""
    assert capital_ratio(pd_12m, 0.45, 2.5) * 12.5 == pytest.approx(weight, abs=5e-5)
