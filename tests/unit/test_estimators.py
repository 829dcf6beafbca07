"""`PdClassifier` and `Scorecard` in the hands of scikit-learn."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

import obligor
from obligor.estimators.binning_table import COLUMNS, TOTALS
from obligor.model.bundle import load_bundle, save_bundle
from obligor.sklearn import EXPECTED_FAILED_CHECKS, PdClassifier, Scorecard

QUICK = {"candidate": "lightgbm", "max_trees": 4, "n_folds": 2}


def applicants(n_rows: int = 300) -> tuple[pd.DataFrame, pd.Series]:
    """Raw columns of five kinds, with values missing, and who was bad."""
    rng = np.random.default_rng(5)
    income = rng.lognormal(8, 0.5, n_rows)
    town = rng.choice(["north", "south"], n_rows)
    margin = -2 * (np.log(income) - 8) + 1.2 * (town == "south") - 0.8
    is_bad = rng.random(n_rows) < 1 / (1 + np.exp(-margin))
    frame = pd.DataFrame(
        {
            "income": np.where(rng.random(n_rows) < 0.1, np.nan, income),
            "town": pd.Categorical(town),
            "owner": rng.random(n_rows) < 0.5,
            "score": np.where(rng.random(n_rows) < 0.2, -9, rng.integers(1, 99)),
            "purpose": rng.choice(np.array(["car", "home", None]), n_rows),
        }
    )
    return frame, pd.Series(np.where(is_bad, "Charged Off", "Fully Paid"))


@pytest.fixture(scope="module")
def table() -> tuple[pd.DataFrame, pd.Series]:
    return applicants()


@pytest.fixture(scope="module")
def model(table: tuple[pd.DataFrame, pd.Series]) -> PdClassifier:
    return PdClassifier(**QUICK).fit(*table)


@pytest.fixture(scope="module")
def card(table: tuple[pd.DataFrame, pd.Series]) -> Scorecard:
    return Scorecard(columns={"score": {"special": [-9]}}).fit(*table)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("estimator", "exceptions"),
    [(PdClassifier(**QUICK), EXPECTED_FAILED_CHECKS), (Scorecard(), {})],
    ids=["PdClassifier", "Scorecard"],
)
def test_scikit_learn_finds_only_the_stated_exceptions(
    estimator: BaseEstimator, exceptions: dict[str, str]
) -> None:
    results = check_estimator(
        estimator, expected_failed_checks=exceptions, on_skip=None
    )
    failed = {row["check_name"] for row in results if row["status"] == "xfail"}
    # An exception that is no longer one must not stay in the list.
    assert failed == set(exceptions)


def test_a_word_for_a_default_is_the_default(
    model: PdClassifier, table: tuple[pd.DataFrame, pd.Series]
) -> None:
    frame, outcome = table
    assert model.default_class_ == "Charged Off"
    assert model.classes_.tolist() == ["Charged Off", "Fully Paid"]
    is_bad = (outcome == "Charged Off").to_numpy()
    assert roc_auc_score(is_bad, model.predict_proba(frame)[:, 0]) > 0.7
    assert np.array_equal(model.predict_proba(frame)[:, 0], model.predict_pd(frame))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1, 2), 2),
        ((0, 1), 1),
        ((False, True), True),
        (("good", "bad"), "bad"),
        (("no", "yes"), "yes"),
        (("Default", "Good"), "Default"),
    ],
)
def test_which_value_is_a_default(
    values: tuple[object, object], expected: object
) -> None:
    outcome = np.tile(np.array(values), 50)
    fitted = Scorecard().fit(np.arange(100.0)[:, None], outcome)
    assert fitted.default_class_ == expected


def test_it_works_in_pipelines_and_searches(
    table: tuple[pd.DataFrame, pd.Series],
) -> None:
    frame, outcome = table
    groups = np.arange(len(frame)) // 2
    pipeline = make_pipeline(FunctionTransformer(), PdClassifier(**QUICK))
    pipeline.fit(frame, outcome, pdclassifier__groups=groups)
    assert pipeline.predict_proba(frame).shape == (300, 2)
    scores = cross_val_score(
        Scorecard(),
        frame,
        outcome,
        groups=groups,
        cv=GroupKFold(3),
        scoring="roc_auc",
    )
    assert scores.mean() > 0.65
    search = GridSearchCV(Scorecard(), {"max_bins": [2, 5]}, cv=2, scoring="roc_auc")
    best = search.fit(frame, outcome).best_estimator_
    assert clone(best).get_params() == best.get_params()


def test_contributions_add_up_to_the_pd(
    model: PdClassifier, table: tuple[pd.DataFrame, pd.Series]
) -> None:
    frame, _ = table
    explanation = model.explain(frame)
    assert explanation.feature_names == list(frame)
    margin = explanation.base_values + explanation.values.sum(axis=1)
    pd_ = model.calibration_(margin)
    np.testing.assert_allclose(pd_, model.predict_pd(frame), rtol=1e-12)
    assert explanation.display_data[0, 1] == frame["town"].iloc[0]


def test_frames_of_other_kinds_give_the_same_pd(
    model: PdClassifier, table: tuple[pd.DataFrame, pd.Series]
) -> None:
    frame, _ = table
    expected = model.predict_pd(frame)
    as_text = frame.astype({"town": "str"})
    assert np.array_equal(model.predict_pd(as_text), expected)
    in_polars = pl.from_pandas(as_text)
    assert np.array_equal(model.predict_pd(in_polars), expected)
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict_pd(frame), expected)


def test_the_model_of_an_estimator_is_a_bundle(
    model: PdClassifier, table: tuple[pd.DataFrame, pd.Series], tmp_path
) -> None:
    frame, _ = table
    loaded = load_bundle(tmp_path, save_bundle(model.model_, tmp_path))
    rows = loaded.encoding.rows(frame)
    assert np.array_equal(loaded.predict_pd(rows), model.predict_pd(frame))


def test_binning_table(card: Scorecard, table: tuple[pd.DataFrame, pd.Series]) -> None:
    frame, outcome = table
    bins = card.binning_table_
    assert tuple(bins) == COLUMNS
    by_town = bins[bins["feature"] == "town"].set_index("bin")
    is_bad = outcome == "Charged Off"
    for town in ("north", "south"):
        is_here = frame["town"] == town
        assert by_town.loc[town, "count"] == is_here.sum()
        assert by_town.loc[town, "event"] == (is_here & is_bad).sum()
        good_share = (is_here & ~is_bad).sum() / (~is_bad).sum()
        bad_share = (is_here & is_bad).sum() / is_bad.sum()
        woe = np.log(good_share / bad_share)
        assert by_town.loc[town, "woe"] == pytest.approx(woe)
        part = (good_share - bad_share) * woe
        assert by_town.loc[town, "iv"] == pytest.approx(part)
    iv = by_town["iv"]
    assert iv[TOTALS] == pytest.approx(iv.drop(TOTALS).sum())
    # A special code has bins of its own.
    assert "-9" in bins.loc[bins["feature"] == "score=special", "bin"].tolist()


def test_points_follow_the_log_odds(
    card: Scorecard, table: tuple[pd.DataFrame, pd.Series]
) -> None:
    frame, _ = table
    pd_ = card.predict_pd(frame)
    exact = 600 + 20 / np.log(2) * (np.log((1 - pd_) / pd_) - np.log(50))
    assert np.abs(card.points(frame) - exact).max() < len(frame.columns)


def test_pictures_name_their_axes(card: Scorecard) -> None:
    for figure in (card.plot("town"), card.plot_points("town")):
        for axes in figure.axes:
            assert axes.get_ylabel()
        assert figure.axes[0].get_xlabel() == "bin of town"
        # Jupyter shows it, also before pyplot has drawn anything.
        assert figure._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="has no bins"):
        card.plot("shoe size")


def test_weights_count_as_rows_do(table: tuple[pd.DataFrame, pd.Series]) -> None:
    frame, outcome = table
    is_counted = np.arange(len(frame)) % 3 > 0
    weighted = Scorecard().fit(frame, outcome, sample_weight=is_counted.astype(float))
    without = Scorecard().fit(frame[is_counted], outcome[is_counted])
    assert np.array_equal(weighted.predict_pd(frame), without.predict_pd(frame))
    twice = Scorecard().fit(frame, outcome, sample_weight=np.full(len(frame), 2.0))
    totals = twice.binning_table_.set_index("bin").loc[TOTALS, "count"]
    assert set(totals) == {600}


def test_what_is_not_used_is_said(table: tuple[pd.DataFrame, pd.Series]) -> None:
    frame, outcome = table
    with_more = frame.assign(
        applied=pd.date_range("2024-01-01", periods=len(frame)),
        one="a",
        debt=np.where(np.arange(len(frame)) < 3, np.inf, frame["income"]),
    )
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        fitted = Scorecard().fit(with_more, outcome)
    text = " ".join(str(warning.message) for warning in warned)
    assert "applied" in text
    assert "one" in text
    assert "['debt']" in text
    assert len(fitted.findings_) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": [1, 2]}, "inconsistent numbers of samples"),
        ({"dates": ["x"] * 300}, "300 dates"),
        ({"sample_weight": [-1.0] * 300}, "Negative values"),
    ],
)
def test_wrong_input_is_named(
    table: tuple[pd.DataFrame, pd.Series], change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Scorecard().fit(*table, **change)


def test_a_column_that_is_stated_must_be_there(
    table: tuple[pd.DataFrame, pd.Series],
) -> None:
    with pytest.raises(ValueError, match="'shoe'"):
        Scorecard(columns={"shoe": {"direction": 1}}).fit(*table)
    with pytest.raises(ValueError, match="direction"):
        Scorecard(columns={"income": {"direction": 7}}).fit(*table)
    with pytest.raises(ValueError, match="candidate is 'forest'"):
        PdClassifier(candidate="forest", max_trees=1, n_folds=2).fit(*table)


def test_few_rows_are_fitted_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="only 10 rows"):
        few = PdClassifier().fit(np.arange(20.0)[:, None], [0] * 10 + [1] * 10)
    assert few.predict([[0.0], [19.0]]).tolist() == [0, 1]


def test_importing_obligor_imports_no_library() -> None:
    assert obligor.PdClassifier is PdClassifier
    code = (
        "import obligor, sys; print({'sklearn', 'pandas', 'numpy'} & set(sys.modules))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == "set()"
