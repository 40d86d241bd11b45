#!/usr/bin/env python3
"""Runs the tests with the lowest dependencies that the package declares, and with the newest on all Pythons.

The lowest are the lower bounds in pyproject.toml, on the oldest Python for which all of them have wheels. The
newest are chosen by pip, on every Python that is found on PATH or in pyenv. Each combination has its own
virtual environment, in which the package is installed as a user would install it. The tests run in a copy of
the checkout, so nothing is written to the checkout. Arguments after `--` are passed to pytest:
`scripts/test_dependencies.py -- tests/kernels`.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PASSED, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes of this script."""

EXTRA = "test"
"""The extra to install; it includes the other extras that tests need."""

LOWEST, NEWEST = "lowest", "newest"
PASS, NO_WHEELS, NOT_FOUND = "passed", "no wheels", "not found"
"""Results that are not failures if something else passes."""

NOTHING_COLLECTED = 5
"""Exit code of pytest."""

Version = tuple[int, int]

ABOUT_PYTHON = """
import ensurepip, sys, venv
print(sys.implementation.name, *sys.version_info[:3], sys.executable)
"""
ABOUT_PACKAGES = """
import sys
from importlib.metadata import version
print(*(f"{name} {version(name)}" for name in sys.argv[1:]), sep=", ")
"""


class InstallationError(Exception):
    """A virtual environment cannot be made, or the package cannot be installed in it."""


@dataclass(frozen=True)
class Project:
    """The information of pyproject.toml about the package.

    Attributes
    ----------
    minimum
        The oldest Python that can install it.
    pythons
        The Pythons that it declares to support.
    bounds
        Name of a dependency -> its lower bound; those of the package first, then those of the tests.
    """

    minimum: Version
    pythons: tuple[Version, ...]
    bounds: Mapping[str, str]


@dataclass(frozen=True)
class Python:
    """A Python that was found."""

    version: Version
    full: str
    path: Path


@dataclass
class Outcome:
    """The result of one combination of a Python and dependencies."""

    python: str
    dependencies: str
    result: str = NOT_FOUND
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0
    installed: str = ""

    @property
    def is_failure(self) -> bool:
        """Whether it was tested and failed."""
        return self.result not in {PASS, NO_WHEELS, NOT_FOUND}


def read_project(path: Path) -> Project:
    """Read pyproject.toml; ValueError for a dependency without a lower bound."""
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    found = re.fullmatch(r">=(\d+)\.(\d+)", project["requires-python"])
    if found is None:
        raise ValueError(f"requires-python is {project['requires-python']}, not a lower bound")
    classifiers = (re.fullmatch(r"Programming Language :: Python :: (\d+)\.(\d+)", one)
                   for one in project["classifiers"])  # fmt: skip
    pythons = sorted((int(one[1]), int(one[2])) for one in classifiers if one)
    return Project((int(found[1]), int(found[2])), tuple(pythons), bounds_of(project))


def bounds_of(project: Mapping[str, Any]) -> dict[str, str]:
    """Return the lower bounds of the dependencies and of the tests' additional ones."""
    extras = project["optional-dependencies"]
    own = re.compile(rf"{re.escape(project['name'])}\[(.+)\]")
    waiting = [*project["dependencies"], *extras[EXTRA]]
    bounds: dict[str, str] = {}
    for requirement in waiting:
        others = own.fullmatch(requirement)
        if others:
            waiting.extend(one for name in others[1].split(",") for one in extras[name.strip()])
            continue
        found = re.match(r"([\w.-]+)(?:\[.*?\])?\s*(?:[^;]*,)?\s*>=\s*([\w.]+)", requirement)
        if found is None:
            raise ValueError(f"the dependency '{requirement}' has no lower bound")
        bounds[found[1]] = found[2]
    return bounds


def find_pythons(minimum: Version) -> list[Python]:
    """Return one Python of every minor version from ``minimum`` on, the oldest first."""
    found: dict[Version, Python] = {}
    for path in candidates():
        python = ask_python(path)
        if python and python.version >= minimum:
            found.setdefault(python.version, python)
    return [found[version] for version in sorted(found)]


def candidates() -> Iterator[Path]:
    """Yield possible Pythons: the one that runs this script, programs on PATH, and those of pyenv."""
    yield Path(sys.executable)
    for folder in os.get_exec_path():
        if Path(folder).is_dir():
            names = (one for one in Path(folder).iterdir() if re.fullmatch(r"python3(\.\d+)?", one.name))
            yield from sorted(names)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob("versions/3.*/bin/python"), reverse=True)


def ask_python(path: Path) -> Python | None:
    """Return the version of a Python; None if it is not one, or cannot make virtual environments."""
    try:
        # Not in a folder with modules of the same names.
        asked = subprocess.run(
            [path, "-I", "-c", ABOUT_PYTHON], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    implementation, major, minor, micro, executable = asked.stdout.strip().split(" ", 4)
    if implementation != "cpython":
        return None
    return Python((int(major), int(minor)), f"{major}.{minor}.{micro}", Path(executable))


def clean_environment() -> dict[str, str]:
    """Return the environment without variables that make Python find other packages."""
    return {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}


def copy_checkout(target: Path) -> None:
    """Copy the files of the checkout that git does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def run(*command: object) -> None:
    """Run a step of an installation; if it fails, print its output and raise InstallationError."""
    done = subprocess.run(list(map(str, command)), env=clean_environment(), check=False)
    if done.returncode:
        raise InstallationError(f"exit code {done.returncode} of {' '.join(map(str, command[1:4]))}")


def install(python: Python, folder: Path, project: Project, dependencies: str) -> Path:
    """Return the programs of a virtual environment in which the package is installed from the copy."""
    environment = folder / f"{python.full}-{dependencies}"
    programs = environment / "bin"
    run(python.path, "-m", "venv", "--clear", environment)
    choice: list[object] = []
    if dependencies == LOWEST:
        constraints = folder / "lowest.txt"
        constraints.write_text("".join(f"{name}=={bound}\n" for name, bound in project.bounds.items()))
        choice = ["--constraint", constraints]
    run(
        *(programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--only-binary", ":all:", *choice, f"{folder / 'checkout'}[{EXTRA}]"),
    )
    return programs


def versions_in(programs: Path, names: Sequence[str]) -> str:
    """Return the versions of packages that are installed."""
    command = [str(programs / "python"), "-I", "-c", ABOUT_PACKAGES, *names]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode:
        raise InstallationError(asked.stderr.strip().splitlines()[-1])
    return asked.stdout.strip()


def run_tests(programs: Path, checkout: Path, arguments: Sequence[str]) -> tuple[int, dict[str, int]]:
    """Return the exit code of pytest, and the numbers of tests by result.

    It starts in an empty folder: in the checkout, Python would import the package from there.
    """
    with tempfile.TemporaryDirectory() as empty:
        report = Path(empty) / "report.xml"
        given = [placed(argument, checkout) for argument in arguments]
        if given == list(arguments):
            given.append(str(checkout / "tests"))
        command = [
            *(str(programs / "pytest"), "-c", str(checkout / "pyproject.toml"), f"--rootdir={checkout}"),
            *("-p", "no:cacheprovider", f"--junitxml={report}", "-n", "auto", *given),
        ]
        done = subprocess.run(command, cwd=empty, env=clean_environment(), check=False)
        return done.returncode, counts_in(report)


def placed(argument: str, checkout: Path) -> str:
    """Return an argument of pytest with the path of the copy, if it is a path below ``tests``."""
    path = Path(argument.partition("::")[0])
    is_path = path.parts[:1] == ("tests",) and (ROOT / path).exists()
    return str(checkout / argument) if is_path else argument


def counts_in(report: Path) -> dict[str, int]:
    """Return how many tests passed, failed and were skipped; nothing if there is no report."""
    if not report.exists():
        return {}
    suite = ElementTree.parse(report).find("testsuite")
    assert suite is not None
    failed = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    skipped = int(suite.attrib["skipped"])
    return {"passed": int(suite.attrib["tests"]) - failed - skipped, "failed": failed, "skipped": skipped}


def tried(
    python: Python, dependencies: str, project: Project, folder: Path, arguments: Sequence[str]
) -> Outcome:
    """Test one Python with one choice of dependencies."""
    outcome = Outcome(python.full, dependencies)
    name = f"Python {python.full}, {dependencies} dependencies"
    say(f"{name}: installing")
    start = time.monotonic()
    try:
        programs = install(python, folder, project, dependencies)
        outcome.installed = versions_in(programs, list(project.bounds))
        say(f"{name}: testing with {outcome.installed}")
        code, outcome.counts = run_tests(programs, folder / "checkout", arguments)
        outcome.result = {0: PASS, NOTHING_COLLECTED: "no tests"}.get(code, "failed")
    except InstallationError as fault:
        outcome.result = NO_WHEELS if dependencies == LOWEST else "not installed"
        say(f"{name}: cannot be installed: {fault}")
    outcome.seconds = time.monotonic() - start
    counts = "".join(f", {count} {kind}" for kind, count in outcome.counts.items())
    say(f"{name}: {outcome.result} after {outcome.seconds:.0f} s{counts}")
    return outcome


def try_lowest(
    pythons: Sequence[Python], project: Project, folder: Path, arguments: Sequence[str]
) -> Iterator[Outcome]:
    """Test the lowest dependencies on the oldest Python on which they can be installed."""
    for python in pythons:
        outcome = tried(python, LOWEST, project, folder, arguments)
        yield outcome
        if outcome.result != NO_WHEELS:
            return


def say(text: str) -> None:
    """Print a step of the work."""
    print(f"== {text}", file=sys.stderr, flush=True)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a table in Markdown."""
    kinds = ("passed", "failed", "skipped")
    rows = [["Python", "dependencies", "result", *kinds, "seconds", "installed"]]
    rows.append(["---"] * len(rows[0]))
    for one in outcomes:
        counts = [str(one.counts[kind]) if kind in one.counts else "" for kind in kinds]
        seconds = f"{one.seconds:.0f}" if one.seconds else ""
        rows.append([one.python, one.dependencies, one.result, *counts, seconds, one.installed])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


@contextmanager
def working_folder(chosen: Path | None) -> Iterator[Path]:
    """Yield a folder for environments and the copy: the chosen one, which is kept, or a temporary one."""
    if chosen is None:
        with tempfile.TemporaryDirectory(prefix="caffe-lrp-dependencies-") as folder:
            yield Path(folder)
        return
    if chosen.resolve().is_relative_to(ROOT):
        raise ValueError(f"--folder: {chosen} lies in the checkout; choose one outside")
    shutil.rmtree(chosen / "checkout", ignore_errors=True)
    chosen.mkdir(parents=True, exist_ok=True)
    yield chosen.resolve()


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--python", nargs="+", metavar="VERSION", help="such as 3.12; default: all that are found")
    both = [LOWEST, NEWEST]
    add("--dependencies", nargs="+", choices=both, default=both, help="default: both")
    add("--folder", type=Path, metavar="DIR", help="keep the environments here; default: a temporary folder")
    add("pytest", nargs="*", metavar="-- ARGUMENT", help="of pytest, such as tests/kernels; default: all")
    return parser.parse_args(arguments)


def choose_pythons(project: Project, versions: Sequence[str] | None) -> tuple[list[Python], list[str]]:
    """Return the Pythons to test, and the requested versions that were not found."""
    pythons, wanted = find_pythons(project.minimum), project.pythons
    if versions:
        wanted = tuple(version_of(text) for text in versions)
        pythons = [python for python in pythons if python.version in wanted]
    for python in pythons:
        remark = "" if python.version in project.pythons else ", which the package does not declare"
        say(f"found Python {python.full}{remark}: {python.path}")
    found = {python.version for python in pythons}
    missing = [".".join(map(str, version)) for version in wanted if version not in found]
    if missing:
        say(f"not found: Python {', '.join(missing)}")
    return pythons, missing


def version_of(text: str) -> Version:
    """Return the version that a text such as ``3.12`` stands for."""
    found = re.fullmatch(r"(\d+)\.(\d+)", text)
    if found is None:
        raise ValueError(f"--python: '{text}' must be a version such as 3.12")
    return int(found[1]), int(found[2])


def verdict(outcomes: Sequence[Outcome], dependencies: Sequence[str]) -> int:
    """Return the exit code: 0 if nothing failed and every choice of dependencies passed at least once."""
    passed = {outcome.dependencies for outcome in outcomes if outcome.result == PASS}
    is_failure = any(outcome.is_failure for outcome in outcomes) or not passed.issuperset(dependencies)
    return FAILED if is_failure else PASSED


def main() -> int:
    """Run the requested tests and return the exit code."""
    options = parse_options()
    outcomes: list[Outcome] = []
    try:
        project = read_project(ROOT / "pyproject.toml")
        pythons, missing = choose_pythons(project, options.python)
        outcomes += [Outcome(version, "any") for version in missing]
        with working_folder(options.folder) as folder:
            copy_checkout(folder / "checkout")
            if LOWEST in options.dependencies:
                outcomes += try_lowest(pythons, project, folder, options.pytest)
            if NEWEST in options.dependencies:
                for python in pythons:
                    outcomes.append(tried(python, NEWEST, project, folder, options.pytest))
    except ValueError as fault:
        print(f"test_dependencies.py: {fault}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        if outcomes:
            print(f"\n{table(outcomes)}", flush=True)
    return verdict(outcomes, options.dependencies)


if __name__ == "__main__":
    sys.exit(main())
