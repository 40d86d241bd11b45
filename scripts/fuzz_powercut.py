#!/usr/bin/env python3
"""Simulates power cuts of runs of caffe-lrp at random moments, and checks that journals are still right.

A layer (`powercut_layer`) drops unsynced data, or keeps some of it, or only the beginning, the length or some
sectors of a file. At random moments of a run, and right after its end, it writes the remainder to a new
folder. There, all files of every map that is done in a complete line of a journal must have exactly the bytes
of a run without a cut; in a database, every marked row must equal that of such a run. After every fourth cut,
the same command runs again on the remainder, and must end with 0 and all files complete.

The runs write files of several kinds, or a database, with one formula or several, and some continue from the
remainder of an earlier cut. ``--seed`` determines everything except the scheduling of threads. Findings are
printed to standard error, a summary to standard output, and the exit code is 1 if there are findings.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "fuzz"))

import h5py
import numpy as np
from hostile_reference import Reference, reference_in, states_in, wrong_files
from hostile_scene import (
    OUT,
    Size,
    command,
    copy_scene,
    remove_scene,
    results_in,
    run_here,
    run_well,
    write_scene,
)
from powercut_layer import Disk, layered

SIZE = Size(images=12, side=16)

#: Options of the runs.
RUNS = (
    ("--outputs", "heatmap,rawhm,top10,npy"),
    ("--outputs", "heatmap,rawhm,top10,npy", "--formula", "0,100"),
    ("--outputs", "h5"),
    ("--outputs", "h5,npy", "--input-dataset", "--formula", "2"),
    ("--outputs", "npy", "--batch", "2", "--top", "2"),
)

#: Cuts in one run, including the one after its end.
CUTS_PER_RUN = 8
#: Probability of a cut at a sync, and the longest time between other cuts in seconds.
_CHANCE_AT_SYNC, _LONGEST_PAUSE = 0.1, 0.06
_UNMARKED = 2**32 - 1


@dataclass
class Cutter:
    """Cuts the power at random moments.

    Attributes
    ----------
    disk
        The disk.
    folder
        Gets a folder for every cut.
    chance
        Random generator.
    most
        The most cuts.
    cuts
        The folders of the cuts.
    """

    disk: Disk
    folder: Path
    chance: random.Random
    most: int
    cuts: list[Path] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def cut(self) -> None:
        """Cut now, unless there were enough cuts."""
        with self.disk.lock:
            if len(self.cuts) < self.most and self.disk.root.is_dir():
                target = self.folder / f"cut{len(self.cuts)}"
                self.disk.cut(target, self.chance)
                self.cuts.append(target)

    def maybe(self) -> None:
        """Cut now, perhaps."""
        with self.disk.lock:
            if self.chance.random() < _CHANCE_AT_SYNC:
                self.cut()

    def work(self) -> None:
        """Cut from time to time until the run has ended."""
        pauses = random.Random(self.chance.random())
        while not self.is_over.wait(pauses.uniform(0, _LONGEST_PAUSE)):
            self.cut()


def run_with_cuts(scene: Path, arguments: Sequence[str], cutter: Cutter) -> None:
    """Run a command line in a scene while ``cutter`` cuts the power.

    Raises
    ------
    RuntimeError
        It does not end 0.
    """
    cutter.disk.root.mkdir(exist_ok=True)
    cutter.disk.adopt()
    timer = threading.Thread(target=cutter.work)
    with layered(cutter.disk, cutter.maybe):
        timer.start()
        try:
            run_well(scene, arguments)
        finally:
            cutter.is_over.set()
            timer.join()
    cutter.most += 1
    cutter.cut()  # the run has ended, but the disk may not have noticed
    cutter.disk.release()


def lies_in(out: Path, reference: Reference) -> list[str]:
    """Return maps that are done in a journal, or marked in a database, but wrong or missing."""
    states = states_in(out / reference.journal)
    done = [job for job, state in states.items() if state == "done"]
    wrong = wrong_files(out, reference, done)
    for name, content in reference.rows.items():
        if done and not (out / name).is_file():
            wrong.append(f"{name} is not there")
        elif (out / name).is_file():
            wrong += _wrong_marked_rows(out / name, content, must_open=bool(done))
    return [f"{len(done)} maps are done, {len(wrong)} faults, such as: {wrong[0]}"] if wrong else []


def _wrong_marked_rows(path: Path, content: bytes, *, must_open: bool) -> list[str]:
    """Return which marked rows of a database are not those of the reference."""
    wanted = path.with_name(f"{path.name}.wanted")
    wanted.write_bytes(content)
    try:
        with h5py.File(path, "r", locking=False) as left, h5py.File(wanted, "r", locking=False) as right:
            return [
                f"row {row} of '{name}' in {path.name} is marked and differs"
                for row in np.flatnonzero(left["index"][...] != _UNMARKED)
                for name in right
                if not np.array_equal(left[name][row], right[name][row])
            ]
    except (OSError, KeyError, ValueError) as error:
        return [f"{path.name}: {error}"] if must_open else []
    finally:
        wanted.unlink()


def faults_of_resuming(scene: Path, arguments: Sequence[str], results: dict[str, bytes]) -> list[str]:
    """Return the findings of a run that continues after a cut."""
    code, text = run_here(scene, arguments)
    if code:
        return [f"the same command ended {code} afterwards: {text[-600:]}"]
    found = results_in(scene / OUT)
    wrong = sorted(name for name in {*results, *found} if found.get(name) != results.get(name))
    return [f"after the same command, {len(wrong)} files differ, such as {wrong[0]}"] if wrong else []


def restart(cut: Path, out: Path) -> None:
    """Copy the remainder of a cut to an output folder, as if long after a restart: leases have expired."""
    copy_scene(cut, out)
    for lease in out.glob(".caffe-lrp-*.lease"):
        lease.unlink()


@dataclass
class Totals:
    """Counts of cuts and findings.

    Attributes
    ----------
    cuts, resumed, syncs, findings
        The counts.
    """

    cuts: int = 0
    resumed: int = 0
    syncs: int = 0
    findings: int = 0


def cut_one_run(
    template: Path, folder: Path, options: tuple[str, ...], chance: random.Random, every: int, most: int
) -> tuple[Totals, list[str]]:
    """Cut the power of one run several times; return the totals, and the findings as texts."""
    arguments = command(*options)
    alone = copy_scene(template, folder / "alone")
    run_well(alone, arguments)
    reference, results = reference_in(alone / OUT), results_in(alone / OUT)
    scene = copy_scene(template, folder / "scene")
    totals, said = Totals(), []
    for turn in range(2):  # the second one goes on after a cut of the first
        cutter = Cutter(Disk(scene / OUT), folder / f"turn{turn}", chance, max(0, most - totals.cuts - 1))
        run_with_cuts(scene, arguments, cutter)
        totals.syncs += cutter.disk.syncs
        sound = []
        for cut in cutter.cuts:
            faults = lies_in(cut, reference)
            after = copy_scene(template, folder / "after")
            restart(cut, after / OUT)
            if totals.cuts % every == 0:
                totals.resumed += 1
                faults += faults_of_resuming(after, arguments, results)
            remove_scene(after)
            totals.cuts += 1
            totals.findings += bool(faults)
            said += [f"{' '.join(options)}: turn {turn}, {cut.name}: {fault}" for fault in faults]
            sound += [] if faults else [cut]
        remove_scene(scene)
        copy_scene(template, scene)
        if totals.cuts >= most or not sound:
            break
        restart(chance.choice(sound), scene / OUT)
    return totals, said


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Simulate power cuts, and check that journals are right.")
    parser.add_argument("--count", type=int, default=200, metavar="N", help="cuts (200)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the seed (0)")
    parser.add_argument("--resume", type=int, default=4, metavar="K", help="go on after every K-th cut (4)")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run the requested cuts; return 1 if there are findings."""
    options = arguments(given)
    sums = Totals()
    started = time.perf_counter()
    run = 0
    with tempfile.TemporaryDirectory(prefix="caffe-lrp-powercut-") as name:
        template = write_scene(Path(name) / "template", SIZE)
        while sums.cuts < options.count:
            chance = random.Random(f"{options.seed} {run}")
            folder = Path(name) / f"run{run}"
            most = min(2 * CUTS_PER_RUN, options.count - sums.cuts)
            totals, said = cut_one_run(template, folder, RUNS[run % len(RUNS)], chance, options.resume, most)
            for field_name, value in vars(totals).items():
                setattr(sums, field_name, getattr(sums, field_name) + value)
            for line in said:
                print(f"seed {options.seed}, run {run}: {line}", file=sys.stderr, flush=True)
            remove_scene(folder)
            run += 1
    print(
        f"{sums.cuts} cuts in {run} runs of {sums.syncs} syncs, {sums.resumed} gone on after, "
        f"{sums.findings} with findings, {time.perf_counter() - started:.0f} s"
    )
    return 1 if sums.findings else 0


if __name__ == "__main__":
    sys.exit(main())
