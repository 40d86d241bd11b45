"""Merging the databases of a run's shards into one."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ConfigError, ImageError, OutputError
from caffe_lrp.files.reading import require_file
from caffe_lrp.messages import counted, listed

from .database import describe_layout, differing_settings, input_path_of, maps_of_run
from .project import project_files, require_presentable
from .structure import MARK, MOST_ROWS, UNMARKED, Column
from .table import Table, new_table

#: Bytes of a column that are in memory at a time.
_BLOCK_BYTES = 64 * 1024 * 1024
#: Marks that are read at a time: a damaged file may claim to have very many.
_MARKS_AT_ONCE = 2**20

#: A column that databases have, but input datasets do not.
_MAPS = "attribution"


@dataclass(frozen=True, eq=False)
class _Origins:
    """The origin of each row of a merged database, in order: number of the shard, row in it, index."""

    shard: NDArray[np.int64]
    row: NDArray[np.int64]
    index: NDArray[np.int64]


def merge_databases(paths: Sequence[Path], out: Path, *, allow_missing: bool = False) -> int:
    """Merge databases into a new one, with rows in the order of ``index``.

    Input datasets beside them are merged, too. There, the row of a picture is its index, as ViRelAy expects.
    Files are either complete or absent; the input dataset is made first.

    Parameters
    ----------
    paths
        The shards, in any order. Their input datasets may be among them, as a pattern such as ``maps-*.h5``
        matches them, too.
    out
        The database to make.
    allow_missing
        Merge the existing maps, even if some rows are not written, or some indices are in no shard. The
        database then has fewer rows, and the input dataset black pictures in place of missing ones.

    Returns
    -------
    Number of merged databases.

    Raises
    ------
    ConfigError
        Something is missing; shards differ in layout or settings, or have indices in common; or a file cannot
        be read.
    OutputError
        A file cannot be written, or already exists.
    """
    if not out.name or out.name == "..":
        raise OutputError(f"{out}: is a folder; give a file name in it")
    databases = _databases_among(paths)
    with ExitStack() as stack:
        shards = _open_alike(databases, stack)
        if _MAPS not in shards[0].columns:
            raise ConfigError(
                f"{shards[0].path}: contains no maps; give the databases, not their input datasets"
            )
        inputs = _inputs_of(databases)
        _refuse_existing([out, input_path_of(out), *project_files(out.parent)] if inputs else [out])
        origins = _origins(shards)
        if not allow_missing:
            _refuse_gaps(shards, origins)
        if inputs:
            pictures = _open_alike(inputs, stack)
            require_presentable(shards[0], pictures[0])
            _require_same_rows(pictures, origins)
            _join(pictures, origins, input_path_of(out), origins.index)
        _join(shards, origins, out, np.arange(len(origins.index)))
    return len(databases)


def _databases_among(paths: Sequence[Path]) -> list[Path]:
    """Return ``paths`` without input datasets of others; ConfigError if one is missing or given twice."""
    for path in paths:
        require_file(path, "database", ConfigError)
    inputs = {input_path_of(path) for path in paths}
    databases = [path for path in paths if path not in inputs]
    seen: dict[Path, Path] = {}
    for path in databases:
        other = seen.get(path.resolve())
        if other is not None:
            same = "is named twice" if other == path else f"is the same file as {other}"
            raise ConfigError(f"{path}: {same}; give every database once")
        seen[path.resolve()] = path
    return databases


def _refuse_existing(targets: Sequence[Path]) -> None:
    """Raise OutputError if a file to be made already exists."""
    for target in targets:
        if os.path.lexists(target):
            raise OutputError(
                f"{target}: already exists; remove it, or give the result another name or folder"
            )


def _inputs_of(paths: Sequence[Path]) -> list[Path]:
    """The input datasets of all databases, or none if there are none."""
    inputs = [input_path_of(path) for path in paths]
    missing = [path for path in inputs if not os.path.lexists(path)]
    if missing and len(missing) < len(inputs):
        raise ConfigError(
            f"{missing[0]}: is missing, although other databases have an input dataset; restore it, or move "
            "the others elsewhere"
        )
    return [] if missing else inputs


def _open_alike(paths: Sequence[Path], stack: ExitStack) -> list[Table]:
    """Open databases, all of which must have the same columns."""
    if not paths:
        raise ConfigError("nothing to merge; give the databases to merge after the name of the new one")
    tables: list[Table] = []
    for path in paths:
        table = stack.enter_context(Table(path))
        tables.append(table)
        first = tables[0]
        if (ours := describe_layout(table)) != (other := describe_layout(first)):
            raise ConfigError(
                f"{path}: holds {ours}, but {first.path} {other}; merge only databases of the same kind"
            )
        if table.description != first.description:
            different = differing_settings(table.description, first.description)
            raise ConfigError(
                f"{path}: was made with different settings from {first.path} ({different}); merge shards of "
                "one run"
            )
    return tables


def _origins(shards: Sequence[Table]) -> _Origins:
    """Return the origins of rows; ConfigError if there are none, or two have the same index."""
    parts = [part for number, shard in enumerate(shards) for part in _origins_in(shard, number)]
    index = np.concatenate([part.index for part in parts]) if parts else np.empty(0, np.int64)
    if not len(index):
        raise ConfigError(
            f"{shards[0].path}: no row is written, either here or in the databases to merge with it"
        )
    order = np.argsort(index, kind="stable")
    origins = _Origins(
        np.concatenate([part.shard for part in parts])[order],
        np.concatenate([part.row for part in parts])[order],
        index[order],
    )
    _refuse_twins(origins, shards)
    count = maps_of_run(shards[0].description) or MOST_ROWS
    if origins.index[-1] >= count:
        raise ConfigError(
            f"{shards[origins.shard[-1]].path}: has index {origins.index[-1]}, but its run has at "
            f"most {counted(count, 'map')}; is it damaged?"
        )
    return origins


def _origins_in(shard: Table, number: int) -> Iterator[_Origins]:
    """Yield the origins of one shard's rows, in parts, as it may claim to have very many."""
    for start in range(0, shard.rows, _MARKS_AT_ONCE):
        marks = shard.read(MARK, start, min(_MARKS_AT_ONCE, shard.rows - start))
        rows = np.flatnonzero(marks != UNMARKED)
        index = marks[rows].astype(np.int64)
        order = np.argsort(index, kind="stable")
        part = _Origins(np.full(len(rows), number), start + rows, index)
        _refuse_twins(_Origins(part.shard, part.row[order], index[order]), {number: shard})
        yield part


def _refuse_twins(origins: _Origins, shards: Sequence[Table] | Mapping[int, Table]) -> None:
    """Raise ConfigError if an index occurs twice."""
    twins = np.flatnonzero(np.diff(origins.index) == 0)
    if len(twins):
        one, other = (shards[number].path for number in origins.shard[twins[0] : twins[0] + 2].tolist())
        raise ConfigError(
            f"{other}: has index {origins.index[twins[0]]}, like {one}; merge every shard once, and "
            "only shards that share no image"
        )


def _refuse_gaps(shards: Sequence[Table], origins: _Origins) -> None:
    """Raise ConfigError if a row is not written, or an index is in no shard."""
    written = np.bincount(origins.shard, minlength=len(shards)).tolist()
    complaints = [
        f"{shard.path}: {shard.rows - count} of {counted(shard.rows, 'row')} are not written"
        for shard, count in zip(shards, written, strict=True)
        if count < shard.rows
    ]
    count = max(int(origins.index[-1]) + 1, maps_of_run(shards[0].description))
    if not complaints and len(origins.index) < count:
        gaps = np.flatnonzero(origins.index != np.arange(len(origins.index)))
        first = gaps[0] if len(gaps) else len(origins.index)
        complaints = [
            f"{count - len(origins.index)} of the indices 0 to {count - 1} are in no shard, the first is "
            f"{first}"
        ]
    if complaints:
        raise ConfigError(
            "maps are missing; finish the runs, give all shards, or merge the existing maps with "
            f"--allow-missing:\n{listed(complaints)}"
        )


def _require_same_rows(pictures: Sequence[Table], origins: _Origins) -> None:
    """Raise ConfigError if pictures of maps are missing."""
    for number, table in enumerate(pictures):
        ours = origins.shard == number
        rows = origins.row[ours]
        if rows.max(initial=-1) >= table.rows:
            raise ConfigError(
                f"{table.path}: is not the input dataset of its database; restore the right one"
            )
        if not np.array_equal(table.read(MARK, 0, rows.max(initial=-1) + 1)[rows], origins.index[ours]):
            raise ConfigError(
                f"{table.path}: lacks the pictures of some maps; explain these images again with "
                "--input-dataset, or move the input datasets elsewhere"
            )


def _join(shards: Sequence[Table], origins: _Origins, out: Path, places: NDArray[np.int64]) -> None:
    """Write ``out``, with the shards' rows in rows ``places``."""
    columns = list(shards[0].columns.values())
    try:
        with new_table(out, int(places[-1]) + 1, columns, shards[0].description) as table:
            for column in columns:
                if column.row_bytes > _BLOCK_BYTES:
                    for shard, row, place in zip(origins.shard, origins.row, places, strict=True):
                        table.copy_row(int(place), column.name, shards[shard], int(row))
                    continue
                for start, stop in _blocks(column, len(places)):
                    block = _gathered(shards, origins, column, start, stop)
                    for first, last in _runs(np.diff(places[start:stop]) == 1):
                        table.write(int(places[start + first]), {column.name: block[first:last]})
    except ImageError as error:
        raise OutputError(str(error)) from error
    except FileExistsError as error:
        raise OutputError(f"{out}: was created during the merge; remove it, or give another name") from error


def _blocks(column: Column, count: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of parts of ``count`` rows."""
    step = max(1, _BLOCK_BYTES // max(1, column.row_bytes))
    for start in range(0, count, step):
        yield start, min(count, start + step)


def _gathered(
    shards: Sequence[Table], origins: _Origins, column: Column, start: int, stop: int
) -> NDArray[Any]:
    """Return rows ``start`` to ``stop`` of the merged column."""
    block = np.empty((stop - start, *column.shape), column.dtype)
    shard, row = origins.shard[start:stop], origins.row[start:stop]
    for first, last in _runs((np.diff(shard) == 0) & (np.diff(row) == 1)):
        shards[shard[first]].read_into(block[first:last], column.name, int(row[first]))
    return block


def _runs(goes_on: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield start and end of runs, given whether each row continues in the next: (True, False): 0-2, 2-3."""
    borders = [0, *(np.flatnonzero(~goes_on) + 1).tolist(), len(goes_on) + 1]
    yield from pairwise(borders)
