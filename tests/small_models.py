"""Models of small tables that take milliseconds to fit, and versions of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pandas as pd

from obligor.features.applications import Applications, applications
from obligor.features.encoding import Pair, fit_encoding
from obligor.features.table_spec import Spec
from obligor.model.calibration import Calibration
from obligor.model.pd_model import PdModel
from obligor.training.lifecycle.registry import Approval, Registry, TrainingRun
from obligor.training.lifecycle.table_rows import (
    digests_of,
    months_of,
    raw_rows_of,
)
from obligor.training.validation.subject import LabelledRows, stored_rows
from tests.conftest import NOW, SIGNER

SPEC = Spec.model_validate(
    {
        "name": "loans",
        "target": {"column": "bad"},
        "table": {"id": ["loan_no"], "date": "applied_on"},
    }
)
PARAMETERS = {
    "objective": "binary",
    "num_leaves": 6,
    "min_data_in_leaf": 20,
    "verbose": -1,
    "num_threads": 1,
    "deterministic": True,
}


def loans(n: int = 600, seed: int = 0) -> pd.DataFrame:
    """Risk falls with income and differs by town; one loan a day."""
    rng = np.random.default_rng(seed)
    income = rng.lognormal(8, 0.5, n).round(2)
    debt = rng.lognormal(7, 0.8, n).round(2)
    town = rng.choice(["north", "south", "west"], n)
    margin = -1.0 - 1.5 * (np.log(income) - 8) + 0.8 * (np.log(debt) - 7)
    margin = margin + 1.0 * (town == "south")
    bad = rng.random(n) < 1 / (1 + np.exp(-margin))
    first_day = np.datetime64("2024-01-01") + seed * 1000
    return pd.DataFrame(
        {
            "loan_no": [f"L{seed}-{number}" for number in range(n)],
            "applied_on": (first_day + np.arange(n)).astype(str),
            "income": income,
            "debt": debt,
            "town": town,
            "bad": bad.astype(int),
        }
    )


def model_on(
    data: Applications,
    columns: Sequence[str] = ("income", "debt", "town"),
    pairs: tuple[Pair, ...] = (),
    rounds: int = 30,
) -> PdModel:
    """Return a model of some columns of a table, fitted on all of its rows."""
    encoding, _ = fit_encoding(data.frame[list(columns)], data.spec)
    encoding = replace(encoding, pairs=pairs)
    learned = lgb.Dataset(encoding.rows(data.frame), data.label)
    booster = lgb.train(PARAMETERS, learned, rounds)
    return PdModel(
        text=booster.model_to_string(),
        calibration=Calibration("platt", (1.0, 0.0)),
        features=encoding.names,
        horizon_days=365,
        about={"spec": data.spec.model_dump(mode="json")},
        encoding=encoding,
    )


def register(
    registry: Registry,
    model: PdModel,
    fit: Applications,
    test: Applications,
) -> str:
    """Register a model with its test rows and the digests of the others."""
    assert model.encoding is not None
    raw = raw_rows_of(test)
    tested = LabelledRows(
        model.encoding.rows(test.frame),
        test.label,
        raw.groups,
        months_of(test),
    )
    run = TrainingRun(
        model=model,
        test_rows=stored_rows(model, tested),
        raw_rows=raw.frame,
        identity=raw.identity,
        learnt_rows=digests_of(fit, model.encoding),
    )
    return registry.log_run(run, NOW)


def force(registry: Registry, version: str) -> None:
    """Make a version the champion although it has no report."""
    registry.promote(
        version,
        Approval("one", "a test", NOW),
        SIGNER,
        force=True,
        second="two",
    )


def table_of(frame: pd.DataFrame, spec: Spec = SPEC) -> Applications:
    """Return a table as the spec describes it."""
    return applications(frame, spec)
