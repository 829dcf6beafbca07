"""What the code gives each decision table, against what a rulebook asks of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from math import nan
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook

from obligor.errors import PolicyError
from obligor.policy.collecting.debt import Debt, LateItem, OpenAmount
from obligor.policy.collecting.late_interest import late_interest
from obligor.policy.collecting.priority import AccountAge, is_quiet, plan_of
from obligor.policy.collecting.provision import provision
from obligor.policy.credit.credit_file import Assessment, CreditFile, Override
from obligor.policy.credit.decide import Decision, decide
from obligor.policy.credit.early_warnings import early_warnings
from obligor.policy.credit.facts import Facts
from obligor.policy.credit.orders import Order, OrderBook, check_order
from obligor.policy.credit.promise_ladder import Promise
from obligor.policy.rulebooks.cells import Value
from obligor.policy.rulebooks.contracts import (
    BUCKET,
    CONTRACTS,
    CUSTOMER_CLASS,
    OUTCOME,
)
from obligor.policy.rulebooks.decision_table import DecisionTable, Evaluation
from obligor.policy.rulebooks.files import PARAMETERS
from obligor.policy.rulebooks.rulebook import (
    INTEREST_TABLES,
    RULES,
    TABLES,
    Rulebook,
    read_archived_rulebook,
    read_rulebook,
    read_rulebooks,
)
from obligor.policy.rulebooks.workbook import export_workbook, import_workbook
from obligor.portfolio.decide_many import CUSTOMER_CLASSES, OUTCOMES
from obligor.portfolio.migration import BUCKETS
from tests.customers import AS_OF, FACTS, FEATURES, NEW_RULEBOOK
from tests.unit.test_cli import run
from tests.unit.test_warnings import BEFORE, NOW

SHIPPED_RULEBOOK = read_rulebook(RULES / "2000-01-01")
REPOSITORY = Path(__file__).parents[2]
SHIPPED = "2000-01-01"
DRAFT = "2024-01-01"
UNDISPUTED = ("P08", "P09")  # the rows on what is disputed
REFERRED = {"stop": "refer"}
LATE_ITEM = LateItem(
    issued_on=date(2025, 5, 1),
    due_on=date(2025, 6, 2),
    currency="EUR",
    rate=Decimal(1),
    open_amounts=(OpenAmount(date(2025, 5, 1), Decimal(1000)),),
)
NULLABLE_AMOUNT = "{type: number, unit: reporting currency, low: 0, nullable: true}"


# --- the contracts and the code cannot drift apart


class SeenInputs:
    """The inputs that the code gave each table."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by_table: dict[str, list[Mapping[str, Value]]] = {}
        seen = self
        call = DecisionTable.__call__
        call_all = DecisionTable.all

        def watched_call(table: DecisionTable, **values: Value) -> Evaluation:
            seen.by_table.setdefault(table.id, []).append(values)
            return call(table, **values)

        def watched_all(table: DecisionTable, **values: Value) -> list[Evaluation]:
            seen.by_table.setdefault(table.id, []).append(values)
            return call_all(table, **values)

        monkeypatch.setattr(DecisionTable, "__call__", watched_call)
        monkeypatch.setattr(DecisionTable, "all", watched_all)

    def assert_as_declared(self) -> None:
        """Every evaluation filled exactly the inputs of its contract."""
        for name, evaluations in self.by_table.items():
            columns = {column.name: column for column in CONTRACTS[name].inputs}
            for values in evaluations:
                assert set(values) == set(columns), name
                for column_name, value in values.items():
                    column = columns[column_name]
                    # A house names its own stages, so the contract has none.
                    if column.type == "text" and not column.values:
                        assert isinstance(value, str)
                    else:
                        column.checked(value, name)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[SeenInputs]:
    with monkeypatch.context() as patched:
        yield SeenInputs(patched)


def fresh_rulebook() -> Rulebook:
    """The shipped rulebook without any result that was kept."""
    return replace(SHIPPED_RULEBOOK, memo={})


def evaluate_everything(facts: Facts, rulebook: Rulebook) -> None:
    """Decide, check an order, plan a contact: every table but the scenarios."""
    decision = decide(facts, rulebook)
    book = OrderBook(AS_OF, (), Decimal(3))
    check_order(Order(Decimal(50_000), AS_OF), book, decision, rulebook)
    early_warnings(NOW, BEFORE, rulebook)
    early_warnings(NOW, None, rulebook)
    plan_of(AccountAge(Decimal(45), Decimal(1000)), "risk", rulebook)
    is_quiet(AS_OF, rulebook)
    provision(Decimal(100), -5, Decimal("0.1"), "EUR", rulebook)
    for country in ("DE", "GB", "CN", "US", ""):
        debt = Debt(
            customer_id="ANNA",
            currency="EUR",
            overdue=Decimal(1000),
            dpd_days=Decimal(45),
            pd_12m=Decimal("0.1"),
            customer_class="general",
            country=country,
            late_items=(LATE_ITEM,),
        )
        late_interest(debt, rulebook, AS_OF)


def with_everything_on_file() -> Facts:
    later = AS_OF + timedelta(days=30)
    assessment = Assessment(4, 4, 3, 3, "A. Nalyst", later)
    override = Override(3, "A. Nalyst", "they are known to us", later)
    return replace(
        FACTS,
        credit_file=CreditFile(assessment=assessment, override=override),
        promises=(Promise(date(2024, 1, 5), True), Promise(date(2024, 2, 5), False)),
    )


def test_every_table_is_given_exactly_the_inputs_of_its_contract(
    seen: SeenInputs,
) -> None:
    evaluate_everything(with_everything_on_file(), fresh_rulebook())
    # The scenarios of stress are read row by row, and not evaluated.
    assert set(seen.by_table) == set(TABLES) - {"stress"}
    seen.assert_as_declared()


def test_the_tables_of_the_law_by_day_are_given_their_inputs(seen: SeenInputs) -> None:
    newest = replace(NEW_RULEBOOK, memo={})
    evaluate_everything(with_everything_on_file(), newest)
    assert set(seen.by_table) == set(newest.tables) - {"stress"}
    assert set(INTEREST_TABLES) <= set(seen.by_table)
    seen.assert_as_declared()


amounts = st.sampled_from([nan, 0.0, 0.01, 5_000.0, 1e9])
days = st.sampled_from([nan, 0.0, 1.0, 31.0, 500.0, 20_000.0])
features = st.fixed_dictionaries(
    {
        "open_amount": amounts,
        "overdue_amount": amounts,
        "written_off_amount_365d": amounts,
        "dpd_days": days,
        "days_since_first_invoice": days,
        "days_since_last_invoice": days,
        "broken_promises_365d": st.sampled_from([nan, 0.0, 3.0]),
        "disputed_share": st.sampled_from([nan, 0.0, 1.0]),
    }
)


@given(features, st.sampled_from([0.0, 1e-5, 0.02, 0.4, 1.0]))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_facts_give_a_table_a_value_outside_its_contract(
    seen: SeenInputs,
    changed: dict[str, float],
    pd_12m: float,
) -> None:
    facts = replace(FACTS, features={**FEATURES, **changed}, pd_12m=pd_12m)
    evaluate_everything(facts, fresh_rulebook())
    seen.assert_as_declared()
    seen.by_table.clear()


def test_there_is_a_contract_for_every_table() -> None:
    assert set(CONTRACTS) == {*TABLES, *INTEREST_TABLES}


def test_texts_that_arrays_hold_by_position_are_those_of_the_contracts() -> None:
    assert OUTCOME.values == OUTCOMES
    assert CUSTOMER_CLASS.values == CUSTOMER_CLASSES
    assert BUCKET.values == BUCKETS


def sources() -> str:
    """The code that could read an output or a parameter."""
    rooms = ("policy", "portfolio", "decisions", "casework", "cli")
    declared = ("contracts.py", "files.py")
    paths = [path for room in rooms for path in (REPOSITORY / room).rglob("*.py")]
    texts = [
        path.read_text(encoding="utf-8")
        for path in sorted(paths)
        if path.name not in declared
    ]
    return "\n".join(texts)


def test_every_output_is_read_by_some_code() -> None:
    text = sources()
    for name, contract in CONTRACTS.items():
        for column in contract.outputs:
            is_read = re.search(rf'"{column.name}"|\.{column.name}\b', text)
            assert is_read, f"{name}.{column.name}"


def test_every_parameter_is_read_by_some_code() -> None:
    text = sources()
    for name in PARAMETERS:
        assert f'parameters["{name}"]' in text, name


# --- a rulebook that asks for what there is not


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the shipped rulebook and a draft of 2024-01-01 that is a copy."""
    shutil.copytree(RULES / SHIPPED, tmp_path / "rules" / SHIPPED)
    draft = tmp_path / "rules" / DRAFT
    shutil.copytree(RULES / SHIPPED, draft)
    (draft / "release.yaml").unlink()
    for path in draft.glob("*.yaml"):
        edit(path, f"effective: {SHIPPED}", f"effective: {DRAFT}")
    return tmp_path / "rules"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def with_stop_on(draft: Path, column: str) -> None:
    """Stop only on more than 100 past due, as a house would write it (case 03)."""
    path = draft / "hard_stops.yaml"
    edit(path, "outputs:\n", f"  {column}: {NULLABLE_AMOUNT}\noutputs:\n")
    edit(path, '{dpd_days: "> 60"}', f'{{dpd_days: "> 60", {column}: "> 100"}}')
    edit(path, "dpd_days: 61,", f"dpd_days: 61, {column}: 500,")


def test_an_input_that_nothing_fills_is_refused_with_a_close_match(root: Path) -> None:
    with_stop_on(root / DRAFT, "overdue_amounts")
    with pytest.raises(PolicyError) as refusal:
        read_rulebook(root / DRAFT)
    message = str(refusal.value)
    assert "hard_stops.overdue_amounts" in message
    assert "nothing fills this column" in message
    assert "write overdue_amount, if that is meant" in message
    for column in CONTRACTS["hard_stops"].inputs:
        assert column.name in message


def test_the_check_and_the_release_refuse_it(root: Path, tmp_path: Path) -> None:
    with_stop_on(root / DRAFT, "material_overdue")
    checked = run("policy", "check", "--rules", str(root))
    assert checked.exit_code == 1
    assert "hard_stops.material_overdue" in " ".join(checked.output.split())
    store = str(tmp_path / "store")
    words = ["policy", "release", DRAFT, "--by", "C. Manager", "--because", "board"]
    with pytest.raises(PolicyError, match="nothing fills this column"):
        run(*words, "--rules", str(root), "--store", store)
    assert not (root / DRAFT / "release.yaml").exists()


def test_an_import_from_excel_refuses_it(tmp_path: Path) -> None:
    xlsx = tmp_path / "rules.xlsx"
    export_workbook(SHIPPED_RULEBOOK, xlsx)
    book = load_workbook(xlsx)
    for sheet in (book["hard_stops"], book["hard_stops cases"]):
        for row in sheet.iter_rows():
            for cell in row:
                if "disputed_share" in str(cell.value):
                    cell.value = str(cell.value).replace("disputed_share", "disputed")
    book.save(xlsx)
    with pytest.raises(PolicyError, match=r"hard_stops\.disputed: nothing fills"):
        import_workbook(xlsx, tmp_path / DRAFT)
    assert not (tmp_path / DRAFT).exists()


def test_a_refused_rulebook_can_be_exported_to_mend_it(
    root: Path, tmp_path: Path
) -> None:
    with_stop_on(root / DRAFT, "material_overdue")
    xlsx = str(tmp_path / "rules.xlsx")
    words = ["policy", "export", DRAFT, "--xlsx", xlsx, "--rules", str(root)]
    assert run(*words).exit_code == 0
    shown = run("policy", "diff", SHIPPED, DRAFT, "--rules", str(root))
    assert "material_overdue" in shown.stdout


def test_the_last_good_rulebook_stays_in_force(root: Path) -> None:
    with_stop_on(root / DRAFT, "material_overdue")
    archived = read_archived_rulebook(root / DRAFT)
    release = {
        "released_by": "C. Manager",
        "released_at": "2024-01-01T00:00:00+00:00",
        "because": "board",
        "sha256": archived.sha256,
    }
    (root / DRAFT / "release.yaml").write_text(yaml.safe_dump(release))
    good, refused = read_rulebooks(root)
    assert [rulebook.version for rulebook in good] == [SHIPPED]
    assert "nothing fills this column" in str(refused[0])


def test_an_archived_rulebook_replays_what_it_never_saw(root: Path) -> None:
    with_stop_on(root / DRAFT, "material_overdue")
    decision = decided(read_archived_rulebook(root / DRAFT), dpd_days=90.0)
    (stops,) = [step for step in decision.trace if step.table == "hard_stops"]
    assert stops.inputs["material_overdue"] is None
    assert stops.fired == "P10"


def decided(rulebook: Rulebook, **changed: float) -> Decision:
    return decide(replace(FACTS, features={**FEATURES, **changed}), rulebook)


REFUSALS = {
    "a misspelt input": (
        "warnings",
        "  utilisation:",
        "  utilization:",
        "write utilisation, if that is meant",
    ),
    "another type": (
        "collection_stage",
        "dpd_days: {type: number",
        "dpd_days: {type: integer",
        "type: number",
    ),
    "another unit": (
        "step_up",
        "unit: days since",
        "unit: months since",
        "begins with 'days'",
    ),
    "texts in another order": (
        "review",
        "[premium, general, risk]",
        "[risk, general, premium]",
        "in this order",
    ),
    "a text that never occurs": (
        "ladder_moves",
        "[kept, broken, quiet_year]",
        "[kept, broken, quiet_year, renewed]",
        "kept, broken, quiet_year",
    ),
    "a range that is too narrow": (
        "warnings",
        "low: -9, high: 9",
        "low: -9, high: 4",
        "does not allow 9",
    ),
    "an output that nobody reads": (
        "outcome",
        "outputs:\n",
        "outputs:\n  colour: {type: text, values: [red]}\n",
        "nothing reads this column",
    ),
    "another id": ("review", "id: review", "id: reviews", "id: review"),
}


@pytest.mark.parametrize(
    ("table", "old", "new", "message"), REFUSALS.values(), ids=REFUSALS
)
def test_a_column_that_differs_from_the_contract_is_refused(
    root: Path,
    table: str,
    old: str,
    new: str,
    message: str,
) -> None:
    path = root / DRAFT / f"{table}.yaml"
    edit(path, old, new)
    if "utilization" in new:
        edit(path, "utilisation", "utilization")
    if "colour" in new:
        edit(path, "then: {outcome:", "then: {colour: red, outcome:")
    with pytest.raises(PolicyError, match=re.escape(message)):
        read_rulebook(root / DRAFT)


def test_a_row_on_a_value_that_never_occurs_is_refused(root: Path) -> None:
    path = root / DRAFT / "collection_stage.yaml"
    edit(path, "low: 0}", "low: -10}")
    row = '{id: EARLY, when: {dpd_days: "< 0"}, then: {stage: none}, because: x}'
    edit(path, "rules:\n", f"rules:\n  - {row}\n")
    with pytest.raises(PolicyError, match="can never fire"):
        read_rulebook(root / DRAFT)


def test_a_table_need_not_use_every_input(root: Path) -> None:
    path = root / DRAFT / "hard_stops.yaml"
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    del table["inputs"]["disputed_share"]
    table["rules"] = [rule for rule in table["rules"] if rule["id"] not in UNDISPUTED]
    for case in table["cases"]:
        case["in"].pop("disputed_share", None)
    table["cases"] = [case for case in table["cases"] if case["out"] != REFERRED]
    path.write_text(yaml.safe_dump(table, allow_unicode=True, sort_keys=False))
    decision = decided(read_rulebook(root / DRAFT), disputed_share=1.0)
    (stops,) = [step for step in decision.trace if step.table == "hard_stops"]
    assert stops.fired == "P10"


def test_a_table_without_inputs_is_refused(root: Path) -> None:
    path = root / DRAFT / "overlay.yaml"
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    table["inputs"] = {}
    table["rules"] = [{"id": "O1", "then": {"notches": 0}, "because": "x"}]
    path.write_text(yaml.safe_dump(table))
    with pytest.raises(PolicyError, match="the table has no inputs"):
        read_rulebook(root / DRAFT)


# --- what a house can ask for: the amount past due


def test_a_stop_on_the_amount_past_due_fires(root: Path) -> None:
    with_stop_on(root / DRAFT, "overdue_amount")
    rulebook = read_rulebook(root / DRAFT)
    at_90_days = partial(decided, rulebook, dpd_days=90.0)
    assert at_90_days(overdue_amount=100.01).outcome == "decline"
    assert at_90_days(overdue_amount=100.00).outcome != "decline"
    assert at_90_days(overdue_amount=nan).outcome != "decline"


def test_only_a_table_that_declares_it_shows_the_amount_past_due(root: Path) -> None:
    shipped = decided(SHIPPED_RULEBOOK, overdue_amount=500.0)
    assert all("overdue_amount" not in step.inputs for step in shipped.trace)
    with_stop_on(root / DRAFT, "overdue_amount")
    own = decided(read_rulebook(root / DRAFT), overdue_amount=500.0)
    (stops,) = [step for step in own.trace if step.table == "hard_stops"]
    assert stops.inputs["overdue_amount"] == Decimal("500.00")
