"""Shards: one list split among several runs, such as the tasks of a cluster's array job."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from caffe_lrp.errors import UsageError

_PARTS = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
_ARRAY = tuple(f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "MIN", "MAX", "STEP", "COUNT"))


@dataclass(frozen=True)
class Shard:
    """Part ``index`` of ``count``, from 0: consecutive lines; the sizes of two parts differ by one at most.

    All parts together make up the list, without overlap.
    """

    index: int = 0
    count: int = 1

    @property
    def label(self) -> str:
        """The shard in file names: ``3of64``."""
        return f"{self.index}of{self.count}"

    @property
    def database_name(self) -> str:
        """The name of the database with all its maps (``--outputs h5``)."""
        return "maps.h5" if self.count == 1 else f"maps-{self.label}.h5"

    def part_of(self, length: int) -> range:
        """Return which of ``length`` lines are in this part."""
        return range(length * self.index // self.count, length * (self.index + 1) // self.count)


def parse_shard(text: str) -> Shard:
    """Return the shard given as ``I/N``.

    Raises
    ------
    ValueError
        The text is invalid; the message is written to follow it.
    """
    match = _PARTS.fullmatch(text)
    if not match:
        raise ValueError("must be I/N, such as 0/64 for the first of 64 parts, or auto")
    index, count = int(match[1]), int(match[2])
    if count < 1:
        raise ValueError("must be I/N, N at least 1")
    if index >= count:
        raise ValueError(f"asks for part {index}, but {count} parts are numbered from 0 to {count - 1}")
    return Shard(index, count)


def shard_of_array(environment: Mapping[str, str]) -> Shard:
    """Return the shard of a task of a Slurm array job.

    Raises
    ------
    UsageError
        This is not such a task, or its array leaves out indices, so that lines would be left unexplained.
    """
    given = [environment.get(name, "") for name in _ARRAY]
    for name, value in zip(_ARRAY, given, strict=True):
        if not re.fullmatch("[0-9]{1,9}", value):
            what = f"is '{value}', not a number" if value else "is not set"
            raise UsageError(
                f"--shard auto: this is not a task of a Slurm array job ({name} {what}); start it with "
                "sbatch "
                "--array=0-63, or give the part as --shard I/N"
            )
    task, first, last, step, count = map(int, given)
    if step < 1 or (last - first) // step + 1 != count or (task - first) % step or not first <= task <= last:
        raise UsageError(
            f"--shard auto: the array of {count} tasks from {first} to {last} leaves out indices, and so "
            "parts of the list; submit all of them, such as --array=0-63, or give the part as "
            "--shard I/N"
        )
    return Shard((task - first) // step, count)
