#!/usr/bin/env python3
"""Breaks one line of the package at a time, and checks whether the tests notice.

The tables in ``scripts/mutants/`` have mistakes that a person could make: a sign, an edge, a missing case.
Each is made in a copy of the checkout, which is never changed. In the copy, the tests run that are most
likely to fail (``targets``), and if they pass, all tests. A mutation has survived if all tests pass: then a
test is missing.

At the end, the tests that failed run in a copy without a mutation: a test that fails there as well has not
noticed anything. A complete run takes ten minutes, and half an hour more for every mutation that survives its
targets. The exit code is 1 if a mutation has survived, or, with ``--check``, if a row of the tables does not
fit the package.
"""

import argparse
import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "mutants"))

from mutants_entry import Mutation
from mutants_table import AREAS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "caffe_lrp"
#: Files that are not copied.
_LEFT_OUT = (
    ".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info", "build", "dist", "demo_output",
    "*.part",
)  # fmt: skip
_TESTS_OF_TABLES = "tests/scripts/test_mutations.py"
#: Longest time in seconds: a mutation can make a loop endless, which counts as noticed.
_SECONDS_FOR_TARGETS, _SECONDS_FOR_ALL = 1200.0, 5400.0
#: Exit codes of pytest: all tests passed; some failed; it ended early, because some could not be loaded.
_PASSED, _FAILED, _INTERRUPTED = range(3)
_FIRST_FAILURE = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


class MutationError(Exception):
    """A row of the tables does not fit the package, or the tests give no result."""


@dataclass(frozen=True)
class Place:
    """The place of a mutation: the file, relative to the root, and the line, from 1."""

    file: str
    line: int


@dataclass(frozen=True)
class Trial:
    """How tests ended.

    Attributes
    ----------
    noticed
        The first test that failed, or why no test ended; empty if all passed.
    output
        The end of pytest's output.
    """

    noticed: str
    output: str


@dataclass(frozen=True)
class Result:
    """The result of one mutation.

    Attributes
    ----------
    number
        Its number, from 1, in all areas together.
    area, breaks, file, line
        The mutation and its place.
    caught_by
        The tests that noticed it, ``targets`` or ``all``; empty if none did.
    first_failure
        The first test that noticed it.
    seconds
        The time it took.
    """

    number: int
    area: str
    breaks: str
    file: str
    line: int
    caught_by: str
    first_failure: str
    seconds: float

    def __str__(self) -> str:
        what = f"caught by {self.caught_by}: {self.first_failure}" if self.caught_by else "SURVIVED"
        return f"{self.number:2} {self.area:8} {what} ({self.breaks}; {self.seconds:.0f} s)"


def numbered() -> dict[int, tuple[str, Mutation]]:
    """Return all mutations and their areas, by number."""
    rows = [(area, row) for area, rows in AREAS.items() for row in rows]
    return dict(enumerate(rows, start=1))


def find_place(root: Path, mutation: Mutation) -> Place:
    """Return the place of a mutation.

    Raises
    ------
    MutationError
        Its text does not occur exactly once, or the result is not valid Python.
    """
    found = []
    for path in sorted((root / PACKAGE).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(re.escape(mutation.text), text):
            found.append((path, text.count("\n", 0, match.start()) + 1))
    if len(found) != 1:
        places = ", ".join(f"{path.relative_to(root)}:{line}" for path, line in found) or "nowhere"
        raise MutationError(f"'{mutation.text}' must occur exactly once in {PACKAGE}, found: {places}")
    path, line = found[0]
    try:
        ast.parse(path.read_text(encoding="utf-8").replace(mutation.text, mutation.instead))
    except SyntaxError as error:
        raise MutationError(f"'{mutation.instead}' in {path}: is no Python: {error}") from error
    return Place(str(path.relative_to(root)), line)


def faults_of(root: Path, mutation: Mutation) -> Iterator[str]:
    """Yield the faults of a row of the tables as texts."""
    if mutation.text == mutation.instead or "\n" in mutation.text + mutation.instead:
        yield f"'{mutation.text}' must become another text, and both must be of one line"
    missing = [target for target in mutation.targets if not (root / "tests" / target).exists()]
    if missing or not mutation.targets:
        yield f"'{mutation.text}': there are no tests {', '.join(missing) or 'named'}"
    try:
        find_place(root, mutation)
    except MutationError as error:
        yield str(error)


def copy_checkout(root: Path, copy: Path) -> None:
    """Copy the package, the tests, and everything that tests read to ``copy``."""
    shutil.copytree(root, copy, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT_OUT))


def break_line(copy: Path, mutation: Mutation) -> Place:
    """Make a mutation in a copy of the checkout; return its place."""
    place = find_place(copy, mutation)
    path = copy / place.file
    content = path.read_text(encoding="utf-8").replace(mutation.text, mutation.instead)
    path.write_text(content, encoding="utf-8")
    return place


def run_tests(copy: Path, tests: Sequence[str], kernels: Path, seconds: float) -> Trial:
    """Run tests of a copy, up to the first that fails.

    Parameters
    ----------
    copy
        Folder of the tests and the package.
    tests
        Files and folders, relative to ``tests``; none: all.
    kernels
        Folder for compiled kernels, shared by all copies: kernels of other sources have other names.
    seconds
        Longest time.

    Raises
    ------
    MutationError
        Pytest ran no test.
    """
    # Before installed packages, also for processes that tests start.
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "CAFFE_LRP_CACHE_DIR": str(kernels),
    }
    # One test file checks the tables, which do not fit a mutated package.
    words = [
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "--tb=line",
        f"--ignore={_TESTS_OF_TABLES}",
    ]
    process = subprocess.Popen(
        [sys.executable, *words, *(f"tests/{test}" for test in tests)],
        cwd=copy,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return Trial(f"none ended within {seconds:.0f} seconds", output[-4000:])
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    failure = _FIRST_FAILURE.search(output)
    if process.returncode == _PASSED:
        return Trial("", output[-4000:])
    if process.returncode < 0:
        return Trial(f"the tests ended by signal {-process.returncode}", output[-4000:])
    if process.returncode in (_FAILED, _INTERRUPTED) and failure:
        return Trial(failure[1], output[-4000:])
    raise MutationError(f"pytest ended with {process.returncode}:\n{output[-4000:]}")


def require_copy(copy: Path) -> None:
    """MutationError unless tests import the package of the copy."""
    code = f"import {PACKAGE}; print({PACKAGE}.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd="/", env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()
    if not found.startswith(f"{copy}/"):
        raise MutationError(f"tests of {copy} would import {found}")


def require_sound_tests(results: Sequence[Result], folder: Path) -> None:
    """MutationError if a test that noticed a mutation also fails without one."""
    noticed = [result.first_failure.removeprefix("tests/") for result in results if result.caught_by]
    tests = sorted({test for test in noticed if (ROOT / "tests" / test.partition("::")[0]).exists()})
    if tests:
        copy_checkout(ROOT, folder / "sound")
        trial = run_tests(folder / "sound", tests, folder / "kernels", _SECONDS_FOR_ALL)
        shutil.rmtree(folder / "sound", ignore_errors=True)
        if trial.noticed:
            raise MutationError(f"without any fault, a test fails: {trial.noticed}\n{trial.output}")


def try_out(number: int, folder: Path, *, targets_only: bool) -> Result:
    """Make a mutation, and check whether tests notice.

    Parameters
    ----------
    number
        Number of the mutation.
    folder
        Folder for the copy and compiled kernels.
    targets_only
        Whether to run only its targets.
    """
    area, mutation = numbered()[number]
    copy = folder / f"copy-{number}"
    copy_checkout(ROOT, copy)
    require_copy(copy)
    place = break_line(copy, mutation)
    started = time.monotonic()
    caught_by = "targets"
    trial = run_tests(copy, mutation.targets, folder / "kernels", _SECONDS_FOR_TARGETS)
    if not trial.noticed and not targets_only:
        caught_by = "all"
        trial = run_tests(copy, (), folder / "kernels", _SECONDS_FOR_ALL)
    shutil.rmtree(copy, ignore_errors=True)
    return Result(
        number=number,
        area=area,
        breaks=mutation.breaks,
        file=place.file,
        line=place.line,
        caught_by=caught_by if trial.noticed else "",
        first_failure=trial.noticed,
        seconds=round(time.monotonic() - started, 1),
    )


def check() -> int:
    """Print the faults of the tables; return 1 if there are any."""
    rows = numbered()
    faults = [f"{number}: {fault}" for number, (_, row) in rows.items() for fault in faults_of(ROOT, row)]
    print(*faults, sep="\n", end="\n" if faults else "", file=sys.stderr)
    print(f"{len(rows)} mutations, {len(faults)} faults of the tables")
    return 1 if faults else 0


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description="Break one line of the package at a time, and run its tests."
    )
    parser.add_argument(
        "--only", type=int, metavar="N", action="append", help="only this mutation; may be given again"
    )
    parser.add_argument("--targets-only", action="store_true", help="never run all tests")
    parser.add_argument("--list", action="store_true", help="name all mutations, and run nothing")
    parser.add_argument("--check", action="store_true", help="check that all can be made, and run nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to this file")
    options = parser.parse_args(given)
    unknown = set(options.only or ()) - numbered().keys()
    if unknown:
        parser.error(f"there is no mutation {min(unknown)}; --list names all")
    return options


def main(given: Sequence[str] | None = None) -> int:
    """Run, list or check the mutations; return 1 if a mutation has survived, or cannot be made."""
    options = arguments(given)
    rows = numbered()
    if options.check:
        return check()
    if options.list:
        for number, (area, row) in rows.items():
            place = find_place(ROOT, row)
            print(f"{number:2} {area:8} {place.file}:{place.line}: {row.breaks}")
        return 0
    numbers = options.only or list(rows)
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="caffe-lrp-mutations-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        (folder / "kernels").mkdir(mode=0o700)
        try:
            for number in numbers:
                results.append(try_out(number, folder, targets_only=options.targets_only))
                print(results[-1], flush=True)
                if options.json:
                    content = json.dumps([asdict(result) for result in results], indent=1, ensure_ascii=False)
                    options.json.write_text(content + "\n", encoding="utf-8")
            require_sound_tests(results, folder)
        except MutationError as error:
            print(error, file=sys.stderr)
            return 1
    survived = [result.number for result in results if not result.caught_by]
    print(f"{len(results)} mutations, {len(survived)} survived{': ' if survived else ''}", end="")
    print(*survived, sep=", ")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
