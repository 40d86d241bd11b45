"""Memory that several loaders share."""

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caffe_lrp.imaging.budget import MemoryBudget
from caffe_lrp.imaging.decode import decode
from caffe_lrp.imaging.preprocess import Preprocessor
from caffe_lrp.model.schedule import Limits, Schedule, memory_for_images
from caffe_lrp.quirks import REFERENCE

PATIENCE = 60.0
MEGABYTE = 2**20


def test_no_more_is_taken_at_a_time_than_there_is_and_all_come_to_an_end() -> None:
    budget, lock = MemoryBudget(100), threading.Lock()
    held: dict[int, int] = {}
    alone: list[bool] = []
    peaks: list[int] = []

    def load(number: int) -> None:
        first, second = (5, 30) if number % 4 else (5, 500)
        with budget.share(Path(str(number))) as take:
            take(first)
            take(second)
            with lock:
                held[number] = first + second
                alone.append(second < 500 or len(held) == 1)
                peaks.append(sum(held.values()))
            threading.Event().wait(0.002)
            with lock:
                del held[number]

    threads = [threading.Thread(target=load, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert all(alone)
    assert max(peak for peak in peaks if peak < 505) <= 100


def test_two_that_both_want_more_than_is_left_do_not_wait_for_each_other() -> None:
    budget, both = MemoryBudget(100), threading.Barrier(2)

    def load() -> None:
        with budget.share(Path("image")) as take:
            take(50)
            both.wait(PATIENCE)
            take(60)

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_an_image_beyond_the_budget_is_reported_once_and_memory_is_freed_after_a_fault() -> None:
    told: list[tuple[str, int]] = []
    budget = MemoryBudget(100, lambda source, needed: told.append((str(source), needed)))

    def load(name: str, *sizes: int) -> None:
        with budget.share(Path(name)) as take:
            for size in sizes:
                take(size)
            raise ValueError("broken")

    for name, sizes in (("a", (10, 50)), ("b", (10, 200)), ("c", (10, 200)), ("d", (900,)), ("e", (100,))):
        with pytest.raises(ValueError, match="broken"):
            load(name, *sizes)
    assert told == [("b", 210), ("d", 900)]


@pytest.mark.parametrize(
    ("kind", "options", "each"),
    [
        ("JPEG", {}, 4),
        ("JPEG", {"progressive": True}, 12),
        ("PNG", {}, 4),
        ("GIF", {}, 5),
        ("JPEG2000", {}, 24),
    ],
)
def test_the_memory_for_an_image_is_taken_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: dict[str, bool], each: int
) -> None:
    path, taken = tmp_path / "image", []
    mode = "P" if kind == "GIF" else "RGB"
    Image.new(mode, (300, 200)).save(path, kind, **options)

    def stop(size: int) -> None:
        taken.append(size)
        if len(taken) == 2:
            raise KeyError("not decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("decoded"))
    with pytest.raises(Exception, match="not decoded"):
        decode(path, take=stop)
    assert taken == [path.stat().st_size, 300 * 200 * (each + 24)]


def test_a_numpy_file_takes_its_numbers_from_the_budget(tmp_path: Path) -> None:
    taken: list[int] = []

    class Noted(MemoryBudget):
        def _take(self, share: object, size: int, source: object) -> None:
            taken.append(size)

    path = tmp_path / "levels.npy"
    np.save(path, np.ones((3, 20, 30), np.uint8))
    mean = np.zeros((3, 16, 16), np.float32)
    Preprocessor(16, 16, 16, mean, REFERENCE, budget=Noted())(path)
    assert taken == [path.stat().st_size, 5 * 3 * 20 * 30]


def test_images_get_the_memory_that_the_schedule_leaves_but_enough_for_ordinary_photos() -> None:
    schedule = Schedule(memory=300 * MEGABYTE)
    assert memory_for_images(schedule, Limits(2, 1000 * MEGABYTE)) == 700 * MEGABYTE
    assert memory_for_images(schedule, Limits(2, 350 * MEGABYTE)) == 128 * MEGABYTE


def test_nothing_is_waited_for_without_a_limit() -> None:
    budget = MemoryBudget()
    taken: list[str] = []
    with budget.share(Path("a")) as first, budget.share(Path("b")) as second:
        first(2**60)
        taken.append("a")
        second(2**60)
        taken.append("b")
    assert taken == ["a", "b"]
