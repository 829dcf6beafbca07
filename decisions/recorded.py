"""Recorded decisions as rows, for whoever looks at all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from math import nan
from typing import Any

import orjson

from obligor.errors import ErasedError
from obligor.features.catalogue import NAMES
from obligor.record.record import Record


def features_of(answer: Mapping[str, Any]) -> list[float]:
    """Return the features a recorded answer was made from, in catalogue order; null is NaN."""
    found = answer["features"]
    return [nan if (value := found.get(name)) is None else value for name in NAMES]


def decided_rows(record: Record, model_sha256: str) -> Iterator[dict[str, Any]]:
    """Give each decision of a model with its features as they were; those of erased customers are left out.

    Yields
    ------
    dict
        ``decision_id, customer_id, as_of, pd_12m`` and the features.
    """
    for entry_id in record.reader.ids_of_kinds(["decision"]):
        try:
            answer = orjson.loads(record.reader.entry(entry_id).body)
        except ErasedError:
            continue
        if answer["model"]["sha256"] == model_sha256:
            yield {
                "decision_id": entry_id,
                "customer_id": answer["customer_id"],
                "as_of": date.fromisoformat(answer["as_of"]),
                "pd_12m": answer["pd_12m"],
                **dict(zip(NAMES, features_of(answer), strict=True)),
            }
