"""Checks of who the customers are, of what others say of them, and of their groups.

An id that is wrong is left out with a note: its customer stays. No message shows a
personal or confidential value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date

import pandas as pd

from obligor.data.bureau import insolvency_of, scale_ends, score_share
from obligor.data.column_reading import by_distinct_value
from obligor.data.findings import Finding
from obligor.data.groups import contradictions, links_of
from obligor.data.identifiers import (
    compact_id,
    valid_email,
    valid_language,
    valid_lei,
    valid_vat_id,
)
from obligor.data.ledger import Ledger, is_among
from obligor.data.party_store import LEGAL_ID_KINDS
from obligor.data.stored_ledger import StoredLedger

# Tables that often hold rows about companies that are no customers.
ABOUT_CUSTOMERS = ("contacts", "bureau")
# Distinct texts that a note quotes.
MOST_QUOTED = 5


def with_checked_parties(
    ledger: Ledger,
    today: date,
    stored: StoredLedger | None = None,
) -> tuple[Ledger, list[Finding]]:
    """Return a ledger whose ids are checked, and what was noticed.

    Parameters
    ----------
    ledger : Ledger
        As it was read.
    today : date
        The day from which on contacts without a day are known.
    stored : StoredLedger, optional
        The loaded ledger that it updates.

    Returns
    -------
    ledger : Ledger
        Ids are in their usual form, or empty if they are wrong; each report names its
        customer by `customer_id`; rows about nobody in the ledger are left out.
    findings : list of Finding
        Notes, and a refusal if the groups contradict themselves.
    """
    tables = dict(ledger.tables)
    findings: list[Finding] = []
    if "customers" in tables:
        tables["customers"], notes = _checked_customers(tables["customers"])
        findings += notes
    if "contacts" in tables:
        tables["contacts"], notes = _checked_contacts(tables["contacts"], today)
        findings += notes
    if "bureau" in tables:
        customers = tables.get("customers", ledger["customers"])
        tables["bureau"] = _with_customers(tables["bureau"], customers, stored)
    if "bureau" in tables:
        findings += _report_notes(tables["bureau"])
    for table in ABOUT_CUSTOMERS:
        if table in tables and "customer_id" in tables[table]:
            customer_ids = _customer_ids(ledger, tables[table], stored)
            tables[table], notes = _about_customers(table, tables[table], customer_ids)
            findings += notes
    return replace(ledger, tables=tables), findings


def group_findings(ledger: Ledger) -> Iterator[Finding]:
    """Yield a refusal for each circle in the groups, and for each double membership.

    Parameters
    ----------
    ledger : Ledger
        Without the rows that were set aside.
    """
    customers = ledger["customers"]
    if not {"customer_id", "known_on"} <= set(customers):
        return
    has_table = {"child_id", "parent_id", "known_on"} <= set(ledger["groups"])
    if "groups" in ledger.tables and not has_table:
        return
    table = "groups" if "groups" in ledger.tables else "customers"
    for text in contradictions(links_of(ledger)):
        yield Finding(
            level="refuse",
            table=table,
            column="parent_id",
            row=None,
            what=text,
            expected="each company to belong to one other, up to a top",
        )


def _checked_customers(
    frame: pd.DataFrame,
) -> tuple[pd.DataFrame, list[Finding]]:
    findings: list[Finding] = []
    checked = frame.copy(deep=False)
    if "vat_id" in frame:
        checked["vat_id"] = _vat_ids(frame)
        findings += _wrong_cells("customers", "vat_id", frame, checked)
    for column, check in (("lei", valid_lei), ("language", valid_language)):
        if column in frame:
            checked[column] = _checked(frame[column], check)
            findings += _wrong_cells("customers", column, frame, checked)
    return checked, findings


def _vat_ids(frame: pd.DataFrame) -> pd.Series:
    countries = pd.Series("", index=frame.index)
    if "country" in frame:
        countries = frame["country"].fillna("").astype("str")
    pairs = frame["vat_id"].fillna("").astype("str")
    values = [
        valid_vat_id(text, country) if text else None
        for text, country in zip(pairs, countries, strict=True)
    ]
    return pd.Series(values, index=frame.index, dtype="str")


def _checked_contacts(
    frame: pd.DataFrame, today: date
) -> tuple[pd.DataFrame, list[Finding]]:
    day = pd.Timestamp(today).as_unit("s")
    if "known_on" in frame:
        dated = frame.assign(known_on=frame["known_on"].fillna(day))
    else:
        dated = frame.assign(known_on=day)
    if "email" not in frame:
        return dated, []
    checked = dated.assign(email=_checked(frame["email"], valid_email))
    return checked, list(_wrong_cells("contacts", "email", frame, checked))


def _checked(values: pd.Series, check: Callable[[str], str | None]) -> pd.Series:
    return by_distinct_value(values, lambda cell: check(str(cell))).astype("str")


def _wrong_cells(
    table: str,
    column: str,
    frame: pd.DataFrame,
    checked: pd.DataFrame,
) -> Iterator[Finding]:
    """Yield a note for each cell that held something and was left out."""
    expected = {
        "vat_id": "a VAT id whose check digits are right",
        "lei": "a LEI (ISO 17442) whose check digits are right",
        "language": "a code such as de or zh-CN",
        "email": "an e-mail address such as name@example.com",
    }
    is_wrong = frame[column].notna() & checked[column].isna()
    for row in frame.index[is_wrong]:
        yield Finding(
            level="note",
            table=table,
            column=column,
            row=int(row),
            what="the value is not valid; it is left out, the row is used",
            expected=expected[column],
        )


def _with_customers(
    reports: pd.DataFrame,
    customers: pd.DataFrame,
    stored: StoredLedger | None,
) -> pd.DataFrame:
    """Return reports that name their customers by `customer_id`.

    An id that several customers have makes a row for each of them.
    """
    by_id = {"id_kind", "id"} <= set(reports)
    if not by_id or reports.empty or "customer_id" not in customers:
        return reports
    named = reports
    if "customer_id" not in reports:
        named = reports.assign(customer_id=None)
    is_named = named["customer_id"].notna()
    parts = [named[is_named]]
    for kind in LEGAL_ID_KINDS:
        rows = named[~is_named & (named["id_kind"] == kind)]
        if rows.empty:
            continue
        rows = rows.assign(compact=_compact(rows["id"]))
        owners = _owners(kind, rows["compact"], customers, stored)
        matched = (
            rows.drop(columns="customer_id")
            .reset_index(names="row")
            .merge(owners, on="compact")
            .set_index("row")
            .drop(columns="compact")
        )
        matched.index.name = None
        parts.append(matched)
    matched_rows = _with_own_rows(pd.concat(parts), int(named.index.max()) + 1)
    unmatched = named[~named.index.isin(matched_rows.index)]
    return pd.concat([matched_rows, unmatched])[[*named.columns]].sort_index()


def _owners(
    kind: str,
    ids: pd.Series,
    customers: pd.DataFrame,
    stored: StoredLedger | None,
) -> pd.DataFrame:
    """Return the customers that have one of some ids, also those that are stored."""
    columns = ["compact", "customer_id"]
    owners = pd.DataFrame(columns=columns, dtype="str")
    if kind in customers:
        owners = customers[["customer_id"]].assign(compact=_compact(customers[kind]))
        owners = owners.dropna()
    if stored is not None:
        pairs = stored.legal_owners(kind, ids.dropna().unique())
        stored_owners = pd.DataFrame(pairs, columns=columns, dtype="str")
        owners = pd.concat([owners, stored_owners]).drop_duplicates()
    return owners


def _with_own_rows(frame: pd.DataFrame, next_row: int) -> pd.DataFrame:
    """Return rows of which none has the number of another."""
    is_repeated = frame.index.duplicated()
    numbers = frame.index.to_numpy().copy()
    numbers[is_repeated] = range(next_row, next_row + int(is_repeated.sum()))
    return frame.set_axis(numbers)


def _compact(values: pd.Series) -> pd.Series:
    return by_distinct_value(values, lambda cell: compact_id(str(cell))).astype("str")


def _customer_ids(
    ledger: Ledger,
    frame: pd.DataFrame,
    stored: StoredLedger | None,
) -> pd.Index | None:
    """Return the customers a table may be about; None if nobody knows them."""
    customers = ledger["customers"]
    if "customer_id" not in customers:
        return None
    customer_ids: pd.Index = pd.Index(customers["customer_id"].dropna().unique())
    if stored is not None:
        stored_ids = stored.owners("customers", frame["customer_id"]).index
        customer_ids = customer_ids.union(stored_ids)
    return customer_ids


def _about_customers(
    table: str,
    frame: pd.DataFrame,
    customer_ids: pd.Index | None,
) -> tuple[pd.DataFrame, list[Finding]]:
    """Return the rows about customers, and a note on how many others were left out."""
    if customer_ids is None:
        return frame, []
    is_about = is_among(frame["customer_id"], customer_ids)
    n_others = int((~is_about).sum())
    if not n_others:
        return frame, []
    verb = "is" if n_others == 1 else "are"
    note = Finding(
        level="note",
        table=table,
        column="customer_id",
        row=None,
        what=f"{n_others:,} of {len(frame):,} rows {verb} about nobody among the "
        "customers; left out",
        expected="",
    )
    return frame[is_about], [note]


def _report_notes(frame: pd.DataFrame) -> Iterator[Finding]:
    """Yield notes on scores that do not count, and on events that stop nobody."""
    if "score" in frame:
        yield from _score_notes(frame)
    if "event" in frame:
        texts = [str(text) for text in pd.unique(frame["event"].dropna())]
        others = [text for text in texts if insolvency_of("", text) is None]
        if others:
            quoted = ", ".join(map(repr, others[:MOST_QUOTED]))
            n_more = len(others) - MOST_QUOTED
            more = f" and {n_more} more" if n_more > 0 else ""
            what = f"these events do not count as an insolvency: {quoted}{more}"
            expected = '"insolvency" for one that does, "insolvency ended" for its end'
            yield Finding("note", "bureau", "event", None, what, expected)


def _score_notes(frame: pd.DataFrame) -> Iterator[Finding]:
    scales = frame.get("scale", pd.Series(None, index=frame.index, dtype="str"))
    for row, score, scale in zip(frame.index, frame["score"], scales, strict=True):
        if pd.isna(score):
            continue
        text = "" if pd.isna(scale) else str(scale)
        if score_share(float(score), text) is not None:
            continue
        is_outside = scale_ends(text) is not None
        yield Finding(
            level="note",
            table="bureau",
            column="score" if is_outside else "scale",
            row=int(row),
            what="the score is outside its scale; it is stored and does not count"
            if is_outside
            else "the score has no scale; it is stored and does not count",
            expected="the worst and the best score, such as 0-100 or 600-100",
        )
