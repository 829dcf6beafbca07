"""Reading who belongs to whom from the level 2 files of GLEIF (RR-CDF 2.1).

The golden copy comes as XML, and as CSV with a column for each element. Of its periods
only the relationship's own says how long it lasts; the others are about accounts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import pandas as pd

CHILD: Final = "Relationship.StartNode.NodeID"
PARENT: Final = "Relationship.EndNode.NodeID"
TYPE: Final = "Relationship.RelationshipType"
STATUS: Final = "Relationship.RelationshipStatus"
REGISTERED: Final = "Registration.InitialRegistrationDate"
REGISTRATION: Final = "Registration.RegistrationStatus"
DELETED: Final = "DeletedAt"
RELATIONSHIP_PERIOD: Final = "RELATIONSHIP_PERIOD"
# The CSV has room for so many periods of a relationship.
PERIODS = range(1, 6)
# A record of this status was never true, or is another record's now.
UNTRUE = ("ANNULLED", "DUPLICATE", "PENDING_VALIDATION", "TRANSFERRED")
_FIRST_BYTES = 4096
_OTHERS = (TYPE, STATUS, REGISTERED, REGISTRATION, DELETED)


def is_relationship_file(path: Path) -> bool:
    """Return whether a file is one of relationships, as GLEIF publishes it."""
    with path.open("rb") as stream:
        start = stream.read(_FIRST_BYTES).decode("utf-8", errors="ignore")
    return CHILD in start or (path.suffix.lower() == ".xml" and "gleif" in start)


def read_relationships(path: Path) -> pd.DataFrame:
    """Return the relationships of a file in the columns of the table `groups`.

    Parameters
    ----------
    path : Path
        XML or CSV.

    Returns
    -------
    DataFrame
        Texts; days as YYYY-MM-DD.

    Raises
    ------
    ParseError
        If the XML is damaged.
    """
    if path.suffix.lower() == ".xml":
        raw = pd.DataFrame(list(_xml_records(path)), dtype="object")
    else:
        raw = pd.read_csv(path, usecols=_is_read, dtype="str", keep_default_na=False)
    return _our_columns(raw)


def _is_read(column: str) -> bool:
    is_period = column.startswith("Relationship.Period.")
    return column in (CHILD, PARENT, *_OTHERS) or is_period


def _xml_records(path: Path) -> Iterator[dict[str, str]]:
    """Yield each record by the columns of the CSV, one at a time."""
    for _, element in ElementTree.iterparse(path):
        if element.tag.rpartition("}")[2] == "RelationshipRecord":
            yield _record(element)
            element.clear()


def _record(element: ElementTree.Element) -> dict[str, str]:
    paths = {
        CHILD: "{*}Relationship/{*}StartNode/{*}NodeID",
        PARENT: "{*}Relationship/{*}EndNode/{*}NodeID",
        TYPE: "{*}Relationship/{*}RelationshipType",
        STATUS: "{*}Relationship/{*}RelationshipStatus",
        REGISTERED: "{*}Registration/{*}InitialRegistrationDate",
        REGISTRATION: "{*}Registration/{*}RegistrationStatus",
    }
    record = {}
    for name, path in paths.items():
        record[name] = element.findtext(path, "")
    periods = element.iterfind(
        "{*}Relationship/{*}RelationshipPeriods/{*}RelationshipPeriod"
    )
    parts = {
        "startDate": "{*}StartDate",
        "endDate": "{*}EndDate",
        "periodType": "{*}PeriodType",
    }
    for number, period in zip(PERIODS, periods, strict=False):
        for part, path in parts.items():
            name = f"Relationship.Period.{number}.{part}"
            record[name] = period.findtext(path, "")
    return record


def _our_columns(raw: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of the table `groups`."""
    starts = _of_relationship(raw, "startDate")
    status = _column(raw, STATUS)
    registration = _column(raw, REGISTRATION)
    is_deleted = _column(raw, DELETED) != ""
    is_untrue = is_deleted | registration.isin(UNTRUE)
    registered_at = _column(raw, REGISTERED)
    registered = _days(registered_at)
    return pd.DataFrame(
        {
            "child_id": _column(raw, CHILD),
            "parent_id": _column(raw, PARENT),
            "relationship": _column(raw, TYPE),
            "status": status.where(~is_untrue, "UNTRUE"),
            "ended_on": _of_relationship(raw, "endDate"),
            # Published when registered; without that, from its start on.
            "known_on": registered.where(registered != "", starts),
        }
    )


def _of_relationship(raw: pd.DataFrame, day: str) -> pd.Series:
    """Return a day of the period in which each relationship holds."""
    days = pd.Series("", index=raw.index, dtype="object")
    for number in PERIODS:
        prefix = f"Relationship.Period.{number}"
        period_type = _column(raw, f"{prefix}.periodType")
        times = _column(raw, f"{prefix}.{day}")
        is_its_own = period_type == RELATIONSHIP_PERIOD
        days = days.where(~is_its_own, _days(times))
    return days


def _days(texts: pd.Series) -> pd.Series:
    """Return the days of times such as 2020-01-01T00:00:00Z."""
    return texts.str.strip().str.slice(0, 10)


def _column(raw: pd.DataFrame, name: str) -> pd.Series:
    if name not in raw:
        return pd.Series("", index=raw.index, dtype="object")
    return raw[name].fillna("").astype("object")
