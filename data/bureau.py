"""What others say of a customer: scores, ratings, recommended limits, insolvencies.

Each report has the day it is about (`as_of`) and the day it was received (`known_on`).
On a day the last word of each source counts, field by field: a report without a score
says nothing about the score.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

import orjson

from obligor.data.column_reading import is_missing
from obligor.data.ledger import Ledger

_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_SCALE = re.compile(rf"{_NUMBER}(?:-|\u2013|\.\.|to){_NUMBER}")
# What registers and bureaus call an insolvency or the end of a company.
_INSOLVENCY = re.compile(
    r"insolv|bankrupt|liquidat|wound up|winding[ -]up|receiver|moratorium|dissol"
    r"|struck off|in administration|administration order|chapter (?:7|11|13)\b"
    r"|konkurs|zahlungsunf|überschuld|gelöscht|faillite|failliet|redressement"
    r"|sauvegarde|concurs|fallimento|破产|清算|重整|注销|吊销",
    re.IGNORECASE,
)
_IS_OVER = re.compile(
    r"\b(?:no|not|non|never|without|kein|keine|ohne)\b|\b(?:end|ended|lifted|closed)\b"
    r"|_ended|discharged|annulled|dismissed|withdrawn|aufgehoben|beendet|abgewiesen"
    r"|abgelehnt|撤销|驳回|终结",
    re.IGNORECASE,
)
# A petition dismissed for lack of assets is no end of an insolvency.
_NO_ASSETS = re.compile(r"mangels masse|lack of assets|insufficient assets", re.I)


class BureauReport(NamedTuple):
    """One report about a customer; a text is empty, a number None if it says nothing.

    Attributes
    ----------
    source : str
        Who reports.
    as_of, known_on : date
        The day it is about, and the day it was received.
    score : float, optional
        On the scale of the source.
    scale : str
        The worst and the best score, such as ``0-100`` or ``600-100``.
    rating : str
        Such as ``BB+``.
    recommended_limit : float, optional
        In `currency`.
    currency : str
        ISO 4217; empty for the reporting currency.
    status, event : str
        The state of the company, and what happened to it.
    until : date, optional
        The first day on which the row is no longer true; None if it still is.
    """

    source: str
    as_of: date
    known_on: date
    score: float | None = None
    scale: str = ""
    rating: str = ""
    recommended_limit: float | None = None
    currency: str = ""
    status: str = ""
    event: str = ""
    until: date | None = None


class RecommendedLimit(NamedTuple):
    """A limit that a source recommends."""

    amount: Decimal
    currency: str
    source: str


@dataclass(frozen=True)
class BureauFacts:
    """What the sources say on a day.

    Attributes
    ----------
    score : float
        The lowest of their scores, each as a share of its scale; NaN without any.
    score_mean : float
        The mean of these scores; NaN without any.
    is_insolvent : bool
        Whether a source's last word is that the customer is insolvent.
    recommended_limits : tuple of RecommendedLimit
        The last one of each source.
    last_days : dict of str to date
        The day of the last report of each source, by its name.
    """

    score: float
    score_mean: float
    is_insolvent: bool
    recommended_limits: tuple[RecommendedLimit, ...]
    last_days: dict[str, date]

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the sources."""
        return tuple(self.last_days)


def bureau_facts(reports: Sequence[BureauReport]) -> BureauFacts:
    """Return what the reports known on a day come to.

    Parameters
    ----------
    reports : sequence of BureauReport
        Those known on the day, as `data.asof.known_rows` returns them.

    Returns
    -------
    BureauFacts
        By the last word of each source.

    Examples
    --------
    >>> day = date(2025, 1, 31)
    >>> first = BureauReport("Agency", day, day, 30.0, "0-100", event="insolvency")
    >>> later = BureauReport("Agency", date(2025, 6, 30), day, 80.0, "0-100")
    >>> facts = bureau_facts([first, later])
    >>> facts.score, facts.is_insolvent
    (0.8, True)
    """
    ordered = sorted(reports, key=lambda report: (report.as_of, report.known_on))
    score: dict[str, float] = {}
    insolvent: dict[str, bool] = {}
    limits: dict[str, RecommendedLimit] = {}
    last_days: dict[str, date] = {}
    for report in ordered:
        last_days[report.source] = report.as_of
        share = score_share(report.score, report.scale)
        if share is not None:
            score[report.source] = share
        verdict = insolvency_of(report.status, report.event)
        if verdict is not None:
            insolvent[report.source] = verdict
        if report.recommended_limit is not None:
            limits[report.source] = RecommendedLimit(
                Decimal(str(report.recommended_limit)), report.currency, report.source
            )
    return BureauFacts(
        score=min(score.values(), default=math.nan),
        score_mean=_mean(score.values()),
        is_insolvent=any(insolvent.values()),
        recommended_limits=tuple(limits.values()),
        last_days=dict(sorted(last_days.items())),
    )


def _mean(scores: Collection[float]) -> float:
    """Return the mean of scores, NaN without any; their order has no effect."""
    return math.fsum(scores) / len(scores) if scores else math.nan


def score_share(score: float | None, scale: str) -> float | None:
    """Return a score as a share of its scale, 0 at the worst end and 1 at the best.

    Returns None if there is no score, or if its scale is not known or does not hold it.

    Parameters
    ----------
    score : float, optional
        The score.
    scale : str
        The worst and the best score.

    Examples
    --------
    >>> score_share(75.0, "0-100"), score_share(225.0, "600-100")
    (0.75, 0.75)
    >>> score_share(75.0, "")
    """
    ends = scale_ends(scale)
    if score is None or ends is None:
        return None
    worst, best = ends
    share = (score - worst) / (best - worst)
    return share if 0 <= share <= 1 else None


def scale_ends(scale: str) -> tuple[float, float] | None:
    """Return the worst and the best score of a scale, None if it cannot be read.

    Examples
    --------
    >>> scale_ends("600 - 100"), scale_ends("0..1"), scale_ends("A-F")
    ((600.0, 100.0), (0.0, 1.0), None)
    """
    match = _SCALE.fullmatch(scale)
    if match is None or float(match[1]) == float(match[2]):
        return None
    return float(match[1]), float(match[2])


def insolvency_of(status: str, event: str) -> bool | None:
    """Return whether a report says that the customer is insolvent; None if it does not.

    A status is a state: if it names no insolvency, there is none. An event ends an
    insolvency only if it says so.

    Parameters
    ----------
    status : str
        Such as ``active`` or ``in liquidation``.
    event : str
        Such as ``insolvency proceedings opened``.

    Examples
    --------
    >>> insolvency_of("", "Insolvenzverfahren eröffnet"), insolvency_of("active", "")
    (True, False)
    >>> insolvency_of("", "new director")
    >>> insolvency_of("", "insolvency proceedings lifted")
    False
    """
    verdicts = [_is_insolvency(text) for text in (event, status) if text.strip()]
    if True in verdicts:
        return True
    is_event_over = bool(event and verdicts[0] is False)
    return False if status.strip() or is_event_over else None


def _is_insolvency(text: str) -> bool | None:
    """Return True for an insolvency, False for its end, None for another text."""
    if _INSOLVENCY.search(text) is None:
        return None
    return _IS_OVER.search(text) is None or _NO_ASSETS.search(text) is not None


def reports_of(ledger: Ledger) -> dict[str, list[BureauReport]]:
    """Return the reports about each customer of a checked ledger, in its order."""
    frame = ledger["bureau"]
    reports: dict[str, list[BureauReport]] = {}
    if frame.empty:
        return reports
    columns = ["customer_id", *BureauReport._fields]
    cells = frame.reindex(columns=columns).astype("object")
    for customer_id, *values in cells.itertuples(index=False, name=None):
        reports.setdefault(customer_id, []).append(report_of(values))
    return reports


def packed_reports(reports: Iterable[BureauReport]) -> bytes:
    """Return reports as JSON; `unpacked_reports` reads them."""
    return orjson.dumps([list(report) for report in reports])


def unpacked_reports(packed: bytes) -> tuple[BureauReport, ...]:
    """Return the reports that `packed_reports` wrote."""
    return tuple([report_of(values) for values in orjson.loads(packed)])


def report_of(values: Sequence[object]) -> BureauReport:
    """Return a report from its fields in their order, as JSON or as cells of a frame.

    Raises
    ------
    ValueError
        If a day is missing.
    """
    fields = dict(zip(BureauReport._fields, values, strict=True))
    as_of = _day(fields["as_of"])
    known_on = _day(fields["known_on"])
    if as_of is None or known_on is None:
        raise ValueError("a report has no day")
    return BureauReport(
        source=_text(fields["source"]),
        as_of=as_of,
        known_on=known_on,
        score=_number(fields["score"]),
        scale=_text(fields["scale"]),
        rating=_text(fields["rating"]),
        recommended_limit=_number(fields["recommended_limit"]),
        currency=_text(fields["currency"]),
        status=_text(fields["status"]),
        event=_text(fields["event"]),
        until=_day(fields["until"]),
    )


def _text(value: object) -> str:
    return "" if is_missing(value) else str(value)


def _number(value: object) -> float | None:
    return None if is_missing(value) else float(str(value))


def _day(value: object) -> date | None:
    if is_missing(value):
        return None
    if isinstance(value, datetime):
        return value.date()
    return date.fromisoformat(str(value))
