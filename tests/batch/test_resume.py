"""Runs that go on, share a folder, or are killed: by what they leave on disk."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import DATA, config, listing, run, run_demo
from run_builders import (
    all_of,
    arguments,
    command,
    contents,
    copies,
    finish,
    journal_of,
    records,
    wait_for_maps,
)

from caffe_lrp.batch.delivery import Delivery
from caffe_lrp.batch.job import HeatmapJob
from caffe_lrp.cli import main as cli


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Twelve copies of pictures, so that a run takes its time."""
    return copies(tmp_path / "images", 12)


def test_the_journal_says_what_became_of_every_map(images: Path, tmp_path: Path) -> None:
    path = listing(tmp_path, f"{images}/00.jpg 3", "images/none.jpg 1", f"{images}/01.png 9999")
    out = tmp_path / "o"
    assert finish(path, out).returncode == 4
    header = json.loads(journal_of(out).read_text().splitlines()[0])
    assert (header["jobs"], header["range"], header["shard"]) == (3, [0, 3], [0, 1])
    assert header["outputs"] == ["heatmap", "input", "top10", "rawhm"]
    assert header["description"]["quirks"] == "reference"
    assert header["labels"].startswith("/")
    assert Path(header["labels"]).is_file()
    assert header["preprocessing"]["resize"] == "reference"
    first, second, third = records(journal_of(out))
    assert (first["job"], first["line"], first["status"]) == (0, 1, "done")
    assert (out / "out" / f"{first['stem']}_rawhm.txt").is_file()
    lines = (out / "out" / f"{first['stem']}_top10scores.txt").read_text().splitlines()
    assert [f"{index} {score:g}" for index, score in first["best"]] == lines[:5]
    assert first["classes"] == [3]
    assert f"3 {first['score']:g}" == lines[first["rank"] - 1]
    assert "best" not in third
    assert first["seconds"] > 0
    assert (second["status"], third["status"]) == ("failed", "failed")
    assert "no such image" in second["error"]
    assert "class 9999 does not exist" in third["error"]
    summary = json.loads((out / "out/summary.json").read_text())
    assert (summary["done"], summary["failed"], summary["missing"]) == (1, 2, 0)
    assert summary["quirks"] == "reference"
    assert summary["interrupted"] is False


def test_a_run_goes_on_where_it_ended_and_does_what_is_missing(images: Path, tmp_path: Path) -> None:
    path, out = all_of(images), tmp_path / "o"
    assert finish(path, out).returncode == 0
    before = contents(out)
    lost = next((out / "out").rglob("05.png_heatmap.png"))
    emptied = next((out / "out").rglob("06.jpg_top10scores.txt"))
    kept = next((out / "out").rglob("04.jpg_rawhm.txt"))
    lost.unlink()
    emptied.write_bytes(b"")
    kept.write_text("of another time")
    lines = journal_of(out).read_text().splitlines(keepends=True)
    journal_of(out).write_text("".join(line for line in lines if '"job": 9,' not in line))
    result = finish(path, out)
    assert (result.returncode, len(records(journal_of(out)))) == (0, 14)
    assert "9 of 12 maps are done, the files of 2 are gone; 3 left" in result.stderr
    assert result.stdout.startswith("12 of 12 heatmaps made in")
    assert "9 of them in earlier runs" in result.stdout
    assert kept.read_text() == "of another time"
    kept.write_bytes(before[str(kept.relative_to(out))])
    assert contents(out) == before


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda out, path: path.unlink(), "00.jpg_heatmap.png: files of 1 map, of 12 that this run has made"),
        (lambda out, path: shutil.rmtree(out), "out: the lease of this run is gone"),
        (lambda out, path: out.rename(out.with_name("moved")), "out: the lease of this run is gone"),
    ],
)
def test_what_vanishes_during_a_run_is_said_at_its_end(
    loss: Callable[[Path, Path], object],
    said: str,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, out = all_of(images), tmp_path / "o"
    deliver = Delivery.deliver
    delivered: list[HeatmapJob] = []

    def deliver_and_lose(delivery: Delivery, job: HeatmapJob, result: Any) -> None:
        deliver(delivery, job, result)
        delivered.append(job)
        if len(delivered) == 3:
            loss(out / "out", Path(f"{delivered[0].stem}_heatmap.png"))

    with monkeypatch.context() as patched:
        patched.setattr(Delivery, "deliver", deliver_and_lose)
        patched.chdir(DATA)
        assert cli.main(arguments(path, out)) == 5
        assert said in capsys.readouterr().err
    monkeypatch.chdir(DATA)
    assert cli.main(arguments(path, out)) == 0
    assert len(list((out / "out").rglob("*_heatmap.png"))) == 12


def test_failed_maps_are_tried_again_if_asked_for(images: Path, tmp_path: Path) -> None:
    path, out = all_of(images), tmp_path / "o"
    hidden = images / "03.png"
    content = hidden.read_bytes()
    hidden.unlink()
    assert finish(path, out).returncode == 4
    hidden.write_bytes(content)
    again = finish(path, out)
    assert again.returncode == 4
    assert again.stdout == (
        f"nothing left to do: 11 of 12 heatmaps are already in {out / 'out'}, 1 failed (--retry-failed "
        "tries them again)\n"
    )
    retried = finish(path, out, "--retry-failed")
    assert retried.returncode == 0
    assert "11 of 12 maps are done; 1 left" in retried.stderr
    assert len(list(out.rglob("*_rawhm.txt"))) == 12


def test_a_run_that_only_fails_is_stopped(images: Path, tmp_path: Path) -> None:
    path, out = all_of(images), tmp_path / "o"
    for image in images.iterdir():
        image.write_bytes(b"no picture")
    result = finish(path, out, "--max-failures", 3)
    assert result.returncode == 4
    assert "after 3 failures (--max-failures), 9 left" in result.stderr
    assert len(records(journal_of(out))) == 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_finishes_what_is_under_way_and_goes_on_later(
    tmp_path: Path, number: signal.Signals
) -> None:
    path, out, whole = all_of(copies(tmp_path / "images", 60)), tmp_path / "o", tmp_path / "whole"
    process = subprocess.Popen(
        command(path, out), cwd=DATA, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for_maps(out, 2)
    process.send_signal(number)
    _, complaint = process.communicate(timeout=60)
    done = len(records(journal_of(out)))
    assert 2 <= done < 60
    assert process.returncode == 130
    assert "finishing the work in progress" in complaint
    assert f"interrupted: {60 - done} left; run the same command again to continue" in complaint
    assert json.loads((out / "out/summary.json").read_text())["interrupted"] is True
    assert len(list(out.rglob("*_rawhm.txt"))) == done
    assert finish(path, out).returncode == 0
    assert finish(path, whole).returncode == 0
    assert contents(out) == contents(whole)


@pytest.mark.slow
def test_runs_that_are_killed_again_and_again_equal_one_that_is_not(images: Path, tmp_path: Path) -> None:
    """At random moments, five times at least; nothing is half written, and nothing lost."""
    path, out, whole = all_of(images), tmp_path / "o", tmp_path / "whole"
    started = time.monotonic()
    assert finish(path, whole).returncode == 0
    seconds = time.monotonic() - started
    moments = random.Random(3)
    for _ in range(5):
        process = subprocess.Popen(
            command(path, out), cwd=DATA, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(seconds * moments.uniform(0.3, 1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        for name, content in contents(out).items():
            assert Path(name).suffix == ".tmp" or content == (whole / name).read_bytes()
    assert finish(path, out).returncode == 0
    assert contents(out) == contents(whole)


def test_what_was_half_written_is_removed_if_it_is_ours(images: Path, tmp_path: Path) -> None:
    path, out = all_of(images), tmp_path / "o"
    assert finish(path, out).returncode == 0
    folder = next((out / "out").rglob("05.png_rawhm.txt")).parent
    (folder / "05.png_rawhm.txt").unlink()
    ours, other = folder / ".05.png_rawhm.txt.0123abcd.tmp", folder / ".other.png_rawhm.txt.0123abcd.tmp"
    ours.touch()
    other.touch()
    assert finish(path, out).returncode == 0
    assert not ours.exists()
    assert other.exists()


def test_a_line_that_was_cut_off_counts_as_not_written(images: Path, tmp_path: Path) -> None:
    path, out = all_of(images), tmp_path / "o"
    assert finish(path, out).returncode == 0
    journal = journal_of(out)
    journal.write_bytes(journal.read_bytes()[:-20])
    result = finish(path, out)
    assert "11 of 12 maps are done; 1 left" in result.stderr
    lines = journal.read_bytes().splitlines()
    assert json.loads(lines[-1])["job"] == 11
    journal.write_bytes(lines[0][:40])
    assert "earlier run" not in finish(path, out).stderr
    assert len(records(journal)) == 12


def test_other_settings_share_the_folder_unless_they_would_overwrite(images: Path, tmp_path: Path) -> None:
    path, out = all_of(images), tmp_path / "o"
    assert finish(path, out).returncode == 0
    before = contents(out)
    refused = finish(path, out, "--formula", 0)
    assert refused.returncode == 5
    assert "is the journal of another run" in refused.stderr
    assert "files of 12 maps would be overwritten, such as" in refused.stderr
    assert Path(refused.stderr.split("such as ")[1].split(";")[0]).is_file()
    assert contents(out) == before
    assert finish(path, out, "--formula", 0, "--suffix-target").returncode == 0
    assert len(list((out / "out").glob("caffe-lrp-*.jsonl"))) == 2
    overwritten = finish(path, out, "--formula", 0, "--overwrite")
    assert overwritten.returncode == 0
    assert contents(out) != before
    # The first run has lost its files, and would overwrite those of the other one.
    assert finish(path, out).returncode == 5
    assert finish(path, out, "--formula", 0).returncode == 0
    assert finish(path, out, "--overwrite").returncode == 0
    assert {name: content for name, content in contents(out).items() if name in before} == before


@pytest.mark.slow
def test_a_run_that_is_going_on_is_not_overwritten(tmp_path: Path) -> None:
    path, out = all_of(copies(tmp_path / "images", 60)), tmp_path / "o"
    process = subprocess.Popen(
        command(path, out), cwd=DATA, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for_maps(out, 1)
    process.send_signal(signal.SIGSTOP)
    second = finish(path, out, "--formula", 0, "--overwrite")
    process.send_signal(signal.SIGCONT)
    assert (second.returncode, "is in progress" in second.stderr) == (5, True)
    assert process.wait(timeout=120) == 0


def test_a_database_is_overwritten_if_that_is_asked_for(images: Path, tmp_path: Path) -> None:
    path, out = all_of(images), tmp_path / "o"
    assert finish(path, out, "--outputs", "h5").returncode == 0
    refused = finish(path, out, "--outputs", "h5", "--formula", 0)
    assert (refused.returncode, "its database of 12 maps would be overwritten" in refused.stderr) == (5, True)
    again = finish(path, out, "--outputs", "h5")
    assert again.stdout.startswith("nothing left to do: 12 of 12 heatmaps are already in ")
    assert finish(path, out, "--outputs", "h5", "--formula", 0, "--overwrite").returncode == 0
    other = finish(path, out, "--outputs", "h5", "--formula", 0)
    assert other.stdout.startswith("nothing left to do: 12 of 12 heatmaps are already in ")
    overwritten, other = json.loads(run("status", out, "--json").stdout)
    if overwritten["done"]:
        overwritten, other = other, overwritten
    assert (overwritten["done"], overwritten["missing"], overwritten["replaced"]) == (0, 0, 12)
    assert (other["done"], other["missing"], other["replaced"]) == (12, 0, 0)
    assert "0 missing, 12 overwritten by another run\n" in run("status", out).stdout


def test_a_database_is_one_whatever_its_images_are_called(images: Path, tmp_path: Path) -> None:
    path, out = all_of(images), tmp_path / "o"
    half = tmp_path / "half.txt"
    half.write_text("".join(path.read_text().splitlines(keepends=True)[:5]))
    assert finish(path, out, "--outputs", "h5", "--suffix-target").returncode == 0
    for options in (["--suffix-target"], ["--suffix-target", "--formula", 0]):
        refused = finish(half, out, "--outputs", "h5", *options)
        assert (refused.returncode, "database of 12 maps would be overwritten" in refused.stderr) == (5, True)
    # A shard has a file of its own.
    assert finish(half, out, "--outputs", "h5", "--shard", "0/2").returncode == 0
    assert len(list((out / "out").glob("*.jsonl"))) == 2
    assert finish(half, out, "--outputs", "h5", "--formula", 0, "--overwrite").returncode == 0
    states = sorted(
        (found["done"], found["replaced"]) for found in json.loads(run("status", out, "--json").stdout)
    )
    assert states == [(0, 12), (2, 0), (5, 0)]


def test_files_that_are_overwritten_leave_the_own_database_alone(images: Path, tmp_path: Path) -> None:
    path, out = all_of(images), tmp_path / "o"
    both = ["--outputs", "heatmap,h5"]
    assert finish(path, out, *both).returncode == 0
    assert finish(path, out, "--outputs", "heatmap", "--formula", 0, "--overwrite").returncode == 0
    inode = (out / "out/maps.h5").stat().st_ino
    again = finish(path, out, *both, "--overwrite")
    assert again.returncode == 0
    assert (out / "out/maps.h5").stat().st_ino == inode


def test_a_run_that_is_refused_leaves_no_journal(images: Path, tmp_path: Path) -> None:
    path, out = all_of(images), tmp_path / "o"
    (out / "out").mkdir(parents=True)
    (out / "out/maps.h5").write_text("mine")
    assert finish(path, out, "--outputs", "h5").returncode == 5
    assert [file.name for file in (out / "out").iterdir()] == ["maps.h5"]


def test_what_virelay_opens_is_written_once(images: Path, tmp_path: Path) -> None:
    path, out = all_of(images), tmp_path / "o"
    options = ["--outputs", "h5", "--input-dataset"]
    assert finish(path, out, *options).returncode == 0
    project = out / "out/project.yaml"
    project.write_text("with analyses")
    assert finish(path, out, *options).returncode == 0
    assert project.read_text() == "with analyses"
    project.unlink()
    project.mkdir()
    (out / "out/maps.h5").unlink()
    failed = finish(path, out, *options)
    assert (failed.returncode, "project.yaml: cannot be written: Is a directory" in failed.stderr) == (
        5,
        True,
    )
    project.rmdir()
    assert finish(path, out, *options).returncode == 0
    assert project.is_file()


@pytest.mark.slow
def test_a_run_that_goes_on_is_said_to(images: Path, tmp_path: Path) -> None:
    path, out = all_of(images), tmp_path / "o"
    process = subprocess.Popen(
        command(path, out), cwd=DATA, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for_maps(out, 1)
    process.send_signal(signal.SIGSTOP)
    (found,) = json.loads(run("status", out, "--json").stdout)
    process.send_signal(signal.SIGCONT)
    assert found["running"] == 1
    assert process.wait(timeout=120) == 0
    (found,) = json.loads(run("status", out, "--json").stdout)
    assert found["running"] == 0


def test_a_database_that_is_gone_or_damaged_is_noticed(images: Path, tmp_path: Path) -> None:
    path, out = all_of(images), tmp_path / "o"
    assert finish(path, out, "--outputs", "h5").returncode == 0
    database = out / "out/maps.h5"
    content = database.read_bytes()
    database.unlink()
    again = finish(path, out, "--outputs", "h5")
    assert "0 of 12 maps are done, the files of 12 are gone; 12 left" in again.stderr
    assert database.read_bytes() == content
    database.write_bytes(content[:1000])
    damaged = finish(path, out, "--outputs", "h5")
    assert (damaged.returncode, "maps.h5: cannot be opened as a database" in damaged.stderr) == (5, True)
    assert database.read_bytes() == content[:1000]


def test_the_drop_in_never_refuses(images: Path, tmp_path: Path) -> None:
    shutil.copytree(DATA / "models", tmp_path / "models")
    changed = config(tmp_path, standalone_outpath=str(tmp_path / "o"), standalone_rootpath="images")
    path = tmp_path / "drop.txt"
    path.write_text("images/00.jpg 3\n")
    for formula in (2, 0):
        text = changed.read_text().split("\n")
        text[text.index("relpropformulatype") + 1] = str(formula)
        changed.write_text("\n".join(text))
        assert run_demo(changed, path, tmp_path).returncode == 0


@pytest.mark.slow
def test_two_processes_do_not_share_a_journal(tmp_path: Path) -> None:
    path, out = all_of(copies(tmp_path / "images", 60)), tmp_path / "o"
    process = subprocess.Popen(
        command(path, out), cwd=DATA, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for_maps(out, 1)
    process.send_signal(signal.SIGSTOP)
    second = finish(path, out)
    process.send_signal(signal.SIGCONT)
    assert second.returncode == 5
    assert "another process is already doing this run" in second.stderr
    assert process.wait(timeout=120) == 0


def test_shards_together_make_what_one_run_makes(images: Path, tmp_path: Path) -> None:
    path, out, whole = all_of(images), tmp_path / "o", tmp_path / "whole"
    assert finish(path, whole).returncode == 0
    for index in range(3):
        assert finish(path, out, "--shard", f"{index}/3").returncode == 0
    assert contents(out) == contents(whole)
    ranges = [
        json.loads(journal.read_text().splitlines()[0])["range"] for journal in (out / "out").glob("*.jsonl")
    ]
    assert sorted(ranges) == [[0, 4], [4, 8], [8, 12]]
    other = finish(path, out, "--shard", "0/4")
    assert other.returncode == 5
    assert "was started in 3 parts, and now has 4" in other.stderr
    status = run("status", out / "out")
    assert status.returncode == 0
    assert "12 of 12 maps done, 0 failed, 0 missing; 3 of 3 shards begun" in status.stdout


def test_a_task_of_an_array_takes_its_part(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = all_of(images), tmp_path / "o"
    array = {"ID": 2, "MIN": 1, "MAX": 3, "STEP": 1, "COUNT": 3}
    for name, value in array.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    assert finish(path, out, "--shard", "auto").returncode == 0
    assert sorted(journal["job"] for journal in records(journal_of(out))) == [4, 5, 6, 7]
    for name in list(os.environ):
        if name.startswith("SLURM"):
            monkeypatch.delenv(name)
    result = finish(path, out, "--shard", "auto")
    assert (result.returncode, "not a task of a Slurm array job" in result.stderr) == (2, True)


def test_the_status_counts_failures_by_reason(images: Path, tmp_path: Path) -> None:
    path, out = all_of(images), tmp_path / "o"
    (images / "02.jpg").unlink()
    (images / "04.jpg").write_bytes(b"no picture")
    finish(path, out, "--shard", "0/2")
    text = run("status", out).stdout
    assert "4 of 12 maps done, 2 failed, 6 missing; 1 of 2 shards begun; nothing is running" in text
    assert "1 × " in text
    (found,) = json.loads(run("status", out / "out", "--json").stdout)
    assert (found["maps"], found["done"], found["failed"], found["missing"]) == (12, 4, 2, 6)
    assert found["shards"] == {"begun": [0], "of": 2}
    assert sum(found["reasons"].values()) == 2


def test_a_folder_without_journals_has_no_status(tmp_path: Path) -> None:
    result = run("status", tmp_path)
    assert (result.returncode, "contains no journal" in result.stderr) == (5, True)
