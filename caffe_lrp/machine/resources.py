"""The processors and the memory that this process may use, within the limits set for it.

A container or a cluster job often sees the whole machine but may use only a part of it. Limits are set by
the affinity mask, by control groups of either version, and by the limits of the process.
"""

import math
import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_AMOUNT = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)\s*(?:([KMGT])(?:i?B)?|B)", re.IGNORECASE)
#: More than any process can have.
_MOST_MEMORY = 2**60
#: Memory that a process may use if nothing is known.
_UNKNOWN_MEMORY = 2 * 2**30


def allowed_processors(system: Path = _ROOT) -> int:
    """Number of processors this process may use at a time, at least 1.

    Parameters
    ----------
    system
        Folder that contains ``proc`` and ``sys``.
    """
    return max(1, math.ceil(min(len(os.sched_getaffinity(0)), _processor_quota(system))))


def parse_memory(text: str) -> int:
    """Bytes from a number and a unit.

    Raises
    ------
    ValueError
        The message says what is wrong, to be appended to the text.
    """
    match = _AMOUNT.fullmatch(text.strip())
    size = float(match[1]) * _UNITS[(match[2] or "").upper()] if match else 0
    if size < 1:
        raise ValueError("must be a number and a unit, such as 800M or 1.5G")
    if size > _MOST_MEMORY:
        raise ValueError(f"must be at most {_MOST_MEMORY // _UNITS['T']}T")
    return int(size)


def available_memory(system: Path = _ROOT) -> int:
    """Bytes that this process can still allocate without swapping and without being killed.

    Parameters
    ----------
    system
        Folder that contains ``proc`` and ``sys``.
    """
    room, left = _room(system), address_space_left(system)
    return max(0, min(room if left is None else [*room, left], default=_UNKNOWN_MEMORY))


def _processor_quota(system: Path) -> float:
    """Processors granted by the control groups; infinite if there is no quota."""
    least = math.inf
    for folder in _groups(system, "cpu"):
        quota, period = _words(folder / "cpu.max", 2) or (
            _text(folder / "cpu.cfs_quota_us"),
            _text(folder / "cpu.cfs_period_us"),
        )
        if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
            least = min(least, int(quota) / int(period))
    return least


def _room_of_machine(system: Path) -> Iterator[int]:
    available = _table(system / "proc/meminfo").get("MemAvailable:")
    if available is not None:
        yield available * 1024


def _room_of_groups(system: Path) -> Iterator[int]:
    """The free memory of each control group; cached files do not count as used."""
    for folder in _groups(system, "memory"):
        statistics = _table(folder / "memory.stat")
        cached = statistics.get("total_inactive_file", statistics.get("inactive_file", 0))
        for limit_name, usage_name in (
            ("memory.max", "memory.current"),
            ("memory.high", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit, usage = _text(folder / limit_name), _text(folder / usage_name)
            if limit.isdecimal() and usage.isdecimal():
                yield int(limit) - max(0, int(usage) - cached)


def address_space_left(system: Path = _ROOT) -> int | None:
    """The address space left by its limit (``ulimit -v``, which some clusters set); None without a limit.

    Parameters
    ----------
    system
        Folder that contains ``proc`` and ``sys``.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    pages = _text(system / "proc/self/statm").partition(" ")[0]
    used = int(pages) * resource.getpagesize() if pages.isdecimal() else 0
    return limit - used


def memory_is_limited(system: Path = _ROOT) -> bool:
    """Whether the limit on the address space would be reached before the memory of the machine is used up.

    Parameters
    ----------
    system
        Folder that contains ``proc`` and ``sys``.
    """
    left = address_space_left(system)
    return left is not None and left <= min(_room(system), default=_UNKNOWN_MEMORY)


def _room(system: Path) -> list[int]:
    """The free memory of the machine and of the control groups; empty if unknown."""
    return [*_room_of_machine(system), *_room_of_groups(system)]


def _groups(system: Path, controller: str) -> Iterator[Path]:
    """Folders of the control groups that limit this process: its own and all above it."""
    memberships = [line.split(":", 2) for line in _text(system / "proc/self/cgroup").splitlines()]
    for mount in _text(system / "proc/self/mountinfo").splitlines():
        place, _, kind = mount.partition(" - ")
        fields, (file_system, *_, options) = place.split(), (kind.split() or ["", ""])
        is_old = file_system == "cgroup" and controller in options.split(",")
        if not is_old and file_system != "cgroup2":
            continue
        for member in memberships:
            if len(member) == 3 and (controller in member[1].split(",") if is_old else member[1] == ""):
                yield from _upwards(system, fields[3], fields[4], member[2])


def _upwards(system: Path, mounted: str, mount_point: str, group: str) -> Iterator[Path]:
    """The folders from that of a group up to the mount point of its hierarchy.

    In a container the path of the group can be that on the host. Then either its beginning is mounted, or it
    does not exist and the mounted folder is that of the group.
    """
    top = system / mount_point.lstrip("/")
    below = group.removeprefix(mounted.rstrip("/")).lstrip("/") if group.startswith(mounted) else ""
    folder = top / below
    while folder != top and top in folder.parents:
        yield folder
        folder = folder.parent
    yield top


def _table(path: Path) -> dict[str, int]:
    """First word of every line -> the number after it."""
    rows = (line.split() for line in _text(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


def _words(path: Path, count: int) -> tuple[str, ...]:
    """The words of a file if there are ``count``, otherwise none."""
    words = tuple(_text(path).split())
    return words if len(words) == count else ()


def _text(path: Path) -> str:
    """Content of a small system file; empty if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
