#!/usr/bin/env python3
"""Damages files of every kind that caffe-lrp reads, and checks that it refuses them properly.

Whatever a file contains, it must be read or refused with a message: no other exception, no more than 5
seconds, no more than 1 GB of memory. Each kind of file is read in its own process, with limits on memory and
time. The same seed gives the same damage. Nothing is kept, unless ``--keep`` gives a folder for findings.
"""

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "fuzz"))

from fuzz_mutations import mutated
from fuzz_parsers import Parser, parsers

from caffe_lrp.errors import CaffeLrpError

#: Longest time a file may take, in seconds, and most memory, in bytes.
MOST_SECONDS = 5
MOST_MEMORY = 2**30

#: Mutations per process, so that memory kept by libraries does not add up.
_PER_PROCESS = 250
_REFUSED, _ACCEPTED = "refused", "accepted"


@dataclass
class Tally:
    """The results for the damaged files of one kind."""

    parser: str
    refused: int = 0
    accepted: int = 0
    slowest: float = 0.0
    peak: int = 0
    findings: list[tuple[int, str]] = field(default_factory=list)

    def add(self, index: int, outcome: str, seconds: float, memory: int) -> None:
        """Count one file."""
        self.slowest, self.peak = max(self.slowest, seconds), max(self.peak, memory)
        if memory > MOST_MEMORY:
            outcome = f"{outcome}, but took {memory / 2**20:.0f} MB"
        if outcome == _REFUSED:
            self.refused += 1
        elif outcome == _ACCEPTED:
            self.accepted += 1
        else:
            self.findings.append((index, outcome))


def content_of(parser: Parser, seed: int, index: int) -> bytes:
    """Return damaged file number ``index``."""
    return mutated(parser.seeds, parser.damages, random.Random(f"{seed} {parser.name} {index}"))


def attempt(parser: Parser, path: Path) -> str:
    """Return caffe-lrp's result for a file: "refused", "accepted", or the traceback of another exception."""
    try:
        parser.read(path)
    except CaffeLrpError as error:
        return _REFUSED if str(error) else "refused without a word"
    except BaseException:  # noqa: BLE001 - anything else is what is looked for
        return traceback.format_exc(limit=-6)
    return _ACCEPTED


def _status(name: str) -> int:
    """Return an amount of memory of this process in bytes, as the system names it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _limit_process() -> None:
    """Set the limits of a process that reads damaged files; messages of libraries are dropped."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = _status("VmSize") + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _read_all(parser: Parser, seed: int, numbers: range, path: Path, pipe: int) -> None:
    """Read damaged files one after the other and report each."""
    before = _status("VmRSS")
    for index in numbers:
        path.write_bytes(content_of(parser, seed, index))
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
        signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
        started = time.perf_counter()
        outcome = attempt(parser, path)
        seconds = time.perf_counter() - started
        signal.setitimer(signal.ITIMER_REAL, 0)
        memory = max(0, _status("VmHWM") - before)
        os.write(pipe, f"{json.dumps([index, outcome, seconds, memory])}\n".encode())


def _reports(parser: Parser, seed: int, numbers: range, path: Path) -> Iterator[list[Any]]:
    """Yield the reports of a separate process, and last its end: None if it ended normally."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _limit_process()
            _read_all(parser, seed, numbers, path, writer)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as lines:
        yield from map(json.loads, lines)
    _, status = os.waitpid(child, 0)
    if status:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        took_too_long = f"takes more than {MOST_SECONDS} seconds"
        how = signal.Signals(number).name if number else "of its own accord"
        yield [-1, took_too_long if number == signal.SIGALRM else f"the process ended: {how}", 0.0, 0]


def fuzz(parser: Parser, count: int, seed: int, folder: Path) -> Tally:
    """Return the results for ``count`` damaged files of one kind."""
    tally = Tally(parser.name)
    path = folder / f"damaged.{parser.name}"
    following = 0
    while following < count:
        numbers = range(following, min(count, following + _PER_PROCESS))
        for index, outcome, seconds, memory in _reports(parser, seed, numbers, path):
            tally.add(following if index < 0 else index, outcome, seconds, memory)
            following += 1
    return tally


def table(tallies: Sequence[Tally]) -> str:
    """Return the results, a line for every kind of file."""
    rows = [["parser", "mutations", "refused", "accepted", "findings", "slowest s", "peak MB"]]
    for tally in tallies:
        found = len(tally.findings)
        counts = [tally.refused + tally.accepted + found, tally.refused, tally.accepted, found]
        rows.append([tally.parser, *map(str, counts), f"{tally.slowest:.2f}", f"{tally.peak / 2**20:.0f}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [
        [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        for row in rows
    ]  # fmt: skip
    return "\n".join("  ".join(row) for row in aligned)


def keep(folder: Path, parser: Parser, seed: int, tally: Tally) -> None:
    """Write the files with findings, and the findings, to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, outcome in tally.findings:
        stem = folder / f"{parser.name}-{seed}-{index}"
        stem.write_bytes(content_of(parser, seed, index))
        stem.with_name(f"{stem.name}.why.txt").write_text(outcome, encoding="utf-8")


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Damage input files, and check that they are refused.")
    parser.add_argument("--count", type=int, default=2000, metavar="N", help="files of each kind (2000)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the seed (0)")
    parser.add_argument("--parser", action="append", metavar="NAME", help="only this kind; may be repeated")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write findings to this folder")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run the requested fuzzing; return 1 if there are findings."""
    options = arguments(given)
    tallies = []
    with tempfile.TemporaryDirectory(prefix="caffe-lrp-fuzz-") as name:
        folder = Path(name)
        known = parsers(folder)
        unknown = set(options.parser or ()) - {parser.name for parser in known}
        if unknown:
            print(f"fuzz_inputs.py: no such parser: {', '.join(sorted(unknown))}", file=sys.stderr)
            return 2
        for parser in known:
            if options.parser and parser.name not in options.parser:
                continue
            for good in parser.seeds:
                (folder / "good").write_bytes(good)
                parser.read(folder / "good")  # seeds have to be good, and kernels are compiled here
            tallies.append(fuzz(parser, options.count, options.seed, folder))
            for index, outcome in tallies[-1].findings:
                print(f"{parser.name}, seed {options.seed}, mutation {index}: {outcome}", file=sys.stderr)
            if options.keep:
                keep(options.keep, parser, options.seed, tallies[-1])
    print(table(tallies))
    return 1 if any(tally.findings for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
