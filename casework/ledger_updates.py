"""Rows of the ledger that are sent while the service runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from hashlib import sha256
from typing import Annotated, Literal, NotRequired

import numpy as np
import orjson
from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr
from typing_extensions import TypedDict

from obligor.data.checks import LedgerCheck, check_ledger, rows_without_rate
from obligor.data.findings import Finding
from obligor.data.ledger import CONTRACTS, Ledger
from obligor.data.loaded_ledger import LoadedLedger
from obligor.data.loading import Arrival, LedgerUpdate, UpdateResult, arrival_of
from obligor.data.party_checks import group_findings
from obligor.data.row_reading import read_rows
from obligor.data.store import LedgerStore
from obligor.data.updating import VERDICTS
from obligor.decisions.answer import Stamp
from obligor.decisions.questions import Body
from obligor.decisions.recorded import AnswerRecord, RecordedAnswer
from obligor.errors import SchemaError
from obligor.record.entry import Entry

MOST_ROWS = 10_000
KIND = "ledger"

Cell = StrictStr | StrictInt | StrictFloat | StrictBool | None


def _columns_text() -> str:
    """Return the columns of every table, for the description of the interface."""
    lines = []
    for table, contract in CONTRACTS.items():
        names = [
            name if rule.required else f"{name} (optional)"
            for name, rule in contract.columns.items()
        ]
        lines.append(f"{table}: {', '.join(names)}")
    return "; ".join(lines)


class LedgerRows(Body):
    """Rows of one table of the ledger."""

    rows: Annotated[
        list[dict[str, Cell]],
        Field(
            min_length=1,
            max_length=MOST_ROWS,
            description="The columns of each table, days as YYYY-MM-DD, amounts as "
            f"numbers or texts: {_columns_text()}",
        ),
    ]


class RowAnswer(TypedDict):
    """What became of a row; a refused one names the field that is wrong."""

    status: Literal["taken", "same", "changed", "refused"]
    field: NotRequired[str]
    expected: NotRequired[str]


class LedgerUpdateAnswer(TypedDict):
    """What became of the rows that were sent, in their order."""

    update_id: str
    recorded_at: datetime
    table: str
    known_on: date
    taken: int
    same: int
    changed: int
    refused: int
    rows: list[RowAnswer]


class _Digest(Body):
    """What stands for the rows in the record, which need not hold them."""

    table: str
    n_rows: int
    sha256: str


# The check leaves out reports and contacts of others without a word on each row.
_ABOUT_NOBODY = Finding(
    level="quarantine",
    table="",
    column="customer_id",
    row=None,
    what="the row is about nobody in the ledger",
    expected="a customer of the ledger",
)


@dataclass(frozen=True)
class LedgerDesk:
    """Takes rows into the loaded ledger, and records that it did.

    Attributes
    ----------
    ledger : LedgerStore
        The loaded ledger.
    answers : AnswerRecord
        Where updates are recorded.
    stamp : callable
        Returns the id and the time of a new entry.
    today : callable
        Returns the day that it is for the house.
    """

    ledger: LedgerStore
    answers: AnswerRecord
    stamp: Callable[[], Stamp]
    today: Callable[[], date]

    def update(
        self,
        table: str,
        body: LedgerRows,
        key: str | None = None,
        requested_by_key: str | None = None,
    ) -> RecordedAnswer:
        """Take rows into the ledger in one transaction; a repeated key changes nothing.

        Parameters
        ----------
        table : str
            A table of the ledger.
        body : LedgerRows
            The rows.
        key : str, optional
            The idempotency key.
        requested_by_key : str, optional
            The name of the API key that sent them; kept with the entry.

        Returns
        -------
        RecordedAnswer
            A `LedgerUpdateAnswer`.

        Raises
        ------
        SchemaError
            If the ledger has no such table, or no ledger is loaded that can be updated.
        RecordError
            If the update cannot be recorded. The rows may be stored then: sent again,
            they are the same.
        """
        if table not in CONTRACTS:
            raise SchemaError(
                f"the ledger has no table {table!r}",
                where="table",
                expected=f"one of {', '.join(CONTRACTS)}",
            )
        digest = _Digest(
            table=table,
            n_rows=len(body.rows),
            sha256=sha256(body.model_dump_json().encode()).hexdigest(),
        )
        return self.answers.answer_once(
            digest, key, lambda: self._new_entry(digest, body, key, requested_by_key)
        )

    def _new_entry(
        self,
        digest: _Digest,
        body: LedgerRows,
        key: str | None,
        requested_by_key: str | None,
    ) -> Entry:
        today = self.today()
        check, result = self._apply(digest.table, body, today)
        rows = _row_answers(digest, check, result)
        statuses = [row["status"] for row in rows]
        stamp = self.stamp()
        answer: LedgerUpdateAnswer = {
            "update_id": stamp.entry_id,
            "recorded_at": stamp.recorded_at,
            "table": digest.table,
            "known_on": today,
            "taken": statuses.count("taken"),
            "same": statuses.count("same"),
            "changed": statuses.count("changed"),
            "refused": statuses.count("refused"),
            "rows": rows,
        }
        return Entry(
            entry_id=stamp.entry_id,
            kind=KIND,
            customer_id=None,
            as_of=today,
            recorded_at=stamp.recorded_at,
            idempotency_key=key,
            outcome="update",
            request=digest.model_dump_json(),
            body=orjson.dumps(answer).decode(),
            requested_by_key=requested_by_key,
        )

    def _apply(
        self,
        table: str,
        body: LedgerRows,
        today: date,
    ) -> tuple[LedgerCheck, UpdateResult]:
        """Check the rows and take the good ones, in one transaction."""
        sent = read_rows(table, body.rows)
        checks = list[LedgerCheck]()

        def checked(loaded: LoadedLedger) -> Arrival:
            ledger = Ledger(
                {table: sent.frame},
                loaded.state.currency,
                unapplied_policy=loaded.state.unapplied_policy,
            )
            findings = [*sent.findings, *rows_without_rate(ledger, loaded)]
            check = check_ledger(
                ledger,
                today=today,
                unreadable=findings,
                stored=loaded,
            )
            _require_groups(check)
            checks.append(check)
            return replace(arrival_of(check, loaded), has_ids=True)

        result = LedgerUpdate(self.ledger, today).apply_at_once(checked)
        return checks[-1], result


def _require_groups(check: LedgerCheck) -> None:
    """Refuse rows after which a company would belong to itself, or to two others."""
    for finding in group_findings(check.ledger):
        raise SchemaError(
            finding.what,
            where=f"[{finding.table}] {finding.column}",
            expected=finding.expected,
        )


def _row_answers(
    digest: _Digest,
    check: LedgerCheck,
    result: UpdateResult,
) -> list[RowAnswer]:
    """Return what became of each row, in the order in which they were sent."""
    answers = list[RowAnswer]()
    used = check.ledger[digest.table].index.tolist()
    verdicts = result.verdicts.get(digest.table, np.empty(0, dtype=np.int64))
    status_of = dict(zip(used, verdicts.tolist(), strict=True))
    first_finding: dict[int, Finding] = {}
    for finding in check.findings:
        if finding.level == "quarantine" and finding.row is not None:
            first_finding.setdefault(finding.row, finding)
    for number in range(digest.n_rows):
        if number in status_of:
            answers.append({"status": VERDICTS[status_of[number]]})
            continue
        # Without the value: the record keeps this answer longer than the customer.
        finding = first_finding.get(number, _ABOUT_NOBODY)
        answers.append(
            {
                "status": "refused",
                "field": finding.column,
                "expected": finding.expected,
            }
        )
    return answers
