"""One training run of a table with weights, parts, a population and costs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from obligor.arrays import Floats
from obligor.cli.app import app
from obligor.features.table_spec import Costs
from obligor.metrics.figures import auc
from obligor.training.lifecycle.registry import Registry
from obligor.training.validation.costs import cost_curve, row_costs

N_ROWS = 260
BAD_RATE = 0.1
SPEC = f"""
[target]
column = "bad"
population_bad_rate = {BAD_RATE}
[table]
weight = "w"
split = "part"
[costs]
bad_loss = 0.5
good_profit = 0.1
amount = "loan"
unit = "EUR"
"""


def make_frame() -> pd.DataFrame:
    draw = np.random.default_rng(9)
    debt = draw.normal(size=N_ROWS)
    return pd.DataFrame(
        {
            "debt": debt,
            "bad": (debt + draw.logistic(size=N_ROWS) > 0.5).astype(int),
            "w": draw.integers(1, 4, N_ROWS),
            "part": draw.choice(["train", "valid", "test"], N_ROWS, p=[0.6, 0.1, 0.3]),
            "loan": draw.integers(100, 900, N_ROWS),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("roles")
    make_frame().to_csv(folder / "table.csv", index=False)
    (folder / "spec.toml").write_text(SPEC)
    return folder


@pytest.fixture(scope="module")
def document(folder: Path) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    words = ["train", "--table", "table.csv", "--spec", "spec.toml", "--json"]
    words[2] = str(folder / "table.csv")
    words[4] = str(folder / "spec.toml")
    words += ["--store", str(folder / "store"), "--report", str(folder / "report")]
    trained = CliRunner().invoke(app, words, catch_exceptions=False)
    assert "done:" not in trained.stderr
    parsed: dict[str, dict[str, dict[str, dict[str, float]]]]
    parsed = json.loads(trained.stdout)
    return parsed


def test_figures_are_those_of_the_weighted_population(
    document: dict[str, dict[str, dict[str, dict[str, float]]]],
) -> None:
    frame = make_frame()
    rate = np.average(frame["bad"], weights=frame["w"])
    in_population = np.where(
        frame["bad"] == 1, BAD_RATE / rate, (1 - BAD_RATE) / (1 - rate)
    )
    weight = frame["w"] * in_population
    is_test = frame["part"] == "test"
    by_hand = np.average(frame["bad"][is_test], weights=weight[is_test])
    chosen = document["figures"][str(document["chosen"])]
    assert chosen["default_rate"]["value"] == pytest.approx(by_hand)
    assert chosen["mean_pd"]["value"] == pytest.approx(by_hand, rel=0.4)


def test_the_bundle_and_the_stored_rows_keep_the_population(
    folder: Path, document: dict[str, dict[str, dict[str, dict[str, float]]]]
) -> None:
    registry = Registry(folder / "store")
    model = registry.model("1")
    assert model.about["population"]["bad_rate"] == BAD_RATE
    assert model.about["spec"]["table"]["weight"] == "w"
    assert not {"w", "part"} & set(model.features)
    assert not any("Brier" in reason for reason in registry.objections("1"))
    assert document


def test_the_report_has_what_the_spec_asks_for(
    folder: Path, document: dict[str, dict[str, dict[str, dict[str, float]]]]
) -> None:
    assert {"costs", "validation_rows"} <= set(document["sections"])
    page = (folder / "report" / "model_report.html").read_text()
    assert "Rows are weighted" in page
    assert "0.5 of loan" in page
    assert "PDs are moved to a population" in page
    assert (folder / "report" / "expected_cost.png").exists()


def test_a_spec_is_inferred_as_json(folder: Path) -> None:
    words = ["spec", "infer", str(folder / "table.csv"), "--target", "bad", "--json"]
    inferred = CliRunner().invoke(app, words, catch_exceptions=False)
    assert json.loads(inferred.stdout)["spec"]["target"]["column"] == "bad"


# --- Costs by hand


def test_costs_by_hand() -> None:
    label = np.array([0, 0, 1, 1])
    amount: Floats = np.array([100.0, 200.0, 100.0, 400.0])
    pd_ = np.array([0.1, 0.3, 0.2, 0.9])
    costs = row_costs(label, Costs(bad_loss=0.5, good_profit=0.1), amount)
    cut_offs = np.array([0.0, 0.1, 0.2, 0.3, 0.9])
    weight = np.array([1.0, 1.0, 1.0, 2.0])
    curve = cost_curve(
        pd_,
        costs,
        weight,
        cut_offs,
    )
    # Refuse all: 10 + 20. Then 10 less, 50 more, 20 less, twice 200 more; over 5 rows.
    by_hand = [30, 20, 70, 50, 450]
    assert curve.costs == pytest.approx(np.array(by_hand) / 5)
    assert curve.best == 1
    assert auc(pd_, label, weight) > 0.5
