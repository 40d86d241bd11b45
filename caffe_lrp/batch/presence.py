"""Which files of a run exist: all kinds of every map, for a million maps at a time."""

import os
import stat
from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.outputs.kinds import paths_of


def absent(stems: Iterable[str], kinds: Sequence[str]) -> NDArray[np.bool_]:
    """(stems,): of which not all files are there, or one is empty.

    Folders are read from one end to the other, which takes a file system in a network far less time than to
    be asked for every file. Eight bytes are kept for each, not its name.

    Parameters
    ----------
    stems
        Of jobs.
    kinds
        Kinds of files that each of them has, at least one.
    """
    wanted = array("q")
    folders: set[str] = set()
    suffixes = paths_of("", kinds)
    for stem in stems:
        paths = [stem + suffix for suffix in suffixes]
        wanted.extend(map(hash, paths))
        folders.update(map(os.path.dirname, paths[:1]))  # all kinds lie beside each other
    present = array("q")
    for folder in sorted(folders):
        present.extend(map(hash, _files_in(folder)))
    found = np.isin(np.frombuffer(wanted, np.int64), np.frombuffer(present, np.int64))
    return np.asarray(~found.reshape(-1, len(kinds)).all(axis=1))


def _files_in(folder: str) -> Iterator[str]:
    """Paths of the files in a folder that are not empty; none if there is no such folder."""
    beginning = os.path.join(folder, "")  # noqa: PTH118 - as in the paths that are compared
    try:
        entries = os.scandir(folder or ".")
    except OSError:  # what cannot be read is as good as gone
        return
    with entries:
        for entry in entries:
            try:
                status = entry.stat()
            except OSError:  # it has gone this moment, or leads nowhere
                continue
            if stat.S_ISREG(status.st_mode) and status.st_size:
                yield beginning + entry.name
