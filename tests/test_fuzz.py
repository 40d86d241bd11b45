"""Damaged files of every kind are read, or refused with a message; nothing else, soon, in little memory."""

import os
import random
import subprocess
import sys
from pathlib import Path

import fuzz_inputs
import fuzz_mutations
import fuzz_parsers
import pytest
from fuzz_inputs import MOST_MEMORY, Tally, attempt, content_of, table
from fuzz_mutations import mend_png, mutated, parse_message, write_message
from fuzz_parsers import Parser, parsers

from caffe_lrp.errors import ModelError

SCRIPT = Path(fuzz_inputs.__file__)
MUTATIONS = 60


def test_damaged_files_are_refused_or_read() -> None:
    """In a process of its own, as it forks; 60 files of every kind."""
    result = subprocess.run(
        [sys.executable, str(SCRIPT), "--count", str(MUTATIONS), "--seed", "7"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert (result.returncode, result.stderr) == (0, "")
    rows = [line.split() for line in result.stdout.splitlines()[1:]]
    assert len(rows) >= 12
    for name, count, refused, accepted, *_ in rows:
        assert int(count) == int(refused) + int(accepted) == MUTATIONS, name
        assert int(refused) > 0


def a_parser(read: object) -> Parser:
    return Parser("made-up", (b"some text",), fuzz_mutations.TEXT, read)  # type: ignore[arg-type]


def refuse(path: Path) -> None:
    raise ModelError(f"{path}: is refused")


def break_down(path: Path) -> None:
    raise KeyError(path)


def end(_: Path) -> None:
    os.abort()


def test_only_our_errors_are_refusals(tmp_path: Path) -> None:
    assert attempt(a_parser(refuse), tmp_path) == "refused"
    assert attempt(a_parser(lambda _: None), tmp_path) == "accepted"
    assert "KeyError" in attempt(a_parser(break_down), tmp_path)


def test_crashes_and_hangs_and_hunger_are_found(tmp_path: Path) -> None:
    """The fuzzer would notice: what it says of a reader that does it all."""
    script = (
        "import sys, fuzz_inputs, test_fuzz\n"
        "from pathlib import Path\n"
        "fuzz_inputs.MOST_SECONDS = 0.2\n"
        "for read in (test_fuzz.end, test_fuzz.break_down, test_fuzz.loop, test_fuzz.devour):\n"
        "    tally = fuzz_inputs.fuzz(test_fuzz.a_parser(read), 2, 0, Path(sys.argv[1]))\n"
        "    assert [index for index, _ in tally.findings] == [0, 1], tally\n"
        "    print(tally.findings[0][1].strip().splitlines()[-1])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    aborted, keyed, looped, devoured = result.stdout.splitlines()
    assert aborted == "the process ended: SIGABRT"
    assert keyed.startswith("KeyError")
    assert looped == "takes more than 0.2 seconds"
    assert devoured == "MemoryError"


def loop(_: Path) -> None:
    while True:
        pass


def devour(_: Path) -> None:
    bytearray(2 * MOST_MEMORY)


def test_the_same_seed_does_the_same_damage(tmp_path: Path) -> None:
    for parser in parsers(tmp_path):
        assert content_of(parser, 3, 5) == content_of(parser, 3, 5)
        assert len({content_of(parser, 3, index) for index in range(20)}) > 10


def test_damage_is_of_all_kinds_and_bounded() -> None:
    seeds = (b"name: 'x' dim: 3\n" * 10,)
    for damages in (fuzz_mutations.BYTES, fuzz_mutations.TEXT, fuzz_mutations.MESSAGE):
        sizes = [len(mutated(seeds, damages, random.Random(index))) for index in range(300)]
        assert min(sizes) < len(seeds[0]) < max(sizes) <= 1 << 20


def test_messages_are_taken_apart_and_put_together(tmp_path: Path) -> None:
    spec = fuzz_parsers.write_good_files(tmp_path)
    for style in ("new", "old", "double"):
        stored = fuzz_parsers.caffemodel_of(spec, style)
        assert write_message(parse_message(stored)) == stored


def test_checksums_of_a_png_are_mended() -> None:
    for good in fuzz_parsers.image_seeds()["png"]:
        damaged = good.replace(good[29:33], b"\0\0\0\0", 1)
        assert damaged != good
        assert mend_png(damaged) == good


def test_the_table_counts() -> None:
    tally = Tally("png")
    tally.add(0, "refused", 0.5, 0)
    tally.add(1, "accepted", 0.25, 3 * 2**20)
    tally.add(2, "accepted", 0.0, 2 * MOST_MEMORY)
    assert table([tally]).splitlines()[1].split() == ["png", "3", "1", "1", "1", "0.50", "2048"]
    assert tally.findings == [(2, "accepted, but took 2048 MB")]


@pytest.mark.parametrize(
    ("options", "code"), [(["--parser", "exe"], 2), (["--parser", "list", "--count", "0"], 0)]
)
def test_the_command_line(options: list[str], code: int) -> None:
    assert fuzz_inputs.main(options) == code
