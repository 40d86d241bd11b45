"""The results of an undisturbed run, and the differences of another output folder from them."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from hostile_scene import journal_lines, results_in


@dataclass(frozen=True)
class Reference:
    """The results of an undisturbed run.

    Attributes
    ----------
    journal
        Name of its journal.
    files
        The files of every job by number: path -> content.
    rows
        Name of a database -> its content; none without one.
    first
        Number of the first job, which has the first row.
    """

    journal: str
    files: Mapping[int, Mapping[str, bytes]]
    rows: Mapping[str, bytes]
    first: int


def reference_in(out: Path) -> Reference:
    """Return the results of the only run in an output folder; all its jobs must be done."""
    (journal,) = out.glob("caffe-lrp-*.jsonl")
    results = results_in(out)
    header, *lines = journal_lines(journal)
    records = [line for line in lines if line.get("status") == "done"]
    files = {
        record["job"]: {
            name: content for name, content in results.items() if name.startswith(f"{record['stem']}_")
        }
        for record in records
    }  # fmt: skip
    rows = {name: content for name, content in results.items() if name.endswith(".h5")}
    return Reference(journal.name, files, rows, header["range"][0])


def states_in(journal: Path) -> dict[int, str]:
    """Return the last state of every job in a journal."""
    return {line["job"]: line["status"] for line in journal_lines(journal) if "job" in line}


def wrong_files(out: Path, reference: Reference, done: Sequence[int]) -> list[str]:
    """Return files of finished jobs that are missing, or differ from the reference."""
    wrong = []
    for job in done:
        for path, content in reference.files.get(job, {}).items():
            if not (out / path).is_file():
                wrong.append(f"{path} is not there")
            elif (out / path).read_bytes() != content:
                wrong.append(f"{path} has other bytes")
    return wrong


def wrong_rows(path: Path, reference: bytes, rows: Sequence[int]) -> list[str]:
    """Return which rows of a database differ from those of a reference."""
    if not path.is_file():
        return [f"{path.name} is not there"]
    if path.read_bytes() == reference:
        return []
    try:
        with h5py.File(path, "r", locking=False) as found, h5py.File(io.BytesIO(reference), "r") as wanted:
            return [
                f"{path.name}: row {row} of {name} differs"
                for name in wanted
                for row in rows
                if not np.array_equal(found[name][row], wanted[name][row])
            ]
    except (OSError, KeyError, ValueError) as error:
        return [f"{path.name}: {error}"]
