"""What the other members of a customer's groups owe, added up from the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from itertools import zip_longest
from typing import NamedTuple

from obligor.data.account import Account
from obligor.data.asof import known_account, master_on
from obligor.data.groups import GroupTree
from obligor.data.store import LedgerStore
from obligor.decisions.ageing import ageing_of
from obligor.decisions.questions import DecisionRequest, GroupBody
from obligor.errors import AsOfError, SchemaError
from obligor.policy.credit.credit_file import CreditFile
from obligor.policy.credit.groups import Group

_ZERO = Decimal(0)


class GroupExposure(NamedTuple):
    """What the other members of a group owe.

    Attributes
    ----------
    name : str
        The group.
    amount : Decimal
        In the reporting currency: the sum of the ledger, or what was stated if that is
        more, because members may owe what is not in the ledger.
    in_ledger : int
        How many of the others are customers of the ledger.
    not_in_ledger : int
        How many of those that the file names are not.
    incomplete : int
        How many have a ledger that may lack a part of what they owe.
    is_own : bool
        Whether the ledger says that the customer belongs to this group of several, as
        the file does not.
    limit : Decimal, optional
        The limit of the group, if the ledger states it; else it is on file.
    """

    name: str
    amount: Decimal
    in_ledger: int
    not_in_ledger: int
    incomplete: int = 0
    is_own: bool = False
    limit: Decimal | None = None


def group_exposures(
    request: DecisionRequest,
    ledger: LedgerStore,
    as_of: date,
) -> tuple[GroupExposure, ...]:
    """Return what the other members of the customer's groups owe, as known on a day.

    Parameters
    ----------
    request : DecisionRequest
        The question. Groups on file count; without any, those of the ledger that have
        a limit there.
    ledger : LedgerStore
        The loaded ledger.
    as_of : date
        The day.

    Returns
    -------
    tuple of GroupExposure
        One for each group with other members in the ledger, in the order of the file,
        or from the lowest up. Of the other groups on file what is stated counts.

    Raises
    ------
    SchemaError
        If nothing is stated about a group, and the ledger knows no other member.
    """
    groups = request.file.groups if request.file else []
    if not groups:
        if request.ledger is not None:
            return ()
        return tuple(_stored_groups(request.customer_id, ledger, as_of))
    # A ledger that was sent with the request has one customer.
    if request.ledger is not None:
        for group in groups:
            _require_stated(group)
        return ()
    members = _Members(
        customer_id=request.customer_id,
        groups=groups,
        tree=ledger.parties.tree_around(request.customer_id, as_of),
    )
    exposures = [_added_up(group, members, ledger, as_of) for group in groups]
    return tuple([exposure for exposure in exposures if exposure is not None])


def _stored_groups(
    customer_id: str,
    ledger: LedgerStore,
    as_of: date,
) -> Iterator[GroupExposure]:
    """Yield the groups of a customer that have a limit in the ledger, upwards."""
    tree = ledger.parties.tree_around(customer_id, as_of)
    if not tree.parents:
        return
    heads = ledger.accounts(tree.line_of(customer_id))
    for node in tree.line_of(customer_id):
        head = heads.get(node)
        limit = None if head is None else group_limit_on(head, as_of)
        others = {*tree.members_of(node)} - {customer_id}
        if limit is None or not others:
            continue
        debt = _debt_of(ledger.accounts(sorted(others)), as_of)
        yield GroupExposure(
            name=node,
            amount=debt.amount,
            in_ledger=debt.n_members,
            not_in_ledger=0,
            incomplete=debt.n_incomplete,
            limit=limit,
        )


def group_limit_on(head: Account, as_of: date) -> Decimal | None:
    """Return the limit of the group that a customer heads, as known on a day."""
    if head.group_limit is None and not head.earlier:
        return None
    limit = master_on(head, as_of).group_limit
    return None if limit is None else Decimal(str(limit))


class _Debt(NamedTuple):
    """What some customers owe together."""

    amount: Decimal
    n_members: int
    n_incomplete: int


def _debt_of(accounts: Mapping[str, Account], as_of: date) -> _Debt:
    """Return what customers owe on a day, at the rates of the day."""
    total = _ZERO
    n_incomplete = 0
    for account in accounts.values():
        try:
            member = known_account(account, as_of)
        except AsOfError:
            # The ledger of this member begins later.
            continue
        total += ageing_of(member).owed
        n_incomplete += member.account.is_incomplete
    return _Debt(total, len(accounts), n_incomplete)


@dataclass(frozen=True)
class _Members:
    """Who belongs to the groups on file, besides the customer."""

    customer_id: str
    groups: Sequence[GroupBody]
    tree: GroupTree

    def named(self, group: GroupBody) -> set[str]:
        """Return the others that the file names in a group or in those below it."""
        members: set[str] = set()
        for below in self._with_groups_below(group):
            members.update(below.members)
        return members - {self.customer_id}

    def linked(self, group: GroupBody) -> set[str] | None:
        """Return the others that the ledger knows of, ids of holdings among them.

        Returns None if it knows nothing of the group.
        """
        line = self.tree.line_of(self.customer_id)
        if group.name in line:
            members = self.tree.members_of(group.name)
        elif len(line) > 1 and not self.named(group):
            members = self.tree.members_of(line[-1])
        else:
            return None
        return {*members} - {self.customer_id}

    def own_group(self) -> str | None:
        """Return the lowest group above the customer, if the file does not say which.

        A single group can only be the customer's.
        """
        is_named = any(self.customer_id in group.members for group in self.groups)
        if is_named or len(self.groups) == 1:
            return None
        names = {group.name for group in self.groups}
        line = self.tree.line_of(self.customer_id)
        return next((name for name in line if name in names), None)

    def _with_groups_below(self, group: GroupBody) -> list[GroupBody]:
        names = {group.name}
        # As many rounds as there are groups reach the lowest one.
        for _ in self.groups:
            names.update(each.name for each in self.groups if each.parent in names)
        return [each for each in self.groups if each.name in names]


def _require_stated(group: GroupBody) -> None:
    if group.exposure_of_others is None:
        raise SchemaError(
            f"nothing is known of what the others of the group {group.name!r} owe",
            where="file.groups.exposure_of_others",
            expected="an amount, or members whom the ledger has",
            do="state it, name the members, or load who belongs to whom",
        )


def _added_up(
    group: GroupBody,
    members: _Members,
    ledger: LedgerStore,
    as_of: date,
) -> GroupExposure | None:
    """Return what the others of a group owe; None if the ledger has none of them."""
    named = members.named(group)
    linked = members.linked(group)
    accounts = ledger.accounts(sorted(named | (linked or set())))
    if not accounts and linked is None:
        _require_stated(group)
        return None
    debt = _debt_of(accounts, as_of)
    return GroupExposure(
        name=group.name,
        amount=max(debt.amount, group.exposure_of_others or _ZERO),
        in_ledger=debt.n_members,
        not_in_ledger=len(named - accounts.keys()),
        incomplete=debt.n_incomplete,
        is_own=group.name == members.own_group(),
    )


def with_exposures(
    credit_file: CreditFile,
    customer_id: str,
    exposures: Sequence[GroupExposure],
) -> CreditFile:
    """Return a credit file whose groups have what their other members owe.

    Parameters
    ----------
    credit_file : CreditFile
        As it was sent.
    customer_id : str
        The customer.
    exposures : sequence of GroupExposure
        What the ledger knows of the groups.
    """
    if not exposures:
        return credit_file
    if exposures[0].limit is not None:
        return replace(credit_file, groups=stored_tree(customer_id, exposures))
    by_name = {exposure.name: exposure for exposure in exposures}
    groups = []
    for group in credit_file.groups:
        exposure = by_name.get(group.name)
        if exposure is None:
            groups.append(group)
            continue
        members = (*group.members, customer_id) if exposure.is_own else group.members
        completed = replace(
            group,
            exposure_of_others=exposure.amount,
            members=members,
        )
        groups.append(completed)
    return replace(credit_file, groups=tuple(groups))


def stored_tree(
    customer_id: str,
    exposures: Sequence[GroupExposure],
) -> tuple[Group, ...]:
    """Return the groups of a customer, by the limits that the ledger states.

    Parameters
    ----------
    customer_id : str
        The customer, who belongs to the lowest of them.
    exposures : sequence of GroupExposure
        From the lowest group up, each with its limit.
    """
    groups = list[Group]()
    parents = [exposure.name for exposure in exposures[1:]]
    for exposure, parent in zip_longest(exposures, parents):
        groups.append(
            Group(
                name=exposure.name,
                limit=exposure.limit or _ZERO,
                exposure_of_others=exposure.amount,
                parent=parent,
                members=() if groups else (customer_id,),
            )
        )
    return tuple(groups)
