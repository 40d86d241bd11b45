"""Sources of finished maps: folders of runs, folders of files, databases and single files."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from caffe_lrp.errors import ConfigError, OutputError, UsageError
from caffe_lrp.files.reading import missing_file_advice, read_head
from caffe_lrp.files.recognition import SEARCHED_BYTES, why_foreign_model
from caffe_lrp.outputs.kinds import OUTPUTS
from caffe_lrp.outputs.maps import FILES_OF_MAPS, is_map_file
from caffe_lrp.outputs.stored import MapDatabase, MapFile, MapRow

from .finished import FinishedMap, FinishedRun, RunMaps, find_runs, is_inside
from .records import Record, find_journals

_DATABASE_ENDINGS = (".h5", ".hdf5")
#: Number of parent folders that are searched for the journal of a file's run.
_MOST_LEVELS = 12

_Known = tuple[Record, FinishedRun]


class _Source(Protocol):
    def __iter__(self) -> Iterator[FinishedMap]: ...
    def close(self) -> None: ...


class FinishedMaps:
    """The maps of some sources, in their order; can be iterated several times. A context manager.

    Parameters
    ----------
    sources
        Output folders of runs, folders with map files, databases, and map files.

    Raises
    ------
    UsageError
        A source does not exist, or is of another kind.
    OutputError, ConfigError
        A source contains no map, or cannot be read.
    """

    def __init__(self, sources: Sequence[Path]) -> None:
        self._stack = ExitStack()
        self._parts: list[_Source] = []
        try:
            for part in _parts_of(sources):
                self._stack.callback(part.close)
                self._parts.append(part)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> "FinishedMaps":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[FinishedMap]:
        for part in self._parts:
            yield from part


def _parts_of(sources: Sequence[Path]) -> Iterator[_Source]:
    files: list[Path] = []
    for source in sources:
        if source.is_dir():
            yield from _parts_of_folder(source)
        elif not os.path.lexists(source):
            raise UsageError(f"{source}: there is no such file or folder; {missing_file_advice(source)}")
        elif source.suffix.lower() in _DATABASE_ENDINGS:
            yield _database_maps(source)
        elif is_map_file(source):
            files.append(source)
        else:
            _refuse_model(source)
            kinds = ", ".join(
                ["a folder", "maps.h5", *(f"*{OUTPUTS[kind].suffix}" for kind in FILES_OF_MAPS)]
            )
            raise UsageError(f"{source}: contains no maps; give {kinds}")
    if files:
        yield _FileMaps(files)


def _database_maps(path: Path) -> "_DatabaseMaps":
    """The maps of a database; only of what is none it matters whether it is a model."""
    try:
        return _DatabaseMaps(path)
    except ConfigError:
        _refuse_model(path)
        raise


def _refuse_model(path: Path) -> None:
    """Raise ConfigError for a model of another framework, saying what it is."""
    try:
        head = read_head(path, "file of maps", ConfigError, SEARCHED_BYTES)
    except ConfigError:  # whoever wants the maps says so
        return
    if reason := why_foreign_model(head, "file of maps"):
        raise ConfigError(f"{path}: {reason}")


def _parts_of_folder(folder: Path) -> Iterator[_Source]:
    runs = find_runs(folder)
    if runs:
        yield from map(RunMaps, runs)
    else:
        yield _FolderMaps(folder)


class _FolderMaps:
    """Map files in a folder without a journal, such as the LRP Toolbox writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if next(iter(self), None) is None:
            endings = ", ".join(f"*{OUTPUTS[kind].suffix}" for kind in FILES_OF_MAPS)
            advice = "give the output folder of the run (-p joined with standalone_outpath)"
            if next(folder.glob(f"*{OUTPUTS['render'].suffix}"), None):
                advice = "caffe-lrp explain writes pictures alone; explain --sheet FILE puts them on a sheet"
            raise OutputError(
                f"{folder}: contains neither the journal of a run nor files {endings}; {advice}"
            )

    def __iter__(self) -> Iterator[FinishedMap]:
        for place, folders, names in os.walk(self._folder):
            folders.sort()
            for name in _best_of_each(names):
                map_file = MapFile(Path(place, name))
                stem = os.path.relpath(Path(place, map_file.stem), self._folder)
                yield FinishedMap(map_file, self._folder, stem)

    def close(self) -> None:
        """Nothing is open."""


def _best_of_each(names: Sequence[str]) -> list[str]:
    """Return the file that is fastest to read for every map; sorted."""
    found: dict[str, str] = {}
    for kind in reversed(FILES_OF_MAPS):
        suffix = OUTPUTS[kind].suffix
        found |= {name.removesuffix(suffix): name for name in names if name.endswith(suffix)}
    return [found[stem] for stem in sorted(found)]


class _FileMaps:
    """Map files given one by one; if they are in the folder of a run, its journal describes them."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = _one_of_each(paths)
        self._roots: dict[Path, Path | None] = {}
        wanted: dict[Path, set[str]] = {}
        for path in self._paths:
            root = self._root_of(path)
            if root is not None:
                wanted.setdefault(root, set()).add(_stem_below(path, root))
        self._known = {root: _known_of(root, stems) for root, stems in wanted.items()}

    def __iter__(self) -> Iterator[FinishedMap]:
        for path in self._paths:
            map_file, root = MapFile(path), self._root_of(path)
            record, run = (None, None)
            if root is not None:
                record, run = self._known[root].get(_stem_below(path, root), (None, None))
            yield FinishedMap(map_file, path.parent, map_file.stem, record, run)

    def close(self) -> None:
        """Nothing is open."""

    def _root_of(self, path: Path) -> Path | None:
        """Return the nearest parent folder of a file that contains journals."""
        folder = path.absolute().parent
        if folder not in self._roots:
            above = [folder, *folder.parents][:_MOST_LEVELS]
            self._roots[folder] = next(filter(_has_journal, above), None)
        return self._roots[folder]


def _one_of_each(paths: Sequence[Path]) -> list[Path]:
    """Return each map once; if it has several files, the one that is fastest to read."""
    kinds = {path: _speed(path) for path in paths}
    found: dict[tuple[Path, str], Path] = {}
    for path in paths:
        before = found.setdefault((path.parent, MapFile(path).stem), path)
        if kinds[path] < kinds[before]:
            found[path.parent, MapFile(path).stem] = path
    return [*found.values()]


def _speed(path: Path) -> int:
    """Return the rank of a file's kind among those with maps, the fastest first."""
    suffixes = [OUTPUTS[kind].suffix for kind in FILES_OF_MAPS]
    return next((place for place, suffix in enumerate(suffixes) if path.name.endswith(suffix)), len(suffixes))


def _has_journal(folder: Path) -> bool:
    try:
        return bool(find_journals(folder))
    except OutputError:  # a folder of another user
        return False


def _stem_below(path: Path, root: Path) -> str:
    return os.path.relpath(path.absolute().with_name(MapFile(path).stem), root)


def _known_of(root: Path, stems: set[str]) -> dict[str, _Known]:
    """Return the journals' records of some maps, by their stems."""
    return {
        record.stem: (record, run)
        for run in find_runs(root)
        for record, _ in run.records()
        if record.status == "done" and record.stem in stems
    }


class _DatabaseMaps:
    """A database; if it is still where it was written, the journals beside it describe its maps."""

    def __init__(self, path: Path) -> None:
        self._database = MapDatabase(path)
        self._known: dict[int, _Known] = {}
        for run in find_runs(path.parent) if find_journals(path.parent) else []:
            if _is_of(self._database, run):
                self._known |= {
                    record.job: (record, run) for record, _ in run.records() if record.status == "done"
                }

    def __iter__(self) -> Iterator[FinishedMap]:
        for index in self._database.indices:
            row = MapRow(self._database, index)
            record, run = self._known.get(index, (None, None))
            stem = record.stem if record and is_inside(record.stem) else ""
            yield FinishedMap(row, self._database.path.parent, stem or row.stem, record, run)

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _is_of(database: MapDatabase, run: FinishedRun) -> bool:
    """Return whether a run wrote a database, or a part that was merged into it."""
    try:
        return bool(json.loads(database.description) == run.header.description)
    except (ValueError, RecursionError):
        return False
