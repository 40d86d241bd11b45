"""Runs that share an output folder: whose files one would overwrite, and what is said and done about it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from caffe_lrp.errors import OutputError
from caffe_lrp.messages import counted
from caffe_lrp.outputs.writers import file_kinds, output_of

from .delivery import DATABASE
from .journal import Header, Record, find_journals, is_being_written, naming, read_header, read_records


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


def find_overlaps(root: Path, header: Header, stems: Iterable[str]) -> list[Overlap]:
    """Which files of other runs would be overwritten: those of one stem, and all in a database of one name.

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
        if other is None:
            continue
        common = {*other.outputs}.intersection(header.outputs)
        shares_database = DATABASE in common and other.shard == header.shard
        kind = next(iter(file_kinds(sorted(common))), None)
        if not shares_database and kind is None:
            continue
        if mine is None:  # eight bytes and some for every job; mostly there is no other run
            mine = frozenset(map(hash, stems))
        done = _last_records(path, None if shares_database else mine)
        if done:
            overlaps.append(Overlap(path, done, None if shares_database else kind))
    return overlaps


def _last_records(journal: Path, stems: frozenset[int] | None) -> tuple[Record, ...]:
    """The last records of all jobs that are done, or of those with these hashes of stems."""
    last: dict[int, Record] = {}
    for record in read_records(journal):
        if record.status == "done" and (stems is None or hash(record.stem) in stems):
            last[record.job] = record
        else:
            last.pop(record.job, None)
    return tuple(last.values())


def _prefix(header: Header) -> str:
    return f"caffe-lrp-{header.fingerprint}-"


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
            example = f"{overlap.journal.parent / overlap.records[0].stem}{output_of(overlap.kind).suffix}"
            lost = f"files of {maps} would be overwritten, such as {example}"
            if not header.description.get("names_have_targets"):
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
