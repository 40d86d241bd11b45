#!/usr/bin/env python3
"""Puts runs of caffe-lrp into hostile situations, and checks that they end properly.

A situation is a small run with one hostile condition: a wrong journal, an invalid database, a pipe in the
place of a file, absurd values in a config, junk in environment variables, limits that are too low, signals at
random moments, an output folder that is removed. In every case the run must end within 10 seconds and 1 GB,
with an exit code from the manual, without a traceback or an internal error, and without touching anything
outside its output folder. If possible, a good run follows in the same output folder: it must either make
every map as if nothing had happened, or be refused.

Situations are numbered; the number and ``--seed`` determine everything except timing. Most runs are forks of
this process, so a thousand situations take a few minutes. Needs Linux; as root, some runs are started as a
user without rights. Findings are printed to standard error, a table to standard output, and the exit code is
1 if there are findings. ``--only NUMBER`` repeats one situation, and ``--keep`` keeps scenes with findings.
"""

import argparse
import random
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "fuzz"))

import situations_files
import situations_inputs
import situations_outputs
import situations_runs
from hostile_process import Attempt, Outcome, faults_of, quoted, run_attempt
from hostile_scene import (
    LARGEST_FILE,
    OUT,
    command,
    copy_scene,
    difference,
    documented_codes,
    journal_lines,
    remove_scene,
    results_in,
    snapshot,
)
from situations_base import Kind, Situation, Stage, prepare_stage

KINDS: dict[str, Kind] = {
    **situations_files.KINDS,
    **situations_inputs.KINDS,
    **situations_runs.KINDS,
    **situations_outputs.KINDS,
}

#: Longest time a run may take, in seconds.
MOST_SECONDS = 10.0

_REFUSALS = (2, 3, 5)


@dataclass(frozen=True)
class Verdict:
    """The end of a situation, and its findings."""

    number: int
    kind: str
    situation: Situation
    outcome: Outcome
    faults: tuple[str, ...]

    def __str__(self) -> str:
        lines = "".join(f"  {fault}\n" for fault in self.faults)
        given = " ".join(self.situation.attempt.arguments)
        return f"{self.kind}, --only {self.number}: {self.situation.what}\n{lines}  caffe-lrp {given[:500]}"


@dataclass
class Tally:
    """The results of the situations of one kind."""

    kind: str
    count: int = 0
    ended: dict[int, int] = field(default_factory=dict)
    findings: int = 0
    slowest: float = 0.0
    peak: int = 0

    def add(self, verdict: Verdict) -> None:
        """Count one situation."""
        outcome = verdict.outcome
        self.count += 1
        self.ended[outcome.code] = self.ended.get(outcome.code, 0) + 1
        self.findings += bool(verdict.faults)
        self.slowest, self.peak = max(self.slowest, outcome.seconds), max(self.peak, outcome.peak)

    @property
    def row(self) -> list[str]:
        """The line of the table."""
        refused = sum(self.ended.get(code, 0) for code in _REFUSALS)
        done, failed = self.ended.get(0, 0), self.ended.get(4, 0)
        counts = [self.count, done, failed, refused, self.count - done - failed - refused, self.findings]
        return [self.kind, *map(str, counts), f"{self.slowest:.2f}", f"{self.peak / 2**20:.0f}"]


def table(tallies: Sequence[Tally]) -> str:
    """Return the results, a line for every kind of situation."""
    head = [
        "kind",
        "situations",
        "ended 0",
        "ended 4",
        "refused",
        "others",
        "findings",
        "slowest s",
        "peak MB",
    ]
    rows = [head, *(tally.row for tally in tallies)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    return "\n".join("  ".join(row) for row in aligned)


def kind_of(number: int) -> str:
    """Return the kind of a situation, which follows from its number alone."""
    return list(KINDS)[number % len(KINDS)]


def numbers_of(kinds: Sequence[str], count: int) -> Iterator[int]:
    """Yield the numbers of the first ``count`` situations of some kinds."""
    number = found = 0
    while found < count:
        if kind_of(number) in kinds:
            found += 1
            yield number
        number += 1


def judge(stage: Stage, number: int, seed: int, seconds: float, documented: frozenset[int]) -> Verdict:
    """Set up a situation in ``stage.folder / "scene"``, run it, and return its findings."""
    scene, console = stage.folder / "scene", stage.folder / "console"
    kind = kind_of(number)
    copy_scene(stage.template, scene)
    situation = KINDS[kind](stage, scene, random.Random(f"{seed} {number}"))
    before = snapshot(scene)
    outcome = run_attempt(situation.attempt, scene, console, seconds)
    faults = faults_of(situation.attempt, outcome, documented)
    faults += filter(None, [difference(before, snapshot(scene))])
    if faults:
        faults.append(f"printed:\n{quoted(outcome.text)}")
    if situation.follow:
        later, wrong = _faults_afterwards(stage, situation, console, seconds, documented)
        faults += wrong
        slower, larger = max(outcome.seconds, later.seconds), max(outcome.peak, later.peak)
        outcome = replace(outcome, seconds=slower, peak=larger)
    return Verdict(number, kind, situation, outcome, tuple(faults))


def _faults_afterwards(
    stage: Stage, situation: Situation, console: Path, seconds: float, documented: frozenset[int]
) -> tuple[Outcome, list[str]]:
    """Return the end of a good run after a situation, and its findings.

    Everything except the output folder is restored first.
    """
    scene = stage.folder / "scene"
    left = stage.folder / "left"
    scene.rename(left)
    copy_scene(stage.template, scene)
    if (left / OUT).exists() or (left / OUT).is_symlink():
        (left / OUT).rename(scene / OUT)
    remove_scene(left)
    attempt = Attempt(command(*situation.follow))
    before = snapshot(scene)
    outcome = run_attempt(attempt, scene, console, seconds)
    faults = faults_of(attempt, outcome, documented)
    faults += filter(None, [difference(before, snapshot(scene))])
    if outcome.code not in (0, 4) and not situation.may_be_refused:
        faults.append("nothing in the folder is hostile, but it does not go on")
    if situation.is_compared and outcome.code in (0, 4):
        faults += wrong_maps(scene / OUT, stage.references[situation.follow])
    if faults:
        faults.append(f"printed:\n{quoted(outcome.text)}")
    return outcome, [f"the good run afterwards (ended {outcome.code}): {fault}" for fault in faults]


def wrong_maps(out: Path, reference: dict[str, bytes]) -> list[str]:
    """Return the differences of a run's results from the reference; failed maps may be missing."""
    found = results_in(out)
    failed = {record.get("image") for path in out.glob("caffe-lrp-*.jsonl") for record in journal_lines(path)
              if record.get("status") == "failed" and isinstance(record.get("image"), str)}  # fmt: skip
    wrong = [name for name, content in reference.items() if name in found and found[name] != content]
    missing = [name for name in reference if name not in found and not _has_failed(name, failed)]
    words = [f"other bytes than those of an undisturbed run in {', '.join(wrong[:5])}"] if wrong else []
    return words + ([f"files are missing: {', '.join(missing[:5])}"] if missing else [])


def _has_failed(name: str, failed: set[object]) -> bool:
    """Whether a file belongs to a failed image, or is a database, which has all images."""
    return any(name.startswith(f"{image}_") for image in failed)


def keep(folder: Path, stage: Stage, verdict: Verdict) -> None:
    """Keep the current scene of a finding, and the finding."""
    target = folder / f"{verdict.kind}-{verdict.number}"
    remove_scene(target)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copytree(stage.folder / "scene", target, symlinks=True, ignore=_unfit)
    except shutil.Error as error:
        print(f"fuzz_situations.py: {target}: not all could be kept: {error}", file=sys.stderr)
    (target.with_suffix(".why.txt")).write_text(str(verdict), errors="surrogateescape")


def _unfit(folder: str, names: list[str]) -> list[str]:
    """Files that cannot be copied (pipes and sockets), or are not worth it (gigabytes of zeros)."""
    states = {name: Path(folder, name).lstat() for name in names}
    return [
        name
        for name, state in states.items()
        if stat.S_ISFIFO(state.st_mode) or stat.S_ISSOCK(state.st_mode) or state.st_size > LARGEST_FILE
    ]


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description="Put runs into hostile situations, and check that they end properly.",
        epilog=f"kinds: {', '.join(KINDS)}",
    )
    parser.add_argument("--count", type=int, default=1000, metavar="N", help="situations in all (1000)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the seed (0)")
    parser.add_argument("--kind", nargs="+", choices=KINDS, metavar="NAME", help="only these kinds")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="only the situation of this number")
    parser.add_argument(
        "--seconds", type=float, default=MOST_SECONDS, metavar="T", help="longest time of a run (10)"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where to keep scenes with findings")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run the requested situations; return 1 if there are findings."""
    options = arguments(given)
    documented = documented_codes()
    tallies: dict[str, Tally] = {}
    numbers = numbers_of(options.kind or list(KINDS), options.count)
    with tempfile.TemporaryDirectory(prefix="caffe-lrp-situations-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # for the user without rights
        stage = prepare_stage(folder)
        for number in numbers if options.only is None else [options.only]:
            verdict = judge(stage, number, options.seed, options.seconds, documented)
            tallies.setdefault(verdict.kind, Tally(verdict.kind)).add(verdict)
            if verdict.faults:
                print(f"seed {options.seed}: {verdict}\n", file=sys.stderr, flush=True)
                if options.keep:
                    keep(options.keep, stage, verdict)
            remove_scene(stage.folder / "scene")
    print(table(list(tallies.values())))
    return 1 if any(tally.findings for tally in tallies.values()) else 0


if __name__ == "__main__":
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(main())
