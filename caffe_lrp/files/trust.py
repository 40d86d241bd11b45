"""Trust in files that caffe-lrp keeps between runs: checks whether another user could have forged them.

A cache is trusted. So it must belong to the user or to root, and nobody else may be able to write to it,
replace it, or redirect the path to it. This module knows nothing about the content of the files.
"""

import errno
import grp
import os
import pwd
import stat
import uuid
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .reading import open_own

_ROOT = Path("/")
_ROOT_USER = 0
#: Number of links that Linux follows in a path.
_MOST_LINKS = 40
#: Apparent owner of files whose owner is unknown in a user namespace; on most systems "nobody".
_UNKNOWN_USER = 65534
_ALL_USERS = 2**32 - 1
_ACCESS_LIST = "system.posix_acl_access"


class Distrust(NamedTuple):
    """A reason why another user could have written a file.

    Attributes
    ----------
    reason
        A clause: "the group 'lab' can write to /srv/cache".
    remedy
        What the user can do about it: "run 'chmod g-w /srv/cache'"; empty if the user cannot change it.
    """

    reason: str
    remedy: str = ""


class UntrustedError(OSError):
    """Another user could have written a file; the text says why."""


def why_untrusted(path: Path, owners: Collection[int] = (), below: Path = _ROOT) -> Distrust | None:
    """Return why another user could have changed the file or folder ``path``; None if nobody could.

    It must belong to the user or to root, and nobody else may be able to write to it. The same holds for all
    parent folders, except that folders with the sticky bit, such as `/tmp`, may be open to all: there, nobody
    can replace other users' files. Links are followed, and must belong to the user or to root, too. If it
    does not exist yet, its existing parent folders are checked.

    Parameters
    ----------
    path
        A file or a folder.
    owners
        Further trusted users (their numbers).
    below
        A folder that is trusted without checks, with the path to it; by default none.

    Raises
    ------
    OSError
        The path cannot be checked: a part of it is not a folder, is not readable, or is a circular link.
    """
    steps = list(_steps(path.absolute().relative_to(below.absolute()), below))
    trusted = {os.geteuid(), _ROOT_USER, *owners}
    for number, (step, state) in enumerate(steps, 1):
        doubt = state and _why_doubted(step, state, trusted, is_on_the_way=number < len(steps))
        if doubt:
            return doubt
    return None


def open_trusted(path: Path, owners: Collection[int] = ()) -> int:
    """Open a file for reading that nobody else can have written; return a descriptor, as `open_own` does.

    The open file is checked, not its name or its parent folders: check its folder once with
    `why_untrusted`.

    Raises
    ------
    UntrustedError
        It belongs to another user, or others can write to it.
    OSError
        It cannot be opened, or is not a regular file.
    """
    file = open_own(path)
    try:
        _require_trusted(path, os.fstat(file), {os.geteuid(), _ROOT_USER, *owners})
    except BaseException:
        os.close(file)
        raise
    return file


def make_trusted_folder(folder: Path) -> None:
    """Make ``folder`` and its parents, not writable for others, whatever the umask.

    Raises OSError if that is impossible.
    """
    for step in reversed([folder, *folder.parents]):
        if not step.is_dir():
            step.mkdir(mode=0o755, exist_ok=True)


def create_trusted(path: Path) -> int:
    """Make a new file that nobody else can write to, whatever the umask; return a descriptor for writing.

    Raises OSError if that is impossible, or the name exists.
    """
    file = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.fchmod(file, os.fstat(file).st_mode & 0o755)
    return file


def replace_trusted(path: Path, content: bytes) -> None:
    """Replace a file atomically with ``content``; nobody else can write to the new file.

    Missing folders are made, as they may have been cleaned up. Raises OSError if that is impossible.
    """
    make_trusted_folder(path.parent)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:16]}.tmp")
    try:
        with os.fdopen(create_trusted(temporary), "wb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _require_trusted(path: Path, state: os.stat_result, trusted: Collection[int]) -> None:
    doubt = _why_doubted(path, state, trusted, is_on_the_way=False)
    if doubt:
        raise UntrustedError(doubt.reason)


def _steps(way: Path, start: Path) -> Iterator[tuple[Path, os.stat_result | None]]:
    """Yield all folders and links on the path ``way`` from ``start``, and its target.

    Ends with the first that does not exist, whose state is None. `start` is included only if it is the root.
    """
    here = start.resolve()
    if here == _ROOT:
        yield here, here.lstat()
    ahead, links = list(reversed(way.parts)), 0
    while ahead:
        name = ahead.pop()
        step = here.parent if name == ".." else here / name
        try:
            state = step.lstat()
        except FileNotFoundError:
            yield step, None
            return
        yield step, state
        if not stat.S_ISLNK(state.st_mode):
            here = step
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(step))
        target = step.readlink()
        ahead += [part for part in reversed(target.parts) if part != target.root]
        here = _ROOT if target.is_absolute() else here


def _why_doubted(
    path: Path, state: os.stat_result, trusted: Collection[int], *, is_on_the_way: bool
) -> Distrust | None:
    """Return why not to trust a file or folder with the owner and permissions in ``state``."""
    is_known = state.st_uid in trusted or (is_on_the_way and is_unknown(state.st_uid))
    if not is_known:
        return Distrust(f"{path} belongs to {_user(state.st_uid)}")
    is_sticky = stat.S_ISDIR(state.st_mode) and bool(state.st_mode & stat.S_ISVTX)
    if stat.S_ISLNK(state.st_mode) or (is_on_the_way and is_sticky):
        return None
    can_fix = os.geteuid() in {state.st_uid, _ROOT_USER}
    if state.st_mode & stat.S_IWOTH:
        return Distrust(f"every user can write to {path}", f"run 'chmod go-w {path}'" if can_fix else "")
    if state.st_mode & stat.S_IWGRP and not _is_private_group(path, state):
        others = "users on its access list" if _has_access_list(path) else _group(state.st_gid)
        return Distrust(f"{others} can write to {path}", f"run 'chmod g-w {path}'" if can_fix else "")
    return None


def is_unknown(user: int) -> bool:
    """Return whether ``user`` stands for all users unknown in this namespace, such as the machine's root.

    In a container that was not started by root, the parent folders of the home seem to belong to nobody.
    """
    if user != _UNKNOWN_USER:
        return False
    with suppress(OSError):  # a kernel without user namespaces
        numbers = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
        return sum(int(count) for _, _, count in numbers) < _ALL_USERS
    return False


def _is_private_group(path: Path, state: os.stat_result) -> bool:
    """Return whether the group of ``path`` consists only of its owner.

    Many systems give every user a group of the same name, which may write to new folders. An access list may
    give access to others as well.
    """
    with suppress(KeyError):
        owner, group = pwd.getpwuid(state.st_uid), grp.getgrgid(state.st_gid)
        is_private = owner.pw_gid == group.gr_gid and owner.pw_name == group.gr_name
        return is_private and set(group.gr_mem) <= {owner.pw_name} and not _has_access_list(path)
    return False


def _has_access_list(path: Path) -> bool:
    with suppress(OSError):  # there is none, or the file system has no such lists
        return bool(os.getxattr(path, _ACCESS_LIST))
    return False


def _user(number: int) -> str:
    with suppress(KeyError):
        return f"the user '{pwd.getpwuid(number).pw_name}'"
    return f"the user {number}"


def _group(number: int) -> str:
    with suppress(KeyError):
        return f"the group '{grp.getgrgid(number).gr_name}'"
    return f"the group {number}"
