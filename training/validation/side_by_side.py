"""Two models side by side on the same rows: figures, and who would be approved.

A version is compared with the champion before it takes its place. Each model reads the
rows in its own way, so they may have other columns and be of other kinds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from typing_extensions import TypedDict

from obligor.arrays import Bools, Floats, Ints
from obligor.metrics.figures import figures, with_intervals
from obligor.metrics.significance import AucTest, delong
from obligor.metrics.statistics import Interval, Resampling
from obligor.training.validation.subject import ModelUnderTest, Section, Verdict

APPROVED = 0.8  # share of the rows that both approve if no other is stated
COMPARED = ("auc", "brier", "log_loss", "calibration_slope", "ece", "mean_pd")
LOWER_IS_BETTER = ("brier", "log_loss")
FEWEST = 5  # defaults, and others, that figures are given for
GROUPS = (
    "approved by both",
    "only by this model",
    "only by the {rival}",
    "by neither",
)


class ScoredRows(NamedTuple):
    """Rows that two models have scored.

    Attributes
    ----------
    first, second : ndarray of float, shape (n,)
        PDs of both models over one horizon.
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    groups : ndarray of int, shape (n,)
        The customer or applicant of each row.
    amount : ndarray of float, shape (n,), optional
        Money that each row stands for, NaN if it is not known.
    weight : ndarray of float, shape (n,), optional
        How often each row counts in the figures; 1 by default.
    """

    first: Floats
    second: Floats
    label: Ints
    groups: Ints
    amount: Floats | None = None
    weight: Floats | None = None


class ApprovalRule(NamedTuple):
    """Whom a model approves.

    Attributes
    ----------
    share : float
        Both models approve this share of the rows, those of the lowest PD.
    cut_off : float, optional
        Both models approve PDs of at most this; by default the PD at which the second
        model approves `share`.
    """

    share: float = APPROVED
    cut_off: float | None = None


class SwapGroup(TypedDict):
    """Rows that both models approve, or one of them, or neither."""

    group: str
    rows: int
    defaults: int
    default_rate: float | None
    amount: float | None
    amount_in_default: float | None


@dataclass(frozen=True)
class SwapSet:
    """Who would be approved by one model and not by the other.

    Attributes
    ----------
    rule : str
        Whom each model approves, in words.
    groups : tuple of SwapGroup
        Both, the first only, the second only, neither.
    """

    rule: str
    groups: tuple[SwapGroup, ...]

    def table(self) -> pd.DataFrame:
        """Return the groups as a table; amounts only if there are any."""
        table = pd.DataFrame(self.groups).set_index("group")
        rates = table["default_rate"].tolist()
        table["default_rate"] = [
            "-" if pd.isna(share) else f"{share:.2%}" for share in rates
        ]
        return table.dropna(axis="columns", how="all")


@dataclass(frozen=True)
class SideBySide:
    """Two models on the same rows.

    Attributes
    ----------
    rows, defaults : int
        How many rows were compared, and how many of them defaulted.
    first, second : mapping of Interval
        Figures of both models, by name.
    gaps : mapping of Interval
        Figures of the first less those of the second; paired intervals.
    auc_test : AucTest
        Whether the AUCs differ (DeLong).
    swaps : tuple of SwapSet
        At one approval rate, and at one PD cut-off.
    """

    rows: int
    defaults: int
    first: Mapping[str, Interval]
    second: Mapping[str, Interval]
    gaps: Mapping[str, Interval]
    auc_test: AucTest
    swaps: tuple[SwapSet, ...]

    def table(self, first_name: str, second_name: str) -> pd.DataFrame:
        """Return the figures of both models and their differences.

        Parameters
        ----------
        first_name, second_name : str
            Headings of the two models.
        """
        rows = {}
        for name in COMPARED:
            rows[name] = {
                first_name: str(self.first[name]),
                second_name: str(self.second[name]),
                "difference": str(self.gaps[name]),
            }
        return pd.DataFrame(rows).T

    def as_dict(self) -> dict[str, object]:
        """Return everything as JSON values."""
        by_figure = {}
        for name in COMPARED:
            by_figure[name] = {
                "first": vars(self.first[name]),
                "second": vars(self.second[name]),
                "difference": vars(self.gaps[name]),
            }
        swaps = [
            {"rule": swap.rule, "groups": list(swap.groups)} for swap in self.swaps
        ]
        return {
            "rows": self.rows,
            "defaults": self.defaults,
            "figures": by_figure,
            "delong": self.auc_test._asdict(),
            "swap_sets": swaps,
        }

    def worse(self) -> list[str]:
        """Return in which figures the first model is worse by more than chance."""
        worse = []
        if self.gaps["auc"].high < 0:
            worse.append("auc")
        worse += [name for name in LOWER_IS_BETTER if self.gaps[name].low > 0]
        return worse


def can_be_compared(label: Ints) -> bool:
    """Return whether both outcomes are frequent enough for figures."""
    n_defaults = int(label.sum())
    return min(n_defaults, len(label) - n_defaults) >= FEWEST


def side_by_side(
    rows: ScoredRows,
    rounds: int,
    seed: int,
    rule: ApprovalRule | None = None,
    second_name: str = "other model",
) -> SideBySide:
    """Compare two models on the same rows.

    Parameters
    ----------
    rows : ScoredRows
        Rows that neither model has learnt from; `can_be_compared` holds.
    rounds : int
        Bootstrap samples of every interval.
    seed : int
        Of the bootstrap.
    rule : ApprovalRule, optional
        Whom the models approve in the swap-sets.
    second_name : str
        What the second model is called in the swap-sets.

    Returns
    -------
    SideBySide
        Figures, differences, DeLong's test and the swap-sets.
    """
    groups = pd.factorize(rows.groups)[0].astype(np.int64)
    measured = with_intervals(
        rows.first,
        rows.label,
        Resampling(
            groups,
            rounds,
            seed,
            rows.weight,
        ),
        measure=_PairedMeasure(rows.second),
    )
    return SideBySide(
        rows=len(rows.label),
        defaults=int(rows.label.sum()),
        first=_with_prefix(measured, "first"),
        second=_with_prefix(measured, "second"),
        gaps=_with_prefix(measured, "gap"),
        auc_test=delong(rows.first, rows.second, rows.label),
        swaps=swap_sets(rows, rule or ApprovalRule(), second_name),
    )


@dataclass(frozen=True)
class _PairedMeasure:
    """Figures of two models and their differences on one bootstrap sample."""

    second: Floats

    def __call__(
        self,
        first: Floats,
        label: Ints,
        weight: Floats,
    ) -> dict[str, float]:
        of_first = figures(first, label, weight)
        of_second = figures(self.second, label, weight)
        measured = dict[str, float]()
        for name in COMPARED:
            measured[f"first {name}"] = of_first[name]
            measured[f"second {name}"] = of_second[name]
            measured[f"gap {name}"] = of_first[name] - of_second[name]
        return measured


def _with_prefix(measured: Mapping[str, Interval], prefix: str) -> dict[str, Interval]:
    return {name: measured[f"{prefix} {name}"] for name in COMPARED}


def swap_sets(
    rows: ScoredRows, rule: ApprovalRule, second_name: str
) -> tuple[SwapSet, SwapSet]:
    """Return who would be approved by one model and not by the other.

    Parameters
    ----------
    rows : ScoredRows
        Rows that both models have scored.
    rule : ApprovalRule
        The share of the rows, and the cut-off.
    second_name : str
        What the second model is called.

    Returns
    -------
    tuple of SwapSet
        At one approval rate, then at one cut-off of the PD.
    """
    n_approved = round(rule.share * len(rows.label))
    same_share = _swap_set(
        f"each approves the {n_approved:,} rows ({rule.share:.0%}) of the lowest PD",
        rows,
        _lowest(rows.first, n_approved),
        _lowest(rows.second, n_approved),
        second_name,
    )
    cut_off = rule.cut_off
    stated = "as stated"
    if cut_off is None:
        cut_off = float(np.sort(rows.second)[max(n_approved - 1, 0)])
        stated = f"at which the {second_name} approves {rule.share:.0%}"
    approves_first = rows.first <= cut_off
    approves_second = rows.second <= cut_off
    same_cut_off = _swap_set(
        f"a PD of at most {cut_off:.4f} is approved ({stated}): "
        f"{approves_first.mean():.1%} of the rows by this model, "
        f"{approves_second.mean():.1%} by the {second_name}",
        rows,
        approves_first,
        approves_second,
        second_name,
    )
    return same_share, same_cut_off


def _lowest(pd_: Floats, n_approved: int) -> Bools:
    """Whether each row is among the lowest PDs; of equal ones the first rows are."""
    is_approved = np.zeros(len(pd_), dtype=bool)
    is_approved[np.argsort(pd_, kind="stable")[:n_approved]] = True
    return is_approved


def _swap_set(
    rule: str,
    rows: ScoredRows,
    by_first: Bools,
    by_second: Bools,
    second_name: str,
) -> SwapSet:
    masks = (
        by_first & by_second,
        by_first & ~by_second,
        ~by_first & by_second,
        ~by_first & ~by_second,
    )
    groups = []
    for title, is_inside in zip(GROUPS, masks, strict=True):
        groups.append(_swap_group(title.format(rival=second_name), rows, is_inside))
    return SwapSet(rule, tuple(groups))


def _swap_group(title: str, rows: ScoredRows, is_inside: Bools) -> SwapGroup:
    n = int(is_inside.sum())
    is_default = is_inside & (rows.label == 1)
    n_defaults = int(is_default.sum())
    amount = None
    amount_in_default = None
    if rows.amount is not None:
        amount = round(float(np.nansum(rows.amount[is_inside])), 2)
        amount_in_default = round(float(np.nansum(rows.amount[is_default])), 2)
    return {
        "group": title,
        "rows": n,
        "defaults": n_defaults,
        "default_rate": round(n_defaults / n, 6) if n else None,
        "amount": amount,
        "amount_in_default": amount_in_default,
    }


def beside_champion(subject: ModelUnderTest) -> Section:
    """Show the model beside the champion of its population, with the swap-set."""
    rival = subject.rival
    if rival is None:
        summary = "There is no champion of this population to compare with."
        return _section("none", summary)
    notes = " ".join(rival.notes)
    if rival.pd is None:
        return _section("look", f"No comparison: {notes}.")
    is_unseen = rival.is_unseen
    label = subject.test.label[is_unseen]
    if not can_be_compared(label):
        summary = (
            f"Only {len(label):,} test rows with {int(label.sum()):,} defaults are "
            f"new to the {rival.name}: too few to compare. {notes}"
        )
        return _section("look", summary)
    amount = None if rival.amount is None else rival.amount[is_unseen]
    weight = subject.test.weight
    rows = ScoredRows(
        first=subject.test_pd[is_unseen],
        second=rival.pd[is_unseen],
        label=label,
        groups=subject.test.groups[is_unseen],
        amount=amount,
        weight=None if weight is None else weight[is_unseen],
    )
    compared = side_by_side(
        rows,
        subject.rounds,
        subject.seed,
        second_name=rival.name,
    )
    return _compared_section(compared, rival.name, notes)


def _compared_section(compared: SideBySide, name: str, notes: str) -> Section:
    worse = compared.worse()
    if worse:
        summary = f"This model is worse than the {name} by more than chance: {worse}. "
    else:
        summary = f"This model is not worse than the {name} by more than chance. "
    summary += f"{describe(compared, name)} {notes}"
    caption = "Both models on the same rows; paired bootstrap over customers"
    tables = [(caption, compared.table("this model", name))]
    tables += [(f"Swap-set: {swap.rule}", swap.table()) for swap in compared.swaps]
    return _section("look" if worse else "good", summary, tuple(tables))


def describe(compared: SideBySide, second_name: str) -> str:
    """Return the comparison in two sentences.

    Parameters
    ----------
    compared : SideBySide
        Figures and swap-sets.
    second_name : str
        What the second model is called.
    """
    test = compared.auc_test
    only_first = compared.swaps[0].groups[1]
    only_second = compared.swaps[0].groups[2]
    return (
        f"Its AUC is {compared.first['auc'].value:.4f} against "
        f"{compared.second['auc'].value:.4f} on {compared.rows:,} rows with "
        f"{compared.defaults:,} defaults (DeLong p = {test.p_value:.3g}). If "
        f"{compared.swaps[0].rule}, this model alone approves {only_first['rows']:,} "
        f"rows with {only_first['defaults']:,} defaults, the "
        f"{second_name} alone "
        f"{only_second['rows']:,} with {only_second['defaults']:,}."
    )


def _section(
    verdict: Verdict,
    summary: str,
    tables: tuple[tuple[str, pd.DataFrame], ...] = (),
) -> Section:
    return Section(
        id="beside_champion",
        title="Beside the champion",
        verdict=verdict,
        summary=summary.strip(),
        tables=tables,
    )
