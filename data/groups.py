"""Groups of companies: who belongs to whom, from a parent column or from GLEIF files.

A link says that a child belongs to a parent. Each is a customer, or any other id: the
holding above several customers need not be one. GLEIF names companies by their LEI
(ISO 17442); a LEI that one customer has stands for that customer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import pandas as pd

from obligor.data.asof import known_rows
from obligor.data.identifiers import compact_id
from obligor.data.ledger import Ledger

# Relationships of GLEIF (RR-CDF 2.1). Those it has besides are about funds.
DIRECT = ("", "IS_DIRECTLY_CONSOLIDATED_BY", "IS_INTERNATIONAL_BRANCH_OF")
ULTIMATE = "IS_ULTIMATELY_CONSOLIDATED_BY"
ACTIVE = ("", "ACTIVE")
# A chain of parents that is longer cannot be right.
MOST_STEPS = 200


class GroupLink(NamedTuple):
    """A child and its parent.

    Attributes
    ----------
    child_id, parent_id : str
        Ids of customers, or others.
    known_on : date
        The day on which the link became known.
    until : date, optional
        The first day on which it is no longer true; None if it still is.
    """

    child_id: str
    parent_id: str
    known_on: date
    until: date | None = None


class _Chain(NamedTuple):
    """Ids from a child upwards, and the days on which the whole chain is true."""

    ids: tuple[str, ...]
    known_on: date
    until: date | None

    def text(self) -> str:
        return " > ".join(self.ids)


@dataclass(frozen=True)
class GroupTree:
    """The links around a customer that are known on a day.

    Attributes
    ----------
    parents : mapping of str to str
        The parent of each child.
    """

    parents: Mapping[str, str]

    @classmethod
    def of(cls, links: Iterable[GroupLink]) -> GroupTree:
        """Return the tree of some links, which are known on one day."""
        return cls({link.child_id: link.parent_id for link in links})

    def line_of(self, node: str) -> list[str]:
        """Return an id and those above it, up to the top.

        Examples
        --------
        >>> GroupTree({"A": "B", "B": "C"}).line_of("A")
        ['A', 'B', 'C']
        """
        line = [node]
        while line[-1] in self.parents and len(line) <= MOST_STEPS:
            line.append(self.parents[line[-1]])
        return line

    def members_of(self, node: str) -> list[str]:
        """Return an id and everyone below it, in order.

        Examples
        --------
        >>> GroupTree({"A": "B", "D": "B", "B": "C", "X": "Y"}).members_of("B")
        ['A', 'B', 'D']
        """
        children: dict[str, list[str]] = {}
        for child, parent in self.parents.items():
            siblings = children.setdefault(parent, [])
            siblings.append(child)
        members = {node}
        frontier = [node]
        while frontier:
            parent = frontier.pop()
            for child in children.get(parent, ()):
                if child not in members:
                    members.add(child)
                    frontier.append(child)
        return sorted(members)


def tree_on(ledger: Ledger, as_of: date) -> GroupTree:
    """Return the groups of the customers of a ledger as they were known on a day."""
    return GroupTree.of(known_rows(links_of(ledger), as_of))


def links_of(ledger: Ledger) -> list[GroupLink]:
    """Return the links above the customers of a ledger, each once.

    Where a source names the direct parent and the ultimate one, the direct one counts.

    Parameters
    ----------
    ledger : Ledger
        Its table `groups`, and the column `parent_id` of its customers.
    """
    customers = ledger["customers"]
    aliases, shared = _customers_by_lei(customers)
    links = _column_links(customers)
    links += _table_links(ledger["groups"])
    own_parents = {link.child_id for link in links}
    links += [link for link in shared if link.child_id not in own_parents]
    named = []
    for link in links:
        renamed = link._replace(
            child_id=_customer_or_id(link.child_id, aliases),
            parent_id=_customer_or_id(link.parent_id, aliases),
        )
        # An ERP often names a company without a parent as its own parent.
        is_own_parent = renamed.child_id == renamed.parent_id
        is_ever_true = link.until is None or link.until > link.known_on
        if is_ever_true and not is_own_parent:
            named.append(renamed)
    customer_ids = customers["customer_id"].tolist()
    above = _above(named, customer_ids)
    merged = _merged(above)
    return _without_shortcuts(merged)


def _customer_or_id(node: str, aliases: Mapping[str, str]) -> str:
    """Return the customer that a LEI stands for, or the id as it is."""
    lei = compact_id(node)
    return aliases.get(lei, node)


def _customers_by_lei(
    customers: pd.DataFrame,
) -> tuple[dict[str, str], list[GroupLink]]:
    """Return the customer of each LEI; and links to a LEI that several customers have.

    Customers of one LEI are one company with several accounts.
    """
    if "lei" not in customers:
        return {}, []
    with_lei = customers[customers["lei"].notna()]
    aliases: dict[str, str] = {}
    links = []
    for lei, rows in with_lei.groupby("lei"):
        company = str(lei)
        ids = rows["customer_id"].tolist()
        if len(ids) == 1:
            aliases[company] = ids[0]
            continue
        days = rows["known_on"].dt.date
        for customer_id, known_on in zip(ids, days, strict=True):
            link = GroupLink(
                child_id=customer_id,
                parent_id=company,
                known_on=known_on,
            )
            links.append(link)
    return aliases, links


def _column_links(customers: pd.DataFrame) -> list[GroupLink]:
    if "parent_id" not in customers:
        return []
    rows = customers[customers["parent_id"].notna()]
    links = []
    for child, parent, known_on in zip(
        rows["customer_id"],
        rows["parent_id"],
        rows["known_on"].dt.date,
        strict=True,
    ):
        link = GroupLink(child, parent, known_on)
        links.append(link)
    return links


def _table_links(frame: pd.DataFrame) -> list[GroupLink]:
    """Return the links of a table; to the top of a group only if no other is known."""
    columns = ["child_id", "parent_id", "known_on", "ended_on"]
    relationship = _texts(frame, "relationship")
    is_true = _texts(frame, "status").isin(ACTIVE)
    if "ended_on" in frame:
        # What is over was true until its end.
        is_over = _texts(frame, "status") == "INACTIVE"
        is_true |= is_over & frame["ended_on"].notna()
    is_direct = is_true & relationship.isin(DIRECT)
    with_direct = set(frame.loc[is_direct, "child_id"])
    is_ultimate = is_true & (relationship == ULTIMATE)
    is_alone = is_ultimate & ~frame["child_id"].isin(with_direct)
    is_used = is_direct | is_alone
    rows = frame.reindex(columns=columns)[is_used]
    links = []
    for child, parent, known_on, ended_on in rows.itertuples(index=False, name=None):
        link = GroupLink(
            child_id=child,
            parent_id=parent,
            known_on=known_on.date(),
            until=None if pd.isna(ended_on) else ended_on.date(),
        )
        links.append(link)
    return links


def _texts(frame: pd.DataFrame, column: str) -> pd.Series:
    if column not in frame:
        return pd.Series("", index=frame.index, dtype="object")
    return frame[column].fillna("").str.upper()


def _above(links: Iterable[GroupLink], customers: Iterable[str]) -> list[GroupLink]:
    """Return the links on the way up from the customers."""
    by_child = _by_child(links)
    above = []
    reached = set(customers)
    frontier = sorted(reached & by_child.keys())
    while frontier:
        parents = set[str]()
        for child in frontier:
            for link in by_child[child]:
                above.append(link)
                parents.add(link.parent_id)
        new_parents = parents - reached
        frontier = sorted(new_parents & by_child.keys())
        reached |= parents
    return above


def _by_child(links: Iterable[GroupLink]) -> dict[str, list[GroupLink]]:
    by_child: dict[str, list[GroupLink]] = {}
    for link in links:
        own_links = by_child.setdefault(link.child_id, [])
        own_links.append(link)
    return by_child


def _merged(links: Iterable[GroupLink]) -> list[GroupLink]:
    """Return links of which no two say the same of one day."""
    merged: list[GroupLink] = []
    for link in sorted(links, key=lambda link: link[:3]):
        last = merged[-1] if merged else None
        is_same = last is not None and last[:2] == link[:2]
        if last is None or not is_same or not _overlap(last, link):
            merged.append(link)
            continue
        ends = (last.until, link.until)
        until = None if None in ends else max(end for end in ends if end)
        merged[-1] = last._replace(until=until)
    return merged


def _overlap(first: GroupLink | _Chain, second: GroupLink) -> bool:
    """Return whether both are true on some day."""
    is_first_open = first.until is None or first.until > second.known_on
    is_second_open = second.until is None or second.until > first.known_on
    return is_first_open and is_second_open


def _without_shortcuts(links: list[GroupLink]) -> list[GroupLink]:
    """Return links without those to a company that is above another parent as well.

    One source may name the direct parent, another one the top of the group.
    """
    by_child = _by_child(links)
    direct = []
    for link in links:
        parents = [other for other in by_child[link.child_id] if other != link]
        is_implied = any(
            _overlap(link, other) and _is_above(link.parent_id, other, by_child)
            for other in parents
        )
        if not is_implied:
            direct.append(link)
    return direct


def _is_above(
    node: str,
    link: GroupLink,
    by_child: Mapping[str, list[GroupLink]],
) -> bool:
    """Return whether a company is above the parent of a link, and the child is not."""
    reached = {link.parent_id}
    frontier = [link.parent_id]
    while frontier:
        child = frontier.pop()
        for upper in by_child.get(child, ()):
            if upper.parent_id not in reached:
                reached.add(upper.parent_id)
                frontier.append(upper.parent_id)
    if link.child_id in reached:
        return False
    return node != link.parent_id and node in reached


def _chains(node: str, by_child: Mapping[str, list[GroupLink]]) -> Iterator[_Chain]:
    """Yield every chain upwards from a company; one that comes back stops there."""
    open_chains = [_Chain((node,), date.min, None)]
    while open_chains:
        chain = open_chains.pop()
        is_circle = chain.ids[-1] in chain.ids[:-1]
        longer = []
        if not is_circle and len(chain.ids) <= MOST_STEPS:
            links = by_child.get(chain.ids[-1], [])
            longer = [_longer(chain, link) for link in links if _overlap(chain, link)]
        if longer:
            open_chains += longer
        else:
            yield chain


def _longer(chain: _Chain, link: GroupLink) -> _Chain:
    ends = [end for end in (chain.until, link.until) if end is not None]
    return _Chain(
        ids=(*chain.ids, link.parent_id),
        known_on=max(chain.known_on, link.known_on),
        until=min(ends, default=None),
    )


def contradictions(links: Iterable[GroupLink]) -> Iterator[str]:
    """Yield what contradicts itself, with the chain: a circle, or two parents at once.

    Parameters
    ----------
    links : iterable of GroupLink
        As `links_of` returns them.

    Examples
    --------
    >>> day = date(2024, 1, 1)
    >>> list(contradictions([GroupLink("A", "B", day), GroupLink("B", "A", day)]))
    ['the companies belong to each other in a circle: A > B > A']
    >>> list(contradictions([GroupLink("A", "B", day), GroupLink("A", "C", day)]))
    ["'A' belongs to two companies at once: A > B and A > C"]
    """
    by_child = _by_child(links)
    doubles = [text for child in sorted(by_child) for text in _doubles(child, by_child)]
    yield from doubles
    # With two parents each, chains are too many to follow.
    if not doubles:
        yield from _circles(by_child)


def _circles(by_child: Mapping[str, list[GroupLink]]) -> Iterator[str]:
    reported = set[frozenset[str]]()
    for child in sorted(by_child):
        for chain in _chains(child, by_child):
            last = chain.ids[-1]
            circle = chain.ids[chain.ids.index(last) :]
            if len(circle) > 1 and frozenset(circle) not in reported:
                reported.add(frozenset(circle))
                text = chain._replace(ids=circle).text()
                yield f"the companies belong to each other in a circle: {text}"


def _doubles(child: str, by_child: Mapping[str, list[GroupLink]]) -> Iterator[str]:
    links = by_child[child]
    for index, link in enumerate(links):
        for other in links[index + 1 :]:
            if _overlap(link, other) and link.parent_id != other.parent_id:
                chains = [
                    _text_from(child, one_link, by_child) for one_link in (link, other)
                ]
                text = " and ".join(chains)
                yield f"{child!r} belongs to two companies at once: {text}"


def _text_from(
    child: str,
    link: GroupLink,
    by_child: Mapping[str, list[GroupLink]],
) -> str:
    chain = next(_chains(link.parent_id, by_child))
    return f"{child} > {chain.text()}"
