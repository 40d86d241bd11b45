"""Several new files that appear in a folder together or not at all, and replace nothing."""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from caffe_lrp.errors import OutputError

from .atomic import temporary_beside, why_unwritable


def refuse_existing(folder: Path, names: Collection[str]) -> None:
    """Refuse a folder that already has one of the files ``names``, or is a file.

    Raises
    ------
    OutputError
        It is or has.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise OutputError(f"{folder}: is not a folder; give another one")
    for name in names:
        if os.path.lexists(folder / name):
            raise OutputError(f"{folder / name}: already exists; give another folder, or remove it first")


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``folder``; what is in it at the end of the block moves into ``folder``.

    After an error in the block, nothing is left.

    Raises
    ------
    OutputError
        A file cannot be written, or already exists in ``folder``.
    """
    stage = temporary_beside(folder.absolute())
    try:
        try:
            stage.parent.mkdir(parents=True, exist_ok=True)
            stage.mkdir()
            yield stage
            _move(stage, folder)
        except (OSError, ValueError) as fault:
            place = getattr(fault, "filename2", None) or folder
            raise OutputError(f"{place}: cannot be written: {why_unwritable(fault)}") from fault
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _move(stage: Path, folder: Path) -> None:
    """Move all files of ``stage`` into ``folder``, or none of them."""
    names = sorted(path.name for path in stage.iterdir())
    is_new = not os.path.lexists(folder)
    if is_new:
        folder.mkdir()
    refuse_existing(folder, names)
    placed: list[Path] = []
    try:
        for name in names:
            _place(stage / name, folder / name)
            placed.append(folder / name)
    except BaseException:
        for path in placed:
            path.unlink(missing_ok=True)
        if is_new:
            with suppress(OSError):
                folder.rmdir()
        raise


def _place(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no such names; replace nothing."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        with source.open("rb") as old, target.open("xb") as new:
            try:
                shutil.copyfileobj(old, new)
            except BaseException:
                target.unlink(missing_ok=True)
                raise
