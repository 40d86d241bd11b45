"""Situations of `fuzz_situations.py` with the output folder, and with the names of its files."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from hostile_process import Attempt, Disturbance
from hostile_scene import OUT, OUTSIDE, command
from situations_base import FILES, ROWS, Kind, Situation, Stage, hostile_text, put_something_else
from situations_runs import give_away

_Change = Callable[[Path], object]


def _remove(scene: Path) -> None:
    shutil.rmtree(scene / OUT, ignore_errors=True)


def _remove_images(scene: Path) -> None:
    shutil.rmtree(scene / OUT / "images", ignore_errors=True)


def _move_away(scene: Path) -> None:
    (scene / OUT).rename(scene / "home" / "moved")


def _link_images(scene: Path) -> None:
    _remove_images(scene)
    (scene / OUT / "images").symlink_to(f"../{OUTSIDE}")


def _file_for_folder(scene: Path) -> None:
    _remove(scene)
    (scene / OUT).write_text("a file\n")


def _links_for_files(scene: Path) -> None:
    for path in (scene / OUT).rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.unlink()
            path.symlink_to(os.path.relpath(scene / OUTSIDE / "canary.txt", path.parent))


def _folders_for_files(scene: Path) -> None:
    for image in ("000.png", "001.jpg"):
        path = scene / OUT / "images" / f"{image}_rawhm.txt"
        path.unlink(missing_ok=True)
        path.mkdir(parents=True)


def _forbid(scene: Path) -> None:
    (scene / OUT).chmod(0o500)


def _cut_journal(scene: Path) -> None:
    for path in (scene / OUT).glob("*.jsonl"):
        os.truncate(path, path.stat().st_size // 2)


def _remove_journal(scene: Path) -> None:
    for path in (scene / OUT).glob("*.jsonl"):
        path.unlink()


def _link_journal(scene: Path) -> None:
    for path in (scene / OUT).glob("*.jsonl"):
        path.unlink()
        path.symlink_to(f"../{OUTSIDE}/canary.txt")


def _cut_database(scene: Path) -> None:
    for path in (scene / OUT).glob("maps*.h5"):
        os.truncate(path, path.stat().st_size // 2)


#: Changes, and whether a later run can notice them.
_CHANGES: tuple[_Change, ...] = (
    _remove, _remove_images, _move_away, _link_images, _file_for_folder, _links_for_files, _folders_for_files,
    _forbid, _cut_journal, _remove_journal, _link_journal, _cut_database,
)  # fmt: skip


def outputs(stage: Stage, scene: Path, chance: random.Random) -> Situation:
    """An output folder that is deleted, replaced, or full of links, before or during the run."""
    chosen = chance.choice((FILES, FILES, ROWS))
    attempt = Attempt(command(*chosen))
    choice = chance.randrange(4)
    if choice == 0:
        stage.begin(scene, chosen)
        changed = chance.choice([path for path in (scene / OUT).rglob("*") if path.is_file()])
        what = f"{changed.relative_to(scene)} is {put_something_else(changed, chance)}"
        return Situation(attempt, what, chosen, is_compared=False)
    change = chance.choice(_CHANGES)
    if choice == 1:
        stage.begin(scene, chosen)
        change(scene)
        return Situation(attempt, f"before: {change.__name__}", chosen, is_compared=False)
    give_away(scene)
    moment = chance.uniform(0, stage.seconds * 1.2)
    disturbed = Attempt(
        attempt.arguments, disturbances=(Disturbance(moment, lambda _: change(scene)),), is_nobody=True
    )
    what = f"at {moment:.3f} s: {change.__name__}"
    return Situation(disturbed, what, chosen, is_compared=False)


def names(_: Stage, scene: Path, chance: random.Random) -> Situation:
    """Images with names that are hostile to output paths."""
    content = (scene / "images" / "000.png").read_bytes()
    made = []
    for _count in range(chance.randint(1, 4)):
        name = hostile_text(chance).replace("\0", "").replace("/", "_")[:240].strip("\n") or "x"
        name = name.encode(errors="surrogateescape")[:240].decode(errors="surrogateescape")
        if name not in (".", ".."):
            (scene / "images" / name).write_bytes(content)
            made.append(name)
    more = chance.choice(((), ("--suffix-target",), ("--top", "2"), ROWS))
    attempt = Attempt(("-c", "config.yaml", "--images", "images", "-p", OUT, *more))
    return Situation(attempt, f"images called {', '.join(name[:30] for name in made)!r}")


KINDS: dict[str, Kind] = {"outputs": outputs, "names": names}
