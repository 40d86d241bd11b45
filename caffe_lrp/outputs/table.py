"""HDF5 files with a fixed layout and rows that are written in place.

HDF5 creates the file, with space for all rows, and closes it; after that, its structure does not change.
Rows are written with plain writes at the offsets chosen by HDF5. So the file stays readable if its writer is
killed, threads do not wait for HDF5's global lock, and other processes can read the file in the
meantime.

The column `MARK` marks written rows; it is initially filled with `UNMARKED`.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ConfigError, OutputError
from caffe_lrp.files.atomic import (
    interrupted_writes,
    sync_path,
    temporary_beside,
    why_unwritable,
    writing_error,
)
from caffe_lrp.files.reading import MEGABYTE, NotRegularError, open_own, open_regular, why_unreadable
from caffe_lrp.machine.environment import largest_file

from .structure import (
    DAMAGE,
    DESCRIPTION,
    MARK,
    MOST_ROWS,
    UNMARKED,
    Column,
    Structure,
    load_h5py,
    read_structure,
)

#: Bytes of a row held in memory at a time while it is copied.
_PIECE_BYTES = 16 * MEGABYTE
#: More bytes than a file takes besides its rows.
_STRUCTURE_BYTES = 2**17


@contextmanager
def new_table(
    path: Path, rows: int, columns: Sequence[Column], description: str, *, replace: bool = False
) -> Iterator["Table"]:
    """Make a file with space for ``rows`` rows, none of them written; it gets its name when the block ends.

    It then has its final length, but is sparse: rows that are not written take no space on the disk.
    Leftovers of killed processes are removed. With ``replace``, it replaces an existing file at ``path``.

    Raises
    ------
    OutputError
        The file cannot be made, or the disk has no space for all its rows.
    FileExistsError
        A file ``path`` exists; it is kept.
    """
    load_h5py()  # fail before a folder is made
    _require_space(path, rows, columns)
    try:
        _remove_abandoned(path)
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {why_unwritable(error)}") from error
    temporary = temporary_beside(path)
    try:
        try:
            _create(temporary, rows, columns, description)
        except (OSError, ValueError, RuntimeError) as error:  # h5py may raise any of these on a full disk
            raise OutputError(f"{path}: cannot be written: {why_unwritable(error)}") from error
        with Table(temporary, writable=True) as table:
            table.hold()
            table.path = path
            yield table
            table.sync()
            try:
                _put_in_place(temporary, path, replace=replace)
                sync_path(path.parent)
            except FileExistsError:
                raise
            except OSError as error:
                raise OutputError(f"{path}: cannot be written: {why_unwritable(error)}") from error
    finally:
        with suppress(OSError):  # if nothing can be removed, nothing was made
            temporary.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Remove unfinished files for ``path``, unless a process is still writing them."""
    for leftover, name in interrupted_writes(path.parent):
        if name == path.name and not _is_held(leftover):
            leftover.unlink(missing_ok=True)


def _is_held(path: Path) -> bool:
    """Return whether a process holds the file with `Table.hold`, or it is not our file at all."""
    try:
        file = open_own(path)
    except NotRegularError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(file)
    return False


def _put_in_place(temporary: Path, path: Path, *, replace: bool) -> None:
    """Give a file its name; FileExistsError if the name exists, unless it should be replaced."""
    if not replace:
        try:
            os.link(temporary, path)
        except (FileExistsError, FileNotFoundError):
            raise
        except OSError:  # a file system without hard links: reserve the name with an empty file
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        else:
            return
    temporary.replace(path)


def _create(path: Path, rows: int, columns: Sequence[Column], description: str) -> None:
    h5py = load_h5py()
    # Locks fail on some network file systems, and nothing needs them here.
    with h5py.File(path, "x", libver="earliest", locking=False) as file:
        file.attrs.create(DESCRIPTION, np.bytes_(description.encode()))
        for column in sorted(columns, key=lambda column: column.name):  # fixed order, for equal bytes
            space = h5py.h5s.create_simple((rows, *column.shape))
            kind = h5py.h5t.py_create(np.dtype(column.dtype))
            h5py.h5d.create(file.id, column.name.encode(), kind, space, _properties(h5py, column))


def _properties(h5py: Any, column: Column) -> Any:
    """Return the layout of a column: contiguous, allocated at creation, and without dates."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_obj_track_times(False)
    if column.unwritten is None:
        properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    else:
        properties.set_fill_time(h5py.h5d.FILL_TIME_ALLOC)
        properties.set_fill_value(np.array(column.unwritten, column.dtype))
    return properties


def _require_space(path: Path, rows: int, columns: Sequence[Column]) -> None:
    """Refuse a file that is too large for the disk or for a database."""
    wanted = rows * sum(column.row_bytes for column in columns)
    folder = next(folder for folder in path.absolute().parents if folder.is_dir())
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise OutputError(
            f"{path}: {rows} rows take {wanted / 1e6:,.1f} MB, but the disk has {free / 1e6:,.1f} MB left; "
            "free some, halve the size with --dtype float16, or write to another disk"
        )
    largest = largest_file()
    if largest is not None and wanted + _STRUCTURE_BYTES > largest:
        raise OutputError(
            f"{path}: {rows} rows take {wanted / 1e6:,.1f} MB, but files of this "
            f"process are limited to {largest:,} bytes (ulimit -f); raise that limit"
        )
    if rows > MOST_ROWS:
        raise OutputError(
            f"{path}: a database has at most {MOST_ROWS:,} rows, not {rows:,}; split the list into "
            "parts (--shard)"
        )


class Table:
    """A file made by `new_table`, open to read rows, and to write them if ``writable``.

    Several threads may read and write rows. Use it in a ``with`` statement, or close it.

    Attributes
    ----------
    path
        The file.
    rows
        Number of rows.
    columns
        Its datasets, by name.
    description
        Description of the run that made its rows.

    Raises
    ------
    ConfigError
        The file cannot be opened, or is of another kind.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self.path = path
        try:
            self._file = open_own(path, os.O_RDWR) if writable else open_regular(path)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{path}: cannot be opened as a database: {why_unreadable(error, path)}"
            ) from error
        try:
            structure = self._structure()
        except BaseException:
            self.close()
            raise
        self.description, self.rows = structure.description, structure.rows
        self.columns = {name: dataset.column for name, dataset in structure.datasets.items()}
        self._offsets = {name: dataset.offset for name, dataset in structure.datasets.items()}

    def _structure(self) -> Structure:
        try:
            return read_structure(self._file)
        except DAMAGE as error:
            raise ConfigError(
                f"{self.path}: is not a database of caffe-lrp ({error}); move or rename it, or give "
                "another name"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"{self.path}: cannot be opened as a database: {why_unwritable(error)}; if it is damaged, or "
                "another kind of file, move or rename it"
            ) from error

    def __enter__(self) -> "Table":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, once."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def write(self, row: int, values: Mapping[str, NDArray[Any]]) -> None:
        """Write rows from ``row`` on.

        Parameters
        ----------
        row
            The first row.
        values
            Name of a column -> its rows, (count, …), of its type.

        Raises
        ------
        ImageError, OutputError
            They cannot be written; the latter for a persistent reason, such as a full disk.
        """
        for name, rows in values.items():
            column = self.columns[name]
            if rows.dtype != np.dtype(column.dtype) or rows.shape[1:] != column.shape:
                raise ValueError(f"{name}: {rows.dtype} of shape {rows.shape} does not fit {column}")
            if not 0 <= row <= self.rows - len(rows):
                raise ValueError(f"there are no rows {row} to {row + len(rows) - 1} among {self.rows}")
        for name, rows in values.items():
            self._write_bytes(self._place(name, row), np.ascontiguousarray(rows).reshape(-1).view(np.uint8))

    def read(self, name: str, row: int = 0, count: int | None = None) -> NDArray[Any]:
        """Return ``count`` rows of a column, starting at ``row``; by default all."""
        column = self.columns[name]
        rows = np.empty((self.rows - row if count is None else count, *column.shape), column.dtype)
        self.read_into(rows, name, row)
        return rows

    def read_into(self, rows: NDArray[Any], name: str, row: int) -> None:
        """Fill the contiguous array ``rows`` with rows of a column, starting at ``row``.

        Raises
        ------
        ConfigError
            They cannot be read.
        """
        self._read_bytes(rows.reshape(-1).view(np.uint8), self._place(name, row))

    def copy_row(self, row: int, name: str, source: "Table", source_row: int) -> None:
        """Copy a row from another file, in pieces, as it may be larger than the memory.

        Raises as `write` and `read_into` do.
        """
        size = self.columns[name].row_bytes
        for start in range(0, size, _PIECE_BYTES):
            piece = np.empty(min(_PIECE_BYTES, size - start), np.uint8)
            source._read_bytes(piece, source._place(name, source_row) + start)
            self._write_bytes(self._place(name, row) + start, piece)

    def _read_bytes(self, content: NDArray[np.uint8], place: int) -> None:
        left = content.data
        try:
            while left and (done := os.preadv(self._file, [left], place)):
                left, place = left[done:], place + done
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be read: {why_unwritable(error)}") from error
        if left:
            raise ConfigError(f"{self.path}: ends before its last row; is it cut off?")

    def is_marked(self) -> NDArray[np.bool_]:
        """Return which rows are written, (rows,)."""
        marked: NDArray[np.bool_] = self.read(MARK) != UNMARKED
        return marked

    def hold(self) -> None:
        """Lock the file, so that others do not consider it abandoned; it stays readable for all."""
        with suppress(OSError):  # a file system without locks
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def require_in_place(self) -> None:
        """Raise OutputError if this file, since it was opened, has been moved away, deleted or replaced."""
        try:
            is_there = os.path.samestat(self.path.lstat(), os.fstat(self._file))
            what = "was replaced by another file, perhaps of another run,"
        except (FileNotFoundError, NotADirectoryError):
            is_there, what = False, "was moved or deleted"
        except OSError as error:
            raise OutputError(f"{self.path}: can no longer be reached: {why_unwritable(error)}") from error
        if not is_there:
            raise OutputError(
                f"{self.path}: {what} while this run was writing it; make sure that nothing else writes "
                "there, and run the same command again to restore the lost maps"
            )

    def sync(self) -> None:
        """Wait until written rows are on the disk; raise OutputError if that fails."""
        try:
            os.fsync(self._file)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {why_unwritable(error)}") from error

    def _place(self, name: str, row: int) -> int:
        return self._offsets[name] + row * self.columns[name].row_bytes

    def _write_bytes(self, place: int, content: NDArray[np.uint8]) -> None:
        left = content.data
        try:
            while left:
                done = os.pwrite(self._file, left, place)
                left, place = left[done:], place + done
        except OSError as error:
            raise writing_error(self.path, error) from error
