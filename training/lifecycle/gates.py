"""What a model must hold before it may decide: each objection says which gate, and by how much it is missed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from obligor.arrays import Floats, Ints
from obligor.model.pd_model import PdModel
from obligor.training.metrics.figures import (
    calibration_line,
    difference,
    figures,
    with_intervals,
)
from obligor.training.metrics.statistics import Resampling
from obligor.training.validation.sections import IDS
from obligor.training.validation.soundness import (
    FAITHFUL,
    additive_error,
    faithful_share,
    forbidden_used,
    monotone_violations,
    riskiest,
)

ROUNDS, SEED, EXPLAINED = 200, 0, 2000
KEPT = ("label", "customer", "period", "pd")  # of the test rows, beside the columns


@dataclass(frozen=True)
class PromotionCandidate:
    """A version that is to be promoted.

    Attributes
    ----------
    rows : DataFrame
        Its test rows as they were kept: columns, and those of `KEPT`.
    verdicts : dict
        Of its report, by section; empty where there is none.
    champion : tuple of (str, PdModel), optional
        The version in force.
    """

    model: PdModel
    rows: pd.DataFrame
    verdicts: Mapping[str, Any]
    champion: tuple[str, PdModel] | None

    @property
    def matrix(self) -> Floats:
        """The rows as the model takes them."""
        return self.rows.drop(columns=list(KEPT), errors="ignore").to_numpy(
            dtype=np.float64
        )

    @property
    def label(self) -> Ints:
        """What happened."""
        return self.rows["label"].to_numpy()

    @property
    def customers(self) -> Ints:
        """Whose each row is."""
        return self.rows["customer"].to_numpy()


def objections(candidate: PromotionCandidate) -> list[str]:
    """Return each reason against a promotion, with its figures."""
    pd_ = candidate.model.predict_pd(candidate.matrix)
    gates = (
        _figures(candidate, pd_),
        _calibration(candidate, pd_),
        _monotone(candidate),
        _explained(candidate),
        _repeatable(candidate, pd_),
        _allowed(candidate),
        _reported(candidate),
        _champion(candidate, pd_),
    )
    return [objection for gate in gates for objection in gate]


def _figures(candidate: PromotionCandidate, pd_: Floats) -> Iterator[str]:
    own = figures(pd_, candidate.label)
    if own["brier"] >= own["brier_constant"]:
        yield f"Brier {own['brier']:.5f} is not below the constant rate's {own['brier_constant']:.5f}"
    if not own["gini"] > 0:  # also where there is none
        yield f"Gini {own['gini']:.3f} does not rank at all"


def _calibration(candidate: PromotionCandidate, pd_: Floats) -> Iterator[str]:
    def slope(pd_: Floats, label: Ints, weight: Floats) -> dict[str, float]:
        return {"slope": calibration_line(pd_, label, weight)[0]}

    found = with_intervals(
        pd_, candidate.label, Resampling(candidate.customers, ROUNDS, SEED), slope
    )["slope"]
    if not found.low <= 1 <= found.high:
        yield f"the calibration slope is {found}, without 1: `obligor recalibrate` mends it without a refit"


def _monotone(candidate: PromotionCandidate) -> Iterator[str]:
    for one in monotone_violations(candidate.model, candidate.matrix):
        yield f"{one.feature} moves the margin against its direction in {one.rows:.0%} of rows, by {one.worst:.3g}"


def _explained(candidate: PromotionCandidate) -> Iterator[str]:
    model, matrix = candidate.model, candidate.matrix
    if (error := additive_error(model, matrix[:EXPLAINED])) > 1e-9:
        yield f"contributions miss the margin by {error:.1e} of its size"
    if (share := faithful_share(model, riskiest(model, matrix), SEED)) < FAITHFUL:
        yield f"reasons are faithful for {share:.0%} of the riskiest rows, {FAITHFUL:.0%} are asked"


def _repeatable(candidate: PromotionCandidate, pd_: Floats) -> Iterator[str]:
    if "pd" in candidate.rows and not np.array_equal(
        candidate.rows["pd"].to_numpy(), pd_
    ):
        gap = float(np.abs(candidate.rows["pd"].to_numpy() - pd_).max())
        yield f"the PDs of its test rows do not come out again: they differ by up to {gap:.3g}"


def _allowed(candidate: PromotionCandidate) -> Iterator[str]:
    spec = candidate.model.about.get("spec", {})
    if used := forbidden_used(
        candidate.model, spec.get("table", {}).get("forbidden", ())
    ):
        yield f"it reads {', '.join(used)}, which the spec forbids"


def _reported(candidate: PromotionCandidate) -> Iterator[str]:
    if missing := [name for name in IDS if name not in candidate.verdicts]:
        yield f"the report lacks {len(missing)} of {len(IDS)} sections: {', '.join(missing[:5])}"


def _champion(candidate: PromotionCandidate, pd_: Floats) -> Iterator[str]:
    if candidate.champion is None:
        return
    version, old = candidate.champion
    if old.features != candidate.model.features:
        yield f"the champion (version {version}) has other columns: they cannot be compared"
        return
    gap = difference(
        pd_,
        old.predict_pd(candidate.matrix),
        candidate.label,
        Resampling(candidate.customers, ROUNDS, SEED),
    )
    if gap["gini"].high < 0:
        yield f"Gini is below the champion's (version {version}) by {gap['gini']}"
    if gap["brier"].low > 0:
        yield f"Brier is above the champion's (version {version}) by {gap['brier']}"
