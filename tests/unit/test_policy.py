"""Tables fail closed; rulebooks are dated and sourced; decisions are hand-checked."""

from __future__ import annotations

import itertools
import shutil
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from obligor.errors import AsOfError, PolicyError
from obligor.features.catalogue import NAMES
from obligor.policy.credit.decide import Decision, decide
from obligor.policy.credit.facts import Facts, RequestedCredit
from obligor.policy.economics import capital_ratio
from obligor.policy.rulebooks.cells import Column, Value
from obligor.policy.rulebooks.decision_table import compile_table
from obligor.policy.rulebooks.rulebook import (
    RULES,
    in_force,
    read_rulebook,
    read_rulebooks,
    release_rulebook,
)
from tests.conftest import SIGNER

RULEBOOK = read_rulebook(RULES / "2000-01-01")
GOOD = """
id: t
hit: unique
inputs: {dpd: {type: number, unit: days, low: 0}, kind: {type: text, values: [a, b], nullable: true}}
outputs: {stop: {type: boolean}}
rules:
  - {id: R1, when: {dpd: "<= 30"}, then: {stop: false}, because: x}
  - {id: R2, when: {dpd: "> 30", kind: "a"}, then: {stop: true}, because: x}
  - {id: R3, when: {dpd: "> 30", kind: "b, null"}, then: {stop: false}, because: x}
cases: [{in: {dpd: 31, kind: a}, out: {stop: true}}]
"""


def test_a_table_answers_with_its_trace() -> None:
    found = compile_table(yaml.safe_load(GOOD))(dpd=Decimal(31), kind="b")
    assert (found.fired, found.tried, found.outputs) == (
        "R3",
        ("R1", "R2", "R3"),
        {"stop": False},
    )
    assert found.inputs == {"dpd": Decimal(31), "kind": "b"}


@pytest.mark.parametrize(
    ("old", "new", "told"),
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
def test_a_doubtful_table_is_refused_with_its_place(
    old: str, new: str, told: str
) -> None:
    assert old in GOOD
    with pytest.raises(PolicyError, match=told):
        compile_table(yaml.safe_load(GOOD.replace(old, new, 1)))


def test_an_unreachable_row_is_refused() -> None:
    text = GOOD.replace("hit: unique", "hit: first").replace(
        "cases:",
        '  - {id: R4, when: {dpd: "> 90"}, then: {stop: true}, because: x}\ncases:',
    )
    with pytest.raises(PolicyError, match="t row R4: unreachable row"):
        compile_table(yaml.safe_load(text))


def test_a_table_too_large_to_prove_is_refused() -> None:
    spec = yaml.safe_load(GOOD)
    spec["inputs"] |= {
        f"x{n}": {"type": "text", "values": list("abcdefghij")} for n in range(6)
    }
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
def test_a_value_the_table_was_not_proven_for_is_an_error(value: dict) -> None:  # type: ignore[type-arg]
    with pytest.raises(PolicyError, match=r"t\.dpd"):
        compile_table(yaml.safe_load(GOOD))(**value)


def test_a_collect_table_gives_every_row_that_fits() -> None:
    spec = yaml.safe_load(GOOD) | {"hit": "collect"}
    spec["rules"] = [
        row | {"when": {"dpd": test}}
        for row, test in zip(spec["rules"], ("> 30", "> 60", "> 90"), strict=True)
    ]
    spec["cases"] = [
        {"in": {"dpd": 61}, "out": {"fired": ["R1", "R2"]}},
        {"in": {"dpd": 0}, "out": {"fired": []}},
    ]
    table = compile_table(spec)
    assert [found.fired for found in table.all(dpd=Decimal(91))] == ["R1", "R2", "R3"]
    assert table.all(dpd=Decimal(30)) == []
    assert table.all(dpd=Decimal(31))[0].tried == ("R1", "R2", "R3")
    spec["cases"][0]["out"] = {"fired": ["R1"]}
    with pytest.raises(PolicyError, match="gives fired"):
        compile_table(spec)


def test_a_collect_table_needs_no_proof_of_every_combination() -> None:
    spec = yaml.safe_load(GOOD) | {
        "hit": "collect",
        "cases": [{"in": {"dpd": 0}, "out": {"fired": ["R1"]}}],
    }
    spec["inputs"] |= {
        f"x{n}": {"type": "number", "unit": "u", "nullable": True} for n in range(12)
    }
    for row in spec["rules"]:
        row["when"] |= (
            {f"x{n}": "not(> 5)" for n in range(12)} if row["id"] != "R1" else {}
        )
    table = compile_table(spec)
    assert [
        one.fired
        for one in table.all(
            dpd=Decimal(31), kind="a", **{f"x{n}": Decimal(5) for n in range(12)}
        )
    ] == ["R2"]
    assert table.all(dpd=Decimal(31), kind="a") == []  # null is no match of a not()
    spec["rules"][0]["when"]["dpd"] = "[-5..-1]"
    with pytest.raises(PolicyError, match="t row R1: unreachable row"):
        compile_table(spec)


def test_a_table_of_too_many_rows_or_none_is_refused() -> None:
    spec = yaml.safe_load(GOOD)
    for rules in ([], [spec["rules"][0] | {"id": f"R{n}"} for n in range(61)]):
        with pytest.raises(
            PolicyError, match=f"the table has {len(rules)} rows; expected 1 to 60"
        ):
            compile_table(spec | {"rules": rules})


def value_of(column: Column) -> st.SearchStrategy[Value]:
    if column.type == "boolean":
        known: st.SearchStrategy[Value] = st.booleans()
    elif column.type == "text":
        known = st.sampled_from(column.values)
    else:
        low, high = (
            int(end) if end is not None else other
            for end, other in ((column.low, 0), (column.high, 200))
        )
        known = st.integers(low, high)
        if column.type == "number":
            known |= st.decimals(low, high, places=4)
    return st.none() | known if column.is_nullable else known


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_lookup_answers_as_the_cells_do(data: st.DataObject) -> None:
    table = data.draw(
        st.sampled_from(sorted(RULEBOOK.tables.values(), key=lambda table: table.id))
    )
    values = {column.name: data.draw(value_of(column)) for column in table.inputs}
    row = [values[column.name] for column in table.inputs]
    hits = [
        rule.id
        for rule in table.rules
        if all(cell(one) for cell, one in zip(rule.cells, row, strict=True))
    ]
    found = [one.fired for one in table.all(**values)]
    assert found == (hits if table.hit == "collect" else hits[:1])


NUMBERS = st.decimals(-5, 130, places=3)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 120), min_size=1, max_size=5, unique=True), NUMBERS)
def test_any_cut_of_the_line_is_whole_and_finds_its_row(
    cuts: list[int], value: Decimal
) -> None:
    ends = sorted(cuts)
    cells = [
        f"< {ends[0]}",
        *[f"[{a}..{b})" for a, b in itertools.pairwise(ends)],
        f">= {ends[-1]}",
    ]
    rules = [
        {"id": f"R{i}", "when": {"x": c}, "then": {"row": i}, "because": "x"}
        for i, c in enumerate(cells)
    ]
    spec = {
        "id": "t",
        "hit": "unique",
        "inputs": {"x": {"type": "number", "unit": "u"}},
        "outputs": {"row": {"type": "integer", "unit": "row"}},
        "rules": rules,
        "cases": [{"in": {"x": ends[0]}, "out": {"row": 1}}],
    }
    assert compile_table(spec)(x=value).outputs["row"] == sum(
        value >= end for end in ends
    )


def test_not_inverts_a_cell_and_null_is_never_inverted_into_a_match() -> None:
    text = GOOD.replace('kind: "a"', 'kind: "not(b)"')
    table = compile_table(yaml.safe_load(text))
    assert table(dpd=Decimal(31), kind="a").fired == "R2"
    assert table(dpd=Decimal(31), kind=None).fired == "R3"


# --- rulebooks


def test_the_rulebook_that_ships_is_good_and_sourced() -> None:
    assert set(RULEBOOK.sources) == {"parameters", *RULEBOOK.tables}
    assert len(RULEBOOK.sha256) == 64


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(RULES, tmp_path / "rules")
    return tmp_path / "rules"


def renewed(
    root: Path, day: str, old: str = "", new: str = "", name: str = "parameters"
) -> None:
    shutil.copytree(root / "2000-01-01", root / day)
    for path in (root / day).glob("*.yaml"):
        path.write_text(
            path.read_text().replace("effective: 2000-01-01", f"effective: {day}")
        )
    path = root / day / f"{name}.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1) if old else path.read_text())
    if not old:
        (root / day / "release.yaml").unlink()


def test_in_force_is_the_last_one_effective(root: Path) -> None:
    renewed(root, "2024-06-01")
    assert len(read_rulebooks(root)[0]) == 1  # a draft
    release_rulebook(
        root / "2024-06-01",
        "B. Checker",
        "spring",
        datetime(2024, 5, 1, tzinfo=UTC),
        SIGNER,
    )
    rulebooks, refused = read_rulebooks(root)
    assert not refused
    assert in_force(rulebooks, date(2024, 5, 31)).version == "2000-01-01"
    assert in_force(rulebooks, date(2024, 6, 1)).version == "2024-06-01"
    with pytest.raises(AsOfError, match="no rulebook was in force on 1999"):
        in_force(rulebooks, date(1999, 1, 1))


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
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
    root: Path, name: str, old: str, new: str, told: str
) -> None:
    renewed(root, "2024-06-01", old, new, name)
    with pytest.raises(PolicyError, match=told):
        read_rulebook(root / "2024-06-01")
    rulebooks, refused = read_rulebooks(root)
    assert len(refused) == 1
    assert in_force(rulebooks, date(2024, 7, 1)).version == "2000-01-01"


def test_no_good_rulebook_at_all_is_an_error(root: Path, tmp_path: Path) -> None:
    (root / "2000-01-01" / "terms.yaml").unlink()
    with pytest.raises(PolicyError, match=r"terms\.yaml: file is missing"):
        read_rulebooks(root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PolicyError, match="the folder has no rulebook"):
        read_rulebooks(tmp_path / "empty")


def test_a_file_that_is_no_mapping_is_refused(root: Path) -> None:
    (root / "2000-01-01" / "terms.yaml").write_text("- 1")
    with pytest.raises(PolicyError, match="does not hold a mapping"):
        read_rulebook(root / "2000-01-01")


# --- decisions

FACTS = dict.fromkeys(NAMES, 0.0) | {
    "invoiced_amount_365d": 120_000.0,
    "days_since_first_invoice": 500.0,
    "open_amount": 4_000.0,
    "dbt_days_mean_365d": 5.0,
    "disputed_share": 0.0,
}


def decided(
    pd_12m: float = 0.01, request: RequestedCredit | None = None, **facts: float
) -> Decision:
    return decide(
        Facts(pd_12m, "EUR", {**FACTS, **facts}, date(2025, 6, 30), request), RULEBOOK
    )


def test_a_good_customer_is_approved_within_need() -> None:
    found = decided()
    assert (found.outcome, found.grade, found.score, found.terms.terms_days) == (
        "approve",
        5,
        620,
        45,
    )
    # 120,000 / 365 a day x (45 + 5) days
    assert found.limit.amount == Decimal("16438.35")
    assert found.limit.binding_cap == "need"
    assert found.expected_loss == Decimal("73.97")  # 0.01 x 0.45 x 16,438.35
    assert found.reasons == ()
    assert [e.table for e in found.trace] == [
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
    found = decided(0.10)
    capital = capital_ratio(0.10, 0.45)
    cap = Decimal("2400") / (
        Decimal("0.045") + Decimal("0.082") + Decimal("0.12") * Decimal(str(capital))
    )
    assert abs(found.limit.caps["economic"] - cap) < Decimal("0.01")


@pytest.mark.parametrize(
    ("facts", "outcome", "rule"),
    [
        ({"days_since_first_invoice": float("nan")}, "refer", "P01"),
        ({"written_off_amount_365d": 1.0}, "decline", "P04"),
        ({"dpd_days": 61.0}, "decline", "P05"),
        ({"dpd_days": 31.0}, "refer", "P06"),
        ({"disputed_share": 0.6}, "refer", "P09"),
        ({"dpd_days": float("nan")}, "refer", "P02"),
        ({"written_off_amount_365d": float("nan")}, "refer", "P03"),
        ({"open_amount": float("nan")}, "refer", "P07"),
        ({"disputed_share": float("nan")}, "refer", "P08"),
        ({"open_amount": 0.0, "disputed_share": float("nan")}, "approve", None),
        ({"dpd_days": 30.0}, "approve", None),
    ],
)
def test_hard_stops_stop_whatever_the_score(
    facts: dict, outcome: str, rule: str | None
) -> None:  # type: ignore[type-arg]
    found = decided(0.0001, **facts)
    assert found.outcome == outcome
    assert [e.fired for e in found.reasons] == ([rule] if rule else [])


def test_a_declined_customer_has_no_limit() -> None:
    found = decided(0.5)
    assert (found.outcome, found.grade, found.terms.is_prepaid) == ("decline", 10, True)
    assert (found.limit.amount, found.limit.binding_cap) == (Decimal("0.00"), "decline")
    assert found.reasons[0].fired == "P21"


def test_a_stop_and_a_grade_name_both() -> None:
    assert [e.fired for e in decided(0.5, dpd_days=31.0).reasons] == ["P21", "P06"]


def test_a_request_must_fit_with_what_is_open() -> None:
    assert decided(0.01, RequestedCredit(Decimal("10000"))).outcome == "approve"
    found = decided(0.05, RequestedCredit(Decimal("60000")))
    assert (found.outcome, found.reasons[0].fired) == ("refer", "P24")
    assert (
        decided(0.01, RequestedCredit(Decimal("100"), terms_days=10)).terms.terms_days
        == 10
    )
    assert (
        decided(0.01, RequestedCredit(Decimal("100"), terms_days=90)).terms.terms_days
        == 45
    )


def test_an_overdue_customer_gets_a_collection_priority() -> None:
    found = decided(0.04, overdue_amount=1200.0, dpd_days=20.0)
    assert found.collection is not None
    assert found.collection.stage == "call"
    # (1200 x .04 x .45 x .2 + 1200 x .082 x 7 / 365) / 12 minutes
    assert found.collection.value_per_minute == Decimal("0.52")
    assert decided().collection is None


def test_a_short_history_is_scaled_to_a_year() -> None:
    assert decided(
        days_since_first_invoice=181.0, invoiced_amount_365d=10_000.0
    ).limit.caps["need"] == (Decimal("10000") * 365 / 182 / 365 * 50).quantize(
        Decimal("0.01"), "ROUND_DOWN"
    )


def test_a_pd_outside_0_to_1_is_an_error() -> None:
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(PolicyError, match="is not a probability"):
            decided(wrong)


PDS = st.floats(0.0, 1.0, allow_nan=False)


@settings(max_examples=300, deadline=None)
@given(PDS, PDS, st.floats(0, 1e7), st.floats(0, 1e6), st.floats(0, 90))
def test_a_higher_pd_never_raises_a_limit(
    a: float, b: float, sales: float, open_: float, late: float
) -> None:
    facts = {
        "invoiced_amount_365d": sales,
        "open_amount": open_,
        "dbt_days_mean_365d": late,
    }
    low, high = decided(min(a, b), **facts), decided(max(a, b), **facts)
    assert high.limit.amount <= low.limit.amount
    assert high.grade >= low.grade
    assert high.score <= low.score


@pytest.mark.parametrize(
    ("pd_", "weight"), [(0.0005, 0.1965), (0.01, 0.9232), (0.2, 2.3823)]
)
def test_capital_equals_the_published_risk_weights(pd_: float, weight: float) -> None:
    """Basel II, Annex 5: corporates, LGD 45%, maturity 2.5 years."""
    assert capital_ratio(pd_, 0.45, 2.5) * 12.5 == pytest.approx(weight, abs=5e-5)
