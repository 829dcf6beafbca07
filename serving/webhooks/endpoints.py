"""The endpoints that events go to, and the secrets that sign for them."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from obligor.errors import RecordError, SchemaError
from obligor.record.database import DatabaseRow
from obligor.record.entry import in_utc
from obligor.record.merkle_log import Tree
from obligor.record.record import Record
from obligor.record.tables import WEBHOOK_ENDPOINTS, WEBHOOK_SECRETS
from obligor.serving.webhooks.events import EVENT_TYPES
from obligor.serving.webhooks.secrets import (
    PREFIX,
    as_text,
    new_secret,
    parsed_secrets,
)

ENDPOINT = WEBHOOK_ENDPOINTS.c
SECRET = WEBHOOK_SECRETS.c
# How long the old secret signs beside the new one, so that the receiver can change it.
OVERLAP = timedelta(days=1)
_ID_BYTES = 6


@dataclass(frozen=True)
class NewEndpoint:
    """What an endpoint will be.

    Attributes
    ----------
    url : str
        Where events are sent; `AddressGuard.url` has checked it.
    types : sequence of str
        The types of events it gets.
    secret_from : str, optional
        The environment variable with its secrets; by default one is made and sealed.
    """

    url: str
    types: Sequence[str]
    secret_from: str | None = None


@dataclass(frozen=True)
class Endpoint:
    """An endpoint.

    Attributes
    ----------
    endpoint_id : str
        Its id.
    url : str
        Where events are sent.
    types : tuple of str
        The types of events it gets.
    secret_from : str, optional
        The environment variable with its secrets.
    from_leaf : int
        The first leaf of the record whose entry gives it events.
    created_at : datetime
        Since when it is there.
    """

    endpoint_id: str
    url: str
    types: tuple[str, ...]
    secret_from: str | None
    from_leaf: int
    created_at: datetime


class Endpoints:
    """Keeps the endpoints in the record's database.

    Parameters
    ----------
    record : Record
        Its vault seals the secrets.
    environment : mapping
        Where secrets may come from.
    """

    def __init__(self, record: Record, environment: Mapping[str, str]) -> None:
        self._database = record.database
        self._environment = environment

    def add(self, new: NewEndpoint, at: datetime) -> tuple[Endpoint, str | None]:
        """Add an endpoint; it gets the events of what is recorded from now on.

        Returns
        -------
        Endpoint
            The endpoint.
        str or None
            Its secret, which cannot be shown again; None if the environment has it.

        Raises
        ------
        SchemaError
            If a type is unknown, or the variable has no secret.
        """
        _require_types(new.types)
        if new.secret_from is not None:
            self._secrets_in_environment(new.secret_from)
        endpoint = Endpoint(
            endpoint_id=self._database.vault.random(_ID_BYTES).hex(),
            url=new.url,
            types=tuple(dict.fromkeys(new.types)),
            secret_from=new.secret_from,
            from_leaf=Tree(self._database).size(),
            created_at=at,
        )
        row = {**vars(endpoint), "types": " ".join(endpoint.types)}
        secret = None
        with self._database.writing() as connection:
            connection.execute(WEBHOOK_ENDPOINTS.insert().values(row))
            if new.secret_from is None:
                secret = self._add_secret(connection, endpoint.endpoint_id, at)
        return endpoint, secret

    def active(self) -> list[Endpoint]:
        """Return the endpoints that were not removed, the oldest first."""
        query = (
            sa.select(WEBHOOK_ENDPOINTS)
            .where(ENDPOINT.removed_at.is_(None))
            .order_by(ENDPOINT.created_at, ENDPOINT.endpoint_id)
        )
        return [_endpoint(row) for row in self._database.rows(query)]

    def endpoint(self, endpoint_id: str) -> Endpoint:
        """Return an endpoint.

        Raises
        ------
        RecordError
            If there is no such endpoint, or it was removed.
        """
        for endpoint in self.active():
            if endpoint.endpoint_id == endpoint_id:
                return endpoint
        raise RecordError(
            f"no endpoint has the id {endpoint_id!r}",
            where="webhooks",
            do="`obligor webhooks list` shows them",
        )

    def remove(self, endpoint_id: str, at: datetime) -> None:
        """Remove an endpoint; its secrets are deleted. Raises as `endpoint`."""
        self.endpoint(endpoint_id)
        with self._database.writing() as connection:
            connection.execute(
                WEBHOOK_ENDPOINTS.update()
                .where(ENDPOINT.endpoint_id == endpoint_id)
                .values(removed_at=at)
            )
            connection.execute(
                WEBHOOK_SECRETS.delete().where(SECRET.endpoint_id == endpoint_id)
            )

    def rotate(
        self, endpoint_id: str, at: datetime, overlap: timedelta = OVERLAP
    ) -> str:
        """Return a new secret; the old ones sign beside it until the overlap ends.

        Parameters
        ----------
        endpoint_id : str
            The endpoint.
        at : datetime
            The time, with its zone.
        overlap : timedelta, optional
            How long the old secrets go on signing.

        Returns
        -------
        str
            The new secret, which cannot be shown again.

        Raises
        ------
        RecordError
            If there is no such endpoint.
        SchemaError
            If its secrets come from the environment: change the variable.
        """
        endpoint = self.endpoint(endpoint_id)
        if endpoint.secret_from is not None:
            raise SchemaError(
                "the secrets of this endpoint come from the environment",
                where=endpoint.secret_from,
                do="put the new secret before the old one, separated by a blank, and "
                "restart the service",
            )
        with self._database.writing() as connection:
            connection.execute(
                WEBHOOK_SECRETS.update()
                .where(SECRET.endpoint_id == endpoint_id, SECRET.retires_at.is_(None))
                .values(retires_at=at + overlap)
            )
            return self._add_secret(connection, endpoint_id, at)

    def secrets(self, endpoint: Endpoint, at: datetime) -> list[str]:
        """Return the secrets that sign now, the newest first.

        Raises
        ------
        SchemaError
            If the environment has none.
        RecordError
            If a secret was sealed under another data key.
        """
        if endpoint.secret_from is not None:
            return self._secrets_in_environment(endpoint.secret_from)
        is_valid = sa.or_(SECRET.retires_at.is_(None), SECRET.retires_at > at)
        query = (
            sa.select(WEBHOOK_SECRETS)
            .where(SECRET.endpoint_id == endpoint.endpoint_id, is_valid)
            .order_by(SECRET.created_at.desc(), SECRET.secret_id)
        )
        secrets = list[str]()
        for row in self._database.rows(query):
            secret = self._database.vault.unwrap(bytes(row.wrapped), row.secret_id)
            secrets.append(as_text(secret))
        return secrets

    def _add_secret(
        self, connection: sa.Connection, endpoint_id: str, at: datetime
    ) -> str:
        vault = self._database.vault
        secret = new_secret(vault.random)
        secret_id = vault.random(_ID_BYTES).hex()
        sealed = vault.wrap(b64decode(secret.removeprefix(PREFIX)), secret_id)
        row = {
            "secret_id": secret_id,
            "endpoint_id": endpoint_id,
            "wrapped": sealed,
            "created_at": at,
        }
        connection.execute(WEBHOOK_SECRETS.insert().values(row))
        return secret

    def _secrets_in_environment(self, name: str) -> list[str]:
        return parsed_secrets(self._environment.get(name, ""), name)


def _require_types(types: Sequence[str]) -> None:
    unknown = [name for name in types if name not in EVENT_TYPES]
    if unknown or not types:
        named = ", ".join(map(repr, unknown)) or "nothing"
        raise SchemaError(
            f"{named} is not a type of event",
            where="events",
            expected=f"some of {', '.join(EVENT_TYPES)}",
        )


def _endpoint(row: DatabaseRow) -> Endpoint:
    return Endpoint(
        endpoint_id=row.endpoint_id,
        url=row.url,
        types=tuple(row.types.split()),
        secret_from=row.secret_from,
        from_leaf=row.from_leaf,
        created_at=in_utc(row.created_at),
    )
