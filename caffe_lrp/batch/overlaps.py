"""Runs that share an output folder: whose files one would overwrite, and what is said and done about it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from caffe_lrp.errors import OutputError
from caffe_lrp.messages import counted
from caffe_lrp.outputs.writers import file_kinds, output_of

from .journal import Header, Record, find_journals, is_being_written, naming, read_header, read_records


@dataclass(frozen=True)
class Overlap:
    """Files of another run that this one would overwrite.

    Attributes
    ----------
    journal
        Of the other run.
    records
        Those of its jobs that lose files.
    outputs
        What both runs write.
    """

    journal: Path
    records: tuple[Record, ...]
    outputs: frozenset[str]


def find_overlaps(root: Path, header: Header, stems: Iterable[str]) -> list[Overlap]:
    """Which files of other runs would be overwritten.

    Parameters
    ----------
    root
        Output root.
    header
        Of this run.
    stems
        What `relative_stem` says of its jobs.
    """
    others = [path for path in find_journals(root) if not path.name.startswith(_prefix(header))]
    mine: frozenset[int] | None = None
    overlaps = []
    for path in others:
        other = read_header(path)
        common = frozenset(other.outputs if other else ()).intersection(header.outputs)
        if not common:
            continue
        if mine is None:  # eight bytes and some for every job; mostly there is no other run
            mine = frozenset(map(hash, stems))
        last: dict[int, Record] = {}
        for record in read_records(path):
            if record.status == "done" and hash(record.stem) in mine:
                last[record.job] = record
            else:
                last.pop(record.job, None)
        done = tuple(last.values())
        if done:
            overlaps.append(Overlap(path, done, common))
    return overlaps


def _prefix(header: Header) -> str:
    return f"caffe-lrp-{header.fingerprint}-"


def refuse_overlaps(overlaps: Iterable[Overlap]) -> None:
    """Refuse to overwrite the files of other runs.

    Raises
    ------
    OutputError
        Names their journals, and one of the files.
    """
    for overlap in overlaps:
        lost = f"{counted(len(overlap.records), 'map')} of its database would be overwritten"
        way_out = "choose another output folder (-p)"
        files = file_kinds(sorted(overlap.outputs))
        if files:
            example = f"{overlap.journal.parent / overlap.records[0].stem}{output_of(files[0]).suffix}"
            lost = f"files of {counted(len(overlap.records), 'map')} would be overwritten, such as {example}"
            way_out += ", put formula and class into the names (--suffix-target)"
        raise OutputError(
            f"{overlap.journal}: is the journal of another run (other settings, net, list or version), and "
            f"{lost}; {way_out}, or add --overwrite"
        )


def refuse_running(overlaps: Iterable[Overlap]) -> None:
    """Refuse to overwrite the files of a run that is going on.

    Raises
    ------
    OutputError
        Names its journal.
    """
    for overlap in overlaps:
        if is_being_written(overlap.journal):
            raise OutputError(
                f"{overlap.journal}: the run that this one would overwrite is going on; wait for it, or end "
                "it"
            )


def mark_replaced(overlaps: Iterable[Overlap]) -> None:
    """Note in the journals of other runs that their files are about to be replaced.

    Raises
    ------
    OutputError
        A journal cannot be written.
    """
    for overlap in overlaps:
        lines = [json.dumps({"job": record.job, "status": "replaced"}) for record in overlap.records]
        with naming(overlap.journal), overlap.journal.open("ab") as file:
            file.write(("\n".join(["", *lines]) + "\n").encode())
