"""Building blocks of the situations of `fuzz_situations.py`: the stage, hostile values, and non-files."""

import json
import os
import random
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fuzz_mutations import EXTREMES, NUMBERS, PIECES
from hostile_process import Attempt
from hostile_scene import (
    OUT,
    OUTSIDE,
    Size,
    command,
    copy_scene,
    reference_of,
    results_in,
    run_here,
    write_scene,
)

#: Options of the two good runs that situations begin with.
FILES = ("--outputs", "heatmap,rawhm,top10,npy")
ROWS = ("--outputs", "h5", "--input-dataset")

#: Texts that some reader may not take for text.
TEXTS = (
    "", " ", "\x00", "\x1b]0;x\x07", "\udcff\udc80", "\ufeff", "\u2028", "\u202e", "é" * 300, "a" * 300,
    "9" * 5000, "1" * 70000, "%s%n", "{0}", "~", "~root", "-", "--", "-x", "/", ".", "..", "../" * 40,
    "/dev/zero", "/dev/full", "/proc/self/mem", "/proc/self/environ", "CON", "a/b", "a\\b", "a\nb", "a\tb",
    "'", '"', "`id`", "$(id)", "http://localhost/", "file:///etc/passwd", "*", "?", "[", "conv", "prob",
    "auto", "0", "images",
)  # fmt: skip

#: JSON values, or nearly.
JSON_VALUES = (
    "null", "true", "false", "[]", "{}", '""', "NaN", "Infinity", "-Infinity", "1e400", "-0", "0", "1", "2",
    "-1", "1.5", "0.0", "4000000000", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "9" * 30, "9" * 5000, '"\\ud800"', '"\\u0000"', '"\\u001b[2J"', '"\\udfff\\ud800"', '"done"', '"failed"',
    '"replaced"', '"../outside/canary.txt"', '"/etc/passwd"', '"images"', "[0, 1]", "[1, 0]", "[0, 0]",
    "[0, 4000000000]", "[-5, 3]", "[3, 0]", "[0, 9223372036854775808]", "[null, null]", "[[0, 1]]", "[1]",
    "[1, 2, 3]", '["heatmap"]', '[["heatmap"]]', "[{}]", '{"a": {"b": []}}', "[" * 900 + "]" * 900,
    "[" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000, "1e999999999", "0x10", "'done'", "undefined", "01",
    "+1", ".5",
)  # fmt: skip

_LONG = 10_000_000


@dataclass(frozen=True)
class Stage:
    """The common start of all situations.

    Attributes
    ----------
    folder
        Folder of all scenes.
    template
        An undisturbed scene.
    references
        Options of a good run -> its results.
    seconds
        The time it takes.
    """

    folder: Path
    template: Path
    references: dict[tuple[str, ...], dict[str, bytes]]
    seconds: float

    def begin(self, scene: Path, options: tuple[str, ...]) -> Path:
        """Put the output of a finished good run into a scene, and return its journal."""
        shutil.copytree(self.folder / options[1], scene / OUT, dirs_exist_ok=True)
        return next((scene / OUT).glob("caffe-lrp-*.jsonl"))


@dataclass(frozen=True)
class Situation:
    """A run under hostile conditions.

    Attributes
    ----------
    attempt
        The run.
    what
        A description of the hostile conditions.
    follow
        Options of a good run that must afterwards work in the same output folder, or be refused; none: no run
        follows.
    is_compared
        Whether the results of that run must equal those of an undisturbed run.
    may_be_refused
        Whether that run may be refused, because the output folder is hostile.
    """

    attempt: Attempt
    what: str
    follow: tuple[str, ...] = ()
    is_compared: bool = True
    may_be_refused: bool = True


#: Makes a scene hostile at random.
Kind = Callable[[Stage, Path, random.Random], Situation]


def prepare_stage(folder: Path) -> Stage:
    """Return the stage, with the results of the good runs."""
    template = write_scene(folder / "template", Size())
    references: dict[tuple[str, ...], dict[str, bytes]] = {}
    for options in (FILES, ROWS):
        references[options] = reference_of(template, command(*options))
        scene = copy_scene(template, folder / "scene")
        started = time.perf_counter()
        code, text = run_here(scene, command(*options))
        seconds = time.perf_counter() - started
        if code or results_in(scene / OUT) != references[options]:
            raise RuntimeError(f"two undisturbed runs differ: {text}")
        (scene / OUT).rename(folder / options[1])
        shutil.rmtree(scene)
    return Stage(folder, template, references, seconds)


def hostile_text(chance: random.Random) -> str:
    """Return a text for a name, a value or an option."""
    choice = chance.randrange(5)
    if choice == 0:
        return chance.choice(NUMBERS)
    if choice == 1:
        return "".join(chance.choices(PIECES, k=chance.randint(1, 4)))
    if choice == 2:
        return str(chance.choice(EXTREMES) * chance.choice((1, -1)))
    return chance.choice(TEXTS)


def argument(chance: random.Random) -> str:
    """Return a hostile text that the system accepts as an argument of a program or a variable."""
    return hostile_text(chance).replace("\0", "")


def hostile_json(chance: random.Random) -> str:
    """Return a value for a place in JSON."""
    if chance.random() < 0.04:
        return json.dumps("x" * _LONG)
    return chance.choice(JSON_VALUES)


def object_text(fields: Sequence[tuple[str, str]]) -> str:
    """Return a JSON object of keys and the texts of their values; keys may repeat."""
    return "{" + ", ".join(f"{json.dumps(key)}: {text}" for key, text in fields) + "}"


def with_hostile_values(line: str, chance: random.Random, count: int = 1) -> str:
    """Return a JSON object with some of its values hostile, missing or given twice."""
    fields = [(key, json.dumps(value)) for key, value in json.loads(line).items()]
    for _ in range(count):
        place = chance.randrange(len(fields))
        key, text = fields[place]
        choice = chance.randrange(8)
        if choice == 0 and len(fields) > 1:
            del fields[place]
        elif choice == 1:
            fields.append((key, hostile_json(chance)))
        elif choice == 2:
            fields.insert(0, (hostile_text(chance), text))
        else:
            fields[place] = (key, hostile_json(chance))
    return object_text(fields)


def put_something_else(path: Path, chance: random.Random, *, with_pipes: bool = True) -> str:
    """Replace ``path`` by something that is not an ordinary file; return a description.

    Pipes are left out where a pipe is allowed: nothing writes to ours.
    """
    things = [_link_outside, _dangling_link, _link_to_itself, _folder, _device_link, _socket, _device]
    things += [_pipe] if with_pipes else []
    if path.is_symlink() or path.exists():
        path.unlink()
    return chance.choice(things)(path)


def _link_outside(path: Path) -> str:
    path.symlink_to(_upwards(path, "canary.txt"))
    return "a link to a foreign file"


def _dangling_link(path: Path) -> str:
    path.symlink_to(_upwards(path, "new.txt"))
    return "a link to a file that is not there"


def _upwards(path: Path, name: str) -> Path:
    """Return the relative path from a file to a foreign file in the same scene."""
    scene = next(folder for folder in path.parents if (folder / OUTSIDE).is_dir())
    return Path(os.path.relpath(scene / OUTSIDE / name, path.parent))


def _link_to_itself(path: Path) -> str:
    path.symlink_to(path.name)
    return "a link to itself"


def _pipe(path: Path) -> str:
    os.mkfifo(path)
    return "a pipe that nobody writes to"


def _folder(path: Path) -> str:
    (path / "folder").mkdir(parents=True)
    return "a folder"


def _device_link(path: Path) -> str:
    path.symlink_to("/dev/zero")
    return "a link to /dev/zero"


def _device(path: Path) -> str:
    path.symlink_to("/dev/full")
    return "a link to /dev/full"


def _socket(path: Path) -> str:
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as listener:  # whose path must be short
        os.chdir(path.parent)
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)
    return "a socket"


def hole(path: Path, chance: random.Random) -> str:
    """Make a file longer by gigabytes that take no space; return a description."""
    size = chance.choice((2**31, 2**32, 2**33))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + size)
    return f"{size / 2**30:.0f} GB of zeros at the end"
