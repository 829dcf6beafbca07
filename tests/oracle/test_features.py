"""Every feature computed a second time, in SQL, from the ungated ledger: definitions and gate at once."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from obligor.data.asof import known_on
from obligor.data.ledger import CONTRACTS, Ledger
from obligor.data.synthetic import Simulation
from obligor.features.build import build_features
from obligor.features.catalogue import NAMES

HERE = Path(__file__).parent


def oracle(ledger: Ledger, as_of: date) -> pd.DataFrame:
    connection = duckdb.connect()
    for table in CONTRACTS:
        frame = ledger[table].assign(seq=range(len(ledger[table])))
        connection.register("frame", frame)
        days = [c for c in frame if str(frame[c].dtype).startswith("datetime")]
        casts = ", ".join(f"cast({c} as date) as {c}" for c in days)
        connection.execute(
            f"create table {table} as select * {f'replace ({casts})' if days else ''} from frame"
        )
        connection.unregister("frame")
    given = {"as_of": as_of, "reporting": ledger.currency}
    windows, standing = (
        connection.execute((HERE / f"{name}.sql").read_text(), given).df()
        for name in ("windows", "standing")
    )
    wide = windows.pivot(index="customer_id", columns="n")
    wide.columns = [f"{name}_{n}d" for name, n in wide.columns]
    wide["dbt_days_trend"] = wide["dbt_days_mean_90d"] - wide["dbt_days_mean_365d"]
    year = wide["invoiced_amount_365d"].where(wide["invoiced_amount_365d"] > 0)
    wide["sales_trend"] = wide["invoiced_amount_90d"] * 365 / (year * 90)
    return wide.join(standing.set_index("customer_id"))[list(NAMES)].astype(float)


@pytest.mark.parametrize(
    "as_of", [date(2022, 2, 15), date(2023, 1, 31), date(2024, 12, 31)]
)
def test_every_feature_equals_its_sql_definition(
    simulation: Simulation, as_of: date
) -> None:
    ours = build_features(known_on(simulation.ledger, as_of))
    theirs = oracle(simulation.ledger, as_of).reindex(ours.index)
    for name in NAMES:
        np.testing.assert_allclose(
            ours[name], theirs[name], rtol=1e-9, atol=1e-6, err_msg=name
        )


def test_every_feature_takes_many_values(simulation: Simulation) -> None:
    """An oracle that compares constants would prove nothing."""
    ours = build_features(known_on(simulation.ledger, date(2024, 12, 31)))
    assert (ours.nunique() > 3).all(), ours.nunique().sort_values().head()
