"""What an account's promises to pay came to, as the rules take them."""

from __future__ import annotations

from obligor.data.acts import settled_promises
from obligor.data.asof import KnownAccount
from obligor.policy.ladder import Promise


def promises_of(known: KnownAccount) -> tuple[Promise, ...]:
    """Return the promises settled by the as-of date."""
    return tuple(Promise(*one) for one in settled_promises(known))
