#!/usr/bin/env python3
"""Starts two or three runs of caffe-lrp on one output folder, and checks that nothing is lost or mixed up.

The runs differ in formula, kinds of output, list, shard or file names, or not at all. They start together or
one after the other; some are killed or asked to end at random moments, and some of these are started again.
Afterwards, every file that is done in a journal must have exactly the bytes that this run writes in a
separate folder. No file may be in two journals. A run that ended with 0 must have all its maps in the folder,
unless another run with --overwrite has replaced them and says so. Every other exit code must be in the
manual, and come with a message.

Pairs are numbered; the number and ``--seed`` determine the runs and when they are meant to start and end.
Every run is a separate process, so a pair takes a few seconds. Findings are printed to standard error, a
summary to standard output, and the exit code is 1 if there are findings.
"""

import argparse
import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "fuzz"))

from hostile_process import Attempt, Outcome, faults_of, quoted, sending
from hostile_reference import Reference, reference_in, states_in, wrong_files, wrong_rows
from hostile_scene import (
    OUT,
    Size,
    command,
    copy_scene,
    documented_codes,
    process_command,
    process_environment,
    remove_scene,
    run_well,
    write_list,
    write_scene,
)

#: Longest time of a run in seconds; the machine may be busy.
MOST_SECONDS = 60.0

SIZE = Size(images=24, side=56, channels=8)
_OUTPUTS = ("heatmap,rawhm,top10,npy", "heatmap,rawhm,top10,npy", "npy", "heatmap", "h5")
_LISTS = ("list.txt", "list.txt", "first.txt", "last.txt", "middle.txt")
_SHARDS = ((), (), (), ("--shard", "0/2"), ("--shard", "1/2"), ("--shard", "0/3"))
_FORMULAS = ("0", "100", "2")


@dataclass(frozen=True)
class RunSpec:
    """The part of a command line that determines its files: all except --overwrite.

    Attributes
    ----------
    images
        Name of the list.
    options
        The options.
    """

    images: str
    options: tuple[str, ...]

    def arguments(self, *more: str) -> tuple[str, ...]:
        """The whole command line."""
        return command(*self.options, *more, images=self.images)


@dataclass(frozen=True)
class Plan:
    """One of the runs of a pair, and what happens to it.

    Attributes
    ----------
    spec
        Its command line.
    overwrites
        Whether it has --overwrite.
    start
        Seconds after the start of the pair.
    end
        Seconds after the start of the process when it gets a signal; None: it gets none.
    number
        That signal.
    is_repeated
        Whether the same command is started again after that.
    """

    spec: RunSpec
    overwrites: bool
    start: float
    end: float | None
    number: int
    is_repeated: bool

    @property
    def arguments(self) -> tuple[str, ...]:
        """The whole command line."""
        return self.spec.arguments(*(("--overwrite",) if self.overwrites else ()))

    def __str__(self) -> str:
        text = f"{' '.join(self.arguments[2:])}, started at {self.start:.2f} s"
        if self.end is not None:
            text += f", {signal.Signals(self.number).name} after {self.end:.2f} s"
            text += ", started again" if self.is_repeated else ""
        return text


@dataclass
class Lone:
    """References, each made once."""

    template: Path
    known: dict[RunSpec, Reference] = field(default_factory=dict)

    def of(self, spec: RunSpec) -> Reference:
        """Return the results of an undisturbed run."""
        if spec not in self.known:
            scene = copy_scene(self.template, self.template.with_name("alone"))
            run_well(scene, spec.arguments())
            self.known[spec] = reference_in(scene / OUT)
            remove_scene(scene)
        return self.known[spec]


def write_template(folder: Path) -> Path:
    """Write the scene of all pairs, with lists that overlap and lists that do not."""
    template = write_scene(folder / "template", SIZE)
    lines = (template / "list.txt").read_text().split()[::2]
    half, third = len(lines) // 2, len(lines) // 3
    parts = {"first.txt": lines[:half], "last.txt": lines[half:], "middle.txt": lines[third : 2 * third]}
    for name, part in parts.items():
        write_list(template, part, name)
    return template


def plans_of(seed: int, number: int) -> list[Plan]:
    """Return the runs of a pair."""
    chance = random.Random(f"{seed} {number}")
    count = chance.choice((2, 2, 2, 2, 3))
    first = _random_spec(chance)
    specs = [first]
    while len(specs) < count:
        choice = chance.randrange(5)
        another = _random_spec(chance)
        specs.append(first if choice == 0 else _nearly(first, another, chance) if choice < 4 else another)
    together = chance.random() < 0.6
    return [_random_plan(spec, place, together, chance) for place, spec in enumerate(specs)]


def _random_spec(chance: random.Random) -> RunSpec:
    options = ("--outputs", chance.choice(_OUTPUTS), "--formula", chance.choice(_FORMULAS))
    suffix = ("--suffix-target",) if chance.random() < 0.2 else ()
    return RunSpec(chance.choice(_LISTS), (*options, *suffix, *chance.choice(_SHARDS)))


def _nearly(one: RunSpec, other: RunSpec, chance: random.Random) -> RunSpec:
    """Return a run that differs from another one in a single respect."""
    choice = chance.randrange(4)
    if choice == 0:
        return RunSpec(other.images, one.options)
    if choice == 1:
        return RunSpec(one.images, (*one.options[:4], *other.options[4:]))
    formula = chance.choice([code for code in _FORMULAS if code != one.options[3]])
    return RunSpec(one.images, (*one.options[:3], formula, *one.options[4:]))


def _random_plan(spec: RunSpec, place: int, together: bool, chance: random.Random) -> Plan:
    start = 0.0 if together or not place else chance.uniform(0, 3.0)
    end = chance.uniform(0.7, 3.5) if chance.random() < 0.35 else None
    number = chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
    return Plan(spec, chance.random() < 0.25, start, end, number, chance.random() < 0.5)


# Running


def run_pair(plans: Sequence[Plan], scene: Path, seconds: float) -> list[list[Outcome]]:
    """Run all plans in parallel; return the end of each process."""
    with ThreadPoolExecutor(len(plans)) as pool:
        return list(pool.map(partial(_follow, scene=scene, seconds=seconds), plans))


def _follow(plan: Plan, scene: Path, seconds: float) -> list[Outcome]:
    time.sleep(plan.start)
    outcomes = [_process(plan, scene, seconds, plan.end)]
    if plan.end is not None and plan.is_repeated and outcomes[0].code != 0:
        outcomes.append(_process(plan, scene, seconds, None))
    return outcomes


def _process(plan: Plan, scene: Path, seconds: float, end: float | None) -> Outcome:
    started = time.perf_counter()
    process = subprocess.Popen(
        process_command(plan.arguments),
        cwd=scene,
        env=process_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if end is not None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(end)
        process.send_signal(plan.number)
    is_hung = False
    try:
        text, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        is_hung = True
        process.kill()
        text, _ = process.communicate()
    return Outcome(process.returncode, text, time.perf_counter() - started, 0, is_hung)


# Judging


def faults_in(
    plans: Sequence[Plan],
    ends: Sequence[Sequence[Outcome]],
    out: Path,
    lone: Lone,
    documented: frozenset[int],
) -> list[str]:
    """Return the findings of a pair as texts."""
    found = []
    for place, (plan, outcomes) in enumerate(zip(plans, ends, strict=True)):
        for outcome in outcomes:
            attempt = Attempt(plan.arguments, disturbances=(sending(0, plan.number),), is_fresh=True)
            faults = faults_of(attempt, outcome, documented)
            found += [f"run {place}: {fault}\n{quoted(outcome.text)}" for fault in faults]
    references = {reference.journal: reference for reference in (lone.of(plan.spec) for plan in plans)}
    states = {name: states_in(out / name) for name in references}
    owners: dict[str, str] = {}
    for name, reference in references.items():
        found += _wrong_claims(name, reference, states[name], out, owners)
    is_replacing = {lone.of(plan.spec).journal for plan in plans if plan.overwrites}
    for place, (plan, outcomes) in enumerate(zip(plans, ends, strict=True)):
        reference = lone.of(plan.spec)
        if outcomes[-1].code == 0:
            others = is_replacing - {reference.journal}
            wrong = _not_done(reference, states[reference.journal], may_be_replaced=bool(others))
            found += [f"run {place} ended 0, but {wrong}"] if wrong else []
    return found


def _wrong_claims(
    name: str, reference: Reference, states: Mapping[int, str], out: Path, owners: dict[str, str]
) -> list[str]:
    """Return done files of a journal that are missing, belong to another run, or are in two journals."""
    done = [job for job, state in states.items() if state == "done"]
    claims = [
        *(path for job in done for path in reference.files.get(job, {})),
        *(reference.rows if done else ()),
    ]
    wrong = [
        f"{path} is claimed by another journal, too"
        for path in claims
        if owners.setdefault(path, name) != name
    ]
    wrong += wrong_files(out, reference, done)
    for path, content in reference.rows.items() if done else ():
        wrong += wrong_rows(out / path, content, [job - reference.first for job in done])
    return [f"{name}: of {len(done)} done, {len(wrong)} faults, such as: {wrong[0]}"] if wrong else []


def _not_done(reference: Reference, states: Mapping[int, str], *, may_be_replaced: bool) -> str:
    """Return what is missing from a successful run; empty if nothing is."""
    allowed = {"done", "replaced"} if may_be_replaced else {"done"}
    counts = Counter(states.get(job, "missing") for job in reference.files)
    wrong = {state: count for state, count in counts.items() if state not in allowed}
    return f"its journal says {dict(counts)}" if wrong else ""


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description="Start runs on one output folder, and check that no maps are lost."
    )
    parser.add_argument("--count", type=int, default=200, metavar="N", help="pairs (200)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the seed (0)")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="only the pair of this number")
    parser.add_argument(
        "--seconds", type=float, default=MOST_SECONDS, metavar="T", help="longest time of a run (60)"
    )
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run the requested pairs; return 1 if there are findings."""
    options = arguments(given)
    documented = documented_codes()
    numbers = range(options.count) if options.only is None else [options.only]
    codes: Counter[int] = Counter()
    findings = 0
    with tempfile.TemporaryDirectory(prefix="caffe-lrp-pairs-", ignore_cleanup_errors=True) as name:
        lone = Lone(write_template(Path(name)))
        for number in numbers:
            scene = copy_scene(lone.template, Path(name) / "scene")
            plans = plans_of(options.seed, number)
            ends = run_pair(plans, scene, options.seconds)
            faults = faults_in(plans, ends, scene / OUT, lone, documented)
            codes.update(outcome.code for outcomes in ends for outcome in outcomes)
            findings += bool(faults)
            if faults:
                told = [
                    f"run {place}: {plan}: ended {[end.code for end in ends[place]]}"
                    for place, plan in enumerate(plans)
                ]
                print(
                    f"seed {options.seed}, --only {number}:",
                    *told,
                    *faults,
                    "",
                    sep="\n  ",
                    file=sys.stderr,
                    flush=True,
                )
            remove_scene(scene)
    ended = ", ".join(f"{count} ended {code}" for code, count in sorted(codes.items()))
    print(f"{len(numbers)} pairs, {findings} with findings; of their processes {ended}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
