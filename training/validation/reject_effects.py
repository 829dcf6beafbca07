"""What letting refused applicants count changes in a model."""

from __future__ import annotations

import pandas as pd

from obligor.arrays import Floats
from obligor.model.pd_model import PdModel
from obligor.training.metrics.figures import auc, difference
from obligor.training.metrics.statistics import Resampling
from obligor.training.validation.subject import ModelUnderTest, Section


def rejects(
    case: ModelUnderTest,
    without: PdModel,
    rows: Floats,
    refused: tuple[Floats, Floats],
    says: str,
) -> Section:
    """Say how much letting refused applicants count changes a model.

    Parameters
    ----------
    case : ModelUnderTest
        Of the model in which they count.
    without : PdModel
        The one in which they do not.
    rows : array, shape (n, columns)
        The test rows as `without` takes them.
    refused : tuple of array
        The refused as the model of the case takes them, and as `without` does.
    says : str
        How they were let count.
    """
    label, pds = case.test.label, (case.pd_(), without.predict_pd(rows))
    theirs = case.model.predict_pd(refused[0]), without.predict_pd(refused[1])
    gap = difference(*pds, label, Resampling(case.test.groups, case.rounds, case.seed))
    table = pd.DataFrame(
        {
            name: [
                f"{auc(test, label):.4f}",
                f"{((test - label) ** 2).mean():.5f}",
                f"{test.mean():.4f}",
                f"{of_refused.mean():.4f}",
            ]
            for name, test, of_refused in zip(
                ("they count", "they do not"), pds, theirs, strict=True
            )
        },
        index=["AUC", "Brier", "mean PD of the test rows", "mean PD of the refused"],
    )
    moved = float((case.grades(pds[0]) != case.grades(pds[1])).mean())
    found = (
        f"{says} It moves the mean PD of the test rows from {pds[1].mean():.4f} to {pds[0].mean():.4f}, that of "
        f"the refused from {theirs[1].mean():.4f} to {theirs[0].mean():.4f}, {moved:.0%} of the test rows to "
        f"another grade, and the Gini on known outcomes by {gap['gini']}. What the refused would have done nobody "
        "saw: no figure here says which model is right about them."
    )
    return Section(
        "rejects",
        "Refused applicants",
        "look",
        found,
        (("With and without the refused", table),),
    )
