"""Groups of customers as a tree: the parent's limit comes first, then that of each group below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from obligor.errors import SchemaError


@dataclass(frozen=True)
class Group:
    """A group: its limit, what its other members owe (those of the groups below it too), and its parent.

    Attributes
    ----------
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
    groups : sequence of Group
        The tree; a single group without members is the customer's.

    Raises
    ------
    SchemaError
        Where a name stands twice, a parent is unknown, the tree runs in a circle, or the customer is in none or two.
    """
    if not groups:
        return []
    by_name = {group.name: group for group in groups}
    if len(by_name) < len(groups):
        raise SchemaError(
            "a name stands twice", where="groups", expected="each group once"
        )
    for group in groups:
        _line(
            group, by_name
        )  # the whole tree must hold, not only the part above the customer
    mine = [group for group in groups if customer_id in group.members]
    if len(groups) == 1 and not groups[0].members:
        mine = list(groups)
    if len(mine) != 1:
        said = (
            f"is in {len(mine)} groups: {sorted(group.name for group in mine)}"
            if mine
            else "is in no group"
        )
        raise SchemaError(
            f"{customer_id} {said}", where="groups.members", expected="exactly one"
        )
    return _line(mine[0], by_name)[::-1]


def _line(group: Group, by_name: Mapping[str, Group]) -> list[Group]:
    """A group and those above it, up to the top."""
    line = [group]
    while line[-1].parent is not None:
        if line[-1].parent not in by_name:
            raise SchemaError(
                f"no group {line[-1].parent!r}", where=f"groups.{line[-1].name}.parent"
            )
        line.append(by_name[line[-1].parent])
        if len(line) > len(by_name):
            circle = " > ".join(one.name for one in line[:5])
            raise SchemaError(
                f"runs in a circle: {circle}", where="groups", expected="a tree"
            )
    return line


def group_cap(line: Sequence[Group]) -> tuple[str, Decimal]:
    """Return the name and room of the group that leaves least, the parent first where two leave the same.

    Examples
    --------
    >>> whole = Group("Acme", Decimal(100000), Decimal(80000))
    >>> part = Group("Acme North", Decimal(50000), Decimal(10000), parent="Acme")
    >>> group_cap([whole, part])
    ('Acme', Decimal('20000'))
    """
    rooms = [
        (group.limit - group.exposure_of_others, place, group.name)
        for place, group in enumerate(line)
    ]
    room, _, name = min(rooms)
    return name, room
