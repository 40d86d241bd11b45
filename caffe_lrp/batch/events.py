"""The events of a run, in the order in which they happen."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from caffe_lrp.errors import ExitCode
from caffe_lrp.model.compiling import Compiled
from caffe_lrp.model.darkness import Cause

from .claim import Holder
from .job import JobOutcome


@dataclass(frozen=True)
class Waiting:
    """A run on another machine that writes the same files may have died; whether it has shows in a while.

    Attributes
    ----------
    holder
        The process there.
    seconds
        Longest time to wait for it.
    """

    holder: Holder
    seconds: float


@dataclass(frozen=True)
class LargeImage:
    """An image that is about to be decoded takes more memory than there should be.

    Attributes
    ----------
    note
        Which one, and how much.
    """

    note: str


@dataclass(frozen=True)
class Resumed:
    """The run goes on with an earlier one.

    Attributes
    ----------
    total
        Maps of this part of the list.
    done, failed
        Maps that are there, and those that failed and are not tried again.
    vanished
        Maps the journal called done, and whose files are gone.
    passed_over
        Damaged lines of the journal.
    left
        Maps to make.
    """

    total: int
    done: int
    failed: int
    vanished: int
    passed_over: int
    left: int


@dataclass(frozen=True)
class Compiling:
    """Kernels that are new on this CPU are compiled; sent when that begins, advances and ends.

    Attributes
    ----------
    compiled
        How far that is.
    """

    compiled: Compiled


@dataclass(frozen=True)
class Started:
    """The first image comes next.

    Attributes
    ----------
    total
        Maps to make.
    """

    total: int


@dataclass(frozen=True)
class Finished:
    """A map is made, or has failed.

    Attributes
    ----------
    outcome
        The outcome.
    failed
        Number of failures in this run.
    """

    outcome: JobOutcome
    failed: int


@dataclass(frozen=True)
class Advanced:
    """The progress of the run, sent once a minute.

    Attributes
    ----------
    total, finished, failed
        Maps to make, those that came out either way, and those that failed.
    per_second
        Maps a second so far.
    seconds_left
        At that speed.
    """

    total: int
    finished: int
    failed: int
    per_second: float
    seconds_left: float


@dataclass(frozen=True)
class Settling:
    """All maps are made; they still have to be recorded and counted."""


@dataclass(frozen=True)
class Ended:
    """The run is over.

    Attributes
    ----------
    total, done, failed, left
        Maps of this part of the list, in all runs of it.
    made, failures
        Maps that this run made, and those that failed in it.
    seconds
        How long its maps took, without what came before the first one.
    seconds_loading, seconds_compiling
        What came before: loading the net, and compiling kernels.
    slowest_stage
        Where jobs spent most of their time; empty if none did.
    dark
        Number of maps of this run that show nothing, by the cause.
    folder
        The deepest folder that has all files which this run wrote; empty if it wrote none.
    was_interrupted
        Whether it was interrupted.
    """

    total: int
    done: int
    failed: int
    left: int
    made: int
    failures: int
    seconds: float
    seconds_loading: float
    seconds_compiling: float
    slowest_stage: str
    dark: Mapping[Cause, int]
    folder: str
    was_interrupted: bool

    @property
    def per_second(self) -> float:
        """Maps a second of this run, those that failed among them."""
        return (self.made + self.failures) / max(self.seconds, 1e-9)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the program."""
        if self.left and self.was_interrupted:
            return ExitCode.INTERRUPTED
        return ExitCode.IMAGES_FAILED if self.failed or self.left else ExitCode.DONE


@dataclass(frozen=True)
class ProjectWritten:
    """A project file for ViRelAy was written.

    Attributes
    ----------
    path
        Where it lies.
    """

    path: Path


Event = (
    Waiting
    | LargeImage
    | Resumed
    | Compiling
    | Started
    | Finished
    | Advanced
    | Settling
    | Ended
    | ProjectWritten
)
