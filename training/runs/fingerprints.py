"""What a run was made of: the hash of its data, and that of the code."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from obligor.data.ledger import Ledger

PACKAGE = Path(__file__).parent.parent.parent
# Every source that makes a model.
SOURCES = ("data", "features", "policy", "model", "metrics", "training")
SOURCE_SUFFIXES = (".py", ".yaml")  # code and rules
UNFINISHED = "unfinished"  # folder in the store


def unfinished_folder(store: Path, content: str) -> Path:
    """Return the folder in which an unfinished run keeps its fits.

    Parameters
    ----------
    store : Path
        The folder of the model store.
    content : str
        Everything that makes the run what it is.
    """
    name = hashlib.sha256(content.encode()).hexdigest()[:16]
    return store / UNFINISHED / name


def data_fingerprint(ledger: Ledger) -> str:
    """Return the SHA-256 over every cell of every table."""
    digest = hashlib.sha256(ledger.currency.encode())
    for table in sorted(ledger.tables):
        frame = ledger[table].sort_index(axis=1)
        cells = pd.util.hash_pandas_object(frame, index=False).to_numpy()
        digest.update(table.encode() + cells.tobytes())
    return digest.hexdigest()


def code_fingerprint(package: Path = PACKAGE) -> str:
    """Return the SHA-256 over every source that makes a model.

    Rules count too: the baseline is chosen among the customers they approve.

    Parameters
    ----------
    package : Path
        Folder of the rooms; the sources of `SOURCES` count, in sub-folders too.
    """
    digest = hashlib.sha256()
    for room in SOURCES:
        for path in sorted((package / room).rglob("*")):
            if path.suffix in SOURCE_SUFFIXES:
                name = path.relative_to(package).as_posix()
                digest.update(name.encode() + path.read_bytes())
    return digest.hexdigest()
