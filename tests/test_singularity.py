"""The definition of the image, as far as it can be checked without building one."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from caffe_lrp.kernels.targets import BASELINES

ROOT = Path(__file__).parents[1]
DEFINITION = (ROOT / "singularity" / "caffe-lrp.def").read_text(encoding="utf-8")
CHECK = ROOT / "scripts" / "check_singularity_def.sh"
#: What is in front of the first section, and then name, text, name, text, …
HEADER, *PARTS = re.split(r"^%([a-z]+)\n", DEFINITION, flags=re.MULTILINE)
SECTIONS = dict(zip(PARTS[::2], PARTS[1::2], strict=True))
#: Source in the repository -> destination in the image.
FILES = dict(
    line.split() for line in SECTIONS["files"].splitlines() if line.strip() and line.split()[0] != "#"
)


def run(*command: object, path: str = os.environ["PATH"]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        list(map(str, command)), env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )


def found_in(section: str, pattern: str) -> str:
    """What the only group of ``pattern`` matches, in the only place of a section where it does."""
    (found,) = re.findall(pattern, SECTIONS[section], flags=re.MULTILINE)
    return str(found)


def test_every_section_is_there_once() -> None:
    assert sorted(PARTS[::2]) == sorted(
        ["files", "post", "environment", "runscript", "test", "labels", "help"]
    )


def test_the_image_begins_with_a_slim_python() -> None:
    settings = dict(line.split(": ") for line in HEADER.splitlines() if line and not line.startswith("#"))
    assert settings["Bootstrap"] == "docker"
    assert re.fullmatch(r"python:3\.1\d-slim-[a-z]+", settings["From"])


@pytest.mark.parametrize("source", FILES)
def test_files_to_copy_are_in_the_repository(source: str) -> None:
    assert (ROOT / source).exists()


def test_folders_with_large_weights_are_not_copied() -> None:
    folders = {source for source in FILES if (ROOT / source).is_dir()}
    assert folders == {"caffe_lrp", "configs/demo", "filelists/demo"}


def test_what_the_package_is_built_from_is_copied_side_by_side() -> None:
    folder = found_in("post", r"pip install .* (/\S+)$")
    for name in ("pyproject.toml", "README.md", "LICENSE", "caffe_lrp"):
        assert FILES[name] == f"{folder}/{name}"


def test_the_demo_keeps_its_layout() -> None:
    demo = found_in("test", r"^ +cd (.+)$")
    for name in ("configs/demo.txt", "configs/demo", "filelists/demo.txt", "filelists/demo"):
        assert FILES[name] == f"{demo}/{name}"


def test_running_the_image_is_running_caffe_lrp() -> None:
    assert SECTIONS["runscript"].split() == ["exec", "caffe-lrp", '"$@"']


def test_kernels_are_compiled_for_the_cpu_and_into_the_folder_that_runs_ask_for() -> None:
    cpu = found_in("environment", r"^ +export CAFFE_LRP_CPU=(.+)$")
    assert cpu in BASELINES
    assert found_in("post", r"caffe-lrp warmup --cpu (.+)$") == cpu
    folder = r"^ +export CAFFE_LRP_CACHE_DIR=(.+)$"
    assert found_in("post", folder) == found_in("environment", folder)


def test_the_command_is_on_the_path() -> None:
    folder = found_in("environment", r"^ +export PATH=(.+):\$PATH$")
    assert found_in("post", r"^ +python3 -m venv (.+)$") == folder.removesuffix("/bin")


@pytest.mark.parametrize("name", ["post", "environment", "runscript", "test"])
def test_scripts_are_valid(name: str) -> None:
    assert run("sh", "-n", "-c", SECTIONS[name]).stderr == ""


@pytest.mark.parametrize("name", SECTIONS)
def test_the_check_takes_sections_from_the_definition(name: str) -> None:
    assert run("bash", CHECK, "--section", name).stdout == SECTIONS[name]


def test_the_check_reads_the_definition_as_singularity_does(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "singularity").mkdir()
    (tmp_path / "singularity" / "caffe-lrp.def").write_text(
        "From: x\n%Post -c /bin/bash\n  a 5%\n\n  # %test\n  %test\nb\n%postscript\nc\n%post\nd"
    )
    check = Path(shutil.copy(CHECK, tmp_path / "scripts"))
    assert run("bash", check, "--section", "post").stdout == "  a 5%\n\n  # %test\nd\n"
    assert run("bash", check, "--section", "test").stdout == "b\n"


def test_the_check_finds_no_section_that_is_not_there() -> None:
    assert run("bash", CHECK, "--section", "file").stdout == ""


def test_the_check_names_missing_requirements(tmp_path: Path) -> None:
    dirname = shutil.which("dirname")
    assert dirname
    (tmp_path / "dirname").symlink_to(dirname)
    result = run(shutil.which("bash"), CHECK, path=str(tmp_path))
    assert result.returncode == 1
    lacks = "only root can" if os.geteuid() else "debootstrap is missing; on Debian or Ubuntu: apt install"
    assert lacks in result.stderr


def test_the_check_refuses_unknown_arguments() -> None:
    result = run("bash", CHECK, "--kept")
    assert result.returncode == 1
    assert "there is no argument '--kept'; known are --keep FOLDER and --section NAME" in result.stderr
