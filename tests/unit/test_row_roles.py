"""Columns that say how rows count and where they belong are read, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from obligor.errors import SchemaError
from obligor.features.applications import Applications, applications
from obligor.features.encoding import Column, Encoding
from obligor.features.table_spec import Spec, read_spec

FRAME = pd.DataFrame(
    {
        "bad": [0, 1, 0, 1],
        "debt": [1.0, 2.0, 3.0, 4.0],
        "w": [1.0, 2.0, 1.0, 4.0],
        "part": ["train", "Test", "TRAINING", "oot"],
        "fold": [1, 2, 1, 2],
        "loan": [10, 20, 30, 40],
    }
)


def described(frame: pd.DataFrame, **roles: object) -> Applications:
    spec = Spec.model_validate({"target": {"column": "bad"}, "table": roles})
    return applications(frame, spec)


def test_columns_with_a_role_are_no_features() -> None:
    data = described(
        FRAME,
        weight="w",
        split="part",
        folds="fold",
    )
    assert list(data.frame) == ["debt", "loan"]
    assert data.weight is not None
    assert data.weight.tolist() == [1, 2, 1, 4]
    assert data.parts is not None
    assert data.parts.tolist() == ["train", "test", "train", "test"]
    assert data.folds is not None
    assert data.folds.tolist() == [0, 1, 0, 1]
    second_and_last = data.take(np.array([1, 3]))
    assert second_and_last.weight is not None
    assert second_and_last.weight.tolist() == [2, 4]


def test_relative_weights_have_a_mean_of_one() -> None:
    data = described(FRAME, weight="w", weight_is="relative")
    assert data.weight is not None
    assert data.weight.tolist() == [0.5, 1, 0.5, 2]


def test_equal_weights_are_no_weights() -> None:
    data = described(FRAME.assign(w=3), weight="w")
    assert data.weight is None
    assert data.notes == ("every weight in w is 3: rows count alike",)


def test_rows_of_no_weight_are_left_out_and_counted() -> None:
    data = described(FRAME.assign(w=[0, 2, 1, 4]), weight="w")
    assert len(data) == 3
    assert data.notes[0] == "1 rows have a weight of 0 and are left out"


@pytest.mark.parametrize(
    ("weight", "fault"),
    [
        (-1.0, "a negative weight"),
        (np.nan, "no weight that is a finite number"),
        (np.inf, "no weight that is a finite number"),
        ("heavy", "no weight that is a finite number"),
    ],
)
def test_a_weight_that_is_not_valid_is_refused(weight: object, fault: str) -> None:
    frame = FRAME.assign(w=[1, 2, weight, 4])
    with pytest.raises(SchemaError, match=rf"^w: 1 rows have {fault}.*\[3\]"):
        described(frame, weight="w")


def test_a_part_that_nobody_knows_is_refused() -> None:
    frame = FRAME.assign(part=["train", "test", "later", "test"])
    with pytest.raises(SchemaError, match=r"1 rows belong to no known part.*later"):
        described(frame, split="part")


def test_a_table_without_test_rows_is_refused() -> None:
    with pytest.raises(SchemaError, match="no row belongs to the part test"):
        described(FRAME.assign(part="dev"), split="part")


def test_validation_rows_are_tested_on_if_there_are_no_test_rows() -> None:
    data = described(FRAME.assign(part=["dev", "val"] * 2), split="part")
    assert data.parts is not None
    assert data.parts.tolist() == ["train", "test", "train", "test"]


def test_one_fold_is_refused() -> None:
    with pytest.raises(SchemaError, match="the column holds 1 folds"):
        described(FRAME.assign(fold=1), folds="fold")


def test_an_amount_stays_a_feature() -> None:
    costs = {"bad_accepted": 0.5, "good_rejected": 0.1, "amount": "loan"}
    spec = Spec.model_validate({"target": {"column": "bad"}, "costs": costs})
    data = applications(FRAME, spec)
    assert "loan" in data.frame
    assert data.amount is not None
    assert data.amount.tolist() == [10, 20, 30, 40]


SPECS = [
    ('weight = "w"', r"the key weight does not exist \(nearest: table.weight\)"),
    ('[table]\nweigth = "w"', r"table.weigth does not exist \(nearest: table.weight\)"),
    ('[table]\nzzz = "w"', r"the key table.zzz does not exist; expected in \[table\]"),
    ("[columns.a]\ndirektion = 1", r"\(nearest: columns.a.direction\)"),
    ("[table]\norigins = 3", "origins needs the column of dates: state date"),
    (
        '[table]\ndate = "d"\norigins = 3\nsplit = "p"',
        "split and origins both say which rows are tested on",
    ),
    ('[table]\ndate = "d"\norigins = 1', "origins is a number from 2 to 20"),
    ('[table]\nweight_is = "count"', "weight_is needs the column of weights"),
    ("[costs]\nbad_loss = 1", "state bad_accepted and good_rejected, or bad_loss"),
    ("[costs]\nbad_loss = 1\ngood_profit = 0", "a cost of 0"),
]


@pytest.mark.parametrize(("text", "refusal"), SPECS)
def test_a_spec_that_is_not_valid_is_refused(
    tmp_path: Path, text: str, refusal: str
) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(f'{text}\n[target]\ncolumn = "bad"\n', encoding="utf-8")
    with pytest.raises(SchemaError, match=refusal):
        read_spec(path)


def test_two_population_rates_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    text = "[target]\ncolumn = 'bad'\npopulation_odds = 19\npopulation_bad_rate = 0.05"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SchemaError, match="keep one of them"):
        read_spec(path)


def test_rows_without_a_customer_belong_to_nobody_else() -> None:
    frame = FRAME.assign(who=["a", None, None, "a"])
    groups = described(frame, group="who").groups
    assert groups[0] == groups[3]
    assert len(set(groups.tolist())) == 3


def test_every_encoded_column_has_its_level_texts() -> None:
    levels = Column("town", "category", ("a", "b"), evidence=(("a", 0.1), ("b", 0.2)))
    encoding = Encoding((levels, Column("x", "number", special=(-9.0,))))
    assert len(encoding.level_texts()) == len(encoding.names)
