"""Who may resolve a case: the role the authority asks for, a second person where it asks for two, never the maker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from obligor.errors import AuthorityError

ROLES = ("credit_analyst", "credit_manager", "director")
PENDING = "pending"


@dataclass(frozen=True)
class Authority:
    """Who must resolve a case: the least role, how many persons, and the makers, who may not."""

    approver: str
    persons: int
    makers: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Resolution:
    """What a person decided about a case: ``approve`` or ``decline``, and why."""

    by: str
    role: str
    outcome: str
    because: str


def resolve(
    authority: Authority, earlier: Sequence[Resolution], now: Resolution
) -> str:
    """Return what a resolution makes of a case: its outcome, or ``pending`` where another person must agree.

    One person may decline; to approve takes as many as the authority says, each with the role it says.

    Raises
    ------
    AuthorityError
        Where the role is too low, or the person made the case or has resolved it before.

    Examples
    --------
    >>> large = Authority("director", 2, frozenset({"S. Maker"}))
    >>> first, second = (Resolution(name, "director", "approve", "board") for name in ("A. One", "B. Two"))
    >>> resolve(large, [], first), resolve(large, [first], second)
    ('pending', 'approve')
    >>> resolve(large, [], Resolution("s. maker", "director", "approve", "I know them"))
    Traceback (most recent call last):
    data.errors.AuthorityError: by: s. maker made the case; expected another person
    """
    least = ROLES.index(authority.approver) if authority.approver in ROLES else 0
    if ROLES.index(now.role) < least:
        raise AuthorityError(
            f"{now.role} may not resolve it",
            where="role",
            expected=f"{ROLES[least]} or above",
        )
    if _name(now.by) in {_name(maker) for maker in authority.makers}:
        raise AuthorityError(
            f"{now.by} made the case", where="by", expected="another person"
        )
    if _name(now.by) in {_name(one.by) for one in earlier}:
        raise AuthorityError(
            f"{now.by} has resolved it already", where="by", expected="a second person"
        )
    agreed = 1 + sum(one.outcome == now.outcome for one in earlier)
    return (
        PENDING
        if now.outcome == "approve" and agreed < authority.persons
        else now.outcome
    )


def _name(person: str) -> str:
    return " ".join(person.split()).casefold()
