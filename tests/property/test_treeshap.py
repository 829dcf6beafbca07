"""TreeSHAP equals LightGBM's own contributions for any model and any row."""

from __future__ import annotations

import re
from typing import NamedTuple

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from obligor.arrays import Floats, Ints
from obligor.errors import ModelError
from obligor.model.treeshap import kernel, table_kernel
from obligor.model.treeshap.explainer import TreeShap

ODD_NUMBERS = (
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
DEEP = {"min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 0}


class Shape(NamedTuple):
    """Columns of a data set; the first ones are categorical."""

    features: int = 8
    categorical: int = 2


DEFAULT_SHAPE = Shape()


def make_data(
    seed: int,
    shape: Shape = DEFAULT_SHAPE,
    n: int = 600,
) -> tuple[Floats, Ints]:
    """Return rows with missing values, zeros and categories, and their outcome."""
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(n, shape.features))
    rows[:, : shape.categorical] = draw.integers(0, 40, (n, shape.categorical))
    rows[draw.random(rows.shape) < 0.1] = np.nan
    rows[draw.random(rows.shape) < 0.1] = 0.0
    product = np.nan_to_num(rows[:, -1] * rows[:, -2])
    signal = product + np.nan_to_num(rows[:, -3]) + (rows[:, 0] % 3 == 1)
    label = (signal + draw.normal(size=n) > 0.5).astype(np.int64)
    return rows, label


def train(
    seed: int,
    shape: Shape = DEFAULT_SHAPE,
    trees: int = 6,
    **parameters: object,
) -> lgb.Booster:
    """Return a model of `make_data`; parameters as LightGBM names them."""
    rows, label = make_data(seed, shape)
    categorical = list(range(shape.categorical))
    defaults = {
        "objective": "binary",
        "verbose": -1,
        "num_threads": 1,
        "min_data_in_leaf": 3,
        "seed": seed,
    }
    dataset = lgb.Dataset(rows, label, categorical_feature=categorical)
    return lgb.train({**defaults, **parameters}, dataset, trees)


def odd_rows(seed: int, shape: Shape = DEFAULT_SHAPE, n: int = 40) -> Floats:
    """Return rows as in training, with many values that often go wrong."""
    rows, _ = make_data(seed + 1, shape, n)
    draw = np.random.default_rng(seed)
    is_odd = draw.random(rows.shape) < 0.3
    rows[is_odd] = draw.choice(ODD_NUMBERS, is_odd.sum())
    is_odd[:, shape.categorical :] = False
    rows[is_odd] = draw.choice(ODD_CATEGORIES, is_odd.sum())
    return rows


def with_text(model: lgb.Booster, pattern: str, replacement: str) -> lgb.Booster:
    """Return a model whose text is changed."""
    return from_text(re.sub(pattern, replacement, model.model_to_string()))


def from_text(text: str) -> lgb.Booster:
    """Return a model from its text; the sizes of its trees are left to LightGBM."""
    return lgb.Booster(model_str=re.sub(r"tree_sizes=.*\n", "", text))


def assert_equal(model: lgb.Booster, rows: Floats, memory_mb: float = 64) -> TreeShap:
    """Assert equality with LightGBM: contributions within 1e-12, margins bit for bit.

    The tolerance is relative to the size of the contributions.
    """
    explainer = TreeShap(model, memory_mb)
    expected = np.asarray(model.predict(rows, pred_contrib=True, num_threads=1))
    expected_margins = np.asarray(model.predict(rows, raw_score=True, num_threads=1))
    contributions, margins = explainer.explain(rows)
    size = max(np.abs(expected).sum(axis=1).max(), 1e-300)
    error = np.abs(contributions - expected[:, :-1]).max()
    base_error = abs(explainer.expected_value - expected[0, -1])
    total = contributions.sum(axis=1) + explainer.expected_value
    assert error <= 1e-12 * size
    assert base_error <= 1e-12 * size
    assert np.abs(total - expected_margins).max() <= 1e-12 * size
    np.testing.assert_array_equal(margins, expected_margins)
    np.testing.assert_array_equal(explainer.margin(rows), expected_margins)
    return explainer


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10_000),
    categorical=st.integers(0, 3),
    memory_mb=st.sampled_from([0.0, 0.05, 64.0]),
    parameters=st.fixed_dictionaries(
        {
            "num_leaves": st.integers(2, 64),
            "boosting": st.sampled_from(["gbdt", "dart", "rf"]),
            "use_missing": st.booleans(),
            "zero_as_missing": st.booleans(),
            "max_cat_to_onehot": st.sampled_from([1, 4]),
        }
    ),
)
def test_contributions_equal_lightgbm_for_any_binary_model(
    seed: int,
    categorical: int,
    memory_mb: float,
    parameters: dict[str, object],
) -> None:
    """With memory for all tables, for some, and for none: then every edge is walked."""
    if parameters["boosting"] == "rf":
        parameters |= {"bagging_freq": 1, "bagging_fraction": 0.6}
    shape = Shape(categorical=categorical)
    model = train(seed, shape, **parameters)
    assert_equal(model, odd_rows(seed, shape), memory_mb)


@pytest.mark.parametrize("leaves", [65, 300])
def test_tree_of_more_than_64_leaves_is_walked(leaves: int) -> None:
    model = train(1, trees=3, num_leaves=leaves, **DEEP)
    explainer = assert_equal(model, odd_rows(1))
    assert explainer.n_walked > 0


def test_long_paths_of_distinct_features_become_pairs_of_tables() -> None:
    shape = Shape(features=30)
    model = train(2, shape, trees=8, num_leaves=40, min_data_in_leaf=2)
    explainer = assert_equal(model, odd_rows(2, shape), memory_mb=2)
    assert explainer.n_pairs > 0
    assert explainer.table_bytes <= 2e6


def test_feature_may_repeat_on_a_path() -> None:
    shape = Shape(features=3, categorical=0)
    assert_equal(train(3, shape, num_leaves=31), odd_rows(3, shape))


@pytest.fixture
def constant() -> lgb.Booster:
    """A model whose trees have one leaf each."""
    rows, label = make_data(4)
    parameters = {"objective": "binary", "verbose": -1, "min_data_in_leaf": 1000}
    return lgb.train(parameters, lgb.Dataset(rows, label), 3)


def test_constant_model(constant: lgb.Booster) -> None:
    rows, _ = make_data(4)
    assert_equal(constant, rows[:5])


def test_tree_of_one_leaf_among_others(constant: lgb.Booster) -> None:
    stump = re.search(r"Tree=0\n.*?\n\n\n", constant.model_to_string(), re.S)
    assert stump
    second_tree = stump[0].replace("Tree=0", "Tree=1")
    text = train(4, trees=3).model_to_string()
    mixed = re.sub(r"Tree=1\n.*?\n\n\n", lambda _: second_tree, text, flags=re.S)
    assert_equal(from_text(mixed), odd_rows(4))


@pytest.mark.parametrize(
    "threshold",
    ["inf", "1.7976931348623157e+308", "-inf", "1e300"],
)
def test_extreme_threshold_sends_rows_where_lightgbm_does(threshold: str) -> None:
    shape = Shape(categorical=0)
    model = train(5, shape, trees=2, num_leaves=8)
    changed = with_text(model, r"\nthreshold=\S+", f"\nthreshold={threshold}")
    assert_equal(changed, odd_rows(5, shape))


def test_leaves_without_training_rows_have_no_share() -> None:
    """LightGBM divides 0 by 0 there and returns NaN; ours still sums to the margin."""
    shape = Shape(categorical=0)
    model = train(6, shape, trees=1, num_leaves=4)
    model = with_text(model, r"internal_count=.*", "internal_count=0 0 0")
    model = with_text(model, r"leaf_count=.*", "leaf_count=0 0 0 0")
    explainer = TreeShap(model)
    rows = odd_rows(6, shape)
    contributions, margins = explainer.explain(rows)
    total = contributions.sum(axis=1) + explainer.expected_value
    np.testing.assert_allclose(total, margins, atol=1e-12)
    np.testing.assert_array_equal(margins, model.predict(rows, raw_score=True))


@pytest.fixture(scope="module")
def many_rows() -> Floats:
    return odd_rows(7, Shape(features=20), n=700)


@pytest.fixture(scope="module")
def explainer() -> TreeShap:
    model = train(7, Shape(features=20), trees=30, num_leaves=48)
    return TreeShap(model, memory_mb=3)


@pytest.mark.parametrize("row", [0, 1, 255, 256, 257, 699])
def test_result_does_not_depend_on_the_rows_beside_it(
    explainer: TreeShap,
    many_rows: Floats,
    row: int,
) -> None:
    contributions, margins = explainer.explain(many_rows)
    alone, margin = explainer.explain(many_rows[row : row + 1])
    np.testing.assert_array_equal(alone[0], contributions[row])
    assert margin[0] == margins[row]


def test_result_does_not_depend_on_the_order_of_rows(
    explainer: TreeShap,
    many_rows: Floats,
) -> None:
    contributions, _ = explainer.explain(many_rows)
    backwards, _ = explainer.explain(many_rows[::-1])
    np.testing.assert_array_equal(backwards[::-1], contributions)


def test_no_rows_give_no_contributions(explainer: TreeShap, many_rows: Floats) -> None:
    assert explainer.shap_values(many_rows[:0]).shape == (0, 20)


@pytest.mark.parametrize(
    ("parameters", "memory_mb"),
    [
        ({"trees": 2, "num_leaves": 30}, 1),
        ({"trees": 2, "num_leaves": 30}, 0.02),
        ({"trees": 1, "num_leaves": 70, **DEEP}, 1),
    ],
    ids=["tables", "pairs", "walks"],
)
def test_interpreted_loops_give_the_bits_of_the_compiled_ones(
    parameters: dict[str, int],
    memory_mb: float,
) -> None:
    shape = Shape(features=18)
    explainer = TreeShap(train(8, shape, **parameters), memory_mb)
    rows = odd_rows(8, shape, n=5)
    contributions, margins = explainer.explain(rows)
    ints, reals, _ = explainer.plan
    block = np.empty((len(rows), 19))
    single = np.empty((19, 1))
    scores = np.empty((1, len(rows)))
    kernel.explain_rows(ints, reals, rows, True, block)
    kernel.explain_row(ints, reals, rows[0], True, single)
    kernel.score_rows(ints, reals, rows, scores)
    np.testing.assert_array_equal(block, np.column_stack([contributions, margins]))
    np.testing.assert_array_equal(single[:, 0], block[0])
    np.testing.assert_array_equal(scores[0], margins)


def test_one_leaf_worked_out_by_hand() -> None:
    """Two features with shares 1/2 and 1/4, both met, value 8.

    By the definition of Shapley values: f({}) = 8/2/4 = 1, f({0}) = 8/4 = 2,
    f({1}) = 8/2 = 4, f({0, 1}) = 8, so phi_0 = (1 + 4)/2 and phi_1 = (3 + 6)/2.
    """
    nodes, weights = np.polynomial.legendre.leggauss(1)
    quadrature = np.stack([(nodes + 1) / 2, weights / 2])
    table = table_kernel.leaf_table(8.0, np.array([0.5, 0.25]), quadrature)
    both_met = table[3, :, 1:].sum(axis=0)
    np.testing.assert_allclose(both_met, [2.5, 4.5])


def test_linear_trees_are_rejected() -> None:
    rows, label = make_data(9)
    parameters = {"objective": "binary", "verbose": -1, "linear_tree": True}
    linear = lgb.train(parameters, lgb.Dataset(rows, label), 2)
    with pytest.raises(ModelError, match="linear models in its leaves"):
        TreeShap(linear)


def test_several_outputs_are_rejected() -> None:
    rows, label = make_data(9)
    parameters = {"objective": "multiclass", "num_class": 3, "verbose": -1}
    classes = label + (rows[:, 3] > 1)
    several = lgb.train(parameters, lgb.Dataset(rows, classes), 2)
    with pytest.raises(ModelError, match="several outputs"):
        TreeShap(several)


def test_rows_of_another_width_are_rejected() -> None:
    rows, _ = make_data(9)
    with pytest.raises(ModelError, match="expected"):
        TreeShap(train(9)).explain(rows[:, :3])


def test_plots_of_shap_take_the_explanation() -> None:
    import matplotlib.pyplot as plt
    import shap

    names = [f"x{index}" for index in range(8)]
    explanation = TreeShap(train(10))(odd_rows(10), names)
    assert isinstance(explanation, shap.Explanation)
    shap.plots.waterfall(explanation[0], show=False)
    assert plt.gcf().axes
    plt.close("all")
