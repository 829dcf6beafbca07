"""The pictures of the validation report; each has a title, axis names and units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from obligor.arrays import Floats, Ints
from obligor.metrics.picture import Picture
from obligor.metrics.statistics import quantiles
from obligor.model.pd_model import PdModel

OURS = "#1d5b8f"
PEER = "#c2410c"
FAINT = "#9aa5b1"
COLOURS = (OURS, PEER, FAINT, "#3f7d4e", "#7c5295")
PSI_LEVELS = ((0.1, "stable below"), (0.25, "shifted above"))  # Siddiqi 2006
MOST_BARS = 15
LONGEST_NAME = 40  # characters of a name in a picture
LONGEST_LEVEL = 28  # characters of a level's name in a bar plot


def axes_of(width: float = 6.4, height: float = 4.4) -> tuple[Figure, Axes]:
    """Return a figure with one plain pair of axes; width and height in inches."""
    figure = Picture(figsize=(width, height))
    axes = figure.subplots()
    _simplify(axes)
    return figure, axes


def _simplify(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def roc(
    label: Ints,
    pds: Mapping[str, Floats],
    weight: Floats | None = None,
) -> Figure:
    """Draw the ROC curves of several models on the same rows.

    Parameters
    ----------
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    pds : mapping of ndarray, shape (n,)
        PDs by the model's name; at most five are drawn.
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default.

    Returns
    -------
    Figure
        The picture.
    """
    figure, axes = axes_of()
    weights = np.ones(len(label)) if weight is None else weight
    for (name, pd_), colour in zip(pds.items(), COLOURS, strict=False):
        order = np.argsort(-pd_, kind="stable")
        bad = (weights * label)[order]
        good = weights[order] - bad
        axes.plot(
            np.cumsum(good) / good.sum(),
            np.cumsum(bad) / bad.sum(),
            color=colour,
            label=name,
            lw=2 if colour == OURS else 1,
        )
    axes.plot(
        [0, 1],
        [0, 1],
        color=FAINT,
        ls="--",
        lw=1,
    )
    axes.set_xlabel("share of other rows flagged")
    axes.set_ylabel("share of defaults flagged")
    axes.set_title("ROC curve on unseen rows")
    axes.legend(frameon=False)
    return figure


def reliability(
    pd_: Floats,
    label: Ints,
    weight: Floats | None = None,
) -> Figure:
    """Draw default rates over mean PDs in ten equally filled bins.

    The intervals are 95% (Clopper and Pearson 1934), from the effective number of rows
    of a bin if the rows have weights.

    Parameters
    ----------
    pd_ : ndarray of float, shape (n,)
        PDs in (0, 1).
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default.
    """
    figure, axes = axes_of()
    bins = _reliability_bins(pd_, label, weight)
    top = 1.1 * float(max(bins["mean_pd"].max(), bins["high"].max()))
    axes.plot(
        [0, top],
        [0, top],
        color=FAINT,
        ls="--",
        lw=1,
        label="perfect",
    )
    below = np.maximum(bins["rate"] - bins["low"], 0)
    above = np.maximum(bins["high"] - bins["rate"], 0)
    axes.errorbar(
        bins["mean_pd"],
        bins["rate"],
        yerr=np.vstack([below, above]),
        fmt="o-",
        color=OURS,
        capsize=3,
        label="ten equally filled bins, 95% intervals",
    )
    axes.set_xlabel("mean predicted PD in the bin (probability)")
    axes.set_ylabel("observed default rate (share)")
    axes.set_title("Reliability on unseen rows")
    axes.legend(frameon=False)
    return figure


def _reliability_bins(
    pd_: Floats,
    label: Ints,
    weight: Floats | None,
) -> pd.DataFrame:
    weights = np.ones(len(label)) if weight is None else weight
    edges = np.unique(quantiles(pd_, np.linspace(0, 1, 11)[1:-1], weight))
    # One bin if all PDs are the same.
    bin_of_row = np.searchsorted(edges, pd_, side="right")
    _, bins = np.unique(bin_of_row, return_inverse=True)
    total = np.bincount(bins, weights)
    rate = np.bincount(bins, weights * label) / total
    # As many rows as the weights leave of them (Kish 1965).
    n = total**2 / np.bincount(bins, weights**2)
    bad = rate * n
    low = stats.beta.ppf(0.025, bad, n - bad + 1)
    high = stats.beta.ppf(0.975, bad + 1, n - bad)
    return pd.DataFrame(
        {
            "mean_pd": np.bincount(bins, weights * pd_) / total,
            "rate": rate,
            "low": np.nan_to_num(low),
            "high": np.nan_to_num(high, nan=1.0),
        }
    )


def scores(
    pd_: Floats,
    label: Ints,
    weight: Floats | None = None,
) -> Figure:
    """Draw the distribution of the PDs of defaults and of other rows.

    Parameters
    ----------
    pd_ : ndarray of float, shape (n,)
        PDs in (0, 1).
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default.
    """
    figure, axes = axes_of()
    weights = np.ones(len(label)) if weight is None else weight
    bins = np.geomspace(max(pd_.min(), 1e-5), pd_.max() * 1.01, 40).tolist()
    for value, name, colour in ((0, "no default", OURS), (1, "default", PEER)):
        axes.hist(
            pd_[label == value],
            weights=weights[label == value],
            bins=bins,
            density=True,
            alpha=0.55,
            color=colour,
            label=name,
        )
    axes.set_xscale("log")
    axes.set_xlabel("predicted PD (probability, log scale)")
    axes.set_ylabel("density of rows")
    axes.set_title("Predicted PD by outcome")
    axes.legend(frameon=False)
    return figure


def captions(names: Iterable[object], longest: int = LONGEST_NAME) -> list[str]:
    """Return names as a picture can show them: short, in one line, and none twice.

    Parameters
    ----------
    names : iterable of object
        Of columns or levels; they may contain anything.
    longest : int
        Characters that are shown.

    Examples
    --------
    >>> captions(["in $", "two\\nlines", "same", "same"])
    ['in \\\\$', 'two lines', 'same', 'same (2)']
    """
    shown = list[str]()
    for name in names:
        plain = "".join(sign if sign.isprintable() else " " for sign in str(name))
        caption = plain if len(plain) <= longest else plain[: longest - 1] + "…"
        # A pair of dollar signs would be read as a formula.
        caption = caption.replace("$", "\\$")
        n_before = sum(other.partition(" (")[0] == caption for other in shown)
        shown.append(f"{caption} ({n_before + 1})" if n_before else caption)
    return shown


def beeswarm(model: PdModel, rows: Floats) -> Figure:
    """Draw the SHAP contributions of some rows."""
    import matplotlib.pyplot as plt
    import shap  # here: it takes seconds to import and only this plot needs it

    contributions, _ = model.explain(rows)
    base = np.full(len(rows), model.base)
    # shap draws with pyplot, whose backend belongs to the caller: the command line
    # sets Agg, and a notebook that was switched to it would show no later picture.
    plt.figure()
    explained = shap.Explanation(
        contributions, base, rows, feature_names=captions(model.features)
    )
    shap.plots.beeswarm(explained, max_display=MOST_BARS, show=False)
    figure = plt.gcf()
    axes = figure.axes[0]
    axes.set_xlabel("contribution to the margin (log-odds; right raises the PD)")
    axes.set_ylabel("column")
    axes.set_title("What moves the PD")
    plt.close(figure)
    return figure


def psi_bars(psi: pd.Series[float], score_psi: float) -> Figure:
    """Draw the population stability index of the columns that moved most.

    Parameters
    ----------
    psi : Series
        Of each column, the largest first.
    score_psi : float
        Of the PD; named in the title.

    Returns
    -------
    Figure
        The picture.
    """
    figure, axes = axes_of(6.4, 5.0)
    top = psi.head(MOST_BARS)[::-1]
    axes.barh(captions(top.index), top.to_numpy(), color=OURS)
    for height, (level, name) in enumerate(PSI_LEVELS):
        axes.axvline(
            level,
            color=PEER,
            ls=":",
            lw=1,
        )
        axes.text(
            level,
            0.2 + height,
            f" {name} {level}",
            color=PEER,
            fontsize=8,
        )
    axes.set_xlabel("population stability index, test against training rows (no unit)")
    axes.set_ylabel("column")
    axes.set_title(f"Stability of the columns; PSI of the PD {score_psi:.3f}")
    return figure


def dependence(curves: Mapping[str, pd.Series[float]]) -> Figure:
    """Draw the mean PD along the grid of each of up to six columns."""
    figure = Picture(figsize=(9.6, 5.2))
    grid = np.ravel(figure.subplots(2, 3))
    names = captions(curves)
    for axes, name, curve in zip(grid, names, curves.values(), strict=False):
        _simplify(axes)
        if curve.index.dtype.kind == "f":
            _draw_curve(axes, name, curve)
        else:
            _draw_levels(axes, name, curve)
    figure.suptitle("Partial dependence of the six columns that move the PD most")
    figure.tight_layout()
    return figure


def _draw_curve(axes: Axes, name: str, curve: pd.Series[float]) -> None:
    axes.plot(
        curve.index,
        curve.to_numpy(),
        color=OURS,
        lw=2,
    )
    axes.set_xlabel(f"{name} (its own unit)", fontsize=8)
    axes.set_ylabel("mean PD (probability)", fontsize=8)
    axes.tick_params(labelsize=7)


def _draw_levels(axes: Axes, name: str, curve: pd.Series[float]) -> None:
    levels = captions(curve.index, LONGEST_LEVEL)
    axes.barh(levels, curve.to_numpy(), color=OURS)
    axes.set_xlabel(f"mean PD (probability) by {name}", fontsize=8)
    axes.tick_params(labelsize=6)


def learning_curve(curve: pd.DataFrame) -> Figure:
    """Draw AUCs over the number of training rows."""
    figure, axes = axes_of()
    for name, colour in zip(curve, COLOURS, strict=False):
        axes.plot(
            curve.index,
            curve[name],
            "o-",
            color=colour,
            label=str(name),
        )
    axes.set_xlabel("training rows (count)")
    axes.set_ylabel("AUC (probability)")
    axes.set_title("Learning curve")
    axes.legend(frameon=False)
    return figure


def horizons(checks: pd.DataFrame) -> Figure:
    """Draw mean PDs beside default rates by days past due, a panel for each horizon.

    Parameters
    ----------
    checks : DataFrame
        ``days, bucket, mean_pd, rate, low, high``; the last three are the default rate
        with the ends of its interval.

    Returns
    -------
    Figure
        The picture.
    """
    panels = list(checks.groupby("days"))
    figure = Picture(figsize=(3.6 * len(panels) + 1, 4.6))
    grid = np.ravel(figure.subplots(1, len(panels)))
    for axes, (days, panel) in zip(grid, panels, strict=True):
        _simplify(axes)
        _draw_horizon(axes, panel)
        axes.set_title(f"within {days} days", fontsize=9)
        axes.set_xlabel("days past due on the as-of date", fontsize=8)
    grid[0].set_ylabel("PD and default rate (probability)")
    grid[0].legend(frameon=False, fontsize=8)
    figure.suptitle("PD by horizon on unseen rows")
    figure.tight_layout()
    return figure


def _draw_horizon(axes: Axes, panel: pd.DataFrame) -> None:
    x = np.arange(len(panel))
    below = panel["rate"] - panel["low"]
    above = panel["high"] - panel["rate"]
    axes.errorbar(
        x - 0.1,
        panel["rate"],
        yerr=np.vstack([below, above]),
        fmt="s",
        color=PEER,
        capsize=3,
        label="default rate, 95%",
    )
    axes.plot(
        x + 0.1,
        panel["mean_pd"],
        "o",
        color=OURS,
        label="mean PD",
    )
    names = [str(name).removesuffix(" days past due") for name in panel["bucket"]]
    axes.set_xticks(x, names, rotation=45, fontsize=7)
    axes.set_ylim(bottom=0)


def level(cohorts: pd.DataFrame) -> Figure:
    """Draw defaults seen so far beside those expected, by as-of date.

    Parameters
    ----------
    cohorts : DataFrame
        Index as-of date; ``defaults, expected, expected_after, days``.

    Returns
    -------
    Figure
        The picture.
    """
    figure, axes = axes_of(7.2, 4.0)
    x = np.arange(len(cohorts))
    for column, offset, colour, name in (
        ("expected", -0.25, FAINT, "expected before the level was moved"),
        ("expected_after", 0.0, OURS, "expected after"),
        ("defaults", 0.25, PEER, "seen so far"),
    ):
        axes.bar(
            x + offset,
            cohorts[column],
            width=0.25,
            color=colour,
            label=name,
        )
    names = [f"{day}\n{days} days" for day, days in cohorts["days"].items()]
    axes.set_xticks(x, names, fontsize=8)
    axes.set_xlabel("as-of date, and the days it was watched")
    axes.set_ylabel("defaults (count)")
    axes.set_title("Dates after the training rows, as far as they are known")
    axes.legend(frameon=False)
    return figure
