"""Groups of customers as a tree, in which a parent's limit binds every group below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from obligor.errors import SchemaError


@dataclass(frozen=True)
class Group:
    """A group of customers with one limit.

    Attributes
    ----------
    name : str
        Unique in the tree.
    limit : Decimal
        The limit of the group, in the reporting currency.
    exposure_of_others : Decimal
        What its other members owe, including those of the groups below it.
    parent : str, optional
        Name of the group above.
    members : tuple of str
        The customers that belong to it directly.
    """

    name: str
    limit: Decimal
    exposure_of_others: Decimal
    parent: str | None = None
    members: tuple[str, ...] = ()


def line_of(customer_id: str, groups: Sequence[Group]) -> list[Group]:
    """Return the groups above a customer, the topmost first.

    Parameters
    ----------
    customer_id : str
        The customer.
    groups : sequence of Group
        The tree. A single group without members is the customer's.

    Returns
    -------
    list of Group
        From the top of the tree down to the customer's own group.

    Raises
    ------
    SchemaError
        If a name occurs twice, a parent is unknown, the tree has a cycle, or the
        customer belongs to no group or to several.
    """
    if not groups:
        return []
    by_name = {group.name: group for group in groups}
    if len(by_name) < len(groups):
        raise SchemaError(
            "a name occurs twice", where="groups", expected="each group once"
        )
    for group in groups:  # the whole tree must hold, not only the customer's line
        _line_upwards(group, by_name)
    own_group = _own_group(customer_id, groups)
    return _line_upwards(own_group, by_name)[::-1]


def _own_group(customer_id: str, groups: Sequence[Group]) -> Group:
    own_groups = [group for group in groups if customer_id in group.members]
    # A single group without members needs none: it can only be the customer's.
    if len(groups) == 1 and not groups[0].members:
        own_groups = list(groups)
    if len(own_groups) == 1:
        return own_groups[0]
    problem = "is in no group"
    if own_groups:
        names = sorted(group.name for group in own_groups)
        problem = f"is in {len(own_groups)} groups: {names}"
    raise SchemaError(
        f"{customer_id} {problem}", where="groups.members", expected="exactly one"
    )


def _line_upwards(group: Group, by_name: Mapping[str, Group]) -> list[Group]:
    """A group and those above it, up to the top."""
    line = [group]
    while line[-1].parent is not None:
        parent = line[-1].parent
        if parent not in by_name:
            raise SchemaError(
                f"no group {parent!r}", where=f"groups.{line[-1].name}.parent"
            )
        line.append(by_name[parent])
        # A line longer than the tree has a group twice.
        if len(line) > len(by_name):
            cycle = " > ".join(member.name for member in line[:5])
            raise SchemaError(
                f"the groups form a cycle: {cycle}", where="groups", expected="a tree"
            )
    return line


def group_cap(line: Sequence[Group]) -> tuple[str, Decimal]:
    """Return the name and the room of the group with the least room.

    If two groups leave the same room, the higher one counts.

    Examples
    --------
    >>> whole = Group("Acme", Decimal(100000), Decimal(80000))
    >>> part = Group("Acme North", Decimal(50000), Decimal(10000), parent="Acme")
    >>> group_cap([whole, part])
    ('Acme', Decimal('20000'))
    """
    rooms = []
    for depth, group in enumerate(line):
        room = group.limit - group.exposure_of_others
        rooms.append((room, depth, group.name))
    # Equal rooms are ordered by depth, so the higher group comes first.
    least_room, _, name = min(rooms)
    return name, least_room
