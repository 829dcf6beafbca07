"""Tables of applications: specs, what a column is, how rows become numbers, what a first spec warns of."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from obligor.errors import SchemaError
from obligor.features.applications import applications, read_frame
from obligor.features.encoding import Encoding, Pair, fit_encoding, kind_of
from obligor.features.table_spec import Spec, read_spec
from obligor.training.runs.infer_spec import infer_spec

SPEC = Spec.model_validate(
    {"target": {"column": "y", "bad": ["Bad"]}, "table": {"special": [-9]}}
)


def small() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "y": ["Bad", "Good", "Good", "Bad"],
            "income": [10, 20, None, 40],
            "score": [-9, 5, 7, -9],
            "town": ["a", "b", "a", None],
        }
    )


def test_rows_become_numbers_and_what_was_never_seen_is_missing() -> None:
    data = applications(small(), SPEC)
    assert data.label.tolist() == [1, 0, 0, 1]
    encoding, _ = fit_encoding(data.frame, SPEC)
    assert encoding.names == ("income", "score", "score=special", "town")
    assert encoding.categorical == (2, 3)
    assert encoding.columns[2].levels == ("a",)  # the others are too rare
    nan = np.nan
    expected = [[10, nan, 1, 0], [20, 5, 0, nan], [nan, 7, 0, 0], [40, nan, 1, nan]]
    np.testing.assert_array_equal(encoding.rows(data.frame), expected)
    strange = pd.DataFrame(
        {"income": ["1,200.50"], "score": [np.inf], "town": ["nowhere"]}
    )
    np.testing.assert_array_equal(encoding.rows(strange), [[1200.5, nan, 0, nan]])


def test_an_encoding_is_read_back_as_it_was() -> None:
    encoding, _ = fit_encoding(applications(small(), SPEC).frame, SPEC)
    paired = Encoding(encoding.columns, (Pair("/", 0, 1), Pair("-", 0, 1)))
    assert Encoding.from_dict(paired.as_dict()) == paired
    assert paired.names[-2:] == ("income / score", "income - score")
    assert paired.rows(small())[1, -2:].tolist() == [4.0, 15.0]
    assert [part.start for _, part in paired.parts] == [0, 1, 3, 4, 5]


def test_one_row_of_a_payload_is_checked() -> None:
    encoding, _ = fit_encoding(applications(small(), SPEC).frame, SPEC)
    good = {"income": "20", "score": -9, "town": "b"}
    assert encoding.row(good)[0, :3].tolist() == pytest.approx(
        [20.0, np.nan, 1.0], nan_ok=True
    )
    for wrong, told in (
        ({"income": 1}, "missing"),
        (good | {"more": 1}, "unknown"),
        (good | {"income": "much"}, "is no number"),
    ):
        with pytest.raises(SchemaError, match=told):
            encoding.row(wrong)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, None], "number"),
        (["1%", "20%"], "number"),
        (["a", "b"], "category"),
        ([True, False], "number"),
        (["Jan-2010", "Dec 2011"] * 3, "category"),
        ([f"Mar-{year}" for year in range(1900, 2000)], "dates"),
        (
            [f"2024-{m:02d}-{d:02d}" for m in range(1, 13) for d in range(1, 20)],
            "dates",
        ),
        ([f"free text {n}" for n in range(300)], "texts, nearly each its own"),
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
def test_what_a_column_is(values: list[object], kind: str) -> None:
    assert kind_of(pd.Series(values)) == kind


def test_what_has_nothing_to_say_is_left_out_and_told() -> None:
    frame = pd.DataFrame(
        {"x": range(300), "same": 1, "note": [f"text {n}" for n in range(300)]}
    )
    encoding, findings = fit_encoding(frame, SPEC)
    assert encoding.names == ("x",)
    assert findings == [
        "same: one value alone, left out",
        "note: texts, nearly each its own, left out",
    ]
    with pytest.raises(SchemaError, match="no column is left"):
        fit_encoding(frame[["same"]], SPEC)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"target": {"column": "z"}}, r"lacks \['z'\]"),
        ({"target": {"column": "y", "bad": ["Worse"]}}, "0 of 4 rows are bad"),
        (
            {"target": {"column": "y", "bad": ["Bad"]}, "table": {"date": "income"}},
            "hold no date",
        ),
        (
            {"target": {"column": "y", "bad": ["Bad"]}, "columns": {"z": {}}},
            r"lacks \['z'\]",
        ),
    ],
)
def test_a_spec_that_does_not_fit_says_so(spec: dict[str, object], told: str) -> None:
    with pytest.raises(SchemaError, match=told):
        applications(small(), Spec.model_validate(spec))


def test_a_spec_or_table_that_cannot_be_read_says_what_is_expected(
    tmp_path: Path,
) -> None:
    path = tmp_path / "spec.toml"
    for text, told in (
        ("[target", "cannot be read"),
        ("[target]\ncolumn = 'y'\nworse = 1", "target.worse"),
    ):
        path.write_text(text)
        with pytest.raises(SchemaError, match=told):
            read_spec(path)
    for name, text in (
        ("a.csv", ""),
        ("b.csv", "x;y\n"),
        ("c.parquet", "no"),
        ("none.csv", None),
    ):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(SchemaError):
            read_frame(tmp_path / name)
    (tmp_path / "d.csv").write_text("x;y\n1;2\n")
    assert list(read_frame(tmp_path / "d.csv")) == ["x", "y"]


def odd_table(n: int = 600) -> pd.DataFrame:
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


def test_a_first_spec_names_roles_and_warns_of_leaks() -> None:
    found = infer_spec(odd_table())
    assert (found.target, found.bad) == ("bad_flag", [1.0])
    assert (found.id, found.date, found.forbidden, found.special) == (
        ["loan_id"],
        "applied_on",
        ["sex"],
        [-9.0],
    )
    assert found.leaks == ["recovered_amount", "collection_fee", "echo", "filled_later"]
    warnings = " ".join(found.warnings)
    for told in (
        "echo alone has AUC",
        "whether filled_later is filled",
        "suggests that it is known only after",
        "check this",
    ):
        assert told in warnings
    spec = Spec.model_validate(tomllib.loads(found.text('my "table"')))
    assert list(applications(odd_table(), spec).frame) == ["income"]


def test_a_first_spec_finds_words_for_bad_and_rows_there_twice() -> None:
    frame = pd.DataFrame(
        {
            "x": [1, 1, 2, 3] * 10,
            "loan_status": ["Charged Off", "Charged Off", "Paid", "Paid"] * 10,
        }
    )
    found = infer_spec(frame)
    assert (found.target, found.bad) == ("loan_status", ["Charged Off"])
    assert any("duplicates" in warning for warning in found.warnings)
    assert infer_spec(frame, target="loan_status", bad="Paid").bad == ["Paid"]
    assert infer_spec(
        frame.assign(loan_status=[0, 1] * 20), target="loan_status"
    ).bad == [1.0]
    for values, expected in (
        ([0, 1], 0.0),
        (["N", "Y"], "N"),
        (["good", "bad"], "bad"),
    ):
        named = infer_spec(frame.assign(is_good=values * 20), target="is_good")
        assert (named.bad, len(named.warnings) > 0) == (
            [expected],
            True,
        )  # 1 in a column of that name is no default
    with pytest.raises(SchemaError, match="no column looks like a target"):
        infer_spec(pd.DataFrame({"a": [1, 2, 3], "b": [1, 2, 3]}))
    with pytest.raises(SchemaError, match="no column 'z'"):
        infer_spec(frame, target="z")
