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
        Of the other run.
    records
        Those of its jobs that lose files, or their place in the database.
    kind
        A kind of files that is lost; None: it is the database.
    """

    journal: Path
    records: tuple[Record, ...]
    kind: str | None


def find_overlaps(root: Path, header: Header, stems: NDArray[np.uint64] | None) -> list[Overlap]:
    """Return the files of other runs that would be overwritten: those with the same stems or database.

    Parameters
    ----------
    root
        Output root.
    header
        Of this run.
    stems
        `hash_of` each stem of its jobs; None: they may be any.
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
            if mine is None and stems is not None:  # for every job 100 bytes; mostly there is no other run
                mine = frozenset(stems.tolist())
            done = _last_records(reader, None if shares_database else mine)
        if done:
            overlaps.append(Overlap(path, done, None if shares_database else kind))
    return overlaps


def _last_records(reader: JournalReader, stems: frozenset[int] | None) -> tuple[Record, ...]:
    """The last records of all jobs that are done, or of those with these hashes of stems."""
    last: dict[int, Record] = {}
    for record in reader.records():
        if record.status == "done" and (stems is None or hash_of(record.stem) in stems):
            # Of a million maps what the net says of each would take a gigabyte.
            last[record.job] = Record(record.job, record.status, stem=record.stem)
        else:
            last.pop(record.job, None)
    return tuple(last.values())


def refuse_overlaps(overlaps: Iterable[Overlap], header: Header) -> None:
    """Refuse to overwrite the files of other runs.

    Raises
    ------
    OutputError
        Names their journals, and one of the files.
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
            f"{overlap.journal}: is the journal of another run (other settings, net, list or version), and "
            f"{lost}; {way_out}, or add --overwrite"
        )
