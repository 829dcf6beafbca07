"""The pictures of the validation report, each with a title, axis names and units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from obligor.arrays import Floats, Ints
from obligor.model.pd_model import PdModel

OURS, PEER, FAINT = "#1d5b8f", "#c2410c", "#9aa5b1"
COLOURS = (OURS, PEER, FAINT, "#3f7d4e", "#7c5295")


def axes_of(width: float = 6.4, height: float = 4.4) -> tuple[Figure, Any]:
    """Return a figure with one plain pair of axes."""
    figure = Figure(figsize=(width, height))
    axes = figure.subplots()
    _plain(axes)
    return figure, axes


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def roc(label: Ints, pds: Mapping[str, Floats]) -> Figure:
    """Draw the ROC curves of several models on the same rows."""
    figure, axes = axes_of()
    for (name, pd_), colour in zip(pds.items(), COLOURS, strict=False):
        bad = label[np.argsort(-pd_, kind="stable")]
        axes.plot(
            np.cumsum(1 - bad) / (1 - bad).sum(),
            np.cumsum(bad) / bad.sum(),
            color=colour,
            label=name,
            lw=2 if colour == OURS else 1,
        )
    axes.plot([0, 1], [0, 1], color=FAINT, ls="--", lw=1)
    axes.set_xlabel("share of other rows flagged")
    axes.set_ylabel("share of defaults flagged")
    axes.set_title("ROC on rows not seen")
    axes.legend(frameon=False)
    return figure


def reliability(pd_: Floats, label: Ints) -> Figure:
    """Draw default rates over mean PDs in ten equally filled bins, with 95% intervals (Clopper and Pearson 1934)."""
    figure, axes = axes_of()
    edges = np.unique(np.quantile(pd_, np.linspace(0, 1, 11)[1:-1]))
    place = np.searchsorted(
        edges, pd_, side="right"
    )  # one bin where all PDs are the same
    bins = (
        pd.DataFrame({"pd": pd_, "label": label})
        .groupby(place)
        .agg(["mean", "size", "sum"])
    )
    mean, n, bad = (
        bins["pd"]["mean"],
        bins["label"]["size"].to_numpy(),
        bins["label"]["sum"].to_numpy(),
    )
    rate = bad / n
    low = np.nan_to_num(stats.beta.ppf(0.025, bad, n - bad + 1))
    high = np.nan_to_num(stats.beta.ppf(0.975, bad + 1, n - bad), nan=1.0)
    top = 1.1 * float(max(mean.max(), high.max()))
    axes.plot([0, top], [0, top], color=FAINT, ls="--", lw=1, label="perfect")
    axes.errorbar(
        mean,
        rate,
        yerr=[np.maximum(rate - low, 0), np.maximum(high - rate, 0)],
        fmt="o-",
        color=OURS,
        capsize=3,
        label="ten equally filled bins, 95%",
    )
    axes.set_xlabel("mean predicted PD in the bin (probability)")
    axes.set_ylabel("observed default rate (share)")
    axes.set_title("Reliability on rows not seen")
    axes.legend(frameon=False)
    return figure


def scores(pd_: Floats, label: Ints) -> Figure:
    """Draw the distribution of PDs of defaults and of others."""
    figure, axes = axes_of()
    bins = np.geomspace(max(pd_.min(), 1e-5), pd_.max() * 1.01, 40)
    for value, name, colour in ((0, "no default", OURS), (1, "default", PEER)):
        axes.hist(
            pd_[label == value],
            bins=bins,
            density=True,
            alpha=0.55,
            color=colour,
            label=name,
        )
    axes.set_xscale("log")
    axes.set_xlabel("predicted PD (probability, log scale)")
    axes.set_ylabel("density of rows")
    axes.set_title("Predicted PD by what happened")
    axes.legend(frameon=False)
    return figure


def beeswarm(model: PdModel, rows: Floats) -> Figure:
    """Draw the SHAP contributions of some rows."""
    import matplotlib.pyplot as plt
    import shap  # here: it takes seconds to import and only this plot needs it

    contributions, _ = model.explain(rows)
    base, names = np.full(len(rows), model.base), list(model.features)
    # shap draws with pyplot, whose backend belongs to the caller: the command line
    # sets Agg, and a notebook that was switched to it would show no later picture.
    plt.figure()
    explained = shap.Explanation(contributions, base, rows, feature_names=names)
    shap.plots.beeswarm(explained, max_display=15, show=False)
    figure = plt.gcf()
    figure.axes[0].set_xlabel(
        "contribution to the margin (log-odds; right raises the PD)"
    )
    figure.axes[0].set_ylabel("column")
    figure.axes[0].set_title("What moves the PD")
    plt.close(figure)
    return figure


def psi_bars(found: pd.Series[float], score: float) -> Figure:
    """Draw the population stability index of the columns that moved most."""
    figure, axes = axes_of(6.4, 5.0)
    top = found.head(15)[::-1]
    axes.barh([str(name) for name in top.index], top.to_numpy(), color=OURS)
    for level, name in ((0.1, "stable below"), (0.25, "shifted above")):
        axes.axvline(level, color=PEER, ls=":", lw=1)
        axes.text(
            level,
            0.2 if level < 0.2 else 1.2,
            f" {name} {level}",
            color=PEER,
            fontsize=8,
        )
    axes.set_xlabel("population stability index, learnt against test rows (no unit)")
    axes.set_ylabel("column")
    axes.set_title(f"Stability of the columns; PSI of the PD {score:.3f}")
    return figure


def dependence(curves: Mapping[str, pd.Series[float]]) -> Figure:
    """Draw the mean PD along the grid of each of up to six columns."""
    figure = Figure(figsize=(9.6, 5.2))
    for axes, (name, curve) in zip(
        np.ravel(figure.subplots(2, 3)), curves.items(), strict=False
    ):
        _plain(axes)
        if curve.index.dtype.kind == "f":
            axes.plot(curve.index, curve.to_numpy(), color=OURS, lw=2)
            axes.set_xlabel(f"{name} (its own unit)", fontsize=8)
        else:
            axes.barh(
                [str(level)[:28] for level in curve.index], curve.to_numpy(), color=OURS
            )
            axes.set_xlabel(f"mean PD (probability) by {name}", fontsize=8)
            axes.tick_params(labelsize=6)
            continue
        axes.set_ylabel("mean PD (probability)", fontsize=8)
        axes.tick_params(labelsize=7)
    figure.suptitle("Partial dependence of the six columns that move the PD most")
    figure.tight_layout()
    return figure


def learning_curve(curve: pd.DataFrame) -> Figure:
    """Draw AUCs over the number of rows learnt."""
    figure, axes = axes_of()
    for name, colour in zip(curve, COLOURS, strict=False):
        axes.plot(curve.index, curve[name], "o-", color=colour, label=str(name))
    axes.set_xlabel("rows learnt (count)")
    axes.set_ylabel("AUC (probability)")
    axes.set_title("Learning curve")
    axes.legend(frameon=False)
    return figure
