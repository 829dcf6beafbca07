"""Applicants who were refused: left out unless asked, and what it changes where they count."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from obligor.cli.app import app
from obligor.errors import SchemaError
from obligor.features.applications import Applications, applications
from obligor.features.table_spec import Spec
from obligor.training.candidates.fit_settings import LIGHTGBM
from obligor.training.candidates.reject_inference import (
    MOST_WEIGHT,
    Method,
    acceptance_weights,
    effective_rows,
    with_rejects,
)
from obligor.training.candidates.training_rows import (
    Columns,
    TrainingRows,
    stratified_folds,
)
from obligor.training.runs.table_model import fit_table, split

SPEC = Spec.model_validate(
    {
        "target": {"column": "bad"},
        "table": {"date": "applied_on"},
        "rejects": {"column": "decision", "values": ["declined"]},
    }
)


def made(n: int = 900) -> pd.DataFrame:
    """Applications of which the riskier are refused, more often the more is owed; their outcome is not there."""
    draw = np.random.default_rng(4)
    debt, tenure = draw.normal(size=n), draw.normal(size=n)
    bad = (debt - tenure + draw.logistic(size=n) > 1).astype(float)
    declined = debt + draw.logistic(0, 0.5, n) > 0.8
    return pd.DataFrame(
        {
            "debt": debt,
            "tenure": tenure,
            "bad": np.where(declined, np.nan, bad),
            "decision": np.where(declined, "declined", "accepted"),
            "applied_on": pd.date_range("2023-01-01", periods=n).strftime("%Y-%m-%d"),
        }
    )


@pytest.fixture(scope="module")
def data() -> Applications:
    return applications(made(), SPEC)


def tables(data: Applications) -> tuple[TrainingRows, np.ndarray]:
    rows = data.frame.to_numpy()
    table = TrainingRows(
        rows, data.label, np.arange(len(rows)), Columns(("debt", "tenure"), (), (0, 0))
    )
    return table, data.refused.to_numpy()


def test_rows_without_an_outcome_that_the_spec_names_are_refused_applicants(
    data: Applications,
) -> None:
    assert list(data.refused) == list(data.frame) == ["debt", "tenure"]
    assert len(data) + len(data.refused) == 900
    assert data.refused["debt"].mean() > data.frame["debt"].mean() + 0.5
    pending = made().assign(decision="pending")
    assert applications(
        pending, SPEC
    ).refused.empty  # no outcome yet, and nobody refused them


def test_those_refused_after_the_test_begins_are_not_learnt_from(
    data: Applications,
) -> None:
    fit, test = split(data, 0)
    assert fit.refused_dates is not None
    assert test.dates is not None
    assert fit.refused_dates.max() < test.dates.min()
    assert 0 < len(fit.refused) < len(data.refused)


def test_accepted_rows_that_resemble_the_refused_count_more(data: Applications) -> None:
    table, refused = tables(data)
    weight = acceptance_weights(table, refused)
    assert weight.mean() == pytest.approx(1)
    assert weight.max() / weight.min() <= MOST_WEIGHT
    assert np.corrcoef(weight, table.rows[:, 0])[0, 1] > 0.5
    np.testing.assert_array_equal(
        weight, acceptance_weights(replace(table, label=1 - table.label), refused)
    )
    assert effective_rows(weight) < len(weight)


def test_what_a_refused_applicant_counts_is_learnt_without_the_rows_held_back(
    data: Applications,
) -> None:
    table, refused = tables(data)
    for fit, held in with_rejects(table, refused, "fuzzy").with_unobserved(
        stratified_folds(table.label, table.groups, 3, 0)
    ):
        label = table.label.copy()
        label[held] = 1 - label[held]
        one, other = (
            with_rejects(replace(table, label=of), refused, "fuzzy").weights_of(fit)
            for of in (table.label, label)
        )
        assert one is not None
        np.testing.assert_array_equal(one, other)
        assert held.max() < len(
            table.label
        )  # an outcome that nobody saw is never held against a model
        as_bad, as_good = one[-2 * len(refused) : -len(refused)], one[-len(refused) :]
        np.testing.assert_allclose(as_bad + as_good, 1)
        assert as_bad.mean() > table.label.mean()


def test_worse_odds_count_more_as_defaults(data: Applications) -> None:
    table, refused = tables(data)
    everything = np.arange(len(table.label) + 2 * len(refused))
    first, second = (
        with_rejects(table, refused, "fuzzy", odds).weights_of(everything)
        for odds in (1.0, 3.0)
    )
    assert first is not None
    assert second is not None
    m = slice(len(table.label), len(table.label) + len(refused))
    np.testing.assert_allclose(
        second[m] / (1 - second[m]), 3 * first[m] / (1 - first[m])
    )


def test_the_refused_have_no_part_unless_asked(data: Applications) -> None:
    alone = replace(data, refused=data.refused.iloc[:0])
    left_out, without = (fit_table(one, seed=0, threads=1) for one in (data, alone))
    assert left_out.model().text == without.model().text
    with pytest.raises(SchemaError, match="no row is an applicant who was refused"):
        fit_table(alone, seed=0, threads=1, inference="fuzzy")
    rows = left_out.encoding.rows(data.refused)
    before = left_out.model(LIGHTGBM).predict_pd(rows).mean()
    worse = replace(
        data,
        spec=SPEC.model_copy(
            update={"rejects": SPEC.rejects.model_copy(update={"odds": 3.0})}
        ),
    )
    methods: dict[Method, Applications] = {"fuzzy": worse, "augmentation": data}
    for method, of in methods.items():
        fitted = fit_table(of, seed=0, threads=1, inference=method)
        assert len(fitted.candidates.by_name[LIGHTGBM].out_of_fold) == len(data)
        after = fitted.model(LIGHTGBM).predict_pd(rows).mean()
        assert after > before + 0.02 if method == "fuzzy" else abs(after - before) < 0.2
        assert fitted.model().text != left_out.model().text


def test_the_report_says_what_changes(tmp_path: Path) -> None:
    made(500).to_csv(tmp_path / "made.csv", index=False)
    spec = (
        "[target]",
        'column = "bad"',
        "[table]",
        'date = "applied_on"',
        "[rejects]",
        'column = "decision"',
        'values = ["declined"]',
    )
    (tmp_path / "spec.toml").write_text("\n".join(spec))
    words = [
        "train",
        "--table",
        tmp_path / "made.csv",
        "--spec",
        tmp_path / "spec.toml",
        "--store",
        tmp_path / "store",
        "--report",
        tmp_path / "report",
        "--rejects",
        "augmentation",
    ]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert "refused applicants are used in training (method: augmentation)" in " ".join(
        done.stdout.split()
    )
    verdicts = json.loads((tmp_path / "report" / "validation.json").read_text())
    assert "rejects" in verdicts
    page = (tmp_path / "report" / "model_report.html").read_text()
    assert "mean PD of the refused" in page
    assert (
        page.count("refused applicants are used in training (method: augmentation)")
        == 3
    )  # at the top, in its section, and in the model card
