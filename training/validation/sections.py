"""Every section of a validation, in the order a validator reads them."""

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


def validate(subject: ModelUnderTest) -> list[Section]:
    """Return every section of the report."""
    return [section(subject) for section in SECTIONS]
