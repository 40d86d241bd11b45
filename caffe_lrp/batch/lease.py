"""Leases: they keep two runs from writing the same files of an output folder.

A run first writes a lease into the output folder: its fingerprint, its process, and a hash of every stem it
may write. Then it reads the leases of other runs. Even if two runs start almost simultaneously, the second
sees the lease of the first, because each writes its own before it reads the others. A run is refused if
another live run writes the same files.

The lease of a dead run must not block others. Three things are checked, as none is reliable alone: a lock on
the file, which some network file systems do not support, or only within one machine; the process, if it
was started on this machine; and the modification time of the file, which a running process renews.
"""

import fcntl
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from caffe_lrp.errors import OutputError
from caffe_lrp.files.atomic import temporary_beside, why_unwritable
from caffe_lrp.files.reading import open_own

from .claim import HOLDS, SECONDS_TO_LIVE, Claim, FoundLease, Holder, find_leases, lease_content, lease_path
from .records import journal_path
from .shards import Shard

#: How often a run renews its lease.
SECONDS_BETWEEN_RENEWALS = 10.0
_SECONDS_BETWEEN_LOOKS, _SECONDS_OF_DOUBT = 0.05, 1.0


class Lease:
    """The lease of this run, made by `leased`.

    Attributes
    ----------
    claim
        Its run, and the files it covers.
    """

    def __init__(self, root: Path, claim: Claim) -> None:
        self._root, self.claim, self._ticket = root, claim, uuid.uuid4().hex
        self._path = lease_path(root, claim, self._ticket)
        self._file = self._written()
        self._ended = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="lease", daemon=True)

    def _written(self) -> int:
        """Write the file; it is complete and locked before it gets its name."""
        temporary = temporary_beside(self._path)
        file = open_own(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            with suppress(OSError):  # other users must be able to read it, regardless of the umask
                os.fchmod(file, 0o644)
            with suppress(OSError):  # without locks, process and time decide
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with os.fdopen(file, "wb", closefd=False) as stream:
                stream.write(lease_content(self.claim, Holder.this_process()))
            temporary.replace(self._path)
        except BaseException:
            os.close(file)
            temporary.unlink(missing_ok=True)
            raise
        return file

    def hold(self, waiting: Callable[[Holder, float], None]) -> None:
        """Take the lease, or raise an error if another run holds it.

        Parameters
        ----------
        waiting
            Called once with a run on another machine that may have died, and the longest time to wait for it,
            in seconds.

        Raises
        ------
        OutputError
            Another active run writes the same files.
        """
        until = time.monotonic() + 2 * SECONDS_TO_LIVE
        #: Leases that may belong to a dead run: when they were renewed, and when that was first seen.
        doubtful: dict[Path, tuple[float, float]] = {}
        while True:
            now, rivals = self._rivals(doubtful)
            if not rivals:
                break
            for rival in rivals:
                # If several runs ask at the same time, the one with the smallest ticket goes first.
                comes_first = rival.holds or rival.ticket < self._ticket
                renewed, _ = doubtful.get(rival.path, (rival.renewed, 0.0))
                lives = rival.is_alive(now) or rival.renewed > renewed
                if (lives and comes_first) or time.monotonic() > until:
                    raise self._refusal(rival)
            unsure = [rival for rival in rivals if rival.is_alive(now) is None]
            if unsure and not doubtful:
                waiting(unsure[0].holder, SECONDS_TO_LIVE)
            seen = time.monotonic()
            doubtful = {rival.path: doubtful.get(rival.path, (rival.renewed, seen)) for rival in unsure}
            time.sleep(_SECONDS_OF_DOUBT if unsure else _SECONDS_BETWEEN_LOOKS)
        os.pwrite(self._file, HOLDS, 0)
        self._renewing.start()

    def _refusal(self, rival: FoundLease) -> OutputError:
        ours, theirs = self.claim, rival.claim
        if ours.is_of_run(theirs):
            what = f"another process is already doing this run ({rival.holder})"
        else:
            what = f"a run that writes the same files is in progress ({rival.holder})"
        return OutputError(f"{_journal_of(self._root, theirs)}: {what}; wait until it ends, or stop it")

    def _rivals(self, doubtful: Mapping[Path, tuple[float, float]]) -> tuple[float, list[FoundLease]]:
        """Return the time, and the leases of runs that may write the same files; remove those of dead runs.

        If a clock was set back, leases can be from the future. They are dead if they do not change.
        """
        os.utime(self._file)
        now, rivals = os.fstat(self._file).st_mtime, []
        for found in find_leases(self._root):
            if found.ticket == self._ticket:
                continue
            renewed, since = doubtful.get(found.path, (0.0, 0.0))
            stays = found.renewed == renewed and time.monotonic() - since > SECONDS_TO_LIVE
            lives = found.is_alive(now)
            if lives is False or (lives is None and stays):
                with suppress(OSError):  # another process has removed it
                    found.path.unlink()
            elif self.claim.meets(found.claim):
                rivals.append(found)
        return now, rivals

    def _renew(self) -> None:
        """Renew the lease; runs in its own thread."""
        while not self._ended.wait(SECONDS_BETWEEN_RENEWALS):
            with suppress(OSError):  # if the folder is gone, the journal will report it
                os.utime(self._file)

    def require(self) -> None:
        """Raise OutputError if the lease is lost: others may be writing the same files."""
        if not self._is_there():
            raise OutputError(
                f"{self._root}: the lease of this run is gone: the output folder was deleted or replaced "
                "during the run, or the run was suspended for so long that another one took over; run "
                "the same command again to continue"
            )

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(self._path.lstat(), os.fstat(self._file))
        except OSError:
            return False

    def end(self) -> None:
        """Release the lease."""
        self._ended.set()
        if self._renewing.is_alive():
            self._renewing.join()  # otherwise it might touch another file with the same descriptor
        if self._is_there():
            with suppress(OSError):  # the folder may have become read-only; the lock is released anyway
                self._path.unlink()
        os.close(self._file)


@contextmanager
def leased(root: Path, claim: Claim, waiting: Callable[[Holder, float], None]) -> Iterator[Lease]:
    """Hold a lease within the block, in an existing folder.

    Raises
    ------
    OutputError
        Another active run writes the same files, or the folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            lease = Lease(root, claim)
            stack.callback(lease.end)
            lease.hold(waiting)
        except OSError as fault:
            # Users know the journal, which would be written next.
            raise OutputError(
                f"{_journal_of(root, claim)}: the journal cannot be written: {why_unwritable(fault)}"
            ) from fault
        yield lease


def _journal_of(root: Path, claim: Claim) -> Path:
    index, _, count = claim.shard.partition("of")
    return journal_path(root, claim.fingerprint, Shard(int(index), int(count)))


def running(root: Path) -> frozenset[tuple[str, str]]:
    """Return fingerprint and shard of the active runs in a folder, as far as known without waiting."""
    now = time.time()
    return frozenset(
        (found.claim.fingerprint, found.claim.shard)
        for found in find_leases(root)
        if found.is_alive(now) is not False
    )
