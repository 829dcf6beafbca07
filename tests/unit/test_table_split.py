"""Test rows are chosen as the spec says, and no customer is on both sides."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from obligor.errors import SchemaError
from obligor.features.applications import Applications, applications
from obligor.features.encoding import fit_encoding
from obligor.features.table_spec import Spec
from obligor.training.candidates.training_rows import folds_of, stated_folds
from obligor.training.runs.table_model import training_rows
from obligor.training.runs.table_split import origin_days, split_at, split_table

N_ROWS = 100


def make_frame() -> pd.DataFrame:
    """Return one application a day; every tenth is a default."""
    draw = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "debt": draw.normal(size=N_ROWS),
            "bad": (np.arange(N_ROWS) % 10 == 0).astype(float),
            "on": pd.date_range("2024-01-01", periods=N_ROWS).astype(str),
            "who": np.arange(N_ROWS),
            "part": np.repeat(["train", "valid", "test"], [60, 20, 20]),
            "fold": np.arange(N_ROWS) // 25,
        }
    )


def described(frame: pd.DataFrame, **roles: object) -> Applications:
    fields = {"id": ["on", "who", "part", "fold"], **roles}
    spec = Spec.model_validate({"target": {"column": "bad"}, "table": fields})
    return applications(frame, spec)


def test_rows_from_a_stated_day_on_are_tested_on() -> None:
    data = described(make_frame(), date="on", test_from=date(2024, 3, 11))
    split = split_table(data, seed=0)
    assert len(split.fit) == 70
    assert len(split.test) == 30
    assert split.notes == (
        "tested on the 30 rows from 2024-03-11 on, learned from 70 earlier ones",
    )


def test_customers_who_are_tested_on_are_not_learned_from() -> None:
    frame = make_frame()
    frame.loc[95:, "who"] = np.arange(5)
    data = described(
        frame,
        date="on",
        group="who",
        test_from="2024-03-11",
    )
    split = split_table(data, seed=0)
    assert len(split.fit) == 65
    assert not set(split.fit.groups) & set(split.test.groups)
    assert split.notes[1] == (
        "5 rows belong to customers who are also tested on and are not learned from"
    )


def test_a_column_splits_the_table() -> None:
    split = split_table(described(make_frame(), split="part"), seed=0)
    assert split.valid is not None
    assert [len(part) for part in (split.fit, split.valid, split.test)] == [60, 20, 20]
    assert "part" not in split.fit.frame
    assert "learned from 60 rows, tested on 20" in split.notes[0]


def test_customers_in_several_parts_are_only_tested_on() -> None:
    frame = make_frame().assign(who=np.arange(N_ROWS) % 90)
    split = split_table(described(frame, split="part", group="who"), seed=0)
    assert len(split.fit) == 50
    assert split.valid is not None
    assert not set(split.fit.groups) & set(split.valid.groups)
    assert "10 rows belong to customers" in split.notes[1]


def test_test_rows_of_one_outcome_are_refused() -> None:
    frame = make_frame()
    frame.loc[80:, "bad"] = 0
    with pytest.raises(SchemaError, match="tested on have one outcome only"):
        split_table(described(frame, split="part"), seed=0)


def test_origins_are_the_later_half_of_the_rows() -> None:
    data = described(make_frame(), date="on", origins=4)
    assert data.dates is not None
    days = origin_days(data, data.dates)
    first = np.datetime64("2024-01-01").astype("datetime64[D]").astype(int)
    assert [day - first for day in days] == [50, 62, 75, 87]
    window = split_at(
        data,
        data.dates,
        days[0],
        days[1],
    )
    assert len(window.fit) == 50
    assert len(window.test) == 12
    assert len(split_table(data, seed=0).test) == 13


def test_origins_may_be_dates() -> None:
    origins = [date(2024, 2, 1), date(2024, 3, 1)]
    data = described(make_frame(), date="on", origins=origins)
    split = split_table(data, seed=0)
    assert split.test.dates is not None
    assert str(split.test.dates.min()) == "2024-03-01"


def test_stated_folds_are_held_back_together() -> None:
    frame = make_frame()
    data = described(frame, folds="fold")
    encoding, _ = fit_encoding(data.frame, data.spec)
    folds = folds_of(training_rows(data, encoding), 5, seed=0)
    assert len(folds) == 4
    for number, (learned, held) in enumerate(folds):
        assert set(frame["fold"].to_numpy()[held]) == {number}
        assert number not in frame["fold"].to_numpy()[learned]


def test_a_customer_in_two_folds_is_on_one_side_only() -> None:
    groups = np.array([0, 1, 0, 2])
    for learned, held in stated_folds(np.array([0, 0, 1, 1]), groups):
        assert not set(groups[learned]) & set(groups[held])


def test_a_fold_with_all_defaults_is_refused() -> None:
    frame = make_frame()
    frame["fold"] = frame["bad"].astype(int)
    data = described(frame, folds="fold")
    encoding, _ = fit_encoding(data.frame, data.spec)
    with pytest.raises(SchemaError, match="outside a stated fold"):
        folds_of(training_rows(data, encoding), 5, seed=0)
