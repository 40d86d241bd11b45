"""The script that tries lowest and newest dependencies on every Python."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import test_dependencies as script
from chapters import chapter
from test_dependencies import Outcome, Project, Python

PROJECT = """
[project]
name = "caffe-lrp"
requires-python = ">=3.10"
classifiers = [
    "Programming Language :: Python :: 3",
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.10",
]
dependencies = ["numpy>=1.26", "numba >= 0.60, <0.69", "PyYAML<9,>=6; python_version > '3'"]
[project.optional-dependencies]
dask = ["distributed[all]>=2024.1"]
test = ["caffe-lrp[dask]", "pytest>=8"]
other = ["unknown>=1"]
"""
PYPROJECT = script.ROOT / "pyproject.toml"
OLD, NEW = (Python((3, minor), f"3.{minor}.7", Path(f"/python3.{minor}")) for minor in (10, 11))
WANTED = Project((3, 10), ((3, 10), (3, 11), (3, 12)), {"numpy": "1.26"})


def written(folder: Path, text: str) -> Path:
    path = folder / "pyproject.toml"
    path.write_text(text)
    return path


def test_bounds_and_pythons_are_those_of_pyproject(tmp_path: Path) -> None:
    found = script.read_project(written(tmp_path, PROJECT))
    assert (found.minimum, found.pythons) == ((3, 10), ((3, 10), (3, 11)))
    assert found.bounds == {
        "numpy": "1.26", "numba": "0.60", "PyYAML": "6", "pytest": "8", "distributed": "2024.1",
    }  # fmt: skip


def test_the_package_itself_declares_what_can_be_tried() -> None:
    found = script.read_project(PYPROJECT)
    assert found.minimum == found.pythons[0]
    assert {"numpy", "numba", "llvmlite", "h5py", "distributed", "pytest"} <= found.bounds.keys()
    assert "ruff" not in found.bounds


def test_the_manual_names_the_pythons_that_are_declared() -> None:
    *others, last = (f"{major}.{minor}" for major, minor in script.read_project(PYPROJECT).pythons)
    assert f"\nPython {', '.join(others)} and {last} are tested: `scripts/test_dependencies.py`" in chapter(
        "contributing"
    )


def test_a_dependency_without_a_lower_bound_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'numpy<3' has no lower bound"):
        script.read_project(written(tmp_path, PROJECT.replace("numpy>=1.26", "numpy<3")))


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_pythons_are_found_on_path_and_among_those_of_pyenv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of each minor version; those that fail, are too old, or are no CPython are passed over."""
    first, second, pyenv = tmp_path / "first", tmp_path / "second", tmp_path / "pyenv"
    program(first / "python3.12", "exit 127")
    program(first / "python3.13", "echo cpython 3 13 1 /first/python3.13")
    program(first / "python3.13-config", "echo cpython 3 15 1 /no/python")
    program(second / "python3", "echo cpython 3 13 0 /second/python3")
    program(second / "python3.9", "echo cpython 3 9 0 /second/python3.9")
    program(second / "python3.14", "echo pypy 3 14 0 /second/python3.14")
    program(pyenv / "versions/3.12.4/bin/python", "echo cpython 3 12 4 /pyenv/my python")
    program(pyenv / "versions/3.11.2/bin/python", "exit 1")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", f"{first}:{tmp_path / 'missing'}:{second}")
    monkeypatch.setenv("PYENV_ROOT", str(pyenv))
    assert script.find_pythons((3, 10)) == [
        Python((3, 12), "3.12.4", Path("/pyenv/my python")),
        Python((3, 13), "3.13.1", Path("/first/python3.13")),
    ]


def test_this_python_is_found() -> None:
    assert sys.version_info[:2] in {python.version for python in script.find_pythons((3, 10))}


def test_the_copy_has_all_files_that_git_does_not_ignore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, copy = tmp_path / "root", tmp_path / "copy"
    for name in (".gitignore", "a b/é.py", "out.npy", "gone.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("*.npy\n")
    for words in (["init", "-q"], ["add", "gone.py"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    (root / "gone.py").unlink()
    monkeypatch.setattr(script, "ROOT", root)
    script.copy_checkout(copy)
    assert sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()) == [
        ".gitignore", "a b/é.py",
    ]  # fmt: skip


@pytest.fixture
def pytest_in_the_environment(tmp_path: Path) -> Path:
    """The folder of a ``pytest`` that writes its arguments and a report."""
    report = '<testsuites><testsuite tests="9" failures="1" errors="2" skipped="3"/></testsuites>'
    program(
        tmp_path / "bin" / "pytest",
        f'echo "$PWD" "$@" >"{tmp_path}/said"\nfor word; do case $word in --junitxml=*) '
        f"echo '{report}' >\"${{word#*=}}\"; esac; done; exit 1",
    )
    return tmp_path / "bin"


@pytest.mark.parametrize(
    ("arguments", "last"),
    [
        (["-n", "1"], "-n 1 {copy}/tests"),
        (["tests/scripts", "-x"], "{copy}/tests/scripts -x"),
        (["tests/conftest.py::a", "-k", "scripts"], "{copy}/tests/conftest.py::a -k scripts"),
    ],
)
def test_tests_of_the_copy_are_run_from_outside_and_counted(
    pytest_in_the_environment: Path, tmp_path: Path, arguments: Sequence[str], last: str
) -> None:
    copy = tmp_path / "copy"
    code, counts = script.run_tests(pytest_in_the_environment, copy, arguments)
    assert (code, counts) == (1, {"passed": 3, "failed": 3, "skipped": 3})
    said = (tmp_path / "said").read_text().rstrip()
    assert said.endswith(f" -n auto {last.format(copy=copy)}")
    assert not said.startswith((str(script.ROOT), str(copy)))


def test_counts_are_missing_where_pytest_wrote_no_report(tmp_path: Path) -> None:
    assert script.counts_in(tmp_path / "none.xml") == {}


Results = Callable[[dict[tuple[Python, str], str]], None]


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> Results:
    """Gives every combination its result; others pass."""

    def give(chosen: dict[tuple[Python, str], str]) -> None:
        def tried(python: Python, dependencies: str, *_: object) -> Outcome:
            result = chosen.get((python, dependencies), "passed")
            counts = {"passed": 2, "failed": 0, "skipped": 1}
            return Outcome(python.full, dependencies, result, counts, 7.4, "numpy 2")

        monkeypatch.setattr(script, "tried", tried)

    monkeypatch.setattr(script, "read_project", lambda _: WANTED)
    monkeypatch.setattr(script, "find_pythons", lambda _: [OLD, NEW])
    monkeypatch.setattr(script, "copy_checkout", lambda _: None)
    return give


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["test_dependencies.py", *arguments])
    return script.main()


def test_a_table_says_what_was_tried_and_which_pythons_are_missing(
    results: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results({})
    assert ended(monkeypatch) == script.PASSED
    said = capsys.readouterr()
    assert said.out.splitlines()[1:] == [
        "| Python | dependencies | result | passed | failed | skipped | seconds | installed |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| 3.12 | any | not found |  |  |  |  |  |",
        "| 3.10.7 | lowest | passed | 2 | 0 | 1 | 7 | numpy 2 |",
        "| 3.10.7 | newest | passed | 2 | 0 | 1 | 7 | numpy 2 |",
        "| 3.11.7 | newest | passed | 2 | 0 | 1 | 7 | numpy 2 |",
        "",
    ]
    assert "== not found: Python 3.12\n" in said.err


def test_a_python_that_is_asked_for_and_missing_is_a_failure(
    results: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results({})
    assert ended(monkeypatch, "--python", "3.12") == script.FAILED
    assert ended(monkeypatch, "--python", "3") == script.USAGE
    assert capsys.readouterr().err.endswith(
        "test_dependencies.py: --python: '3' must be a version such as 3.12\n"
    )


@pytest.mark.parametrize("result", ["failed", "not installed", "no tests"])
def test_everything_that_did_not_pass_is_a_failure(
    results: Results, monkeypatch: pytest.MonkeyPatch, result: str
) -> None:
    results({(NEW, script.NEWEST): result})
    assert ended(monkeypatch) == script.FAILED
    assert ended(monkeypatch, "--python", "3.10") == script.PASSED
    assert ended(monkeypatch, "--dependencies", "lowest", "--", "tests/kernels") == script.PASSED


def test_the_lowest_dependencies_are_tried_on_the_oldest_python_that_has_them(
    results: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A Python for which there are no wheels is no failure as long as there is another one."""
    results({(OLD, script.LOWEST): script.NO_WHEELS})
    assert ended(monkeypatch, "--dependencies", "lowest") == script.PASSED
    rows = capsys.readouterr().out.splitlines()[4:]
    assert [row.split(" | ")[:3] for row in rows[:2]] == [
        ["| 3.10.7", "lowest", script.NO_WHEELS],
        ["| 3.11.7", "lowest", "passed"],
    ]
    results({(OLD, script.LOWEST): script.NO_WHEELS, (NEW, script.LOWEST): script.NO_WHEELS})
    assert ended(monkeypatch, "--dependencies", "lowest") == script.FAILED


def test_environments_are_not_made_in_the_checkout(
    results: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results({})
    assert ended(monkeypatch, "--folder", str(script.ROOT / "environments")) == script.USAGE
    assert "lies in the checkout; choose one outside" in capsys.readouterr().err
    assert not (script.ROOT / "environments").exists()
