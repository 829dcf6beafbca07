"""A weight of 2 counts as two rows, and weights of 1 change nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from obligor.arrays import Floats, Ints
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
    assert weighted.gain == unweighted.gain
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
