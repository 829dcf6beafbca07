"""Versions of a table's models: compared on raw rows, recalibrated on new ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from obligor.errors import ModelError, SchemaError
from obligor.features.catalogue import EDITIONS, NAMES
from obligor.features.encoding import Pair
from obligor.features.table_spec import Spec
from obligor.model.calibration import Calibration
from obligor.model.pd_model import PdModel
from obligor.training.lifecycle.backtest import back_test
from obligor.training.lifecycle.compare import ComparedRows, compare
from obligor.training.lifecycle.learnt_rows import RowDigests, learnt
from obligor.training.lifecycle.monitor import Monitoring
from obligor.training.lifecycle.raw_rows import (
    OLDEST_DPD_DAYS,
    KnownModel,
    decoded_rows,
    has_learnt,
    load_raw_rows,
    missing_columns,
    model_matrix,
    save_raw_rows,
)
from obligor.training.lifecycle.recalibrate import recalibrate, rows_of_table
from obligor.training.lifecycle.registry import Approval, Registry, names_in
from obligor.training.lifecycle.run_settings import RunSettings
from obligor.training.lifecycle.table_monitor import monitor_table
from obligor.training.lifecycle.table_rows import (
    digests_of,
    raw_rows_of,
    read_again,
)
from tests.conftest import NOW, SIGNER
from tests.small_models import (
    SPEC,
    force,
    loans,
    model_on,
    register,
    table_of,
)
from tests.unit.test_cli import run

TRAINING = loans(600, seed=0)
LATER = loans(400, seed=1)
APPROVAL = Approval("one", "a test", NOW)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all: a model of another name is another model."""
    return tmp_path_factory.mktemp("lifecycle")


@pytest.fixture(scope="module")
def registry(store: Path) -> Registry:
    """Version 1 reads three columns; version 2 two of them, and their ratio."""
    made = Registry(store)
    data = table_of(TRAINING)
    fit = data.take(np.arange(450))
    test = data.take(np.arange(450, 600))
    register(made, model_on(fit), fit, test)
    ratio = (Pair("/", 1, 0),)
    register(made, model_on(fit, ("income", "debt"), ratio), fit, test)
    (made.store / "keys").mkdir()
    (made.store / "keys" / "release.pem").write_bytes(SIGNER.public)
    return made


def later_file(folder: Path, frame: pd.DataFrame = LATER) -> Path:
    path = folder / "later.csv"
    frame.to_csv(path, index=False)
    return path


# --- Champion and challenger


def test_models_of_other_columns_are_compared_on_the_same_rows(
    registry: Registry,
) -> None:
    comparison = compare(
        registry.known_model("2"),
        registry.known_model("1"),
        ComparedRows(registry.raw_rows("2")),
    )
    assert comparison.result is not None
    assert comparison.result.rows == 150
    data = table_of(TRAINING).take(np.arange(450, 600))
    model = registry.model("1")
    assert model.encoding is not None
    mean_pd = model.predict_pd(model.encoding.rows(data.frame)).mean()
    assert comparison.result.second["mean_pd"].value == pytest.approx(mean_pd)


def test_the_gate_compares_models_of_other_columns(
    store: Path,
) -> None:
    loan_models = Registry(store, "worse")
    data = table_of(loans(1200, seed=2))
    fit = data.take(np.arange(700))
    test = data.take(np.arange(700, 1200))
    force(loan_models, register(loan_models, model_on(fit), fit, test))
    worse = register(loan_models, model_on(fit, ("town",)), fit, test)
    objections = " ".join(loan_models.objections(worse))
    assert "Gini is below the champion's (version 1)" in objections
    assert "other columns" not in objections


def test_a_column_that_one_version_reads_and_the_rows_lack_is_named(
    registry: Registry,
) -> None:
    raw = registry.raw_rows("2")
    without_town = replace(raw, frame=raw.frame.drop(columns="town"))
    comparison = compare(
        registry.known_model("2"),
        registry.known_model("1"),
        ComparedRows(without_town),
    )
    notes = " ".join(comparison.notes)
    assert "reads 1 columns that these rows do not have (town)" in notes


def test_rows_that_the_other_has_learnt_from_are_left_out(registry: Registry) -> None:
    """Version 3 is tested on rows of which version 1 knows all but 30."""
    data = table_of(TRAINING)
    fit = data.take(np.arange(420))
    test = data.take(np.arange(420, 600))
    other = KnownModel("3", "another", model_on(fit), digests_of(fit, encoding_of(fit)))
    comparison = compare(
        registry.known_model("1"), other, ComparedRows(raw_rows_of(test))
    )
    assert comparison.result is not None
    assert comparison.result.rows == 150
    assert "30 of 180 rows are left out" in " ".join(comparison.notes)


def encoding_of(data: object) -> object:
    model = model_on(data)  # type: ignore[arg-type]
    return model.encoding


def test_a_model_of_another_population_is_not_compared(
    store: Path,
) -> None:
    one = Registry(store, "populations")
    data = table_of(TRAINING)
    force(one, register(one, model_on(data), data, data))
    cars = TRAINING.rename(columns={"income": "power", "debt": "age", "town": "make"})
    other = table_of(cars)
    version = register(one, model_on(other, ("power", "age")), other, other)
    objections = " ".join(one.objections(version))
    assert "the champion (version 1) has other columns" in objections
    assert "--name" in objections


def test_rows_of_an_earlier_version_stand_for_what_was_read(store: Path) -> None:
    """A version without raw rows: levels and special codes come back as they were."""
    special = SPEC.model_copy(
        update={"table": SPEC.table.model_copy(update={"special": (-9.0,)})}
    )
    frame = TRAINING.copy()
    frame.loc[::4, "debt"] = -9
    data = table_of(frame, special)
    model = model_on(data)
    assert model.encoding is not None
    unseen = frame.assign(town=np.where(frame.index % 5 == 0, "moon", frame["town"]))
    rows = model.encoding.rows(unseen)
    again = model.encoding.rows(decoded_rows(model, rows))
    np.testing.assert_array_equal(again, rows)


# --- Names and aliases


def test_each_name_has_its_own_champion(store: Path) -> None:
    data = table_of(TRAINING)
    cars = Registry(store, "cars")
    cards = Registry(store, "cards")
    for models in (cars, cards):
        force(models, register(models, model_on(data), data, data))
    register(cards, model_on(data), data, data)
    assert {"cards", "cars"} <= set(names_in(store))
    assert (cars.champion(), cards.champion()) == ("1", "1")
    assert (cars.challenger(), cards.challenger()) == (None, "2")
    pointer = json.loads((store / "named" / "cards" / "champion.json").read_text())
    assert pointer["version"] == "1"
    assert not (store / "champion.json").exists()


def test_aliases_move_and_never_meet_on_one_version(store: Path) -> None:
    moved = Registry(store, "moved")
    data = table_of(TRAINING)
    model = model_on(data)
    versions = [register(moved, model, data, data) for _ in range(3)]
    force(moved, versions[0])
    force(moved, versions[2])
    moved.shadow(versions[1], APPROVAL, SIGNER)
    aliases = {row["version"]: row["aliases"] for row in moved.versions()}
    assert aliases == {"1": "", "2": "challenger", "3": "champion"}


def test_the_champion_does_not_score_in_its_own_shadow(store: Path) -> None:
    own = Registry(store, "own-shadow")
    data = table_of(TRAINING)
    version = register(own, model_on(data), data, data)
    own.shadow(version, APPROVAL, SIGNER)
    assert (own.folder / "challenger.json").exists()
    force(own, version)
    assert not (own.folder / "challenger.json").exists()
    with pytest.raises(ModelError, match="version 1 is the champion"):
        own.shadow(version, APPROVAL, SIGNER)


@pytest.mark.parametrize("name", ["../up", "", "Cards", "a/b", "-"])
def test_a_name_that_is_not_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="cannot be the name of a model"):
        Registry(tmp_path, name)


# --- Rows that a model has learnt from


def shuffled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sample(frac=1, random_state=3)


def with_other_columns(frame: pd.DataFrame) -> pd.DataFrame:
    columns = [*reversed(list(frame)), "remark"]
    return frame.assign(remark="none")[columns]


def as_texts(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype(str)


def without_identifiers(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="loan_no")


def renumbered(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(loan_no=range(len(frame)))


@pytest.mark.parametrize(
    "change", [shuffled, with_other_columns, as_texts, without_identifiers, renumbered]
)
def test_a_learnt_row_is_recognized_however_it_comes_again(
    registry: Registry, change: object
) -> None:
    again = pd.concat([TRAINING, LATER], ignore_index=True)
    data = read_again(change(again), SPEC)  # type: ignore[operator]
    is_learnt, note = has_learnt(registry.known_model("1"), raw_rows_of(data))
    assert note == ""
    assert int(is_learnt.sum()) == 450


def test_equal_values_of_another_applicant_are_not_learnt_from() -> None:
    """Two columns of a few levels: nearly every row is like one of the learnt rows."""
    past = RowDigests(np.zeros(100, dtype=np.uint64), np.arange(100, dtype=np.uint64))
    new = RowDigests(np.zeros(2, dtype=np.uint64), np.array([5, 500], np.uint64))
    assert learnt(past, new).tolist() == [True, False]


def test_numbers_that_start_again_are_another_applicants() -> None:
    """A file numbers its rows from 0, as the learnt one did; values differ by row."""
    values = np.arange(100, dtype=np.uint64) % 7
    numbers = np.arange(100, dtype=np.uint64)
    past = RowDigests(values, numbers)
    new = RowDigests((values + np.uint64(1)) % np.uint64(7), numbers)
    assert not learnt(past, new).any()
    assert learnt(past, past).all()


def test_recalibration_on_the_learnt_table_is_refused(registry: Registry) -> None:
    data = table_of(TRAINING).take(np.arange(450))
    with pytest.raises(SchemaError, match="has learnt from all 450 rows"):
        rows_of_table(data, registry.known_model("1"))


def test_recalibration_leaves_learnt_rows_out_and_counts_them(
    registry: Registry, tmp_path: Path
) -> None:
    both = read_again(pd.concat([TRAINING, LATER], ignore_index=True), SPEC)
    rows = rows_of_table(both, registry.known_model("1"))
    assert len(rows.label) == 550
    assert "450 of 1,000 rows are left out" in " ".join(rows.notes)


def test_a_recalibrated_version_has_learnt_from_its_calibration_too(
    registry: Registry, tmp_path: Path
) -> None:
    rows = rows_of_table(table_of(LATER), registry.known_model("1"))
    settings = RunSettings(registry.store, tmp_path / "report", NOW)
    version = recalibrate("1", rows, settings, name="again").version
    after = rows_of_table(table_of(LATER), registry.known_model(version))
    # The first two thirds of the days were calibrated on.
    assert (len(rows.label), len(after.label)) == (400, 134)
    vintages = json.loads((tmp_path / "report" / "validation.json").read_text())
    assert "5 months" in vintages["vintages"]["summary"]


def test_a_version_without_digests_says_so(registry: Registry) -> None:
    known = replace(registry.known_model("1"), learnt_rows=None)
    rows = rows_of_table(table_of(TRAINING), known)
    assert len(rows.label) == 600
    assert "keeps no digests" in " ".join(rows.notes)


# --- A version on a new table


def test_a_back_test_scores_the_version_and_trains_nothing(registry: Registry) -> None:
    known = registry.known_model("1")
    result = back_test(known, table_of(LATER))
    model = known.model
    assert model.encoding is not None
    pd_ = model.predict_pd(model.encoding.rows(LATER))
    assert result.rows == 400
    assert result.figures["mean_pd"].value == pytest.approx(pd_.mean())
    assert int(result.months["defaults"].sum()) == LATER["bad"].sum()


def test_a_back_test_on_the_command_line(registry: Registry, tmp_path: Path) -> None:
    table = later_file(tmp_path)
    words = ("--version", "1", "--store", registry.store, "--json")
    answer = json.loads(run("evaluate", "--table", table, *words).stdout)
    assert (answer["version"], answer["rows"]) == ("1", 400)
    assert answer["learnt_rows_left_out"] == 0


def test_compare_on_the_command_line(registry: Registry, tmp_path: Path) -> None:
    table = later_file(tmp_path)
    words = ["compare", "2", "--with", "1", "--table", table, "--amount", "debt"]
    words += ["--cut-off", "0.2", "--store", registry.store, "--json"]
    answer = json.loads(run(*words).stdout)
    assert answer["rows"] == 400
    same_cut_off = answer["swap_sets"][1]
    assert "PD of at most 0.2000" in same_cut_off["rule"]
    total = sum(group["amount"] for group in same_cut_off["groups"])
    assert total == pytest.approx(LATER["debt"].sum())


def test_promote_shows_the_version_beside_the_champion(store: Path) -> None:
    """Promoted on the command line, with another cut-off than the default."""
    shown = Registry(store, "shown")
    data = table_of(loans(600, seed=7))
    fit = data.take(np.arange(300))
    test = data.take(np.arange(300, 600))
    force(shown, register(shown, model_on(fit, ("income",)), fit, test))
    register(shown, model_on(fit), fit, test)
    words = ["promote", "latest", "--name", "shown", "--by", "one", "--because", "x"]
    words += ["--force", "--second", "two", "--cut-off", "0.25", "--json"]
    answer = json.loads(run(*words, "--store", store).stdout)
    assert (answer["name"], answer["version"]) == ("shown", "2")
    beside = answer["beside_champion"]
    assert (beside["version"], beside["other"], beside["rows"]) == ("2", "1", 300)
    assert "PD of at most 0.2500" in beside["swap_sets"][1]["rule"]


def test_models_are_listed_on_the_command_line(registry: Registry) -> None:
    answer = json.loads(run("models", "--store", registry.store, "--json").stdout)
    assert {"1", "2"} <= {row["version"] for row in answer["obligor-pd"]}


# --- Monitoring a table


def watched(registry: Registry, frame: pd.DataFrame) -> Monitoring:
    return monitor_table(registry.known_model("1"), registry.test_rows("1"), frame)


@pytest.fixture(scope="module")
def big(store: Path) -> Registry:
    """A version with enough test rows for a PSI."""
    models = Registry(store, "big")
    data = table_of(loans(1200, seed=2))
    fit = data.take(np.arange(700))
    register(models, model_on(fit), fit, data.take(np.arange(700, 1200)))
    return models


def test_a_table_of_the_same_population_raises_no_alert(big: Registry) -> None:
    monitoring = watched(big, loans(500, seed=3))
    assert monitoring.alerts == ()
    assert monitoring.backtest["defaults"].sum() == loans(500, seed=3)["bad"].sum()
    assert "auc" in monitoring.figures


def test_a_table_that_has_moved_raises_an_alert(big: Registry) -> None:
    """All from the south: the level of the town moves, and the PD with it."""
    frame = loans(500, seed=3).assign(town="south").drop(columns="bad")
    monitoring = watched(big, frame)
    names = [alert.figure for alert in monitoring.alerts]
    assert "drift of town" in names
    assert monitoring.drift.loc["town", "csi"] > 0.1
    assert "There are no outcomes" in " ".join(monitoring.notes)


def test_more_defaults_than_expected_raise_an_alert(big: Registry) -> None:
    frame = loans(500, seed=3)
    frame.loc[::2, "bad"] = 1
    names = [alert.figure for alert in watched(big, frame).alerts]
    assert "defaults over expected" in names
    assert "fall of the AUC since the test" in names


def test_monitor_a_table_on_the_command_line(
    registry: Registry, tmp_path: Path
) -> None:
    table = later_file(tmp_path)
    page = tmp_path / "monitor.html"
    words = ["--version", "1", "--store", registry.store, "--out", page, "--json"]
    answer = json.loads(run("monitor", "--table", table, *words).stdout)
    assert (answer["unit"], answer["count"]) == ("rows", 400)
    assert "csi" in page.read_text()


# --- Raw rows are kept as they were read


def test_raw_rows_come_back_as_they_were_read(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "whole": [1, 2, 3],
            "gaps": [0.1, np.nan, 1e300],
            "mixed": pd.Series([1, "1", None], dtype=object),
            "flag": [True, False, True],
            "text": ["a", "", "ü"],
        }
    )
    save_raw_rows(frame, np.array([1, 2, 2**64 - 1], np.uint64), tmp_path / "rows")
    back, identity = load_raw_rows(tmp_path / "rows")
    assert identity is not None
    assert identity.tolist() == [1, 2, 2**64 - 1]
    expected = frame.astype(object).where(frame.notna(), None)
    assert back.astype(object).where(back.notna(), None).equals(expected)


def test_a_feature_may_have_the_name_of_a_stored_column(store: Path) -> None:
    """A table with features named `pd` and `label` is stored and scored alike."""
    frame = TRAINING.rename(columns={"income": "pd", "debt": "label"})
    spec = Spec.model_validate({**SPEC.model_dump(exclude={"table"})})
    data = table_of(frame, spec)
    model = model_on(data, ("pd", "label"))
    named = Registry(store, "collisions")
    version = register(named, model, data, data)
    objections = " ".join(named.objections(version))
    assert "cannot be reproduced" not in objections


def test_a_model_of_the_first_edition_reads_the_age_of_the_oldest_item() -> None:
    """Rows of the second edition have another ``dpd_days``; it is not taken for it."""
    first = EDITIONS[1].names
    model = PdModel(
        text="",
        calibration=Calibration("identity"),
        features=first,
        horizon_days=365,
        about={},
    )
    frame = pd.DataFrame({name: [1.0] for name in NAMES})
    assert missing_columns(model, frame) == ["dpd_days"]
    assert np.isnan(model_matrix(model, frame)[0, first.index("dpd_days")])
    with_ages = frame.assign(**{OLDEST_DPD_DAYS: [200.0]})
    assert missing_columns(model, with_ages) == []
    row = model_matrix(model, with_ages)[0]
    assert row[first.index("dpd_days")] == 200.0
    assert set(np.delete(row, first.index("dpd_days"))) == {1.0}
    second = replace(model, features=NAMES)
    assert model_matrix(second, with_ages)[0, NAMES.index("dpd_days")] == 1.0
