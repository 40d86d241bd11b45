"""Where compiled kernels are kept on disk, and how: one folder for every state of the sources.

The folder's name is a digest of all modules of kernels and of the versions that decide what they compile
to, so that an edited kernel, or an edited function that others call, never runs stale. In the folder
every compiled kernel has a file of its own, whose name is a digest of what it was compiled for. Nothing
is ever changed in place, so any number of processes, on any kinds of CPU, may share a folder.
"""

import contextlib
import hashlib
import itertools
import os
import re
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from caffe_lrp.files import user_cache_folder

_STEM = "kernels-"
_FOLDER_NAME = re.compile(_STEM + "[0-9a-f]{16}")
_CHECKSUM_BYTES = 32

#: Folders of other states of the sources are removed when unused for so long, or beyond so many.
UNUSED_SECONDS = 30 * 24 * 3600
MOST_OTHERS = 8


@dataclass(frozen=True)
class CachePlace:
    """The folder for compiled kernels, and why it is not another one.

    Attributes
    ----------
    folder
        None: they are kept nowhere.
    reason
        Why it is not the first choice; empty where it is.
    """

    folder: Path | None
    reason: str = ""

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user has to know of the place: nothing, if it is the first choice."""
        if self.folder is None:
            advice = "set CAFFE_LRP_CACHE_DIR to one that can"
            return (f"every run compiles its kernels anew, as {self.reason}; {advice}",)
        return (
            (f"{self.reason}, so compiled kernels are kept in {self.folder.parent}",) if self.reason else ()
        )


def sources_digest(folder: Path, versions: Iterable[str]) -> str:
    """16 hexadecimal digits that change with any module in ``folder`` and with ``versions``."""
    digest = hashlib.sha256("\0".join(versions).encode())
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def find_place(package: Path, environment: Mapping[str, str], digest: str, target: str) -> CachePlace:
    """The first folder that can be written, or holds all that is needed.

    Parameters
    ----------
    package
        First choice, unless the environment's ``CAFFE_LRP_CACHE_DIR`` names another one.
    environment
        Environment variables.
    digest
        What `sources_digest` returned.
    target
        Name of what is compiled for, as given to `mark_complete`.
    """
    bases = _bases(package, environment)
    first = next(bases)
    for base in itertools.chain([first], bases):
        folder = base / (_STEM + digest)
        if _is_writable(folder) or _is_complete(folder, target):
            return CachePlace(folder, "" if base == first else f"{first} cannot be written")
    return CachePlace(None, f"neither {first} nor another folder can be written")


def _bases(package: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """Where the folder may lie, best first."""
    wish = environment.get("CAFFE_LRP_CACHE_DIR")
    yield Path(wish).absolute() if wish else package
    yield from filter(None, (user_cache_folder(environment), _temporary_folder()))


def _temporary_folder() -> Path | None:
    """A folder below the one for temporary files that nobody else can have put anything into."""
    try:
        folder = Path(tempfile.gettempdir()) / f"caffe-lrp-{os.getuid()}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        state = folder.lstat()
    except OSError:
        return None
    is_ours = stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o077
    return folder if is_ours else None


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in ``folder``, which is made itself; then it counts as used now."""
    try:
        is_new = not folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    with contextlib.suppress(OSError):
        os.utime(folder)
    if is_new:
        _remove_unused(folder)
    return True


def _remove_unused(folder: Path) -> None:
    """Remove what other states of the sources left beside ``folder``; who still uses it compiles anew."""
    others = []
    with contextlib.suppress(OSError):
        for path in folder.parent.iterdir():
            if path != folder and _FOLDER_NAME.fullmatch(path.name) and not path.is_symlink():
                others.append((path.stat().st_mtime, path))
    others.sort(reverse=True)
    for rank, (used, path) in enumerate(others):
        if rank >= MOST_OTHERS or used < time.time() - UNUSED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _is_complete(folder: Path, target: str) -> bool:
    """Whether ``folder`` holds everything for ``target``; not if nobody may look into it."""
    try:
        return _marker(folder, target).is_file()
    except OSError:
        return False


def _marker(folder: Path, target: str) -> Path:
    return folder / f"complete-{target}"


def mark_complete(folder: Path, target: str) -> None:
    """Note that ``folder`` holds everything for ``target``: it then serves even where it is read-only.

    Raises OSError where there is no room for that, and so probably was none for kernels.
    """
    if not _marker(folder, target).is_file():
        _write(_marker(folder, target), f"every kernel, for {target}\n".encode())


def store(path: Path, data: bytes) -> None:
    """Keep ``data``, with a checksum, in a file of our folder; raises OSError where it cannot be kept."""
    _write(path, hashlib.sha256(data).digest() + data)


def load(path: Path) -> memoryview | None:
    """What `store` kept in a file; None if that is nothing, or no longer whole."""
    try:
        stored = memoryview(path.read_bytes())
    except OSError:
        return None
    checksum, data = stored[:_CHECKSUM_BYTES], stored[_CHECKSUM_BYTES:]
    return data if hashlib.sha256(data).digest() == checksum else None


def _write(path: Path, data: bytes) -> None:
    """Write a file that is either complete or absent, by way of one that no other process knows."""
    path.parent.mkdir(parents=True, exist_ok=True)  # somebody may have tidied it away
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:16]}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
