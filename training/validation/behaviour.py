"""What a model does, and on what data.

Columns, leaks, sensitivity, overfitting, explanations, fairness, limits of use.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import lightgbm as lgb
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from obligor.arrays import Bools, Floats
from obligor.metrics.figures import auc
from obligor.metrics.statistics import effective_rows
from obligor.training.validation import plots
from obligor.training.validation.fairness import (
    APPROVED,
    FEWEST,
    FOUR_FIFTHS,
    PROXY,
    approvals,
    groups_of,
    proxies,
)
from obligor.training.validation.soundness import (
    FAITHFUL,
    additive_error,
    directions_of,
    faithful_share,
    forbidden_used,
    medians,
    monotone_violations,
    partial_dependence,
    riskiest,
)
from obligor.training.validation.subject import (
    LabelledRows,
    ModelUnderTest,
    Section,
    Verdict,
)

TOO_GOOD = 0.9  # AUC that no honest column reaches alone
SHOWN = 15  # rows of a table
DRAWN = 500  # rows in the picture of contributions
EXPLAINED = 2000  # rows whose contributions are averaged
MOSTLY_EMPTY = 0.95  # share of missing values
MOVED = 0.2  # change in the share of missing values that a person should look at
OVERFITTED = 0.05  # AUC on training rows less AUC on test rows
LARGEST_ERROR = 1e-9  # of contributions against the margin, relative
FEW_DEFAULTS = 200
CURVE = (0.1, 0.25, 0.5, 1.0)  # shares of the customers learned from
# Fixed, not the model's own, so that the curves of two models can be compared.
CURVE_TREES = 150
CURVE_PARAMETERS = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 8,
    "lambda_l2": 10.0,
    "verbose": -1,
    "seed": 0,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 2,
    "feature_fraction": 0.5,
    "min_data_in_leaf": 20,
}


def data_quality(subject: ModelUnderTest) -> Section:
    """Show missing values, and columns that hold next to nothing."""
    table = _column_table(subject)
    moved = (table["missing, training"] - table["missing, test"]).abs()
    has_moved = bool(moved.max() > MOVED)
    order = table.assign(moved=moved)
    order = order.sort_values(["moved", "missing, training"], ascending=False)
    caption = "The columns whose share of missing values changed most, or is largest"
    summary = _describe_rows(subject) + " " + _describe_gaps(table)
    if has_moved:
        summary += (
            f" The share of missing values of {moved.idxmax()} changed by "
            f"{moved.max():.0%}."
        )
    if subject.notes:
        summary += " " + "; ".join(subject.notes) + "."
    return Section(
        id="data_quality",
        title="Data quality",
        verdict="look" if has_moved else "good",
        summary=summary,
        tables=((caption, order.drop(columns="moved").head(SHOWN)),),
    )


def _column_table(subject: ModelUnderTest) -> pd.DataFrame:
    fit = subject.fit.rows
    distinct = [len(np.unique(column[~np.isnan(column)])) for column in fit.T]
    return pd.DataFrame(
        {
            "missing, training": np.isnan(fit).mean(axis=0),
            "missing, test": np.isnan(subject.test.rows).mean(axis=0),
            "distinct values": distinct,
            "median": medians(fit),
        },
        index=list(subject.model.features),
    )


def _describe_rows(subject: ModelUnderTest) -> str:
    fit = subject.fit
    test = subject.test
    rows = pd.DataFrame(fit.rows).assign(label=fit.label)
    n_duplicates = int(rows.duplicated().sum())
    return (
        f"{len(fit.label):,} training rows ({fit.label.sum():,} defaults) and "
        f"{len(test.label):,} test rows ({test.label.sum():,} defaults). Duplicates "
        f"among the training rows: {n_duplicates:,}.{_describe_weights(subject)}"
    )


def _describe_weights(subject: ModelUnderTest) -> str:
    """How much the weights leave of the rows, and what ignores them."""
    fit = subject.fit.weight
    test = subject.test.weight
    if fit is None or test is None:
        return ""
    return (
        f" Rows are weighted: the training rows count as {fit.sum():,.6g} and carry as "
        f"much information as {effective_rows(fit):,.0f} of equal weight, the test "
        f"rows as {test.sum():,.6g} and {effective_rows(test):,.0f}. Every figure is "
        "weighted, except shares of missing values, ranges, proxies, partial "
        "dependence and mean contributions, which count each row once."
    )


def _describe_gaps(table: pd.DataFrame) -> str:
    is_empty = table["missing, training"] > MOSTLY_EMPTY
    names = [str(name) for name in table.index[is_empty]]
    if not names:
        return f"No column is empty in more than {MOSTLY_EMPTY:.0%} of the rows."
    return (
        f"Columns that are empty in more than {MOSTLY_EMPTY:.0%} of the rows "
        f"({len(names)}): {', '.join(names[:8])}."
    )


def leakage(subject: ModelUnderTest) -> Section:
    """Show whether a column alone, or its gaps, ranks too well to be honest."""
    rows = {}
    for index, name in enumerate(subject.model.features):
        column = subject.fit.rows[:, index]
        below_all = np.nanmin(column, initial=0.0) - 1
        is_missing = np.isnan(column).astype(np.float64)
        rows[name] = {
            "AUC alone": _auc_either_way(
                np.nan_to_num(column, nan=below_all),
                subject.fit,
            ),
            "AUC of being missing": _auc_either_way(is_missing, subject.fit),
        }
    table = pd.DataFrame(rows).T.sort_values("AUC alone", ascending=False)
    names = [str(name) for name in table.index]
    suspects = [str(name) for name in table.index[(table > TOO_GOOD).any(axis=1)]]
    if suspects:
        summary = (
            f"{', '.join(suspects)} alone has an AUC above {TOO_GOOD}. Is it known "
            "only after the outcome?"
        )
    else:
        best = float(table["AUC alone"].iloc[0])
        summary = (
            f"No column alone has an AUC above {TOO_GOOD}; the best is {names[0]} "
            f"with {best:.3f}."
        )
    return Section(
        id="leakage",
        title="Leakage probes",
        verdict="bad" if suspects else "good",
        summary=summary,
        tables=(("Each column alone on the training rows", table.head(SHOWN)),),
    )


def _auc_either_way(column: Floats, rows: LabelledRows) -> float:
    area = auc(column, rows.label, rows.weight)
    return max(area, 1 - area)


def sensitivity(subject: ModelUnderTest) -> Section:
    """Show which columns move the PD, how, and whether any goes the wrong way."""
    model = subject.model
    names = list(model.features)
    rows = subject.test.rows
    contributions, _ = model.explain(rows[:EXPLAINED])
    mean_size = pd.Series(np.abs(contributions).mean(axis=0), index=names)
    mean_size = mean_size.sort_values(ascending=False)
    violations = monotone_violations(model, rows)
    n_directed = sum(direction != 0 for direction in directions_of(model))
    summary = f"Columns with a direction: {n_directed} of {len(names)}. "
    if violations:
        worst = [f"{row.feature} by {row.worst:.3g}" for row in violations[:5]]
        summary += (
            "Moved along their whole grid, some move the margin against it "
            f"({len(violations)}): {', '.join(worst)}."
        )
    else:
        summary += "Moved along its whole grid, none moves the margin against it."
    curves = {
        str(name): partial_dependence(model, rows, names.index(str(name)))
        for name in mean_size.index[:6]
    }
    table = pd.DataFrame({"mean |contribution|, log-odds": mean_size.head(SHOWN)})
    return Section(
        id="sensitivity",
        title="Sensitivity",
        verdict="bad" if violations else "good",
        summary=summary,
        tables=(("What moves the PD", table),),
        pictures=(
            ("Partial dependence", plots.dependence(curves)),
            ("Contributions", plots.beeswarm(model, rows[:DRAWN])),
        ),
    )


def overfitting(subject: ModelUnderTest) -> Section:
    """Show whether more rows would help, and how far training rows flatter."""
    curve = _learning_curve(subject)
    fit_auc = auc(subject.fit_pd, subject.fit.label, subject.fit.weight)
    test_auc = auc(subject.test_pd, subject.test.label, subject.test.weight)
    summary = (
        f"The AUC of this model is {fit_auc:.3f} on training rows, each scored by a "
        f"fit that had not seen it, and {test_auc:.3f} on the test rows. The learning "
        "curve is that of LightGBM with fixed parameters on growing shares of the "
        "training rows."
    )
    n_missing = len(CURVE) - len(curve)
    if n_missing:
        summary += (
            f" It lacks {n_missing} of {len(CURVE)} points, because so few rows hold "
            "no default, or nothing else."
        )
    pictures: tuple[tuple[str, Figure], ...] = ()
    if len(curve):
        pictures = (("Learning curve", plots.learning_curve(curve)),)
    return Section(
        id="overfitting",
        title="Overfitting",
        verdict="look" if fit_auc - test_auc > OVERFITTED else "good",
        summary=summary,
        tables=(("Learning curve", curve),),
        pictures=pictures,
    )


def _learning_curve(subject: ModelUnderTest) -> pd.DataFrame:
    """AUCs of LightGBM by the number of training rows."""
    draw = np.random.default_rng(subject.seed)
    groups = np.unique(subject.fit.groups)
    rows = {}
    for share in CURVE:
        n_groups = max(int(share * len(groups)), 2)
        chosen = np.isin(subject.fit.groups, draw.permutation(groups)[:n_groups])
        label = subject.fit.label[chosen]
        if 0 < label.sum() < len(label):
            rows[len(label)] = _curve_point(subject, chosen)
    return pd.DataFrame(rows).T


def _curve_point(subject: ModelUnderTest, chosen: Bools) -> dict[str, float]:
    rows = subject.fit.rows[chosen]
    label = subject.fit.label[chosen]
    weight = subject.fit.weight
    fit_weight = None if weight is None else weight[chosen]
    parameters = {
        **CURVE_PARAMETERS,
        "monotone_constraints": list(directions_of(subject.model)),
    }
    learned = lgb.Dataset(
        rows,
        label,
        weight=fit_weight,
        params={"verbose": -1},
    )
    booster = lgb.train(parameters, learned, CURVE_TREES)
    fit_score = np.asarray(booster.predict(rows))
    test_score = np.asarray(booster.predict(subject.test.rows))
    return {
        "AUC, training rows": auc(fit_score, label, fit_weight),
        "AUC, unseen rows": auc(
            test_score,
            subject.test.label,
            subject.test.weight,
        ),
    }


def faithfulness(subject: ModelUnderTest) -> Section:
    """Show whether contributions add up and reasons name what matters."""
    model = subject.model
    rows = subject.test.rows
    error = additive_error(model, rows[:EXPLAINED])
    share = faithful_share(model, riskiest(model, rows), subject.seed)
    is_faithful = error < LARGEST_ERROR and share >= FAITHFUL
    return Section(
        id="faithfulness",
        title="Faithfulness of explanations",
        verdict="good" if is_faithful else "bad",
        summary=f"Base and contributions add up to the margin within {error:.1e} of "
        f"its size. For {share:.0%} of the riskiest rows ({FAITHFUL:.0%} is required), "
        "setting the three features named in the reasons to typical values lowers the "
        "margin at least as much as setting three others.",
    )


def fairness(subject: ModelUnderTest) -> Section:
    """Show approvals by group of each forbidden attribute, and its proxies."""
    if not len(subject.forbidden.columns):
        return Section(
            id="fairness",
            title="Fairness",
            verdict="none",
            summary="No forbidden attribute is recorded, so fairness cannot be "
            "assessed: the model scores companies, or the attributes are not in the "
            "data.",
        )
    findings = _Fairness()
    for attribute in subject.forbidden:
        _examine_attribute(subject, str(attribute), findings)
    used = _forbidden_in_use(subject)
    verdict: Verdict = "good"
    if findings.unequal or findings.proxies or findings.too_small:
        verdict = "look"
    if used:
        verdict = "bad"
    return Section(
        id="fairness",
        title="Fairness",
        verdict=verdict,
        summary=_describe_use(subject, used) + _describe_fairness(findings),
        tables=tuple(findings.tables),
    )


@dataclass
class _Fairness:
    """What was found about each forbidden attribute."""

    tables: list[tuple[str, pd.DataFrame]] = field(default_factory=list)
    unequal: list[str] = field(default_factory=list)
    too_small: list[str] = field(default_factory=list)
    proxies: list[str] = field(default_factory=list)


def _examine_attribute(subject: ModelUnderTest, name: str, findings: _Fairness) -> None:
    groups = groups_of(subject.forbidden[name])
    if groups.nunique() < 2:
        findings.too_small.append(name)
        return
    is_unequal = False
    for approved in APPROVED:
        table = approvals(
            subject.test_pd,
            subject.test.label,
            groups,
            approved,
            subject.test.weight,
        )
        caption = f"{name}, {approved:.0%} of all rows approved"
        findings.tables.append((caption, table))
        is_unequal |= _misses_four_fifths(table)
    if is_unequal:
        findings.unequal.append(name)
    gini = _proxies_of(subject, groups)
    for column, value in gini[gini > PROXY].head(3).items():
        findings.proxies.append(f"{column} ({name}, {value:.2f})")
    caption = f"Columns that separate the groups of {name}, |Gini|"
    findings.tables.append((caption, gini.head(8).to_frame("|Gini|")))


def _misses_four_fifths(table: pd.DataFrame) -> bool:
    return len(table) > 1 and bool(table["four_fifths"].min() < FOUR_FIFTHS)


def _proxies_of(subject: ModelUnderTest, groups: pd.Series[str]) -> pd.Series[float]:
    encoding = subject.model.encoding
    categorical = encoding.categorical if encoding else ()
    return proxies(
        subject.test.rows,
        subject.model.features,
        categorical,
        groups,
    )


def _forbidden_in_use(subject: ModelUnderTest) -> list[str]:
    spec = subject.model.about.get("spec", {})
    return forbidden_used(
        subject.model, list(spec.get("table", {}).get("forbidden", []))
    )


def _describe_use(subject: ModelUnderTest, used: list[str]) -> str:
    attributes = ", ".join(str(name) for name in subject.forbidden)
    if used:
        return f"Forbidden attributes: {attributes}. The model reads {', '.join(used)}."
    return f"Forbidden attributes: {attributes}. The model reads none of them."


def _describe_fairness(findings: _Fairness) -> str:
    text = ""
    if findings.too_small:
        text += (
            f" Fairness cannot be assessed for {', '.join(findings.too_small)}: fewer "
            f"than two groups have {FEWEST} test rows."
        )
    if not findings.tables:
        return text
    if findings.unequal:
        text += f" The four-fifths rule is missed for {', '.join(findings.unequal)}."
    else:
        text += " The four-fifths rule is met for every group."
    if findings.proxies:
        return f"{text} Proxies: {', '.join(findings.proxies)}."
    return f"{text} No column is a proxy of an attribute."


def limits_of_use(subject: ModelUnderTest) -> Section:
    """Show the ranges learned, the horizon, and what the interval does not cover."""
    has_few_defaults = bool(subject.fit.label.sum() < FEW_DEFAULTS)
    summary = (
        f"The PD covers {subject.model.horizon_days} days, for rows like the training "
        "rows. A value outside the ranges below is scored as if it were the nearest "
        "value inside. The interval of a PD is that of the default rate at such a "
        "score, not that of a single customer."
    )
    if has_few_defaults:
        summary += (
            f" The training rows hold fewer than {FEW_DEFAULTS} defaults: use the "
            "prudent bounds by grade."
        )
    return Section(
        id="limits_of_use",
        title="Limits of use",
        verdict="look" if has_few_defaults else "good",
        summary=summary,
        tables=(("Ranges of the training rows", _ranges(subject).head(SHOWN)),),
    )


def _ranges(subject: ModelUnderTest) -> pd.DataFrame:
    fit = subject.fit.rows
    test = subject.test.rows
    lowest = np.nanmin(fit, axis=0, initial=np.inf)
    highest = np.nanmax(fit, axis=0, initial=-np.inf)
    is_outside = (test < lowest) | (test > highest)
    is_empty = np.isnan(fit).all(axis=0)
    table = pd.DataFrame(
        {
            "lowest": np.where(is_empty, np.nan, lowest),
            "highest": np.where(is_empty, np.nan, highest),
            "test rows outside": is_outside.mean(axis=0),
        },
        index=list(subject.model.features),
    )
    return table.sort_values("test rows outside", ascending=False)
