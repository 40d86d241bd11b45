"""Damaged files of every kind are read, or refused with a message; nothing else, soon, in little memory.

And the scripts that disturb whole runs: what they would notice, and a few situations, pairs and cuts each.
"""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import fuzz_inputs
import fuzz_mutations
import fuzz_pairs
import fuzz_parsers
import fuzz_powercut
import fuzz_situations
import hostile_scene
import pytest
from fuzz_inputs import MOST_MEMORY, Tally, attempt, content_of, table
from fuzz_mutations import mend_png, mutated, parse_message, write_message
from fuzz_pairs import Lone, RunSpec
from fuzz_parsers import Parser, parsers
from hostile_process import Attempt, Outcome, faults_of, sending
from hostile_reference import reference_in
from hostile_scene import OUT, Size, command, copy_scene, run_here, write_scene
from powercut_layer import Disk, layered

from caffe_lrp.errors import ModelError

pytestmark = pytest.mark.slow

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


def test_checksums_of_a_png_are_corrected() -> None:
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


# Whole runs

DOCUMENTED = frozenset({0, 2, 3, 4, 5, 130})
TINY = Size(images=2, side=8)


def python(*words: str) -> "subprocess.CompletedProcess[str]":
    """Python in a process of its own, for what forks."""
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def test_hostile_situations_end_as_they_should() -> None:
    """Five of those that were never a danger."""
    kinds = ("yaml", "lists", "options", "images", "names")
    options = ("--count", "5", "--seed", "5", "--seconds", "60")
    result = python(str(SCRIPT.with_name("fuzz_situations.py")), *options, "--kind", *kinds)
    assert (result.returncode, result.stderr) == (0, "")
    rows = {row.split()[0]: row.split()[1:] for row in result.stdout.splitlines()[1:]}
    assert sorted(rows) == sorted(kinds)
    assert all(row[0] == "1" for row in rows.values())


def test_every_kind_of_situation_comes_up_in_turn() -> None:
    kinds = list(fuzz_situations.KINDS)
    assert [fuzz_situations.kind_of(number) for number in range(2 * len(kinds))] == kinds * 2
    assert list(fuzz_situations.numbers_of(kinds[1:2], 2)) == [1, 1 + len(kinds)]


def outcome(code: int, text: str = "", peak: int = 0, *, is_hung: bool = False) -> Outcome:
    return Outcome(code, text, 1.0, peak, is_hung)


@pytest.mark.parametrize(
    ("ended", "fault"),
    [
        (outcome(0), None),
        (outcome(3, "caffe-lrp: error: config.txt: is empty"), None),
        (outcome(3), "ended 3 without a message"),
        (outcome(1, "?"), "ended with the exit code 1, which is not in the manual"),
        (outcome(-signal.SIGSEGV), "was ended by SIGSEGV"),
        (outcome(-signal.SIGTERM), "was ended by SIGTERM"),
        (outcome(4, "a.png: internal error, please report it: KeyError: 1"), "says 'please report'"),
        (outcome(0, "Traceback (most recent call last):"), "says 'Traceback (most recent'"),
        (outcome(0, peak=2**31), "took 2048 MB"),
        (outcome(-signal.SIGKILL, is_hung=True), "takes more than 1 seconds, 0.0 of computing"),
    ],
)
def test_bad_ends_of_runs_are_found(ended: Outcome, fault: str | None) -> None:
    attempt = Attempt(("-c", "config.txt"), disturbances=(sending(0, signal.SIGTERM),))
    assert faults_of(attempt, ended, DOCUMENTED) == ([fault] if fault else [])


def test_exit_codes_are_those_of_the_readme() -> None:
    assert hostile_scene.documented_codes() >= DOCUMENTED
    assert 1 not in hostile_scene.documented_codes()


def test_changes_outside_the_output_folder_are_found(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene", TINY)
    before = hostile_scene.snapshot(scene)
    (scene / OUT).mkdir()
    (scene / OUT / "own.txt").touch()
    assert not hostile_scene.difference(before, hostile_scene.snapshot(scene))
    (scene / "outside" / "new.txt").touch()
    (scene / "list.txt").write_text("changed")
    found = hostile_scene.difference(before, hostile_scene.snapshot(scene))
    assert found == "changed outside of the output folder: list.txt, outside/new.txt"


def test_wrong_and_missing_maps_are_found(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene", TINY)
    reference = hostile_scene.reference_of(scene, command("--outputs", "npy"))
    run_here(scene, command("--outputs", "npy"))
    assert fuzz_situations.wrong_maps(scene / OUT, reference) == []
    (scene / OUT / "images/000.png_relevance.npy").write_bytes(b"other")
    (scene / OUT / "images/001.jpg_relevance.npy").unlink()
    assert fuzz_situations.wrong_maps(scene / OUT, reference) == [
        "other bytes than those of an undisturbed run in images/000.png_relevance.npy",
        "files are missing: images/001.jpg_relevance.npy",
    ]


def pair(*formulas: str) -> list[fuzz_pairs.Plan]:
    """Runs that differ in the formula; the last one overwrites."""
    specs = [RunSpec("list.txt", ("--outputs", "npy", "--formula", formula)) for formula in formulas]
    return [fuzz_pairs.Plan(spec, spec is specs[-1], 0.0, None, signal.SIGKILL, False) for spec in specs]


def test_maps_of_another_run_under_a_journal_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz_pairs, "SIZE", TINY)
    lone = Lone(fuzz_pairs.write_template(tmp_path))
    scene = copy_scene(lone.template, tmp_path / "scene")
    plans = pair("0", "2")
    ends = [[outcome(*run_here(scene, plan.arguments))] for plan in plans]
    assert fuzz_pairs.faults_in(plans, ends, scene / OUT, lone, DOCUMENTED) == []
    first, second = (lone.of(plan.spec) for plan in plans)
    for path, content in first.files[1].items():
        (scene / OUT / path).write_bytes(content)
    with (scene / OUT / first.journal).open("a") as journal:
        journal.write(json.dumps({"job": 0, "status": "done"}) + "\n")
    found = fuzz_pairs.faults_in(plans, ends, scene / OUT, lone, DOCUMENTED)
    assert len(found) == 2
    assert (
        f"{first.journal}: of 1 done, 1 faults, such as: images/000.png_relevance.npy has other" in found[0]
    )
    assert (
        f"{second.journal}: of 2 done, 2 faults, such as: images/000.png_relevance.npy is claim" in found[1]
    )


def test_two_shards_in_one_folder_are_a_sound_pair(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pair 51: real processes."""
    monkeypatch.setattr(fuzz_pairs, "SIZE", TINY)
    assert fuzz_pairs.main(["--only", "51"]) == 0
    assert capsys.readouterr().out == "1 pairs, 0 with findings; of their processes 2 ended 0\n"


def test_the_same_seed_makes_the_same_pairs() -> None:
    pairs = [fuzz_pairs.plans_of(3, number) for number in range(20)]
    assert pairs == [fuzz_pairs.plans_of(3, number) for number in range(20)]
    assert {len(plans) for plans in pairs} == {2, 3}


def test_a_power_cut_leaves_what_was_synced_and_perhaps_the_rest(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    disk = Disk(root)
    (root / "old").write_bytes(b"safe")
    disk.adopt()
    with layered(disk, lambda: None), (root / "old").open("ab") as file:
        file.write(b", and more")
        file.flush()
        (root / "new").write_bytes(b"never synced")
        for number in range(40):
            disk.cut(tmp_path / f"before{number}", random.Random(number))
        os.fsync(file)
    with layered(disk, lambda: None):
        new, folder = os.open(root / "new", os.O_RDONLY), os.open(root, os.O_RDONLY)
        os.fsync(new)
        os.fsync(folder)
    disk.cut(tmp_path / "after", random.Random(0))
    disk.release()
    before = [tmp_path / f"before{number}" for number in range(40)]
    assert all((cut / "old").read_bytes().startswith(b"safe") for cut in before)
    assert {(cut / "new").exists() for cut in before} == {True, False}
    assert {(cut / "old").stat().st_size for cut in before} > {4, 14}
    assert (tmp_path / "after" / "old").read_bytes() == b"safe, and more"
    assert (tmp_path / "after" / "new").read_bytes() == b"never synced"


def test_a_journal_that_says_more_than_the_files_is_found(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene", TINY)
    run_here(scene, command("--outputs", "npy,h5"))
    reference = reference_in(scene / OUT)
    assert fuzz_powercut.lies_in(scene / OUT, reference) == []
    (scene / OUT / "images/000.png_relevance.npy").write_bytes(b"")
    (scene / OUT / "maps.h5").unlink()
    assert fuzz_powercut.lies_in(scene / OUT, reference) == [
        "2 maps are done, 2 faults, such as: images/000.png_relevance.npy has other bytes"
    ]


def test_where_all_is_synced_at_once_a_power_cut_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four cuts, and the same command after each of them."""
    cut = Disk.cut

    def cut_after_sync(disk: Disk, target: Path, chance: random.Random) -> None:
        disk.adopt()
        cut(disk, target, chance)

    monkeypatch.setattr(Disk, "cut", cut_after_sync)
    monkeypatch.setattr(fuzz_powercut, "SIZE", TINY)
    monkeypatch.setattr(fuzz_powercut, "RUNS", (("--outputs", "npy,top10"),))
    assert fuzz_powercut.main(["--count", "2", "--resume", "1"]) == 0
    assert capsys.readouterr().out.startswith("2 cuts in 1 runs of ")


def test_a_run_that_never_ends_is_found(tmp_path: Path) -> None:
    """A list that comes through a pipe to which nobody writes."""
    script = (
        "import os, sys, hostile_process, hostile_scene\n"
        "from pathlib import Path\n"
        "scene = hostile_scene.write_scene(Path(sys.argv[1]), hostile_scene.Size(images=1))\n"
        "os.mkfifo(scene / 'pipe')\n"
        "attempt = hostile_process.Attempt(hostile_scene.command(images='pipe'))\n"
        "print(hostile_process.run_attempt(attempt, scene, scene / 'console', 0.5).is_hung)\n"
    )
    result = python("-c", script, str(tmp_path / "scene"))
    assert (result.stdout, result.stderr) == ("True\n", "")
