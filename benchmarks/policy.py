"""The rule layer.

One decision with its trace, a million customers under two rulebooks, and loading a
rulebook.

The peer of the portfolio's table lookup is the same table as polars expressions, in the
same run.
Run: ``python benchmarks/policy.py [--json]``.
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import sys
import time
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import polars as pl

from benchmarks.bars import bar, report
from obligor.features.catalogue import NAMES
from obligor.policy.credit.decide import decide
from obligor.policy.rulebooks.cells import Cell, Span
from obligor.policy.rulebooks.decision_table import DecisionTable
from obligor.policy.rulebooks.rulebook import RULES, Rulebook, read_rulebook
from obligor.portfolio.array_tables import lookup
from obligor.portfolio.comparison import summary
from obligor.portfolio.decide_many import decide_many
from obligor.portfolio.snapshot import Portfolio

CUSTOMERS, ROUNDS = 1_000_000, 5
AS_OF = date(2025, 6, 30)


def portfolio_of(n: int) -> Portfolio:
    """Customers of every kind.

    What is known of each is drawn, one in twenty not known.
    """
    draw = np.random.default_rng(0)
    features = {name: np.zeros(n) for name in NAMES}
    money = np.round(np.exp(draw.normal(10, 1.5, n)), 2)
    drawn = {
        "open_amount": np.round(money * draw.uniform(0, 0.3, n), 2),
        "invoiced_amount_365d": money,
        "invoiced_amount_90d": np.round(money * draw.uniform(0, 0.5, n), 2),
        "dpd_days": np.floor(draw.exponential(12, n)),
        "dbt_days_mean_365d": draw.exponential(8, n),
        "disputed_share": np.round(draw.uniform(0, 1, n) ** 4, 3),
        "broken_promises_365d": draw.poisson(0.3, n) * 1.0,
        "days_since_first_invoice": np.floor(draw.uniform(0, 2000, n)),
        "written_off_amount_365d": np.where(draw.random(n) < 0.02, 100.0, 0.0),
    }
    for name, values in drawn.items():
        features[name] = np.where(draw.random(n) < 0.05, np.nan, values)
    pd_12m = np.exp(draw.uniform(np.log(1e-4), np.log(0.6), n))
    nothing = np.full(n, np.nan)
    return Portfolio(
        [str(k) for k in range(n)], "EUR", AS_OF, pd_12m, features, nothing, nothing, {}
    )


def as_polars(table: DecisionTable) -> pl.Expr:
    """The place of the row that fires, as nested when and then."""
    found = pl.lit(-1)
    for place in reversed(range(len(table.rules))):
        tests = [
            _test(pl.col(column.name), cell)
            for column, cell in zip(table.inputs, table.rules[place].cells, strict=True)
            if cell.any_of
        ]
        found = (
            pl.when(pl.all_horizontal(tests) if tests else pl.lit(True))
            .then(pl.lit(place))
            .otherwise(found)
        )
    return found.alias("row")


def _test(column: pl.Expr, cell: Cell) -> pl.Expr:
    tests = []
    for one in cell.any_of:
        if isinstance(one, Span):
            low = column >= float(one.low) if one.has_low else column > float(one.low)
            high = (
                column <= float(one.high) if one.has_high else column < float(one.high)
            )
            tests.append((low & high).fill_null(value=False))
        else:
            tests.append(
                column.is_null()
                if one is None
                else (column == one).fill_null(value=False)
            )
    any_of = pl.any_horizontal(tests)
    return column.is_not_null() & ~any_of if cell.is_negated else any_of


def one_by_one(portfolio: Portfolio, rulebook: Rulebook) -> float:
    """Decisions a second with their whole trace."""
    facts = [portfolio.facts(place) for place in range(2000)]
    facts = [
        one
        for one in facts
        if one.features["invoiced_amount_90d"] == one.features["invoiced_amount_90d"]
    ]
    gc.collect()
    # as the service does: else the collector walks the benchmark's own million
    # customers
    gc.freeze()
    times = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        for one in facts:
            decide(one, rulebook)
        times.append((time.thread_time() - start) / len(facts))
    return 1 / statistics.median(times)


def table_lookup(portfolio: Portfolio, rulebook: Rulebook) -> tuple[float, float]:
    """Seconds of the hard stops over all customers: our lookup, polars.

    The answers must be equal.
    """
    f, table = portfolio.features, rulebook.tables["hard_stops"]
    columns = {
        name: f[name]
        for name in (
            "dpd_days",
            "written_off_amount_365d",
            "open_amount",
            "disputed_share",
        )
    }
    columns["has_invoices"] = ~np.isnan(f["days_since_first_invoice"])
    frame = pl.DataFrame(columns).with_columns(pl.col(pl.Float64).fill_nan(None))
    expression, ours, theirs = as_polars(table), list[float](), list[float]()
    for _ in range(ROUNDS):
        start = time.perf_counter()
        found = lookup(table, len(portfolio.pd_12m), **columns)
        middle = time.perf_counter()
        peer = frame.select(expression)["row"].to_numpy()
        ours.append(middle - start)
        theirs.append(time.perf_counter() - middle)
        np.testing.assert_array_equal(found, peer)
    return statistics.median(ours), statistics.median(theirs)


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    loads = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        rulebook = read_rulebook(RULES / "2000-01-01")
        loads.append(time.perf_counter() - start)
    portfolio = portfolio_of(CUSTOMERS)
    rate = one_by_one(portfolio, rulebook)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    first, second = decide_many(portfolio, rulebook), decide_many(portfolio, rulebook)
    found = summary(portfolio, first, second)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    ours, theirs = table_lookup(portfolio, rulebook)
    print(
        f"one decision with its trace: {rate:,.0f} a second and core; rulebook of "
        f"{len(rulebook.tables)} tables "
        f"loaded and proven in {statistics.median(loads):.2f} s"
    )
    print(
        f"{CUSTOMERS:,} customers, two rulebooks, summary: {seconds:.2f} s, "
        f"{memory:.1f} GB at most "
        f"({before / 1e6:.1f} GB before); outcomes {found['all']['all']['approve']}"
    )
    print(
        f"hard stops over {CUSTOMERS:,}: {ours * 1000:.0f} ms, polars "
        f"{theirs * 1000:.0f} ms on all cores"
    )
    report(
        [
            bar("decisions with trace a second", rate, 50_000, rate >= 50_000),
            bar("s for 1,000,000 under two rulebooks", seconds, 5, seconds <= 5),
            bar("GB for it", memory, 4, memory <= 4),
            bar(
                "s to load a rulebook",
                statistics.median(loads),
                0.5,
                statistics.median(loads) <= 0.5,
            ),
        ],
        options.json,
    )


if __name__ == "__main__":
    main()
