"""Every kind of bad input in the catalogue: what is printed, how the run ends, what is left."""

import os
import re
from pathlib import Path

import bad_input
import pytest
from bad_input import CATALOGUE, IMAGES, Kind
from command_line import Result, run, run_process

SUFFIXES = ("_as_inputted_into_the_dnn.png", "_heatmap.png", "_rawhm.txt", "_top10scores.txt")
KINDS = {f"{group.title}: {kind.title}": kind for group in CATALOGUE for kind in group.kinds}
#: For every exit code the last kind that ends with it.
LAST_OF_CODE = {kind.exit_code: kind for kind in KINDS.values() if not kind.needs_rights}
CANNOT_RENOUNCE = 75

#: Starts the command without the superuser's right to read and write everything (CAP_DAC_OVERRIDE and
#: CAP_DAC_READ_SEARCH leave the bounding set; a change of user could not read a Python in /root).
WITHOUT_PRIVILEGE = f"""
import ctypes, os, sys
if os.geteuid() == 0 and any(ctypes.CDLL(None).prctl(24, right, 0, 0, 0) for right in (1, 2)):
    sys.exit({CANNOT_RENOUNCE})
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def result_of(kind: Kind, folder: Path) -> Result:
    """The result of a run in the folder of the bad input, as a process where rights are to be missing."""
    if kind.needs_rights:
        return run_process(*kind.options, cwd=folder, launcher=("-c", WITHOUT_PRIVILEGE))
    return run(*kind.options, cwd=folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder but journals; of those that may not be read, that they are there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if os.access(path, os.R_OK) else b""
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".jsonl" and path.name != "summary.json"
    }


def outputs_of(*images: str) -> set[str]:
    return {f"out/{image}{suffix}" for image in images for suffix in SUFFIXES}


def matches(text: str, pattern: str) -> bool:
    """Whether ``text`` is the pattern, in which "…" stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("…"))), text, re.DOTALL) is not None


@pytest.fixture(scope="session")
def good_outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run with good input writes; once for every process of pytest."""
    folder = tmp_path_factory.mktemp("good")
    bad_input.arrange_good_run(folder)
    before = contents(folder)
    result = result_of(Kind("nothing is wrong", bad_input.nothing), folder)
    # Where kernels are compiled on a busy machine, a line says after a minute how far the run is.
    said = [line for line in result.stderr.splitlines() if not re.match(r"caffe-lrp: \d of 3 maps", line)]
    assert (result.returncode, said) == (0, [])
    written = {name: content for name, content in contents(folder).items() if name not in before}
    assert written.keys() == outputs_of(*IMAGES)
    return written


def check(kind: Kind, folder: Path, good_outputs: dict[str, bytes], *, as_process: bool = False) -> None:
    """Bring the fault about, run, and compare with the catalogue."""
    bad_input.arrange_good_run(folder)
    kind.arrange(folder)
    before = contents(folder)
    result = run_process(*kind.options, cwd=folder) if as_process else result_of(kind, folder)
    if result.returncode == CANNOT_RENOUNCE:
        pytest.skip("the superuser may read everything, and cannot give that up here")
    assert matches(result.stderr, f"{kind.stderr}\n" if kind.stderr else ""), result.stderr
    assert "Traceback" not in result.stderr
    assert result.returncode == kind.exit_code
    if kind.exit_code in {0, 4}:
        assert result.stdout.startswith(f"{len(kind.survivors)} of {len(IMAGES)} ")
    else:
        assert result.stdout == ""
    after = contents(folder)
    assert {name: after.pop(name) for name in before} == before
    assert after.keys() == outputs_of(*kind.survivors)
    for name in after.keys() & outputs_of(IMAGES[0], IMAGES[2]):
        assert after[name] == good_outputs[name]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_bad_input_ends_as_the_catalogue_says(
    tmp_path: Path, kind: Kind, good_outputs: dict[str, bytes]
) -> None:
    check(kind, tmp_path, good_outputs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LAST_OF_CODE.values(), ids=LAST_OF_CODE.keys())
def test_a_process_ends_as_the_catalogue_says(
    tmp_path: Path, kind: Kind, good_outputs: dict[str, bytes]
) -> None:
    check(kind, tmp_path, good_outputs, as_process=True)


def test_the_catalogue_is_large_and_no_title_stands_twice() -> None:
    assert len(KINDS) == sum(len(group.kinds) for group in CATALOGUE)
    assert sum(kind.exit_code != 0 for kind in KINDS.values()) >= 40
