"""Rows of a table of applications as the registry keeps and compares them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.features.applications import Applications
from obligor.features.encoding import Encoding
from obligor.features.levels import texts
from obligor.training.lifecycle.learnt_rows import (
    Digests,
    RowDigests,
    content_digests,
    identity_digests,
)
from obligor.training.lifecycle.raw_rows import RawRows


def raw_rows_of(data: Applications) -> RawRows:
    """Return the rows of a table before any encoding, without its identifiers."""
    roles = data.spec.table
    not_kept = {data.spec.target.column, *roles.id}
    names = [name for name in data.table if name not in not_kept]
    return RawRows(
        frame=data.table[names].reset_index(drop=True),
        label=data.label,
        groups=pd.factorize(data.groups)[0].astype(np.int64),
        periods=months_of(data),
        identity=identity_of(data),
    )


def months_of(data: Applications) -> NDArray[np.object_]:
    """Return the month of each application; "all" if the table has no dates."""
    if data.dates is None:
        return np.full(len(data), "all", dtype=object)
    return np.asarray(data.dates.astype("datetime64[M]").astype(str), dtype=object)


def identity_of(data: Applications) -> Digests | None:
    """Return a digest of the identifiers and the date of each row.

    None if the table has neither.
    """
    columns = [
        texts(data.table[name]).reset_index(drop=True) for name in data.spec.table.id
    ]
    if data.dates is not None:
        columns.append(pd.Series(data.dates.astype(str)))
    return identity_digests(columns)


def digests_of(data: Applications, encoding: Encoding) -> RowDigests:
    """Return digests of the rows of a table as a model reads them."""
    return RowDigests(content_digests(data.table, encoding), identity_of(data))
