"""Our own log, on standard output."""

from __future__ import annotations

import logging
import sys


def log_to_stdout(level: str) -> None:
    """Write our own log to standard output, the access log included.

    BentoML's logging is set up for itself, and passes on warnings only.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    )
    logger = logging.getLogger("obligor")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(level)
