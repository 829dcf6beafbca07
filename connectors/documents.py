"""Which files are documents: bank statements and electronic invoices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from obligor.documents.camt import STATEMENTS, read_camt
from obligor.documents.invoices import read_invoice
from obligor.documents.mt940 import read_mt940
from obligor.documents.xml import parse_xml
from obligor.errors import InputError

# What the first bytes of a PDF file, of an XML document and of MT940 are.
_PDF = b"%PDF"
_XML = (b"<", b"\xef\xbb\xbf<", b"\xff\xfe<", b"\xfe\xff\x00<")
_MT940 = (b":20:", b"{1:", b"\r\n:20:", b"\n:20:")
_FIRST_BYTES = 1024


@dataclass(frozen=True)
class DocumentGuess:
    """Files of one format.

    Attributes
    ----------
    table : str
        The table that they fill.
    format : str
        As a mapping states it.
    paths : list of Path
        The files.
    encoding : str
        Of text files; empty for UTF-8.
    currency : str
        Of the first amount; empty if there is none.
    """

    table: str
    format: str
    paths: list[Path]
    encoding: str = ""
    currency: str = ""


def format_of(path: Path) -> str:
    """Return the format of a document; empty if the file is a table.

    Raises
    ------
    InputError
        If the file cannot be read; SchemaError if it is no complete document.
    """
    try:
        with path.open("rb") as stream:
            first_bytes = stream.read(_FIRST_BYTES).lstrip()
    except OSError as error:
        raise InputError(
            f"the file cannot be read: {error}", where=path.name, do="check the file"
        ) from None
    if first_bytes.startswith(_PDF):
        return "e-invoice"
    if first_bytes.startswith(_MT940):
        return "mt940"
    if not first_bytes.startswith(_XML):
        return ""
    root = parse_xml(path.read_bytes(), path.name)
    for message, statement in STATEMENTS.items():
        if root.first(statement) is not None:
            return message
    return "e-invoice"


def guess_documents(paths: Sequence[Path]) -> list[DocumentGuess]:
    """Return the documents among some files, by format and encoding.

    Raises
    ------
    SchemaError
        If one of them cannot be read.
    """
    guesses: dict[tuple[str, str], DocumentGuess] = {}
    for path in paths:
        name = format_of(path)
        if not name:
            continue
        content = path.read_bytes()
        encoding = _encoding(content) if name == "mt940" else ""
        guess = guesses.get((name, encoding))
        if guess is None:
            table = "invoices" if name == "e-invoice" else "payments"
            currency = _currency(content, name, encoding, path.name)
            guess = DocumentGuess(table, name, [], encoding, currency)
            guesses[(name, encoding)] = guess
        guess.paths.append(path)
    return list(guesses.values())


def _encoding(content: bytes) -> str:
    """Return the encoding of an MT940 file: UTF-8, or that of older programs."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return ""


def _currency(
    content: bytes,
    name: str,
    encoding: str,
    where: str,
) -> str:
    """Return the currency of the first amount of a document."""
    if name == "e-invoice":
        return next((item.currency for item in read_invoice(content, where)), "")
    if name == "mt940":
        statement = read_mt940(content, encoding, where)
    else:
        statement = read_camt(content, name, where)
    return next((entry.currency for entry in statement.entries), "")
