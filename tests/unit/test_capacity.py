"""Columns computed from three, evidence of many levels, members that keep up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from obligor.features.applications import Applications, applications
from obligor.features.encoding import EVIDENCE, Encoding, Pair, Triple, fit_encoding
from obligor.features.table_spec import Spec
from obligor.model.bundle import load_bundle, save_bundle
from obligor.training.candidates import candidates
from obligor.training.candidates.fit_settings import (
    BLEND,
    DEEP,
    MUCH_DATA,
    RATIOS,
    SCORECARD,
    FitSettings,
)
from obligor.training.candidates.fold_members import FoldMembers, fit_fold_members
from obligor.training.candidates.level_evidence import (
    levels_of,
    rows_with_evidence,
    with_evidence,
    with_evidence_columns,
)
from obligor.training.candidates.training_rows import TrainingRows, stratified_folds
from obligor.training.runs.table_evaluation import (
    PROMOTED,
    FoldResult,
    fitted_in_all,
)
from obligor.training.runs.table_model import (
    FitOptions,
    TableModel,
    fit_table,
    training_rows,
)

N_ROWS = 600
N_DEALERS = 40
SPEC = Spec.model_validate({"name": "dealers", "target": {"column": "bad"}})


def make_frame(seed: int = 0) -> pd.DataFrame:
    """Risk differs by dealer, and with (sales - costs) / debt."""
    draw = np.random.default_rng(seed)
    dealer = draw.integers(0, N_DEALERS, N_ROWS)
    sales, costs, debt = np.exp(draw.normal(0, 0.5, (3, N_ROWS)))
    margin = draw.normal(0, 1.5, N_DEALERS)[dealer] - (sales - costs) / debt - 1
    return pd.DataFrame(
        {
            "dealer": [f"dealer {code:02d}" for code in dealer],
            "sales": sales,
            "costs": costs,
            "debt": debt,
            "bad": (draw.random(N_ROWS) < 1 / (1 + np.exp(-margin))).astype(int),
        }
    )


@pytest.fixture(scope="module")
def data() -> Applications:
    return applications(make_frame(), SPEC)


@pytest.fixture(scope="module")
def encoding(data: Applications) -> Encoding:
    fitted, _ = fit_encoding(data.frame, data.spec)
    return with_evidence_columns(fitted, data.frame)


@pytest.fixture(scope="module")
def rows(data: Applications, encoding: Encoding) -> TrainingRows:
    return training_rows(data, encoding)


@pytest.fixture(scope="module")
def fitted(data: Applications) -> TableModel:
    return fit_table(data, seed=0, options=FitOptions(threads=1))


# --- ratios of three columns


def test_a_ratio_of_three_columns_is_computed_and_named() -> None:
    rows = np.array([[9.0, 3.0, 2.0], [1.0, 2.0, 0.0], [np.nan, 1.0, 1.0]])
    ratio = Triple("-", 0, 1, 2)
    np.testing.assert_array_equal(ratio.values(rows), [3.0, np.nan, np.nan])
    names = ("sales", "costs", "debt")
    assert ratio.name(names) == "(sales - costs) / debt"
    assert Triple("+", 1, 2, 0).values(rows)[0] == (3.0 + 2.0) / 9.0


def test_an_encoding_keeps_its_derived_columns(encoding: Encoding) -> None:
    pairs = (Pair("/", 1, 2), Triple("+", 1, 2, 3), Pair("-", 1, 3))
    with_pairs = replace(encoding, pairs=pairs)
    assert Encoding.from_dict(with_pairs.as_dict()) == with_pairs


# --- evidence of many levels


def test_rows_held_back_have_no_part_in_the_evidence(rows: TrainingRows) -> None:
    learned = np.arange(0, N_ROWS, 2)
    label = rows.label.copy()
    label[1::2] = 1 - label[1::2]
    before = rows_with_evidence(rows, learned, seed=0)
    after = rows_with_evidence(replace(rows, label=label), learned, seed=0)
    np.testing.assert_array_equal(after, before)
    everything = rows_with_evidence(rows, rows.all_indices, seed=0)
    assert (everything[:, rows.levels[0].column] != before[:, 1]).any()


def test_evidence_of_noise_says_nothing_about_rows_learned_from() -> None:
    draw = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "dealer": draw.integers(0, 200, 2000).astype(str),
            "bad": draw.integers(0, 2, 2000),
        }
    )
    noise = applications(
        frame,
        Spec.model_validate(
            {
                "target": {"column": "bad"},
                "columns": {"dealer": {"type": "category"}},
            }
        ),
    )
    plain, _ = fit_encoding(noise.frame, noise.spec)
    rows = training_rows(noise, with_evidence_columns(plain, noise.frame))
    values = rows_with_evidence(rows, rows.all_indices, seed=0)
    evidence = values[:, rows.levels[0].column]
    # With a row's own outcome in it the correlation would be above .2.
    assert np.corrcoef(evidence, noise.label)[0, 1] < 0.08


def test_only_a_category_with_many_levels_has_evidence() -> None:
    frame = make_frame().assign(town=["north", "south"] * (N_ROWS // 2))
    data = applications(frame, SPEC)
    encoding, _ = fit_encoding(data.frame, data.spec)
    names = with_evidence_columns(encoding, data.frame).names
    assert [name for name in names if name.endswith(EVIDENCE)] == ["dealer=evidence"]


def test_a_level_never_seen_has_no_evidence(
    data: Applications, encoding: Encoding
) -> None:
    learned = with_evidence(encoding, [np.linspace(-1, 1, N_DEALERS)])
    frame = data.frame.head(2).assign(dealer=["dealer 00", "never seen"])
    column = learned.names.index("dealer=evidence")
    assert learned.rows(frame)[:, column].tolist() == [-1.0, 0.0]
    assert levels_of(encoding, frame)[0].codes.tolist() == [0, -1]


# --- the members and their blend


def test_evidence_and_ratios_are_explained_exactly(
    fitted: TableModel, data: Applications, tmp_path: Path
) -> None:
    assert fitted.candidates.derived_names >= {RATIOS, BLEND}
    model = fitted.model(BLEND)
    sha256 = save_bundle(model, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle", sha256)
    rows = fitted.encoding_of(BLEND).rows(data.frame)
    booster = lgb.Booster(model_str=model.text)
    expected = np.asarray(booster.predict(rows, pred_contrib=True))
    contributions, margins = loaded.explain(rows)
    np.testing.assert_allclose(contributions, expected[:, :-1], atol=1e-11)
    np.testing.assert_array_equal(margins, booster.predict(rows, raw_score=True))
    evidence = model.features.index("dealer=evidence")
    assert np.abs(contributions[:, evidence]).mean() > 0.1


def test_a_row_is_encoded_from_json_as_from_the_table(
    fitted: TableModel, data: Applications
) -> None:
    encoding = fitted.encoding_of(BLEND)
    rows = encoding.rows(data.frame)
    for row_index in (0, 7):
        values = dict(data.frame.iloc[row_index])
        np.testing.assert_array_equal(encoding.row(values)[0], rows[row_index])


def test_only_much_data_has_deep_trees(fitted: TableModel) -> None:
    assert DEEP not in fitted.candidates.by_name
    settings = FitSettings(seed=0, threads=1)
    assert settings.has_much_to_learn(MUCH_DATA, 500)
    assert not settings.has_much_to_learn(MUCH_DATA, 100)


def test_a_member_that_falls_behind_is_given_up(rows: TrainingRows) -> None:
    folds = stratified_folds(rows.label, rows.groups, 2, seed=0)
    quick = {"learning_rate": 0.3, "num_leaves": 4}
    members = FoldMembers(
        {"good": quick, "idle": {**quick, "min_data_in_leaf": N_ROWS}},
        lambda learned: rows_with_evidence(rows, learned, 0),
    )
    settings = FitSettings(seed=0, threads=1)
    assert set(fit_fold_members(rows, folds, members, settings, 1.0)) == {"good"}
    assert fit_fold_members(rows, folds, members, settings, 0.1) == {}
    always = members._replace(always="idle")
    fits = fit_fold_members(rows, folds, always, settings, 0.1)
    assert set(fits) == {"idle"}


def test_a_blend_that_takes_too_long_to_explain_is_pruned(
    rows: TrainingRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "FEW_LEAVES", 0)
    monkeypatch.setattr(candidates, "MOST_EXPLAINING_NS", 1.0)
    settings = FitSettings(seed=0, threads=1, n_folds=2, bags=1, has_ratios=False)
    pruned = candidates.fit_candidates(rows, settings)
    assert sum(weight > 0 for weight in pruned.weights.values()) == 1
    members = {SCORECARD, "lightgbm", "extra_trees"}
    assert {*members, BLEND} == set(pruned.by_name)
    for name in members - set(pruned.weights):
        assert name in pruned.choice.because.rpartition("within 0.3 ms: ")[2]


def test_a_candidate_given_up_in_one_fold_has_no_figures() -> None:
    nothing = np.zeros(2)
    results = [
        FoldResult({SCORECARD: nothing, DEEP: nothing, PROMOTED: nothing}, SCORECARD),
        FoldResult({SCORECARD: nothing, PROMOTED: nothing}, SCORECARD),
    ]
    assert fitted_in_all(results) == [SCORECARD, PROMOTED]
