"""A model refitted at several origins, and the figures of each window after one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from obligor.metrics.statistics import Interval
from obligor.training.validation import plots
from obligor.training.validation.subject import Section

SHOWN = (
    "auc",
    "gini",
    "ks",
    "brier",
    "log_loss",
    "ece",
    "calibration_slope",
    "mean_pd",
    "default_rate",
)


class Window(NamedTuple):
    """One window of rows that a model is measured on.

    Attributes
    ----------
    name : str
        First day of the window, or the name of a part.
    learned, measured : int
        Number of rows learned from, and of rows in the window.
    figures : dict of str to Interval
        Of the promoted candidate on the window's rows.
    """

    name: str
    learned: int
    measured: int
    figures: dict[str, Interval]


def rolling_origins(windows: Sequence[Window]) -> Section:
    """Show the figures after each origin and their spread.

    Each model learns from all rows before its origin (expanding windows) and is
    measured up to the next origin.
    """
    areas = [window.figures["auc"] for window in windows]
    highest_low = max(area.low for area in areas)
    lowest_high = min(area.high for area in areas)
    is_alike = highest_low <= lowest_high
    values = [area.value for area in areas]
    summary = (
        f"{len(windows)} origins, each fitted on all earlier rows: the AUC lies "
        f"between {min(values):.4f} and {max(values):.4f}. "
    )
    if is_alike:
        summary += "The intervals of all origins overlap."
    else:
        summary += "The intervals of some origins do not overlap: look at them."
    return Section(
        id="origins",
        title="Rolling origins",
        verdict="good" if is_alike else "look",
        summary=summary,
        tables=(
            ("Figures after each origin, 95% intervals", _table(windows)),
            ("Spread over the origins", spread(windows)),
        ),
        pictures=(("Rolling origins", _picture(windows)),),
    )


def validation_rows(window: Window) -> Section:
    """Show the figures of the rows that a split column sets aside for validation."""
    return Section(
        id="validation_rows",
        title="Validation rows",
        verdict="good",
        summary=f"{window.measured:,} rows are set aside by the column of parts. They "
        f"have no part in the fit: their AUC is {window.figures['auc']}.",
        tables=(("Figures, 95% intervals", _table([window])),),
    )


def spread(windows: Sequence[Window]) -> pd.DataFrame:
    """Return how much each figure differs from window to window.

    Returns
    -------
    DataFrame
        A row per figure: mean, standard deviation, lowest and highest.

    Examples
    --------
    >>> first = Window("2023", 10, 5, {"auc": Interval(0.6, 0.5, 0.7)})
    >>> second = Window("2024", 15, 5, {"auc": Interval(0.8, 0.7, 0.9)})
    >>> spread([first, second]).round(3).to_dict("index")["auc"]["deviation"]
    0.141
    """
    values = pd.DataFrame(
        [
            {name: figure.value for name, figure in window.figures.items()}
            for window in windows
        ]
    )
    table = pd.DataFrame(
        {
            "mean": values.mean(),
            "deviation": values.std(),
            "lowest": values.min(),
            "highest": values.max(),
        }
    )
    return table.loc[[name for name in SHOWN if name in table.index]]


def _table(windows: Sequence[Window]) -> pd.DataFrame:
    columns = {}
    for window in windows:
        column = {
            "rows learned from": str(window.learned),
            "rows": str(window.measured),
        }
        for name in SHOWN:
            column[name] = str(window.figures[name])
        columns[window.name] = column
    return pd.DataFrame(columns)


def _picture(windows: Sequence[Window]) -> Figure:
    figure, axes = plots.axes_of()
    names = [window.name for window in windows]
    areas = [window.figures["auc"] for window in windows]
    values = [area.value for area in areas]
    below = [area.value - area.low for area in areas]
    above = [area.high - area.value for area in areas]
    axes.errorbar(
        names,
        values,
        yerr=[below, above],
        fmt="o-",
        color=plots.OURS,
        capsize=3,
    )
    axes.tick_params(axis="x", labelrotation=30)
    axes.set_xlabel("origin (first day that is tested on)")
    axes.set_ylabel("AUC (probability)")
    axes.set_title("AUC after each origin, 95% intervals")
    return figure
