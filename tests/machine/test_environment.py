"""What is said, and with which exit code, where the environment is at fault: limits, variables, streams."""

import errno
import io
import os
import resource
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import numba
import pytest

from caffe_lrp.batch.journal import Journal
from caffe_lrp.batch.records import Header
from caffe_lrp.batch.shards import Shard
from caffe_lrp.cli import main as cli
from caffe_lrp.engines.base import Footprint
from caffe_lrp.errors import ExitCode, ImageError, LimitError, UsageError
from caffe_lrp.files.atomic import why_unwritable
from caffe_lrp.files.reading import why_unreadable
from caffe_lrp.kernels._jit import refuse_disabled_compiler
from caffe_lrp.machine.environment import (
    ADDRESS_SPACE_TO_COMPILE,
    environment_fault,
    how_to_free_memory,
    limit_behind,
    refuse_bad_variables,
    require_address_space,
    stack_of_thread,
)
from caffe_lrp.model.schedule import Limits, Schedule, remarks_on, within_address_space

DEPLOY = Path(__file__).parents[1] / "data" / "conformance" / "models"
GIGABYTE = 2**30
HEADER = Header("0123abcd", Shard(), jobs=3, first=0, last=3, outputs=("npy",), description={})


def raised_in(module: str, error: Exception) -> Exception:
    """``error``, as it comes out of a function of ``module``."""
    library = types.ModuleType(module)
    exec("def fail(error):\n    raise error", library.__dict__)
    with pytest.raises(type(error)) as caught:
        library.fail(error)
    return caught.value


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, int]]:
    """Limits of the process, as tests like to have them; there are no others."""
    found: dict[int, int] = {}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (found.get(kind, resource.RLIM_INFINITY), -1))
    yield found


@pytest.mark.parametrize(
    ("module", "error", "variables", "named"),
    [
        (
            "google.protobuf.internal",
            ImportError("no '_message'"),
            {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "cpp"},
            "'cpp'",
        ),
        ("tqdm.std", ValueError("could not convert string to float: 'abc'"), {"TQDM_Y": "abc"}, "TQDM_Y"),
        ("tqdm.std", TypeError("'str' object cannot be interpreted"), {"TQDM_LOCK": "3"}, "TQDM_LOCK is '3'"),
        ("numba.core", ValueError("NUMBA_Z must be a number"), {"NUMBA_Z": "x1"}, "NUMBA_Z"),
    ],
)
def test_a_variable_with_which_a_library_fails_is_named(
    module: str, error: Exception, variables: dict[str, str], named: str
) -> None:
    fault = environment_fault(raised_in(module, error), {"HOME": "/home/abc"} | variables)
    assert named in fault
    assert fault.endswith("; unset it")


@pytest.mark.parametrize(
    ("module", "error", "variables"),
    [
        ("numba.core", TypeError("cannot unify"), {"NUMBA_NUM_THREADS": "4"}),
        ("numpy.lib", ValueError("shapes (1,) and (2,) differ"), {"OMP_NUM_THREADS": "1"}),
        ("numpy.core", ImportError("no such name", name="caffe_lrp.nett"), {"OMP_NUM_THREADS": "4"}),
        ("caffe_lrp.net", ValueError("abc"), {"TQDM_Y": "abc"}),
        ("tqdm.std", ValueError(""), {"TQDM_Y": ""}),
        ("caffe_lrp.net", ImportError("no such name", name="caffe_lrp.nett"), {}),
        ("caffe_lrp.net", RuntimeError("dictionary changed"), {}),
    ],
)
def test_our_own_faults_are_not_blamed_on_the_environment(
    module: str, error: Exception, variables: dict[str, str]
) -> None:
    assert environment_fault(raised_in(module, error), variables) == ""


@pytest.mark.parametrize(
    ("error", "kind", "limit", "named"),
    [
        (MemoryError(), resource.RLIMIT_AS, 800_000 * 1024, "781 MB of address space (ulimit -v)"),
        (ImportError("x.so: failed to map segment"), resource.RLIMIT_AS, GIGABYTE, "1024 MB"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), resource.RLIMIT_AS, GIGABYTE, "ulimit -v"),
        (OSError("Could not find/load shared object file 'x.so'"), resource.RLIMIT_AS, GIGABYTE, "1024 MB"),
        (RuntimeError("can't start new thread"), resource.RLIMIT_NPROC, 60, "60 processes and threads"),
        (OSError(errno.EMFILE, "Too many open files"), resource.RLIMIT_NOFILE, 20, "20 open files"),
    ],
)  # fmt: skip
def test_a_limit_that_is_reached_is_named(
    limits: dict[int, int], error: Exception, kind: int, limit: int, named: str
) -> None:
    limits[kind] = limit
    assert named in environment_fault(error)


def test_what_is_wrong_is_said_where_there_is_no_limit(limits: dict[int, int]) -> None:
    assert environment_fault(MemoryError()).startswith("not enough memory; free some")
    assert "use --threads 1" in environment_fault(RuntimeError("can't start new thread"))
    missing = ImportError("libGL.so.1: cannot open shared object file", name="cv2")
    assert environment_fault(missing).startswith("the Python package 'cv2' cannot be loaded: libGL.so.1")


def test_lack_of_memory_is_blamed_on_no_variable(limits: dict[int, int]) -> None:
    error = raised_in("numpy.core", MemoryError("Unable to allocate 1.49 GiB for an array, OMP_NUM_THREADS"))
    assert environment_fault(error, {"OMP_NUM_THREADS": "1"}).startswith("not enough memory")


def test_kernels_that_may_not_be_compiled_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_disabled_compiler()
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    with pytest.raises(UsageError, match=r"NUMBA_DISABLE_JIT is set, .*; unset it$"):
        refuse_disabled_compiler()


def test_faults_of_files_name_limits_too(limits: dict[int, int], tmp_path: Path) -> None:
    limits[resource.RLIMIT_NOFILE] = 20
    assert why_unreadable(OSError(errno.EMFILE, "Too many"), tmp_path) == (
        "Too many; this process is limited to 20 open files (ulimit -n); raise that limit"
    )
    assert why_unwritable(OSError(errno.EFBIG, "File too large")).endswith("(ulimit -f)")


def test_the_libraries_are_not_loaded_into_too_little_address_space(limits: dict[int, int]) -> None:
    require_address_space(threads=64)
    limits |= {resource.RLIMIT_AS: 710 * 2**20, resource.RLIMIT_STACK: 8 * 2**20}
    require_address_space(threads=2)
    needs = r"710 MB of address space \(ulimit -v\), but needs at least"
    with pytest.raises(LimitError, match=f"{needs} 850 MB; raise"):
        require_address_space(threads=2, besides=ADDRESS_SPACE_TO_COMPILE)
    with pytest.raises(LimitError, match=f"{needs} 796 MB; raise"):
        require_address_space(threads=14)


def test_the_stack_of_a_thread_follows_its_limit(limits: dict[int, int]) -> None:
    assert stack_of_thread() == 2 * 2**20
    limits[resource.RLIMIT_STACK] = 64 * 2**20
    assert stack_of_thread() == 64 * 2**20


def test_the_limit_behind_an_error_is_found_in_what_it_was_raised_from(limits: dict[int, int]) -> None:
    limits |= {resource.RLIMIT_AS: GIGABYTE, resource.RLIMIT_NOFILE: 20, resource.RLIMIT_FSIZE: 4096}
    for cause, named in (
        (MemoryError(), "1024 MB of address space (ulimit -v)"),
        (OSError("out of memory when reading image file"), "(ulimit -v)"),
        (RuntimeError("std::bad_alloc"), "(ulimit -v)"),
        (RuntimeError("can't start new thread"), "no more threads"),
        (OSError(errno.EMFILE, "Too many open files"), "20 open files (ulimit -n)"),
        (OSError(errno.EFBIG, "File too large"), "files of up to 4,096 bytes (ulimit -f)"),
        (OSError(errno.ENOENT, "No such file: out of memory.png"), ""),
        (ValueError("out of memory"), ""),
    ):
        error = ImageError("a.png: cannot be used")
        error.__cause__ = cause
        found = limit_behind(error, memory_is_limited=True)
        assert named in found
        assert bool(found) == bool(named)
    error.__cause__ = MemoryError()
    assert limit_behind(error, memory_is_limited=False) == ""


def test_a_net_that_does_not_fit_is_told_apart_from_a_limit(limits: dict[int, int]) -> None:
    assert how_to_free_memory() == "free memory"
    limits[resource.RLIMIT_AS] = GIGABYTE
    assert how_to_free_memory().startswith("raise the limit of 1024 MB on the address space")


def test_variables_with_which_opencv_ends_the_process_are_refused() -> None:
    variables = {"PATH": os.environ["PATH"], "OPENCV_LOG_LEVEL": "abc"}
    refuse_bad_variables(variables)
    with pytest.raises(UsageError, match=r"^the environment variable OPENCV_TRACE is 'abc', .*; unset it$"):
        refuse_bad_variables(variables | {"OPENCV_TRACE": "abc"})


def test_a_run_that_would_crash_for_want_of_address_space_has_fewer_threads_or_is_refused() -> None:
    """A thread takes 64 MB and its stack: for 3 that compute, load and write each, and 2 besides, 792 MB."""
    stack = 8 * 2**20
    schedule = Schedule(batch_size=2, workers=2, threads=3, memory=350 * 2**20)
    enough = (792 + 85 + 100) * 2**20
    assert within_address_space(schedule, None, stack) == schedule
    assert within_address_space(schedule, enough, stack) == schedule
    fewer = within_address_space(schedule, enough - 1, stack)
    assert (fewer.threads, fewer.workers) == (2, 2)
    assert fewer.notes[0].endswith("leaves 977 MB, so the run uses 2 threads, not 3")
    assert remarks_on(fewer, Footprint(0, 1), Limits(3, GIGABYTE)) == list(fewer.notes)
    assert within_address_space(schedule, enough - 1, stack // 2).threads == 3
    assert within_address_space(schedule, 550 * 2**20, stack).threads_of_workers == (1,)
    with pytest.raises(LimitError, match=r"\(ulimit -v\) leaves 540 MB, but about 545 MB are needed; raise"):
        within_address_space(schedule, 540 * 2**20, stack)


def full() -> io.TextIOWrapper:
    return io.TextIOWrapper(Path("/dev/full").open("wb"), encoding="utf-8")


def closed_pipe() -> io.TextIOWrapper:
    ours, its = os.pipe()
    os.close(ours)
    return io.TextIOWrapper(os.fdopen(its, "wb"), encoding="utf-8")


COMMANDS = [
    ["--help"],
    ["--version"],
    ["inspect", "--json", str(DEPLOY / "vgg.prototxt")],
    ["status", "{root}"],
]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("stdout", "code", "said"),
    [
        (full, ExitCode.OUTPUT, "standard output cannot be written: No space left on device"),
        (lambda: None, ExitCode.OUTPUT, "standard output cannot be written: it is closed"),
        (closed_pipe, ExitCode.DONE, ""),
    ],
)
def test_results_that_cannot_be_printed_are_no_success(
    command: list[str], stdout: Callable[[], io.TextIOWrapper | None], code: int, said: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    Journal(tmp_path, HEADER).__exit__(None, None, None)
    monkeypatch.setattr(sys, "stdout", stdout())
    assert cli.main([part.format(root=tmp_path) for part in command]) == code
    assert said in capsys.readouterr().err


def test_wrong_usage_stays_wrong_usage_where_nothing_can_be_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert cli.main([]) == ExitCode.USAGE
    assert "it is closed" in capsys.readouterr().err


def test_an_error_of_the_environment_asks_for_no_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("caffe_lrp.cli.commands.status.run", failing)
    assert cli.main(["status", "."]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert said.startswith("caffe-lrp: error: no more threads can be started")
    assert "report" not in said
