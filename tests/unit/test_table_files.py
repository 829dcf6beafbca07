"""Tables of applications as files: what is read, said and refused; any names."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from obligor.errors import SchemaError
from obligor.features.applications import applications
from obligor.features.encoding import Column, Encoding, Pair, fit_encoding
from obligor.features.number_reading import numbers
from obligor.features.table_files import read_frame, read_table_file
from obligor.features.table_spec import Spec
from obligor.training.runs.infer_spec import infer_spec
from obligor.training.validation.subject import BESIDE_FEATURES, stored_names

# --- files


@pytest.mark.parametrize(
    ("content", "values"),
    [
        ("a;b;y\n12,5;3,7;1\n1,5;2,2;0\n", [12.5, 1.5]),
        (",a,y\n0,1.5,1\n1,2.5,0\n2,3.5,0\n", [1.5, 2.5, 3.5]),
        ('a,y\n"1,5",1\n"2,5",0\n', [1.5, 2.5]),
        ("a;y;\n1.234,5;1;\n7;0;\n", [1234.5, 7.0]),
        ("sep=;\na;y\n1,5;1\n2,5;0\n", [1.5, 2.5]),
        ("a\ty\n1 234\t1\n7\t0\n", [1234.0, 7.0]),
    ],
    ids=[
        "decimal commas in each field",
        "an index without a name",
        "quoted decimal commas",
        "a separator behind the last field",
        "Excel's line of the separator",
        "thousands",
    ],
)
def test_numbers_of_a_text_file_are_read(
    tmp_path: Path, content: str, values: list[float]
) -> None:
    file = tmp_path / "made.csv"
    file.write_text(content)
    assert numbers(read_frame(file)["a"]).tolist() == values


def test_an_unclear_column_of_a_file_stays_text(tmp_path: Path) -> None:
    file = tmp_path / "made.csv"
    file.write_text("a,y\n12.500,1\n25.000,0\n")
    frame = read_frame(file)
    with pytest.raises(SchemaError, match=r"'12.500' can be 12.500 or 12500"):
        applications(frame, Spec.model_validate({"target": {"column": "y"}}))
    table = {"decimal": ","}
    spec = Spec.model_validate({"target": {"column": "y"}, "table": table})
    encoding, _ = fit_encoding(applications(frame, spec).frame, spec)
    assert encoding.rows(frame)[:, 0].tolist() == [12500.0, 25000.0]


def test_json_lines_are_read(tmp_path: Path) -> None:
    file = tmp_path / "made.jsonl"
    file.write_text('{"a": 1.5, "y": 1}\n\n{"a": null, "y": 0}\n')
    assert read_frame(file)["a"].isna().tolist() == [False, True]
    file.write_text('{"a": [1], "y": 1}\n')
    with pytest.raises(SchemaError, match="the column 'a' holds lists"):
        read_frame(file)
    file.write_text("[1]\n")
    with pytest.raises(SchemaError, match="line 1 is not an object"):
        read_frame(file)


def test_lines_that_do_not_fit_the_header_are_refused_or_said(tmp_path: Path) -> None:
    file = tmp_path / "made.csv"
    file.write_text("a,b,y\n1,2,1\n3,4\n5,6,0\n")
    (note,) = read_table_file(file).notes
    assert "1 lines have fewer than 3 fields (the first are [3])" in note
    file.write_text("a,b,y\n1,2,1\n3,4,0,7\n")
    with pytest.raises(SchemaError, match=r"more fields than the header.*\[3\]"):
        read_frame(file)


# --- names


def test_columns_of_any_name_are_kept_apart() -> None:
    columns = (
        Column("a", "number", special=(-9.0,), direction=1),
        Column("a=special", "number", direction=-1),
        Column("a / a=special", "category", ("u", "v")),
        Column("", "number"),
    )
    encoding = Encoding(columns, (Pair("/", 0, 1),))
    assert len(set(encoding.names)) == len(encoding.names) == 6
    assert encoding.categorical == (1, 3)
    assert encoding.directions == (1, 0, -1, 0, 0, 0)


def test_stored_rows_keep_a_feature_that_has_the_name_of_a_label() -> None:
    names = ["label", "pd", "customer", "period", "label (feature)", "x"]
    stored = stored_names(names)
    assert len(set(stored)) == len(names)
    assert not set(stored) & set(BESIDE_FEATURES)
    assert stored[-1] == "x"


def test_texts_of_a_workbook_are_not_taken_for_numbers(tmp_path: Path) -> None:
    cells = {
        "unclear": ["12.500", "25.000"],
        "text": ["1,5", "2,5"],
        "gaps": [1, None],
        "on": [pd.Timestamp("2024-01-31"), None],
        "y": [1, 0],
    }
    pd.DataFrame(cells).to_excel(tmp_path / "made.xlsx", index=False)
    frame = read_frame(tmp_path / "made.xlsx")
    assert frame["unclear"].tolist() == ["12.500", "25.000"]
    assert numbers(frame["text"]).tolist() == [1.5, 2.5]
    kinds = [frame[name].dtype.kind for name in ("gaps", "on", "y")]
    assert kinds == ["f", "M", "i"]


def test_a_target_of_one_value_is_not_replaced_by_another_column() -> None:
    frame = pd.DataFrame({"a": [1, 2] * 20, "default": 1})
    with pytest.raises(SchemaError, match="default looks like the target"):
        infer_spec(frame)
