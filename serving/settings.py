"""Where the service finds its things, from the environment (the rim)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Paths and URLs of one service.

    Attributes
    ----------
    store : Path
        Folder with the exported champion (``OBLIGOR_STORE``, default ``store``).
    ledger_url, record_url : str
        SQLAlchemy URLs (``OBLIGOR_LEDGER_URL``, ``OBLIGOR_RECORD_URL``; default SQLite in the store).
    rules : Path
        Folder of dated rulebooks (``OBLIGOR_RULES``, default the one that ships).
    """

    store: Path
    ledger_url: str
    record_url: str
    rules: Path

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings from an environment."""
        store = Path(environment.get("OBLIGOR_STORE", "store")).resolve()
        shipped = Path(__file__).parent.parent / "policy" / "rules"
        return cls(
            store=store,
            ledger_url=environment.get("OBLIGOR_LEDGER_URL", f"sqlite:///{store}/ledger.db"),
            record_url=environment.get("OBLIGOR_RECORD_URL", f"sqlite:///{store}/record.db"),
            rules=Path(environment.get("OBLIGOR_RULES", shipped)),
        )
