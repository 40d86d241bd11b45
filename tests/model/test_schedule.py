"""How images are dealt out to workers within a budget of memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe_lrp.engines.base import Footprint
from caffe_lrp.model.schedule import Limits, Schedule, plan_schedule, readable, remarks_on

#: A megabyte an image, and a hundred for the rest.
FOOTPRINT = Footprint(fixed=100, per_image=1)


def plan(
    images: int, threads: int, room: int = 10_000, batch_size: int | None = None
) -> tuple[int, int, tuple[int, ...]]:
    """Batch size, workers and their threads where ``room`` images fit into memory."""
    schedule = plan_schedule(FOOTPRINT, images, Limits(threads, FOOTPRINT.fixed + room, batch_size))
    assert sum(schedule.threads_of_workers) == threads
    return schedule.batch_size, schedule.workers, schedule.threads_of_workers


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_the_batches_of_a_long_list_do_not_depend_on_the_threads(threads: int) -> None:
    assert plan(10_000, threads)[0] == 16


def test_a_short_list_is_dealt_out_evenly() -> None:
    assert plan(40, threads=2) == (10, 2, (1, 1))
    assert plan(3, threads=2) == (2, 2, (1, 1))
    assert plan(100, threads=16) == (7, 15, (2,) + (1,) * 14)


def test_threads_that_get_no_image_share_the_work_of_layers() -> None:
    assert plan(1, threads=4) == (1, 1, (4,))
    assert plan(3, threads=8) == (1, 3, (3, 3, 2))
    assert plan(0, threads=4) == (16, 1, (4,))


def test_batches_become_smaller_before_workers_become_fewer() -> None:
    assert plan(10_000, threads=4, room=64) == (16, 4, (1, 1, 1, 1))
    assert plan(10_000, threads=4, room=63) == (8, 4, (1, 1, 1, 1))
    assert plan(10_000, threads=4, room=16) == (4, 4, (1, 1, 1, 1))
    assert plan(10_000, threads=4, room=15) == (4, 3, (2, 1, 1))
    assert plan(10_000, threads=4, room=3) == (1, 3, (2, 1, 1))
    assert plan(10_000, threads=4, room=0) == (1, 1, (4,))


def test_a_batch_size_that_is_wanted_is_taken_if_it_fits() -> None:
    assert plan(100, threads=2, batch_size=40) == (40, 2, (1, 1))
    assert plan(100, threads=2, room=50, batch_size=40) == (40, 1, (2,))
    assert plan(100, threads=2, room=30, batch_size=40) == (30, 1, (2,))
    assert plan(3, threads=2, batch_size=1) == (1, 2, (1, 1))


@given(st.integers(0, 500), st.integers(1, 64), st.integers(-5, 300), st.integers(0, 40))
def test_the_budget_is_kept_and_all_threads_have_work(
    images: int, threads: int, room: int, batch_size: int
) -> None:
    size, workers, shares = plan(images, threads, room, batch_size or None)
    assert size * workers <= max(1, room)
    assert 1 <= workers <= threads
    assert min(shares) >= 1
    assert workers <= max(1, images)


def test_order_is_kept_by_one_worker_with_single_images() -> None:
    schedule = plan_schedule(FOOTPRINT, 100, Limits(4, 1000, 8), keeps_order=True)
    assert (schedule.batch_size, schedule.workers, schedule.threads_of_workers) == (1, 1, (4,))


def remarks(room: int, batch_size: int | None = None) -> list[str]:
    megabytes = Footprint(fixed=100 * 2**20, per_image=2**20)
    limits = Limits(2, (100 + room) * 2**20, batch_size)
    return remarks_on(plan_schedule(megabytes, 1000, limits), megabytes, limits)


def test_there_is_no_note_about_defaults() -> None:
    assert remarks(room=1) == []
    assert remarks(room=100, batch_size=10) == []


def test_smaller_batches_than_wanted_are_noted() -> None:
    (remark,) = remarks(room=10, batch_size=20)
    assert remark == (
        "batches of 20 images take about 120 MB, more than the 110 MB that may be used (--memory); using "
        "batches of 10"
    )


def test_an_image_that_does_not_fit_is_noted_and_tried() -> None:
    (remark,) = remarks(room=0, batch_size=20)
    assert remark.startswith("a single image takes about 101 MB, more than the 100 MB that may be used")


def test_pipelines_are_bounded_by_workers_and_batch_size() -> None:
    schedule = Schedule(batch_size=5, workers=3, threads=4)
    assert (schedule.most_batches, schedule.most_results) == (6, 30)


def test_there_are_no_more_threads_around_the_engine_than_images_and_maps() -> None:
    assert (Schedule(1, 1, 16).loaders, Schedule(1, 1, 16).writers) == (2, 2)
    assert (Schedule(16, 16, 16).loaders, Schedule(16, 16, 16).writers) == (8, 16)
    assert Schedule(16, 1, 4, keeps_order=True).writers == 1


def test_amounts_of_memory_are_readable() -> None:
    assert [readable(size * 2**20) for size in (0, 800, 1536)] == ["0 MB", "800 MB", "1.5 GB"]
