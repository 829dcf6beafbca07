"""Features of one's own: functions over an account, in a file beside the catalogue.

A file defines ``FEATURES``, a list of `OwnFeature`::

    import numpy as np

    from obligor.features.own import OwnFeature


    def largest_share(known):
        amount = known.account.items.amount
        return amount.max() / amount.sum() if len(amount) else None


    FEATURES = [
        OwnFeature(
            name="largest_item_share",
            definition="The largest item's share of all items known",
            unit="share",
            low=0,
            high=1,
            direction=1,
            family="concentration",
            reason_en="The largest item is {value} of all",
            reason_zh="最大一张占 {value}",
            compute=largest_share,
        )
    ]

A function gets what `data.asof.known_account` lets through and nothing else. The file
is code, so it is run in training only, where a person has named it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from math import isfinite, isnan, nan
from pathlib import Path
from typing import TypedDict

import numpy as np

from obligor.arrays import Floats
from obligor.data.asof import KnownAccount
from obligor.errors import SchemaError
from obligor.features.catalogue import NAMES, Feature

UNITS = ("days", "share", "count", "ratio", "money")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

Compute = Callable[[KnownAccount], float | None]


def _no_value(_: KnownAccount) -> None:
    return None


@dataclass(frozen=True)
class OwnFeature(Feature):
    """A catalogue entry with the function that computes it.

    Attributes
    ----------
    compute : callable
        Returns the value for an account known on a day; None or NaN if it has none.
    """

    compute: Compute = _no_value


class OwnFields(TypedDict):
    """A feature of one's own as a bundle keeps it: as data, without its code."""

    name: str
    definition: str
    unit: str
    low: str
    high: str
    direction: int
    family: str
    reason_en: str
    reason_zh: str


@dataclass(frozen=True)
class OwnFeatures:
    """The features of one file.

    Attributes
    ----------
    entries : tuple of OwnFeature
        In the order of the columns.
    sha256 : str
        Of the file.
    """

    entries: tuple[OwnFeature, ...]
    sha256: str

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(entry.name for entry in self.entries)

    def rows(self, accounts: Sequence[KnownAccount]) -> Floats:
        """Return the features of some accounts, shape (accounts, features).

        Raises
        ------
        SchemaError
            If a function fails, or its value lies outside the stated range.
        """
        rows = np.empty((len(accounts), len(self.entries)))
        for row, known in zip(rows, accounts, strict=True):
            for column, entry in enumerate(self.entries):
                row[column] = _value(entry, known)
        return rows

    def fields(self) -> list[OwnFields]:
        """Return the entries for JSON."""
        return [
            {
                "name": entry.name,
                "definition": entry.definition,
                "unit": entry.unit,
                "low": str(entry.low),
                "high": str(entry.high),
                "direction": entry.direction,
                "family": entry.family,
                "reason_en": entry.reason_en,
                "reason_zh": entry.reason_zh,
            }
            for entry in self.entries
        ]


def _value(entry: OwnFeature, known: KnownAccount) -> float:
    try:
        result = entry.compute(known)
        value = nan if result is None else float(result)
    except Exception as error:  # code of a person: any error may come out of it
        raise SchemaError(
            f"the function failed on {known.as_of}: {type(error).__name__}: {error}",
            where=f"own feature {entry.name}",
            expected="a number, or None if there is no value",
        ) from error
    if isnan(value):
        return value
    if not (isfinite(value) and entry.low <= value <= entry.high):
        raise SchemaError(
            f"the value {value:g} on {known.as_of} lies outside the stated range",
            where=f"own feature {entry.name}",
            expected=f"a number from {entry.low:g} to {entry.high:g}, or None",
            do="correct the function or the range",
        )
    return value


def read_own_features(path: Path) -> OwnFeatures:
    """Run a file of features and return what it defines.

    Parameters
    ----------
    path : Path
        A Python file with the list ``FEATURES``. It is run: name no file that you have
        not read.

    Raises
    ------
    SchemaError
        If it cannot be run, or an entry is not complete.
    """
    try:
        content = path.read_bytes()
        spec = spec_from_file_location("obligor_own_features", path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:  # code of a person: any error may come out of it
        raise SchemaError(
            f"the file cannot be run: {type(error).__name__}: {error}",
            where=str(path),
            expected="a Python file that defines FEATURES, a list of OwnFeature",
        ) from error
    entries = tuple(getattr(module, "FEATURES", ()))
    _require_entries(entries, str(path))
    return OwnFeatures(entries, hashlib.sha256(content).hexdigest())


def _require_entries(entries: Sequence[object], where: str) -> None:
    if not entries:
        raise SchemaError(
            "the file defines no features",
            where=where,
            expected="FEATURES, a list of OwnFeature",
        )
    names = list(NAMES)
    for entry in entries:
        if not isinstance(entry, OwnFeature):
            raise SchemaError(
                f"an entry of FEATURES is a {type(entry).__name__}",
                where=where,
                expected="an OwnFeature",
            )
        problem = _problem_of(entry, names)
        if problem:
            raise SchemaError(problem, where=f"{where}: {entry.name}")
        names.append(entry.name)


def _problem_of(entry: OwnFeature, names: Sequence[str]) -> str:
    """Return what is wrong with an entry, or nothing."""
    texts = (entry.definition, entry.family, entry.reason_en, entry.reason_zh)
    checks = {
        "the name is not in snake case": not _NAME.fullmatch(entry.name),
        "the name is taken": entry.name in names,
        f"the unit is none of {', '.join(UNITS)}": entry.unit not in UNITS,
        "the range is empty": not entry.low < entry.high,
        "the direction is not -1, 0 or 1": entry.direction not in (-1, 0, 1),
        "a text is empty": not all(text.strip() for text in texts),
        "there is no function `compute`": entry.compute is _no_value,
    }
    for problem, is_so in checks.items():
        if is_so:
            return problem
    return ""
