"""Hashes of large files, kept from run to run, so that a model need not be read just to be identified.

They are keyed by what identifies a file and its state. Both times that a file
has are part of that, as the time of its last change, unlike that of its content, cannot be set. A wrong
hash would have a run take maps of another model for its own, so whatever could be wrong is forgotten.
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

#: A file changed less long ago may change again and have the same times: some file systems count in steps of
#: two seconds.
_LEAST_AGE = 2_000_000_000
#: The same where only our own clock is at hand, and a server's may be slow.
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
    """The state of an open file that has the name ``path``."""
    state = os.fstat(file)
    return FileState(
        str(path.resolve()), state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
    )


class HashMemory:
    """The hashes kept in a folder; none if other users can write there.

    Parameters
    ----------
    folder
        Where; None: nowhere.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / _NAME if folder else None
        self._known = _read(self._path) if self._path else {}

    def find(self, state: FileState) -> str | None:
        """The hash of a file in this state, 64 hexadecimal digits; None if it is not known."""
        return self._known.get(state)

    def remember(self, state: FileState, digest: str) -> None:
        """Keep the hash of a file, unless the file is too new or there is no place for it.

        Without it the next run hashes again: slower, and nothing else.
        """
        if self._path is None:
            return
        with suppress(OSError):
            folder = self._path.parent
            make_trusted_folder(folder)
            if why_untrusted(folder) or _is_young(state, folder):
                return
            # What other runs have remembered meanwhile is kept.
            others = {
                known: value
                for known, value in _read(self._path).items()
                if known[:2] != state[:2]  # the path, and its device: a network's has one on every machine
            }
            self._known = others | {state: digest}
            entries = [[*state, digest] for state, digest in self._known.items()]
            replace_trusted(self._path, json.dumps(entries[-_MOST_ENTRIES:]).encode())


def _is_young(state: FileState, folder: Path) -> bool:
    """Return whether a file was changed so recently that another change could go unnoticed."""
    with tempfile.TemporaryFile(dir=folder) as probe:  # tells the time by the clock of its file system
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
