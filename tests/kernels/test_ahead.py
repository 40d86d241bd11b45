"""Kernels compiled ahead: by several processes, by this one where there are none, and only what is needed."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from test_jit import output, start, stored

from caffe_lrp.kernels import ahead
from caffe_lrp.kernels._jit import types
from caffe_lrp.kernels._kernel import KERNELS, helper, kernel
from caffe_lrp.kernels._types import stated_types
from caffe_lrp.kernels.ahead import Compilation, all_kernels, recall, remember, tracing, uncompiled
from caffe_lrp.kernels.blobs import Blob2
from caffe_lrp.kernels.cache import CacheFolder
from caffe_lrp.kernels.elementwise import absolute, tanh
from caffe_lrp.kernels.render import count_visible

NAMES = ("elementwise.absolute", "elementwise.tanh", "elementwise.sigmoid")

#: Compiles three small kernels; prints how far it was each time that changed, and what was left undone.
COMPILE = """
import sys
from caffe_lrp.kernels import ahead
{before}
ahead._WORTH_A_PROCESS = 0.1
names = {names!r}
counts = []
with ahead.Compilation({processes}) as compilation:
    compilation.add(names)
    for step in compilation.steps():
        if not counts or counts[-1] != step.done:
            counts.append(step.done)
    count = len(compilation._processes)
from caffe_lrp.kernels._kernel import KERNELS
here = sum(len(KERNELS[name].stats.cache_misses) for name in names)
print(count, counts[0], counts[-1], step.total, here, len(ahead.unstored(names)), step.is_kept)
"""


def compiled(folder: Path, processes: int, before: str = "") -> str:
    code = COMPILE.format(before=before, names=NAMES, processes=processes)
    return output(start(folder, code)).strip()


@pytest.mark.slow
def test_processes_compile_and_store_what_this_one_then_need_not(tmp_path: Path) -> None:
    assert compiled(tmp_path, 2) == "2 0 3 3 0 0 True"
    assert sorted(path.name.partition("-")[0] for path in stored(tmp_path)) == sorted(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "before", "started"),
    [
        (1, "", 0),
        (2, 'sys.executable = "/nowhere/python"', 0),
        (2, 'sys.executable = "/opt/a program that embeds it"', 0),
        (2, 'ahead.TARGET = "another CPU"', 2),
        (2, 'ahead._PROGRAM = "raise SystemExit(1)"', 2),
    ],
    ids=["alone", "cannot be started", "another program", "of another mind", "ending at once"],
)
def test_what_no_other_process_compiles_is_compiled_here(
    tmp_path: Path, processes: int, before: str, started: int
) -> None:
    assert (
        compiled(tmp_path, processes, before.replace("{{", "{").replace("}}", "}"))
        == f"{started} 0 3 3 3 0 True"
    )


@pytest.mark.slow
def test_without_a_place_to_store_kernels_no_process_is_started(tmp_path: Path) -> None:
    before = "import dataclasses; ahead.CACHE_FOLDER = dataclasses.replace(ahead.CACHE_FOLDER, folder=None)"
    assert compiled(tmp_path, 2, before) == "0 0 3 3 3 0 False"


@pytest.mark.slow
def test_what_could_not_be_stored_is_told_from_what_could(tmp_path: Path) -> None:
    full = "from caffe_lrp.kernels import cache; cache.replace_trusted = lambda *_: open('/dev/full/x')"
    assert compiled(tmp_path, 1, full) == "0 0 3 3 3 3 False"


@pytest.mark.slow
def test_processes_run_nothing_from_the_current_folder(tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    for name in ("caffe_lrp", "numba", "numpy", "json"):
        (evil / name).mkdir(parents=True)
        (evil / name / "__init__.py").write_text(f"open({str(tmp_path / 'was run')!r}, 'w')")
    assert compiled(tmp_path / "cache", 2, f"import os; os.chdir({str(evil)!r})") == "2 0 3 3 0 0 True"
    assert not (tmp_path / "was run").exists()


def test_what_a_purpose_needs_is_remembered_beside_the_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "CACHE_FOLDER", CacheFolder(tmp_path))
    assert recall("heatmaps") is None
    remember("heatmaps", [*NAMES, "elementwise.gone"])
    assert (recall("heatmaps"), recall("tables")) == (NAMES, None)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    assert recall("heatmaps") is None
    monkeypatch.setattr(ahead, "CACHE_FOLDER", CacheFolder(None))
    remember("heatmaps", NAMES)
    assert recall("heatmaps") is None


@pytest.fixture
def sleeping(monkeypatch: pytest.MonkeyPatch) -> Iterator[list["subprocess.Popen[str]"]]:
    """Processes that never answer, and kernels that are never there."""
    started: list[subprocess.Popen[str]] = []
    really = subprocess.Popen

    def sleep(*_: object, **given: object) -> "subprocess.Popen[str]":
        started.append(really([sys.executable, "-c", "import time; time.sleep(600)"], **given))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", sleep)
    monkeypatch.setattr(ahead, "uncompiled", tuple)
    yield started
    for process in started:
        process.kill()


def test_whoever_waits_no_longer_ends_the_processes(sleeping: list["subprocess.Popen[str]"]) -> None:
    with Compilation(2) as compilation:
        compilation.add(["winograd.convolve_tiles", "convolution.convolve"])
        steps = compilation.steps(0.01)
        assert [next(steps).done for _ in range(3)] == [0, 0, 0]
        while len(sleeping) < 2:
            time.sleep(0.01)
    assert [process.wait(60) != 0 for process in sleeping] == [True, True]


def test_compiling_begins_while_what_is_needed_is_still_searched_for(
    sleeping: list["subprocess.Popen[str]"],
) -> None:
    may_end = threading.Event()
    ended: list[str] = []
    with Compilation(2) as compilation:

        def search() -> None:
            compilation.add(["winograd.convolve_tiles"])
            may_end.wait()
            with pytest.raises(RuntimeError):
                compilation.add(["convolution.convolve"])
            ended.append("as nobody waits any more")

        compilation.search(search)
        step = next(compilation.steps(0.01))
        threading.Timer(0.2, may_end.set).start()
    assert (step.total, step.is_counted, step.is_over) == (1, False, False)
    assert [process.wait(60) != 0 for process in sleeping] == [True] * len(sleeping)
    assert ended == ["as nobody waits any more"]


def test_a_process_is_started_only_for_what_takes_longer_than_starting_it(
    sleeping: list["subprocess.Popen[str]"],
) -> None:
    with Compilation(8) as compilation:
        compilation.add(NAMES)
        assert not sleeping
        compilation.add(["winograd.convolve_tiles"])
        assert len(compilation._threads) == 3


def test_time_left_follows_from_what_kernels_take_and_from_how_slow_the_machine_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    compilation = Compilation(1)
    compilation._asked = dict.fromkeys(["winograd.convolve_tiles", "passes.fill_rows"])
    whole = ahead._COSTS["winograd.convolve_tiles"] + ahead._COSTS["passes.fill_rows"]
    state = compilation._state()
    assert (state.done, state.total, state.seconds, state.is_over) == (0, 2, 0.0, False)
    assert state.seconds_left == pytest.approx(whole + ahead._SECONDS_TO_START)
    now = 2 * ahead._COSTS["winograd.convolve_tiles"] + ahead._SECONDS_TO_START
    compilation._begun = compilation._done = {"winograd.convolve_tiles"}
    assert compilation._state().seconds_left == pytest.approx(2 * ahead._COSTS["passes.fill_rows"])


def test_kernels_that_are_traced_do_nothing_in_this_thread_and_something_in_others() -> None:
    numbers = np.array([-1, -2], np.float32)
    noted: list[str] = []
    with tracing(noted.append):
        absolute(numbers, numbers)
        tanh(numbers, numbers)
        assert count_visible(np.ones((3, 4, 5), np.float32), 0.5, 9) == 0
        assert numbers.tolist() == [-1, -2]
        other = threading.Thread(target=absolute, args=(numbers, numbers))
        other.start()
        other.join()
    assert numbers.tolist() == [1, 2]
    assert noted == ["elementwise.absolute", "elementwise.tanh", "render.count_visible"]
    absolute(-numbers, numbers)
    assert numbers.tolist() == [1, 2]
    assert count_visible(np.ones((3, 4, 5), np.float32), 0.5, 9) == 9


def test_names_of_kernels_are_those_of_modules_and_functions() -> None:
    names = all_kernels()
    assert set(NAMES) < set(names)
    assert all(KERNELS[name].name == name for name in names)
    assert uncompiled(["elementwise.absolute"] * 2) in {(), ("elementwise.absolute",)}


def test_a_kernel_that_does_not_state_its_types_is_refused() -> None:
    def unclear(numbers: Blob2, other: np.ndarray[Any, Any]) -> None:
        """Do nothing."""

    with pytest.raises(TypeError, match="the annotation of 'other'"):
        stated_types(unclear)


def test_a_helper_is_part_of_kernels_and_from_python_what_is_written() -> None:
    @helper
    def doubled(value: Any) -> Any:
        return 2 * value

    @kernel
    def one_more(value: int) -> Any:
        return doubled(value) + 1

    assert one_more(20) == 41
    assert list(map(doubled, [1, "ab"])) == [2, "abab"]


@pytest.mark.parametrize("array", [list[np.float32], np.ndarray[tuple[int, ...], np.dtype[np.float32]]])
def test_arrays_are_understood_as_every_numpy_spells_them(array: Any) -> None:
    """From NumPy 2.5 on, `NDArray` is an alias with one parameter on Python 3.12 and later."""

    def one(numbers: Annotated[array, 2]) -> None:
        del numbers

    assert stated_types(one) == (types.Array(types.float32, 2, "C"),)
