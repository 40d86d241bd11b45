"""Writing results: as files for every image, into one database for all of them, or both."""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace

from caffe_lrp.errors import OutputError
from caffe_lrp.files.atomic import sync_files
from caffe_lrp.model.attempt import Attempt
from caffe_lrp.model.compiling import Compiled, compiling
from caffe_lrp.model.explainer import Explainer
from caffe_lrp.model.explanation import Explanation
from caffe_lrp.model.stages import as_error
from caffe_lrp.outputs.database import AttributionDatabase
from caffe_lrp.outputs.encoding import Encoding
from caffe_lrp.outputs.kinds import paths_of
from caffe_lrp.outputs.writers import encoded, write_outputs

from .job import HeatmapJob, JobOutcome, predicted


@dataclass(frozen=True)
class Delivery:
    """Writes the results of a run.

    Attributes
    ----------
    kinds
        Kinds of files that are written for every job.
    encoding
        How files are written.
    database
        The database for all maps; None: there is none.
    first
        Number of the job stored in the first row of the database.
    is_synced
        Whether `settle` waits until everything is on the disk.
    """

    kinds: tuple[str, ...]
    encoding: Encoding = field(default_factory=Encoding)
    database: AttributionDatabase | None = None
    first: int = 0
    is_synced: bool = True

    def compiling(self, explainer: Explainer, processes: int) -> Generator[Compiled, None, None]:
        """Compile what it takes to make explanations and the content of their files; see `compiling`."""

        def encode(explanation: Explanation) -> None:
            for _ in encoded(explanation, self.kinds, self.encoding):
                pass

        return compiling(explainer, encode, str(self.kinds), processes)

    def deliver(self, job: HeatmapJob, explanation: Explanation) -> None:
        """Write the explanation of a job that has a stem.

        Raises
        ------
        ImageError
            It cannot be written.
        OutputError
            Nothing can be written any more.
        """
        write_outputs(str(job.stem), explanation, self.kinds, self.encoding, job.output_root)
        if self.database is not None:
            self.database.write(job.number - self.first, explanation, job.number)

    def finish(self, job: HeatmapJob, attempt: Attempt) -> JobOutcome:
        """Write the explanation of a job, if there is one; return the outcome.

        Raises
        ------
        OutputError
            Nothing can be written any more.
        """
        explanation = attempt.explanation
        if explanation is None or job.stem is None:
            return JobOutcome(job, attempt.times, str(attempt.error))
        started, error = time.perf_counter(), ""
        try:
            self.deliver(job, explanation)
        except OutputError:  # no later file could be written either
            raise
        except Exception as fault:  # noqa: BLE001 - a fault in one image must not end the run
            error = str(as_error(fault))
        times = replace(attempt.times, write=time.perf_counter() - started)
        return JobOutcome(
            job,
            times,
            error,
            predicted(explanation),
            explanation.conservation,
            explanation.darkness,
            explanation.is_turned,
        )

    def settle(self, outcomes: Sequence[JobOutcome]) -> None:
        """Make sure that results are on the disk before the journal records them.

        Raises
        ------
        OutputError
            Writing to the disk failed.
        """
        if self.is_synced:
            written = [outcome.job for outcome in outcomes if outcome.is_done]
            paths = [path for job in written for path in paths_of(str(job.stem), self.kinds)]
            sync_files(paths, {job.output_root for job in written if job.output_root})
        if self.database is not None:
            self.database.flush()
