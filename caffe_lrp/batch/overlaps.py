"""Runs that share an output folder: whose files one would overwrite, and what is said and done about it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from caffe_lrp.errors import OutputError
from caffe_lrp.outputs.atomic import why_unwritable

from .journal import Header, Record, find_journals, is_being_written, read_header, read_records


@dataclass(frozen=True)
class Overlap:
    """Files of another run that this one would overwrite: its journal, and the records of those jobs."""

    journal: Path
    records: tuple[Record, ...]


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
        if other is None or not set(other.outputs) & set(header.outputs):
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
            overlaps.append(Overlap(path, done))
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
        count = len(overlap.records)
        example = overlap.journal.parent / overlap.records[0].stem
        raise OutputError(
            f"{overlap.journal}: is the journal of another run (other settings, net, list or version), and "
            f"{count} of its results would be overwritten, such as {example}_*; choose another output folder "
            "(-p), put formula and class into the names (--suffix-target), or add --overwrite"
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
        try:
            with overlap.journal.open("ab") as file:
                file.write(("\n".join(["", *lines]) + "\n").encode())
        except OSError as fault:
            raise OutputError(
                f"{overlap.journal}: the journal cannot be written: {why_unwritable(fault)}"
            ) from fault
