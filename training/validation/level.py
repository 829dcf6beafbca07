"""How far the level of the PD was moved to what later dates have shown so far."""

from __future__ import annotations

from math import exp

import pandas as pd

from obligor.training.validation import plots
from obligor.training.validation.subject import ModelUnderTest, Section, Verdict

MOVED = 1.25  # odds before over odds after, or the reverse, that a person should see


def level(subject: ModelUnderTest) -> Section:
    """Show the level step of a training run on a ledger."""
    facts = subject.model.about.get("level")
    if not facts:
        return Section(
            id="level",
            title="Level of the PD",
            verdict="none",
            summary="The level is that of the training rows: it was not moved to what "
            "later dates have shown, because no later date was watched for long "
            "enough, or because the rows are those of a table.",
        )
    low = exp(facts["low"])
    high = exp(facts["high"])
    is_moved = low > MOVED or high < 1 / MOVED
    verdict: Verdict = "look" if is_moved else "good"
    table = pd.DataFrame(facts["cohorts"]).set_index("date")
    seen = int(table["defaults"].sum())
    summary = (
        f"On {facts['as_of']}, dates after the training rows had shown {seen:,} "
        f"defaults so far, and the PDs expected {table['expected'].sum():,.1f}. The "
        f"odds of every PD were multiplied by {exp(facts['shift']):.3f} "
        f"[{low:.3f}, {high:.3f}]; the data alone say {exp(facts['by_data_alone']):.3f}"
        f", and the prior allows a factor of {exp(facts['prior']):.2f} up or down in "
        "two of three horizons. What happened after that day had no part in it."
    )
    names = {
        "rows": "rows",
        "days": "days watched",
        "defaults": "defaults seen so far",
        "expected": "expected before",
        "expected_after": "expected after",
    }
    shown = table[list(names)].rename(columns=names).round(1)
    return Section(
        id="level",
        title="Level of the PD",
        verdict=verdict,
        summary=summary,
        tables=(("Dates after the training rows, as far as they are known", shown),),
        pictures=(("Level of the PD", plots.level(table)),),
    )
