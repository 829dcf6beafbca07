"""The authority to resolve a case: a role, a number of persons, never the maker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from obligor.errors import AuthorityError

ROLES = ("credit_analyst", "credit_manager", "director")
PENDING = "pending"


@dataclass(frozen=True)
class Authority:
    """The authority a case needs: the lowest role and the number of persons.

    The makers of the case may not resolve it.
    """

    approver: str
    persons: int
    makers: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Resolution:
    """One person's answer to a case: ``approve`` or ``decline``, and why."""

    by: str
    role: str
    outcome: str
    because: str


def resolve(
    authority: Authority,
    earlier: Sequence[Resolution],
    now: Resolution,
) -> str:
    """Return the outcome of a case after a resolution; ``pending`` if it needs more.

    One person may decline. An approval needs as many persons as the authority requires,
    each with at least its role.

    Parameters
    ----------
    authority : Authority
        The authority this case needs.
    earlier : sequence of Resolution
        The resolutions of this case so far.
    now : Resolution
        The new one.

    Returns
    -------
    str
        ``approve``, ``decline`` or ``pending``.

    Raises
    ------
    AuthorityError
        If the role is too low, or the person made the case or has resolved it before.

    Examples
    --------
    >>> large = Authority("director", 2, frozenset({"S. Maker"}))
    >>> ann = Resolution("A. One", "director", "approve", "board")
    >>> bob = Resolution("B. Two", "director", "approve", "board")
    >>> resolve(large, [], ann), resolve(large, [ann], bob)
    ('pending', 'approve')
    >>> resolve(large, [], Resolution("s. maker", "director", "approve", "I know them"))
    Traceback (most recent call last):
    obligor.errors.AuthorityError: by: s. maker made the case; expected another person
    """
    _require_role(authority, now)
    _require_another_person(authority, earlier, now)
    agreeing = [resolution for resolution in earlier if _agrees(resolution, now)]
    needs_more = 1 + len(agreeing) < authority.persons
    return PENDING if now.outcome == "approve" and needs_more else now.outcome


def _require_role(authority: Authority, resolution: Resolution) -> None:
    # Within the authority of the system any role may resolve.
    lowest = ROLES.index(authority.approver) if authority.approver in ROLES else 0
    if ROLES.index(resolution.role) < lowest:
        raise AuthorityError(
            f"a {resolution.role} may not resolve this case",
            where="role",
            expected=f"{ROLES[lowest]} or above",
        )


def _require_another_person(
    authority: Authority,
    earlier: Sequence[Resolution],
    now: Resolution,
) -> None:
    # Another spelling of a name is not another person.
    person = _normalised(now.by)
    if person in {_normalised(maker) for maker in authority.makers}:
        raise AuthorityError(
            f"{now.by} made the case", where="by", expected="another person"
        )
    if person in {_normalised(resolution.by) for resolution in earlier}:
        raise AuthorityError(
            f"{now.by} has already resolved it", where="by", expected="a second person"
        )


def _agrees(first: Resolution, second: Resolution) -> bool:
    return first.outcome == second.outcome


def _normalised(person: str) -> str:
    return " ".join(person.split()).casefold()
