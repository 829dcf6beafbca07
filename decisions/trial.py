"""The trial of a model bundle in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from obligor.errors import ModelError


def try_bundle(folder: Path, sha256: str, patience_s: float = 60) -> None:
    """Load a model bundle and explain a row with it in a process of its own.

    If the model kills a process, it kills only that one.

    Parameters
    ----------
    folder : Path
        The bundle.
    sha256 : str
        Its hash.
    patience_s : float, optional
        The time it may take, in seconds.

    Raises
    ------
    ModelError
        If the trial failed.
    """
    command = [sys.executable, "-c", _TRIAL, str(folder), sha256]
    try:
        process = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=patience_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"the model's trial took more than {patience_s:.0f} s",
            where=folder.name,
            do="export it again",
        ) from None
    if process.returncode:
        last_line = process.stderr.strip().split("\n")[-1]
        reason = last_line or f"exit code {process.returncode}"
        raise ModelError(
            f"the model failed its trial: {reason}",
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
