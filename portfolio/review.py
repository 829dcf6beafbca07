"""A portfolio under review: provisions per invoice, how grades and ages move by month, vintages, and stress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

import pandas as pd

from obligor.data.account import Account
from obligor.model.pd_model import PdModel
from obligor.policy.rulebooks.rulebook import Rulebook, in_force
from obligor.portfolio.migration import implied_loss_rates, migration, roll_rates
from obligor.portfolio.month import month_of
from obligor.portfolio.provisions import provisions
from obligor.portfolio.stress import stress
from obligor.portfolio.vintages import vintages


@dataclass(frozen=True)
class Review:
    """All of it, as of the last of some months."""

    provisions: pd.DataFrame
    migration: pd.DataFrame
    roll_rates: pd.DataFrame
    implied_loss_rates: dict[str, float]
    vintages: pd.DataFrame
    stress: dict[str, dict[str, Any]]


def review(
    accounts: Iterable[Account],
    days: Sequence[date],
    model: PdModel,
    rulebooks: Sequence[Rulebook],
    sector: str | None = None,
    progress: Callable[[Iterable[date]], Iterable[date]] = iter,
) -> Review:
    """Review a portfolio over some days, a month apart; the moves from each to the next are added up.

    Raises
    ------
    AsOfError, SchemaError
        Where nothing was known on a day, or the sector is unknown.
    """
    accounts, rulebook = list(accounts), in_force(rulebooks, days[-1])
    months = [month_of(accounts, day, model, rulebooks) for day in progress(days)]
    pairs = list(pairwise(months))
    rolls = sum((roll_rates(*pair) for pair in pairs[1:]), roll_rates(*pairs[0]))
    return Review(
        provisions=provisions(months[-1], rulebook),
        migration=sum((migration(*pair) for pair in pairs[1:]), migration(*pairs[0])),
        roll_rates=rolls,
        implied_loss_rates=implied_loss_rates(rolls, float(rulebook.parameters["lgd"])),
        vintages=vintages(accounts, days[-1]),
        stress=stress(months[-1].portfolio, rulebook, sector),
    )
