"""Features of one's own: gated, checked for leaks, kept as data."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from obligor.data.synthetic import Simulation, simulate_ledger
from obligor.decisions.champion import Champion, ChampionLoader
from obligor.errors import ModelError, SchemaError
from obligor.features.catalogue import NAMES
from obligor.features.own import OwnFeatures, read_own_features
from obligor.model.bundle import load_bundle, save_bundle
from obligor.training.candidates.fit import Fit, fit_model
from obligor.training.samples.config import TrainingConfig, read_config
from obligor.training.samples.own_columns import (
    accounts_by_customer,
    own_columns,
    require_no_leaks,
)
from obligor.training.samples.sample import Split, build_sample

HEAD = """
from datetime import date

import numpy as np

from obligor.data.days import day_number
from obligor.features.own import OwnFeature


def entry(compute, name="largest_item", high=1e9, **changes):
    fields = {
        "name": name,
        "definition": "The largest item known",
        "unit": "money",
        "low": 0,
        "high": high,
        "direction": 1,
        "family": "concentration",
        "reason_en": "The largest item is {value}",
        "reason_zh": "最大一张为 {value}",
        "compute": compute,
        **changes,
    }
    return OwnFeature(**fields)


def largest(known):
    amounts = known.account.items.amount
    return amounts.max() / 100 if len(amounts) else None

"""
LARGEST = HEAD + "FEATURES = [entry(largest)]\n"


def own_of(folder: Path, content: str) -> OwnFeatures:
    path = folder / "own.py"
    path.write_text(content, encoding="utf-8")
    return read_own_features(path)


def columns_on(own: OwnFeatures, simulation: Simulation, as_of: date) -> pd.DataFrame:
    accounts = accounts_by_customer(simulation.ledger)
    return own_columns(own, accounts, pd.Index(sorted(accounts)[:40]), as_of)


@pytest.fixture(scope="module")
def small() -> Simulation:
    return simulate_ledger(150, 24, seed=4)


def test_a_function_gets_what_was_known_on_the_day(
    small: Simulation, tmp_path: Path
) -> None:
    own = own_of(tmp_path, LARGEST)
    as_of = date(2023, 6, 30)
    customer_ids = [
        name
        for name, first in small.ledger["invoices"]
        .groupby("customer_id")["known_on"]
        .min()
        .items()
        if first <= pd.Timestamp(as_of)
    ]
    accounts = accounts_by_customer(small.ledger)
    columns = own_columns(own, accounts, pd.Index(customer_ids), as_of)
    invoices = small.ledger["invoices"]
    known = invoices[invoices["known_on"] <= pd.Timestamp(as_of)]
    expected = known.groupby("customer_id")["amount"].max()
    expected = expected.reindex(columns.index)
    np.testing.assert_allclose(columns["largest_item"], expected)
    later = own_columns(own, accounts, columns.index, date(2024, 12, 31))
    assert (later["largest_item"] > columns["largest_item"]).any()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        # It counts how often it was called: another state than the account.
        (
            "calls = []\ndef f(known):\n    calls.append(1)\n    return len(calls)\n"
            "FEATURES = [entry(f)]\n",
            "its value differs",
        ),
        # It reads what the gate has removed, from where a leak would come.
        (
            "def f(known):\n    day = known.account.observed_until\n"
            "    return float(day.toordinal())\n"
            "FEATURES = [entry(f)]\n",
            "its value differs",
        ),
    ],
)
def test_what_looks_past_the_day_is_refused(
    code: str, message: str, small: Simulation, tmp_path: Path
) -> None:
    own = own_of(tmp_path, HEAD + code)
    as_of = date(2023, 12, 31)
    customers = accounts_by_customer(small.ledger)
    first = small.ledger["invoices"].groupby("customer_id")["known_on"].min()
    index = pd.Index([name for name in first.index if first[name].date() <= as_of])
    columns = own_columns(own, customers, index, as_of)
    with pytest.raises(SchemaError, match=message):
        require_no_leaks(own, small.ledger, columns, as_of)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("FEATURES = []\n", "defines no features"),
        ("FEATURES = [1]\n", "is a int"),
        ("FEATURES = [entry(largest, name='dpd_days')]\n", "the name is taken"),
        ("FEATURES = [entry(largest, name='Two words')]\n", "snake case"),
        ("FEATURES = [entry(largest), entry(largest)]\n", "the name is taken"),
        ("FEATURES = [entry(largest, unit='metres')]\n", "the unit is none of"),
        ("FEATURES = [entry(largest, high=-1)]\n", "the range is empty"),
        ("FEATURES = [entry(largest, direction=2)]\n", "direction"),
        ("FEATURES = [entry(largest, reason_zh=' ')]\n", "a text is empty"),
        ("raise RuntimeError('no')\n", "cannot be run: RuntimeError: no"),
    ],
)
def test_a_file_that_is_not_complete_is_refused(
    code: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SchemaError, match=message):
        own_of(tmp_path, HEAD + code)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("FEATURES = [entry(largest, high=1)]\n", "outside the stated range"),
        (
            "FEATURES = [entry(lambda known: float('inf'))]\n",
            "outside the stated range",
        ),
        ("FEATURES = [entry(lambda known: 1 / 0)]\n", "ZeroDivisionError"),
        ("FEATURES = [entry(lambda known: 'many')]\n", "ValueError"),
    ],
)
def test_values_that_are_not_right_are_refused(
    code: str, message: str, small: Simulation, tmp_path: Path
) -> None:
    own = own_of(tmp_path, HEAD + code)
    with pytest.raises(SchemaError, match=message):
        columns_on(own, small, date(2024, 12, 31))


# --- From the configuration to the bundle


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainingConfig:
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(LARGEST, encoding="utf-8")
    text = """
    [features]
    file = "own.py"
    [model]
    max_trees = 5
    folds = 2
    [default]
    horizon_days = 90
    dpd_days = 30
    [sample]
    min_history_days = 200
    gap_days = 90
    """
    (folder / "config.toml").write_text(text, encoding="utf-8")
    return read_config(folder / "config.toml")


@pytest.fixture(scope="module")
def split(small: Simulation, config: TrainingConfig) -> Split:
    return build_sample(small.ledger, config)


@pytest.fixture(scope="module")
def fit(split: Split, config: TrainingConfig) -> Fit:
    return fit_model(split.train, config)


def test_a_sample_has_the_columns_behind_the_catalogue(split: Split) -> None:
    assert tuple(split.test.features) == (*NAMES, "largest_item")
    assert split.test.features["largest_item"].notna().any()


def test_the_bundle_holds_them_as_data(fit: Fit, split: Split, tmp_path: Path) -> None:
    model = fit.model
    loaded = load_bundle(tmp_path, save_bundle(model, tmp_path))
    assert loaded.features == (*NAMES, "largest_item")
    rows = split.test.features.to_numpy()
    assert np.array_equal(loaded.predict_pd(rows), model.predict_pd(rows))
    values = split.test.features.iloc[0].to_dict()
    row = loaded.encoding.row(
        {name: None if np.isnan(value) else value for name, value in values.items()}
    )
    assert loaded.predict_pd(row)[0] == model.predict_pd(rows[:1])[0]
    assert loaded.encoding.directions[-1] == 1
    files = [path.suffix for path in tmp_path.iterdir()]
    assert ".py" not in files


def test_the_service_runs_no_code_from_outside(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = {"own_features": {"sha256": "ab" * 32, "entries": []}}
    champion = Champion(replace(fit.model, about=about), "1", "0" * 64)
    loader = ChampionLoader(tmp_path)
    monkeypatch.setattr(loader, "_champion", champion)
    with pytest.raises(ModelError, match="is code and is not run here"):
        loader.for_customers()
