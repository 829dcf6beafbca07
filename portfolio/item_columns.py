"""Columns of items by customer, stacked into one frame."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

Columns = Mapping[Hashable, ArrayLike]


def stacked(parts: Sequence[Columns]) -> pd.DataFrame:
    """Return one frame of many short tables with the same columns.

    A frame for each would take a millisecond.

    Examples
    --------
    >>> stacked([{"amount": [1, 2]}, {"amount": [3]}])["amount"].tolist()
    [1, 2, 3]
    """
    columns = {}
    for name in parts[0]:
        arrays = [np.asarray(part[name]) for part in parts]
        columns[name] = np.concatenate(arrays)
    return pd.DataFrame(columns)
