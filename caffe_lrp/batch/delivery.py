"""Where results go: files for every image, one database for all of them, or both."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from caffe_lrp.files.atomic import sync_files
from caffe_lrp.outputs.arrays import Dtype
from caffe_lrp.outputs.database import AttributionDatabase
from caffe_lrp.outputs.kinds import paths_of
from caffe_lrp.outputs.result import HeatmapResult
from caffe_lrp.outputs.writers import write_outputs

from .job import HeatmapJob, JobOutcome


@dataclass(frozen=True)
class Delivery:
    """What becomes of results.

    Attributes
    ----------
    kinds
        Files that are written for every job.
    dtype
        Of relevance, in files and in a database that have a choice.
    database
        Where all maps go; None: there is none.
    first
        Number of the job in the database's first row.
    description
        What describes the run, as a JSON text.
    is_synced
        Whether `settle` returns only when the disk has everything.
    """

    kinds: tuple[str, ...]
    dtype: Dtype = "float32"
    database: AttributionDatabase | None = None
    first: int = 0
    description: str = ""
    is_synced: bool = True

    def deliver(self, job: HeatmapJob, result: HeatmapResult) -> None:
        """Write the result of a job that has a stem.

        Raises
        ------
        ImageError
            It cannot be written.
        OutputError
            Nothing can be written any more.
        """
        result = replace(result, description=self.description)
        write_outputs(str(job.stem), result, self.kinds, self.dtype, job.output_root)
        if self.database is not None:
            self.database.write(job.number - self.first, result, job.number)

    def settle(self, outcomes: Sequence[JobOutcome]) -> None:
        """Make what was delivered last, so that the journal may say so.

        Raises
        ------
        OutputError
            The disk did not take it.
        """
        if self.is_synced:
            written = [outcome.job for outcome in outcomes if outcome.is_done]
            paths = [path for job in written for path in paths_of(str(job.stem), self.kinds)]
            sync_files(paths, {job.output_root for job in written if job.output_root})
        if self.database is not None:
            self.database.flush()
