"""A weight of 2 counts as two rows, and weights of 1 change nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from obligor.arrays import Floats, Ints
from obligor.metrics.figures import figures, psi
from obligor.metrics.significance import area, by_grade, delong, hosmer_lemeshow
from obligor.metrics.statistics import Resampling, quantiles
from obligor.model.calibration import sigmoid
from obligor.training.candidates.blend import fit_blend
from obligor.training.candidates.calibrate import choose_calibration, fit_calibration
from obligor.training.candidates.candidates import fit_candidates
from obligor.training.candidates.fit_settings import LIGHTGBM, MEMBERS, FitSettings
from obligor.training.candidates.reject_inference import with_rejects
from obligor.training.candidates.scorecard import fit_scorecard
from obligor.training.candidates.training_rows import (
    Columns,
    Folds,
    TrainingRows,
    stratified_folds,
)
from obligor.training.candidates.trees import fit_trees
from obligor.training.validation.fairness import approvals

N_ROWS = 400
COLUMNS = Columns(("debt", "region"), (1,), (0, 0))
SOLVER = 1e-4  # in log-odds; L-BFGS stops when its steps are small
SETTINGS = FitSettings(seed=1, threads=1, bags=1, n_folds=2, most_trees=20)


@pytest.fixture(scope="module")
def rows() -> TrainingRows:
    """Return rows of one number and one category, with weights of 1, 2 and 3."""
    draw = np.random.default_rng(2)
    debt = draw.normal(size=N_ROWS)
    region = draw.integers(0, 3, N_ROWS)
    label = (debt + region + draw.logistic(size=N_ROWS) > 2).astype(np.int64)
    return TrainingRows(
        rows=np.column_stack([debt, region]).astype(np.float64),
        label=label,
        groups=np.arange(N_ROWS),
        columns=COLUMNS,
        weight=draw.integers(1, 4, N_ROWS).astype(np.float64),
    )


@pytest.fixture(scope="module")
def repeats(rows: TrainingRows) -> Ints:
    """Return the index of each row, as often as its weight says."""
    assert rows.weight is not None
    return np.repeat(np.arange(N_ROWS), rows.weight.astype(np.int64))


def halves(rows: TrainingRows) -> Folds:
    return stratified_folds(rows.label, rows.groups, 2, seed=0)


def written_out(folds: Folds, repeats: Ints) -> Folds:
    """Return the folds of repeated rows."""
    both_sides = []
    for learned, held in folds:
        is_learned = np.flatnonzero(np.isin(repeats, learned))
        is_held = np.flatnonzero(np.isin(repeats, held))
        both_sides.append((is_learned, is_held))
    return both_sides


def test_bins_of_weights_are_those_of_repeated_rows(
    rows: TrainingRows, repeats: Ints
) -> None:
    weighted = fit_scorecard(rows.rows, rows.label, COLUMNS, rows.weight)
    repeated = fit_scorecard(rows.rows[repeats], rows.label[repeats], COLUMNS)
    assert len(weighted.bins) == len(repeated.bins) == 2
    for ours, theirs in zip(weighted.bins, repeated.bins, strict=True):
        assert ours.goods.tolist() == theirs.goods.tolist()
        assert ours.bads.tolist() == theirs.bads.tolist()
        assert ours.woe.tolist() == theirs.woe.tolist()
        assert ours.iv == theirs.iv
    assert weighted.bins[0].thresholds is not None
    assert repeated.bins[0].thresholds is not None
    thresholds = weighted.bins[0].thresholds.tolist()
    assert thresholds == repeated.bins[0].thresholds.tolist()
    assert len(thresholds) > 1


def test_bins_of_weights_are_not_those_of_the_rows_alone(rows: TrainingRows) -> None:
    weighted = fit_scorecard(rows.rows, rows.label, COLUMNS, rows.weight)
    alone = fit_scorecard(rows.rows, rows.label, COLUMNS)
    assert weighted.bins[1].woe.tolist() != alone.bins[1].woe.tolist()


def test_a_weighted_scorecard_is_that_of_repeated_rows(
    rows: TrainingRows, repeats: Ints
) -> None:
    weighted = fit_scorecard(rows.rows, rows.label, COLUMNS, rows.weight)
    repeated = fit_scorecard(rows.rows[repeats], rows.label[repeats], COLUMNS)
    gap = np.abs(weighted.margin(rows.rows) - repeated.margin(rows.rows))
    assert gap.max() < SOLVER


def test_a_weighted_blend_is_that_of_repeated_rows(
    rows: TrainingRows, repeats: Ints
) -> None:
    folds = halves(rows)
    margins = {"debt": rows.rows[:, 0], "region": rows.rows[:, 1]}
    weighted = fit_blend(margins, rows.label, folds, rows.weight)
    repeated = fit_blend(
        {name: margin[repeats] for name, margin in margins.items()},
        rows.label[repeats],
        written_out(folds, repeats),
    )
    gap = np.abs(weighted.out_of_fold[repeats] - repeated.out_of_fold)
    assert gap.max() < SOLVER
    assert weighted.weights == pytest.approx(repeated.weights, abs=SOLVER)


@pytest.mark.parametrize("kind", ["platt", "beta", "isotonic", "venn_abers"])
def test_a_weighted_calibration_is_that_of_repeated_rows(
    kind: str, rows: TrainingRows, repeats: Ints
) -> None:
    margin = rows.rows[:, 0]
    weighted = fit_calibration(kind, margin, rows.label, rows.weight)
    repeated = fit_calibration(kind, margin[repeats], rows.label[repeats])
    grid: Floats = np.linspace(-2, 2, 30)
    if kind == "venn_abers":
        # Its knots are quantiles of the rows, between which it is linear.
        assert weighted(grid) == pytest.approx(repeated(grid), abs=0.05)
    else:
        assert weighted(grid) == pytest.approx(repeated(grid), abs=1e-8)


def test_the_kind_of_calibration_is_chosen_by_weighted_losses(
    rows: TrainingRows, repeats: Ints
) -> None:
    margin = rows.rows[:, 0]
    folds = halves(rows)
    _, weighted = choose_calibration(margin, rows.label, folds, rows.weight)
    _, repeated = choose_calibration(
        margin[repeats],
        rows.label[repeats],
        written_out(folds, repeats),
    )
    assert weighted == pytest.approx(repeated, abs=1e-9)


def test_weighted_trees_follow_the_weights(rows: TrainingRows) -> None:
    """LightGBM bags and bins rows, not weights, so repeated rows differ a little."""
    heavy = np.where(rows.label == 1, 5.0, 1.0)
    choices = {"learning_rate": 0.3, "num_leaves": 4}
    plain = fit_trees(
        replace(rows, weight=None),
        halves(rows),
        choices,
        SETTINGS,
    )
    weighted = fit_trees(
        replace(rows, weight=heavy),
        halves(rows),
        choices,
        SETTINGS,
    )
    shift = (weighted.out_of_fold - plain.out_of_fold).mean()
    assert shift == pytest.approx(np.log(5), abs=0.35)


def test_weights_of_one_change_no_bit(rows: TrainingRows) -> None:
    members = {LIGHTGBM: MEMBERS[LIGHTGBM]}
    settings = replace(SETTINGS, members=members)
    unweighted = fit_candidates(replace(rows, weight=None), settings)
    weighted = fit_candidates(replace(rows, weight=np.ones(N_ROWS)), settings)
    assert weighted.chosen_name == unweighted.chosen_name
    assert weighted.choice == unweighted.choice
    for name, candidate in unweighted.by_name.items():
        assert weighted.by_name[name].text == candidate.text
        assert weighted.by_name[name].calibration == candidate.calibration


def test_refused_applicants_count_beside_weighted_ones(rows: TrainingRows) -> None:
    refused = rows.rows[:50]
    refused_weight = np.full(50, 3.0)
    everyone = np.arange(N_ROWS)
    assert rows.weight is not None
    augmented = with_rejects(
        rows,
        refused,
        "augmentation",
        refused_weight=refused_weight,
    )
    augmented_weight = augmented.weights_of(everyone)
    assert augmented_weight is not None
    assert augmented_weight.sum() == pytest.approx(rows.weight.sum())
    fuzzy = with_rejects(rows, refused, "fuzzy", refused_weight=refused_weight)
    fuzzy_weight = fuzzy.weights_of(fuzzy.all_indices)
    assert fuzzy_weight is not None
    assert fuzzy_weight[:N_ROWS].tolist() == rows.weight.tolist()
    as_bad = fuzzy_weight[N_ROWS : N_ROWS + 50]
    as_good = fuzzy_weight[N_ROWS + 50 :]
    assert as_bad + as_good == pytest.approx(refused_weight)


# --- Figures


@pytest.fixture(scope="module")
def pd_(rows: TrainingRows) -> Floats:
    """Return PDs with ties, as those of a scorecard have."""
    return np.round(sigmoid(rows.rows[:, 0] - 1), 2).clip(0.01, 0.99)


def test_weighted_figures_are_those_of_repeated_rows(
    rows: TrainingRows, repeats: Ints, pd_: Floats
) -> None:
    weighted = figures(pd_, rows.label, rows.weight)
    repeated = figures(pd_[repeats], rows.label[repeats])
    for name, value in repeated.items():
        assert weighted[name] == pytest.approx(value, rel=1e-12), name
    assert weighted["auc"] != figures(pd_, rows.label)["auc"]


def test_weighted_figures_are_those_of_scikit_learn(
    rows: TrainingRows, pd_: Floats
) -> None:
    weighted = figures(pd_, rows.label, rows.weight)
    label = rows.label
    area = roc_auc_score(label, pd_, sample_weight=rows.weight)
    brier = brier_score_loss(label, pd_, sample_weight=rows.weight)
    loss = log_loss(label, pd_, sample_weight=rows.weight)
    assert weighted["auc"] == pytest.approx(area, rel=1e-12)
    assert weighted["brier"] == pytest.approx(brier, rel=1e-12)
    assert weighted["log_loss"] == pytest.approx(loss, rel=1e-12)


def test_the_psi_of_weights_is_that_of_repeated_rows(
    rows: TrainingRows, repeats: Ints
) -> None:
    debt = rows.rows[:, 0]
    weighted = psi(
        debt,
        debt + 0.3,
        expected_weight=rows.weight,
        actual_weight=rows.weight,
    )
    assert weighted == pytest.approx(psi(debt[repeats], debt[repeats] + 0.3), rel=1e-12)
    assert psi(debt, debt, actual_weight=rows.weight) > 0


def test_quantiles_of_whole_weights_are_those_of_repeated_values(
    rows: TrainingRows, repeats: Ints
) -> None:
    shares = np.linspace(0, 1, 37)
    debt = rows.rows[:, 0]
    weighted = quantiles(debt, shares, rows.weight)
    assert weighted.tolist() == np.quantile(debt[repeats], shares).tolist()


def test_a_weighted_auc_counts_repeats_but_its_interval_does_not(
    rows: TrainingRows, repeats: Ints, pd_: Floats
) -> None:
    """Rows written out twice would look like twice as many observations."""
    weighted = area(pd_, rows.label, rows.weight)
    repeated = area(pd_[repeats], rows.label[repeats])
    alone = area(pd_, rows.label)
    assert weighted.value == pytest.approx(repeated.value, rel=1e-12)
    assert weighted.high - weighted.low > alone.high - alone.low
    assert repeated.high - repeated.low < alone.high - alone.low


def test_tests_do_not_depend_on_the_unit_of_weights(
    rows: TrainingRows, pd_: Floats
) -> None:
    assert rows.weight is not None
    label = rows.label
    other = np.round(sigmoid(rows.rows[:, 1] - 1), 2)
    for factor in (0.01, 1000.0):
        scaled = rows.weight * factor
        assert delong(pd_, other, label, scaled) == pytest.approx(
            delong(pd_, other, label, rows.weight)
        )
        assert hosmer_lemeshow(other, label, scaled) == pytest.approx(
            hosmer_lemeshow(other, label, rows.weight)
        )


def test_grades_are_weighted(rows: TrainingRows, repeats: Ints, pd_: Floats) -> None:
    grade = (pd_ * 4).astype(np.int64)
    weighted = by_grade(grade, pd_, rows.label, rows.weight)
    repeated = by_grade(grade[repeats], pd_[repeats], rows.label[repeats])
    for name in ("share", "mean_pd", "default_rate"):
        assert weighted[name].to_numpy() == pytest.approx(repeated[name].to_numpy())
    assert weighted["rows"].sum() == N_ROWS
    ones = by_grade(grade, pd_, rows.label, np.ones(N_ROWS))
    alone = by_grade(grade, pd_, rows.label)
    assert ones["p_value"].to_numpy() == pytest.approx(alone["p_value"].to_numpy())


def test_bootstrap_samples_keep_the_weights() -> None:
    weight = np.array([1.0, 5.0, 2.0])
    resampling = Resampling(
        np.arange(3),
        rounds=20,
        seed=3,
        weight=weight,
    )
    counts = Resampling(np.arange(3), rounds=20, seed=3)
    for weighted, drawn in zip(resampling, counts, strict=True):
        assert weighted.tolist() == (drawn * weight).tolist()


def test_approvals_are_weighted(rows: TrainingRows, repeats: Ints, pd_: Floats) -> None:
    groups = pd.Series(np.where(rows.rows[:, 1] > 0, "a", "b"))
    weighted = approvals(
        pd_,
        rows.label,
        groups,
        0.7,
        rows.weight,
    )
    repeated = approvals(
        pd_[repeats],
        rows.label[repeats],
        groups.iloc[repeats],
        0.7,
    )
    for name in ("default_rate", "mean_pd", "approved", "approved_good"):
        assert weighted[name].to_numpy() == pytest.approx(repeated[name].to_numpy())
