"""What decisions by the PD cost, cut-off by cut-off."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from obligor.arrays import Floats, Ints
from obligor.features.table_spec import Costs
from obligor.metrics.statistics import Interval
from obligor.training.validation import plots
from obligor.training.validation.subject import ModelUnderTest, Section

CUT_OFFS = 200  # PDs that are tried
INTERVAL = (0.025, 0.975)


class RowCosts(NamedTuple):
    """What a wrong decision about each row costs.

    Attributes
    ----------
    if_accepted, if_refused : ndarray of float, shape (n,)
        Cost of the row if it is accepted, and if it is refused; one of them is 0.
    """

    if_accepted: Floats
    if_refused: Floats


class CostCurve(NamedTuple):
    """Expected costs by cut-off.

    Attributes
    ----------
    cut_offs : ndarray of float, shape (k,)
        Rows with this PD or a lower one are accepted; the first accepts nobody.
    costs : ndarray of float, shape (k,)
        Mean cost of a row.
    """

    cut_offs: Floats
    costs: Floats

    @property
    def best(self) -> int:
        """Index of the cut-off with the least cost; the lowest such."""
        return int(np.argmin(self.costs))


def row_costs(
    label: Ints,
    costs: Costs,
    amount: Floats | None,
) -> RowCosts:
    """Return what accepting and refusing each row costs.

    Parameters
    ----------
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    costs : Costs
        Of an accepted default and of another row that is refused.
    amount : ndarray of float, shape (n,), optional
        The costs are shares of it; 1 by default.

    Examples
    --------
    >>> costs = Costs(bad_accepted=5, good_rejected=1)
    >>> row_costs(np.array([1, 0]), costs, None).if_accepted.tolist()
    [5.0, 0.0]
    """
    amounts = np.ones(len(label)) if amount is None else amount
    return RowCosts(
        if_accepted=amounts * label * costs.of_bad,
        if_refused=amounts * (1 - label) * costs.of_good,
    )


def cost_curve(
    pd_: Floats,
    costs: RowCosts,
    weight: Floats,
    cut_offs: Floats,
) -> CostCurve:
    """Return the mean cost of a row at each cut-off.

    Parameters
    ----------
    pd_ : ndarray of float, shape (n,)
        PDs in (0, 1).
    costs : RowCosts
        Of each row.
    weight : ndarray of float, shape (n,)
        How often each row counts.
    cut_offs : ndarray of float, shape (k,)
        In rising order.

    Examples
    --------
    >>> of_wrong = Costs(bad_accepted=5, good_rejected=1)
    >>> costs = row_costs(np.array([0, 1]), of_wrong, None)
    >>> pd_ = np.array([0.1, 0.6])
    >>> curve = cost_curve(pd_, costs, np.ones(2), np.array([0.0, 0.2, 1.0]))
    >>> curve.costs.tolist()    # refuse both, accept the good one, accept both
    [0.5, 0.0, 2.5]
    """
    # A row is accepted from the first cut-off on that its PD does not exceed.
    first_accepted = np.searchsorted(cut_offs, pd_, side="left")
    change = weight * (costs.if_accepted - costs.if_refused)
    added = np.bincount(first_accepted, change, minlength=len(cut_offs) + 1)
    if_nobody = float((weight * costs.if_refused).sum())
    totals = if_nobody + np.cumsum(added[: len(cut_offs)])
    return CostCurve(cut_offs, totals / weight.sum())


def expected_costs(
    subject: ModelUnderTest,
    costs: Costs,
    amount: Floats | None,
) -> Section:
    """Show the expected cost of each cut-off, and the best one with its interval.

    Parameters
    ----------
    subject : ModelUnderTest
        The model on its test rows.
    costs : Costs
        Of wrong decisions.
    amount : ndarray of float, shape (n,), optional
        Amount of each test row, if the costs are shares of it.
    """
    pd_ = subject.test_pd
    of_rows = row_costs(subject.test.label, costs, amount)
    shares = np.linspace(0, 1, CUT_OFFS)
    cut_offs = np.unique(np.append(0.0, np.quantile(pd_, shares)))
    curve = cost_curve(
        pd_,
        of_rows,
        subject.resampling.row_weight,
        cut_offs,
    )
    best_cut_offs = []
    savings = []
    for weight in subject.resampling:
        drawn = cost_curve(pd_, of_rows, weight, cut_offs)
        best_cut_offs.append(cut_offs[drawn.best])
        savings.append(_saving(drawn.costs, curve.best))
    best = _interval(float(cut_offs[curve.best]), best_cut_offs)
    saving = _interval(_saving(curve.costs, curve.best), savings)
    return Section(
        id="costs",
        title="Expected cost by cut-off",
        verdict="good" if saving.low > 0 else "look",
        summary=_describe(costs, curve, best, saving),
        tables=(("Cut-offs", _table(subject, curve, costs)),),
        pictures=(("Expected cost", _picture(curve, best, costs)),),
    )


def _saving(costs: Floats, best: int) -> float:
    """What a cut-off saves against the cheaper of accepting and refusing everybody."""
    return float(min(costs[0], costs[-1]) - costs[best])


def _interval(value: float, draws: list[float]) -> Interval:
    low, high = np.quantile(draws, INTERVAL).tolist()
    return Interval(value, low, high)


def _theoretical(costs: Costs) -> float:
    """The PD at which accepting and refusing cost the same: g / (g + b)."""
    return costs.of_good / (costs.of_good + costs.of_bad)


def _describe(
    costs: Costs,
    curve: CostCurve,
    best: Interval,
    saving: Interval,
) -> str:
    share = f" of {costs.amount}" if costs.amount else ""
    verdict = "more than" if saving.low > 0 else "no more than"
    return (
        f"An accepted default costs {costs.of_bad:g}{share}, a good applicant who is "
        f"refused {costs.of_good:g}{share} ({costs.unit}). Accepting every PD up to "
        f"{best} costs least: {curve.costs[curve.best]:.6g} {costs.unit} per "
        f"applicant, {saving} less than the cheaper of accepting and refusing "
        f"everybody, {verdict} chance explains. If PDs are right, the cut-off is "
        f"{_theoretical(costs):.4f}."
    )


def _table(
    subject: ModelUnderTest,
    curve: CostCurve,
    costs: Costs,
) -> pd.DataFrame:
    last = len(curve.cut_offs) - 1
    by_formula = np.searchsorted(curve.cut_offs, _theoretical(costs), side="right") - 1
    chosen = {
        "refuse everybody": 0,
        "best": curve.best,
        "if PDs are right": int(by_formula),
        "accept everybody": last,
    }
    for share in (0.25, 0.5, 0.75):
        chosen[f"{share:.0%} of the cut-offs"] = round(share * last)
    rows = {}
    for name, index in chosen.items():
        cut_off = float(curve.cut_offs[index])
        rows[name] = {
            "cut-off (PD)": cut_off,
            **_accepted(subject, cut_off),
            f"cost ({costs.unit} per applicant)": float(curve.costs[index]),
        }
    return pd.DataFrame(rows).T.sort_values("cut-off (PD)", kind="stable")


def _accepted(subject: ModelUnderTest, cut_off: float) -> dict[str, float]:
    weight = subject.resampling.row_weight
    is_accepted = subject.test_pd <= cut_off
    accepted = float(weight[is_accepted].sum())
    bad = float((weight * subject.test.label)[is_accepted].sum())
    return {
        "accepted": accepted / float(weight.sum()),
        "default rate of the accepted": bad / accepted if accepted else float("nan"),
    }


def _picture(
    curve: CostCurve,
    best: Interval,
    costs: Costs,
) -> Figure:
    figure, axes = plots.axes_of()
    axes.plot(
        curve.cut_offs,
        curve.costs,
        color=plots.OURS,
        lw=2,
        label="expected cost",
    )
    axes.axvspan(
        best.low,
        best.high,
        color=plots.FAINT,
        alpha=0.3,
        label="95% interval of the best cut-off",
    )
    axes.axvline(
        best.value,
        color=plots.PEER,
        ls="--",
        lw=1,
        label=f"best cut-off {best.value:.4f}",
    )
    axes.set_xlabel("cut-off: highest PD that is accepted (probability)")
    axes.set_ylabel(f"expected cost ({costs.unit} per applicant)")
    axes.set_title("Expected cost by cut-off on unseen rows")
    axes.legend(frameon=False)
    return figure
