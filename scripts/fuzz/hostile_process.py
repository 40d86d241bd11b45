"""A watched run of caffe-lrp in a separate process: limits, streams, disturbances, and its end.

Most runs are forks of this process, which has already loaded everything, so they need only milliseconds. Runs
whose start matters begin a new Python.
"""

import contextlib
import os
import re
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from hostile_scene import TERMINATIONS, process_command, process_environment

import caffe_lrp
import caffe_lrp.cli.main

#: Most memory a run may take, in bytes.
MOST_MEMORY = 2**30

#: Address space of a run in addition to that of this process, so that one run cannot starve the others.
_MOST_ADDRESS_SPACE = 4 * 2**30

#: A run that first has to load everything may take longer, especially on a busy machine.
_FRESH_IS_SLOWER = 3

#: User for runs in which rights matter, if this process is root.
NOBODY = 65534

_PACKAGE = str(Path(caffe_lrp.__file__).parent)
_LONGEST_QUOTE = 1500
_BAD_WORDS = re.compile(
    r"Traceback \(most recent|please report|caffe-lrp: .{0,9}internal err|Exception ignored|Fatal Python"
)


@dataclass(frozen=True)
class Disturbance:
    """A disturbance of a run.

    Attributes
    ----------
    seconds
        Its time after the start of the run.
    act
        Causes it; gets the number of the process.
    number
        The signal that ``act`` sends; 0: none.
    """

    seconds: float
    act: Callable[[int], object]
    number: int = 0


def sending(seconds: float, number: int) -> Disturbance:
    """Return the disturbance that sends a signal."""
    return Disturbance(seconds, lambda process: os.kill(process, number), number)


@dataclass(frozen=True)
class Attempt:
    """A command line, and the conditions under which it runs.

    Attributes
    ----------
    arguments
        Arguments of ``caffe-lrp``.
    environment
        Variables that differ from those of this process.
    limits
        Limits of the system (``resource.RLIMIT_…``) and their values.
    streams
        What is wrong with standard output and standard error: number of the stream -> "closed", "full" or
        "broken".
    disturbances
        Disturbances during the run, in order.
    is_fresh
        Whether a new Python is started.
    is_nobody
        Whether it runs as a user without rights.
    standard_input
        Content of standard input, at most 64 KB.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[int, int] = field(default_factory=dict)
    streams: Mapping[int, str] = field(default_factory=dict)
    disturbances: tuple[Disturbance, ...] = ()
    is_fresh: bool = False
    is_nobody: bool = False
    standard_input: bytes = b""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    code
        Exit code; minus the number of the signal, if one killed it.
    text
        Its output.
    seconds, peak
        Its time, and its memory in bytes.
    is_hung
        Whether it had to be killed.
    computed
        Processor seconds that it took.
    """

    code: int
    text: str
    seconds: float
    peak: int
    is_hung: bool = False
    computed: float = 0.0


def run_attempt(attempt: Attempt, folder: Path, console: Path, most_seconds: float) -> Outcome:
    """Run a command line in a scene; its output goes to files in ``console``."""
    ready, tell = os.pipe()
    console.mkdir(exist_ok=True)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            os.close(ready)
            _become(attempt, folder, console, tell)
        finally:
            os._exit(70)
    os.close(tell)
    with contextlib.suppress(OSError):
        os.read(ready, 1)  # it begins now, or cannot
    os.close(ready)
    started = time.perf_counter()
    allowed = most_seconds * (_FRESH_IS_SLOWER if attempt.is_fresh else 1)
    is_hung = _watch(child, attempt.disturbances, started, allowed)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - started
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    text = "".join((console / name).read_text(errors="replace") for name in ("1", "2"))
    computed = usage.ru_utime + usage.ru_stime
    return Outcome(code, text, seconds, usage.ru_maxrss * 1024, is_hung, computed)


def _watch(child: int, disturbances: tuple[Disturbance, ...], started: float, most_seconds: float) -> bool:
    """Wait for a process, disturb it, and kill it if it takes too long; return whether it did."""
    handle = os.pidfd_open(child)
    try:
        for disturbance in disturbances:
            if _has_ended(handle, started + disturbance.seconds - time.perf_counter()):
                return False
            with contextlib.suppress(OSError):
                disturbance.act(child)
        if _has_ended(handle, started + most_seconds - time.perf_counter()):
            return False
        os.kill(child, signal.SIGKILL)
        return True
    finally:
        os.close(handle)


def _has_ended(handle: int, seconds: float) -> bool:
    return bool(select.select([handle], [], [], max(0.0, seconds))[0])


def address_space() -> int:
    """Return the bytes of address space with which a fork of this process begins."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


# In the child


def _become(attempt: Attempt, folder: Path, console: Path, tell: int) -> None:
    """Turn this process into the requested run; does not return."""
    os.chdir(folder)
    for number in TERMINATIONS:
        signal.signal(number, signal.SIG_DFL if attempt.is_fresh else _as_at_start)
    _lead_streams(attempt, console)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    environment = process_environment(**attempt.environment) if attempt.is_fresh else attempt.environment
    if attempt.is_nobody and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    own = {} if attempt.is_fresh else {resource.RLIMIT_AS: address_space() + _MOST_ADDRESS_SPACE}
    for kind, value in (own | dict(attempt.limits)).items():
        resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))
    if attempt.is_fresh:
        os.set_inheritable(tell, False)
        words = process_command(attempt.arguments)
        os.execve(words[0], words, environment)
    os.environ.update(environment)
    os._exit(_work(attempt, tell))


def _as_at_start(number: int, frame: FrameType | None) -> None:
    """Handle a signal like Python without a handler, but only while caffe-lrp is running.

    Signals right before or right after that are ignored.
    """
    while frame is not None and not frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _lead_streams(attempt: Attempt, console: Path) -> None:
    """Redirect the standard streams as the attempt requires, both descriptors and Python's objects."""
    reader, writer = os.pipe()
    os.write(writer, attempt.standard_input)
    os.close(writer)
    os.dup2(reader, 0)
    for number in (1, 2):
        target = os.open(console / str(number), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
        how = attempt.streams.get(number)
        if how == "full":
            target = os.open("/dev/full", os.O_WRONLY)
        elif how == "broken":
            unread, target = os.pipe()
            os.close(unread)
        os.dup2(target, number)
        if how == "closed":
            os.close(number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - open until the end
    for number, name in ((1, "stdout"), (2, "stderr")):
        is_closed = attempt.streams.get(number) == "closed"
        stream = None if is_closed else open(number, "w", closefd=False)  # noqa: SIM115
        vars(sys)[name] = stream


def _work(attempt: Attempt, tell: int) -> int:
    """Run the command line like a newly started Python, and return the exit code."""
    code = 1
    try:
        os.write(tell, b"!")
        os.close(tell)
        ended = caffe_lrp.cli.main.main(list(attempt.arguments))
        code = ended if isinstance(ended, int) else 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - Python would print it, too
        traceback.print_exc()
    with contextlib.suppress(BaseException):
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    return code


# Judging


#: A forked run may not react to signals for this long.
_SECONDS_TO_LISTEN = 0.05


def faults_of(attempt: Attempt, outcome: Outcome, documented: frozenset[int]) -> list[str]:
    """Return the faults of a run's end as texts."""
    found = []
    sent = {disturbance.number for disturbance in attempt.disturbances} - {0}
    text = _without_start(outcome.text) if attempt.is_fresh and signal.SIGINT in sent else outcome.text
    if outcome.is_hung:
        found.append(f"takes more than {outcome.seconds:.0f} seconds, {outcome.computed:.1f} of computing")
    elif outcome.code < 0:
        is_early = attempt.is_fresh or outcome.seconds < _SECONDS_TO_LISTEN
        is_early = is_early and not text.strip() and -outcome.code in sent
        if not is_early and outcome.code != -signal.SIGKILL:
            found.append(f"was ended by {signal.Signals(-outcome.code).name}")
        elif outcome.code == -signal.SIGKILL and signal.SIGKILL not in sent:
            found.append("was killed, perhaps for lack of memory")
    elif outcome.code not in documented:
        found.append(f"ended with the exit code {outcome.code}, which is not in the manual")
    elif outcome.code and not outcome.text.strip() and not attempt.streams:
        found.append(f"ended {outcome.code} without a message")
    if outcome.peak > MOST_MEMORY:
        found.append(f"took {outcome.peak / 2**20:.0f} MB")
    bad = _BAD_WORDS.search(text)
    if bad:
        found.append(f"says '{bad[0]}'")
    return found


def _without_start(text: str) -> str:
    """Return the output, without a KeyboardInterrupt during the start of Python."""
    return text if _PACKAGE in text or "KeyboardInterrupt" not in text else ""


def quoted(text: str) -> str:
    """Return the output of a run, shortened in the middle."""
    if len(text) <= _LONGEST_QUOTE:
        return text
    return f"{text[: _LONGEST_QUOTE // 2]}\n[…]\n{text[-_LONGEST_QUOTE // 2 :]}"
