"""When within the horizon a default occurs: hazards split a PD among its months."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict

import numpy as np

from obligor.arrays import Floats, Ints

STATE = "dpd_days"  # the feature that tells when a default can come
STATE_EDGES = (0.0, 30.0, 60.0)  # days past due
STATE_NAMES = (
    "not overdue",
    "1 to 30 days past due",
    "31 to 60 days past due",
    "over 60 days past due",
)


class StateHazardsFields(TypedDict):
    """Hazards by state as they stand in ``calibration.json``."""

    feature: str
    edges: list[float]
    intercepts: list[list[float]]
    slopes: list[list[float]]


class TermStructureFields(TypedDict):
    """A term structure as it stands in ``calibration.json``."""

    ends: list[int]
    intercepts: list[float]
    slopes: list[float]
    state: NotRequired[StateHazardsFields]


def state_buckets(values: Floats, edges: Sequence[float]) -> Ints:
    """Return the bucket of each value: 0 up to the first edge, then one more at each.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        A feature; a missing value is in bucket 0.
    edges : sequence of float
        Rising; a value belongs to the bucket that its edge ends.

    Returns
    -------
    ndarray of int, shape (n,)

    Examples
    --------
    >>> state_buckets(np.array([np.nan, 0.0, 1.0, 30.0, 31.0]), (0, 30)).tolist()
    [0, 0, 1, 1, 2]
    """
    present = np.where(np.isnan(values), -np.inf, values)
    return np.searchsorted(np.asarray(edges), present, side="left")


@dataclass(frozen=True)
class StateHazards:
    """The hazard of each part of the horizon, given the margin and the state.

    Two customers of one margin need not default at the same time: one that is overdue
    today reaches the default within weeks or not at all, one that owes nothing cannot
    within the first months.

    Attributes
    ----------
    feature : str
        The feature whose value on the as-of date is the state.
    edges : tuple of float
        Of its buckets; see `state_buckets`.
    intercepts, slopes : tuple of tuple of float
        Of each part, one for each bucket.
    """

    feature: str
    edges: tuple[float, ...]
    intercepts: tuple[tuple[float, ...], ...]
    slopes: tuple[tuple[float, ...], ...]

    def log_odds(self, margin: Floats, state: Floats) -> Floats:
        """Return the log-odds of the hazards, shape (n, parts).

        Parameters
        ----------
        margin : ndarray of float, shape (n,)
            Log-odds before calibration.
        state : ndarray of float, shape (n,)
            Values of `feature`.
        """
        buckets = state_buckets(state, self.edges)
        intercepts = np.asarray(self.intercepts).T[buckets]
        slopes = np.asarray(self.slopes).T[buckets]
        log_odds: Floats = slopes * margin[:, None] + intercepts
        return log_odds

    def as_dict(self) -> StateHazardsFields:
        """Return plain values for JSON."""
        return {
            "feature": self.feature,
            "edges": list(self.edges),
            "intercepts": [list(part) for part in self.intercepts],
            "slopes": [list(part) for part in self.slopes],
        }

    @classmethod
    def from_dict(cls, fields: StateHazardsFields) -> StateHazards:
        """Return the hazards that `as_dict` wrote."""
        return cls(
            fields["feature"],
            tuple(fields["edges"]),
            tuple(tuple(part) for part in fields["intercepts"]),
            tuple(tuple(part) for part in fields["slopes"]),
        )


@dataclass(frozen=True)
class TermStructure:
    """The hazard of each part of the horizon, given the margin.

    ``h_k = 1 / (1 + exp(-(intercept_k + slope_k * margin)))`` is the probability of a
    default in part k if there was none before (Singer and Willett 1993). Only its
    shape is used: the PD over the whole horizon is the calibration's.

    Attributes
    ----------
    ends : tuple of int
        Days at which the parts end; the last is the horizon.
    intercepts, slopes : tuple of float
        Of each part.
    state : StateHazards, optional
        Hazards that take the state of a customer too; used if it is known.
    """

    ends: tuple[int, ...]
    intercepts: tuple[float, ...]
    slopes: tuple[float, ...]
    state: StateHazards | None = None

    def share(
        self,
        margin: Floats,
        days: int,
        state: Floats | None = None,
    ) -> Floats:
        """Return the cumulative hazard by a day over that by the horizon.

        ``PD within days = 1 - (1 - PD over the horizon) ** share``; it rises with the
        days. Beyond the horizon the hazard is constant.

        Parameters
        ----------
        margin : ndarray of float, shape (n,)
            Log-odds before calibration.
        days : int
            Days from the as-of date, 0 or more.
        state : ndarray of float, shape (n,), optional
            Values of the feature that `state` reads; without them the hazards are
            those of the margin alone.

        Returns
        -------
        ndarray of float, shape (n,)
            0 on day 0, 1 at the horizon.

        Examples
        --------
        >>> flat = TermStructure((91, 182, 365), (-3.0, -3.0, -2.3), (1.0, 1.0, 1.0))
        >>> flat.share(np.array([0.0]), 182).round(3).tolist()
        [0.504]
        >>> flat.share(np.array([0.0]), 365).tolist()
        [1.0]
        >>> flat.share(np.array([0.0]), 730).tolist()
        [2.0]
        """
        starts = (0, *self.ends[:-1])
        # -ln(1 - h_k), the cumulative hazard of part k
        log_odds = np.outer(margin, self.slopes) + self.intercepts
        if self.state is not None and state is not None:
            log_odds = self.state.log_odds(margin, state)
        hazards = np.logaddexp(0, log_odds)
        elapsed_shares = []
        for start, end in zip(starts, self.ends, strict=True):
            elapsed_days = max(days - start, 0)
            elapsed_shares.append(min(elapsed_days / (end - start), 1.0))
        elapsed_hazard = hazards @ np.array(elapsed_shares)
        share: Floats = elapsed_hazard / hazards.sum(axis=1)
        return share * max(days / self.ends[-1], 1.0)

    def as_dict(self) -> TermStructureFields:
        """Return plain values for JSON."""
        fields: TermStructureFields = {
            "ends": list(self.ends),
            "intercepts": list(self.intercepts),
            "slopes": list(self.slopes),
        }
        if self.state is not None:
            fields["state"] = self.state.as_dict()
        return fields

    @classmethod
    def from_dict(cls, fields: TermStructureFields) -> TermStructure:
        """Return the term structure that `as_dict` wrote."""
        state = None
        if "state" in fields:
            state = StateHazards.from_dict(fields["state"])
        return cls(
            tuple(fields["ends"]),
            tuple(fields["intercepts"]),
            tuple(fields["slopes"]),
            state,
        )
