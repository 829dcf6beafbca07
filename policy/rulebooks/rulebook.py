"""A rulebook: the dated, sourced parameters and tables that are in force together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from obligor.errors import AsOfError, PolicyError
from obligor.policy.rulebooks.decision_table import DecisionTable, compile_table
from obligor.signing import Signer, is_signed

RULES = Path(__file__).parent.parent / "rules"
TABLES = (
    "master_scale",
    "overlay",
    "override",
    "customer_class",
    "hard_stops",
    "terms",
    "exposure_caps",
    "step_up",
    "authority",
    "outcome",
    "review",
    "order_blocks",
    "warnings",
    "ladder_moves",
    "ladder",
    "collection_stage",
    "collection_strategy",
    "quiet_days",
    "late_interest",
    "provision_matrix",
    "stress",
)
# Rows of these become reasons, blocks or warnings: they speak Chinese too.
REASONED = ("hard_stops", "authority", "outcome", "order_blocks", "warnings")
# Every number `policy` works with, and the range it must lie in.
PARAMETERS: dict[str, tuple[str, str]] = {
    "lgd": ("0", "1"),
    "credit_margin": ("0", "1"),
    "cost_of_funds": ("0", "1"),
    "hurdle_rate": ("0", "1"),
    "capital_confidence": ("0.5", "0.9999"),
    "secured_share": ("0", "1"),
    "order_horizon_days": ("0", "365"),
    "small_order": ("0", "1000000"),
    "base_score": ("0", "1000"),
    "base_odds": ("1", "1000"),
    "points_to_double_odds": ("1", "200"),
    "collector_cost": ("0", "1000"),
    "insurer_extension_days": ("0", "365"),
    "insurer_handover_days": ("0", "365"),
}


RELEASE = "release.yaml"
SIGNATURE = "release.sig"
_LOADER = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # libyaml where it is there: ten times as fast


@dataclass(frozen=True)
class Rulebook:
    """What applies from `effective` on; `sha256` is over the bytes of its files, `specs` what they say.

    `makers` are those who decided its parts: somebody else releases it. `memo` keeps what the tables alone say.
    """

    version: str
    effective: date
    sha256: str
    parameters: Mapping[str, Decimal]
    tables: Mapping[str, DecisionTable]
    sources: Mapping[str, str]
    specs: Mapping[str, dict[str, Any]]
    makers: frozenset[str]
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def scale(self) -> tuple[float, float, float]:
        """Base score, base odds and points to double the odds."""
        p = self.parameters
        return (
            float(p["base_score"]),
            float(p["base_odds"]),
            float(p["points_to_double_odds"]),
        )


def read_rulebook(folder: Path) -> Rulebook:
    """Read, compile and prove every file of a rulebook; anything doubtful refuses the whole.

    Raises
    ------
    PolicyError
        Naming the file, row, column and reason.
    """
    contents = _contents(folder)
    parsed = {
        name: _parse(content, f"{folder.name}/{name}.yaml")
        for name, content in contents.items()
    }
    effective = _effective(parsed, folder)
    sources = {name: _source(spec, name) for name, spec in parsed.items()}
    tables = {name: compile_table(parsed[name]) for name in TABLES}
    _require_both_languages(tables)
    _require_falling(tables["exposure_caps"])
    return Rulebook(
        version=folder.name,
        effective=effective,
        sha256=_digest(contents),
        parameters=_parameters(parsed["parameters"]),
        tables=tables,
        sources=sources,
        specs=parsed,
        makers=frozenset(str(spec["source"]["decided_by"]) for spec in parsed.values()),
    )


def digest_of(folder: Path) -> str:
    """Return the SHA-256 over the bytes of a rulebook's files, none of them parsed."""
    return _digest(_contents(folder))


def _contents(folder: Path) -> dict[str, bytes]:
    return {name: _read(folder / f"{name}.yaml") for name in ("parameters", *TABLES)}


def _digest(contents: Mapping[str, bytes]) -> str:
    return hashlib.sha256(
        b"".join(
            name.encode() + b"\0" + text + b"\0" for name, text in contents.items()
        )
    ).hexdigest()


def read_rulebooks(
    root: Path = RULES, trusted: Sequence[Ed25519PublicKey] | None = None
) -> tuple[list[Rulebook], list[PolicyError]]:
    """Read every released rulebook; a doubtful one is refused and told, the good ones stay in force.

    A folder without a release is a draft: nothing is decided by it.

    Parameters
    ----------
    trusted : sequence of Ed25519PublicKey, optional
        One of them must have signed the release, before anything is parsed. None for the rulebooks that ship: they
        are as trusted as the code beside them.

    Raises
    ------
    PolicyError
        Where none is good.
    """
    good, refused = list[Rulebook](), list[PolicyError]()
    for folder in folders(root):
        if not (folder / RELEASE).exists():
            continue
        try:
            if trusted is not None:
                _require_signature(folder, trusted)
            rulebook = read_rulebook(folder)
            read_release(folder, rulebook)
            good.append(rulebook)
        except PolicyError as error:
            refused.append(error)
    if not good:
        raise (
            refused[0]
            if refused
            else PolicyError(
                "no rulebook", where=root.name, expected="a released folder"
            )
        )
    return good, refused


def folders(root: Path) -> list[Path]:
    """Return the folders of rulebooks, drafts too, by date."""
    if not root.is_dir():
        raise PolicyError(
            "no such folder", where=str(root), expected="a folder of dated rulebooks"
        )
    return sorted(
        folder
        for folder in root.iterdir()
        if folder.is_dir() and not folder.name.startswith(".")
    )


def read_release(folder: Path, rulebook: Rulebook) -> dict[str, str]:
    """Return who released a rulebook, when and why; refuse one that was changed afterwards.

    Raises
    ------
    PolicyError
        Where a part is missing, the files are not those that were released, or maker and checker are one.
    """
    found, where = (
        _parse(_read(folder / RELEASE), f"{folder.name}/{RELEASE}"),
        f"{folder.name}/{RELEASE}",
    )
    missing = {"released_by", "released_at", "because", "sha256"} - set(found)
    if missing:
        raise PolicyError(
            f"lacks {sorted(missing)}", where=where, do="run `obligor policy release`"
        )
    if found["sha256"] != rulebook.sha256:
        raise PolicyError(
            "the rulebook was changed after its release",
            where=where,
            do="release it again",
        )
    _require_checker(rulebook, str(found["released_by"]))
    return {name: str(value) for name, value in found.items()}


def release_rulebook(
    folder: Path, by: str, because: str, at: datetime, signer: Signer
) -> Rulebook:
    """Prove a rulebook, sign it and put it in force from its date on; the files themselves say who made it.

    Raises
    ------
    PolicyError
        Where it is doubtful, released already, or `by` made a part of it.
    """
    rulebook = read_rulebook(folder)
    if (folder / RELEASE).exists():
        raise PolicyError(
            "is released already",
            where=folder.name,
            do="make a new one with a later date",
        )
    if not by.strip() or not because.strip():
        raise PolicyError(
            "no name or no reason", where="release", expected="who releases it, and why"
        )
    _require_checker(rulebook, by)
    found = {
        "released_by": by,
        "released_at": at.isoformat(),
        "because": because,
        "sha256": rulebook.sha256,
    }
    release = yaml.safe_dump(found, allow_unicode=True, sort_keys=False).encode()
    (folder / SIGNATURE).write_text(
        signer.sign(_signed(rulebook.sha256, release)).hex(), encoding="ascii"
    )
    (folder / RELEASE).write_bytes(release)
    return rulebook


def _require_signature(folder: Path, trusted: Sequence[Ed25519PublicKey]) -> None:
    text = _signed(digest_of(folder), _read(folder / RELEASE))
    if not is_signed(_read(folder / SIGNATURE), text, trusted):
        do = "release it with the key of OBLIGOR_RELEASE_KEY, or name the key that signed it in OBLIGOR_TRUSTED_KEYS"
        raise PolicyError(
            f"is not signed by any of {len(trusted)} trusted keys",
            where=folder.name,
            do=do,
        )


def _signed(sha256: str, release: bytes) -> bytes:
    """What the signature of a release is over: every file, and who released it when and why."""
    return f"obligor rulebook v1\n{sha256}\n{hashlib.sha256(release).hexdigest()}\n".encode()


def _require_checker(rulebook: Rulebook, by: str) -> None:
    if by.strip().casefold() in {maker.strip().casefold() for maker in rulebook.makers}:
        raise PolicyError(
            f"{by} made it",
            where=rulebook.version,
            expected="a second person to release it",
        )


def in_force(rulebooks: Sequence[Rulebook], as_of: date) -> Rulebook:
    """Return the rulebook that applied on a date: the one with the latest effective date up to it.

    Raises
    ------
    AsOfError
        Where no rulebook was in force yet.
    """
    found = [rulebook for rulebook in rulebooks if rulebook.effective <= as_of]
    if not found:
        raise AsOfError(
            f"no rulebook was in force on {as_of}",
            where="as_of",
            do="ask for a later day",
        )
    return max(found, key=lambda rulebook: rulebook.effective)


def _require_both_languages(tables: Mapping[str, DecisionTable]) -> None:
    for name in REASONED:
        for rule in tables[name].rules:
            if not rule.because_zh:
                raise PolicyError(
                    "no text in Chinese",
                    where=f"{name} row {rule.id}",
                    expected="zh: the reason",
                )


def _require_falling(caps: DecisionTable) -> None:
    """A weaker grade never has more: else a higher PD could raise a limit."""
    rows = [caps(grade=grade).outputs for grade in range(1, 11)]
    for column in caps.outputs:
        for grade, (better, worse) in enumerate(pairwise(rows), start=2):
            if worse[column.name] > better[column.name]:  # type: ignore[operator]
                raise PolicyError(
                    f"{column.name} rises at grade {grade}",
                    where=caps.id,
                    expected="falling by grade",
                )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise PolicyError(
            "file is missing", where=f"{path.parent.name}/{path.name}"
        ) from None


def _parse(content: bytes, where: str) -> dict[str, Any]:
    try:
        parsed = yaml.load(content, _LOADER)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PolicyError(
            f"cannot be read: {error}", where=where, expected="YAML"
        ) from None
    if not isinstance(parsed, dict):
        raise PolicyError(
            "holds no mapping",
            where=where,
            expected="keys such as id, effective, source",
        )
    return parsed


def _effective(parsed: Mapping[str, dict[str, Any]], folder: Path) -> date:
    dates = {spec.get("effective") for spec in parsed.values()}
    if (
        len(dates) != 1
        or not isinstance(next(iter(dates)), date)
        or str(next(iter(dates))) != folder.name
    ):
        raise PolicyError(
            f"effective dates {sorted(map(str, dates))}",
            where=folder.name,
            expected="the folder's name in every file",
        )
    return next(iter(dates))  # type: ignore[return-value]


def _source(spec: Mapping[str, Any], name: str) -> str:
    source = spec.get("source") or {}
    missing = {"decided_by", "decided_on", "because"} - set(source)
    if missing:
        raise PolicyError(
            f"source lacks {sorted(missing)}",
            where=name,
            expected="who decided, when, why",
        )
    return f"{source['decided_by']}, {source['decided_on']}: {source['because']}"


def _parameters(spec: Mapping[str, Any]) -> dict[str, Decimal]:
    found = spec.get("parameters", {})
    unknown, missing = set(found) - set(PARAMETERS), set(PARAMETERS) - set(found)
    if unknown or missing:
        raise PolicyError(
            f"unknown {sorted(unknown)}, missing {sorted(missing)}", where="parameters"
        )
    values = {}
    for name, entry in found.items():
        low, high = (Decimal(end) for end in PARAMETERS[name])
        value, where = entry.get("value"), f"parameters.{name}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise PolicyError(
                f"{value!r} is no number", where=where, expected=f"{low} to {high}"
            )
        if not low <= Decimal(str(value)) <= high:
            raise PolicyError(
                f"{value} is out of range", where=where, expected=f"{low} to {high}"
            )
        if not entry.get("unit") or not entry.get("reference"):
            raise PolicyError("no unit or no reference", where=where, expected="both")
        values[name] = Decimal(str(value))
    return values
