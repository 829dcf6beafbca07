"""How the use of refused applicants in training changes a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from obligor.arrays import Floats
from obligor.metrics.figures import auc, difference
from obligor.model.pd_model import PdModel
from obligor.training.validation.subject import ModelUnderTest, Section


@dataclass(frozen=True)
class ScoredApplicants:
    """A model, and the applicants as it takes them.

    Attributes
    ----------
    model : PdModel
        The model.
    test : ndarray, shape (n, columns)
        The test rows.
    refused : ndarray, shape (m, columns)
        The refused applicants.
    """

    model: PdModel
    test: Floats
    refused: Floats

    @property
    def test_pd(self) -> Floats:
        """PDs of the test rows, shape (n,)."""
        return self.model.predict_pd(self.test)

    @property
    def refused_pd(self) -> Floats:
        """PDs of the refused applicants, shape (m,)."""
        return self.model.predict_pd(self.refused)


def reject_effects(
    subject: ModelUnderTest,
    using: ScoredApplicants,
    without: ScoredApplicants,
    method: str,
) -> Section:
    """Show how much the use of refused applicants changes a model.

    Parameters
    ----------
    subject : ModelUnderTest
        The model that was trained with refused applicants.
    using : ScoredApplicants
        The same model with its rows.
    without : ScoredApplicants
        The model that was trained without them.
    method : str
        How the refused were used, in a sentence.

    Returns
    -------
    Section
        ``rejects``: always for a person to look at, because no figure tells which
        model is right about the refused.
    """
    label = subject.test.label
    pd_using = using.test_pd
    pd_without = without.test_pd
    gap = difference(
        pd_using,
        pd_without,
        label,
        subject.resampling,
    )
    regraded = subject.grades(pd_using) != subject.grades(pd_without)
    refused_before = without.refused_pd.mean()
    refused_after = using.refused_pd.mean()
    summary = (
        f"{method} The mean PD of the test rows moves from {pd_without.mean():.4f} to "
        f"{pd_using.mean():.4f}, that of the refused from {refused_before:.4f} to "
        f"{refused_after:.4f}. {np.mean(regraded):.0%} of the test rows change their "
        f"grade. The Gini on known outcomes changes by {gap['gini']}. Nobody observed "
        "how the refused would have paid, so no figure here shows which model is "
        "right about them."
    )
    table = pd.DataFrame(
        {
            "with the refused": _figures(using, subject),
            "without the refused": _figures(without, subject),
        }
    )
    return Section(
        id="rejects",
        title="Refused applicants",
        verdict="look",
        summary=summary,
        tables=(("With and without the refused", table),),
    )


def _figures(applicants: ScoredApplicants, subject: ModelUnderTest) -> dict[str, str]:
    label = subject.test.label
    weight = subject.test.weight
    pd_ = applicants.test_pd
    brier = np.average((pd_ - label) ** 2, weights=weight)
    return {
        "AUC": f"{auc(pd_, label, weight):.4f}",
        "Brier score": f"{brier:.5f}",
        "mean PD of the test rows": f"{np.average(pd_, weights=weight):.4f}",
        "mean PD of the refused": f"{applicants.refused_pd.mean():.4f}",
    }
