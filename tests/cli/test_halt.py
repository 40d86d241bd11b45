"""Signals: what they raise, what they leave alone, and that nothing they meet makes them fail."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from command_line import DATA, files_below
from run_builders import all_of, command, copies, finish, journal_of, records, wait_for_maps

from caffe_lrp.cli import main as cli
from caffe_lrp.cli.halt import Halt
from caffe_lrp.errors import ExitCode
from caffe_lrp.kernels.ahead import Compilation, Compiled

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def halt() -> Iterator[Halt]:
    with Halt().listening() as halt:
        yield halt


def storm(count: int = 100) -> None:
    for turn in range(count):
        signal.raise_signal(NUMBERS[turn % 3])


@pytest.mark.parametrize("number", NUMBERS)
def test_only_the_first_of_many_signals_raises(halt: Halt, number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    storm()
    assert (halt.requested, halt.at_once, halt.is_unwinding) == (True, True, True)


def test_during_batches_the_first_signal_requests_and_the_second_stops_and_none_raises(
    halt: Halt, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", os.fdopen(os.dup(2), "w"))
    with halt.finishing():
        assert not halt.is_requested()
        signal.raise_signal(signal.SIGTERM)
        assert (halt.is_requested(), halt.at_once) == (True, False)
        storm()
        assert halt.at_once
    storm()
    assert not halt.is_unwinding
    assert capfd.readouterr().err.count("finishing the work in progress") == 1


def test_a_second_signal_raises_while_nobody_asks_for_requests(halt: Halt) -> None:
    """As while a cluster is connected to, which takes its time."""
    with halt.finishing():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        storm()


def test_what_is_too_short_to_be_left_half_done_hears_no_signal(halt: Halt) -> None:
    with halt.concluding():
        storm()
    assert not halt.is_unwinding


def test_ignored_signals_stay_ignored_and_others_get_back_who_heard_them() -> None:
    before = [signal.signal(number, signal.SIG_IGN) for number in NUMBERS[1:]]
    heard = signal.getsignal(signal.SIGINT)
    try:
        with Halt().listening() as halt:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
            assert not halt.requested
        assert [signal.getsignal(number) for number in NUMBERS] == [heard, signal.SIG_IGN, signal.SIG_IGN]
    finally:
        for number, handler in zip(NUMBERS[1:], before, strict=True):
            signal.signal(number, handler)


def test_a_program_may_call_the_command_line_in_any_thread(capsys: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor(1) as other:
        assert other.submit(cli.main, ["status", "nowhere"]).result() == ExitCode.OUTPUT
    assert "nowhere" in capsys.readouterr().err
    assert cli.main(["status", "nowhere"]) == ExitCode.OUTPUT


def closed_pipe() -> Any:
    ours, its = os.pipe()
    os.close(ours)
    return os.fdopen(its, "w")


def full_pipe() -> Any:
    _, its = os.pipe()
    os.set_blocking(its, False)
    with suppress(BlockingIOError):
        while True:
            os.write(its, bytes(4096))
    os.set_blocking(its, True)
    return os.fdopen(its, "w")


@pytest.mark.parametrize(
    "stderr",
    [closed_pipe, full_pipe, lambda: open("/dev/full", "w"), lambda: None],  # noqa: PTH123, SIM115
)
def test_a_signal_meets_any_stream(
    stderr: Callable[[], Any], halt: Halt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr())
    with halt.finishing():
        signal.raise_signal(signal.SIGINT)
    assert halt.requested


def test_a_second_signal_ends_a_write_that_nobody_reads(halt: Halt) -> None:
    whole, stream = os.dup(1), full_pipe()
    os.dup2(stream.fileno(), 1)
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        for _ in range(2):
            time.sleep(0.1)
            signal.pthread_kill(main, signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    try:
        with halt.finishing():
            halt.is_requested()
            thread.start()
            assert os.write(1, b"a line") == 6
            thread.join()
    finally:
        os.dup2(whole, 1)
        os.close(whole)
    assert halt.at_once


def test_an_error_that_a_library_makes_of_an_interruption_is_an_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(_: object) -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("numpy.core.multiarray failed to import") from None
        return 0

    monkeypatch.setattr("caffe_lrp.cli.commands.status.run", failing)
    assert cli.main(["status", "."]) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == "caffe-lrp: interrupted: files written so far are complete\n"


def test_an_interrupted_warm_up_is_no_internal_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: Compilation) -> Iterator[Compiled]:
        signal.raise_signal(signal.SIGINT)
        yield Compiled(1, 2, 0.1, 0.1)

    monkeypatch.setattr(Compilation, "steps", interrupted)
    assert cli.main(["warmup"]) == ExitCode.INTERRUPTED
    assert "internal error" not in capsys.readouterr().err


def assert_nothing_is_lost(out: Path) -> None:
    """Every map is in the journal, every entry has its map, and nothing is half written."""
    done = sorted(Path(record["stem"]).name for record in records(journal_of(out)))
    maps = [name for name in files_below(out) if name.endswith("_rawhm.txt")]
    assert sorted(Path(name).name.removesuffix("_rawhm.txt") for name in maps) == done
    assert not [name for name in files_below(out) if name.endswith(".tmp")]


@pytest.mark.slow
def test_a_pipe_that_ends_with_the_signal_costs_nothing(tmp_path: Path) -> None:
    """Ctrl-C on ``caffe-lrp … 2>&1 | tee log`` ends tee, too."""
    path, out = all_of(copies(tmp_path / "images", 80)), tmp_path / "o"
    ours, its = os.pipe()
    process = subprocess.Popen(command(path, out, "-v"), cwd=DATA, stdout=its, stderr=its)
    os.close(its)
    wait_for_maps(out, 2)
    os.close(ours)
    process.send_signal(signal.SIGINT)
    assert process.wait() == ExitCode.INTERRUPTED
    assert_nothing_is_lost(out)
    assert (out / "out/summary.json").is_file()
    assert finish(path, out).returncode == 0


@pytest.mark.slow
def test_a_storm_of_signals_costs_nothing(tmp_path: Path) -> None:
    """From the middle of a run to the end of Python."""
    path, out = all_of(copies(tmp_path / "images", 80)), tmp_path / "o"
    process = subprocess.Popen(
        command(path, out), cwd=DATA, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wait_for_maps(out, 2)
    while process.poll() is None:
        for number in NUMBERS:
            process.send_signal(number)
        time.sleep(0.001)
    said, _ = process.communicate()
    assert process.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in said
    assert "left; run the same command again to continue" in said
    assert_nothing_is_lost(out)
