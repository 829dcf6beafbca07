"""TreeSHAP equals LightGBM's own contributions, for any model and row it can be given."""

from __future__ import annotations

import re
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from obligor.arrays import Floats
from obligor.errors import ModelError
from obligor.model.treeshap import kernel as treeshap_kernel
from obligor.model.treeshap import table_kernel
from obligor.model.treeshap.explainer import TreeShap

ODD = (
    np.nan,
    np.inf,
    -np.inf,
    0.0,
    -0.0,
    1e-36,
    -1e-36,
    1e-35,
    1.0000000180025095e-35,
    2e-35,
    1e300,
    1.7e308,
)
ODD_CATEGORIES = (
    np.nan,
    -1.0,
    -0.5,
    0.9,
    3.7,
    31.0,
    32.0,
    500.0,
    2147483647.0,
    2147483648.0,
    1e18,
    np.inf,
    -np.inf,
)


def dataset(
    seed: int, n: int = 600, features: int = 8, categorical: int = 2
) -> tuple[Floats, NDArray[np.int64]]:
    """Rows with missing values, zeros and (in the first columns) categories, and an outcome they bear upon."""
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(n, features))
    rows[:, :categorical] = draw.integers(0, 40, (n, categorical))
    rows[draw.random(rows.shape) < 0.1] = np.nan
    rows[draw.random(rows.shape) < 0.1] = 0.0
    signal = (
        np.nan_to_num(rows[:, -1] * rows[:, -2])
        + np.nan_to_num(rows[:, -3])
        + (rows[:, 0] % 3 == 1)
    )
    return rows, (signal + draw.normal(size=n) > 0.5).astype(np.int64)


def booster(
    seed: int,
    trees: int = 6,
    categorical: int = 2,
    features: int = 8,
    **parameters: Any,
) -> lgb.Booster:
    """A model of `dataset`; parameters as LightGBM names them."""
    rows, label = dataset(seed, features=features, categorical=categorical)
    choices = {
        "objective": "binary",
        "verbose": -1,
        "num_threads": 1,
        "min_data_in_leaf": 3,
        "seed": seed,
    }
    return lgb.train(
        {**choices, **parameters},
        lgb.Dataset(rows, label, categorical_feature=list(range(categorical))),
        trees,
    )


def odd_rows(seed: int, n: int = 40, features: int = 8, categorical: int = 2) -> Floats:
    """Rows as in training, with the values in them that often go wrong."""
    rows = dataset(seed + 1, n, features, categorical)[0]
    draw = np.random.default_rng(seed)
    odd = draw.random(rows.shape) < 0.3
    rows[odd] = draw.choice(ODD, odd.sum())
    odd[:, categorical:] = False
    rows[odd] = draw.choice(ODD_CATEGORIES, odd.sum())
    return rows


def assert_equal(model: lgb.Booster, rows: Floats, memory_mb: float = 64) -> TreeShap:
    """LightGBM's contributions, within 1e-12 of the margin's size; its margins bit for bit."""
    ours = TreeShap(model, memory_mb)
    wanted = np.asarray(model.predict(rows, pred_contrib=True, num_threads=1))
    margins = np.asarray(model.predict(rows, raw_score=True, num_threads=1))
    contributions, given_margins = ours.explain(rows)
    size = max(np.abs(wanted).sum(axis=1).max(), 1e-300)
    assert np.abs(contributions - wanted[:, :-1]).max() <= 1e-12 * size
    assert abs(ours.expected_value - wanted[0, -1]) <= 1e-12 * size
    assert (
        np.abs(contributions.sum(axis=1) + ours.expected_value - margins).max()
        <= 1e-12 * size
    )
    np.testing.assert_array_equal(given_margins, margins)
    np.testing.assert_array_equal(ours.margin(rows), margins)
    return ours


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10_000),
    num_leaves=st.integers(2, 64),
    boosting=st.sampled_from(["gbdt", "dart", "rf"]),
    use_missing=st.booleans(),
    zero_as_missing=st.booleans(),
    categorical=st.integers(0, 3),
    max_cat_to_onehot=st.sampled_from([1, 4]),
    memory_mb=st.sampled_from([0.0, 0.05, 64.0]),
)
def test_it_equals_lightgbm_on_any_binary_model(
    seed: int, categorical: int, memory_mb: float, boosting: str, **parameters: Any
) -> None:
    """With memory for tables, for some, for none: then every edge is walked."""
    if boosting == "rf":
        parameters |= {"bagging_freq": 1, "bagging_fraction": 0.6}
    model = booster(seed, categorical=categorical, boosting=boosting, **parameters)
    assert_equal(model, odd_rows(seed, categorical=categorical), memory_mb)


@pytest.mark.parametrize("leaves", [65, 300])
def test_a_tree_of_more_than_64_leaves_is_walked(leaves: int) -> None:
    model = booster(
        1, trees=3, num_leaves=leaves, min_data_in_leaf=1, min_sum_hessian_in_leaf=0
    )
    ours = assert_equal(model, odd_rows(1))
    assert ours.n_walked > 0


def test_long_paths_of_distinct_features_take_pairs_of_tables() -> None:
    model = booster(2, trees=8, num_leaves=40, features=30, min_data_in_leaf=2)
    ours = assert_equal(model, odd_rows(2, features=30), memory_mb=2)
    assert ours.n_pairs > 0
    assert ours.table_bytes <= 2e6


def test_features_repeat_on_a_path() -> None:
    assert_equal(
        booster(3, features=3, categorical=0, num_leaves=31),
        odd_rows(3, features=3, categorical=0),
    )


def test_constant_and_one_leaf_trees() -> None:
    rows, label = dataset(4)
    constant = lgb.train(
        {"objective": "binary", "verbose": -1, "min_data_in_leaf": 1000},
        lgb.Dataset(rows, label),
        3,
    )
    assert_equal(constant, rows[:5])
    text = booster(4, trees=3).model_to_string()
    stump = re.search(r"Tree=0\n.*?\n\n\n", constant.model_to_string(), re.S)
    assert stump
    mixed = re.sub(
        r"Tree=1\n.*?\n\n\n",
        lambda _: stump[0].replace("Tree=0", "Tree=1"),
        text,
        flags=re.S,
    )
    mixed = re.sub(r"tree_sizes=.*\n", "", mixed)
    assert_equal(lgb.Booster(model_str=mixed), odd_rows(4))


def test_an_infinite_threshold_sends_all_but_missing_left() -> None:
    text = booster(5, categorical=0, trees=2, num_leaves=8).model_to_string()
    for instead in ("inf", "1.7976931348623157e+308", "-inf", "1e300"):
        changed = re.sub(r"\nthreshold=\S+", f"\nthreshold={instead}", text)
        changed = re.sub(r"tree_sizes=.*\n", "", changed)
        assert_equal(lgb.Booster(model_str=changed), odd_rows(5, categorical=0))


def test_zero_cover_counts_as_no_share() -> None:
    """LightGBM divides 0 by 0 there and returns NaN; ours still sums to the margin."""
    text = booster(6, categorical=0, trees=1, num_leaves=4).model_to_string()
    text = re.sub(r"tree_sizes=.*\n", "", text)
    empty = re.sub(
        r"leaf_count=.*",
        "leaf_count=0 0 0 0",
        re.sub(r"internal_count=.*", "internal_count=0 0 0", text),
    )
    ours, rows = TreeShap(empty), odd_rows(6, categorical=0)
    contributions, margins = ours.explain(rows)
    np.testing.assert_allclose(
        contributions.sum(axis=1) + ours.expected_value, margins, atol=1e-12
    )
    np.testing.assert_array_equal(
        margins, lgb.Booster(model_str=empty).predict(rows, raw_score=True)
    )


def test_an_answer_does_not_depend_on_the_rows_beside_it() -> None:
    model, rows = (
        booster(7, trees=30, num_leaves=48, features=20),
        odd_rows(7, n=700, features=20),
    )
    ours = TreeShap(model, memory_mb=3)
    together, margins = ours.explain(rows)
    for n in (0, 1, 255, 256, 257, 699):
        alone, margin = ours.explain(rows[n : n + 1])
        np.testing.assert_array_equal(alone[0], together[n])
        assert margin[0] == margins[n]
    backwards = ours.explain(rows[::-1])[0][::-1]
    np.testing.assert_array_equal(backwards, together)
    assert ours.shap_values(rows[:0]).shape == (0, 20)


def test_the_plain_loops_are_the_compiled_ones() -> None:
    """The kernel run by the interpreter gives the same bits: tables, pairs and walks."""
    model, rows = (
        booster(8, trees=2, num_leaves=30, features=18),
        odd_rows(8, n=5, features=18),
    )
    deep = booster(
        8,
        trees=1,
        num_leaves=70,
        features=18,
        min_data_in_leaf=1,
        min_sum_hessian_in_leaf=0,
    )
    for given_model, memory_mb in ((model, 1), (model, 0.02), (deep, 1)):
        ours = TreeShap(given_model, memory_mb)
        wanted, margins = ours.explain(rows)
        out = np.empty((len(rows), 19))
        treeshap_kernel.explain_rows(ours.plan.ints, ours.plan.reals, rows, True, out)
        np.testing.assert_array_equal(out, np.column_stack([wanted, margins]))
        single, score = np.empty((19, 1)), np.empty((1, len(rows)))
        treeshap_kernel.explain_row(
            ours.plan.ints, ours.plan.reals, rows[0], True, single
        )
        treeshap_kernel.score_rows(ours.plan.ints, ours.plan.reals, rows, score)
        np.testing.assert_array_equal(single[:, 0], out[0])
        np.testing.assert_array_equal(score[0], margins)


def test_one_leaf_by_hand() -> None:
    """Two features with shares 1/2 and 1/4, both met, value 8: Shapley values by the definition.

    f({}) = 8/2/4 = 1, f({0}) = 8/4 = 2, f({1}) = 8/2 = 4, f({0, 1}) = 8: phi_0 = (1 + 4)/2, phi_1 = (3 + 6)/2.
    """
    nodes, weights = np.polynomial.legendre.leggauss(1)
    table = table_kernel.leaf_table(
        8.0, np.array([0.5, 0.25]), np.stack([(nodes + 1) / 2, weights / 2])
    )
    np.testing.assert_allclose(table[3, :, 1:].sum(axis=0), [2.5, 4.5])


def test_models_it_cannot_take_are_refused_with_the_reason() -> None:
    rows, label = dataset(9)
    linear = lgb.train(
        {"objective": "binary", "verbose": -1, "linear_tree": True},
        lgb.Dataset(rows, label),
        2,
    )
    with pytest.raises(ModelError, match="linear models in its leaves"):
        TreeShap(linear)
    several = lgb.train(
        {"objective": "multiclass", "num_class": 3, "verbose": -1},
        lgb.Dataset(rows, label + (rows[:, 3] > 1)),
        2,
    )
    with pytest.raises(ModelError, match="several outputs"):
        TreeShap(several)
    with pytest.raises(ModelError, match="expected"):
        TreeShap(booster(9)).explain(rows[:, :3])


def test_shap_plots_take_what_it_returns() -> None:
    import matplotlib.pyplot as plt
    import shap

    rows = odd_rows(10)
    explanation = TreeShap(booster(10))(rows, [f"x{n}" for n in range(8)])
    assert isinstance(explanation, shap.Explanation)
    shap.plots.waterfall(explanation[0], show=False)
    assert plt.gcf().axes
    plt.close("all")
