"""Which rows a model has learnt from: a 64-bit digest of each, kept with its version.

A calibration or a comparison on rows that a model has learnt from flatters the model.
The digest of a row is that of its values as the model reads them, so it is the same
whatever the order of rows and columns, and however a file writes a value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.arrays import Bools, Ints
from obligor.features.encoding import Encoding

Digests = NDArray[np.uint64]
DIGEST_BYTES = 8
# From this share of different rows on, equal values mean the same applicant.
TELLING = 0.95
MIXING = np.uint64(0x9E3779B97F4A7C15)  # odd: 2**64 over the golden ratio (Knuth)


@dataclass(frozen=True)
class RowDigests:
    """Digests of the rows of a table.

    Attributes
    ----------
    content : ndarray of uint64, shape (n,)
        Of the columns that a model reads.
    identity : ndarray of uint64, shape (n,), optional
        Of the columns that identify a row, and of its date; None if the table has
        neither.
    """

    content: Digests
    identity: Digests | None = None

    def __len__(self) -> int:
        return len(self.content)

    @property
    def is_telling(self) -> bool:
        """Whether equal values mean the same applicant: hardly any rows are alike."""
        return len(np.unique(self.content)) >= TELLING * len(self.content)

    def take(self, rows: Ints) -> RowDigests:
        """Return the digests of some rows, by index."""
        identity = None if self.identity is None else self.identity[rows]
        return RowDigests(self.content[rows], identity)

    def joined(self, other: RowDigests) -> RowDigests:
        """Return the digests of both tables; identities only if both have them."""
        identity = None
        if self.identity is not None and other.identity is not None:
            identity = np.concatenate([self.identity, other.identity])
        return RowDigests(np.concatenate([self.content, other.content]), identity)


def content_digests(frame: pd.DataFrame, encoding: Encoding) -> Digests:
    """Return a digest of each row's values as a model reads them, shape (n,).

    Parameters
    ----------
    frame : DataFrame
        A row per applicant, with the columns of the model.
    encoding : Encoding
        How the model reads them; its pairs add nothing and are left out.
    """
    rows = replace(encoding, pairs=()).rows(frame)
    # A file may round the last digits of a number; -0 equals 0, and NaN is one value.
    rounded = rows.astype(np.float32) + np.float32(0)
    rounded[np.isnan(rounded)] = np.nan
    return _digests(row.tobytes() for row in rounded)


def identity_digests(columns: Sequence[pd.Series]) -> Digests | None:
    """Return a digest of each row's identity, shape (n,); None without a column.

    Parameters
    ----------
    columns : sequence of Series
        Identifiers and dates as texts, in an order that never changes.
    """
    if not columns:
        return None
    rows = zip(*columns, strict=True)
    return _digests("\x1f".join(row).encode() for row in rows)


def _digests(parts: Iterable[bytes]) -> Digests:
    digests = b"".join(
        hashlib.blake2b(part, digest_size=DIGEST_BYTES).digest() for part in parts
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def learnt(past: RowDigests, rows: RowDigests) -> Bools:
    """Return whether a model has learnt from each row, shape (n,).

    A row was learnt from if its content was. If many of the learnt rows are alike,
    equal content alone proves nothing: then it must have been learnt together with the
    identity, if both tables have one.

    Parameters
    ----------
    past : RowDigests
        Of the rows that the model has learnt from.
    rows : RowDigests
        Of other rows.

    Examples
    --------
    >>> past = RowDigests(np.array([1, 2, 3], np.uint64))
    >>> learnt(past, RowDigests(np.array([3, 4], np.uint64))).tolist()
    [True, False]
    >>> alike = RowDigests(np.array([1, 1], np.uint64), np.array([7, 8], np.uint64))
    >>> rows = RowDigests(np.array([1, 1], np.uint64), np.array([8, 9], np.uint64))
    >>> learnt(alike, rows).tolist()
    [True, False]
    """
    is_learnt: Bools = np.isin(rows.content, past.content)
    if past.is_telling or past.identity is None or rows.identity is None:
        return is_learnt
    return np.isin(
        _paired(rows.content, rows.identity),
        _paired(past.content, past.identity),
    )


def _paired(content: Digests, identity: Digests) -> Digests:
    """One digest of both, modulo 2**64."""
    return content * MIXING + identity


def save_digests(digests: RowDigests, path: Path) -> None:
    """Write digests in rising order of their content, 8 or 16 bytes a row."""
    order = np.argsort(digests.content, kind="stable")
    columns = {"content": digests.content[order]}
    if digests.identity is not None:
        columns["identity"] = digests.identity[order]
    pd.DataFrame(columns).to_parquet(path)


def load_digests(path: Path) -> RowDigests:
    """Read digests that `save_digests` has written."""
    frame = pd.read_parquet(path)
    identity = frame["identity"].to_numpy() if "identity" in frame else None
    return RowDigests(frame["content"].to_numpy(), identity)
