"""Who a customer is: its name, its legal ids, and the people to speak to there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import orjson
import pandas as pd

from obligor.data.ledger import Ledger

# The columns of `customers` and `contacts` that a profile holds.
PROFILE_COLUMNS = (
    "name",
    "vat_id",
    "registration_id",
    "lei",
    "address",
    "language",
    "owner",
)


class Contact(NamedTuple):
    """A person at the customer; a text is empty if it is not known."""

    name: str = ""
    role: str = ""
    email: str = ""
    phone: str = ""


@dataclass(frozen=True)
class Profile:
    """Who a customer is; a text is empty if it is not known.

    Attributes
    ----------
    name, address, language : str
        As the source writes them.
    vat_id, registration_id, lei : str
        Legal ids; those that failed their check are left out.
    owner : str
        Who looks after the customer.
    contacts : tuple of Contact
        The people to speak to, in the order of the source.
    """

    name: str = ""
    vat_id: str = ""
    registration_id: str = ""
    lei: str = ""
    address: str = ""
    language: str = ""
    owner: str = ""
    contacts: tuple[Contact, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known."""
        return self == Profile()

    def packed(self) -> bytes:
        """Return the profile as JSON; `unpacked_profile` reads it."""
        contacts = [list(contact) for contact in self.contacts]
        return orjson.dumps({**vars(self), "contacts": contacts})


def unpacked_profile(packed: bytes) -> Profile:
    """Return the profile that `Profile.packed` wrote."""
    values = orjson.loads(packed)
    contacts = tuple(Contact(*contact) for contact in values.pop("contacts"))
    return Profile(**values, contacts=contacts)


def profiles_of(ledger: Ledger) -> dict[str, Profile]:
    """Return the profiles of a ledger's customers; those of whom nothing is known not.

    Parameters
    ----------
    ledger : Ledger
        A checked ledger.
    """
    contacts = _contacts_of(ledger["contacts"])
    customers = ledger["customers"]
    columns = [name for name in PROFILE_COLUMNS if name in customers]
    profiles = {}
    texts = _texts(customers, columns)
    for customer_id, row in zip(customers["customer_id"], texts, strict=True):
        profile = Profile(
            **dict(zip(columns, row, strict=True)),
            contacts=tuple(contacts.get(customer_id, ())),
        )
        if not profile.is_empty:
            profiles[customer_id] = profile
    return profiles


def _contacts_of(frame: pd.DataFrame) -> dict[str, list[Contact]]:
    """Return the contacts of each customer, in the order of the table."""
    contacts: dict[str, list[Contact]] = {}
    texts = _texts(frame, Contact._fields)
    for customer_id, row in zip(frame["customer_id"], texts, strict=True):
        contact = Contact(*row)
        if contact != Contact():
            contacts.setdefault(customer_id, []).append(contact)
    return contacts


def _texts(
    frame: pd.DataFrame, columns: list[str] | tuple[str, ...]
) -> list[list[str]]:
    """Return the cells of some columns row by row, empty if they are missing."""
    texts = frame.reindex(columns=list(columns)).astype("object")
    filled: list[list[str]] = texts.where(texts.notna(), "").to_numpy().tolist()
    return filled
