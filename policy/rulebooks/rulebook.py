"""A rulebook: the dated, sourced parameters and tables that are in force together."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from obligor.errors import AsOfError, PolicyError
from obligor.policy.rulebooks.contract_check import require_contracts
from obligor.policy.rulebooks.contracts import CONTRACTS
from obligor.policy.rulebooks.decision_table import DecisionTable, compile_table
from obligor.policy.rulebooks.files import (
    RulebookFile,
    effective_date,
    parameters_of,
    parse,
    parse_rulebook_file,
    read_bytes,
    source_of,
)
from obligor.signing import Signer, is_signed

RULES = Path(__file__).parent.parent / "rules"
RELEASE = "release.yaml"
SIGNATURE = "release.sig"
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
# The law on late interest: one table, or in these of later rulebooks by country, day
# and size of the debt. A rulebook has the one or the others.
INTEREST_TABLES = ("interest_laws", "reference_rates", "compensation")
# Rows of these become reasons, blocks or warnings, so they need a Chinese text too.
REASONED = ("hard_stops", "authority", "outcome", "order_blocks", "warnings")


class ScoreScale(NamedTuple):
    """How odds become points.

    Attributes
    ----------
    base_score, base_odds : float
        The score of customers who pay at these odds.
    points_to_double_odds : float
        Points that double the odds.
    """

    base_score: float
    base_odds: float
    points_to_double_odds: float


class Materiality(NamedTuple):
    """From what amount on a debt counts as past due or as lost.

    Attributes
    ----------
    amount : Decimal
        An amount in the reporting currency.
    share : Decimal
        A share of what the customer owes, 0 to 1.
    """

    amount: Decimal
    share: Decimal

    def threshold(self, owed: Decimal) -> Decimal:
        """Return the amount that a material one exceeds, if so much is owed.

        An amount is material if it exceeds both the amount and the share of what is
        owed (Regulation (EU) 2018/171), so if it exceeds the larger of the two.

        Examples
        --------
        >>> materiality = Materiality(Decimal(100), Decimal("0.01"))
        >>> materiality.threshold(Decimal(5_000))
        Decimal('100')
        >>> materiality.threshold(Decimal(20_000))
        Decimal('200.00')
        """
        return max(self.amount, self.share * owed)


@dataclass(frozen=True)
class Rulebook:
    """The parameters and tables that apply from one date on.

    Attributes
    ----------
    version, effective : str, date
        The date from which it applies, as text and as date.
    sha256 : str
        Over the bytes of its files.
    parameters : mapping of str to Decimal
        The numbers of the policy.
    tables : mapping of str to DecisionTable
        Every table in `TABLES`, or `INTEREST_TABLES` in place of ``late_interest``,
        proven.
    sources : mapping of str to str
        Per file, who decided it, when and why.
    specs : mapping of str to RulebookFile
        The files as parsed.
    makers : frozenset of str
        The persons who decided its parts; another person releases it.
    memo : dict
        Results that depend on the tables alone.
    """

    version: str
    effective: date
    sha256: str
    parameters: Mapping[str, Decimal]
    tables: Mapping[str, DecisionTable]
    sources: Mapping[str, str]
    specs: Mapping[str, RulebookFile]
    makers: frozenset[str]
    memo: dict[Hashable, object] = field(
        default_factory=dict,
        compare=False,
        repr=False,
    )

    @cached_property
    def scale(self) -> ScoreScale:
        """How odds become points."""
        return ScoreScale(
            float(self.parameters["base_score"]),
            float(self.parameters["base_odds"]),
            float(self.parameters["points_to_double_odds"]),
        )

    @cached_property
    def materiality(self) -> Materiality | None:
        """From what amount on a debt counts; None for a rulebook that does not say.

        Without it the oldest item counts, however small it is.
        """
        if "materiality_amount" not in self.parameters:
            return None
        return Materiality(
            self.parameters["materiality_amount"],
            self.parameters["materiality_share"],
        )


def read_rulebook(folder: Path) -> Rulebook:
    """Read, compile and prove every file of a rulebook that is to decide.

    One doubtful file refuses the whole rulebook, and so does a column that the code
    does not fill or does not read.

    Raises
    ------
    PolicyError
        Naming the file, row, column and reason.
    """
    rulebook = read_archived_rulebook(folder)
    require_contracts(rulebook.tables)
    return rulebook


def read_archived_rulebook(folder: Path) -> Rulebook:
    """Read a rulebook to replay the decisions it made, to list it or to show it.

    It is proven as it was when it was released. Whether the code fills every input is
    not asked: a rule that never fired then must not fire in a replay, and a rulebook
    that would be refused today still explains the decisions made with it.

    Raises
    ------
    PolicyError
        Naming the file, row, column and reason.
    """
    contents = _contents(folder)
    files = {}
    for name, content in contents.items():
        files[name] = parse_rulebook_file(content, f"{folder.name}/{name}.yaml")
    effective = effective_date(files, folder)
    sources = {name: source_of(file, name) for name, file in files.items()}
    tables = {
        name: compile_table(files[name], CONTRACTS[name])
        for name in table_names(folder)
    }
    _require_both_languages(tables)
    _require_falling(tables["exposure_caps"])
    return Rulebook(
        version=folder.name,
        effective=effective,
        sha256=_digest(contents),
        parameters=parameters_of(files["parameters"]),
        tables=tables,
        sources=sources,
        specs=files,
        makers=frozenset(str(file["source"]["decided_by"]) for file in files.values()),
    )


def digest_of(folder: Path) -> str:
    """Return the SHA-256 over the bytes of a rulebook's files, without parsing them."""
    return _digest(_contents(folder))


def table_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the tables that the rulebook in a folder has."""
    if not (folder / f"{INTEREST_TABLES[0]}.yaml").exists():
        return TABLES
    return with_interest_tables()


def with_interest_tables() -> tuple[str, ...]:
    """Return the tables of a rulebook that states the law by country and day."""
    names = list(TABLES)
    position = names.index("late_interest")
    names[position : position + 1] = INTEREST_TABLES
    return tuple(names)


def _contents(folder: Path) -> dict[str, bytes]:
    names = ("parameters", *table_names(folder))
    return {name: read_bytes(folder / f"{name}.yaml") for name in names}


def _digest(contents: Mapping[str, bytes]) -> str:
    # Zero bytes separate names and texts, so that no two contents hash alike.
    parts = [name.encode() + b"\0" + text + b"\0" for name, text in contents.items()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def read_rulebooks(
    root: Path = RULES, trusted: Sequence[Ed25519PublicKey] | None = None
) -> tuple[list[Rulebook], list[PolicyError]]:
    """Read every released rulebook; a doubtful one does not affect the others.

    A folder without a release is a draft: it decides nothing.

    Parameters
    ----------
    root : Path
        Folder of dated rulebooks.
    trusted : sequence of Ed25519PublicKey, optional
        One of them must have signed the release, before anything is parsed. None for
        the rulebooks that ship, which are as trusted as the code beside them.

    Returns
    -------
    good : list of Rulebook
        By date.
    refused : list of PolicyError
        Why the others were refused.

    Raises
    ------
    PolicyError
        If none is good.
    """
    good = list[Rulebook]()
    refused = list[PolicyError]()
    for folder in folders(root):
        if not (folder / RELEASE).exists():  # a draft
            continue
        try:
            good.append(_read_released(folder, trusted))
        except PolicyError as error:
            refused.append(error)
    if not good:
        missing = PolicyError(
            "the folder has no rulebook", where=root.name, expected="a released folder"
        )
        raise refused[0] if refused else missing
    return good, refused


def _read_released(
    folder: Path, trusted: Sequence[Ed25519PublicKey] | None
) -> Rulebook:
    # The signature comes first: a file that nobody signed is not even parsed.
    if trusted is not None:
        _require_signature(folder, trusted)
    rulebook = read_rulebook(folder)
    read_release(folder, rulebook)
    return rulebook


def folders(root: Path) -> list[Path]:
    """Return the folders of rulebooks by date, including drafts."""
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
    """Return who released a rulebook, when and why.

    Raises
    ------
    PolicyError
        If a part is missing, the files were changed since, or the maker released it.
    """
    where = f"{folder.name}/{RELEASE}"
    release = parse(read_bytes(folder / RELEASE), where)
    missing = {"released_by", "released_at", "because", "sha256"} - set(release)
    if missing:
        raise PolicyError(
            f"the release lacks {sorted(missing)}",
            where=where,
            do="run `obligor policy release`",
        )
    if release["sha256"] != rulebook.sha256:
        raise PolicyError(
            "the rulebook was changed after its release",
            where=where,
            do="release it again",
        )
    _require_checker(rulebook, str(release["released_by"]))
    return {name: str(value) for name, value in release.items()}


def release_rulebook(
    folder: Path,
    by: str,
    because: str,
    at: datetime,
    signer: Signer,
) -> Rulebook:
    """Prove a rulebook, sign it and put it in force from its date on.

    Parameters
    ----------
    folder : Path
        The rulebook; its files name the persons who made it.
    by, because : str
        The person who releases it, not a maker, and the reason.
    at : datetime
        The time of the release.
    signer : Signer
        The key that services trust.

    Returns
    -------
    Rulebook
        The rulebook, released.

    Raises
    ------
    PolicyError
        If it is doubtful or already released, or `by` made a part of it.
    """
    rulebook = read_rulebook(folder)
    # A second release would change who answers for what was decided under the first.
    if (folder / RELEASE).exists():
        raise PolicyError(
            "the rulebook is already released",
            where=folder.name,
            do="make a new one with a later date",
        )
    if not by.strip() or not because.strip():
        raise PolicyError(
            "the release has no name or no reason",
            where="release",
            expected="who releases it, and why",
        )
    _require_checker(rulebook, by)
    entry = {
        "released_by": by,
        "released_at": at.isoformat(),
        "because": because,
        "sha256": rulebook.sha256,
    }
    # The signature is over these bytes, so they are written as they were signed.
    release = yaml.safe_dump(entry, allow_unicode=True, sort_keys=False).encode()
    signature = signer.sign(_signed_text(rulebook.sha256, release)).hex()
    (folder / SIGNATURE).write_text(signature, encoding="ascii")
    (folder / RELEASE).write_bytes(release)
    return rulebook


def _require_signature(folder: Path, trusted: Sequence[Ed25519PublicKey]) -> None:
    text = _signed_text(digest_of(folder), read_bytes(folder / RELEASE))
    if not is_signed(read_bytes(folder / SIGNATURE), text, trusted):
        raise PolicyError(
            f"the release is not signed by any of {len(trusted)} trusted keys",
            where=folder.name,
            do="release it with the key of OBLIGOR_RELEASE_KEY, or name the key that "
            "signed it in OBLIGOR_TRUSTED_KEYS",
        )


def _signed_text(sha256: str, release: bytes) -> bytes:
    """The text a release signs: every file, and who released it when and why."""
    release_sha256 = hashlib.sha256(release).hexdigest()
    return f"obligor rulebook v1\n{sha256}\n{release_sha256}\n".encode()


def _require_checker(rulebook: Rulebook, by: str) -> None:
    # Another spelling of a name is the same person.
    makers = {maker.strip().casefold() for maker in rulebook.makers}
    if by.strip().casefold() in makers:
        raise PolicyError(
            f"{by} made it",
            where=rulebook.version,
            expected="a second person to release it",
        )


def in_force(rulebooks: Sequence[Rulebook], as_of: date) -> Rulebook:
    """Return the rulebook that applies on a date: the latest one effective by then.

    Raises
    ------
    AsOfError
        If no rulebook was in force yet.
    """
    effective = [rulebook for rulebook in rulebooks if rulebook.effective <= as_of]
    if not effective:
        raise AsOfError(
            f"no rulebook was in force on {as_of}",
            where="as_of",
            do="ask for a later day",
        )
    return max(effective, key=lambda rulebook: rulebook.effective)


def _require_both_languages(tables: Mapping[str, DecisionTable]) -> None:
    for name in REASONED:
        for rule in tables[name].rules:
            if not rule.because_zh:
                raise PolicyError(
                    "the row has no text in Chinese",
                    where=f"{name} row {rule.id}",
                    expected="zh: the reason",
                )


def _require_falling(caps: DecisionTable) -> None:
    """Refuse caps that rise at a weaker grade: a higher PD could raise a limit."""
    grades = [caps(grade=grade) for grade in range(1, 11)]
    for column in caps.outputs:
        for grade, (better, worse) in enumerate(pairwise(grades), start=2):
            if worse.number(column.name) > better.number(column.name):
                raise PolicyError(
                    f"{column.name} rises at grade {grade}",
                    where=caps.id,
                    expected="falling by grade",
                )
