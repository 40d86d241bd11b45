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
    """A run on another machine that writes the same files may have died; it takes a while to find out.

    Attributes
    ----------
    holder
        The process on that machine.
    seconds
        Longest time to wait.
    """

    holder: Holder
    seconds: float


@dataclass(frozen=True)
class LargeImage:
    """An image about to be decoded takes more memory than it should.

    Attributes
    ----------
    note
        Names the image and the memory it takes.
    """

    note: str


@dataclass(frozen=True)
class Resumed:
    """The run continues an earlier one.

    Attributes
    ----------
    total
        Maps of this part of the list.
    done, failed
        Maps that exist, and those that failed and are not tried again.
    vanished
        Maps that are done according to the journal, but whose files are gone.
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
    """Kernels that are new on this CPU are being compiled; sent at the start, on progress, and at the end.

    Attributes
    ----------
    compiled
        The progress so far.
    """

    compiled: Compiled


@dataclass(frozen=True)
class Started:
    """The first image is about to be explained.

    Attributes
    ----------
    total
        Maps to make.
    """

    total: int


@dataclass(frozen=True)
class Finished:
    """A map is done or has failed.

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
        Maps to make, those that are done or have failed, and those that have failed.
    per_second
        Maps a second so far.
    seconds_left
        Estimated from that speed.
    """

    total: int
    finished: int
    failed: int
    per_second: float
    seconds_left: float


@dataclass(frozen=True)
class Settling:
    """All maps are done; the journal and the summary still have to be written."""


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
        Time for its maps, without the preparation before the first one.
    seconds_loading, seconds_compiling
        Time of the preparation: loading the net, and compiling kernels.
    slowest_stage
        Stage that took most of the jobs' time; empty if there was no job.
    dark
        Number of maps of this run that show nothing, by cause.
    folder
        The deepest folder that contains all files written by this run; empty if it wrote none.
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
        """Maps per second in this run, including failed ones."""
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
        Path of the file.
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
