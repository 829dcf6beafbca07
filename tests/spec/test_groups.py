"""Groups of companies.

A customer belongs to a group by its column ``parent_id``, or by a table ``groups`` of
children and parents, such as GLEIF's relationship records (level 2). A parent need not
be a customer. A LEI that one customer has stands for that customer. Every example has
these customers, known since 2020-01-01.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pandas as pd

from obligor.data.asof import known_rows
from obligor.data.groups import GroupLink, GroupTree, contradictions, links_of
from obligor.data.ledger import Ledger
from tests.ascii import ledger, spec

CUSTOMERS = """
    customer_id | registered_on | lei
    ANNA        | 2020-01-01    | 213800KUD8LAJWSQ9D15
    BERT        | 2020-01-01    | 529900T8BM49AURSDO55
    CLEO        | 2020-01-01    | -
    DORA        | 2020-01-01    | -
"""
INVOICES = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    A1         | ANNA        | 2024-01-01 | 2024-01-31 | 100.00
"""


def with_parents(parents: Sequence[str | None], **tables: str) -> Ledger:
    """Return the ledger with a parent for each customer, in their order."""
    book = ledger(invoices=INVOICES, customers=CUSTOMERS, **tables)
    customers = book["customers"].assign(parent_id=parents)
    changed = {"customers": customers}
    if "groups" in tables and "known_on" not in book["groups"]:
        changed["groups"] = book["groups"].assign(known_on=pd.Timestamp("2022-01-01"))
    return replace(book, tables={**book.tables, **changed})


def without_parents(**tables: str) -> Ledger:
    """Return the ledger with the links of its table `groups` only."""
    return with_parents([None] * 4, **tables)


def test_a_parent_may_be_a_customer_or_not() -> None:
    """HOLD is no customer. CLEO is its own parent, as an ERP often writes for a company
    without one.
    """
    parents = ["HOLD", "ANNA", "CLEO", None]
    expected = """
        child_id | parent_id | known_on   | until
        ANNA     | HOLD      | 2020-01-01 | -
        BERT     | ANNA      | 2020-01-01 | -
    """
    spec(links_of(with_parents(parents)), expected)


def test_relationships_of_gleif_name_companies_by_their_lei() -> None:
    """ANNA and BERT are named by their LEI. The direct parent counts if both are there.
    A fund's manager is no parent, and links below no customer are left out. All of them
    are known since 2022-01-01.
    """
    groups = """
        child_id             | parent_id            | relationship
        213800KUD8LAJWSQ9D15 | 529900T8BM49AURSDO55 | IS_DIRECTLY_CONSOLIDATED_BY
        213800KUD8LAJWSQ9D15 | 5493001KJTIIGC8Y1R12 | IS_ULTIMATELY_CONSOLIDATED_BY
        529900T8BM49AURSDO55 | 5493001KJTIIGC8Y1R12 | IS_ULTIMATELY_CONSOLIDATED_BY
        213800KUD8LAJWSQ9D15 | 549300MANAGER0000001 | IS_FUND-MANAGED_BY
        549300STRANGER000001 | 549300STRANGER000002 | IS_DIRECTLY_CONSOLIDATED_BY
    """
    expected = """
        child_id | parent_id            | known_on   | until
        ANNA     | BERT                 | 2022-01-01 | -
        BERT     | 5493001KJTIIGC8Y1R12 | 2022-01-01 | -
    """
    spec(links_of(without_parents(groups=groups)), expected)


def test_a_group_is_known_from_a_day_until_it_ends() -> None:
    """ANNA was sold on 2024-07-01. The question is who is above ANNA."""
    groups = """
        child_id | parent_id | status   | ended_on   | known_on
        ANNA     | HOLD      | INACTIVE | 2024-07-01 | 2023-01-01
        ANNA     | BUYER     | ACTIVE   | -          | 2024-07-01
        BERT     | HOLD      | INACTIVE | -          | 2023-01-01
    """
    expected = """
        as_of      | parent
        2022-12-31 | -
        2023-01-01 | HOLD
        2024-06-30 | HOLD
        2024-07-01 | BUYER
    """
    links = links_of(without_parents(groups=groups))

    def parent(as_of: date) -> str | None:
        tree = GroupTree.of(known_rows(links, as_of))
        _, *above = tree.line_of("ANNA")
        return above[0] if above else None

    spec(parent, expected)


def test_two_sources_may_name_the_parent_and_the_top() -> None:
    """The column names the top of the group, the table the company between."""
    parents = ["TOP", None, None, None]
    groups = """
        child_id | parent_id | known_on
        ANNA     | MIDDLE    | 2020-01-01
        MIDDLE   | TOP       | 2020-01-01
    """
    expected = """
        child_id | parent_id | known_on   | until
        ANNA     | MIDDLE    | 2020-01-01 | -
        MIDDLE   | TOP       | 2020-01-01 | -
    """
    links = links_of(with_parents(parents, groups=groups))
    spec(links, expected)
    assert list(contradictions(links)) == []


def test_customers_of_one_lei_are_one_company() -> None:
    """A company with two accounts is a group of its own."""
    book = ledger(invoices=INVOICES, customers=CUSTOMERS)
    lei = "213800KUD8LAJWSQ9D15"
    customers = book["customers"].assign(lei=[lei, lei, None, None])
    expected = """
        child_id | parent_id            | known_on   | until
        ANNA     | 213800KUD8LAJWSQ9D15 | 2020-01-01 | -
        BERT     | 213800KUD8LAJWSQ9D15 | 2020-01-01 | -
    """
    spec(links_of(replace(book, tables={"customers": customers})), expected)


def test_what_contradicts_itself_is_refused() -> None:
    """A ledger with one of these is refused; the message shows the chain."""
    circle = """
        child_id | parent_id | known_on
        ANNA     | MIDDLE    | 2020-01-01
        MIDDLE   | TOP       | 2020-01-01
        TOP      | MIDDLE    | 2020-01-01
    """
    two_groups = """
        child_id | parent_id | known_on
        ANNA     | NORTH     | 2020-01-01
        NORTH    | HOLD      | 2020-01-01
        ANNA     | SOUTH     | 2021-01-01
    """
    texts = {
        circle: "the companies belong to each other in a circle: MIDDLE > TOP > MIDDLE",
        two_groups: "'ANNA' belongs to two companies at once: "
        "ANNA > NORTH > HOLD and ANNA > SOUTH",
    }
    for groups, text in texts.items():
        links = links_of(without_parents(groups=groups))
        assert list(contradictions(links)) == [text]


def test_the_members_of_a_group_are_all_below_its_top() -> None:
    """CLEO belongs to another group; DORA is not in any."""
    links = [
        GroupLink("ANNA", "NORTH", date(2020, 1, 1)),
        GroupLink("NORTH", "HOLD", date(2020, 1, 1)),
        GroupLink("BERT", "HOLD", date(2020, 1, 1)),
        GroupLink("CLEO", "OTHER", date(2020, 1, 1)),
    ]
    expected = """
        node  | members
        HOLD  | ANNA BERT HOLD NORTH
        NORTH | ANNA NORTH
        DORA  | DORA
    """
    tree = GroupTree.of(links)

    def members(node: str) -> str:
        return " ".join(tree.members_of(node))

    spec(members, expected)
