"""How good a PD is: discrimination, calibration, grades, stability.

Figures are given over all test rows, by segment and by vintage.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from obligor.arrays import Bools, Ints
from obligor.metrics.figures import auc, difference, psi, with_intervals
from obligor.metrics.significance import (
    area,
    by_grade,
    concentration,
    delong,
    hosmer_lemeshow,
    rate,
    risk_bins,
)
from obligor.metrics.slope import SlopeTest
from obligor.metrics.statistics import Interval, Resampling, effective_rows
from obligor.training.validation import plots
from obligor.training.validation.subject import (
    SLOPE_CONFIDENCE,
    ModelUnderTest,
    Section,
    Verdict,
)

STABLE = 0.1  # PSI below which a population is stable (Siddiqi 2006)
SHIFTED = 0.25  # PSI above which it has shifted
FEWEST = 100  # rows of a segment, or customers of a migration table
SHOWN = 15  # rows of a table
FEWEST_BINS = 3  # of a Hosmer-Lemeshow test
LEVEL = 0.05  # of the binomial test by grade, over the number of grades
CONCENTRATED = 0.5  # Herfindahl index of the grades above which a person should look
TOO_LOW = 1.5  # defaults over expected above which a segment's PDs are too low
SIGNIFICANT = 0.01  # and the p-value below which that is more than chance
DISCRIMINATION = (
    "auc",
    "gini",
    "ks",
    "brier",
    "brier_constant",
    "log_loss",
    "ece",
    "mean_pd",
    "default_rate",
)
VINTAGE = (
    "gini",
    "ks",
    "brier",
    "brier_constant",
    "log_loss",
    "calibration_slope",
    "ece",
)


def discrimination(subject: ModelUnderTest) -> Section:
    """Show how well the PD ranks, each figure with its interval."""
    figures = subject.figures
    values = [str(figures[name]) for name in DISCRIMINATION]
    table = pd.DataFrame({"value": values}, index=list(DISCRIMINATION))
    is_better = figures["brier"].value < figures["brier_constant"].value
    ranks = figures["auc"].low > 0.5
    curves = {"this model": subject.test_pd, **subject.peers}
    return Section(
        id="discrimination",
        title="Discrimination",
        verdict="good" if ranks and is_better else "bad",
        summary=f"The AUC is {figures['auc']}. The Brier score is "
        f"{'below' if is_better else 'NOT below'} that of a constant PD equal to the "
        "default rate.",
        tables=(("Unseen rows, 95% intervals over resampled customers", table),),
        pictures=(
            (
                "ROC curve",
                plots.roc(subject.test.label, curves, subject.test.weight),
            ),
            (
                "PDs by outcome",
                plots.scores(
                    subject.test_pd,
                    subject.test.label,
                    subject.test.weight,
                ),
            ),
        ),
    )


def benchmark(subject: ModelUnderTest) -> Section:
    """Compare with other models on the same rows: DeLong and paired bootstrap."""
    label = subject.test.label
    rows = {}
    better_peers = []
    for name, peer_pd in subject.peers.items():
        gap = difference(
            subject.test_pd,
            peer_pd,
            label,
            subject.resampling,
        )
        test = delong(
            subject.test_pd,
            peer_pd,
            label,
            subject.test.weight,
        )
        rows[name] = {
            "AUC": round(auc(peer_pd, label, subject.test.weight), 4),
            "AUC gain": str(_half(gap["gini"])),
            "DeLong": f"{test.difference:.4f} [{test.low:.4f}, {test.high:.4f}], "
            f"p = {test.p_value:.3g}",
            "Brier reduction": str(_negative(gap["brier"])),
        }
        if gap["gini"].high < 0:
            better_peers.append(name)
    if better_peers:
        summary = (
            f"This model ranks worse than {', '.join(better_peers)} by more than "
            "chance."
        )
    else:
        summary = "No other model ranks better than this one by more than chance."
    caption = (
        "This model against each of the others; paired bootstrap over customers "
        "(DeLong treats rows as independent)"
    )
    return Section(
        id="benchmark",
        title="Against other models on the same rows",
        verdict="look" if better_peers else "good",
        summary=summary,
        tables=((caption, pd.DataFrame(rows).T),),
    )


def calibration(subject: ModelUnderTest) -> Section:
    """Show whether 4% means 4%."""
    figures = subject.figures
    slope = subject.slope
    values = {
        "slope, bootstrap": str(figures["calibration_slope"]),
        "slope, profile likelihood": _describe_slope(slope),
        "intercept": str(figures["calibration_intercept"]),
        "ECE": str(figures["ece"]),
        "Hosmer-Lemeshow": _hosmer_lemeshow(subject),
        "mean PD over default rate": _level(figures),
    }
    includes_one = slope is not None and slope.includes_one
    includes = "includes" if includes_one else "does not include"
    summary = (
        f"The {SLOPE_CONFIDENCE:.0%} interval of the calibration slope {includes} 1. "
    )
    if slope is None:
        summary = "The slope cannot be estimated: all rows have the same outcome. "
    summary += f"The chosen calibration is {subject.model.calibration.kind}."
    losses = subject.model.about.get("calibration_losses", {})
    if losses:
        summary += f" Log loss on rows it had not seen: {_list_losses(losses)}."
    reliability = plots.reliability(
        subject.test_pd,
        subject.test.label,
        subject.test.weight,
    )
    return Section(
        id="calibration",
        title="Calibration",
        verdict="good" if includes_one else "bad",
        summary=summary,
        tables=(("Calibration", pd.DataFrame({"value": values})),),
        pictures=(("Reliability", reliability),),
    )


def _describe_slope(slope: SlopeTest | None) -> str:
    return "all rows have the same outcome" if slope is None else str(slope)


def _level(figures: Mapping[str, Interval]) -> str:
    default_rate = figures["default_rate"].value
    if not default_rate:
        return "no default"
    return f"{figures['mean_pd'].value / default_rate:.2f}"


def _hosmer_lemeshow(subject: ModelUnderTest) -> str:
    freedom = risk_bins(subject.test_pd, subject.test.weight)
    if freedom < FEWEST_BINS:
        return f"not tested: the PDs form only {freedom} bins, {FEWEST_BINS} are needed"
    statistic, p_value = hosmer_lemeshow(
        subject.test_pd,
        subject.test.label,
        subject.test.weight,
    )
    return f"{statistic:.1f} on {freedom} degrees of freedom, p = {p_value:.3g}"


def _list_losses(losses: Mapping[str, float]) -> str:
    return ", ".join(f"{kind} {loss:.5f}" for kind, loss in losses.items())


def grades(subject: ModelUnderTest) -> Section:
    """Compare PDs with default rates by grade; show how grades migrate."""
    grade = subject.grades(subject.test_pd)
    table = by_grade(
        grade,
        subject.test_pd,
        subject.test.label,
        subject.test.weight,
    )
    is_too_low = table["p_value"] < LEVEL / max(len(table), 1)
    too_low = [str(name) for name in table.index[is_too_low]]
    index = concentration(table["share"].to_numpy())
    summary = f"{len(table)} grades are in use; their Herfindahl index is {index:.2f}. "
    if too_low:
        summary += f"Defaults exceed what the PD allows in grade {', '.join(too_low)}."
    else:
        summary += (
            "No grade has more defaults than its PD allows (binomial test at 5%, "
            "divided by the number of grades)."
        )
    horizon = subject.model.horizon_days
    if horizon != 365:
        summary += (
            f" Grades are assigned by the PD over 12 months; defaults are counted over "
            f"{horizon} days."
        )
    tables = [("By grade of the master scale", table)]
    migration = _migration(subject, grade)
    if migration is not None:
        caption = (
            "From the first to the last test month, share of each grade's customers"
        )
        tables.append((caption, migration))
    return Section(
        id="grades",
        title="Grades",
        verdict="look" if too_low or index > CONCENTRATED else "good",
        summary=summary,
        tables=tuple(tables),
    )


def _migration(subject: ModelUnderTest, grade: Ints) -> pd.DataFrame | None:
    """Shares of each grade's customers by their grade in the last month.

    None if too few customers are in both the first and the last month.
    """
    if not subject.vintages:
        return None
    first = _grade_by_customer(subject, grade, subject.vintages[0])
    last = _grade_by_customer(subject, grade, subject.vintages[-1])
    customers = sorted(first.keys() & last.keys())
    if len(customers) < FEWEST:
        return None
    return pd.crosstab(
        pd.Series([first[customer] for customer in customers], name="from"),
        pd.Series([last[customer] for customer in customers], name="to"),
        normalize="index",
    )


def _grade_by_customer(
    subject: ModelUnderTest, grade: Ints, month: str
) -> dict[int, int]:
    """Return the grade of each customer on its last date in a month."""
    is_inside = subject.months == month
    customers = subject.test.groups[is_inside].tolist()
    return dict(zip(customers, grade[is_inside].tolist(), strict=True))


def stability(subject: ModelUnderTest) -> Section:
    """Show how far scores and columns have moved from the training rows."""
    table = _psi_table(subject)
    score_psi = float(table["all"].iloc[0])
    columns = table["all"].iloc[1:]
    shifted = [str(name) for name in columns.index[columns > SHIFTED]]
    verdict: Verdict = "good"
    if shifted or score_psi > STABLE:
        verdict = "look"
    if score_psi > SHIFTED:
        verdict = "bad"
    summary = (
        f"The PSI of the PD is {score_psi:.3f} (below {STABLE} is stable, above "
        f"{SHIFTED} has shifted). "
    )
    if shifted:
        summary += f"Shifted columns ({len(shifted)}): {', '.join(shifted[:8])}."
    else:
        summary += "No column has shifted."
    return Section(
        id="stability",
        title="Stability",
        verdict=verdict,
        summary=summary,
        tables=(("PSI against the training rows", table.head(SHOWN + 1)),),
        pictures=(("Population stability", plots.psi_bars(columns, score_psi)),),
    )


def _psi_table(subject: ModelUnderTest) -> pd.DataFrame:
    """PSI of the PD, then of each column; over all test rows and by month."""
    everywhere: Bools = np.ones(len(subject.test_pd), dtype=bool)
    is_inside = {"all": everywhere}
    for month in subject.vintages:
        is_inside[month] = subject.months == month
    encoding = subject.model.encoding
    categories = encoding.categorical if encoding else ()
    by_month = {}
    for month, inside in is_inside.items():
        weight = subject.test.weight
        inside_weight = None if weight is None else weight[inside]
        score_psi = psi(
            subject.fit_pd,
            subject.test_pd[inside],
            expected_weight=subject.fit.weight,
            actual_weight=inside_weight,
        )
        moved = {"the PD": score_psi}
        for index, name in enumerate(subject.model.features):
            before = subject.fit.rows[:, index]
            after = subject.test.rows[inside, index]
            moved[name] = psi(
                before,
                after,
                is_category=index in categories,
                expected_weight=subject.fit.weight,
                actual_weight=inside_weight,
            )
        by_month[month] = moved
    table = pd.DataFrame(by_month)
    columns = table.iloc[1:].sort_values("all", ascending=False)
    return pd.concat([table.iloc[:1], columns])


def segments(subject: ModelUnderTest) -> Section:
    """Show the figures of each segment that has enough rows."""
    table = pd.DataFrame(_segment_rows(subject)).T
    if table.empty:
        return Section(
            id="segments",
            title="By segment",
            verdict="none",
            summary="No segment has enough rows with both outcomes.",
        )
    is_too_low = (table["defaults over expected"] > TOO_LOW) & (
        table["p-value"] < SIGNIFICANT
    )
    too_low = [str(name) for name in table.index[is_too_low]]
    if too_low:
        summary = f"PDs are too low in {', '.join(too_low[:5])}."
    else:
        summary = "No segment defaults much more often than its PDs predict."
    return Section(
        id="segments",
        title="By segment",
        verdict="look" if too_low else "good",
        summary=summary,
        tables=(("Segments", table),),
    )


def _segment_rows(subject: ModelUnderTest) -> dict[str, dict[str, object]]:
    rows = {}
    for name in subject.segments:
        by_value = subject.segments.groupby(str(name), observed=True)
        for value, row_indices in by_value.indices.items():
            label = subject.test.label[row_indices]
            if len(label) >= FEWEST and 0 < label.sum() < len(label):
                indices = np.asarray(row_indices, dtype=np.int64)
                rows[f"{name} = {value}"] = _segment_row(subject, indices)
    return rows


def _segment_row(subject: ModelUnderTest, row_indices: Ints) -> dict[str, object]:
    pd_ = subject.test_pd[row_indices]
    label = subject.test.label[row_indices]
    weight = subject.test.weight
    weights = np.ones(len(label)) if weight is None else weight[row_indices]
    total = weights.sum()
    mean_pd = float((weights * pd_).sum() / total)
    default_rate = float((weights * label).sum() / total)
    n_effective = effective_rows(weights)
    constant = np.full(len(label), mean_pd)
    _, p_value = hosmer_lemeshow(constant, label, weights)
    return {
        "rows": len(label),
        "defaults": int(label.sum()),
        "mean PD": mean_pd,
        "default rate": str(rate(default_rate * n_effective, n_effective)),
        "defaults over expected": round(default_rate / mean_pd, 4),
        "p-value": round(p_value, 4),
        "AUC": str(area(pd_, label, weights)),
    }


def vintages(subject: ModelUnderTest) -> Section:
    """Show the figures of each month on its own."""
    columns = {}
    for month in subject.vintages:
        is_inside = subject.months == month
        label = subject.test.label[is_inside]
        if 0 < label.sum() < len(label):
            columns[month] = _vintage_column(subject, is_inside)
    if len(columns) < 2:
        return Section(
            id="vintages",
            title="By vintage",
            verdict="none",
            summary="The rows have no dates, or only one month has both outcomes, so "
            "vintages cannot be compared.",
        )
    return Section(
        id="vintages",
        title="By vintage",
        verdict="good",
        summary=f"{len(columns)} months have both outcomes.",
        tables=(("By vintage", pd.DataFrame(columns)),),
    )


def _vintage_column(subject: ModelUnderTest, is_inside: Bools) -> dict[str, str]:
    n = int(is_inside.sum())
    weight = subject.test.weight
    groups = pd.factorize(subject.test.groups[is_inside])[0].astype(np.int64)
    resampling = Resampling(
        groups,
        subject.rounds,
        subject.seed,
        None if weight is None else weight[is_inside],
    )
    figures = with_intervals(
        subject.test_pd[is_inside],
        subject.test.label[is_inside],
        resampling,
    )
    column = {"rows": str(n)}
    for name in VINTAGE:
        column[name] = str(figures[name])
    return column


def _half(gap: Interval) -> Interval:
    """An interval of a Gini as that of an AUC."""
    return Interval(gap.value / 2, gap.low / 2, gap.high / 2)


def _negative(gap: Interval) -> Interval:
    return Interval(-gap.value, -gap.high, -gap.low)
