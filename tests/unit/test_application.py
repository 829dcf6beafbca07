"""Tables of applications: their specs, and how their rows become numbers."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from obligor.errors import SchemaError
from obligor.features.applications import applications, parse_dates
from obligor.features.encoding import Encoding, Pair, fit_encoding, kind_of
from obligor.features.table_files import read_frame, read_table_file
from obligor.features.table_spec import Spec, read_spec
from obligor.training.runs.infer_spec import infer_spec

SPEC = Spec.model_validate(
    {"target": {"column": "y", "bad": ["Bad"]}, "table": {"special": [-9]}}
)
NAN = np.nan


def small_table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "y": ["Bad", "Good", "Good", "Bad"],
            "income": [10, 20, None, 40],
            "score": [-9, 5, 7, -9],
            "town": ["a", "b", "a", None],
        }
    )


def small_encoding() -> Encoding:
    encoding, _ = fit_encoding(applications(small_table(), SPEC).frame, SPEC)
    return encoding


def test_the_label_is_1_for_a_bad_value() -> None:
    assert applications(small_table(), SPEC).label.tolist() == [1, 0, 0, 1]


def test_special_codes_have_a_column_of_their_own() -> None:
    encoding = small_encoding()
    assert encoding.names == ("income", "score", "score=special", "town")
    assert encoding.categorical == (2, 3)


def test_a_rare_level_is_not_learnt() -> None:
    assert small_encoding().columns[2].levels == ("a",)


def test_rows_become_numbers() -> None:
    encoded = small_encoding().rows(small_table())
    expected = [[10, NAN, 1, 0], [20, 5, 0, NAN], [NAN, 7, 0, 0], [40, NAN, 1, NAN]]
    np.testing.assert_array_equal(encoded, expected)


def test_unseen_and_infinite_values_are_missing() -> None:
    strange = pd.DataFrame(
        {
            "income": ["1,200.50"],
            "score": [np.inf],
            "town": ["nowhere"],
        }
    )
    encoded = small_encoding().rows(strange)
    np.testing.assert_array_equal(encoded, [[1200.5, NAN, 0, NAN]])


def test_an_encoding_survives_being_written_and_read() -> None:
    pairs = (Pair("/", 0, 1), Pair("-", 0, 1))
    encoding = Encoding(small_encoding().columns, pairs)
    assert Encoding.from_dict(encoding.as_dict()) == encoding


def test_pairs_are_computed_behind_the_columns() -> None:
    pairs = (Pair("/", 0, 1), Pair("-", 0, 1))
    encoding = Encoding(small_encoding().columns, pairs)
    assert encoding.names[-2:] == ("income / score", "income - score")
    assert encoding.rows(small_table())[1, -2:].tolist() == [4.0, 15.0]
    assert [columns.start for _, columns in encoding.parts] == [0, 1, 3, 4, 5]


GOOD_ROW: dict[str, object] = {
    "income": "20",
    "score": -9,
    "town": "b",
}


def test_a_row_of_a_request_becomes_numbers() -> None:
    encoded = small_encoding().row(GOOD_ROW)[0, :3].tolist()
    assert encoded == pytest.approx([20.0, NAN, 1.0], nan_ok=True)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"income": 1}, r"missing \['score', 'town'\]"),
        (GOOD_ROW | {"more": 1}, r"unknown \['more'\]"),
        (GOOD_ROW | {"income": "much"}, "features.income: not a number"),
    ],
    ids=["missing columns", "unknown column", "text for a number"],
)
def test_a_wrong_row_of_a_request_is_refused(
    row: dict[str, object], message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        small_encoding().row(row)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, None], "number"),
        (["1%", "20%"], "number"),
        (["a", "b"], "category"),
        ([True, False], "number"),
        (["Jan-2010", "Dec 2011"] * 3, "dates"),
        ([f"Mar-{year}" for year in range(1900, 2000)], "dates"),
        (
            [f"2024-{m:02d}-{d:02d}" for m in range(1, 13) for d in range(1, 20)],
            "dates",
        ),
        ([f"free text {n}" for n in range(300)], "texts, most of them different"),
    ],
    ids=[
        "numbers",
        "percent",
        "words",
        "booleans",
        "few months",
        "months",
        "dates",
        "texts",
    ],
)
def test_the_kind_of_a_column_is_inferred(values: list[object], kind: str) -> None:
    assert kind_of(pd.Series(values)) == kind


def uninformative_table() -> pd.DataFrame:
    texts = [f"text {n}" for n in range(300)]
    return pd.DataFrame(
        {
            "x": range(300),
            "same": 1,
            "note": texts,
        }
    )


def test_uninformative_columns_are_left_out_with_a_reason() -> None:
    encoding, findings = fit_encoding(uninformative_table(), SPEC)
    assert encoding.names == ("x",)
    assert findings == [
        "same: only one value, left out",
        "note: texts, most of them different, left out",
    ]


def test_a_table_without_a_usable_column_is_refused() -> None:
    with pytest.raises(SchemaError, match="no column can be used as a feature"):
        fit_encoding(uninformative_table()[["same"]], SPEC)


TARGET = {"column": "y", "bad": ["Bad"]}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"target": {"column": "z"}}, r"the columns \['z'\] are missing"),
        ({"target": {"column": "y", "bad": ["Worse"]}}, "0 of 4 rows are bad"),
        (
            {"target": TARGET, "table": {"date": "income"}},
            "10 is a number where a date is expected",
        ),
        (
            {"target": TARGET, "columns": {"z": {}}},
            r"the columns \['z'\] are missing",
        ),
    ],
    ids=["missing target", "no bad row", "not a date", "missing column"],
)
def test_a_spec_that_does_not_fit_the_table_is_refused(
    spec: dict[str, object], message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        applications(small_table(), Spec.model_validate(spec))


def test_a_repeated_column_is_refused() -> None:
    table = small_table()
    repeated = pd.concat([table, table[["income"]]], axis=1)
    message = r"the columns \['income'\] occur more than once"
    with pytest.raises(SchemaError, match=message):
        applications(repeated, SPEC)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[target", "the spec cannot be read"),
        ("[target]\ncolumn = 'y'\nworse = 1", "target.worse"),
    ],
    ids=["not TOML", "unknown key"],
)
def test_a_wrong_spec_is_refused(
    tmp_path: Path,
    text: str,
    message: str,
) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(text)
    with pytest.raises(SchemaError, match=message):
        read_spec(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", "", "the table has no rows"),
        ("header.csv", "x;y\n", "the table has no rows"),
        ("wrong.parquet", "no", "the table cannot be read"),
        ("missing.csv", None, "the table cannot be read"),
    ],
)
def test_an_unreadable_table_is_refused(
    tmp_path: Path,
    name: str,
    content: str | None,
    message: str,
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(SchemaError, match=message):
        read_frame(tmp_path / name)


def test_a_table_separated_by_semicolons_is_read(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("x;y\n1;2\n")
    assert list(read_frame(path)) == ["x", "y"]


def leaky_table(n: int = 600) -> pd.DataFrame:
    """Return applications with several columns known only after the outcome."""
    rng = np.random.default_rng(0)
    bad = rng.random(n) < 0.3
    return pd.DataFrame(
        {
            "loan_id": np.arange(1000, 1000 + n),
            "applied_on": pd.date_range("2023-01-01", periods=n).astype(str),
            "income": np.where(rng.random(n) < 0.05, -9, rng.integers(1000, 9000, n)),
            "sex": rng.choice(["f", "m"], n),
            "recovered_amount": rng.random(n),
            "collection_fee": rng.random(n),
            "echo": bad + rng.normal(0, 0.2, n),
            "filled_later": np.where(bad, rng.random(n), np.nan),
            "bad_flag": bad.astype(int),
        }
    )


def test_an_inferred_spec_names_the_roles_of_columns() -> None:
    inferred = infer_spec(leaky_table())
    assert inferred.target == "bad_flag"
    assert inferred.bad == [1.0]
    assert inferred.id == ["loan_id"]
    assert inferred.date == "applied_on"
    assert inferred.forbidden == ["sex"]
    assert inferred.special == {"income": [-9.0]}


def test_an_inferred_spec_leaves_the_choice_about_leaks_to_a_person() -> None:
    """The best honest predictor looks like a leak too."""
    inferred = infer_spec(leaky_table())
    suspects = ["recovered_amount", "collection_fee", "echo", "filled_later"]
    assert inferred.leaks == suspects
    spec = Spec.model_validate(tomllib.loads(inferred.text("leaky")))
    assert spec.table.leaks == ()


@pytest.mark.parametrize(
    "warning",
    [
        "echo alone has AUC",
        "whether filled_later is filled",
        "suggests that it is known only after",
        "check this",
    ],
)
def test_an_inferred_spec_warns_of_leaks(warning: str) -> None:
    assert warning in " ".join(infer_spec(leaky_table()).warnings)


def test_the_text_of_an_inferred_spec_is_a_spec() -> None:
    text = infer_spec(leaky_table()).text('my "table"')
    spec = Spec.model_validate(tomllib.loads(text))
    features = list(applications(leaky_table(), spec).frame)
    assert features[0] == "income"
    assert spec.columns["income"].special == (-9.0,)
    assert spec.name == 'my "table"'


def loans() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "x": [1, 1, 2, 3] * 10,
            "loan_status": ["Charged Off", "Charged Off", "Paid", "Paid"] * 10,
        }
    )


def test_the_bad_words_of_a_target_are_inferred() -> None:
    inferred = infer_spec(loans())
    assert inferred.target == "loan_status"
    assert inferred.bad == ["Charged Off"]


def test_an_inferred_spec_warns_of_repeated_rows() -> None:
    assert any("duplicates" in warning for warning in infer_spec(loans()).warnings)


def test_a_stated_bad_value_is_used() -> None:
    assert infer_spec(
        loans(),
        target="loan_status",
        bad="Paid",
    ).bad == ["Paid"]


def test_1_is_the_bad_value_of_a_numeric_target() -> None:
    numeric = loans().assign(loan_status=[0, 1] * 20)
    assert infer_spec(numeric, target="loan_status").bad == [1.0]


@pytest.mark.parametrize(
    ("values", "bad"),
    [([0, 1], 0.0), (["N", "Y"], "N"), (["good", "bad"], "bad")],
)
def test_a_column_named_good_has_the_opposite_bad_value(
    values: list[object], bad: object
) -> None:
    table = loans().assign(is_good=values * 20)
    inferred = infer_spec(table, target="is_good")
    assert inferred.bad == [bad]
    assert inferred.warnings


def test_a_table_without_a_target_is_refused() -> None:
    table = pd.DataFrame({"a": [1, 2, 3], "b": [1, 2, 3]})
    with pytest.raises(SchemaError, match="no column looks like a target"):
        infer_spec(table)


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(SchemaError, match="no column 'z'"):
        infer_spec(loans(), target="z")


@pytest.mark.parametrize(
    ("values", "bad", "undecided"),
    [
        ([1, 2], [2.0], []),
        (["1", "2"], ["2"], []),
        ([True, False], ["True"], []),
        (["0", "1", "?"], ["1"], ["?"]),
        (["no default", "default"], ["default"], []),
        (["Paid", "Not paid"], ["Not paid"], []),
        (
            ["Charged Off", "Current", "Default", "Late (31-120 days)", "Fully Paid"],
            ["Charged Off", "Default", "Late (31-120 days)"],
            ["Current"],
        ),
    ],
)
def test_every_bad_word_of_a_target_is_bad(
    values: list[object], bad: list[object], undecided: list[object]
) -> None:
    n_rows = 20 * len(values)
    table = pd.DataFrame({"x": range(n_rows), "y": values * 20})
    inferred = infer_spec(table, target="y")
    assert (inferred.bad, inferred.undecided) == (bad, undecided)
    spec = Spec.model_validate(tomllib.loads(inferred.text("t")))
    data = applications(table, spec)
    assert data.label.sum() == 20 * len(bad)
    assert len(data) == n_rows - 20 * len(undecided)
    assert len(data.notes) == len(undecided)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["13/04/2024", "03/04/2024"], ["2024-04-13", "2024-04-03"]),
        (["04/13/2024", "04/03/2024"], ["2024-04-13", "2024-04-03"]),
        ([20240413, 20240403], ["2024-04-13", "2024-04-03"]),
        (["20240413", "20240403"], ["2024-04-13", "2024-04-03"]),
        (["Apr-2024", "Mar-2024"], ["2024-04-01", "2024-03-01"]),
        (["2024-04", "2024-03"], ["2024-04-01", "2024-03-01"]),
        ([2024, 2023], ["2024-01-01", "2023-01-01"]),
    ],
)
def test_a_column_of_dates_has_one_format(
    values: list[object], expected: list[str]
) -> None:
    dates = parse_dates(pd.Series(values), "on")
    assert dates.dt.strftime("%Y-%m-%d").tolist() == expected


def test_dates_that_can_be_read_two_ways_are_refused() -> None:
    with pytest.raises(SchemaError, match=r"day/month/year or month/day/year.*state"):
        parse_dates(pd.Series(["03/04/2024", "05/06/2024"]), "on")
    stated = parse_dates(pd.Series(["03/04/2024"]), "on", "%d/%m/%Y")
    assert stated.dt.month.tolist() == [4]


def test_numbers_that_are_not_dates_are_refused() -> None:
    table = small_table().assign(on=[1, 2, 3, 4])
    roles = {"target": {"column": "y", "bad": ["Bad"]}, "table": {"date": "on"}}
    with pytest.raises(SchemaError):
        applications(table, Spec.model_validate(roles))


def test_title_lines_bars_and_further_sheets_are_read_and_said(tmp_path: Path) -> None:
    text = tmp_path / "bars.csv"
    text.write_text("Portfolio of May\n\nx|y|z\n1|2|3\n4|5|6\n7|8|9\n")
    bars = read_table_file(text)
    assert list(bars.frame) == ["x", "y", "z"]
    assert len(bars.frame) == 3
    assert "2 lines are above the header" in bars.notes[0]
    book = tmp_path / "book.xlsx"
    with pd.ExcelWriter(book) as writer:
        pd.DataFrame({"note": ["by me"]}).to_excel(writer, sheet_name="Notes")
        small_table().to_excel(writer, sheet_name="Data", index=False, startrow=2)
    table = read_table_file(book)
    assert list(table.frame) == list(small_table())
    assert "the sheet 'Data' is read" in table.notes[0]


def test_repeated_names_lists_and_half_files_are_refused(tmp_path: Path) -> None:
    repeated = tmp_path / "repeated.csv"
    repeated.write_text("x,util,util\n1,2,3\n")
    with pytest.raises(SchemaError, match=r"\['util'\] occur more than once"):
        read_frame(repeated)
    lists = tmp_path / "lists.parquet"
    pd.DataFrame({"x": [[1, 2], [3]]}).to_parquet(lists)
    with pytest.raises(SchemaError, match="the column 'x' holds"):
        read_frame(lists)
    book = tmp_path / "half.xlsx"
    small_table().to_excel(book)
    book.write_bytes(book.read_bytes()[:2000])
    with pytest.raises(SchemaError, match="cannot be read"):
        read_frame(book)
