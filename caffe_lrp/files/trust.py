"""Trust in files that caffe-lrp keeps between runs: whether another user could have forged them.

A cache is trusted. So it has to belong to the user or to root, and nobody else may be able to write it, to
replace it, or to lead the way to it elsewhere. Knows nothing of what is in the files.
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
#: As many links as Linux follows on the way to a file.
_MOST_LINKS = 40
#: What files of users that a user namespace does not know seem to belong to; on most systems "nobody".
_UNKNOWN_USER = 65534
_ALL_USERS = 2**32 - 1
_ACCESS_LIST = "system.posix_acl_access"


class Distrust(NamedTuple):
    """A reason why something could be written by another user.

    Attributes
    ----------
    reason
        A clause: "the group 'lab' can write to /srv/cache".
    remedy
        What the user can do about it: "run 'chmod g-w /srv/cache'"; empty if only somebody else can.
    """

    reason: str
    remedy: str = ""


class UntrustedError(OSError):
    """Another user could have written a file; the text says why."""


def why_untrusted(path: Path, owners: Collection[int] = (), below: Path = _ROOT) -> Distrust | None:
    """Return why another user could have changed the file or folder ``path``; None if nobody could.

    It has to belong to the user or to root, and nobody else may be able to write to it. So do all folders on
    the way, but those with the sticky bit may be open to all, as `/tmp` is: there nobody can replace what is
    not theirs. Links are followed, and have to belong to the user or to root, too. Of what is not there yet,
    the folders that are there count.

    Parameters
    ----------
    path
        A file or a folder.
    owners
        Users (their numbers) who are trusted besides.
    below
        A folder that is taken on trust, with the way to it. By default nothing is.

    Raises
    ------
    OSError
        It cannot be told: what is on the way is no folder, or may not be looked into, or is a link to itself.
    """
    steps = list(_steps(path.absolute().relative_to(below.absolute()), below))
    trusted = {os.geteuid(), _ROOT_USER, *owners}
    for number, (step, state) in enumerate(steps, 1):
        doubt = state and _why_doubted(step, state, trusted, is_on_the_way=number < len(steps))
        if doubt:
            return doubt
    return None


def open_trusted(path: Path, owners: Collection[int] = ()) -> int:
    """Open a file for reading that nobody else can have written: a descriptor, as `open_own` gives it.

    The file itself is looked at, not its name, and not the folders on the way: ask `why_untrusted` of its
    folder once.

    Raises
    ------
    UntrustedError
        It belongs to somebody else, or others can write to it.
    OSError
        It cannot be opened, or something other than a regular file is in its place.
    """
    file = open_own(path)
    try:
        _require_trusted(path, os.fstat(file), {os.geteuid(), _ROOT_USER, *owners})
    except BaseException:
        os.close(file)
        raise
    return file


def make_trusted_folder(folder: Path) -> None:
    """Make ``folder``, and folders above it, such that nobody else can write to them, whatever the umask.

    Raises OSError where that is impossible.
    """
    for step in reversed([folder, *folder.parents]):
        if not step.is_dir():
            step.mkdir(mode=0o755, exist_ok=True)


def create_trusted(path: Path) -> int:
    """Make a new file that nobody else can write to, whatever the umask: a descriptor for writing.

    Raises OSError where that is impossible, or something is in its place.
    """
    file = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.fchmod(file, os.fstat(file).st_mode & 0o755)
    return file


def replace_trusted(path: Path, content: bytes) -> None:
    """Put ``content`` into a file that nobody else can write to, whatever is in its place, at once and whole.

    Folders that are missing are made, as somebody may have tidied them away. Raises OSError where that is
    impossible.
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
    """All folders and links that decide what ``way`` leads to from ``start``, and what it leads to itself.

    Ends with the first that is not there, whose state is None. `start` is among them only if it is the root.
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
    """Why not to trust what has the owner and the rights ``state``."""
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
    """Whether ``user`` stands for all whom this user namespace has no number for, such as the machine's root.

    In a container that was not started by root the folders above one's home seem to belong to nobody.
    """
    if user != _UNKNOWN_USER:
        return False
    with suppress(OSError):  # a kernel without user namespaces
        numbers = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
        return sum(int(count) for _, _, count in numbers) < _ALL_USERS
    return False


def _is_private_group(path: Path, state: os.stat_result) -> bool:
    """Whether the group of ``path`` is its owner and nobody else.

    Many systems give every user a group of the same name, and open new folders to it. An access list may let
    in others besides.
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
