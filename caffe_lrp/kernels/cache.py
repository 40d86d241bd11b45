"""The cache of compiled kernels on disk: one folder for every version of the sources.

The folder's name is a digest of all modules of kernels and of the versions that determine the compiled
code. So after an edit to a kernel, or to a function that it calls, no stale code runs. Every compiled kernel
has its own file in the folder, named by a digest of what it was compiled for. Files are never changed in
place, so any number of processes, on any kinds of CPU, can share a folder.

The files contain code that is executed, so files that another user can have written are ignored: see `trust`.
"""

import contextlib
import hashlib
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from caffe_lrp.files.reading import user_cache_folder
from caffe_lrp.files.trust import (
    Distrust,
    is_unknown,
    make_trusted_folder,
    open_trusted,
    replace_trusted,
    why_untrusted,
)

_STEM = "kernels-"
_FOLDER_NAME = re.compile(_STEM + "[0-9a-f]{16}")
_CHECKSUM_BYTES = 32
_SIZES = "sizes"

#: Folders of other versions of the sources are removed when unused for this long, or beyond this many.
UNUSED_SECONDS = 30 * 24 * 3600
MOST_OTHERS = 8


class _Base(NamedTuple):
    """A place for the folder, the owners trusted there, and the folder below which owners are checked."""

    folder: Path
    owners: Collection[int]
    below: Path = Path("/")


@dataclass(frozen=True)
class CacheFolder:
    """The folder for compiled kernels, and why it is not another one.

    Attributes
    ----------
    folder
        None if kernels are not stored.
    reason
        Why it is not the first choice; empty if it is.
    remedy
        What the user can do about that; empty if nothing needs to be done.
    """

    folder: Path | None
    reason: str = ""
    remedy: str = ""

    @property
    def notices(self) -> tuple[str, ...]:
        """Notices for users about the folder: none if it is the first choice."""
        if not self.reason:
            return ()
        if self.folder is None:
            return (f"every run compiles its kernels again, because {self.reason}; {self.remedy}",)
        kept = f"{self.reason}, so compiled kernels are kept in {self.folder.parent}"
        return (f"{kept}; {self.remedy}" if self.remedy else kept,)


def sources_digest(folder: Path, versions: Iterable[str]) -> str:
    """16 hexadecimal digits that change with any module in ``folder`` and with ``versions``."""
    digest = hashlib.sha256("\0".join(versions).encode())
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def find_folder(package: Path, environment: Mapping[str, str], digest: str, target: str) -> CacheFolder:
    """The first folder that is writable or complete, and that no other user can write to.

    Parameters
    ----------
    package
        First choice, unless the environment's ``CAFFE_LRP_CACHE_DIR`` names another one. The owner of its
        parent folder, the package's, is trusted, because their code runs anyway.
    environment
        Environment variables.
    digest
        What `sources_digest` returned.
    target
        Name of the target, as given to `mark_complete`.
    """
    first, *others = _bases(package, environment)
    reasons: list[str] = []
    remedies: list[str] = []
    for base in (first, *others):
        folder = base.folder / (_STEM + digest)
        is_usable, doubt = _look_at(folder, base, target)
        if is_usable:
            return CacheFolder(folder, _joined(reasons), _remedy(remedies) if remedies else "")
        if doubt:
            reasons.append(doubt.reason)
            remedies.append(doubt.remedy)
        elif base is first:
            reasons.append(f"{base.folder} cannot be written")
    if not remedies:
        reason = f"neither {first.folder} nor another folder can be written"
        return CacheFolder(None, reason, "set CAFFE_LRP_CACHE_DIR to one that can be written")
    return CacheFolder(None, _joined([*reasons, "no other folder can be written"]), _remedy(remedies))


def _look_at(folder: Path, base: _Base, target: str) -> tuple[bool, Distrust | None]:
    """Whether ``folder`` can be used, and why it is not trusted if that is the reason."""
    try:
        doubt = why_untrusted(folder, base.owners, base.below)
        if doubt or not (_is_writable(folder) or _is_complete(folder, target, base.owners)):
            return False, doubt
        # A new folder may belong to another user: some file servers do that to root.
        doubt = why_untrusted(folder, base.owners, base.below)
    except OSError:
        return False, None
    return doubt is None, doubt


def _joined(reasons: Sequence[str]) -> str:
    *others, last = reasons or [""]
    return f"{', '.join(others)} and {last}" if others else last


def _remedy(remedies: Sequence[str]) -> str:
    """The remedy if others can write: fix the permissions, if the user can, or choose another folder."""
    return " or ".join(
        [*filter(None, remedies), "set CAFFE_LRP_CACHE_DIR to a folder that only you can write to"]
    )


def _bases(package: Path, environment: Mapping[str, str]) -> Iterator[_Base]:
    """Possible places for the folder, best first."""
    owner = package.parent.stat().st_uid
    # A user id shared by several users does not show who wrote files elsewhere.
    owners = () if is_unknown(owner) else (owner,)
    wish = environment.get("CAFFE_LRP_CACHE_DIR")
    yield _Base(Path(wish).absolute(), owners) if wish else _Base(package, (owner,), package.parent)
    for folder in filter(None, (user_cache_folder(environment), _temporary_folder())):
        yield _Base(folder, owners)


def _temporary_folder() -> Path | None:
    """A folder of the user's own in the one for temporary files; None if it cannot be created."""
    try:
        folder = Path(tempfile.gettempdir()) / f"caffe-lrp-{os.getuid()}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    except OSError:
        return None
    return folder


def _is_writable(folder: Path) -> bool:
    """Whether files can be created in ``folder``, which is created if missing; updates its time of use."""
    try:
        is_new = not folder.is_dir()
        make_trusted_folder(folder)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    with contextlib.suppress(OSError):
        os.utime(folder)
    if is_new:
        _remove_unused(folder)
    return True


def _remove_unused(folder: Path) -> None:
    """Remove caches of other versions of the sources next to ``folder``; processes using them recompile."""
    others = []
    with contextlib.suppress(OSError):
        for path in folder.parent.iterdir():
            state = path.lstat()
            is_ours = stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid()
            if path != folder and _FOLDER_NAME.fullmatch(path.name) and is_ours:
                others.append((state.st_mtime, path))
    others.sort(reverse=True)
    for rank, (used, path) in enumerate(others):
        if rank >= MOST_OTHERS or used < time.time() - UNUSED_SECONDS:
            # Leave a folder that is not as expected: another process may be using it.
            with contextlib.suppress(OSError):
                _remove_own(path)


def _remove_own(folder: Path) -> None:
    """Remove a folder with the user's own files; OSError if it contains anything else, which is kept."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with os.scandir(opened) as entries:
            for entry in list(entries):
                is_file = entry.is_file(follow_symlinks=False)
                if is_file and entry.stat(follow_symlinks=False).st_uid == os.geteuid():
                    os.unlink(entry.name, dir_fd=opened)
    finally:
        os.close(opened)
    folder.rmdir()


def _is_complete(folder: Path, target: str, owners: Collection[int]) -> bool:
    """Whether ``folder`` holds everything for ``target``; False if it cannot be read."""
    try:
        os.close(open_trusted(_marker(folder, target), owners))
    except OSError:
        return False
    return True


def _marker(folder: Path, target: str) -> Path:
    return folder / f"complete-{target}"


def mark_complete(folder: Path, target: str, owners: Collection[int] = ()) -> None:
    """Record that ``folder`` holds everything for ``target``, so that it can be used read-only.

    Raises OSError if the disk is full, as it then probably was for kernels.
    """
    if not _is_complete(folder, target, owners):
        replace_trusted(_marker(folder, target), f"every kernel, for {target}\n".encode())


def store(path: Path, header: Mapping[str, Any], parts: Sequence[bytes]) -> None:
    """Write ``header`` and ``parts``, with a checksum, to a file in our folder; OSError if that fails.

    The header is a line of JSON, so that only the compiled code in such a file can be executed.
    """
    line = json.dumps({**header, _SIZES: [len(part) for part in parts]}).encode() + b"\n"
    data = b"".join([line, *parts])
    replace_trusted(path, hashlib.sha256(data).digest() + data)


def load(path: Path, owners: Collection[int] = ()) -> tuple[dict[str, Any], list[bytes]] | None:
    """The data stored by `store`; None if missing, damaged, or possibly written by others."""
    try:
        with os.fdopen(open_trusted(path, owners), "rb") as file:
            checksum, data = file.read(_CHECKSUM_BYTES), file.read()
    except OSError:
        return None
    if hashlib.sha256(data).digest() != checksum:
        return None
    start = data.index(b"\n") + 1
    header = json.loads(data[:start])
    parts = []
    for size in header.pop(_SIZES):
        parts.append(data[start : start + size])
        start += size
    return header, parts
