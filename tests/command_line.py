"""The command line, in this process or as one of its own, and the files that it is run with.

Nearly all tests of the command line run it here, where everything is loaded: a process of its own takes a
second to begin. `run_process` is for what only a process shows: signals, closed streams, the environment,
and what is loaded when.
"""

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import IO

from caffe_lrp.cli.main import demo_main, main

DATA = Path(__file__).parent / "data" / "conformance"
CONFIG = DATA / "configs" / "vgg_2_eps1_beta1_aux4.txt"

Result = subprocess.CompletedProcess[str]


def run(*arguments: object, cwd: Path = DATA) -> Result:
    """Run the command in this process, by default in the folder of the conformance data."""
    return _run_here(main, arguments, cwd)


def run_demo(*arguments: object, cwd: Path = DATA) -> Result:
    """Run the drop-in for the reference's program in this process."""
    return _run_here(demo_main, arguments, cwd)


def run_process(
    *arguments: object, cwd: Path = DATA, launcher: tuple[str, ...] = (), env: Mapping[str, str] | None = None
) -> Result:
    """Run the command as a user would, with all that belongs to a process of its own.

    Parameters
    ----------
    arguments
        Of the command.
    cwd
        The current folder of the process.
    launcher
        What Python is given to start the command with, if it is not to start it right away.
    env
        Variables that the environment has besides ours.
    """
    command = [sys.executable, *launcher, "-m", "caffe_lrp", *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "PYTHONUTF8": "1", **(env or {})},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


def _run_here(program: Callable[[list[str]], int], arguments: tuple[object, ...], cwd: Path) -> Result:
    """Run one of the programs as a process would, and leave everything as it was."""
    words = list(map(str, arguments))
    with ExitStack() as stack:
        stack.enter_context(_in_folder(cwd))
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(_environment_kept())
        output, complaints = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        with _standard_streams(output, complaints):
            code = program(words)
        return subprocess.CompletedProcess(words, code, *map(_text_of, (output, complaints)))


@contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _environment_kept() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        if dict(os.environ) != before:
            os.environ.clear()
            os.environ.update(before)


@contextmanager
def _standard_streams(output: IO[bytes], complaints: IO[bytes]) -> Iterator[None]:
    """Lead what is printed into files, within the block; what libraries written in C print, too."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with ExitStack() as stack:
        for number, file in ((1, output), (2, complaints)):
            stack.enter_context(_descriptor_leads_to(number, file.fileno()))
        said = stack.enter_context(open(1, "w", encoding="utf-8", closefd=False))
        complained = stack.enter_context(
            open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
        )
        with redirect_stdout(said), redirect_stderr(complained):
            yield


@contextmanager
def _descriptor_leads_to(number: int, other: int) -> Iterator[None]:
    before = os.dup(number)
    os.dup2(other, number)
    try:
        yield
    finally:
        os.dup2(before, number)
        os.close(before)


def _text_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode().replace("\r\n", "\n")


def listing(folder: Path, *lines: str) -> Path:
    path = folder / "list.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def config(folder: Path, **changes: object) -> Path:
    """The config of the conformance case with some values changed."""
    lines = CONFIG.read_text().split("\n")
    for key, value in changes.items():
        lines[lines.index(key) + 1] = str(value)
    path = folder / "config.txt"
    path.write_text("\n".join(lines))
    return path


def files_below(folder: Path) -> list[str]:
    """Files of results; journals, leases and summaries are tested with the runs that go on."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(
        str(path.relative_to(folder)) for path in files if path.suffix not in {".json", ".jsonl", ".lease"}
    )
