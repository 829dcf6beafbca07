"""What the ledger store holds of customers besides their accounts.

Profiles and reports are sealed, each customer's under a key of its own. Who belongs to
whom is stored by ids alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import NamedTuple, Protocol

import sqlalchemy as sa

from obligor.data.asof import known_rows
from obligor.data.bureau import (
    BureauReport,
    packed_reports,
    reports_of,
    unpacked_reports,
)
from obligor.data.days import OPEN_END, day_number, day_of
from obligor.data.groups import (
    MOST_STEPS,
    GroupLink,
    GroupTree,
    contradictions,
    links_of,
)
from obligor.data.identifiers import compact_id
from obligor.data.ledger import Ledger
from obligor.data.profiles import Profile, profiles_of, unpacked_profile
from obligor.errors import SchemaError

PROFILE = "profile"
REPORTS = "reports"
LEGAL_ID_KINDS = ("vat_id", "registration_id", "lei")
# A statement takes at most 32,766 values in SQLite (SQLITE_MAX_VARIABLE_NUMBER).
MOST_IN_STATEMENT = 5_000

METADATA = sa.MetaData()
PROFILES = sa.Table(
    "profiles",
    METADATA,
    sa.Column("customer_id", sa.String, primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)
BUREAU = sa.Table(
    "bureau",
    METADATA,
    sa.Column("customer_id", sa.String, primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)
LINKS = sa.Table(
    "group_links",
    METADATA,
    sa.Column("child_id", sa.String, primary_key=True),
    sa.Column("known_on", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("parent_id", sa.String, nullable=False, index=True),
    sa.Column("until", sa.BigInteger, nullable=False),
)
# Whose a legal id is. The id is stored as a keyed hash, which only the record's keys
# can make.
LEGAL_IDS = sa.Table(
    "legal_ids",
    METADATA,
    sa.Column("id_ref", sa.String(64), primary_key=True),
    sa.Column("customer_id", sa.String, primary_key=True, index=True),
)
BUREAU_QUERY = sa.select(BUREAU.c.sealed).where(
    BUREAU.c.customer_id == sa.bindparam("key")
)
PROFILE_QUERY = sa.select(PROFILES.c.sealed).where(
    PROFILES.c.customer_id == sa.bindparam("key")
)


class Seals(Protocol):
    """What seals texts about customers; the record does."""

    def sealed(self, purpose: str, texts: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return texts encrypted, by the customer's id."""

    def opened(
        self,
        purpose: str,
        customer_id: str,
        sealed: bytes,
    ) -> bytes:
        """Return a text that was sealed.

        Parameters
        ----------
        purpose : str
            What it was sealed for, such as ``profile``.
        customer_id : str
            The customer it is about.
        sealed : bytes
            As `sealed` returned it.
        """

    def pseudonym(self, text: str) -> str:
        """Return a keyed hash that stands for a text."""

    def opened_all(self, purpose: str, sealed: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return texts that were sealed for a purpose, by the customer's id."""


class PartyRows(NamedTuple):
    """The rows of the tables, as they are stored."""

    profiles: list[dict[str, object]]
    bureau: list[dict[str, object]]
    legal_ids: list[dict[str, object]]
    links: list[dict[str, object]]


class PartyStore:
    """Profiles, reports and groups, beside the accounts of a ledger store.

    Parameters
    ----------
    engine : Engine
        Of the ledger store.
    open_seals : callable, optional
        Opens what seals; it is called when something is to be sealed or opened first.
    """

    def __init__(
        self,
        engine: sa.Engine,
        open_seals: Callable[[], Seals] | None = None,
    ) -> None:
        self._engine = engine
        self._open_seals = open_seals
        METADATA.create_all(engine)

    @cached_property
    def seals(self) -> Seals:
        """What seals and opens.

        Raises
        ------
        SchemaError
            If there are no keys.
        """
        if self._open_seals is None:
            raise SchemaError(
                "the ledger has names or reports, and there are no keys to seal them",
                where="ledger store",
                expected="the record's keys",
                do="load it with `obligor load --store`",
            )
        return self._open_seals()

    def rows_of(self, ledger: Ledger) -> PartyRows:
        """Return the rows of a checked ledger, sealed.

        Raises
        ------
        SchemaError
            If there is something to seal, and nothing to seal it with.
        """
        rows = self._rows_of_customers(ledger)
        return rows._replace(links=[_row_of(link) for link in links_of(ledger)])

    def _rows_of_customers(self, ledger: Ledger) -> PartyRows:
        """Return the rows of a ledger but for those of groups."""
        profiles = profiles_of(ledger)
        packed = {customer_id: each.packed() for customer_id, each in profiles.items()}
        reports = {
            customer_id: packed_reports(own)
            for customer_id, own in reports_of(ledger).items()
        }
        return PartyRows(
            profiles=self._sealed_rows(PROFILE, packed),
            bureau=self._sealed_rows(REPORTS, reports),
            legal_ids=list(self._legal_ids(profiles)),
            links=[],
        )

    def _legal_ids(
        self, profiles: Mapping[str, Profile]
    ) -> Iterator[dict[str, object]]:
        """Yield whose each legal id is."""
        for customer_id, profile in profiles.items():
            for kind in LEGAL_ID_KINDS:
                text = getattr(profile, kind)
                if text:
                    reference = _id_ref(self.seals, kind, compact_id(text))
                    yield {"id_ref": reference, "customer_id": customer_id}

    def _sealed_rows(
        self, purpose: str, texts: Mapping[str, bytes]
    ) -> list[dict[str, object]]:
        if not texts:
            return []
        sealed = self.seals.sealed(purpose, texts)
        return [
            {"customer_id": customer_id, "sealed": text}
            for customer_id, text in sealed.items()
        ]

    def replace(self, connection: sa.Connection, rows: PartyRows) -> None:
        """Replace the stored rows, in the transaction of a connection."""
        tables = (PROFILES, BUREAU, LEGAL_IDS, LINKS)
        for table, new_rows in zip(tables, rows, strict=True):
            connection.execute(table.delete())
            if new_rows:
                connection.execute(table.insert(), new_rows)

    def add(self, connection: sa.Connection, ledger: Ledger) -> None:
        """Add the profiles and reports of customers who have none yet.

        Raises
        ------
        SchemaError
            If there is something to seal, and nothing to seal it with.
        """
        rows = self._rows_of_customers(ledger)
        tables = (PROFILES, BUREAU, LEGAL_IDS)
        for table, new_rows in zip(tables, rows[:-1], strict=True):
            if new_rows:
                connection.execute(table.insert(), new_rows)

    def clear(self, connection: sa.Connection) -> None:
        """Remove everything, in the transaction of a connection."""
        self.replace(connection, PartyRows([], [], [], []))

    def add_links(self, connection: sa.Connection, ledger: Ledger) -> None:
        """Add the links of the groups of all customers."""
        new_rows = [_row_of(link) for link in links_of(ledger)]
        if new_rows:
            connection.execute(LINKS.insert(), new_rows)

    def update(
        self,
        connection: sa.Connection,
        ledger: Ledger,
        customer_ids: Sequence[str],
    ) -> None:
        """Replace the profiles and reports of some customers.

        Parameters
        ----------
        connection : Connection
            In a transaction.
        ledger : Ledger
            The rows of these customers.
        customer_ids : sequence of str
            The customers.

        Raises
        ------
        SchemaError
            If there is something to seal, and nothing to seal it with.
        """
        rows = self._rows_of_customers(ledger)
        tables = (PROFILES, BUREAU, LEGAL_IDS)
        for table, new_rows in zip(tables, rows[:-1], strict=True):
            for part in _parts(customer_ids):
                is_own = table.c.customer_id.in_(part)
                connection.execute(table.delete().where(is_own))
            if new_rows:
                connection.execute(table.insert(), new_rows)

    def update_links(
        self,
        connection: sa.Connection,
        ledger: Ledger,
        today: date,
    ) -> None:
        """Record how the links of the groups change on a day; what was true stays.

        Parameters
        ----------
        connection : Connection
            In a transaction.
        ledger : Ledger
            All customers, and the groups as they are now.
        today : date
            The day of the change.

        Raises
        ------
        SchemaError
            If the groups contradict themselves.
        """
        day = day_number(today)
        now = links_of(ledger)
        for text in contradictions(now):
            raise SchemaError(
                text,
                where="groups",
                expected="each company to belong to one other, up to a top",
                do="correct parent_id, or the table of groups",
            )
        links = {(link.child_id, link.parent_id): link for link in now}
        stored = set[tuple[str, str]]()
        is_true = LINKS.c.until > day
        for row in connection.execute(sa.select(LINKS).where(is_true)).all():
            stored.add((row.child_id, row.parent_id))
            if (row.child_id, row.parent_id) in links:
                continue
            is_row = LINKS.c.child_id == row.child_id
            is_row &= LINKS.c.known_on == row.known_on
            if row.known_on >= day:
                connection.execute(LINKS.delete().where(is_row))
            else:
                connection.execute(LINKS.update().where(is_row).values(until=day))
        new_rows = [
            {**_row_of(link), "known_on": day}
            for pair, link in links.items()
            if pair not in stored
        ]
        if new_rows:
            connection.execute(LINKS.insert(), new_rows)

    def opened_profile(self, customer_id: str, sealed: bytes | None) -> Profile:
        """Return a profile as it is stored; an empty one if nothing is stored.

        Raises
        ------
        RecordError
            If its key is gone.
        """
        if sealed is None:
            return Profile()
        return unpacked_profile(self.seals.opened(PROFILE, customer_id, sealed))

    def opened_reports(
        self, customer_id: str, sealed: bytes | None
    ) -> tuple[BureauReport, ...]:
        """Return the reports as they are stored, the future included.

        Raises
        ------
        RecordError
            If their key is gone.
        """
        if sealed is None:
            return ()
        return unpacked_reports(self.seals.opened(REPORTS, customer_id, sealed))

    def every_report(self) -> dict[str, tuple[BureauReport, ...]]:
        """Return the reports on every customer that has any, the future included.

        Raises
        ------
        RecordError
            If a key they are sealed under is gone.
        """
        query = sa.select(BUREAU.c.customer_id, BUREAU.c.sealed)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        if not rows:
            return {}
        sealed = {str(customer_id): bytes(text) for customer_id, text in rows}
        opened = self.seals.opened_all(REPORTS, sealed)
        return {
            customer_id: unpacked_reports(opened[customer_id]) for customer_id in sealed
        }

    def n_sealed(self) -> int:
        """Return how many customers have a sealed profile, after opening the first.

        Raises
        ------
        RecordError
            If it cannot be opened.
        """
        with self._engine.connect() as connection:
            first = connection.execute(sa.select(PROFILES).limit(1)).first()
            count = sa.select(sa.func.count()).select_from(PROFILES)
            n_customers = connection.scalar(count) or 0
        if first is not None:
            self.opened_profile(first.customer_id, first.sealed)
        return n_customers

    def tree_around(self, customer_id: str, as_of: date) -> GroupTree:
        """Return the group of a customer as it was known on a day.

        Parameters
        ----------
        customer_id : str
            The customer.
        as_of : date
            The day.

        Returns
        -------
        GroupTree
            From the top of the group down; empty if the customer belongs to none.
        """
        links: dict[str, GroupLink] = {}
        with self._engine.connect() as connection:
            frontier = [_top(connection, customer_id, as_of)]
            while frontier:
                below = _known(connection, LINKS.c.parent_id, frontier, as_of)
                new = [link for link in below if link.child_id not in links]
                links.update({link.child_id: link for link in new})
                frontier = [link.child_id for link in new]
        return GroupTree.of(links.values())

    def tree_on(self, as_of: date) -> GroupTree:
        """Return the groups of all customers as they were known on a day."""
        day = day_number(as_of)
        query = sa.select(LINKS.c.child_id, LINKS.c.parent_id).where(
            LINKS.c.known_on <= day,
            LINKS.c.until > day,
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return GroupTree({str(child_id): str(parent) for child_id, parent in rows})

    def children_of(self, connection: sa.Connection, customer_id: str) -> list[str]:
        """Return who belonged to a customer directly, on any day."""
        query = sa.select(LINKS.c.child_id).where(LINKS.c.parent_id == customer_id)
        return list(connection.scalars(query.distinct()))

    def erase(
        self,
        connection: sa.Connection,
        customer_id: str,
        stand_in: str,
    ) -> int:
        """Delete what is stored of a customer; those below it stay one group.

        Parameters
        ----------
        connection : Connection
            In the transaction that erases.
        customer_id : str
            The customer.
        stand_in : str
            A random id that takes its place above others.

        Returns
        -------
        int
            How many rows were deleted or changed.
        """
        is_above = LINKS.c.parent_id == customer_id
        statements = (
            PROFILES.delete().where(PROFILES.c.customer_id == customer_id),
            BUREAU.delete().where(BUREAU.c.customer_id == customer_id),
            LEGAL_IDS.delete().where(LEGAL_IDS.c.customer_id == customer_id),
            LINKS.delete().where(LINKS.c.child_id == customer_id),
            LINKS.update().where(is_above).values(parent_id=stand_in),
        )
        return sum(connection.execute(each).rowcount for each in statements)


def has_legal_ids(connection: sa.Connection) -> bool:
    """Return whether the legal id of any customer is stored."""
    return connection.scalar(sa.select(LEGAL_IDS.c.id_ref).limit(1)) is not None


def legal_owners(
    connection: sa.Connection,
    seals: Seals,
    kind: str,
    ids: Iterable[str],
) -> list[tuple[str, str]]:
    """Return the customers that have one of some legal ids.

    Parameters
    ----------
    connection : Connection
        To the store.
    seals : Seals
        Makes the keyed hashes that stand for the ids.
    kind : {"vat_id", "registration_id", "lei"}
        What the ids are.
    ids : iterable of str
        The ids, as `compact_id` returns them.

    Returns
    -------
    list of tuple of str
        Id and customer.
    """
    by_reference = {_id_ref(seals, kind, text): text for text in ids}
    owners = []
    for part in _parts(list(by_reference)):
        query = sa.select(LEGAL_IDS).where(LEGAL_IDS.c.id_ref.in_(part))
        for reference, customer_id in connection.execute(query):
            owners.append((by_reference[reference], customer_id))
    return owners


def _id_ref(
    seals: Seals,
    kind: str,
    text: str,
) -> str:
    # Parted by a line feed, which no id has.
    return seals.pseudonym(f"{kind}\n{text}")


def _top(
    connection: sa.Connection,
    customer_id: str,
    as_of: date,
) -> str:
    """Return the id at the top of a customer's group."""
    line = [customer_id]
    while len(line) <= MOST_STEPS:
        above = _known(connection, LINKS.c.child_id, line[-1:], as_of)
        if not above or above[0].parent_id in line:
            break
        line.append(above[0].parent_id)
    return line[-1]


def _known(
    connection: sa.Connection,
    column: sa.Column[str],
    ids: Sequence[str],
    as_of: date,
) -> list[GroupLink]:
    """Return the links of some ids that are known on a day.

    Parameters
    ----------
    connection : Connection
        To the store.
    column : Column
        The side of the links that the ids are on.
    ids : sequence of str
        Ids of customers, or others.
    as_of : date
        The day.
    """
    links: list[GroupLink] = []
    for part in _parts(ids):
        query = sa.select(LINKS).where(column.in_(part)).order_by(LINKS.c.child_id)
        for row in connection.execute(query):
            until = None if row.until == OPEN_END else day_of(row.until)
            known_on = day_of(row.known_on)
            links.append(GroupLink(row.child_id, row.parent_id, known_on, until))
    return known_rows(links, as_of)


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), MOST_IN_STATEMENT):
        yield ids[start : start + MOST_IN_STATEMENT]


def _row_of(link: GroupLink) -> dict[str, object]:
    until = OPEN_END if link.until is None else day_number(link.until)
    return {
        "child_id": link.child_id,
        "parent_id": link.parent_id,
        "known_on": day_number(link.known_on),
        "until": until,
    }
