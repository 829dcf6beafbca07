"""How the outbox stands, as metrics and readiness show it: read now and then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from obligor.serving.webhooks.outbox import Outbox, OutboxStatus

# The housekeeper has its turn every half second.
TURNS_BETWEEN_READS = 10


class OutboxWatch:
    """Keeps the last status of an outbox, so that showing it costs no query.

    Parameters
    ----------
    outbox : Outbox
        The outbox.
    now : callable
        Returns the time, in UTC.
    """

    def __init__(self, outbox: Outbox, now: Callable[[], datetime]) -> None:
        self._outbox = outbox
        self._now = now
        self._turns_until_read = 0
        self.status: OutboxStatus | None = None

    def turn(self) -> None:
        """Read the status in every tenth turn; raises `RecordError`."""
        if self._turns_until_read == 0:
            self.status = self._outbox.status(self._now())
            self._turns_until_read = TURNS_BETWEEN_READS
        self._turns_until_read -= 1

    def has_endpoints(self) -> bool:
        """Return whether there was an endpoint when the status was read last."""
        return self.status is not None and self.status.n_endpoints > 0
