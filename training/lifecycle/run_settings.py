"""Where a run is kept, under what time, and what people wrote in its model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from obligor.model.bundle import MODEL_NAME
from obligor.policy.rulebooks.rulebook import RULES
from obligor.training.candidates.watch import Watch


@dataclass(frozen=True)
class RunSettings:
    """What every run needs that is neither data nor a choice about the model.

    Attributes
    ----------
    store : Path
        Folder of the MLflow store; created if it does not exist.
    report : Path
        Folder for the HTML report and its pictures.
    at : datetime
        The time the run is registered under.
    card : mapping of str
        Answers that people wrote for the model card, by the keys of
        `training.validation.report.CARD`; they replace the answers of the run.
    rules : Path
        Folder of dated rulebooks, whose materiality the default is compared with.
    is_fresh : bool
        Whether to fit everything anew, also what an interrupted run has fitted.
    watch : Watch
        Is told of each step; nobody watches by default.
    name : str
        The model's name in the store. Each name has a champion of its own.
    """

    store: Path
    report: Path
    at: datetime
    card: Mapping[str, str] = field(default_factory=dict)
    rules: Path = RULES
    name: str = MODEL_NAME
    is_fresh: bool = False
    watch: Watch = field(default_factory=Watch)
