"""The model report: figures with intervals, plots with axis names, one self-contained HTML file."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.config import TrainingConfig
from training.evaluate import Interval, psi
from training.fit import Fit, feature_gain
from training.sample import Split

SHAP_ROWS = 2000
SCORE = "score"
Floats = NDArray[np.float64]
OURS, PEER, FAINT = "#1d5b8f", "#c2410c", "#9aa5b1"


@dataclass(frozen=True)
class Evaluation:
    """Everything a report shows about one fitted model.

    Attributes
    ----------
    figures, peer : dict of Interval
        Ours and plain LightGBM's on the same out-of-time rows.
    by_vintage : DataFrame
        A column of figures per as-of date, with intervals as text.
    psi : DataFrame
        Of the score and each feature against the training rows, over all test rows and by vintage.
    """

    figures: dict[str, Interval]
    peer: dict[str, Interval]
    by_vintage: pd.DataFrame
    psi: pd.DataFrame
    test_pd: Floats = field(repr=False)


def stability(split: Split, train_pd: Floats, test_pd: Floats) -> pd.DataFrame:
    """Return the PSI of the score and of each feature against the training rows.

    Returns
    -------
    DataFrame
        Index ``score`` and the features, largest first; columns ``all`` test rows and each as-of date.
    """
    train, test = split.train.features, split.test.features
    vintages = {"all": np.ones(len(test_pd), dtype=bool)}
    vintages |= {day: (split.test.rows["as_of"] == day).to_numpy() for day in sorted(set(split.test.rows["as_of"]))}
    columns = {}
    for vintage, is_in in vintages.items():
        values = {name: psi(train[name].to_numpy(), test[name].to_numpy()[is_in]) for name in train}
        columns[vintage] = {SCORE: psi(train_pd, test_pd[is_in]), **values}
    return pd.DataFrame(columns).sort_values("all", ascending=False)


def write_report(folder: Path, fit: Fit, split: Split, result: Evaluation, config: TrainingConfig) -> list[Path]:
    """Draw the plots as PNG files into `folder` and write `model_report.html` with all of them in it.

    Returns
    -------
    list of Path
        The HTML file, which needs no network and no other file, then the plots.
    """
    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    plots: dict[str, tuple[str, Callable[[], Figure]]] = {
        "roc": ("Discrimination: ROC curve, out of time", lambda: _roc(split, result)),
        "calibration": ("Calibration: PD against what happened, out of time", lambda: _calibration(split, result)),
        "scores": ("Distribution of the PD", lambda: _scores(split, result)),
        "shap": ("What moves the PD: SHAP contributions, out of time", lambda: _shap(fit, split)),
        "psi": ("Stability: PSI of the features", lambda: _psi(result)),
    }
    pictures, paths = [], [folder / "model_report.html"]
    for name, (title, draw) in plots.items():
        paths.append(path := folder / f"{name}.png")
        draw().savefig(path, dpi=110, bbox_inches="tight")
        pictures.append((title, base64.b64encode(path.read_bytes()).decode()))
    environment = jinja2.Environment(loader=jinja2.PackageLoader("training"), autoescape=True)
    html = environment.get_template("report.html").render(
        fit=fit,
        split=split,
        result=result,
        config=config,
        pictures=pictures,
        gain=feature_gain(fit.model).head(15),
        psi_shown=[SCORE, *result.psi.index.drop(SCORE)[:15]],
    )
    paths[0].write_text(html, encoding="utf-8")
    return paths


def _axes(width: float = 6.4, height: float = 4.4) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height))
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def _roc(split: Split, result: Evaluation) -> Figure:
    figure, axes = _axes()
    order = np.argsort(-result.test_pd, kind="stable")
    label = split.test.label[order]
    axes.plot(np.cumsum(1 - label) / (1 - label).sum(), np.cumsum(label) / label.sum(), color=OURS, lw=2)
    axes.plot([0, 1], [0, 1], color=FAINT, ls="--", lw=1)
    axes.set_xlabel("share of other customers flagged")
    axes.set_ylabel("share of defaults flagged")
    axes.set_title(f"ROC, out of time: Gini {result.figures['gini']}")
    return figure


def _calibration(split: Split, result: Evaluation) -> Figure:
    figure, axes = _axes()
    frame = pd.DataFrame({"pd": result.test_pd, "label": split.test.label})
    bins = frame.groupby(pd.qcut(frame["pd"], 10, duplicates="drop"), observed=True).mean()
    top = 1.1 * float(bins.to_numpy().max())
    axes.plot([0, top], [0, top], color=FAINT, ls="--", lw=1, label="perfect")
    axes.plot(bins["pd"], bins["label"], "o-", color=OURS, label="ten equally filled bins")
    axes.set_xlabel("mean predicted PD in the bin (probability)")
    axes.set_ylabel("observed default rate (share)")
    axes.set_title(f"Calibration, out of time: slope {result.figures['calibration_slope']}")
    axes.legend(frameon=False)
    return figure


def _scores(split: Split, result: Evaluation) -> Figure:
    figure, axes = _axes()
    bins = np.geomspace(max(result.test_pd.min(), 1e-5), result.test_pd.max() * 1.01, 40)
    for value, name, colour in ((0, "no default", OURS), (1, "default", PEER)):
        axes.hist(
            result.test_pd[split.test.label == value], bins=bins, density=True, alpha=0.55, color=colour, label=name
        )
    axes.set_xscale("log")
    axes.set_xlabel("predicted PD (probability, log scale)")
    axes.set_ylabel("density of customers")
    axes.set_title("Predicted PD by what happened, out of time")
    axes.legend(frameon=False)
    return figure


def _shap(fit: Fit, split: Split) -> Figure:
    import matplotlib.pyplot as plt
    import shap  # here: it takes seconds to import and only this plot needs it

    rows = split.test.features.head(SHAP_ROWS)
    contributions, _ = fit.model.explain(rows.to_numpy())
    base = np.full(len(rows), fit.model.base)
    plt.figure()
    shap.plots.beeswarm(
        shap.Explanation(contributions, base, rows.to_numpy(), feature_names=list(rows)), max_display=15, show=False
    )
    figure = plt.gcf()
    figure.axes[0].set_xlabel("contribution to the margin (log-odds; right raises the PD)")
    plt.close(figure)
    return figure


def _psi(result: Evaluation) -> Figure:
    figure, axes = _axes(6.4, 5.0)
    top = result.psi["all"].drop(SCORE).head(15)[::-1]
    axes.barh(list(top.index), top.to_numpy(), color=OURS)
    for level, name in ((0.1, "stable below"), (0.25, "shifted above")):
        axes.axvline(level, color=PEER, ls=":", lw=1)
        axes.text(level, 0.2 if level < 0.2 else 1.2, f" {name} {level}", color=PEER, fontsize=8)
    axes.set_xlabel("population stability index, training against test rows (no unit)")
    axes.set_ylabel("feature")
    axes.set_title(f"Feature stability; PSI of the PD {result.psi['all'][SCORE]:.3f}")
    return figure
