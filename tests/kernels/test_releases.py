"""Which releases of Numba kernels work with, and what is said of others."""

import os
import subprocess
import sys
from pathlib import Path

import llvmlite
import numba
import pytest
from chapters import chapter

from caffe_lrp import errors
from caffe_lrp.errors import ExitCode, UsageError
from caffe_lrp.kernels.releases import SUPPORTED, require_supported, requirement

PACKAGE = Path(errors.__file__).parent
ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "pyproject.toml"


@pytest.mark.parametrize("package", SUPPORTED)
def test_pyproject_asks_for_the_releases_that_are_supported(package: str) -> None:
    lines = [line.strip() for line in PROJECT.read_text().splitlines()]
    assert [line for line in lines if line.startswith(f'"{package}')] == [f'"{requirement(package)}",']


def test_the_manual_names_the_range_of_numba() -> None:
    first, end = SUPPORTED["numba"]
    major, minor = end.split(".")
    named = f"Numba may be any release from {first} to {major}.{int(minor) - 1}."
    assert named in chapter("start")


def is_refused(package: str, version: str) -> bool:
    try:
        require_supported(package, version)
    except UsageError:
        return True
    return False


def test_releases_within_the_range_are_accepted() -> None:
    versions = ("0.60", "0.60.0", "0.61.2", "0.68.1", "0.68.99", numba.__version__)
    assert not [version for version in versions if is_refused("numba", version)]
    assert not is_refused("llvmlite", llvmlite.__version__)


@pytest.mark.parametrize("version", ["0.59.1", "0.69", "0.69.0rc1", "0.69.0dev0+5.g1a2", "0.100.0", "1", "?"])
def test_other_releases_are_refused_with_the_way_out(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/my programs/python")
    with pytest.raises(UsageError) as refused:
        require_supported("numba", version)
    assert str(refused.value) == (
        f"numba {version} is installed, but caffe-lrp needs numba>=0.60,<0.69; run: "
        "'/my programs/python' -m pip install 'numba>=0.60,<0.69' 'llvmlite>=0.43,<0.51'"
    )


@pytest.mark.parametrize("package", SUPPORTED)
def test_the_command_line_ends_before_it_uses_an_unknown_release(package: str, tmp_path: Path) -> None:
    """The release in this test has nothing but a version."""
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text('__version__ = "9.8.7"\n')
    path = os.pathsep.join((str(tmp_path), str(PACKAGE.parent)))
    ended = subprocess.run(
        [sys.executable, "-m", "caffe_lrp", "warmup"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == ExitCode.USAGE
    assert ended.stderr.startswith(
        f"caffe-lrp: error: {package} 9.8.7 is installed, but caffe-lrp needs {requirement(package)}; run: "
    )
    assert ended.stderr.count("\n") == 1
