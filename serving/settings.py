"""Paths, URLs and keys of the service, read from the environment (the rim)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from math import nan
from pathlib import Path

from obligor.data.time_zone import TIME_ZONE, parse_time_zone
from obligor.errors import SchemaError
from obligor.policy.rulebooks.rulebook import RULES
from obligor.signing import RELEASE_PUBLIC, parse_key

MOST_WEBHOOK_DAYS = 365


@dataclass(frozen=True)
class Settings:
    """Paths, URLs and keys of one service.

    Attributes
    ----------
    store : Path
        Folder with the exported champion (``OBLIGOR_STORE``, default ``store``).
    ledger_url, record_url : str
        SQLAlchemy URLs (``OBLIGOR_LEDGER_URL``, ``OBLIGOR_RECORD_URL``; default SQLite
        in the store).
    rules : Path
        Folder of dated rulebooks (``OBLIGOR_RULES``, default the one that ships).
    checkpoints : tuple of Path
        Folders that keep signed checkpoints (``OBLIGOR_CHECKPOINTS``, separated by
        ``:``; default in the store).
    trusted : tuple of Path
        Public keys that may have signed bundles and rulebooks
        (``OBLIGOR_TRUSTED_KEYS``, separated by ``:``; default that of the store, which
        `obligor promote` makes).
    time_zone : tzinfo
        Where the house is, so that it has one day at a time (``OBLIGOR_TIME_ZONE``, a
        name of the IANA database; default UTC).
    webhook_networks : str
        Networks that webhooks may call although they are not public
        (``OBLIGOR_WEBHOOK_NETWORKS``, separated by blanks; default none).
    webhook_days : float
        Days until a delivery that fails is dead (``OBLIGOR_WEBHOOK_DAYS``, default 3).
    webhook_source : str
        The ``source`` of events, a URI (``OBLIGOR_WEBHOOK_SOURCE``, default
        ``urn:obligor``).
    data_key, signing_key : bytes, optional
        ``OBLIGOR_DATA_KEY``, ``OBLIGOR_SIGNING_KEY``: 64 hexadecimal digits each.
    """

    store: Path
    ledger_url: str
    record_url: str
    rules: Path
    checkpoints: tuple[Path, ...]
    trusted: tuple[Path, ...]
    time_zone: tzinfo = UTC
    webhook_networks: str = ""
    webhook_days: float = 3
    webhook_source: str = "urn:obligor"
    data_key: bytes | None = field(default=None, repr=False)
    signing_key: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings from an environment.

        Raises
        ------
        KeyFileError
            If a key is not valid.
        SchemaError
            If there is no such time zone.
        """
        store = Path(environment.get("OBLIGOR_STORE", "store")).resolve()
        defaults = {
            "OBLIGOR_LEDGER_URL": f"sqlite:///{store}/ledger.db",
            "OBLIGOR_RECORD_URL": f"sqlite:///{store}/record.db",
            "OBLIGOR_RULES": str(RULES),
            "OBLIGOR_CHECKPOINTS": f"{store}/checkpoints",
            "OBLIGOR_TRUSTED_KEYS": str(store / RELEASE_PUBLIC),
            "OBLIGOR_WEBHOOK_NETWORKS": "",
            "OBLIGOR_WEBHOOK_DAYS": "3",
            "OBLIGOR_WEBHOOK_SOURCE": "urn:obligor",
        }
        texts = {
            name: environment.get(name, default) for name, default in defaults.items()
        }
        return cls(
            store=store,
            ledger_url=texts["OBLIGOR_LEDGER_URL"],
            record_url=texts["OBLIGOR_RECORD_URL"],
            rules=Path(texts["OBLIGOR_RULES"]),
            checkpoints=_paths(texts["OBLIGOR_CHECKPOINTS"]),
            trusted=_paths(texts["OBLIGOR_TRUSTED_KEYS"]),
            time_zone=parse_time_zone(environment.get(TIME_ZONE, "UTC")),
            webhook_networks=texts["OBLIGOR_WEBHOOK_NETWORKS"],
            webhook_days=_days(texts["OBLIGOR_WEBHOOK_DAYS"]),
            webhook_source=texts["OBLIGOR_WEBHOOK_SOURCE"],
            data_key=_key(environment, "OBLIGOR_DATA_KEY"),
            signing_key=_key(environment, "OBLIGOR_SIGNING_KEY"),
        )


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(map(Path, text.split(os.pathsep)))


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = nan
    if not 0 < days <= MOST_WEBHOOK_DAYS:
        raise SchemaError(
            f"{text!r} is not a number of days",
            where="OBLIGOR_WEBHOOK_DAYS",
            expected=f"more than 0, at most {MOST_WEBHOOK_DAYS}",
        )
    return days


def _key(environment: Mapping[str, str], name: str) -> bytes | None:
    return parse_key(environment[name], name) if name in environment else None
