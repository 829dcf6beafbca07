"""Every section of a validation, in the order a validator reads them."""

from __future__ import annotations

from obligor.training.validation import behaviour, horizons, level, performance
from obligor.training.validation.side_by_side import beside_champion
from obligor.training.validation.subject import ModelUnderTest, Section

SECTIONS = (
    behaviour.data_quality,
    behaviour.leakage,
    performance.discrimination,
    performance.benchmark,
    performance.calibration,
    horizons.horizons,
    level.level,
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
    """Return every section of the report; the champion's part if there is one."""
    sections = [section(subject) for section in SECTIONS]
    if subject.rival is not None:
        after_benchmark = IDS.index("benchmark") + 1
        sections.insert(after_benchmark, beside_champion(subject))
    return sections
