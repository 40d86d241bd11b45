"""The content of a lease (see `lease`), and whether the run that wrote it is alive."""

import fcntl
import hashlib
import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.files.reading import open_own
from caffe_lrp.outputs.kinds import DATABASE, file_kinds

from .records import Header, files_named, json_fields

_NAME = re.compile(
    r"\.caffe-lrp-(?P<fingerprint>[0-9a-f]{12})-(?P<shard>(?P<index>[0-9]{1,9})of(?P<count>[0-9]{1,9}))"
    r"-(?P<ticket>[0-9a-f]{32})\.lease"
)
#: First line of a lease: its run waits for permission to begin, or has begun.
ASKS, HOLDS = b"asks \n", b"holds\n"
_LONGEST_DESCRIPTION: Final = 2**16
#: With more stems, a lease covers all files; reading it would take too long otherwise.
_MOST_STEMS: Final = 2**26
_ALL_FILES = -1
#: A run that has not renewed its lease for this long is dead. The disks of a cluster stall now and then.
SECONDS_TO_LIVE = 60.0
#: States of a process that has ended, but whose parent has not yet collected its exit status.
_ENDED = ("Z", "X")


@dataclass(frozen=True)
class Holder:
    """A process, identified so that a later one with the same number is not mistaken for it.

    Attributes
    ----------
    host
        Name of its machine, for people.
    machine
        The boot of the machine, and the process namespace; empty if they cannot be determined.
    process
        Number of the process.
    started
        When it was started, in the machine's own unit; empty if unknown, as for ``machine``.
    """

    host: str
    machine: str
    process: int
    started: str

    @classmethod
    def this_process(cls) -> "Holder":
        """Return the current process."""
        process = os.getpid()
        return cls(socket.gethostname(), _machine(), process, _start_of(process) or "")

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


def _machine() -> str:
    """Return the boot of the machine and the process namespace: a container has its own process numbers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start_of(process: int) -> str | None:
    """Return when a process was started; None if it has ended, empty if unknown."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "" if _exists(process) else None
    state, *fields = stat.rpartition(")")[2].split()  # the name in brackets may contain spaces and brackets
    return None if state in _ENDED else fields[18]


def _exists(process: int) -> bool:
    """Return whether a process exists, even if its start time is unknown."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@dataclass(frozen=True, eq=False)
class Claim:
    """The run that holds a lease, and the files it may write.

    Attributes
    ----------
    fingerprint, shard
        Those of the run; the shard as in file names: ``3of64``.
    outputs
        Kinds of files, and the database if there is one.
    stems
        `hash_of` the stem of each of its files; None: it may write any file.
    """

    fingerprint: str
    shard: str
    outputs: tuple[str, ...]
    stems: NDArray[np.uint64] | None

    def is_of_run(self, other: "Claim") -> bool:
        """Return whether both are of the same run and the same part of its list."""
        return (self.fingerprint, self.shard) == (other.fingerprint, other.shard)

    def meets(self, other: "Claim") -> bool:
        """Return whether both may write the same file. Shards of one run never do: each has its own lines."""
        if self.is_of_run(other):
            return True
        if self._whole_run == other._whole_run:
            return False
        common = {*self.outputs}.intersection(other.outputs)
        if DATABASE in common and self.shard == other.shard:
            return True
        if not file_kinds(sorted(common)):
            return False
        return self.stems is None or other.stems is None or bool(np.isin(self.stems, other.stems).any())

    @property
    def _whole_run(self) -> tuple[str, str]:
        """Return the fingerprint of the run, and the number of shards."""
        return self.fingerprint, self.shard.partition("of")[2]


def claim_of(header: Header, stems: NDArray[np.uint64]) -> Claim:
    """Return the claim of a run on files whose stems have these hashes; with very many, on all files."""
    claimed = stems if len(stems) <= _MOST_STEMS else None
    return Claim(header.fingerprint, header.shard.label, header.outputs, claimed)


def hash_of(stem: str) -> int:
    """Return a 64-bit hash of a stem relative to the output root, the same in every process."""
    return int.from_bytes(digest_of(stem), "little")


def digest_of(stem: str) -> bytes:
    """Return the same as 8 bytes, little-endian."""
    # A journal can contain anything, even text that cannot be a path.
    return hashlib.blake2b(stem.encode(errors="surrogatepass"), digest_size=8).digest()


def lease_path(root: Path, claim: Claim, ticket: str) -> Path:
    """Return the path of a lease; each has its own ticket of 32 hexadecimal digits."""
    return root / f".caffe-lrp-{claim.fingerprint}-{claim.shard}-{ticket}.lease"


def lease_content(claim: Claim, holder: Holder) -> bytes:
    """Return the content of a lease for a run."""
    description = {
        "outputs": list(claim.outputs),
        "stems": _ALL_FILES if claim.stems is None else len(claim.stems),
        "host": holder.host,
        "machine": holder.machine,
        "process": holder.process,
        "started": holder.started,
    }
    hashes = b"" if claim.stems is None else claim.stems.astype("<u8").tobytes()
    return ASKS + json.dumps(description).encode() + b"\n" + hashes


#: Types of the values of a description.
_TYPES: Mapping[str, type] = {
    "outputs": list, "stems": int, "host": str, "machine": str, "process": int, "started": str,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class FoundLease:
    """A lease in the folder.

    Attributes
    ----------
    path
        Its file.
    ticket
        The last part of its name, unique to each lease.
    holds
        Whether its run has begun.
    claim, holder
        The content of the lease.
    is_locked
        Whether a process has locked it; False where locks are not supported.
    renewed
        When it was renewed, by the clock of the file system.
    """

    path: Path
    ticket: str
    holds: bool
    claim: Claim
    holder: Holder
    is_locked: bool
    renewed: float

    def is_alive(self, now: float) -> bool | None:
        """Return whether its run is alive; None if not known yet. ``now`` is read from the same clock."""
        if self.is_locked:
            return True
        if self.holder.machine and self.holder.machine == _machine():
            started = _start_of(self.holder.process)
            if started != "":
                return started == self.holder.started
        return False if now - self.renewed > SECONDS_TO_LIVE else None


def find_leases(root: Path) -> list[FoundLease]:
    """Return all complete, readable leases in an output root; raises as `files_named`."""
    return [lease for path in files_named(root, _NAME) if (lease := _read(path))]


def _read(path: Path) -> FoundLease | None:
    """Return the parsed lease; None if it is gone or not a lease."""
    try:
        file = os.fdopen(open_own(path), "rb")
    except OSError:
        return None
    with file:
        try:
            state, line = file.read(len(ASKS)), file.readline(_LONGEST_DESCRIPTION)
            fields = _described(line)
            hashes = file.read(8 * max(0, fields.get("stems", 0)) + 1)
            renewed, is_locked = os.fstat(file.fileno()).st_mtime, _is_locked(file.fileno())
        except OSError:
            return None
    match = _NAME.fullmatch(path.name)
    is_whole = bool(fields) and len(hashes) == 8 * max(0, fields["stems"])
    if match is None or state not in (ASKS, HOLDS) or not is_whole:
        return None
    stems = None if fields["stems"] == _ALL_FILES else np.frombuffer(hashes, "<u8")
    claim = Claim(match["fingerprint"], match["shard"], tuple(map(str, fields["outputs"])), stems)
    holder = Holder(fields["host"], fields["machine"], fields["process"], fields["started"])
    return FoundLease(path, match["ticket"], state == HOLDS, claim, holder, is_locked, renewed)


def _described(line: bytes) -> dict[str, Any]:
    """Return the description in a lease; empty if it is not a lease."""
    fields = json_fields(line)
    if any(type(fields.get(name)) is not kind for name, kind in _TYPES.items()):
        return {}
    is_sound = 0 < fields["process"] < 2**31 and _ALL_FILES <= fields["stems"] <= _MOST_STEMS
    return fields if is_sound else {}


def _is_locked(file: int) -> bool:
    """Return whether another process has locked an open file; False where locks are not supported."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
