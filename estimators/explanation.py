"""The contributions of raw columns, as the plots of shap take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from obligor.features.encoding import Encoding
from obligor.model.pd_model import PdModel

if TYPE_CHECKING:
    import shap


def explain_frame(
    model: PdModel, encoding: Encoding, frame: pd.DataFrame
) -> shap.Explanation:
    """Return the exact contributions of each column to the margin.

    A column that is encoded as several numbers has their sum.

    Parameters
    ----------
    model : PdModel
        The fitted model.
    encoding : Encoding
        How a row of the table becomes numbers.
    frame : DataFrame
        Rows of the table.

    Returns
    -------
    shap.Explanation
        In log-odds before calibration: base value plus values is the margin.
    """
    import shap  # it takes seconds to import

    rows = encoding.rows(frame)
    contributions, _ = model.explain(rows)
    names = list[str]()
    values = []
    data = []
    shown = []
    for column, places in encoding.parts:
        names.append(column.name)
        values.append(contributions[:, places].sum(axis=1))
        data.append(rows[:, places.start])
        shown.append([column.value_text(row) for row in rows[:, places].tolist()])
    return shap.Explanation(
        values=np.column_stack(values),
        base_values=np.full(len(rows), model.base),
        data=np.column_stack(data),
        display_data=np.array(shown, dtype=object).T,
        feature_names=names,
    )
