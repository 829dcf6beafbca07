"""One materiality for the training default and for the rules."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from obligor.errors import SchemaError
from obligor.features.kernel import MaterialAmount
from obligor.policy.rulebooks.rulebook import (
    RULES,
    Rulebook,
    in_force,
    read_rulebooks,
)
from obligor.training.samples.config import DefaultDefinition, TrainingConfig


def with_materiality(
    config: TrainingConfig,
    on: date,
    rules: Path = RULES,
) -> TrainingConfig:
    """Return the configuration with the rulebook's materiality, unless it has its own.

    Parameters
    ----------
    config : TrainingConfig
        If its default is to be that of the rulebook, amount and share are taken from
        there, and customers are counted.
    on : date
        The day whose rulebook is taken: the last one of the ledger.
    rules : Path
        Folder of dated rulebooks.

    Returns
    -------
    TrainingConfig
        With a definition of default that states its amounts.

    Raises
    ------
    SchemaError
        If the configuration asks for the rulebook's materiality, and the rulebook in
        force on the day states none.
    """
    if not config.default.is_of_rulebook:
        return config
    rulebook = rulebook_on(on, rules)
    materiality = rulebook.materiality
    if materiality is None and config.default.materiality_from is None:
        return config
    if materiality is None:
        raise SchemaError(
            f"the rulebook of {rulebook.version} states no materiality",
            where="default.materiality_from",
            expected="a rulebook with materiality_amount and materiality_share",
            do="release one, or state counts, materiality and materiality_share",
        )
    definition = config.default.model_copy(
        update={
            "counts": "customer",
            "materiality": float(materiality.amount),
            "materiality_share": float(materiality.share),
            "materiality_from": None,
        }
    )
    return config.model_copy(update={"default": definition})


def material_of(config: TrainingConfig) -> MaterialAmount | None:
    """Return what is material to the default, as the features count it too.

    Returns None for the first edition of the catalogue, which counts every amount.
    """
    if config.catalogue == 1:
        return None
    definition = config.default
    return MaterialAmount(
        amount=definition.materiality,
        share=definition.materiality_share,
    )


def rulebook_on(day: date, rules: Path = RULES) -> Rulebook:
    """Return the released rulebook in force on a day, the first one before that."""
    rulebooks, _ = read_rulebooks(rules)
    first = min(rulebook.effective for rulebook in rulebooks)
    return in_force(rulebooks, max(day, first))


def comparison(definition: DefaultDefinition, rulebook: Rulebook) -> str:
    """Return whether training and rules count the same amounts, in a sentence.

    Parameters
    ----------
    definition : DefaultDefinition
        The training default, its amounts looked up.
    rulebook : Rulebook
        The rules that will use the model.

    Returns
    -------
    str
        One sentence, and what to do if they differ.
    """
    rules = f"the rulebook of {rulebook.version}"
    if rulebook.materiality is None:
        return f"{rules} states no materiality".capitalize() + "."
    amount = float(rulebook.materiality.amount)
    share = float(rulebook.materiality.share)
    stated = (definition.counts, definition.materiality, definition.materiality_share)
    if stated == ("customer", amount, share):
        return f"The materiality is that of {rules}."
    return (
        f"The materiality is not that of {rules}: the default counts "
        f"{_counted(definition)}; the rules count more than {amount:g} and "
        f"{share:.2%} of what a customer owes. To train on the same one, set "
        'materiality_from = "rulebook" under [default].'
    )


def _counted(definition: DefaultDefinition) -> str:
    if definition.counts == "item":
        return f"each item from {definition.materiality:g} on"
    return (
        f"more than {definition.materiality:g} and {definition.materiality_share:.2%} "
        "of what a customer owes"
    )
