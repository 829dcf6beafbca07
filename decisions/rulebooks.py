"""The rulebooks of a service: released, kept since they were in force, and drafts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from obligor.errors import PolicyError
from obligor.policy.rulebooks.rulebook import (
    Rulebook,
    digest_of,
    in_force,
    read_archived_rulebook,
)


@dataclass(frozen=True)
class Rulebooks:
    """The rulebooks that decide, and those that decided.

    Attributes
    ----------
    released : sequence of Rulebook
        Each is in force from its effective date on.
    folder : Path
        The folder of the rulebooks; drafts in it can be simulated.
    archive : Path
        Keeps every rulebook that was ever released, by its hash.
    """

    released: Sequence[Rulebook]
    folder: Path
    archive: Path

    def in_force(self, as_of: date) -> Rulebook:
        """Return the rulebook in force on a day."""
        return in_force(self.released, as_of)

    def keep(self) -> None:
        """Copy every released rulebook into the archive.

        Old decisions are replayed with the rules of their day.
        """
        for rulebook in self.released:
            copy = self.archive / rulebook.sha256 / rulebook.version
            if not copy.is_dir():
                shutil.copytree(self.folder / rulebook.version, copy)

    def by_hash(self, sha256: str) -> Rulebook:
        """Return a rulebook by its hash, from the released or from the archive.

        Raises
        ------
        PolicyError
            If no rulebook has this hash.
        """
        for rulebook in self.released:
            if rulebook.sha256 == sha256:
                return rulebook
        return read_archived_rulebook(self.rulebook_folder(sha256))

    def rulebook_folder(self, sha256: str) -> Path:
        """Return the folder of an archived rulebook; raises as `by_hash`."""
        # The hash names a folder: nothing but letters and digits may get into the path.
        if sha256.isalnum():
            for folder in sorted((self.archive / sha256).glob("*")):
                # Checked before anything in it is parsed.
                if digest_of(folder) == sha256:
                    return folder
        raise PolicyError(
            f"no rulebook {sha256}",
            where="rulebooks",
            do="put it back into the store's rulebooks",
        )
