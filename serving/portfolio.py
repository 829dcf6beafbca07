"""A ledger's customers on one day, scored, as the rule layer simulates them."""

from __future__ import annotations

from datetime import date

import numpy as np

from data.asof import known_on
from data.ledger import Ledger
from features.build import build_features
from policy.simulate import Portfolio
from training.pd_model import PdModel

GROUPS = ("sector", "country")


def portfolio_of(ledger: Ledger, as_of: date, model: PdModel) -> Portfolio:
    """Return every customer known on a day who has had an invoice, with PD, features and the last statement.

    Raises
    ------
    AsOfError
        Where no invoice was known by then.
    """
    known = known_on(ledger, as_of)
    frame = build_features(known)
    frame = frame[frame["days_since_first_invoice"].notna()]
    last = known.ledger["financials"].sort_values(["period_end", "known_on"], kind="stable")
    last = last.groupby("customer_id").tail(1).set_index("customer_id").reindex(frame.index)
    people = known.ledger["customers"].set_index("customer_id").reindex(frame.index)
    return Portfolio(
        customer_ids=list(frame.index),
        currency=ledger.currency,
        as_of=as_of,
        pd_12m=model.predict_pd_12m(frame.to_numpy()),
        features={str(name): frame[name].to_numpy() for name in frame},
        equity=last["equity"].to_numpy(dtype=np.float64),
        turnover=last["turnover"].to_numpy(dtype=np.float64),
        groups={name: people[name].astype("str").to_numpy() for name in GROUPS if name in people},
    )
