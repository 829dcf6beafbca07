"""PDs rise with the horizon whatever the hazards, the margin and the state are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from obligor.model.calibration import Calibration
from obligor.model.pd_model import PdModel
from obligor.model.term_structure import StateHazards, TermStructure, state_buckets

EDGES = (0.0, 30.0, 60.0)
log_odds = st.floats(-30, 30)
triples = st.tuples(log_odds, log_odds, log_odds)
buckets = st.tuples(log_odds, log_odds, log_odds, log_odds)
by_bucket = st.tuples(buckets, buckets, buckets)
past_due = st.one_of(st.floats(0, 400), st.just(float("nan")))


@st.composite
def models(draw: st.DrawFn) -> PdModel:
    """Return a model of one feature with hazards by state; it has no trees."""
    state = StateHazards("dpd_days", EDGES, draw(by_bucket), draw(by_bucket))
    term = TermStructure((91, 182, 365), draw(triples), draw(triples), state)
    return PdModel("", Calibration("identity"), ("dpd_days",), 365, {}, term=term)


@given(models(), st.lists(st.tuples(log_odds, past_due), min_size=1, max_size=5))
def test_pds_rise_with_the_horizon(
    model: PdModel, customers: list[tuple[float, float]]
) -> None:
    margin, state = np.array(customers).T
    for rows in (state[:, None], None):
        pds = model.pds(margin, rows)
        assert (pds.pd_3m <= pds.pd_6m).all()
        assert (pds.pd_6m <= pds.pd_12m + 1e-15).all()
        assert (pds.pd_3m >= 0).all()
        assert np.isfinite(pds.pd_3m).all()


@given(models())
def test_a_term_structure_is_read_as_it_was_written(model: PdModel) -> None:
    assert model.term is not None
    assert TermStructure.from_dict(model.term.as_dict()) == model.term


@given(st.lists(past_due, min_size=1))
def test_a_bucket_holds_what_lies_up_to_its_edge(values: list[float]) -> None:
    for value, bucket in zip(
        values, state_buckets(np.array(values), EDGES).tolist(), strict=True
    ):
        n_edges_below = sum(value > edge for edge in EDGES)
        assert bucket == n_edges_below
