"""What every benchmark prints last.

Its bars, each with the value, the bar, and whether it holds.
"""

from __future__ import annotations

import json
from typing import Any


def bar(name: str, value: float, limit: float, holds: bool) -> dict[str, Any]:
    """Return one bar."""
    return {
        "name": name,
        "value": round(float(value), 6),
        "bar": round(float(limit), 6),
        "holds": bool(holds),
    }


def report(bars: list[dict[str, Any]], as_json: bool) -> None:
    """Print the bars, as a table or as one JSON object on the last line."""
    if as_json:
        print(json.dumps({"bars": bars}))
        return
    for entry in bars:
        print(
            f"{'holds' if entry['holds'] else 'FAILS'}  {entry['name']:<44} "
            f"{entry['value']:>12} bar {entry['bar']}"
        )
