"""Obligor: a credit-risk decision service for companies that sell on credit."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obligor.sklearn import PdClassifier, Scorecard

__all__ = ["PdClassifier", "Scorecard"]


def __getattr__(name: str) -> object:
    """Import an estimator when it is first used: the libraries take seconds."""
    if name not in __all__:
        raise AttributeError(f"module 'obligor' has no attribute {name!r}")
    estimators = import_module("obligor.sklearn")
    return getattr(estimators, name)
