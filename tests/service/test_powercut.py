"""A power cut loses nothing that was acknowledged; `make reliability` does it ten times."""

from __future__ import annotations

import _sqlite3
import ctypes
from random import Random

import pytest

from reliability.powercut import lost


@pytest.fixture(autouse=True)
def _shared_library() -> None:
    if not hasattr(
        ctypes.CDLL(getattr(_sqlite3, "__file__", None)), "sqlite3_vfs_find"
    ):
        pytest.skip(
            "this Python hides SQLite's own functions, so its file layer cannot be put aside"
        )


def test_what_was_acknowledged_outlives_a_power_cut() -> None:
    acked, gone = lost("FULL", Random(1))
    assert acked > 50
    assert gone == 0


def test_the_power_cut_is_one() -> None:
    """With less care entries are lost: else the test above would show nothing."""
    assert lost("NORMAL", Random(2))[1] > 0
