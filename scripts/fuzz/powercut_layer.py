"""A layer between a run and its disk that simulates power cuts.

Written data is safe only after ``fsync``: the content of a file after its own, its name after that of its
folder. For everything else a power cut may leave the new state, the old one, or something in between. So the
layer records at every ``fsync`` of this process what is safe from then on, and `Disk.cut` writes a random
possible remainder of the output folder to a new folder.
"""

import os
import random
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Bytes that a disk writes atomically.
_SECTOR = 512

#: Probabilities that unsynced data survives.
_LUCKS = (0.05, 0.5, 0.95)

#: A file or folder, independent of its name: device and inode.
Node = tuple[int, int]


@dataclass
class Disk:
    """The safe state of a folder.

    Attributes
    ----------
    root
        The folder; its own name is safe.
    contents
        Contents of files at their last sync.
    names
        Names in folders at their last sync: name -> node.
    held
        Files that are kept open, so that the system does not reuse their nodes.
    syncs
        Number of syncs of files and folders.
    """

    root: Path
    contents: dict[Node, bytes] = field(default_factory=dict)
    names: dict[Node, dict[str, Node]] = field(default_factory=dict)
    held: dict[Node, int] = field(default_factory=dict)
    syncs: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def adopt(self) -> None:
        """Mark the current state as safe."""
        for place, _, files in os.walk(self.root):
            for path in (Path(place), *(Path(place, name) for name in files)):
                descriptor = os.open(path, os.O_RDONLY)
                self.note(descriptor)
                os.close(descriptor)

    def note(self, descriptor: int) -> None:
        """Mark an open file or folder as safe; OSError if it is not open."""
        status = os.fstat(descriptor)
        node = _node(status)
        opened = f"/proc/self/fd/{descriptor}"
        with self.lock:
            if node not in self.held:
                self.held[node] = os.open(opened, os.O_RDONLY | os.O_CLOEXEC)  # shares no lock with the other
            if stat.S_ISDIR(status.st_mode):
                with os.scandir(opened) as entries:
                    self.names[node] = {
                        entry.name: _node(entry.stat(follow_symlinks=False)) for entry in entries
                    }
            elif stat.S_ISREG(status.st_mode):
                self.contents[node] = Path(opened).read_bytes()

    def release(self) -> None:
        """Close the files that are kept open."""
        for descriptor in self.held.values():
            os.close(descriptor)
        self.held.clear()

    def cut(self, target: Path, chance: random.Random) -> None:
        """Write a possible remainder after a power cut at this moment to the folder ``target``.

        Nothing becomes safe meanwhile, so a journal cannot be ahead of the files.
        """
        with self.lock:
            target.mkdir(parents=True)
            self._cut_folder(_node(self.root.stat()), self.root, target, chance)

    def _cut_folder(self, node: Node, current: Path | None, target: Path, chance: random.Random) -> None:
        """Write the remainder of a folder to ``target``; ``current`` is its present path, None: deleted."""
        safe = self.names.get(node, {})
        now = _listed(current) if current else {}
        luck = chance.choice(_LUCKS)  # one for all files in a folder: the disk was just at them, or was not
        for name in sorted({*safe, *now}):
            is_late = chance.random() < luck
            found = now.get(name) if is_late or safe.get(name) == now.get(name) else safe.get(name)
            if found:
                is_now = found == now.get(name)
                place = current / name if current and is_now else None
                self._cut_entry(found, place, target / name, luck, chance)

    def _cut_entry(
        self, node: Node, current: Path | None, target: Path, luck: float, chance: random.Random
    ) -> None:
        """Write the remainder of a file, a folder or a link to ``target``."""
        if current and current.is_symlink():
            target.symlink_to(current.readlink())
        elif node in self.names or (current and current.is_dir()):
            target.mkdir()
            self._cut_folder(node, current, target, chance)
        else:
            content = None
            with suppress(FileNotFoundError):
                content = current.read_bytes() if current else None
            safe = self.contents.get(node)
            is_late = content is not None and chance.random() < luck
            target.write_bytes(content if is_late and content else _left_of(safe, content, chance))


def _node(status: os.stat_result) -> Node:
    return status.st_dev, status.st_ino


def _listed(folder: Path) -> dict[str, Node]:
    """Return the names in a folder now."""
    found = {}
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                found[entry.name] = _node(entry.stat(follow_symlinks=False))
    return found


def _left_of(safe: bytes | None, now: bytes | None, chance: random.Random) -> bytes:
    """Return the remainder of a file's content.

    Parameters
    ----------
    safe
        Its content at the last sync; None: it was never synced.
    now
        Its current content; None: it is no longer readable.
    chance
        Random generator.
    """
    if now is None or now == safe:
        return safe or b""
    if safe is None:
        end = chance.randrange(len(now) + 1)
        zeros = bytes(len(now) - end)
        return chance.choice((b"", now, now[:end], bytes(len(now)), now[:end] + zeros))
    if now.startswith(safe):  # it was added to
        end = chance.randrange(len(safe), len(now) + 1)
        return chance.choice((safe, now, now[:end], now[:end] + bytes(len(now) - end)))
    longest = max(len(safe), len(now))
    old, new = safe.ljust(longest, b"\0"), now.ljust(longest, b"\0")
    mixed = b"".join(
        chance.choice((old, new))[place : place + _SECTOR] for place in range(0, longest, _SECTOR)
    )
    return chance.choice((safe, now, mixed, mixed))


@contextmanager
def layered(disk: Disk, before_sync: Callable[[], object]) -> Iterator[None]:
    """Redirect every ``fsync`` of this process to a simulated disk within the block.

    Parameters
    ----------
    disk
        The disk.
    before_sync
        Called before anything is marked as safe.
    """
    functions: Mapping[str, Any] = {name: getattr(os, name) for name in ("fsync", "fdatasync")}

    def sync(file: Any) -> None:
        before_sync()
        disk.note(file if isinstance(file, int) else file.fileno())
        disk.syncs += 1

    vars(os).update(dict.fromkeys(functions, sync))
    try:
        yield
    finally:
        vars(os).update(functions)
