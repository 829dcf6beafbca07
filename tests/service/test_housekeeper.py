"""The housekeeper: tasks in their order, and one that fails stops no other."""

from __future__ import annotations

import threading

import pytest

from obligor.errors import RecordError
from obligor.record.housekeeper import Housekeeper, Task


def test_tasks_run_in_their_order() -> None:
    names = list[str]()
    tasks = [
        Task("first", lambda is_last: names.append("first")),
        Task("second", lambda is_last: names.append("second")),
    ]
    Housekeeper(tasks).run_once()
    assert names == ["first", "second"]


def test_a_task_that_fails_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    has_run = threading.Event()

    def fail(is_last: bool) -> None:
        raise RecordError("the disk is full")

    tasks = [Task("counting", fail), Task("signing", lambda is_last: has_run.set())]
    Housekeeper(tasks).run_once()
    assert has_run.is_set()
    assert "counting failed, and is tried again: the disk is full" in caplog.text


def test_stopping_runs_every_task_for_the_last_time() -> None:
    last = list[bool]()
    housekeeper = Housekeeper([Task("signing", last.append)])
    housekeeper.run_once()
    housekeeper.stop()
    assert last == [False, True]


def test_a_started_housekeeper_repeats_its_tasks() -> None:
    has_run = threading.Event()
    housekeeper = Housekeeper([Task("signing", lambda is_last: has_run.set())])
    housekeeper.start()
    assert has_run.wait(10)
    housekeeper.stop()
