"""Things that are computed once, whoever asks for them."""

import multiprocessing
import threading

import numpy as np

from caffe_lrp.compute.once import shared_method, shared_property
from caffe_lrp.kernels.ahead import tracing
from caffe_lrp.kernels.elementwise import absolute


class Slow:
    """Something that takes until it may end."""

    def __init__(self) -> None:
        self.has_begun, self.may_end = threading.Event(), threading.Event()
        self.calls: list[object] = []

    @shared_property
    def number(self) -> int:
        self.calls.append("number")
        self.has_begun.set()
        self.may_end.wait()
        return 42

    @shared_method
    def twice(self, number: int) -> int:
        self.calls.append(number)
        return 2 * number


def test_a_method_is_computed_once_for_every_argument() -> None:
    first, second = Slow(), Slow()
    assert [first.twice(number) for number in (3, 4, 3, 4)] == [6, 8, 6, 8]
    assert second.twice(3) == 6
    assert (first.calls, second.calls) == ([3, 4], [3])


def test_a_fork_waits_for_no_thread_that_it_does_not_have() -> None:
    slow = Slow()
    thread = threading.Thread(target=lambda: slow.number)
    thread.start()
    slow.has_begun.wait()
    forking = multiprocessing.get_context("fork")
    receiver, sender = forking.Pipe(duplex=False)
    child = forking.Process(target=lambda: sender.send((slow.number, slow.twice(3), slow.calls)))
    threading.Timer(0.1, slow.may_end.set).start()
    child.start()
    try:
        assert receiver.poll(60)
        assert receiver.recv() == (42, 6, ["number", 3])
    finally:
        child.kill()
        child.join()
        thread.join()


class _Doubled:
    def __init__(self) -> None:
        self.times = 0

    @shared_property
    def once(self) -> float:
        return self.of(1)

    @shared_method
    def of(self, value: int) -> float:
        self.times += 1
        numbers = np.full(1, -2 * value, np.float32)
        absolute(numbers, numbers)
        return float(numbers[0])


def test_what_comes_of_kernels_that_do_nothing_is_not_kept() -> None:
    doubled = _Doubled()
    with tracing(lambda name: None):
        assert (doubled.once, doubled.once, doubled.of(1), doubled.times) == (-2, -2, -2, 3)
    assert (doubled.once, doubled.once, doubled.of(1), doubled.times) == (2, 2, 2, 4)
