"""What a model must satisfy before it may decide.

Each objection names the gate and by how much the model misses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from obligor.arrays import Floats, Ints
from obligor.metrics.figures import figures
from obligor.metrics.significance import PairedRows, paired_difference
from obligor.metrics.slope import slope_test
from obligor.model.pd_model import PdModel
from obligor.training.validation.horizons import WatchedRows, check_horizons
from obligor.training.validation.sections import IDS
from obligor.training.validation.side_by_side import can_be_compared
from obligor.training.validation.soundness import (
    FAITHFUL,
    additive_error,
    faithful_share,
    forbidden_used,
    monotone_violations,
    riskiest,
)
from obligor.training.validation.subject import (
    DAYS_TO_DEFAULT,
    ROW_WEIGHT,
    SLOPE_CONFIDENCE,
    Rival,
    feature_matrix,
)

# Of the test of the reasons; fixed, so that a version always meets the same
# objections. The gates about figures draw nothing.
SEED = 0
EXPLAINED = 2000  # rows whose contributions are added up
LARGEST_ERROR = 1e-9  # of contributions against the margin, relative


@dataclass(frozen=True)
class PromotionCandidate:
    """A version that is to be promoted.

    Attributes
    ----------
    model : PdModel
        The model of the version.
    rows : DataFrame
        Its test rows as they were stored: features, and what is beside them.
    verdicts : mapping
        Of its report, by section; empty if there is no report.
    rival : Rival, optional
        The champion's PDs of the same rows.
    """

    model: PdModel
    rows: pd.DataFrame
    verdicts: Mapping[str, object]
    rival: Rival | None = None

    @property
    def matrix(self) -> Floats:
        """The test rows as the model takes them, shape (n, columns)."""
        return feature_matrix(self.rows)

    @property
    def label(self) -> Ints:
        """1 if the customer defaulted within the horizon, else 0; shape (n,)."""
        return self.rows["label"].to_numpy()

    @property
    def weight(self) -> Floats:
        """How often each row counts, shape (n,)."""
        if ROW_WEIGHT not in self.rows:
            return np.ones(len(self.rows))
        return self.rows[ROW_WEIGHT].to_numpy(dtype=np.float64)

    @property
    def customers(self) -> Ints:
        """The customer or applicant of each row, shape (n,)."""
        return self.rows["customer"].to_numpy()


def objections(candidate: PromotionCandidate) -> list[str]:
    """Return each reason against a promotion, with its figures."""
    pd_ = candidate.model.predict_pd(candidate.matrix)
    reasons = list[str]()
    reasons += _check_figures(candidate, pd_)
    reasons += _check_calibration(candidate, pd_)
    reasons += _check_horizons(candidate)
    reasons += _check_directions(candidate)
    reasons += _check_explanations(candidate)
    reasons += _check_repeatable(candidate, pd_)
    reasons += _check_forbidden(candidate)
    reasons += _check_report(candidate)
    reasons += _check_champion(candidate, pd_)
    return reasons


def _check_figures(candidate: PromotionCandidate, pd_: Floats) -> Iterator[str]:
    own = figures(pd_, candidate.label, candidate.weight)
    brier = own["brier"]
    constant = own["brier_constant"]
    if brier >= constant:
        yield (
            f"Brier score {brier:.5f} is not below the constant rate's {constant:.5f}"
        )
    if not own["gini"] > 0:  # NaN too: a Gini that cannot be computed
        yield (f"Gini is {own['gini']:.3f}: the model does not rank better than chance")


def _check_calibration(candidate: PromotionCandidate, pd_: Floats) -> Iterator[str]:
    slope = slope_test(
        pd_,
        candidate.label,
        candidate.customers,
        candidate.weight,
        confidence=SLOPE_CONFIDENCE,
    )
    if slope is None:
        yield (
            "the calibration slope cannot be estimated: all test rows have the same "
            "outcome"
        )
    elif not slope.includes_one:
        yield (
            f"the calibration slope is {slope}, and its {SLOPE_CONFIDENCE:.0%} "
            "interval does not include 1: `obligor recalibrate` corrects this without "
            "a refit"
        )


def _check_horizons(candidate: PromotionCandidate) -> Iterator[str]:
    if candidate.model.encoding is not None or DAYS_TO_DEFAULT not in candidate.rows:
        return
    watched = WatchedRows(
        rows=candidate.matrix,
        groups=candidate.customers,
        days_to_default=candidate.rows[DAYS_TO_DEFAULT].to_numpy(dtype=np.float64),
    )
    for check in check_horizons(candidate.model, watched):
        yield from check.misses()


def _check_directions(candidate: PromotionCandidate) -> Iterator[str]:
    for violation in monotone_violations(candidate.model, candidate.matrix):
        yield (
            f"{violation.feature} moves the margin against its direction in "
            f"{violation.rows:.0%} of rows, by up to {violation.worst:.3g}"
        )


def _check_explanations(candidate: PromotionCandidate) -> Iterator[str]:
    model = candidate.model
    matrix = candidate.matrix
    error = additive_error(model, matrix[:EXPLAINED])
    if error > LARGEST_ERROR:
        yield f"contributions miss the margin by {error:.1e} of its size"
    share = faithful_share(model, riskiest(model, matrix), SEED)
    if share < FAITHFUL:
        yield (
            f"reasons are faithful for {share:.0%} of the riskiest rows; "
            f"{FAITHFUL:.0%} is required"
        )


def _check_repeatable(candidate: PromotionCandidate, pd_: Floats) -> Iterator[str]:
    if "pd" not in candidate.rows:
        return
    stored = candidate.rows["pd"].to_numpy()
    if not np.array_equal(stored, pd_):
        gap = float(np.abs(stored - pd_).max())
        yield (
            "the PDs of the test rows cannot be reproduced: they differ by up to "
            f"{gap:.3g}"
        )


def _check_forbidden(candidate: PromotionCandidate) -> Iterator[str]:
    spec = candidate.model.about.get("spec", {})
    forbidden = spec.get("table", {}).get("forbidden", ())
    used = forbidden_used(candidate.model, forbidden)
    if used:
        yield f"the model reads {', '.join(used)}, which the spec forbids"


def _check_report(candidate: PromotionCandidate) -> Iterator[str]:
    missing = [name for name in IDS if name not in candidate.verdicts]
    if missing:
        yield (
            f"the report lacks {len(missing)} of {len(IDS)} sections: "
            f"{', '.join(missing[:5])}"
        )


def _check_champion(candidate: PromotionCandidate, pd_: Floats) -> Iterator[str]:
    rival = candidate.rival
    if rival is None:
        return
    if rival.pd is None:
        yield " ".join(rival.notes)
        return
    label = candidate.label[rival.is_unseen]
    if not can_be_compared(label):
        return
    rows = PairedRows(
        first=pd_[rival.is_unseen],
        second=rival.pd[rival.is_unseen],
        label=label,
        groups=candidate.customers[rival.is_unseen],
        weight=candidate.weight[rival.is_unseen],
    )
    gap = paired_difference(rows)
    if gap["gini"].high < 0:
        yield (
            f"Gini is below the champion's (version {rival.version}) by {gap['gini']}"
        )
    if gap["brier"].low > 0:
        yield (
            f"Brier score is above the champion's (version {rival.version}) by "
            f"{gap['brier']}"
        )
