"""What became of the decisions: drift since training, PDs against matured outcomes.

Alerts require a minimum effect, so they do not become more frequent merely because
there are more decisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from obligor.arrays import Floats, Ints
from obligor.data.ledger import Ledger
from obligor.errors import SchemaError
from obligor.metrics.figures import PSI_BINS, auc, difference, psi, psi_bins
from obligor.metrics.statistics import Resampling
from obligor.training.lifecycle.level_watch import LevelSince, level_since
from obligor.training.samples.config import DefaultDefinition
from obligor.training.samples.labels import days_to_default, default_events
from obligor.training.samples.outcomes import known_outcomes
from obligor.training.validation.pages import as_html, embedded, render
from obligor.training.validation.plots import OURS, PEER, axes_of

SHIFTED = 0.25  # PSI beyond chance that raises an alert (Siddiqi 2006: has shifted)
LEVEL = 1.25  # defaults over expected defaults that raise an alert
SIGNIFICANT = 0.01  # and the p-value below which that is more than chance
LEVEL_SINCE = "odds of a default over those of the PD, horizons passed in part"
FEWEST = 30  # matured decisions that figures are given for
FEWEST_PER_BIN = 20  # with fewer, bins of the PSI are empty by chance
CHANCE = 0.999  # share of samples without drift whose PSI is below `noise`
NOT_FEATURES = ("pd", "label", "customer")
ROUNDS = 200
SEED = 0


@dataclass(frozen=True)
class Alert:
    """A figure beyond its limit.

    Attributes
    ----------
    figure : str
        What was measured.
    value : float
        What it is.
    limit : float
        The most it may be, or the least if it is below 1.

    Examples
    --------
    >>> str(Alert("drift of the PD", 0.3141, 0.25))
    'drift of the PD: 0.314 (limit 0.25)'
    """

    figure: str
    value: float
    limit: float

    def __str__(self) -> str:
        return f"{self.figure}: {self.value:.3f} (limit {self.limit:g})"


@dataclass(frozen=True)
class Monitoring:
    """What `obligor monitor` shows.

    Attributes
    ----------
    decisions : int
        How many decisions were read.
    drift : DataFrame
        A row for the PD and for each feature: ``psi``, ``noise`` (what chance alone
        gives samples of these sizes) and ``beyond`` (the first less the second, at
        least 0), which alerts look at.
    backtest : DataFrame
        A row per month of matured decisions: ``decisions, expected, defaults, low,
        high`` (95% range of a binomial).
    alerts : tuple of Alert
        Figures beyond their limits.
    challenger : mapping of str
        How the challenger's PDs compare on matured decisions that both models
        scored; empty if these are too few.
    unit : str
        What was read: decisions, rows of a table, or recorded scores.
    figures : mapping of str
        Figures of the rows whose outcome is known, by name.
    notes : tuple of str
        Sentences on what is left out or missing.
    """

    decisions: int
    drift: pd.DataFrame
    backtest: pd.DataFrame
    alerts: tuple[Alert, ...]
    challenger: Mapping[str, str]
    unit: str = "decisions"
    figures: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def with_note(self, note: str) -> Monitoring:
        """Return the same with one more sentence."""
        return replace(self, notes=(*self.notes, note))

    def as_dict(self) -> dict[str, object]:
        """Return everything as JSON values."""
        drift = self.drift.replace([np.inf, -np.inf], np.nan).astype(object)
        drift = drift.where(drift.notna(), None)
        months = self.backtest.rename_axis("month").reset_index()
        return {
            "unit": self.unit,
            "count": self.decisions,
            "alerts": [vars(alert) for alert in self.alerts],
            "drift": drift.rename_axis("column").reset_index().to_dict("records"),
            "months": months.to_dict("records") if len(self.backtest) else [],
            "figures": dict(self.figures),
            "challenger": dict(self.challenger),
            "notes": list(self.notes),
        }


def monitor(
    decisions: pd.DataFrame,
    reference: pd.DataFrame,
    ledger: Ledger,
    definition: DefaultDefinition,
    shadow: Mapping[str, float] | None = None,
) -> Monitoring:
    """Compare decisions with the model's test rows, and with what has happened since.

    Parameters
    ----------
    decisions : DataFrame
        A row per recorded decision: ``decision_id, customer_id, as_of, pd_12m`` and
        the features.
    reference : DataFrame
        The model's test rows: ``pd`` and the features.
    ledger : Ledger
        With the outcomes known by now.
    definition : DefaultDefinition
        What counts as a default, and within how many days.
    shadow : mapping of float, optional
        The challenger's PDs over 12 months, by ``decision_id``.

    Returns
    -------
    Monitoring
        Drift, backtest, alerts, and the challenger beside the champion.

    Raises
    ------
    SchemaError
        If no decision is recorded.
    """
    if decisions.empty:
        raise SchemaError(
            "no decision is recorded",
            where="record",
            expected="at least one decision of this model",
            do="make a decision first: obligor decide",
        )
    moved = drift(decisions, reference)
    mature = matured(decisions, ledger, definition)
    months = backtest(mature, definition)
    level = level_since(decisions, reference, ledger, definition)
    monitoring = Monitoring(
        decisions=len(decisions),
        drift=moved,
        backtest=months,
        alerts=(
            *alerts_of_drift(moved),
            *alerts_of_level(months),
            *alerts_of_moved_level(level),
        ),
        challenger=compared(mature, shadow or {}),
    )
    if isinstance(level, str):
        return monitoring.with_note(level)
    figures = {**monitoring.figures, LEVEL_SINCE: str(level)}
    return replace(monitoring, figures=figures)


def drift(decisions: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Return the PSI of the PD and of each feature, beside what chance would give.

    Without any drift the PSI of samples of n and m rows over B bins is about
    ``(1 / n + 1 / m)`` times a chi-square variable of B - 1 degrees of freedom
    (Yurdakul 2018). The value that one sample in a thousand exceeds is subtracted, so
    few decisions raise no false alarm; and because a PSI measures size, not
    significance, many decisions raise none either. With fewer than 200 rows on
    either side no drift is reported.

    Returns
    -------
    DataFrame
        Columns ``psi, noise, beyond``; the PD first, then the features, those that
        moved most first.
    """
    names = {"the PD": ("pd", "pd_12m")}
    for name in decisions:
        if name in reference and name not in NOT_FEATURES:
            names[str(name)] = (str(name), str(name))
    columns = []
    for title, (old, new) in names.items():
        before = reference[old].to_numpy(float)
        now = decisions[new].to_numpy(float)
        columns.append(ComparedColumn(title, before, now))
    return moved_columns(columns)


class ComparedColumn(NamedTuple):
    """A column on two samples.

    Attributes
    ----------
    name : str
        What it is called.
    then : ndarray of float, shape (n,)
        The earlier sample.
    now : ndarray of float, shape (m,)
        The later sample.
    is_category : bool
        Whether its values are codes of levels.
    """

    name: str
    then: Floats
    now: Floats
    is_category: bool = False


def moved_columns(columns: Sequence[ComparedColumn]) -> pd.DataFrame:
    """Return the PSI of each column beside what chance would give; see `drift`.

    The first column stays first; the others follow, those that moved most first.
    """
    psi_by_name = dict[str, float]()
    noise_by_name = dict[str, float]()
    for column in columns:
        psi_by_name[column.name] = psi(
            column.then,
            column.now,
            is_category=column.is_category,
        )
        n_bins = psi_bins(column.then, is_category=column.is_category)
        noise_by_name[column.name] = _noise(len(column.now), len(column.then), n_bins)
    table = pd.DataFrame({"psi": pd.Series(psi_by_name, dtype=float)})
    table["noise"] = pd.Series(noise_by_name, dtype=float)
    table["beyond"] = (table["psi"] - table["noise"]).clip(lower=0)
    features = table.iloc[1:].sort_values("beyond", ascending=False)
    return pd.concat([table.iloc[:1], features])


def _noise(n: int, m: int, n_bins: int) -> float:
    if min(n, m) < FEWEST_PER_BIN * PSI_BINS:
        return float("inf")
    freedom = max(n_bins - 1, 1)
    return float(stats.chi2.ppf(CHANCE, freedom) * (1 / n + 1 / m))


def alerts_of_drift(moved: pd.DataFrame) -> list[Alert]:
    """Return an alert for each column that has moved far beyond chance."""
    alerts = []
    for name, row in moved.iterrows():
        if row["beyond"] > SHIFTED:
            alerts.append(Alert(f"drift of {name}", float(row["beyond"]), SHIFTED))
    return alerts


def matured(
    decisions: pd.DataFrame, ledger: Ledger, definition: DefaultDefinition
) -> pd.DataFrame:
    """Return the decisions whose outcome is known by now, with ``label``.

    Parameters
    ----------
    decisions : DataFrame
        A row per recorded decision, with ``customer_id`` and ``as_of`` (date).
    ledger : Ledger
        With the outcomes known by now.
    definition : DefaultDefinition
        What counts as a default, and within how many days.

    Returns
    -------
    DataFrame
        The last decision of each customer in each month, ``month`` ("2024-06") and
        ``label`` (1 if the customer defaulted within the horizon).
    """
    last = ledger.observed_until - timedelta(days=definition.outcome_days)
    mature = decisions[decisions["as_of"] <= last].copy()
    mature["month"] = [day.strftime("%Y-%m") for day in mature["as_of"]]
    # Repeated decisions on one customer share one outcome, so they count once.
    mature = mature.drop_duplicates(["customer_id", "month"], keep="last")
    mature = mature.reset_index(drop=True)
    label = np.zeros(len(mature), dtype=np.int64)
    outcomes = known_outcomes(ledger, ledger.observed_until)
    events = default_events(outcomes, definition)
    for as_of, row_indices in mature.groupby("as_of").indices.items():
        customers = pd.Index(mature["customer_id"].iloc[row_indices])
        days = days_to_default(
            events,
            customers,
            _as_date(as_of),
            definition,
        )
        label[row_indices] = days.notna().to_numpy()
    return mature.assign(label=label)


def _as_date(day: object) -> date:
    return day if isinstance(day, date) else pd.Timestamp(str(day)).date()


def backtest(mature: pd.DataFrame, definition: DefaultDefinition) -> pd.DataFrame:
    """Return expected and observed defaults of matured decisions by month.

    Parameters
    ----------
    mature : DataFrame
        From `matured`: ``pd_12m, month, label``.
    definition : DefaultDefinition
        Its horizon is the one that PDs are taken over.

    Returns
    -------
    DataFrame
        ``decisions, expected, defaults, low, high``; the last two are the 95% range
        of a binomial with the month's mean PD.

    Examples
    --------
    >>> mature = pd.DataFrame({"pd_12m": [0.5, 0.5], "month": "2024-06", "label": 1})
    >>> backtest(mature, DefaultDefinition()).loc["2024-06"].tolist()
    [2.0, 1.0, 2.0, 0.0, 2.0]
    """
    pd_ = 1 - (1 - mature["pd_12m"]) ** (definition.horizon_days / 365)
    return with_binomial_range(mature.assign(pd=pd_))


def with_binomial_range(rows: pd.DataFrame) -> pd.DataFrame:
    """Return expected and observed defaults by month, with what chance allows.

    Parameters
    ----------
    rows : DataFrame
        ``month``, ``pd`` over the horizon of the outcomes, and ``label``.
    """
    by_month = rows.groupby("month")
    months = pd.DataFrame(
        {
            "decisions": by_month.size(),
            "expected": by_month["pd"].sum(),
            "defaults": by_month["label"].sum(),
        }
    )
    mean_pd = months["expected"] / months["decisions"]
    months["low"] = stats.binom.ppf(0.025, months["decisions"], mean_pd)
    months["high"] = stats.binom.ppf(0.975, months["decisions"], mean_pd)
    return months


def alerts_of_level(months: pd.DataFrame) -> list[Alert]:
    """Far more defaults than expected in all: a size that matters, beyond chance."""
    n = int(months["decisions"].sum()) if len(months) else 0
    if n < FEWEST:
        return []
    observed = float(months["defaults"].sum())
    expected = float(months["expected"].sum())
    p_value = float(stats.binom.sf(observed - 1, n, min(expected / n, 1.0)))
    ratio = observed / max(expected, 1e-9)
    if ratio > LEVEL and p_value < SIGNIFICANT:
        return [Alert("defaults over expected", ratio, LEVEL)]
    return []


def alerts_of_moved_level(level: LevelSince | str) -> list[Alert]:
    """Return an alert if the odds have moved by a size that matters, beyond chance."""
    if isinstance(level, str):
        return []
    if level.factor > LEVEL and level.low > 1:
        return [Alert(LEVEL_SINCE, level.factor, LEVEL)]
    if level.factor < 1 / LEVEL and level.high < 1:
        return [Alert(LEVEL_SINCE, level.factor, 1 / LEVEL)]
    return []


def compared(mature: pd.DataFrame, shadow: Mapping[str, float]) -> dict[str, str]:
    """Return how a challenger compares with the champion on matured decisions.

    Parameters
    ----------
    mature : DataFrame
        From `matured`, with ``decision_id`` and the champion's ``pd_12m``.
    shadow : mapping of float
        The challenger's PDs over 12 months, by ``decision_id``.

    Returns
    -------
    dict of str
        Figures by their names; empty if too few decisions were scored by both.
    """
    if not shadow:
        return {}
    scored = mature[mature["decision_id"].isin(list(shadow))]
    if len(scored) < FEWEST or scored["label"].nunique() < 2:
        return {}
    label = scored["label"].to_numpy()
    customers: Ints = pd.factorize(scored["customer_id"])[0].astype(np.int64)
    champion = np.asarray(scored["pd_12m"], dtype=np.float64)
    challenger = np.asarray(scored["decision_id"].map(shadow), dtype=np.float64)
    gap = difference(
        challenger,
        champion,
        label,
        Resampling(customers, ROUNDS, SEED),
    )
    count = f"{len(scored):,} ({label.sum():,} defaults)"
    return {
        "matured decisions scored by both": count,
        "AUC of the champion": f"{auc(champion, label):.4f}",
        "AUC of the challenger": f"{auc(challenger, label):.4f}",
        "Gini gain of the challenger": str(gap["gini"]),
        "Brier score increase of the challenger": str(gap["brier"]),
    }


def backtest_plot(months: pd.DataFrame) -> Figure:
    """Draw expected and observed defaults of matured decisions by month."""
    figure, axes = axes_of(7.2, 4.0)
    x = np.arange(len(months))
    axes.fill_between(
        x,
        months["low"],
        months["high"],
        color=OURS,
        alpha=0.18,
        label="95% range of a binomial",
    )
    axes.plot(
        x,
        months["expected"],
        "o-",
        color=OURS,
        label="expected",
    )
    axes.plot(
        x,
        months["defaults"],
        "s--",
        color=PEER,
        label="observed",
    )
    axes.set_xticks(x, list(months.index), rotation=45)
    axes.set_xlabel("month of the decision")
    axes.set_ylabel("defaults within the horizon (count)")
    axes.set_title("Matured decisions: expected and observed defaults")
    axes.legend(frameon=False)
    return figure


def write_page(path: Path, monitoring: Monitoring, model: str) -> None:
    """Write the page: alerts, matured decisions, challenger, drift.

    Parameters
    ----------
    path : Path
        The HTML file, which needs no network and no other file.
    monitoring : Monitoring
        What it shows.
    model : str
        The champion's name in the heading.
    """
    picture = None
    if len(monitoring.backtest):
        picture = embedded(backtest_plot(monitoring.backtest))
    html = render(
        "monitor.html",
        monitoring=monitoring,
        model=model,
        picture=picture,
        html=as_html,
        shifted=SHIFTED,
        level=LEVEL,
    )
    path.write_text(html, encoding="utf-8")
