"""A power cut loses nothing acknowledged; `make reliability` tries it ten times."""

from __future__ import annotations

import _sqlite3
import ctypes
from random import Random

import pytest

from reliability.powercut import cut_power


@pytest.fixture(autouse=True)
def _shared_library() -> None:
    library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    if not hasattr(library, "sqlite3_vfs_find"):
        pytest.skip("this Python hides SQLite's functions: its files cannot be wrapped")


def test_acknowledged_entries_survive_a_power_cut() -> None:
    cut = cut_power("FULL", Random(1))
    assert cut.n_acknowledged > 50
    assert cut.n_lost == 0


def test_entries_are_lost_without_full_synchronisation() -> None:
    """Otherwise the test above would show nothing."""
    assert cut_power("NORMAL", Random(2)).n_lost > 0
