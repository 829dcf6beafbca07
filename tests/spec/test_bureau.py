"""What others say of a customer.

A report of a bureau or a register has the day it is about (``as_of``) and the day it
was received (``known_on``). On a day the last word of each source counts, field by
field: an empty cell says nothing. The reports are about one customer.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import NamedTuple

from obligor.data.asof import known_rows
from obligor.data.bureau import (
    bureau_facts,
    insolvency_of,
    reports_of,
    score_share,
)
from tests.ascii import ledger, spec

INVOICES = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    A1         | ANNA        | 2024-01-01 | 2024-01-31 | 100.00
"""


class Known(NamedTuple):
    """What the sources say on a day."""

    score: float
    is_insolvent: bool
    limits: str
    sources: str


def known(bureau: str, as_of: date) -> Known:
    """Return what is known of ANNA on a day."""
    book = ledger(invoices=INVOICES, bureau=bureau)
    named = book["bureau"].assign(customer_id="ANNA")
    reports = reports_of(replace(book, tables={"bureau": named}))["ANNA"]
    facts = bureau_facts(known_rows(reports, as_of))
    limits = [f"{limit.amount:.2f}" for limit in facts.recommended_limits]
    return Known(
        facts.score,
        facts.is_insolvent,
        " ".join(limits) or "none",
        " ".join(facts.sources) or "none",
    )


def test_a_report_counts_from_the_day_it_was_received() -> None:
    """The score of the end of January was bought in March."""
    bureau = """
        source | as_of      | known_on   | score | scale | recommended_limit
        Agency | 2024-01-31 | 2024-03-05 | 80    | 0-100 | 5000.00
    """
    expected = """
        as_of      | score | is_insolvent | limits  | sources
        2024-03-04 | -     | no           | none    | none
        2024-03-05 | 0.8   | no           | 5000.00 | Agency
    """

    def on(as_of: date) -> Known:
        return known(bureau, as_of)

    spec(on, expected)


def test_the_last_word_of_each_source_counts() -> None:
    """The lowest score counts. The report of May has no limit: that of March stays."""
    bureau = """
        source | as_of      | score | scale   | recommended_limit
        Agency | 2024-03-01 | 80    | 0-100   | 5000.00
        Index  | 2024-04-01 | 300   | 600-100 | 900.00
        Agency | 2024-05-01 | 50    | 0-100   | -
        Agency | 2024-06-01 | 90    | 0-100   | 7000.00
    """
    expected = """
        as_of      | score | is_insolvent | limits         | sources
        2024-03-31 | 0.8   | no           | 5000.00        | Agency
        2024-04-30 | 0.6   | no           | 5000.00 900.00 | Agency Index
        2024-05-31 | 0.5   | no           | 5000.00 900.00 | Agency Index
        2024-06-30 | 0.6   | no           | 7000.00 900.00 | Agency Index
    """

    def on(as_of: date) -> Known:
        return known(bureau, as_of)

    spec(on, expected)


def test_an_insolvency_lasts_until_its_source_ends_it() -> None:
    """A later score does not end it, nor does the status that another source gives."""
    bureau = """
        source   | as_of      | score | scale | status | event
        Register | 2024-03-01 | -     | -     | -      | Insolvenz eröffnet
        Register | 2024-04-01 | 90    | 0-100 | -      | new director
        Agency   | 2024-05-01 | -     | -     | active | -
        Register | 2024-06-01 | -     | -     | -      | insolvency ended
    """
    expected = """
        as_of      | is_insolvent
        2024-02-29 | no
        2024-03-01 | yes
        2024-04-30 | yes
        2024-05-31 | yes
        2024-06-01 | no
    """

    def on(as_of: date) -> Known:
        return known(bureau, as_of)

    spec(on, expected)


def test_words_that_stand_for_an_insolvency() -> None:
    """What neither begins nor ends one says nothing; a status is a state."""
    expected = """
        status         | event                              | verdict
        -              | insolvency                         | yes
        -              | Petition for bankruptcy            | yes
        -              | winding-up order                   | yes
        -              | Antrag mangels Masse abgewiesen (Insolvenz) | yes
        -              | redressement judiciaire            | yes
        -              | 破产清算                           | yes
        in liquidation | -                                  | yes
        struck off     | -                                  | yes
        active         | -                                  | no
        -              | bankruptcy petition dismissed      | no
        -              | insolvency ended                   | no
        active         | insolvency opened                  | yes
        -              | new director                       | -
        -              | -                                  | -
    """

    def verdict(status: str | None, event: str | None) -> bool | None:
        return insolvency_of(status or "", event or "")

    spec(verdict, expected)


def test_a_score_is_a_share_of_its_scale() -> None:
    """The scale names the worst score and the best one."""
    expected = """
        score | scale      | share
        75    | 0-100      | 0.75
        225   | 600-100    | 0.75
        0.5   | 0..1       | 0.5
        3     | 1 to 5     | 0.5
        120   | 0-100      | -
        75    | -          | -
        75    | A-F        | -
        -     | 0-100      | -
    """

    def share(score: float | None, scale: str | None) -> float | None:
        return score_share(score, scale or "")

    spec(share, expected)
