"""What a model does and on what data: columns, leaks, sensitivity, overfitting, explanations, fairness, limits."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pandas as pd

from obligor.arrays import Floats
from obligor.training.metrics.figures import auc
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
    monotone_violations,
    partial_dependence,
    riskiest,
)
from obligor.training.validation.subject import ModelUnderTest, Section, Verdict

TOO_GOOD, SHOWN, DRAWN = 0.9, 15, 500
CURVE = (
    0.1,
    0.25,
    0.5,
    1.0,
)  # shares of the training rows that the learning curve is drawn at


def data_quality(case: ModelUnderTest, pd_: Floats) -> Section:
    """What the columns hold: missing values, and columns that say next to nothing."""
    fit, test = case.fit, case.test
    found = pd.DataFrame(
        {
            "missing, learnt": np.isnan(fit.rows).mean(axis=0),
            "missing, test": np.isnan(test.rows).mean(axis=0),
            "distinct values": [
                len(np.unique(column[~np.isnan(column)])) for column in fit.rows.T
            ],
            "median": _medians(fit.rows),
        },
        index=list(case.model.features),
    )
    moved = (found["missing, learnt"] - found["missing, test"]).abs()
    empty = list(found.index[found["missing, learnt"] > 0.95])
    twice = int(pd.DataFrame(fit.rows).assign(label=fit.label).duplicated().sum())
    says = (
        f"{len(fit.label):,} rows learnt ({fit.label.sum():,} defaults), {len(test.label):,} tested "
        f"({test.label.sum():,}). {twice:,} learnt rows are there twice. {len(empty)} columns are empty in more "
        f"than 95% of the rows{': ' + ', '.join(empty[:8]) if empty else ''}."
    )
    bad = moved.max() > 0.2
    says += (
        f" The share of missing values of {moved.idxmax()} moved by {moved.max():.0%}."
        if bad
        else ""
    )
    if case.notes:
        says += " " + "; ".join(case.notes) + "."
    order = (
        found.assign(moved=moved)
        .sort_values(["moved", "missing, learnt"], ascending=False)
        .drop(columns="moved")
    )
    return Section(
        "data_quality",
        "Data quality",
        "look" if bad else "good",
        says,
        (("The columns whose gaps moved most, or are widest", order.head(SHOWN)),),
    )


def leakage(case: ModelUnderTest, pd_: Floats) -> Section:
    """Whether any column alone, or its being missing, tells the outcome too well."""
    found = {}
    for place, name in enumerate(case.model.features):
        column = case.fit.rows[:, place]
        gap = np.isnan(column).astype(np.float64)
        found[name] = {
            "AUC alone": _either_way(
                np.nan_to_num(column, nan=np.nanmin(column, initial=0.0) - 1), case
            ),
            "AUC of being missing": _either_way(gap, case),
        }
    table = pd.DataFrame(found).T.sort_values("AUC alone", ascending=False)
    names = [str(name) for name in table.index]
    suspects = list(table.index[(table > TOO_GOOD).any(axis=1)])
    if suspects:
        says = f"{', '.join(suspects)} rank above {TOO_GOOD} alone: known only after the outcome?"
    else:
        best = float(table["AUC alone"].iloc[0])
        says = f"No column alone ranks with an AUC above {TOO_GOOD}; the best is {names[0]} with {best:.3f}."
    return Section(
        "leakage",
        "Leakage probes",
        "bad" if suspects else "good",
        says,
        (("Each column alone on the learnt rows", table.head(SHOWN)),),
    )


def sensitivity(case: ModelUnderTest, pd_: Floats) -> Section:
    """Which columns move the PD and how; whether any moves it against its direction."""
    model, names = case.model, case.model.features
    contributions, _ = model.explain(case.test.rows[:2000])
    weight = pd.Series(
        np.abs(contributions).mean(axis=0), index=list(names)
    ).sort_values(ascending=False)
    found = monotone_violations(model, case.test.rows)
    directed = sum(direction != 0 for direction in directions_of(model))
    against = ", ".join(f"{one.feature} by {one.worst:.3g}" for one in found[:5])
    says = f"{directed} columns have a direction; moved along their whole grid " + (
        f"{len(found)} go against it: {against}"
        if found
        else "no margin goes against it."
    )
    curves = {
        name: partial_dependence(model, case.test.rows, names.index(name))
        for name in weight.index[:6]
    }
    table = pd.DataFrame({"mean |contribution|, log-odds": weight.head(SHOWN)})
    return Section(
        "sensitivity",
        "Sensitivity",
        "bad" if found else "good",
        says,
        (("What moves the PD", table),),
        (
            ("Partial dependence", plots.dependence(curves)),
            ("Contributions", plots.beeswarm(model, case.test.rows[:DRAWN])),
        ),
    )


def overfitting(case: ModelUnderTest, pd_: Floats) -> Section:
    """Whether more rows would help, and how far learnt rows flatter."""
    draw, found = np.random.default_rng(case.seed), {}
    for share in CURVE:
        chosen = np.isin(
            case.fit.groups,
            draw.permutation(np.unique(case.fit.groups))[: _at_least(share, case)],
        )
        if not 0 < case.fit.label[chosen].sum() < chosen.sum():
            continue
        learnt = lgb.Dataset(
            case.fit.rows[chosen], case.fit.label[chosen], params={"verbose": -1}
        )
        booster = lgb.train(
            {
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
                "monotone_constraints": list(directions_of(case.model)),
            },
            learnt,
            150,
        )
        found[int(chosen.sum())] = {
            "AUC, rows learnt": auc(
                np.asarray(booster.predict(case.fit.rows[chosen])),
                case.fit.label[chosen],
            ),
            "AUC, rows not seen": auc(
                np.asarray(booster.predict(case.test.rows)), case.test.label
            ),
        }
    curve = pd.DataFrame(found).T
    held, own = auc(case.fit_pd, case.fit.label), auc(pd_, case.test.label)
    says = (
        f"This model: AUC {held:.3f} on learnt rows by fits that had not seen them, {own:.3f} on the test rows. "
        "The curve is LightGBM's with fixed parameters on growing shares of the rows."
    )
    return Section(
        "overfitting",
        "Overfitting",
        "look" if held - own > 0.05 else "good",
        says,
        (("Learning curve", curve),),
        (("Learning curve", plots.learning_curve(curve)),),
    )


def faithfulness(case: ModelUnderTest, pd_: Floats) -> Section:
    """Whether contributions add up, and whether the features named are those that matter."""
    error = additive_error(case.model, case.test.rows[:2000])
    share = faithful_share(case.model, riskiest(case.model, case.test.rows), case.seed)
    good = error < 1e-9 and share >= FAITHFUL
    says = (
        f"Base and contributions give the margin within {error:.1e} of its size. For {share:.0%} of the riskiest "
        f"rows setting the three features named to typical values lowers the margin at least as much as setting as "
        f"many others ({FAITHFUL:.0%} asked)."
    )
    return Section(
        "faithfulness", "Faithfulness of explanations", "good" if good else "bad", says
    )


def fairness(case: ModelUnderTest, pd_: Floats) -> Section:
    """Approvals by group of what is forbidden, and the columns that stand in for it."""
    spec = case.model.about.get("spec", {})
    named = list(spec.get("table", {}).get("forbidden", []))
    used = forbidden_used(case.model, named)
    if case.forbidden.empty or not len(case.forbidden.columns):
        says = (
            "No forbidden attribute is known, so nothing can be said about fairness; companies are scored, or the \
attributes are not recorded."
        )
        return Section("fairness", "Fairness", "none", says)
    tables, low, tell, few = [], set[str](), [], []
    encoding = case.model.encoding
    for name in case.forbidden:
        groups = groups_of(case.forbidden[name])
        if groups.nunique() < 2:
            few.append(str(name))
            continue
        for approved in APPROVED:
            found = approvals(pd_, case.test.label, groups, approved)
            tables.append((f"{name}, {approved:.0%} of all approved", found))
            if len(found) > 1 and found["four_fifths"].min() < FOUR_FIFTHS:
                low.add(str(name))
        proxy = proxies(
            case.test.rows,
            case.model.features,
            encoding.categorical if encoding else (),
            groups,
        )
        tell += [
            f"{column} ({name}, {gini:.2f})"
            for column, gini in proxy[proxy > PROXY].head(3).items()
        ]
        tables.append(
            (f"Columns that tell {name}, |Gini|", proxy.head(8).to_frame("|Gini|"))
        )
    says = (
        f"Held out: {', '.join(map(str, case.forbidden))}; read by the model: {', '.join(used) or 'none'}. "
        + (
            f"Nothing can be said about {', '.join(few)}: no two groups of {FEWEST} test rows. "
            if few
            else ""
        )
    )
    if tables:
        says += (
            f"Four fifths are missed for {', '.join(sorted(low))}. "
            if low
            else "Four fifths hold everywhere. "
        )
        says += (
            f"They are told by {', '.join(tell)}."
            if tell
            else "No column tells an attribute."
        )
    verdict: Verdict = "bad" if used else "look" if low or tell or few else "good"
    return Section("fairness", "Fairness", verdict, says.strip(), tuple(tables))


def limits_of_use(case: ModelUnderTest, pd_: Floats) -> Section:
    """Where the model has not been: ranges it learnt, horizons, and what its interval does not cover."""
    few = case.fit.label.sum() < 200
    says = (
        f"The PD is over {case.model.horizon_days} days, for rows like those learnt; values outside the ranges "
        "below are answered as if they lay at their ends. The interval of a PD is that of the default rate at such "
        "a score, not of one customer."
    )
    says += (
        " Fewer than 200 defaults were learnt from: take the prudent bounds by grade."
        if few
        else ""
    )
    ends = pd.DataFrame(
        {
            "lowest": np.nanmin(case.fit.rows, axis=0, initial=np.inf),
            "highest": np.nanmax(case.fit.rows, axis=0, initial=-np.inf),
        },
        index=list(case.model.features),
    )
    outside = (
        (case.test.rows < ends["lowest"].to_numpy())
        | (case.test.rows > ends["highest"].to_numpy())
    ).mean(axis=0)
    table = ends.assign(**{"test rows outside": outside}).sort_values(
        "test rows outside", ascending=False
    )
    return Section(
        "limits_of_use",
        "Limits of use",
        "look" if few else "good",
        says,
        (("Ranges", table.head(SHOWN)),),
    )


def _medians(rows: Floats) -> list[float]:
    return [
        float(np.median(column[~np.isnan(column)]))
        if (~np.isnan(column)).any()
        else np.nan
        for column in rows.T
    ]


def _either_way(column: Floats, case: ModelUnderTest) -> float:
    area = auc(column, case.fit.label)
    return max(area, 1 - area)


def _at_least(share: float, case: ModelUnderTest) -> int:
    return max(int(share * len(np.unique(case.fit.groups))), 2)
