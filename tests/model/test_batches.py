"""Which jobs run together."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from caffe_lrp.batch.job import HeatmapJob
from caffe_lrp.model.batches import Batch, form_batches
from caffe_lrp.relevance.target import Target


def jobs(images: str, failing: str = "") -> list[HeatmapJob]:
    """A job for every letter, which is its image."""
    return [
        HeatmapJob(line, line, Path(name), Target(0), 0, f"out/{line}", "gone" if name in failing else "")
        for line, name in enumerate(images, start=1)
    ]


def images_of(images: str, size: int) -> list[str]:
    """Images of every batch in a row."""
    return ["".join(in_batch(batch)) for batch in form_batches(jobs(images), size)]


def in_batch(batch: Batch[HeatmapJob]) -> list[str]:
    """The images of a batch; all requests for one are about it."""
    keys = [{str(batch.requests[place].image_key) for place in places} for places in batch.requests_of]
    assert all(len(key) == 1 for key in keys)
    return [image for (image,) in keys]


def test_all_batches_but_the_last_one_are_full() -> None:
    assert images_of("abcdefg", 3) == ["abc", "def", "g"]
    assert images_of("", 3) == []


def test_lines_of_one_image_share_its_place() -> None:
    (first, second) = form_batches(jobs("aaabacc"), 2)
    assert in_batch(first) == ["a", "b"]
    assert first.requests_of == ((0, 1, 2, 4), (3,))
    assert [job.line for job in first.requests] == [1, 2, 3, 4, 5]
    assert second.requests_of == ((0, 1),)


def test_requests_for_one_image_can_be_limited() -> None:
    batches = form_batches(jobs("aaaaabc"), 2, most_requests=3)
    assert [in_batch(batch) for batch in batches] == [["a"], ["a", "b"], ["c"]]


def test_an_image_that_comes_again_in_a_later_batch_is_loaded_again() -> None:
    assert images_of("abca", 2) == ["ab", "ca"]


def test_failed_requests_keep_their_place() -> None:
    good, bad = form_batches(jobs("abcd"), 2), form_batches(jobs("abcd", failing="bc"), 2)
    assert [in_batch(batch) for batch in good] == [in_batch(batch) for batch in bad]


@given(st.text("abcdef", max_size=30), st.integers(1, 5))
def test_every_job_is_in_one_batch_in_order(images: str, size: int) -> None:
    batches = form_batches(jobs(images), size)
    assert [job.line for batch in batches for job in batch.requests] == list(range(1, len(images) + 1))
    for batch in batches:
        found = in_batch(batch)
        assert 1 <= len(found) == len(set(found)) <= size
        assert sorted(place for places in batch.requests_of for place in places) == [
            *range(len(batch.requests))
        ]
