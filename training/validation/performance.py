"""How good a PD is: discrimination, calibration, grades, stability; over all rows, by segment and by vintage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from obligor.arrays import Floats, Ints
from obligor.training.metrics.figures import auc, difference, psi, with_intervals
from obligor.training.metrics.significance import (
    area,
    by_grade,
    concentration,
    delong,
    hosmer_lemeshow,
    rate,
)
from obligor.training.metrics.statistics import Interval, Resampling
from obligor.training.validation import plots
from obligor.training.validation.subject import ModelUnderTest, Section, Verdict

STABLE, SHIFTED, FEWEST, SHOWN = 0.1, 0.25, 100, 15


def discrimination(case: ModelUnderTest, pd_: Floats) -> Section:
    """How well the PD ranks, each figure with its interval."""
    found = case.figures
    shown = (
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
    table = pd.DataFrame(
        {"value": [str(found[name]) for name in shown]}, index=list(shown)
    )
    good = (
        found["auc"].low > 0.5 and found["brier"].value < found["brier_constant"].value
    )
    says = (
        f"AUC {found['auc']}; the Brier score is {'below' if good else 'NOT below'} that of always answering the "
        "default rate."
    )
    return Section(
        "discrimination",
        "Discrimination",
        "good" if good else "bad",
        says,
        (("On rows not seen, 95% intervals over resampled customers", table),),
        (
            (
                "ROC curve",
                plots.roc(case.test.label, {"this model": pd_, **case.peers}),
            ),
            ("PDs by what happened", plots.scores(pd_, case.test.label)),
        ),
    )


def benchmark(case: ModelUnderTest, pd_: Floats) -> Section:
    """The model against others on the same rows: DeLong and the paired bootstrap."""
    rows, worse = {}, []
    for name, peer in case.peers.items():
        gap = difference(
            pd_,
            peer,
            case.test.label,
            Resampling(case.test.groups, case.rounds, case.seed),
        )
        test = delong(pd_, peer, case.test.label)
        rows[name] = {
            "AUC": round(auc(peer, case.test.label), 4),
            "AUC of this model more by": str(_half(gap["gini"])),
            "DeLong": f"{test.difference:.4f} [{test.low:.4f}, {test.high:.4f}], p = {test.p_value:.3g}",
            "Brier less by": str(_minus(gap["brier"])),
        }
        if gap["gini"].high < 0:
            worse.append(name)
    says = (
        f"Worse than {', '.join(worse)} by more than chance."
        if worse
        else "No other model ranks better by more \
than chance."
    )
    caption = "Paired bootstrap over customers; DeLong takes rows as independent"
    return Section(
        "benchmark",
        "Against other models on the same rows",
        "look" if worse else "good",
        says,
        ((caption, pd.DataFrame(rows).T),),
    )


def calibration(case: ModelUnderTest, pd_: Floats) -> Section:
    """Whether 4% means 4%."""
    found = case.figures
    slope, intercept = found["calibration_slope"], found["calibration_intercept"]
    statistic, p_value = hosmer_lemeshow(pd_, case.test.label)
    level = found["mean_pd"].value / max(found["default_rate"].value, 1e-9)
    test = f"{statistic:.1f}, p = {p_value:.3g}"
    values = [str(slope), str(intercept), str(found["ece"]), test, f"{level:.2f}"]
    table = pd.DataFrame(
        {"value": values},
        index=[
            "slope",
            "intercept",
            "ECE",
            "Hosmer-Lemeshow",
            "mean PD over default rate",
        ],
    )
    good = slope.low <= 1 <= slope.high
    losses = case.model.about.get("calibration_losses", {})
    says = (
        f"The interval of the slope {'holds' if good else 'does NOT hold'} 1. The map is "
        f"{case.model.calibration.kind}"
        + (
            f", of {_losses(losses)} (log loss on rows it had not seen)."
            if losses
            else "."
        )
    )
    return Section(
        "calibration",
        "Calibration",
        "good" if good else "bad",
        says,
        (("Calibration", table),),
        (("Reliability", plots.reliability(pd_, case.test.label)),),
    )


def grades(case: ModelUnderTest, pd_: Floats) -> Section:
    """PDs against default rates grade by grade, concentration, and how grades migrate between periods."""
    found = case.grades(pd_)
    table = by_grade(found, pd_, case.test.label)
    low = [
        str(grade)
        for grade in table.index[(table["p_value"] < 0.05 / max(len(table), 1))]
    ]
    index = concentration(table["share"].to_numpy())
    says = f"{len(table)} grades are in use, Herfindahl {index:.2f}. " + (
        f"Grade {', '.join(low)} shows more defaults than its PD allows."
        if low
        else "No grade shows more defaults than its PD allows (binomial, .05 over the number of grades)."
    )
    if case.model.horizon_days != 365:
        says += f" Grades are of the PD over 12 months, defaults over {case.model.horizon_days} days."
    tables = [("By grade of the master scale", table)]
    migration = _migration(case, found)
    if migration is not None:
        tables.append(
            (
                "From the first to the last test period, share of each grade's customers",
                migration,
            )
        )
    return Section(
        "grades",
        "Grades",
        "look" if low or index > 0.5 else "good",
        says,
        tuple(tables),
    )


def stability(case: ModelUnderTest, pd_: Floats) -> Section:
    """How far scores and columns have moved from the rows learnt, over all and by period."""
    periods = {"all": np.ones(len(pd_), dtype=bool)}
    periods |= {str(period): case.test.periods == period for period in case.periods()}
    found = {}
    for period, inside in periods.items():
        columns = {
            name: psi(case.fit.rows[:, place], case.test.rows[inside, place])
            for place, name in enumerate(case.model.features)
        }
        found[period] = {"the PD": psi(case.fit_pd, pd_[inside]), **columns}
    table = pd.DataFrame(found)
    table = pd.concat(
        [table.iloc[:1], table.iloc[1:].sort_values("all", ascending=False)]
    )
    score, moved = (
        table.iloc[0]["all"],
        list(table.index[1:][table["all"].iloc[1:] > SHIFTED]),
    )
    verdict: Verdict = (
        "bad" if score > SHIFTED else "look" if moved or score > STABLE else "good"
    )
    says = (
        f"PSI of the PD {score:.3f} (below {STABLE} is stable, above {SHIFTED} has shifted); {len(moved)} columns "
        f"have shifted{': ' + ', '.join(moved[:8]) if moved else ''}."
    )
    return Section(
        "stability",
        "Stability",
        verdict,
        says,
        (("PSI against the rows learnt", table.head(SHOWN + 1)),),
        (("Population stability", plots.psi_bars(table["all"].iloc[1:], score)),),
    )


def segments(case: ModelUnderTest, pd_: Floats) -> Section:
    """The figures of each segment that has enough rows."""
    rows, off = {}, []
    for name in case.segments:
        for value, places in case.segments.groupby(
            str(name), observed=True
        ).indices.items():
            label = case.test.label[places]
            if len(places) < FEWEST or not 0 < label.sum() < len(label):
                continue
            rows[f"{name} = {value}"] = found = _segment(pd_[places], label)
            if found["defaults over expected"] > 1.5 and found["p-value"] < 0.01:
                off.append(f"{name} = {value}")
    if not rows:
        return Section(
            "segments",
            "By segment",
            "none",
            "No segment has enough rows with both outcomes.",
        )
    says = (
        f"PDs are too low in {', '.join(off[:5])}."
        if off
        else "No segment defaults much more than its PDs say."
    )
    return Section(
        "segments",
        "By segment",
        "look" if off else "good",
        says,
        (("Segments", pd.DataFrame(rows).T),),
    )


def vintages(case: ModelUnderTest, pd_: Floats) -> Section:
    """The figures of each period on its own."""
    columns = {}
    for period in case.periods():
        inside = case.test.periods == period
        if 0 < case.test.label[inside].sum() < inside.sum():
            found = with_intervals(
                pd_[inside],
                case.test.label[inside],
                Resampling(np.arange(inside.sum()), case.rounds, case.seed),
            )
            columns[str(period)] = {"rows": str(inside.sum())} | {
                name: str(found[name])
                for name in (
                    "gini",
                    "ks",
                    "brier",
                    "brier_constant",
                    "log_loss",
                    "calibration_slope",
                    "ece",
                )
            }
    if len(columns) < 2:
        says = "The rows have no dates, or one period alone: nothing can be said about vintages."
        return Section("vintages", "By vintage", "none", says)
    return Section(
        "vintages",
        "By vintage",
        "good",
        f"{len(columns)} periods, each with both outcomes.",
        (("By vintage", pd.DataFrame(columns)),),
    )


def _half(gap: Interval) -> Interval:
    return Interval(gap.value / 2, gap.low / 2, gap.high / 2)


def _minus(gap: Interval) -> Interval:
    return Interval(-gap.value, -gap.high, -gap.low)


def _losses(losses: Mapping[str, Any]) -> str:
    return ", ".join(f"{kind} {loss:.5f}" for kind, loss in losses.items())


def _migration(case: ModelUnderTest, grade: Ints) -> pd.DataFrame | None:
    """Shares of each grade's customers by their grade in the last period; None where nobody is in both."""
    periods = case.periods()
    if not periods:
        return None
    first, last = (
        dict(
            zip(case.test.groups[inside].tolist(), grade[inside].tolist(), strict=True)
        )
        for inside in (
            case.test.periods == period for period in (periods[0], periods[-1])
        )
    )
    both = sorted(first.keys() & last.keys())
    if len(both) < FEWEST:
        return None
    return pd.crosstab(
        pd.Series([first[one] for one in both], name="from"),
        pd.Series([last[one] for one in both], name="to"),
        normalize="index",
    )


def _segment(pd_: Floats, label: Ints) -> dict[str, Any]:
    expected, n = float(pd_.sum()), len(label)
    p_value = hosmer_lemeshow(np.full(n, expected / n), label)[1]
    return {
        "rows": n,
        "defaults": int(label.sum()),
        "mean PD": expected / n,
        "default rate": str(rate(int(label.sum()), n)),
        "defaults over expected": round(float(label.sum()) / expected, 4),
        "p-value": round(p_value, 4),
        "AUC": str(area(pd_, label)),
    }
