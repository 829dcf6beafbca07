"""Which customer an account or a name of a payer belongs to."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

import pandas as pd

# The columns of a file of payers, and of customers, that identify a payer.
PAYER_COLUMNS = ("customer_id", "iban", "name")
_SPELLED_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})


@dataclass
class Payers:
    """Accounts and names, each of one customer.

    A name or an account of several customers identifies none of them.
    """

    customers: dict[str, set[str]] = field(default_factory=dict)

    def add(self, frame: pd.DataFrame) -> None:
        """Add the payers of a table with the columns `PAYER_COLUMNS`."""
        if "customer_id" not in frame:
            return
        for column, key_of in (("iban", _account_key), ("name", _name_key)):
            if column not in frame:
                continue
            pairs = zip(
                frame[column].tolist(), frame["customer_id"].tolist(), strict=True
            )
            for text, customer_id in pairs:
                if isinstance(text, str) and isinstance(customer_id, str):
                    key = key_of(text)
                    if key:
                        self.customers.setdefault(key, set()).add(customer_id)

    def customer(self, iban: str, name: str) -> str | None:
        """Return the customer of an account, else of a name; None if not known."""
        for key in (_account_key(iban), _name_key(name)):
            customers = self.customers.get(key, set())
            if key and len(customers) == 1:
                return next(iter(customers))
        return None


def _account_key(text: str) -> str:
    sign = re.sub(r"[\s-]", "", text).upper()
    return f"account {sign}" if sign else ""


def _name_key(text: str) -> str:
    """Return a name without case, signs and blanks.

    Examples
    --------
    >>> _name_key("Müller & Söhne GmbH") == _name_key("MÜLLER&SÖHNE  GMBH")
    True
    >>> _name_key("MUELLER SOEHNE") == _name_key("Müller Söhne")
    True
    """
    # Bank statements often have AE for an A with two dots.
    spelled_out = text.casefold().translate(_SPELLED_OUT)
    plain = unicodedata.normalize("NFKD", spelled_out)
    letters = "".join(sign for sign in plain if sign.isalnum())
    return f"name {letters}" if letters else ""
