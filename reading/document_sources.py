"""Sources that are documents: bank statements and electronic invoices.

Each document is read into rows under names of its own, which a mapping may use in
`where` and `columns`. Entries of statements are then given to invoices and customers,
and credit notes to the invoices that they name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from obligor.data.findings import Finding
from obligor.data.stored_ledger import StoredLedger
from obligor.documents.camt import STATEMENTS, read_camt
from obligor.documents.entries import Statement, entries_frame
from obligor.documents.invoices import (
    InvoiceItem,
    invoices_frame,
    name_customers,
    read_invoice,
)
from obligor.documents.mt940 import read_mt940
from obligor.documents.payers import PAYER_COLUMNS, Payers
from obligor.errors import InputError, SchemaError
from obligor.reading.files import RawTable, paths_of, read_source
from obligor.reading.mapping import SourceSpec, TableMapping
from obligor.reading.receipts import (
    INVOICE_COLUMNS,
    assign_entries,
    with_stored_invoices,
)


def read_documents(
    spec: SourceSpec,
    table: str,
    folder: Path,
) -> list[RawTable]:
    """Read a source whose files are documents.

    Parameters
    ----------
    spec : SourceSpec
        Where the documents are, and their format.
    table : str
        Our table, for messages.
    folder : Path
        Where relative paths start.

    Returns
    -------
    list of RawTable
        One for each file.

    Raises
    ------
    InputError
        If a file cannot be read; SchemaError if it is not what the mapping states.
    """
    raws = list[RawTable]()
    for path in paths_of(spec, folder):
        where = f"[{table}] {path.name}"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(
                f"the source cannot be read: {error}", where=where, do="check file"
            ) from None
        raws.append(_raw_table(content, spec, path.name, where))
    if table == "invoices":
        return _with_customers(raws)
    return raws


def _raw_table(
    content: bytes,
    spec: SourceSpec,
    label: str,
    where: str,
) -> RawTable:
    if spec.format in STATEMENTS:
        return _of_statement(read_camt(content, spec.format, where), label)
    if spec.format == "mt940":
        return _of_statement(read_mt940(content, spec.encoding, where), label)
    return _of_invoice(read_invoice(content, where), label)


def _of_statement(statement: Statement, label: str) -> RawTable:
    frame = entries_frame(statement.entries).assign(file=label)
    lines = [entry.line for entry in statement.entries]
    notes = tuple(f"{label}: {note}" for note in statement.notes)
    return RawTable(
        frame.where(frame != ""),
        pd.Series(lines, index=frame.index, dtype="int64"),
        label,
        notes=notes,
    )


def _of_invoice(items: Sequence[InvoiceItem], label: str) -> RawTable:
    frame = invoices_frame(items)
    lines = [item.line for item in items]
    return RawTable(
        frame,
        pd.Series(lines, index=frame.index, dtype="int64"),
        label,
    )


def _with_customers(raws: Sequence[RawTable]) -> list[RawTable]:
    """Return invoices with the id of their customer, from one identifier for all."""
    frames = [raw.frame for raw in raws]
    named, column = name_customers(pd.concat(frames, ignore_index=True))
    note = f"customer_id is {column}; map another column if it is to be another"
    with_ids = list[RawTable]()
    n_rows = 0
    for position, raw in enumerate(raws):
        part = named.iloc[n_rows : n_rows + len(raw.frame)]
        n_rows += len(raw.frame)
        notes = (note, *raw.notes) if position == 0 else raw.notes
        frame = part.set_axis(raw.frame.index)
        with_ids.append(replace(raw, frame=frame, notes=notes))
    return with_ids


@dataclass(frozen=True)
class DocumentRows:
    """The rows of documents, in their own columns, by table and row.

    Attributes
    ----------
    entries : DataFrame
        Of bank statements; the index is the row of the payment.
    invoices : DataFrame
        Of electronic invoices; the index is the row of the invoice.
    """

    entries: pd.DataFrame
    invoices: pd.DataFrame


def assign_documents(
    frames: dict[str, pd.DataFrame],
    documents: DocumentRows,
    payers: Payers,
    stored: StoredLedger | None = None,
) -> Iterator[Finding]:
    """Give credit notes and entries of bank statements to invoices and customers.

    Parameters
    ----------
    frames : dict of str to DataFrame
        The tables; invoices and payments are changed.
    documents : DocumentRows
        What the documents say besides our columns.
    payers : Payers
        The accounts and names of customers.
    stored : StoredLedger, optional
        The loaded ledger, whose invoices an entry may name too.

    Yields
    ------
    Finding
        What was done, and what was set aside.
    """
    invoices = frames.get("invoices", pd.DataFrame(columns=INVOICE_COLUMNS))
    if not set(INVOICE_COLUMNS) <= set(invoices):
        return
    if len(documents.invoices):
        yield from _apply_credit_notes(frames, documents.invoices)
        invoices = frames["invoices"]
    if len(documents.entries):
        if "name" in frames.get("customers", ()):
            payers.add(frames["customers"])
        invoices = with_stored_invoices(invoices, documents.entries, stored)
        yield from assign_entries(frames, documents.entries, invoices, payers)


def _apply_credit_notes(
    frames: dict[str, pd.DataFrame], documents: pd.DataFrame
) -> Iterator[Finding]:
    """Make payments of the credit notes that name an invoice of the ledger."""
    if "corrects" not in documents:
        return
    invoices = frames["invoices"]
    corrected = documents["corrects"].reindex(invoices.index)
    customers = invoices.drop_duplicates("invoice_id").set_index("invoice_id")
    owners = corrected.map(customers["customer_id"])
    is_applied = (invoices["amount"] < 0) & (owners == invoices["customer_id"])
    if not is_applied.any():
        return
    notes = invoices[is_applied]
    frames["invoices"] = invoices[~is_applied]
    payments = frames.get("payments", pd.DataFrame())
    first_row = int(payments.index.max()) + 1 if len(payments) else 0
    rows = pd.DataFrame(
        {
            "payment_id": notes["invoice_id"],
            "invoice_id": corrected[is_applied],
            "customer_id": notes["customer_id"],
            "paid_on": notes["issued_on"],
            "amount": -notes["amount"],
            "currency": notes["currency"],
            "kind": "credit_note",
            "known_on": notes["known_on"],
        }
    )
    rows.index = pd.RangeIndex(first_row, first_row + len(rows))
    frames["payments"] = pd.concat([payments, rows]) if len(payments) else rows
    noun = "credit note is" if len(rows) == 1 else "credit notes are"
    yield Finding(
        level="note",
        table="invoices",
        column="",
        row=None,
        what=f"{len(rows):,} {noun} applied to the invoices that they name",
        expected="",
    )


def read_payers(
    mappings: Sequence[TableMapping],
    folder: Path,
    environment: Mapping[str, str],
) -> Payers:
    """Return the payers that the sources of payments name a file of.

    Parameters
    ----------
    mappings : sequence of TableMapping
        Of the payments.
    folder : Path
        Where relative paths start.
    environment : mapping of str to str
        As for `reading.read_source`.

    Raises
    ------
    SchemaError
        If a file of payers lacks a column.
    """
    payers = Payers()
    names = [mapping.source.payers for mapping in mappings if mapping.source.payers]
    for name in dict.fromkeys(names):
        for raw in read_source(SourceSpec((name,)), "payers", folder, environment):
            has_sign = {"iban", "name"} & set(raw.frame)
            if "customer_id" not in raw.frame or not has_sign:
                raise SchemaError(
                    f"the file of payers has the columns {list(raw.frame)}",
                    where=name,
                    expected=f"{', '.join(PAYER_COLUMNS)}; iban or name may be absent",
                )
            payers.add(raw.frame.map(_stripped))
    return payers


def _stripped(cell: object) -> object:
    return cell.strip() if isinstance(cell, str) else cell
