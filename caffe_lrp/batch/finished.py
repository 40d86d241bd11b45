"""The results of runs, read back without their models: maps, targets, and how images were cropped.

Journals give the outcome of every job; `outputs.stored` reads the files. Both can be damaged or forged.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from caffe_lrp.errors import ConfigError, OutputError
from caffe_lrp.imaging.crop import Crop
from caffe_lrp.imaging.preprocess import LARGEST_BASE_SIZE
from caffe_lrp.imaging.resize import RESIZE_MODES
from caffe_lrp.model.labels import label_of, read_labels
from caffe_lrp.outputs.kinds import OUTPUTS, RENDER
from caffe_lrp.outputs.maps import FILES_OF_MAPS, Account
from caffe_lrp.outputs.stored import MapDatabase, MapFile, MapRow

from .records import Header, JournalReader, Record, find_journals

#: Text that --suffix-target appends to the name of an image.
_TARGET_IN_NAME = re.compile(r"(?P<image>.+)_f(?P<formula>[a-z\d-]+)_(c(?P<index>\d{1,9})|top\d+|rank\d+)")


@dataclass(frozen=True, slots=True, eq=False)
class FinishedMap:
    """One finished map.

    Attributes
    ----------
    relevance
        Its file, or its row in a database.
    folder, stem
        The output root, and the path below it without the suffix of the kind of file.
    record
        Its record in the journal; None if there is no journal.
    run
        The run that made it; None if there is no journal.
    """

    relevance: MapFile | MapRow
    folder: Path
    stem: str
    record: Record | None = None
    run: "FinishedRun | None" = None

    @property
    def image(self) -> str:
        """The path of the image as in the run; empty if unknown."""
        return self.record.image if self.record else ""

    @property
    def image_name(self) -> str:
        """A name for the image: its path, or the part of it that the file name contains."""
        match = _TARGET_IN_NAME.fullmatch(self.stem)
        return self.image or (match["image"] if match else self.stem)

    @property
    def formula(self) -> str:
        """Code of the formula; empty if unknown."""
        match = _TARGET_IN_NAME.fullmatch(self.stem)
        return (self.record and self.record.formula) or (match["formula"] if match else "")

    def account(self) -> Account:
        """The explained classes and scores: from the journal, the files, or their names."""
        record = self.record
        if record and record.classes:
            return Account(record.classes, record.best, record.score, record.rank)
        found = self.relevance.account()
        match = _TARGET_IN_NAME.fullmatch(self.stem)
        named = (int(match["index"]),) if match and match["index"] else ()
        return found if found.classes else Account.among(named, found.best)

    def label_of(self, index: int) -> str:
        """Return the label of a class; empty if it has none, or if it is unknown."""
        labels = self.run.labels if self.run else ()
        return label_of(labels, index) if index < len(labels) else ""


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A run, possibly unfinished, with all its shards.

    Attributes
    ----------
    root
        Its output root.
    journals
        The journals of its shards.
    header
        The header of the first of these.
    """

    root: Path
    journals: tuple[Path, ...]
    header: Header

    @cached_property
    def crop(self) -> Crop | None:
        """How images were resized and cropped; None if the journal does not say."""
        return crop_of(self.header.preprocessing)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Labels of the classes; none if their file is gone."""
        try:
            return read_labels(Path(self.header.labels)) if self.header.labels else ()
        except ConfigError:
            return ()

    @cached_property
    def began(self) -> float:
        """When its first map was recorded, in seconds since 1970."""
        with JournalReader(self.journals[0]) as reader:
            return next((record.time for record in reader.records()), 0.0)

    @property
    def draws(self) -> bool:
        """Whether it also wrote a picture of every map, in its picture options."""
        return RENDER in self.header.outputs

    @property
    def map_kinds(self) -> tuple[str, ...]:
        """The kinds of its files that contain maps, the fastest to read first."""
        return tuple(kind for kind in FILES_OF_MAPS if kind in self.header.outputs)

    def records(self) -> Iterator[tuple[Record, Header]]:
        """Yield the last record of every job, in the order of the journals, and the header of its shard."""
        for path in self.journals:
            last: dict[int, int] = {}  # a dictionary, as a header can claim any number of jobs
            with JournalReader(path) as reader:
                for place, record in enumerate(reader.records()):
                    last[record.job] = place
            with JournalReader(path) as reader:
                for place, record in enumerate(reader.records()):
                    if reader.header and last.get(record.job) == place:
                        yield record, reader.header


class RunMaps:
    """The finished maps of a run; can be iterated several times.

    Raises
    ------
    OutputError
        It wrote no relevance.
    """

    def __init__(self, run: FinishedRun) -> None:
        self._run = run
        self._databases: dict[str, MapDatabase | None] = {}
        self._has_database = "h5" in run.header.outputs
        if not run.map_kinds and not self._has_database:
            written = ", ".join(run.header.outputs) or "nothing"
            outputs = ",".join([*run.header.outputs, "npy"])
            raise OutputError(
                f"{run.root}: this run wrote no relevance, only {written}, and pictures are drawn from "
                f"relevance; run it again with --outputs {outputs} --overwrite"
            )

    def __iter__(self) -> Iterator[FinishedMap]:
        run = self._run
        for record, header in run.records():
            if record.status == "done" and is_inside(record.stem):
                stem = record.stem or f"map_{record.job}"
                yield FinishedMap(self._relevance_of(record, header), run.root, stem, record, run)

    def close(self) -> None:
        """Close its databases."""
        for database in self._databases.values():
            if database:
                database.close()

    def _relevance_of(self, record: Record, header: Header) -> MapFile | MapRow:
        files = [f"{self._run.root}/{record.stem}{OUTPUTS[kind].suffix}" for kind in self._run.map_kinds]
        found = next(filter(os.path.exists, files), "")
        database = None if found or not self._has_database else self._database_of(header)
        if database:
            return MapRow(database, record.job)
        return MapFile(Path(found or files[0]))

    def _database_of(self, header: Header) -> MapDatabase | None:
        """Return the database of a shard; None if there is none, but files instead.

        ConfigError if it is needed and cannot be opened.
        """
        name = header.shard.database_name
        if name not in self._databases:
            path = self._run.root / name
            is_missing = self._run.map_kinds and not path.exists()
            self._databases[name] = None if is_missing else MapDatabase(path)
        return self._databases[name]


def find_runs(folder: Path) -> list[FinishedRun]:
    """Return the runs with journals in a folder or its direct subfolders, the earliest first.

    Raises
    ------
    OutputError
        A journal or the folder cannot be read.
    """
    paths = find_journals(folder)
    if not paths and folder.is_dir():
        inner = sorted(path for path in folder.iterdir() if path.is_dir())
        paths = [path for each in inner for path in find_journals(each)]
    headers: dict[tuple[Path, str], list[tuple[Path, Header]]] = {}
    for path in paths:
        with JournalReader(path) as reader:
            if reader.header:
                key = (path.parent, reader.header.fingerprint)
                headers.setdefault(key, []).append((path, reader.header))
    runs = [
        FinishedRun(root, tuple(path for path, _ in found), found[0][1])
        for (root, _), found in headers.items()
    ]
    return sorted(runs, key=lambda run: run.began)


def is_inside(stem: str) -> bool:
    """Return whether an output path stays below the root; a forged journal can have any path."""
    path = os.path.normpath(stem)
    return not path.startswith("/") and path.split("/")[0] != ".." and "\0" not in path


def crop_of(preprocessing: Mapping[str, Any]) -> Crop | None:
    """Return the crop described in a journal's header; None if it is missing or impossible."""
    mode, base, size = (preprocessing.get(name) for name in ("resize", "base_size", "input_size"))
    sides = size if isinstance(size, list) else []
    lengths = [base, *sides]
    is_sound = (
        isinstance(mode, str)
        and mode in RESIZE_MODES
        and len(lengths) == 3
        and all(type(length) is int and 0 < length <= LARGEST_BASE_SIZE for length in lengths)
    )
    return Crop(str(mode), lengths[0], (lengths[1], lengths[2])) if is_sound else None
