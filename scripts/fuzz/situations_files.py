"""Situations of `fuzz_situations.py` with files that caffe-lrp made and others have changed since."""

import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import fuzz_mutations
import h5py
import numpy as np
from fuzz_mutations import mutated
from hostile_process import Attempt
from hostile_scene import OUT, OUTSIDE, command
from situations_base import (
    FILES,
    ROWS,
    Kind,
    Situation,
    Stage,
    hole,
    hostile_json,
    hostile_text,
    object_text,
    put_something_else,
    with_hostile_values,
)

_MILLION = 1_000_000
Damage = Callable[[list[bytes], random.Random], list[bytes]]


# Journals


def _hostile_record(lines: list[bytes], chance: random.Random) -> list[bytes]:
    place = chance.randrange(1, len(lines))
    lines[place] = with_hostile_values(lines[place].decode(), chance, chance.randint(1, 3)).encode()
    return lines


def _repeated_record(lines: list[bytes], chance: random.Random) -> list[bytes]:
    return lines + [chance.choice(lines)] * chance.choice((1, 3, 10_000))


def _other_status(lines: list[bytes], chance: random.Random) -> list[bytes]:
    fields = {
        **json.loads(chance.choice(lines[1:])),
        "status": chance.choice(("failed", "replaced", "done", "gone")),
    }
    return [*lines, json.dumps(fields).encode()]


def _other_job(lines: list[bytes], chance: random.Random) -> list[bytes]:
    fields = json.loads(chance.choice(lines[1:]))
    fields["job"] = chance.choice((-1, 4, 10**9, 2**63, -(2**64), True, False, None, 1.0, "1", [1]))
    return [*lines, json.dumps(fields).encode()]


def _noise(lines: list[bytes], chance: random.Random) -> list[bytes]:
    noise = (
        b"\0" * 100,
        b"\xff\xfe" * 50,
        b"\n" * _MILLION,
        b"[]\n" * 1000,
        b"x" * 10 * _MILLION,
        b"{}",
        b"null",
        b"\r",
    )
    lines.insert(chance.randrange(len(lines) + 1), chance.choice((*noise, chance.randbytes(1000))))
    return lines


def _shuffled(lines: list[bytes], chance: random.Random) -> list[bytes]:
    chance.shuffle(lines)
    return lines


def _bytes_damaged(lines: list[bytes], chance: random.Random) -> list[bytes]:
    return mutated([b"\n".join(lines)], fuzz_mutations.TEXT, chance).split(b"\n")


def _hostile_header(lines: list[bytes], chance: random.Random) -> list[bytes]:
    lines[0] = with_hostile_values(lines[0].decode(), chance, chance.randint(1, 2)).encode()
    return lines


def _hostile_range(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """Ranges, shards and counts that no run has."""
    fields = json.loads(lines[0])
    numbers = (0, 1, 2, 3, 5, -1, -3, 10**6, 4 * 10**9, 2**31, 2**63, 2**64, 10**30, 1.5, None, "1", True)
    name = chance.choice(("range", "range", "shard", "jobs"))
    fields[name] = (
        chance.choice(numbers) if name == "jobs" else [chance.choice(numbers), chance.choice(numbers)]
    )
    return [json.dumps(fields).encode(), *lines[1:]]


def _hostile_description(lines: list[bytes], chance: random.Random) -> list[bytes]:
    fields = json.loads(lines[0])
    text = with_hostile_values(json.dumps(fields.pop("description")), chance, chance.randint(1, 3))
    return [
        object_text([*((k, json.dumps(v)) for k, v in fields.items()), ("description", text)]).encode(),
        *lines[1:],
    ]


_OF_RECORDS: tuple[Damage, ...] = (
    _hostile_record, _hostile_record, _hostile_record, _repeated_record, _other_status, _other_job, _noise,
    _shuffled, _bytes_damaged,
)  # fmt: skip
_OF_HEADERS: tuple[Damage, ...] = (
    _hostile_header,
    _hostile_header,
    _hostile_range,
    _hostile_range,
    _hostile_description,
)


def _lose_jobs(scene: Path, chance: random.Random) -> None:
    """Remove all files of some jobs."""
    for image in ("000", "001", "002", "003"):
        if chance.random() < 0.5:
            for path in (scene / OUT / "images").glob(f"{image}.*"):
                path.unlink()


def _damaged_journal(journal: Path, damages: Sequence[Damage], chance: random.Random) -> str:
    """Damage a journal a few times; return a description."""
    lines = journal.read_bytes().splitlines()
    names = []
    for _ in range(chance.choice((1, 1, 2, 3))):
        damage = chance.choice(damages)
        with suppress(
            ValueError, LookupError, AttributeError, TypeError, RecursionError
        ):  # damaged too much before
            lines = damage(lines, chance)
            names.append(damage.__name__.strip("_").replace("_", " "))
    journal.write_bytes(b"\n".join(lines) + (b"\n" if chance.random() < 0.8 else b""))
    return ", ".join(names)


def _renamed(journal: Path, chance: random.Random) -> tuple[Path, str]:
    """Sometimes rename a journal, so that it belongs to another run or shard."""
    fingerprint = chance.choice((journal.name.split("-")[2], "0" * 12, "a", "f" * 64))
    label = chance.choice(
        ("0of1", "0of1", "0of2", "1of1", "0of0", "5of3", "00of01", "9" * 30 + "of1", "0of" + "9" * 100)
    )
    other = journal.with_name(f"caffe-lrp-{fingerprint}-{label}.jsonl")
    if other == journal or chance.random() < 0.3:
        return journal, ""
    if chance.random() < 0.5:
        journal.rename(other)
    else:
        shutil.copy(journal, other)
    return other, f", as {other.name[:80]}"


def _journal_run(options: tuple[str, ...], chance: random.Random) -> Attempt:
    """A command that reads journals."""
    choice = chance.randrange(6)
    if choice == 0:
        return Attempt(("status", OUT, *chance.choice(((), ("--json",)))))
    more = chance.choice(
        ((), (), ("--retry-failed",), ("--overwrite",), ("--shard", "0/2"), ("--formula", "0"))
    )
    return Attempt(command(*options, *more))


def journals(stage: Stage, scene: Path, chance: random.Random) -> Situation:
    """Records with a wrong structure, and other things in the place of a journal."""
    options = chance.choice((FILES, FILES, ROWS))
    journal = stage.begin(scene, options)
    if options == FILES:
        _lose_jobs(scene, chance)
    if chance.random() < 0.2:
        journal, renamed = _renamed(journal, chance)
        what = put_something_else(journal, chance) + renamed
    elif chance.random() < 0.08:
        what = hole(journal, chance)
    else:
        what = _damaged_journal(journal, _OF_RECORDS, chance)
        what += _renamed(journal, chance)[1]
    return Situation(_journal_run(options, chance), f"journal: {what}", options)


def headers(stage: Stage, scene: Path, chance: random.Random) -> Situation:
    """Journals with impossible first lines, under right and wrong names."""
    options = chance.choice((FILES, ROWS))
    journal = stage.begin(scene, options)
    what = _damaged_journal(journal, _OF_HEADERS, chance)
    _, renamed = _renamed(journal, chance)
    return Situation(_journal_run(options, chance), f"header: {what}{renamed}", options)


# Databases


def _external(file: Any, name: str, _: random.Random) -> None:
    """Data in a foreign file."""
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    file.create_dataset(name, shape, dtype, external=[(f"../{OUTSIDE}/canary.txt", 0, h5py.h5f.UNLIMITED)])


def _virtual(file: Any, name: str, _: random.Random) -> None:
    layout = h5py.VirtualLayout(file[name].shape, file[name].dtype)
    layout[...] = h5py.VirtualSource(f"../{OUTSIDE}/other.h5", name, file[name].shape)
    del file[name]
    file.create_virtual_dataset(name, layout)


def _linked(file: Any, name: str, chance: random.Random) -> None:
    del file[name]
    file[name] = chance.choice(
        (h5py.ExternalLink(f"../{OUTSIDE}/other.h5", name), h5py.SoftLink(f"/{name}"), h5py.SoftLink("/"))
    )


def _reshaped(file: Any, name: str, chance: random.Random) -> None:
    dtype = file[name].dtype
    shape = chance.choice(((), (0,), (1,), (4,), (4, 1), (2, 3, 12, 12), (4, 3, 12, 13), (10**6, 3)))
    del file[name]
    file.create_dataset(name, shape, dtype)


def _huge(file: Any, name: str, _: random.Random) -> None:
    """More rows than fit on any disk; none of them is stored."""
    tail = file[name].shape[1:]
    dtype = file[name].dtype
    del file[name]
    file.create_dataset(name, (2**40, *tail), dtype, chunks=(1, *tail), maxshape=(None, *tail))


def _retyped(file: Any, name: str, chance: random.Random) -> None:
    shape = file[name].shape
    del file[name]
    kinds = (
        ">f4",
        "f8",
        "f2",
        "i8",
        "u4",
        "S5",
        h5py.string_dtype(),
        h5py.vlen_dtype("i4"),
        [("a", "f4"), ("b", "i8")],
        "c8",
    )
    file.create_dataset(name, shape, chance.choice(kinds))


def _chunked(file: Any, name: str, chance: random.Random) -> None:
    content = file[name][...]
    del file[name]
    file.create_dataset(name, data=content, chunks=True, compression=chance.choice((None, "gzip", "lzf")))


def _group(file: Any, name: str, _: random.Random) -> None:
    del file[name]
    file.create_group(name)


def _gone(file: Any, name: str, _: random.Random) -> None:
    del file[name]


def _more(file: Any, name: str, chance: random.Random) -> None:
    file.create_dataset(
        chance.choice((f"{name}2", "é" * 100, "x" * 5000)), data=np.arange(chance.choice((0, 3, 4)))
    )


def _described(file: Any, _: str, chance: random.Random) -> None:
    values = (
        "", "{}", "[1]", b"\xff\xfe", "[" * 100_000, "9" * 5000, 5, 1.5, [1, 2], h5py.Empty("f"),
        "x" * 60_000, object_text([("maps", hostile_json(chance))])[:60_000],
    )  # fmt: skip
    del file.attrs["description"]
    if chance.random() < 0.9:
        file.attrs["description"] = chance.choice(values)


def _marked(file: Any, _: str, chance: random.Random) -> None:
    """Some rows are missing."""
    for row in range(len(file["index"])):
        if chance.random() < 0.5:
            file["index"][row] = 2**32 - 1


_STRUCTURE = (
    _external, _virtual, _linked, _reshaped, _huge, _retyped, _chunked, _group, _gone, _more, _described,
    _described, _marked,
)  # fmt: skip


def _damage_database(path: Path, chance: random.Random) -> str:
    """Damage the bytes or the structure of a database; return a description."""
    choice = chance.randrange(6)
    if choice == 0:
        return put_something_else(path, chance)
    if choice == 1:
        path.write_bytes(mutated([path.read_bytes()], fuzz_mutations.BYTES, chance))
        return "bytes damaged"
    if choice == 2 and chance.random() < 0.5:
        return hole(path, chance)
    damage = chance.choice(_STRUCTURE)
    with h5py.File(path, "r+", locking=False) as file:
        damage(file, chance.choice(sorted(file)), chance)
    return damage.__name__.strip("_")


def databases(stage: Stage, scene: Path, chance: random.Random) -> Situation:
    """Databases with damaged bytes or structure."""
    stage.begin(scene, ROWS)
    shutil.copy(scene / OUT / "maps.h5", scene / OUTSIDE / "other.h5")
    name = chance.choice(("maps.h5", "maps.h5", "maps.input.h5"))
    what = _damage_database(scene / OUT / name, chance)
    if chance.random() < 0.5:
        for journal in (scene / OUT).glob("*.jsonl"):
            lines = journal.read_bytes().splitlines(keepends=True)
            journal.write_bytes(b"".join(lines[: chance.randrange(1, len(lines))]))
    merging = (
        "merge",
        f"{OUT}/merged.h5",
        f"{OUT}/maps.h5",
        *chance.choice(((), ("--allow-missing",), ("--labels", "synset.txt"))),
    )
    runs = (command(*ROWS), command(*ROWS), command(*ROWS, "--overwrite"), merging)
    attempt = Attempt(chance.choice(runs), {"HDF5_USE_FILE_LOCKING": chance.choice(("TRUE", "FALSE"))})
    return Situation(attempt, f"{name}: {what}", ROWS, is_compared=False)


# Other files


def caches(stage: Stage, scene: Path, chance: random.Random) -> Situation:
    """Cached hashes and summaries that are wrong, or are not files."""
    stage.begin(scene, FILES)
    _lose_jobs(scene, chance)
    hashes = scene / "cache" / "content-hashes.json"
    choice = chance.randrange(6)
    if choice == 0:
        what = put_something_else(hashes, chance)
    elif choice == 1:
        name = chance.choice(("summary.json", "images", "summary.json"))
        path = scene / OUT / name
        if path.is_dir():
            shutil.rmtree(path)
        return Situation(Attempt(command(*FILES)), f"{name}: {put_something_else(path, chance)}", FILES)
    elif choice == 2:
        shutil.rmtree(scene / "cache")
        what = f"the folder is {put_something_else(scene / 'cache', chance)}"
    else:
        hashes.write_bytes(_hostile_hashes(scene, chance))
        what = hole(hashes, chance) if chance.random() < 0.1 else "hostile content"
    environment = {"CAFFE_LRP_CACHE_DIR": str(scene / "cache")}
    return Situation(Attempt(command(*FILES), environment), f"content-hashes.json: {what}", FILES)


def _hostile_hashes(scene: Path, chance: random.Random) -> bytes:
    """Return a file of cached hashes about the files of the run."""
    fields = []
    for name in ("net.caffemodel", "deploy.prototxt"):
        path = scene / name
        state = path.stat()
        size: Any = chance.choice((state.st_size, state.st_size, 0))
        values = (hostile_json(chance), json.dumps("0" * 64), json.dumps(hostile_text(chance)))
        entry = f"[{size}, {state.st_mtime_ns}, {chance.choice(values)}]"
        key = chance.choice((os.path.realpath(path), os.path.realpath(path), hostile_text(chance)))
        fields.append((key, chance.choice((entry, entry, hostile_json(chance)))))
    text = chance.choice((object_text(fields), object_text(fields), hostile_json(chance))).encode()
    return mutated([text], fuzz_mutations.TEXT, chance) if chance.random() < 0.3 else text


KINDS: dict[str, Kind] = {
    "journals": journals,
    "headers": headers,
    "databases": databases,
    "caches": caches,
}
