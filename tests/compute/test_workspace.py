"""Memory that is used again, and threads that share work."""

import threading
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from caffe_lrp.compute.workspace import Floats, Workspace

#: Numbers in an array that is worth keeping.
MANY = 64 * 1024
SHAPE = (2, 8, 64, 64)


def address(array: Floats) -> int:
    found: int = array.__array_interface__["data"][0]
    return found


# --- Memory -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(7,), (2, 5), (2, 3, 4), (3, 5, 2, 7), SHAPE, (MANY,), (2, 3, 1, MANY), (0, 4)]
)
def test_arrays_have_the_shape_asked_for(shape: tuple[int, ...]) -> None:
    array = Workspace().empty(shape)
    assert array.shape == shape
    assert array.dtype == np.float32
    array[...] = 1


def test_images_have_their_channels_last_in_memory() -> None:
    assert Workspace().empty(SHAPE).transpose(0, 2, 3, 1).flags.c_contiguous
    assert Workspace().empty((2, 3, 4)).flags.c_contiguous


@pytest.mark.parametrize("shape", [(2, 64, 64, 8), (1, 1, 1, 3)])
def test_pixels_are_contiguous_as_they_are(shape: tuple[int, int, int, int]) -> None:
    pixels = Workspace().pixels(shape)
    assert pixels.shape == shape
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize("shape", [(2, 5), SHAPE])
def test_zeros_and_copies_lie_in_memory_as_all_arrays(shape: tuple[int, ...]) -> None:
    workspace = Workspace()
    workspace.empty(shape)[...] = 7  # what is used again
    original = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    nothing, copy = workspace.zeros(shape), workspace.copy(original)
    assert not nothing.any()
    np.testing.assert_array_equal(copy, original)
    assert nothing.strides == copy.strides == Workspace().empty(shape).strides
    assert not np.shares_memory(copy, original)


def test_memory_nobody_refers_to_is_used_again() -> None:
    workspace = Workspace()
    first = workspace.empty((MANY,))
    place = address(first)
    del first
    assert address(workspace.empty(SHAPE)) == place


def test_memory_serves_smaller_arrays_but_not_tiny_ones() -> None:
    workspace = Workspace()
    place = address(workspace.empty((MANY,)))
    assert address(workspace.empty((MANY // 2 + 1,))) == place
    assert address(workspace.empty((MANY,))) == place
    tiny = workspace.empty((MANY // 4 - 1,))
    assert address(tiny) != place


def test_the_smallest_block_that_is_large_enough_is_taken() -> None:
    workspace = Workspace()
    arrays = [workspace.empty((MANY * size,)) for size in (4, 2, 3)]
    places = [address(array) for array in arrays]
    del arrays
    assert address(workspace.empty((2 * MANY - 5,))) == places[1]


def test_arrays_in_use_never_share_memory() -> None:
    workspace, arrays = Workspace(), []
    for number in range(40):
        array = workspace.empty((MANY // (1 + number % 4),))
        array[:] = number
        arrays.append((number, array))
        if number % 3 == 2:
            arrays.pop(number % len(arrays))
    assert all((array == number).all() for number, array in arrays)


@pytest.mark.parametrize(
    "view",
    [
        lambda array: array[1:2],
        lambda array: array.transpose(0, 2, 3, 1).reshape(-1)[5:],
        lambda array: array.transpose(0, 2, 3, 1)[..., 3:],
        lambda array: [array[0, 0]],
        lambda array: memoryview(array.transpose(0, 2, 3, 1)),
        lambda array: np.broadcast_to(array[..., :1], (3, *SHAPE)),
    ],
    ids=["item", "flat", "channels", "in a list", "buffer", "broadcast"],
)
def test_a_view_keeps_its_memory(view: Callable[[Floats], object]) -> None:
    workspace = Workspace()
    array = workspace.empty(SHAPE)
    array[...] = 7
    place, kept = address(array), view(array)
    del array
    other = workspace.empty(SHAPE)
    other[...] = 0
    assert address(other) != place
    del kept, other
    taken = {address(one) for one in [workspace.empty(SHAPE), workspace.empty(SHAPE)]}
    assert place in taken or len(taken) == 1


def test_a_view_still_holds_its_numbers_after_other_work() -> None:
    workspace = Workspace()
    array = workspace.empty(SHAPE)
    array[...] = 7
    kept = array[1]
    del array
    for _ in range(5):
        workspace.empty(SHAPE)[...] = 0
    assert (kept == 7).all()


def peak(work: Callable[[], object]) -> int:
    """Most bytes in use at once while ``work`` runs."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_held_stays_near_what_is_needed_at_once() -> None:
    workspace = Workspace()

    def work() -> None:
        for number in range(1, 60):
            workspace.empty((MANY * number,))[:] = 0

    # The largest is 59·MANY numbers; the one before is given up for it.
    assert peak(work) < 1.2 * 4 * 59 * MANY


def test_the_same_work_again_takes_no_new_memory() -> None:
    workspace = Workspace()

    def work() -> None:
        first = workspace.empty((3 * MANY,))
        second = workspace.empty((2 * MANY,))
        del first
        third = workspace.empty((5 * MANY,))
        del second, third

    work()
    work()
    assert peak(work) < 4 * MANY


def test_what_was_forgotten_stays_with_those_who_use_it() -> None:
    workspace = Workspace()
    array = workspace.empty(SHAPE)
    array[...] = 7
    workspace.forget()
    other = workspace.empty(SHAPE)
    other[...] = 0
    assert (array == 7).all()


def test_forgotten_memory_is_handed_back() -> None:
    tracemalloc.start()
    try:
        workspace = Workspace()
        workspace.empty((10 * MANY,))
        held = tracemalloc.get_traced_memory()[0]
        workspace.forget()
        assert held - tracemalloc.get_traced_memory()[0] >= 4 * 10 * MANY
    finally:
        tracemalloc.stop()


def test_leaving_a_workspace_hands_memory_back() -> None:
    tracemalloc.start()
    try:
        with Workspace() as workspace:
            workspace.empty((10 * MANY,))
            held = tracemalloc.get_traced_memory()[0]
        assert held - tracemalloc.get_traced_memory()[0] >= 4 * 10 * MANY
    finally:
        tracemalloc.stop()


# --- Threads ------------------------------------------------------------------------------------------


def ranges_of(workspace: Workspace, count: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    lock = threading.Lock()

    def work(first: int, last: int) -> None:
        with lock:
            found.append((first, last))

    workspace.share(work, count)
    return sorted(found)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 100])
@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_shares_cover_everything_exactly_once(threads: int, count: int) -> None:
    with Workspace(threads) as workspace:
        found = ranges_of(workspace, count)
    assert [number for first, last in found for number in range(first, last)] == list(range(count))
    assert len(found) == min(threads, count)
    sizes = [last - first for first, last in found]
    assert max(sizes) - min(sizes) <= 1


def test_threads_are_not_bothered_for_little() -> None:
    sizes = {}
    with Workspace(3) as workspace:
        for size in (0, 1000, 60_000, 70_000, 90_000, 100_000, 10_000_000):
            found: list[tuple[int, int]] = []
            workspace.share(lambda first, last, found=found: found.append((first, last)), 17, size)  # type: ignore[misc]
            sizes[size] = len(found)
            assert [n for first, last in sorted(found) for n in range(first, last)] == list(range(17))
    assert list(sizes.values()) == [1, 1, 1, 2, 2, 3, 3]


def test_a_share_of_nothing_does_nothing() -> None:
    with Workspace(3) as workspace:
        assert [number for first, last in ranges_of(workspace, 0) for number in range(first, last)] == []


def test_shares_run_at_the_same_time_and_one_of_them_in_the_calling_thread() -> None:
    barrier, threads = threading.Barrier(3), set()

    def work(first: int, last: int) -> None:
        del first, last
        threads.add(threading.get_ident())
        barrier.wait(timeout=60)

    with Workspace(3) as workspace:
        workspace.share(work, 17)
    assert len(threads) == 3
    assert threading.get_ident() in threads


def test_one_thread_works_in_the_calling_one() -> None:
    found = []
    with Workspace() as workspace:
        workspace.share(lambda first, last: found.append((first, last, threading.get_ident())), 9)
    assert found == [(0, 9, threading.get_ident())]


@pytest.mark.parametrize(("count", "size", "step"), [(10, 80 * 1024, 4), (7, 280 * 1024, 1), (9, 9, 9)])
def test_pieces_hold_as_many_numbers_as_suit_the_cache(count: int, size: int, step: int) -> None:
    found: list[tuple[int, int]] = []
    with Workspace() as workspace:
        workspace.share_in_pieces(lambda first, last: found.append((first, last)), count, size)
    assert found == [(first, min(count, first + step)) for first in range(0, count, step)]


def test_threads_share_pieces_too() -> None:
    found: list[tuple[int, int]] = []
    with Workspace(2) as workspace:
        workspace.share_in_pieces(lambda first, last: found.append((first, last)), 10, 10 * 8 * 1024)
    assert sorted(found) == [(0, 4), (4, 5), (5, 9), (9, 10)]


def test_a_checkpoint_is_asked_before_memory_is_given_and_work_is_shared() -> None:
    calls: list[str] = []
    with Workspace(checkpoint=lambda: calls.append("asked")) as workspace:
        workspace.empty(SHAPE)
        workspace.share(lambda first, last: calls.append(f"{first} to {last}"), 3)
    assert calls == ["asked", "asked", "0 to 3"]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_failure_arrives_after_the_others_have_finished(failing: int) -> None:
    finished = []

    def work(first: int, last: int) -> None:
        if first <= failing < last:
            raise ValueError(f"share {failing}")
        time.sleep(0.05)
        finished.append(first)

    with Workspace(3) as workspace:
        with pytest.raises(ValueError, match=f"share {failing}"):
            workspace.share(work, 3)
        assert sorted(finished) == [number for number in range(3) if number != failing]
        assert len(ranges_of(workspace, 3)) == 3


def test_failures_of_several_shares_leave_none_running() -> None:
    running = []

    def work(first: int, last: int) -> None:
        del last
        running.append(first)
        try:
            if first < 2:
                raise ValueError(f"share {first}")
            time.sleep(0.2)
        finally:
            running.remove(first)

    with Workspace(4) as workspace:
        with pytest.raises(ValueError, match="share"):
            workspace.share(work, 4)
        assert running == []


def test_what_is_computed_directly_has_the_same_memory_threads_and_checkpoint() -> None:
    calls: list[str] = []
    with Workspace(3, lambda: calls.append("asked"), "winograd") as workspace:
        direct = workspace.directly()
        assert (direct.convolution, workspace.convolution) == ("direct", "winograd")
        first = address(direct.empty(SHAPE))
        assert address(workspace.empty(SHAPE)) == first
        assert len(ranges_of(direct, 3)) == 3
        workspace.forget()
        assert direct._blocks == []
    assert calls == ["asked"] * 3


def test_threads_end_with_the_workspace() -> None:
    before = threading.active_count()
    with Workspace(4) as workspace:
        ranges_of(workspace, 8)
        assert threading.active_count() > before
    assert threading.active_count() == before


def test_threads_end_after_an_error() -> None:
    before = threading.active_count()
    with pytest.raises(ValueError, match="outside"), Workspace(4) as workspace:
        ranges_of(workspace, 8)
        raise ValueError("outside")
    assert threading.active_count() == before
