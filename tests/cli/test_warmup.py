"""``caffe-lrp warmup``: afterwards nothing is left to compile."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from chapters import chapter
from llvmlite import binding as llvm

from caffe_lrp.cli.main import main
from caffe_lrp.errors import ExitCode
from caffe_lrp.files.trust import replace_trusted
from caffe_lrp.kernels import _jit, ahead
from caffe_lrp.kernels._jit import CACHE_FOLDER
from caffe_lrp.kernels.ahead import all_kernels
from caffe_lrp.kernels.targets import BASELINES
from caffe_lrp.relevance.formulas import FORMULAS

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data" / "conformance"
HOST = frozenset(name for name, is_there in llvm.get_host_cpu_features().items() if is_there)
#: A CPU that the nodes of a cluster have in common, if this machine can stand in for it.
BASELINE = "x86-64-v3" if BASELINES["x86-64-v3"] <= HOST else "host"

#: Runs the command line as often as asked for; tells what became of the kernels of all modules.
RUNS = """
import importlib, json, pkgutil, sys
from caffe_lrp.cli.main import main
codes = [main(arguments) for arguments in json.loads(sys.argv[1])]
from caffe_lrp import kernels
compiled, loaded = [], 0
for info in pkgutil.iter_modules(kernels.__path__, "caffe_lrp.kernels."):
    for name, value in vars(importlib.import_module(info.name)).items():
        if hasattr(value, "py_func") and value.py_func.__module__ == info.name:
            compiled += [f"{info.name}.{name}{signature}" for signature in value.stats.cache_misses]
            loaded += len(value.stats.cache_hits)
print(json.dumps([codes, compiled, loaded]))
"""


#: Before that: there are but the two kernels of one module.
TWO_KERNELS = """
import pkgutil
really = pkgutil.iter_modules
pkgutil.iter_modules = lambda *given: [module for module in really(*given) if module.name.endswith("render")]
"""


@dataclass(frozen=True)
class Outcome:
    """What a process of several runs tells."""

    codes: list[int]
    compiled: list[str]
    loaded: int
    printed: list[str]
    complaints: str


#: The CPU that these tests run for, where it is not this machine's.
CPU = {name: os.environ[name] for name in ("CAFFE_LRP_CPU",) if name in os.environ}


def environment(folder: Path, **others: str) -> dict[str, str]:
    names = ("CAFFE_LRP_", "NUMBA_")
    ours = {"CAFFE_LRP_CACHE_DIR": str(folder)} | others
    return {name: value for name, value in os.environ.items() if not name.startswith(names)} | ours


def runs(folder: Path, *arguments: list[str], before: str = "", **others: str) -> Outcome:
    """Runs of the command line one after the other, in a process that keeps its kernels in ``folder``."""
    process = subprocess.run(
        [sys.executable, "-c", before + RUNS, json.dumps(arguments)],
        cwd=DATA,
        env=environment(folder, **others),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    *printed, last = process.stdout.splitlines()
    codes, compiled, loaded = json.loads(last)
    return Outcome(codes, compiled, loaded, printed, process.stderr)


def command(*arguments: str, **others: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "caffe_lrp", *arguments],
        cwd=DATA,
        env=dict(os.environ) | others,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def stored(folder: Path) -> list[Path]:
    """Files of kernels."""
    return [path for path in folder.iterdir() if not path.name.startswith(("complete", "needed"))]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def warmed(cache: Path) -> Outcome:
    """What a warm-up said that only had some kernels of one module left to compile."""
    assert CACHE_FOLDER.folder is not None
    folder = cache / CACHE_FOLDER.folder.name
    folder.mkdir(mode=0o700)
    for path in CACHE_FOLDER.folder.iterdir():
        if not path.name.startswith(("render.", "complete")):
            replace_trusted(folder / path.name, path.read_bytes())
    return runs(cache, ["warmup"], **CPU)


def conformance_runs(out: Path) -> Iterator[list[str]]:
    """The cases of the conformance data, and variations of them."""
    variations: tuple[list[str], ...] = (
        [],
        ["--quirks", "corrected", "--batch", "3", "--threads", "2", "--convolution", "winograd"],
        ["-b", "parallel_minimal", "--threads", "3", "--first-layer", "1", "--convolution", "direct"],
    )
    for number, line in enumerate((DATA / "cases.txt").read_text().splitlines()):
        name, listing = line.split()
        run = [
            "-c",
            f"configs/{name}.txt",
            "-f",
            f"filelists/{listing}.txt",
            "-p",
            f"{out}/{number}",
            "--quiet",
        ]
        yield run + variations[number % len(variations)]


def demo_runs(out: Path) -> Iterator[list[str]]:
    """A larger net by all formulas, without and with a batch."""
    listing = out / "demo.txt"
    lines = (ROOT / "filelists" / "demo.txt").read_text().splitlines(keepends=True)[:3]
    listing.write_text("".join(lines))
    codes = ",".join(map(str, FORMULAS))
    for batch in ("1", "3"):
        run = ["-c", str(ROOT / "configs" / "demo.txt"), "-f", str(listing), "-p", f"{out}/demo{batch}"]
        yield [*run, "--image-root", str(ROOT), "--formula", codes, "--batch", batch, "--quiet"]


@pytest.mark.slow
def test_a_warm_up_compiles_every_kernel_and_says_how_to_use_them(cache: Path, warmed: Outcome) -> None:
    (folder,) = cache.iterdir()
    count = sum(name.startswith("render.") for name in all_kernels())
    found = {path.name.partition("-")[0] for path in stored(folder)}
    assert (warmed.codes, found) == ([ExitCode.DONE], set(all_kernels()))
    assert warmed.complaints.startswith(
        f"caffe-lrp: compiling {count} kernels for this CPU, once; that takes "
    )
    assert warmed.printed[0].endswith(f"kept in {folder}")
    settings = [f"{name}={value}" for name, value in (CPU | {"CAFFE_LRP_CACHE_DIR": cache}).items()]
    assert warmed.printed[1:] == [f"to use it, set {' and '.join(settings)}"]


@pytest.mark.slow
def test_after_a_warm_up_no_run_compiles_anything(cache: Path, warmed: Outcome, tmp_path: Path) -> None:
    before = sorted(cache.rglob("*"))
    everything = [*conformance_runs(tmp_path), *demo_runs(tmp_path)]
    outcome = runs(cache, *everything, **CPU)
    assert outcome.codes == [ExitCode.DONE] * len(everything)
    assert outcome.compiled == []
    assert outcome.loaded > 0
    assert sorted(cache.rglob("*")) == before


@pytest.mark.slow
def test_a_warm_up_for_a_cpu_serves_the_runs_that_name_it(tmp_path: Path) -> None:
    ahead = runs(tmp_path, ["warmup", "--cpu", BASELINE], before=TWO_KERNELS)
    setting = f"to use it, set CAFFE_LRP_CPU={BASELINE} and CAFFE_LRP_CACHE_DIR={tmp_path}"
    assert (ahead.codes, ahead.printed[1:]) == ([ExitCode.DONE], [setting])
    (folder,) = tmp_path.iterdir()
    assert len(stored(folder)) == 2
    later = runs(tmp_path, ["warmup"], before=TWO_KERNELS, CAFFE_LRP_CPU=BASELINE)
    assert (later.codes, later.complaints, len(stored(folder))) == ([ExitCode.DONE], "", 2)
    assert runs(tmp_path, ["warmup"], before=TWO_KERNELS).codes == [ExitCode.DONE]
    assert len(stored(folder)) == (2 if BASELINE == "host" else 4)


def test_a_cache_without_room_is_not_called_complete(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ahead, "unstored", lambda _: ("gemm.multiply", "render.count_visible"))
    monkeypatch.setattr(_jit, "mark_cache_complete", lambda: pytest.fail("it is not"))
    assert main(["warmup"]) == ExitCode.USAGE
    said = f"error: gemm.multiply, render.count_visible could not be saved in {CACHE_FOLDER.folder}; is the"
    assert said in capsys.readouterr().err


def test_a_cpu_that_is_not_known_is_wrong_usage(tmp_path: Path) -> None:
    for result in (
        command("warmup", "--cpu", "x86-64-w3", CAFFE_LRP_CACHE_DIR=str(tmp_path)),
        command("-c", "configs/vgg_2_eps1_beta1_aux4.txt", "--dry-run", CAFFE_LRP_CPU="x86-64-w3"),
    ):
        assert result.returncode == ExitCode.USAGE
        assert result.stderr == (
            "caffe-lrp: error: there is no CPU 'x86-64-w3' to compile for; did you mean 'x86-64-v3'?\n"
        )


@pytest.mark.skipif(all(features <= HOST for features in BASELINES.values()), reason="there is no such CPU")
def test_a_cpu_that_this_machine_cannot_stand_in_for_is_wrong_usage(tmp_path: Path) -> None:
    name = next(name for name, features in BASELINES.items() if not features <= HOST)
    result = command("warmup", "--cpu", name, CAFFE_LRP_CACHE_DIR=str(tmp_path))
    assert result.returncode == ExitCode.USAGE
    assert f"cannot run code for the CPU '{name}': it lacks " in result.stderr


def test_options_of_a_warm_up_are_checked_and_explained() -> None:
    result = command("warmup", "--cpus", "haswell")
    assert (result.returncode, "did you mean '--cpu'?" in result.stderr) == (ExitCode.USAGE, True)
    result = command("warmup", "--help")
    assert (result.returncode, result.stderr) == (ExitCode.DONE, "")
    assert "--cpu NAME" in result.stdout


@pytest.mark.parametrize("name", ["host", *BASELINES, "CAFFE_LRP_CPU", "CAFFE_LRP_CACHE_DIR"])
def test_what_can_be_set_is_documented(name: str) -> None:
    assert f"`{name}`" in chapter("containers")
