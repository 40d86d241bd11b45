"""A cache of hashes of large files, which saves reading a model just to identify it.

The key is the identity and state of a file. It includes both mtime and ctime, because ctime cannot be set
by a program. With a wrong hash, a run would mistake maps of another model for its own, so any hash that
could be wrong is dropped.
"""

import json
import os
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from caffe_lrp.files.reading import MEGABYTE
from caffe_lrp.files.trust import make_trusted_folder, open_trusted, replace_trusted, why_untrusted

_NAME = "content-hashes.json"
_MOST_ENTRIES = 1000
_MOST_BYTES = 4 * MEGABYTE
_SHA256 = re.compile("[0-9a-f]{64}")
_LARGEST_NUMBER = 2**64

#: A file changed more recently may change again and keep the same times: some file systems have a time
#: resolution of two seconds.
_LEAST_AGE = 2_000_000_000
#: The same if only the local clock is available; the clock of a file server may be slow.
_LEAST_AGE_ELSEWHERE = 60_000_000_000


class FileState(NamedTuple):
    """The identity and state of a file; times in nanoseconds."""

    path: str
    device: int
    inode: int
    size: int
    modified: int
    changed: int


def state_of(path: Path, file: int) -> FileState:
    """Return the state of an open file with the name ``path``."""
    state = os.fstat(file)
    return FileState(
        str(path.resolve()), state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
    )


class HashMemory:
    """Cached hashes in a folder; none if other users can write to it.

    Parameters
    ----------
    folder
        The folder of the cache; None: nothing is cached.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / _NAME if folder else None
        self._known = _read(self._path) if self._path else {}

    def find(self, state: FileState) -> str | None:
        """Return the hash of a file in this state, 64 hexadecimal digits; None if it is not known."""
        return self._known.get(state)

    def remember(self, state: FileState, digest: str) -> None:
        """Store the hash of a file, unless the file is too new or the cache cannot be written.

        A missing hash only makes the next run slower.
        """
        if self._path is None:
            return
        with suppress(OSError):
            folder = self._path.parent
            make_trusted_folder(folder)
            if why_untrusted(folder) or _is_young(state, folder):
                return
            # Keep what other runs have stored meanwhile.
            others = {
                known: value
                for known, value in _read(self._path).items()
                if known[:2] != state[:2]  # path and device number: that of a network disk differs by machine
            }
            self._known = others | {state: digest}
            entries = [[*state, digest] for state, digest in self._known.items()]
            replace_trusted(self._path, json.dumps(entries[-_MOST_ENTRIES:]).encode())


def _is_young(state: FileState, folder: Path) -> bool:
    """Return whether a file was changed so recently that another change could go unnoticed."""
    with tempfile.TemporaryFile(dir=folder) as probe:  # gives the time of the file system's clock
        here = os.fstat(probe.fileno())
    now, least = here.st_mtime_ns, _LEAST_AGE
    if here.st_dev != state.device:
        now, least = time.time_ns(), _LEAST_AGE_ELSEWHERE
    return max(state.modified, state.changed) > now - least


def _read(path: Path) -> dict[FileState, str]:
    """Return the content of ``path``; empty if it cannot be read, is not ours, or others can write it."""
    try:
        if why_untrusted(path.parent):
            return {}
        with os.fdopen(open_trusted(path), "rb") as file:
            content = file.read(_MOST_BYTES + 1)
        found = json.loads(content) if len(content) <= _MOST_BYTES else None
    except (OSError, ValueError, RecursionError):
        return {}
    return dict(map(_entry, filter(_is_entry, found))) if isinstance(found, list) else {}


def _is_entry(found: Any) -> bool:
    if not isinstance(found, list) or len(found) != len(FileState._fields) + 1:
        return False
    path, *numbers, digest = found
    are_numbers = all(type(number) is int and abs(number) < _LARGEST_NUMBER for number in numbers)
    return (
        are_numbers and isinstance(path, str) and isinstance(digest, str) and bool(_SHA256.fullmatch(digest))
    )


def _entry(found: list[Any]) -> tuple[FileState, str]:
    return FileState(*found[:-1]), found[-1]
