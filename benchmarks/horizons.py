"""Whether the PD holds at each horizon, and whether its level holds out of time.

    python benchmarks/horizons.py [--only us|simulator] [--customers N] [--json]

The simulator: a model is tested a year after its last training date, within 91, 182 and
365 days, overall and by days past due, before and after the level step.

The US ledger (read from ../shared/data): "any invoice due in the next 90 days paid more
than 30 days late", tested from three later days, before and after the level step; the
same for the next 30 days, whose outcome is known sooner. Nine months are too short for
half a year between training and test, so the PD within 91 and 182 days is tested on
later dates of other customers instead.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd

from benchmarks.bars import bar, report
from obligor.data.ledger import Ledger
from obligor.data.synthetic import simulate_ledger
from obligor.metrics.figures import figures
from obligor.model.pd_model import PdModel
from obligor.reading.sources import read_ledger
from obligor.training.candidates.fit import fit_model
from obligor.training.runs.ledger_run import leveled
from obligor.training.samples.config import TrainingConfig, read_config
from obligor.training.samples.labels import default_events
from obligor.training.samples.outcomes import known_outcomes
from obligor.training.samples.sample import (
    Sample,
    Split,
    build_sample,
    features_taken,
    rows_on,
)
from obligor.training.validation.horizons import (
    LEVEL,
    SLOPES,
    HorizonCheck,
    WatchedRows,
    check_horizons,
)

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
US = "receivables_us_2019"
TODAY = date(2026, 1, 1)
FIRST = date(2019, 1, 8)  # 30 days after the ledger begins


class Windows(NamedTuple):
    """Test windows of one horizon: their first days, and the gap before them."""

    horizon_days: int
    starts: tuple[date, ...]
    last: date  # the last Sunday whose outcome is known
    gap: timedelta


QUARTER = Windows(
    90,
    (date(2019, 5, 5), date(2019, 5, 19), date(2019, 6, 2)),
    date(2019, 6, 2),
    timedelta(days=90),
)
MONTH = Windows(
    30,
    (date(2019, 6, 16), date(2019, 6, 30), date(2019, 7, 14)),
    date(2019, 8, 1),
    timedelta(days=60),  # what is due on the last day is late 30 days later
)
WINDOW = timedelta(days=14)  # three Sundays
HALF_YEAR = {
    "seed": 7,
    "default": {"dpd_days": 30, "materiality": 0.0, "horizon_days": 182},
    "sample": {"grid": "week", "min_history_days": 30},
}
LEARNT_UNTIL = date(2019, 2, 24)
TESTED_FROM = date(2019, 3, 3)
TESTED_UNTIL = date(2019, 3, 31)
MONTHS = 42


def simulator_bars(n_customers: int) -> list[dict[str, object]]:
    """Test a model of the simulator at each horizon, before and after the level."""
    simulation = simulate_ledger(n_customers, MONTHS, seed=1)
    config = TrainingConfig()
    split = build_sample(simulation.ledger, config)
    fit = fit_model(split.train, config)
    after = leveled(fit, simulation.ledger, config, split).model
    watched = watched_rows(split.test)
    print_checks("simulator, before the level step", check_horizons(fit.model, watched))
    checks = check_horizons(after, watched)
    print_checks(f"simulator, level {described(after)}", checks)
    return bars_of("simulator", checks)


def watched_rows(test: Sample) -> WatchedRows:
    """Return test rows as `check_horizons` takes them."""
    return WatchedRows(test.features.to_numpy(), test.customers, test.days_to_default)


def described(model: PdModel) -> str:
    """Return the level step of a model in a few words."""
    level = model.about.get("level")
    if not level:
        return "none"
    return (
        f"{level['shift']:+.3f} [{level['low']:+.3f}, {level['high']:+.3f}] log-odds, "
        f"{level['by_data_alone']:+.3f} by the data alone"
    )


def print_checks(title: str, checks: Sequence[HorizonCheck]) -> None:
    """Print a line for each horizon and range of days past due."""
    print(f"\n{title}")
    for check in checks:
        slope = f"{check.slope.slope:.2f}" if check.slope else "too few defaults"
        ratio = "none" if not check.defaults else f"{ratio_of(check):.2f}"
        print(
            f"  {check.days:>3} days, {check.bucket:<24} {check.rows:>6,} rows "
            f"{check.defaults:>5,} defaults, mean PD over rate {ratio:>5}, "
            f"slope {slope}"
        )


def ratio_of(check: HorizonCheck) -> float:
    """Return the mean PD over the default rate."""
    return check.expected / check.defaults


def bars_of(name: str, checks: Sequence[HorizonCheck]) -> list[dict[str, object]]:
    """Return the worst ratio and slope of each horizon, among those that are judged."""
    bars = []
    for days in sorted({check.days for check in checks}):
        judged = [check for check in checks if check.days == days and check.is_judged]
        ratios = [ratio_of(check) for check in judged if check.defaults]
        worst = max(ratios, key=lambda ratio: abs(ratio - 1))
        holds = abs(worst - 1) <= LEVEL
        bars.append(bar(f"{name}: {days} days, mean PD over rate", worst, 1, holds))
        everyone = next(check for check in judged if check.bucket == "all")
        assert everyone.slope is not None
        slope = everyone.slope.slope
        holds = SLOPES[0] <= slope <= SLOPES[1]
        bars.append(bar(f"{name}: {days} days, slope", slope, 1, holds))
        slopes = [check.slope.slope for check in judged if check.slope]
        worst = max(slopes, key=lambda slope: abs(slope - 1))
        holds = SLOPES[0] <= worst <= SLOPES[1]
        bars.append(
            bar(f"{name}: {days} days, slope by days past due", worst, 1, holds)
        )
    return bars


def us_ledger() -> Ledger:
    """Return the US ledger."""
    return read_ledger(SAMPLES / f"{US}.toml", today=TODAY).require()


def us_level_bars(windows: Windows) -> list[dict[str, object]]:
    """Test the level of the PD from three later days."""
    ledger = us_ledger()
    base = read_config(SAMPLES / f"{US}_config.toml")
    horizon = {"horizon_days": windows.horizon_days}
    default = base.default.model_copy(update=horizon)
    config = base.model_copy(update={"default": default})
    rows = sundays(ledger, config, windows.last)
    bars = []
    for start in windows.starts:
        of_window = (rows["as_of"] >= start) & (rows["as_of"] <= start + WINDOW)
        learnt = rows["as_of"] <= start - windows.gap
        split = Split(Sample(rows[learnt]), Sample(rows[of_window]))
        bars += us_window(ledger, config, split)
    return bars


def us_window(
    ledger: Ledger, config: TrainingConfig, split: Split
) -> list[dict[str, object]]:
    """Return the bars of one window."""
    start = min(split.test.rows["as_of"])
    fit = fit_model(split.train, config)
    after = leveled(fit, ledger, config, split).model
    matrix = split.test.features.to_numpy()
    label = split.test.label
    horizon = config.default.horizon_days
    title = f"US, next {horizon} days, from {start}"
    print(f"\n{title}: {len(label):,} rows, level {described(after)}")
    measured = {}
    for name, model in (("before", fit.model), ("after", after)):
        measured[name] = figures(model.predict_pd(matrix), label)
        of = measured[name]
        print(
            f"  {name:<7} mean PD {of['mean_pd']:.4f}, rate {of['default_rate']:.4f}, "
            f"Brier {of['brier']:.4f}, constant {of['brier_constant']:.4f}, slope "
            f"{of['calibration_slope']:.2f}, AUC {of['auc']:.4f}"
        )
    of = measured["after"]
    ratio = of["mean_pd"] / of["default_rate"]
    brier = of["brier"] / of["brier_constant"]
    return [
        bar(f"{title}: mean PD over rate", ratio, 1, abs(ratio - 1) <= 0.2),
        bar(f"{title}: Brier over the constant's", brier, 1, brier < 1),
    ]


def sundays(ledger: Ledger, config: TrainingConfig, last: date) -> pd.DataFrame:
    """Return the rows of all Sundays until a day."""
    outcomes = known_outcomes(ledger, ledger.observed_until)
    events = default_events(outcomes, config.default)
    days = [day.date() for day in pd.date_range(FIRST, last, freq="W")]
    takes = features_taken(config, None)
    return pd.concat([rows_on(ledger, events, day, config, takes) for day in days])


def us_horizon_bars() -> list[dict[str, object]]:
    """Test the PD within 91 and 182 days on later dates of other customers."""
    ledger = us_ledger()
    config = TrainingConfig.model_validate(HALF_YEAR)
    rows = sundays(ledger, config, TESTED_UNTIL)
    is_first_half = np.isin(rows.index, sorted(set(rows.index))[::2])
    parts = []
    for is_learnt in (is_first_half, ~is_first_half):
        is_early = (rows["as_of"] <= LEARNT_UNTIL).to_numpy()
        is_late = (rows["as_of"] >= TESTED_FROM).to_numpy()
        model = fit_model(Sample(rows[is_learnt & is_early]), config).model
        test = Sample(rows[~is_learnt & is_late])
        parts.append(check_horizons(model, watched_rows(test)))
    checks = [together(*pair) for pair in zip(*parts, strict=True)]
    print_checks(f"{US}, later dates of other customers", checks)
    return bars_of("US", checks)


def together(first: HorizonCheck, second: HorizonCheck) -> HorizonCheck:
    """Return the check of both halves; the slope is their mean."""
    slope = first.slope
    if first.slope and second.slope:
        mean = (first.slope.slope + second.slope.slope) / 2
        slope = first.slope._replace(slope=mean)
    return replace(
        first,
        rows=first.rows + second.rows,
        defaults=first.defaults + second.defaults,
        expected=first.expected + second.expected,
        slope=slope if second.slope else None,
    )


def main() -> None:
    """Measure what is asked for, print it, and report the bars."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=["us", "simulator"])
    parser.add_argument("--customers", type=int, default=8000)
    options = parser.parse_args()
    bars = []
    if options.only in (None, "us"):
        if (SAMPLES / f"../../../shared/data/{US}.csv").exists():
            bars += [*us_level_bars(QUARTER), *us_level_bars(MONTH), *us_horizon_bars()]
        else:
            print(f"{US}: skipped, the file is not beside the project")
    if options.only in (None, "simulator"):
        bars += simulator_bars(options.customers)
    report(bars, options.json)


if __name__ == "__main__":
    main()
