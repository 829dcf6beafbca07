"""Who a customer is: profile, contacts, reports, group, and what it owes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from obligor.data.asof import known_account, known_rows
from obligor.data.bureau import BureauReport
from obligor.data.groups import GroupTree
from obligor.data.profiles import Profile
from obligor.data.store import LedgerStore
from obligor.data.time_zone import day_at
from obligor.decisions.ageing import ageing_of
from obligor.decisions.as_of import as_of_or_default
from obligor.decisions.json_values import Money, money


class ContactPerson(TypedDict):
    """A person at the customer."""

    name: str
    role: str
    email: str
    phone: str


class ProfileAnswer(TypedDict):
    """Who the customer is; a text is empty if it is not known."""

    name: str
    vat_id: str
    registration_id: str
    lei: str
    address: str
    language: str
    owner: Annotated[str, Field(description="Who looks after the customer")]
    contacts: list[ContactPerson]


class ReportAnswer(TypedDict):
    """What a bureau or a register said."""

    source: str
    as_of: date
    known_on: date
    score: float | None
    scale: str
    rating: str
    recommended_limit: float | None
    currency: str
    status: str
    event: str


class CustomerGroup(TypedDict):
    """The group that the customer belongs to."""

    line: Annotated[
        list[str],
        Field(description="The customer and those above it, up to the top"),
    ]
    members: Annotated[list[str], Field(description="Everyone below the top")]


class CustomerAnswer(TypedDict):
    """What the ledger knows of a customer on a day."""

    customer_id: str
    as_of: date
    sector: str
    country: str
    owed: Annotated[
        Money,
        Field(description="The open amount less the unapplied money, never below 0"),
    ]
    profile: ProfileAnswer
    reports: Annotated[
        list[ReportAnswer], Field(description="Known on that day, the last one first")
    ]
    group: CustomerGroup | None


@dataclass(frozen=True)
class CustomerDesk:
    """Shows customers.

    Attributes
    ----------
    ledger : LedgerStore
        The loaded ledger.
    now : callable
        Returns the time, with its zone.
    zone : tzinfo
        The time zone of the house.
    """

    ledger: LedgerStore
    now: Callable[[], datetime]
    zone: tzinfo = UTC

    def customer(self, customer_id: str, as_of: date | None = None) -> CustomerAnswer:
        """Return what the ledger knows of a customer on a day.

        The profile is as it is now; the day is for the rest.

        Parameters
        ----------
        customer_id : str
            The customer.
        as_of : date, optional
            By default the day of the ledger's export, or today.

        Returns
        -------
        CustomerAnswer
            With the people to speak to.

        Raises
        ------
        UnknownCustomerError
            If the ledger has no such customer.
        AsOfError
            If the day lies in the future, or before the customer's first invoice.
        """
        day = as_of_or_default(as_of, self.ledger, day_at(self.now(), self.zone))
        account = self.ledger.account(customer_id)
        reports = known_rows(self.ledger.reports(customer_id), day)
        tree = self.ledger.parties.tree_around(customer_id, day)
        owed = ageing_of(known_account(account, day)).owed
        return {
            "customer_id": customer_id,
            "as_of": day,
            "sector": account.sector,
            "country": account.country,
            "owed": money(owed, account.currency),
            "profile": _profile_answer(self.ledger.profile(customer_id)),
            "reports": [_report_answer(report) for report in reversed(reports)],
            "group": _group_answer(customer_id, tree),
        }


def _profile_answer(profile: Profile) -> ProfileAnswer:
    contacts: list[ContactPerson] = [
        {
            "name": contact.name,
            "role": contact.role,
            "email": contact.email,
            "phone": contact.phone,
        }
        for contact in profile.contacts
    ]
    return {
        "name": profile.name,
        "vat_id": profile.vat_id,
        "registration_id": profile.registration_id,
        "lei": profile.lei,
        "address": profile.address,
        "language": profile.language,
        "owner": profile.owner,
        "contacts": contacts,
    }


def _report_answer(report: BureauReport) -> ReportAnswer:
    return {
        "source": report.source,
        "as_of": report.as_of,
        "known_on": report.known_on,
        "score": report.score,
        "scale": report.scale,
        "rating": report.rating,
        "recommended_limit": report.recommended_limit,
        "currency": report.currency,
        "status": report.status,
        "event": report.event,
    }


def _group_answer(customer_id: str, tree: GroupTree) -> CustomerGroup | None:
    if not tree.parents:
        return None
    line = tree.line_of(customer_id)
    return {"line": line, "members": tree.members_of(line[-1])}
