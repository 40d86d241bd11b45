"""Runs that share an output folder: finding and refusing files that would be overwritten."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import OutputError
from caffe_lrp.messages import counted
from caffe_lrp.outputs.kinds import DATABASE, file_kinds, suffix_of

from .claim import hash_of
from .records import Header, JournalReader, Record, find_journals


@dataclass(frozen=True)
class Overlap:
    """Files of another run that this one would overwrite.

    Attributes
    ----------
    journal
        Journal of the other run.
    records
        Records of its jobs that would lose files, or their row in the database.
    kind
        A kind of file that would be lost; None: the database would be.
    """

    journal: Path
    records: tuple[Record, ...]
    kind: str | None


def find_overlaps(root: Path, header: Header, stems: NDArray[np.uint64] | None) -> list[Overlap]:
    """Return the files of other runs that would be overwritten, by stem or by name of the database.

    Parameters
    ----------
    root
        Output root.
    header
        Header of this run.
    stems
        `hash_of` the stem of each of its jobs; None: unknown, so all overlap.
    """
    mine: frozenset[int] | None = None
    overlaps = []
    for path in find_journals(root):
        with JournalReader(path) as reader:
            other = reader.header
            if other is None or other.fingerprint == header.fingerprint:
                continue
            common = {*other.outputs}.intersection(header.outputs)
            shares_database = DATABASE in common and other.shard == header.shard
            kind = next(iter(file_kinds(sorted(common))), None)
            if not shares_database and kind is None:
                continue
            if mine is None and stems is not None:  # 100 bytes per job, and usually there is no other run
                mine = frozenset(stems.tolist())
            done = _last_records(reader, None if shares_database else mine)
        if done:
            overlaps.append(Overlap(path, done, None if shares_database else kind))
    return overlaps


def _last_records(reader: JournalReader, stems: frozenset[int] | None) -> tuple[Record, ...]:
    """Return the last records of all finished jobs, or of those whose stems have these hashes."""
    last: dict[int, Record] = {}
    for record in reader.records():
        if record.status == "done" and (stems is None or hash_of(record.stem) in stems):
            # The predictions of a million maps would take a gigabyte.
            last[record.job] = Record(record.job, record.status, stem=record.stem)
        else:
            last.pop(record.job, None)
    return tuple(last.values())


def refuse_overlaps(overlaps: Iterable[Overlap], header: Header) -> None:
    """Refuse to overwrite the files of other runs.

    Raises
    ------
    OutputError
        Files would be overwritten; the error names the journals, and one of the files.
    """
    for overlap in overlaps:
        maps = counted(len(overlap.records), "map")
        lost, way_out = f"its database of {maps} would be overwritten", "choose another output folder (-p)"
        if overlap.kind:
            example = f"{overlap.journal.parent / overlap.records[0].stem}{suffix_of(overlap.kind)}"
            lost = f"files of {maps} would be overwritten, such as {example}"
            if not header.description.get("names_have_targets"):
                way_out += ", put formula and class into the names (--suffix-target)"
        raise OutputError(
            f"{overlap.journal}: is the journal of another run (different settings, net, list or version), "
            f"and {lost}; {way_out}, or add --overwrite"
        )
