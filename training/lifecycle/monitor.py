"""What became of the decisions: drift since training, PDs against matured outcomes, alerts that ask for a size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from obligor.data.ledger import Ledger
from obligor.errors import SchemaError
from obligor.training.metrics.figures import PSI_BINS, auc, difference, psi
from obligor.training.metrics.statistics import Resampling
from obligor.training.samples.config import DefaultDefinition
from obligor.training.samples.labels import days_to_default, default_events
from obligor.training.validation.plots import OURS, PEER, axes_of
from obligor.training.validation.report import as_html, embedded

SHIFTED, LEVEL, FEWEST = (
    0.25,
    1.25,
    30,
)  # PSI beyond chance; defaults over expected; matured decisions at least
FEWEST_PER_BIN = 20
ROUNDS, SEED = 200, 0


@dataclass(frozen=True)
class Alert:
    """Something that moved by more than it may: what, how far, and how far it may."""

    what: str
    value: float
    limit: float

    def __str__(self) -> str:
        return f"{self.what}: {self.value:.3f} (limit {self.limit:g})"


@dataclass(frozen=True)
class Monitoring:
    """What `obligor monitor` shows.

    Attributes
    ----------
    drift : DataFrame
        A row for the PD and each feature: ``psi``, ``noise`` (what chance alone gives samples of these sizes) and
        ``beyond`` (the first less the second, never below 0), which is what alerts ask about.
    backtest : DataFrame
        A row per month of matured decisions: ``decisions, expected, defaults, low, high`` (95% of a binomial).
    challenger : dict
        How the challenger's PDs compare on matured decisions that both scored; empty while they are too few.
    """

    decisions: int
    drift: pd.DataFrame
    backtest: pd.DataFrame
    alerts: tuple[Alert, ...]
    challenger: Mapping[str, str]


def monitor(
    decisions: pd.DataFrame,
    reference: pd.DataFrame,
    ledger: Ledger,
    definition: DefaultDefinition,
    shadow: Mapping[str, float] | None = None,
) -> Monitoring:
    """Compare decisions with the rows the model was tested on, and with what has happened since.

    Parameters
    ----------
    decisions : DataFrame
        ``customer_id, as_of, pd_12m`` and the features, a row per recorded decision.
    reference : DataFrame
        The model's test rows: ``pd`` and the features.
    ledger : Ledger
        With the outcomes known by now.
    shadow : mapping, optional
        The challenger's PDs over 12 months by ``decision_id``.

    Raises
    ------
    SchemaError
        Where no decision is recorded.
    """
    if decisions.empty:
        raise SchemaError(
            "no decision is recorded",
            where="record",
            expected="one at least",
            do="ask for decisions",
        )
    moved = drift(decisions, reference)
    old = matured(decisions, ledger, definition)
    months = backtest(old, definition)
    alerts = [
        Alert(f"drift of {name}", float(row["beyond"]), SHIFTED)
        for name, row in moved.iterrows()
        if row["beyond"] > SHIFTED
    ]
    if len(months) and months["decisions"].sum() >= FEWEST:
        alerts += _level(months)
    return Monitoring(
        len(decisions), moved, months, tuple(alerts), compared(old, shadow or {})
    )


def drift(decisions: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Return the PSI of the PD and of each feature, with what chance alone would give.

    Without any drift the PSI of samples of n and m rows over B bins is about ``(1 / n + 1 / m)`` times a chi-square of
    B - 1 degrees: what one sample in a thousand exceeds of that is taken away, so that few decisions raise no alarm;
    and as a PSI is a size and no significance, many raise none either. Of fewer than 200 nothing is said.
    """
    noise = stats.chi2.ppf(0.999, PSI_BINS - 1) * (
        1 / len(decisions) + 1 / len(reference)
    )
    if min(len(decisions), len(reference)) < FEWEST_PER_BIN * PSI_BINS:
        noise = np.inf  # bins are empty by chance
    pairs = {"the PD": ("pd", "pd_12m")} | {
        name: (name, name)
        for name in decisions
        if name in reference and name not in ("pd", "label", "customer")
    }
    found = {
        title: psi(reference[old].to_numpy(float), decisions[new].to_numpy(float))
        for title, (old, new) in pairs.items()
    }
    table = pd.DataFrame({"psi": pd.Series(found, dtype=float)})
    table["noise"], table["beyond"] = noise, (table["psi"] - noise).clip(lower=0)
    return pd.concat(
        [table.iloc[:1], table.iloc[1:].sort_values("beyond", ascending=False)]
    )


def matured(
    decisions: pd.DataFrame, ledger: Ledger, definition: DefaultDefinition
) -> pd.DataFrame:
    """Return the decisions whose outcome is known by now, each customer once a month, with ``label``."""
    last = ledger.observed_until - timedelta(days=definition.outcome_days)
    old = decisions[decisions["as_of"] <= last].copy()
    old["month"] = [day.strftime("%Y-%m") for day in old["as_of"]]
    old = old.drop_duplicates(["customer_id", "month"], keep="last").reset_index(
        drop=True
    )
    events, label = (
        default_events(ledger, definition, ledger.observed_until),
        np.zeros(len(old), dtype=np.int64),
    )
    for as_of, places in old.groupby("as_of").indices.items():
        customers = pd.Index(old["customer_id"].iloc[places])
        day = as_of if isinstance(as_of, date) else pd.Timestamp(str(as_of)).date()
        label[places] = (
            days_to_default(events, customers, day, definition).notna().to_numpy()
        )
    return old.assign(label=label)


def backtest(old: pd.DataFrame, definition: DefaultDefinition) -> pd.DataFrame:
    """Return expected and seen defaults of matured decisions by month, with the 95% range of a binomial."""
    pd_ = 1 - (1 - old["pd_12m"]) ** (definition.horizon_days / 365)
    by = old.assign(pd=pd_).groupby("month")
    found = pd.DataFrame(
        {
            "decisions": by.size(),
            "expected": by["pd"].sum(),
            "defaults": by["label"].sum(),
        }
    )
    mean = found["expected"] / found["decisions"]
    found["low"], found["high"] = (
        stats.binom.ppf(level, found["decisions"], mean) for level in (0.025, 0.975)
    )
    return found


def compared(old: pd.DataFrame, shadow: Mapping[str, float]) -> dict[str, str]:
    """Return how a challenger's shadow PDs compare with the champion's on matured decisions that both scored."""
    both = old[old["decision_id"].isin(list(shadow))] if shadow else old.iloc[:0]
    if len(both) < FEWEST or both["label"].nunique() < 2:
        return {}
    label, customers = (
        both["label"].to_numpy(),
        pd.factorize(both["customer_id"])[0].astype(np.int64),
    )
    champion = np.asarray(both["pd_12m"], dtype=np.float64)
    challenger = np.array(
        [shadow[name] for name in both["decision_id"]], dtype=np.float64
    )
    gap = difference(challenger, champion, label, Resampling(customers, ROUNDS, SEED))
    return {
        "matured decisions scored by both": f"{len(both):,}, {label.sum():,} defaults",
        "AUC of the champion": f"{auc(champion, label):.4f}",
        "AUC of the challenger": f"{auc(challenger, label):.4f}",
        "Gini of the challenger more by": str(gap["gini"]),
        "Brier more by": str(gap["brier"]),
    }


def _level(months: pd.DataFrame) -> list[Alert]:
    """Far more defaults than expected, in all: by a size that matters, and by more than chance."""
    seen, expected, n = (
        float(months[name].sum()) for name in ("defaults", "expected", "decisions")
    )
    p_value = float(stats.binom.sf(seen - 1, int(n), min(expected / n, 1.0)))
    ratio = seen / max(expected, 1e-9)
    return (
        [Alert("defaults over expected", ratio, LEVEL)]
        if ratio > LEVEL and p_value < 0.01
        else []
    )


def backtest_plot(months: pd.DataFrame) -> Figure:
    """Draw expected and seen defaults of matured decisions by month."""
    figure, axes = axes_of(7.2, 4.0)
    place = np.arange(len(months))
    axes.fill_between(
        place,
        months["low"],
        months["high"],
        color=OURS,
        alpha=0.18,
        label="95% of a binomial",
    )
    axes.plot(place, months["expected"], "o-", color=OURS, label="expected")
    axes.plot(place, months["defaults"], "s--", color=PEER, label="seen")
    axes.set_xticks(place, list(months.index), rotation=45)
    axes.set_xlabel("month of the decision")
    axes.set_ylabel("defaults within the horizon (count)")
    axes.set_title("Matured decisions: defaults expected and seen")
    axes.legend(frameon=False)
    return figure


def write_page(path: Path, found: Monitoring, model: str) -> None:
    """Write the page: alerts first, then the matured decisions and the drift; it needs no network."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("obligor.training"), autoescape=True
    )
    picture = embedded(backtest_plot(found.backtest)) if len(found.backtest) else None
    html = environment.get_template("monitor.html").render(
        found=found,
        model=model,
        picture=picture,
        html=as_html,
        shifted=SHIFTED,
        level=LEVEL,
    )
    path.write_text(html, encoding="utf-8")
