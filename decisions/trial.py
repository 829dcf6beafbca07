"""The trial of a model bundle in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from obligor.errors import ModelError


def try_bundle(folder: Path, sha256: str, patience_s: float = 60) -> None:
    """Load a model bundle and explain a row with it in a process of its own: if that dies, only that dies.

    Raises
    ------
    ModelError
        Where it did not come through.
    """
    command = [sys.executable, "-c", _TRIAL, str(folder), sha256]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=patience_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"trial took more than {patience_s:.0f} s",
            where=folder.name,
            do="export it again",
        ) from None
    if done.returncode:
        last = done.stderr.strip().split("\n")[-1] or f"exit code {done.returncode}"
        raise ModelError(
            f"did not come through its trial: {last}",
            where=folder.name,
            do="export it again",
        )


_TRIAL = """
import sys
from pathlib import Path
import numpy as np
from obligor.model.bundle import load_bundle
model = load_bundle(Path(sys.argv[1]), sys.argv[2])
contributions, margins = model.explain(np.full((1, len(model.features)), np.nan))
sys.exit(not np.isfinite([*contributions.ravel(), *margins]).all())
"""
