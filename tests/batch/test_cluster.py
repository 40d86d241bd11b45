"""Runs on a cluster, as far as that can be tried without one; scripts/test_cluster.sh tries the rest."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import CONFIG, DATA, files_below, listing, run

from caffe_lrp.batch import worker
from caffe_lrp.errors import LimitError

ROOT = Path(__file__).parents[2]
SBATCH = ROOT / "scripts/slurm/caffe-lrp.sbatch"
SCRIPTS = [SBATCH, ROOT / "scripts/test_cluster.sh"]

#: A caffe-lrp that notes how it was called, and ends with 130 when it gets SIGTERM.
STAND_IN = """#!/usr/bin/env bash
echo "$@" > called
trap 'echo TERM >> called; exit 130' TERM
for _ in {1..100}; do [[ -n ${HURRY:-} ]] || sleep 0.1; done
exit 4
"""
ARRAY = {
    "SLURM_JOB_ID": "12",
    "SLURM_ARRAY_JOB_ID": "11",
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_CPUS_PER_TASK": "2",
    "SLURM_MEM_PER_NODE": "1000",
}


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """An environment of Slurm with stand-ins for all programs; they leave notes in the folder."""
    programs = {
        "caffe-lrp": STAND_IN,
        "apptainer": STAND_IN,
        "scontrol": '#!/bin/bash\necho "$@" > requeued\nkill -TERM $PPID\n',
        "sleep": '#!/bin/bash\n[[ $1 == 60 ]] || exec /bin/sleep "$@"\n',
    }
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    others = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "CAFFE"))}
    return others | ARRAY | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}


def submit(machine: dict[str, str], folder: Path, *options: str, number: int = 0) -> int:
    """The exit code of the script; with ``number``, it gets that signal when caffe-lrp runs."""
    process = subprocess.Popen(
        ["bash", SBATCH, "c.txt", "l.txt", "out", *options],
        cwd=folder,
        env=machine,
        stdout=subprocess.DEVNULL,
    )
    limit = time.monotonic() + 30
    while number and not (folder / "called").exists() and time.monotonic() < limit:
        time.sleep(0.01)
    if number:
        time.sleep(0.2)  # until it listens
        process.send_signal(number)
    return process.wait(timeout=30)


def test_dask_is_not_loaded_into_too_little_address_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "address_space_left", lambda: 200 * 2**20)
    monkeypatch.setattr(worker, "stack_of_thread", lambda: 8 * 2**20)
    with pytest.raises(LimitError, match=r"\(ulimit -v\) leaves 200 MB, but about 301 MB are needed; raise"):
        worker.require_dask()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_are_valid(path: Path) -> None:
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    if shutil.which("shellcheck"):
        result = subprocess.run(
            ["shellcheck", "-x", "-P", ROOT / "scripts", path], check=False, capture_output=True, text=True
        )
        assert result.stdout == ""


def test_a_job_can_come_back_and_keeps_its_log() -> None:
    lines = SBATCH.read_text().splitlines()
    directives = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]
    assert {"--requeue", "--open-mode=append", "--signal=B:USR1@120"} <= set(directives)
    first_command = next(
        number for number, line in enumerate(lines) if line.strip() and not line.startswith("#")
    )
    assert not any(line.startswith("#SBATCH") for line in lines[first_command:])  # Slurm would not see it


@pytest.mark.slow
def test_a_task_works_within_what_slurm_gives_it(machine: dict[str, str], tmp_path: Path) -> None:
    assert submit(machine | {"HURRY": "1"}, tmp_path, "--top", "2") == 4
    given = "-c c.txt -f l.txt -p out --threads 2 --memory 900M --shard auto --top 2\n"
    assert (tmp_path / "called").read_text() == given
    machine |= {"HURRY": "1", "CAFFE_LRP_IMAGE": "lrp.sif", "SLURM_MEM_PER_CPU": "400"}
    del machine["SLURM_MEM_PER_NODE"], machine["SLURM_ARRAY_TASK_ID"]
    assert submit(machine, tmp_path) == 4
    given = "run lrp.sif -c c.txt -f l.txt -p out --threads 2 --memory 720M\n"
    assert (tmp_path / "called").read_text() == given


@pytest.mark.slow
def test_a_task_whose_time_is_up_comes_back(machine: dict[str, str], tmp_path: Path) -> None:
    assert submit(machine, tmp_path, number=signal.SIGUSR1) == 130
    assert (tmp_path / "called").read_text().split()[-1] == "TERM"
    assert (tmp_path / "requeued").read_text() == "requeue 11_3\n"


@pytest.mark.slow
def test_a_task_does_not_come_back_forever(machine: dict[str, str], tmp_path: Path) -> None:
    assert submit(machine | {"SLURM_RESTART_COUNT": "100"}, tmp_path, number=signal.SIGUSR1) == 130
    assert not (tmp_path / "requeued").exists()


@pytest.mark.slow
def test_a_cancelled_task_does_not_come_back(machine: dict[str, str], tmp_path: Path) -> None:
    """Slurm signals caffe-lrp itself then; the script only has to outlive it."""
    machine |= {"PATH": f"{tmp_path}/bin2:{machine['PATH']}"}
    (tmp_path / "bin2").mkdir()
    (tmp_path / "bin2/caffe-lrp").write_text("#!/bin/bash\necho > called\nsleep 1\nexit 130\n")
    (tmp_path / "bin2/caffe-lrp").chmod(0o755)
    assert submit(machine, tmp_path, number=signal.SIGTERM) == 130
    assert not (tmp_path / "requeued").exists()


@pytest.mark.slow
def test_dask_is_asked_for_where_it_is_missing(tmp_path: Path) -> None:
    (tmp_path / "distributed.py").write_text("raise ImportError('No module named distributed')")
    path = listing(tmp_path, "images/set/square.jpg 3")
    options = ["-c", CONFIG, "-f", path, "-p", tmp_path / "o", "--dask", "local"]
    words = [sys.executable, "-m", "caffe_lrp", *map(str, options)]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    result = subprocess.run(
        words, cwd=DATA, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, "pip install 'caffe-lrp[dask]'" in result.stderr) == (2, True)
    assert not (tmp_path / "o").exists()


@pytest.mark.slow
def test_a_scheduler_that_is_not_there_is_named(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    path = listing(tmp_path, "images/set/square.jpg 3")
    result = run("-c", CONFIG, "-f", path, "-p", tmp_path / "o", "--dask", tmp_path / "none.json")
    assert (result.returncode, "none.json: no such scheduler file" in result.stderr) == (2, True)


#: A caffe-lrp whose Dask workers do not survive one of the images.
DEADLY = """
import sys
from caffe_lrp.batch import cluster

def explain_or_die(recipe, jobs):
    import os
    from caffe_lrp.batch import cluster
    if any("05" in job.image.name for job in jobs):
        os._exit(9)
    return cluster.explain_on_worker(recipe, jobs)

if __name__ == "__main__":
    from caffe_lrp.cli.main import main
    cluster.explain_on_worker = explain_or_die
    sys.exit(main())
"""

#: Dask gives a batch up when the second worker is lost with it, in place of the fourth, and gives no worker a
#: second batch to keep ready: such a one would count as lost with the worker, too.
TWO_LOSSES = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION": "1.0",
}


@pytest.mark.slow
def test_what_kills_every_worker_costs_only_its_batch(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    (tmp_path / "images").mkdir()
    for number in range(8):
        shutil.copy(DATA / "images/set/square.jpg", tmp_path / f"images/{number:02}.jpg")
    path = listing(tmp_path, *(f"{tmp_path}/images/{number:02}.jpg 3" for number in range(8)))
    (tmp_path / "deadly.py").write_text(DEADLY)
    options = [
        "-c",
        CONFIG,
        "-f",
        path,
        "-p",
        tmp_path / "o",
        "--dask",
        "local",
        "--batch",
        2,
        "--threads",
        2,
    ]
    words = [sys.executable, str(tmp_path / "deadly.py"), *map(str, options)]
    result = subprocess.run(
        words, cwd=DATA, env=os.environ | TWO_LOSSES, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 4
    assert "6 of 8 heatmaps made" in result.stdout
    assert "04.jpg: every worker that started its batch was lost" in result.stderr


def workers_of(process: int) -> list[int]:
    """Worker processes of a local cluster."""
    children = Path(f"/proc/{process}/task/{process}/children")
    found = [
        int(child) for path in children.parent.parent.glob("*/children") for child in path.read_text().split()
    ]
    return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.slow
def test_a_lost_worker_costs_nothing(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    pictures = [DATA / "images/set/square.jpg", DATA / "images/set/tall.png"]
    (tmp_path / "images").mkdir()
    (tmp_path / "models").symlink_to(DATA / "models")
    for number in range(40):
        source = pictures[number % 2]
        shutil.copy(source, tmp_path / f"images/{number:02}{source.suffix}")
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    path = listing(tmp_path, *(f"images/{name} 3" for name in names), "images/none.jpg 1")
    words = ["-c", CONFIG, "-f", path, "--threads", 2, "--batch", 2, "--top", 2]
    assert run(*words, "-p", "plain", cwd=tmp_path).returncode == 4
    process = subprocess.Popen(
        [sys.executable, "-m", "caffe_lrp", *map(str, words), "-p", "dask", "--dask", "local"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    limit = time.monotonic() + 60
    while len(list(tmp_path.glob("dask/out/images/*_rawhm.txt"))) < 10 and time.monotonic() < limit:
        time.sleep(0.01)
    workers = workers_of(process.pid)
    os.kill(workers[0], signal.SIGKILL)
    printed, complaints = process.communicate(timeout=60)
    assert (process.returncode, len(workers)) == (4, 2)
    assert "80 of 82 heatmaps made" in printed
    assert "line 41: images/none.jpg: no such image" in complaints  # as the list names it
    plain, dask = tmp_path / "plain", tmp_path / "dask"
    complete = [name for name in files_below(dask) if not name.endswith(".tmp")]
    assert complete == files_below(plain)
    assert all((dask / name).read_bytes() == (plain / name).read_bytes() for name in complete)
