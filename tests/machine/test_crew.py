"""Threads that all run from the start."""

import threading
import time
from concurrent.futures import Future

import pytest

from caffe_lrp.errors import LimitError
from caffe_lrp.machine.crew import Crew, require_threads


def refuse_thread(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that starts no more threads once ``number`` have been asked for."""
    asked: list[threading.Thread] = []
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        asked.append(thread)
        if len(asked) >= number:
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)


def running(name: str) -> int:
    """How many threads of a crew run; threads of other tests may end at any time."""
    return sum(thread.name.startswith(name) for thread in threading.enumerate())


def test_all_threads_run_before_there_is_work() -> None:
    crew = Crew(3, "complete")
    assert running("complete") == 3
    assert [crew.submit(pow, 2, power).result() for power in range(5)] == [1, 2, 4, 8, 16]
    crew.join()
    assert running("complete") == 0


def test_a_crew_that_is_not_complete_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_thread(3, monkeypatch)
    with pytest.raises(RuntimeError, match="can't start"):
        Crew(4, "incomplete")
    assert running("incomplete") == 0


def test_threads_that_the_libraries_could_not_start_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    require_threads(2)
    refuse_thread(2, monkeypatch)
    with pytest.raises(LimitError, match=r"no more threads can be started; .*--threads 1"):
        require_threads(2)


def test_work_of_a_lost_thread_is_not_waited_for() -> None:
    crew, never_done = Crew(1), Future[None]()
    crew.require_all()
    crew.join()  # its thread has ended
    with pytest.raises(LimitError, match="a thread of the run was lost: not enough memory"):
        crew.wait([never_done])


def test_work_that_was_dropped_is_not_waited_for() -> None:
    crew, is_free = Crew(1), threading.Event()
    begun, dropped = crew.submit(is_free.wait), crew.submit(is_free.is_set)
    crew.dismiss()
    is_free.set()
    crew.wait([begun, dropped])
    assert dropped.cancelled()
    crew.join()
    crew.wait([begun])


def test_a_dismissed_crew_misses_no_thread_that_had_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caffe_lrp.machine.crew.SECONDS_DEAF", 0.01)
    crew, has_begun, is_free = Crew(2), threading.Event(), threading.Event()

    def work() -> None:
        has_begun.set()
        is_free.wait()

    begun = crew.submit(work)
    has_begun.wait()
    crew.dismiss()
    while all(thread.is_alive() for thread in crew._threads):
        time.sleep(0.01)
    threading.Timer(0.1, is_free.set).start()
    crew.wait([begun])
    crew.join()
    with pytest.raises(LimitError, match="a thread of the run was lost"):
        crew.wait([Future[None]()])
