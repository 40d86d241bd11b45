"""Which files of a run exist, for all kinds and up to a million maps at a time."""

import os
import stat
from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.outputs.kinds import paths_of


def absent(stems: Iterable[str], kinds: Sequence[str]) -> NDArray[np.bool_]:
    """Return for each stem whether a file is missing or empty, (stems,).

    Whole folders are listed, which on a network file system is far faster than checking each file. To save
    memory, an eight-byte hash is kept for each file instead of its name.

    Parameters
    ----------
    stems
        Stems of jobs.
    kinds
        Kinds of files that each stem has, at least one.
    """
    wanted = array("q")
    folders: set[str] = set()
    suffixes = paths_of("", kinds)
    for stem in stems:
        paths = [stem + suffix for suffix in suffixes]
        wanted.extend(map(hash, paths))
        folders.update(map(os.path.dirname, paths[:1]))  # all kinds are in the same folder
    present = array("q")
    for folder in sorted(folders):
        present.extend(map(hash, _files_in(folder)))
    found = np.isin(np.frombuffer(wanted, np.int64), np.frombuffer(present, np.int64))
    return np.asarray(~found.reshape(-1, len(kinds)).all(axis=1))


def _files_in(folder: str) -> Iterator[str]:
    """Yield the paths of the files in a folder that are not empty; none if there is no such folder."""
    beginning = os.path.join(folder, "")  # noqa: PTH118 - spelled like the paths it is compared with
    try:
        entries = os.scandir(folder or ".")
    except OSError:  # an unreadable folder counts as missing
        return
    with entries:
        for entry in entries:
            try:
                status = entry.stat()
            except OSError:  # just removed, or a dangling link
                continue
            if stat.S_ISREG(status.st_mode) and status.st_size:
                yield beginning + entry.name
