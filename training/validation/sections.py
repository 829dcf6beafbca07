"""Everything a validator asks of a model, in the order it is read."""

from __future__ import annotations

from obligor.training.validation import behaviour, performance
from obligor.training.validation.subject import ModelUnderTest, Section

SECTIONS = (
    behaviour.data_quality,
    behaviour.leakage,
    performance.discrimination,
    performance.benchmark,
    performance.calibration,
    performance.grades,
    performance.stability,
    performance.segments,
    performance.vintages,
    behaviour.sensitivity,
    behaviour.overfitting,
    behaviour.faithfulness,
    behaviour.fairness,
    behaviour.limits_of_use,
)
IDS = tuple(section.__name__ for section in SECTIONS)


def validate(case: ModelUnderTest) -> list[Section]:
    """Return every section of the report."""
    pd_ = case.pd_()
    return [section(case, pd_) for section in SECTIONS]
