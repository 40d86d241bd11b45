"""All maps of a run in one HDF5 file, in the layout of ViRelAy's attribution databases.

Each image has a row. Rows are addressed by number, so an interrupted run can continue where it stopped,
and writing a row twice does no harm. With an input dataset, a second file next to the first contains the
pictures in the same order.
"""

import json
import os
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ConfigError, OutputError
from caffe_lrp.files.reading import NotRegularError
from caffe_lrp.model.explanation import Explanation

from .arrays import little_endian, relevance_map
from .encoding import Dtype
from .structure import MARK, MARK_COLUMN, MOST_ROWS, UNMARKED, Column
from .table import Table, new_table

#: Maximum number of rows lost if `AttributionDatabase.flush` is not called.
_MOST_PENDING = 256

#: Key in a description: number of maps of the whole run.
MAPS_OF_RUN = "maps"

#: Longer values of settings, such as hashes of files, are not quoted in messages.
_LONGEST_VALUE = 40


@dataclass(frozen=True)
class DatabaseShape:
    """The size of a database.

    Attributes
    ----------
    rows
        Number of maps.
    channels, height, width
        Shape of a map.
    classes
        Number of the net's outputs.
    input_size
        Height and width of the pictures in an input dataset; None: the same as those of a map.
    """

    rows: int
    channels: int
    height: int
    width: int
    classes: int
    input_size: tuple[int, int] | None = None

    def map_columns(self, dtype: Dtype) -> tuple[Column, ...]:
        """The datasets of the database."""
        return (
            Column("attribution", little_endian(dtype).str, (self.channels, self.height, self.width)),
            Column("prediction", "<f4", (self.classes,)),
            self._label_column,
            MARK_COLUMN,
        )

    @property
    def input_columns(self) -> tuple[Column, ...]:
        """The datasets of the input dataset."""
        size = self.input_size or (self.height, self.width)
        return Column("data", "|u1", (3, *size)), self._label_column, MARK_COLUMN

    @property
    def _label_column(self) -> Column:
        """The column of labels; ViRelAy's own databases use 16 bits for them."""
        return Column("label", "<u2" if self.classes <= np.iinfo(np.uint16).max else "<u4")


def input_path_of(path: Path) -> Path:
    """Return the path of the input dataset of the database ``path``: ``maps.input.h5`` for ``maps.h5``."""
    return path.with_name(f"{path.stem}.input{path.suffix}")


class AttributionDatabase:
    """A database to write maps to, new or continued. Several threads may write.

    Written rows count only after the next `flush`; closing flushes, too.

    Parameters
    ----------
    path
        The file; its folder is made if missing.
    shape
        Size of the database.
    dtype
        Type of the maps.
    with_input
        Whether to write the pictures, too, into the file given by `input_path_of`.
    description
        Description of the run. A file with another description is refused.
    overwrite
        Whether a file that would be refused is replaced instead.

    Raises
    ------
    OutputError
        A file of this name has another shape, type or description, or is of another kind, and must not be
        overwritten; or the disk is too full for a new one.
    UsageError
        h5py is missing.
    """

    def __init__(
        self,
        path: Path,
        shape: DatabaseShape,
        dtype: Dtype = "float32",
        with_input: bool = False,
        description: str = "",
        *,
        overwrite: bool = False,
    ) -> None:
        self._dtype = dtype
        self._pending: deque[tuple[int, int]] = deque()
        self._flushing, self._lost = threading.Lock(), ""
        self._maps = _open(path, shape.rows, shape.map_columns(dtype), description, overwrite)
        self._inputs: Table | None = None
        if with_input:
            try:
                self._inputs = _open(
                    input_path_of(path), shape.rows, shape.input_columns, description, overwrite
                )
            except BaseException:
                self._maps.close()
                raise

    def __enter__(self) -> "AttributionDatabase":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, row: int, explanation: Explanation, index: int) -> None:
        """Write one map, and its picture if there is an input dataset.

        Parameters
        ----------
        row
            Row of the map.
        explanation
            The map; the first of the classes it explains is its label.
        index
            Row of its picture in the input dataset for ViRelAy; after a merge, in the merged one.

        Raises
        ------
        ImageError
            It cannot be written, or is too large for float16.
        OutputError
            No more rows can be written.
        """
        if not 0 <= index < UNMARKED:
            raise ValueError(f"{index} is not an index")
        maps = relevance_map(explanation, self._dtype)[np.newaxis]
        scores = np.asarray(explanation.scores, "<f4").reshape(1, -1)
        label = np.array(explanation.target[:1], self._maps.columns["label"].dtype)
        if self._inputs is not None:
            picture = explanation.input.transpose(2, 0, 1)[np.newaxis]
            self._inputs.write(row, {"data": picture, "label": label})
        self._maps.write(row, {"attribution": maps, "prediction": scores, "label": label})
        self._pending.append((row, index))
        if len(self._pending) >= _MOST_PENDING:
            self.flush()

    def flush(self) -> None:
        """Mark the written rows as done, once their content is on the disk.

        Raises
        ------
        OutputError
            Writing to the disk failed, now or in an earlier call; the rows stay unmarked. Or the files of
            this run were moved or replaced.
        """
        with self._flushing:
            # Only rows that were complete before the content is synced may be marked after it.
            complete = [self._pending[place] for place in range(len(self._pending))]
            if complete:
                self._sync()
            for table in self._tables:
                table.require_in_place()
            # The map is marked last: if its mark is set, the picture is complete, too.
            for row, index in complete:
                for table in self._tables:
                    table.write(row, {MARK: np.array([index], MARK_COLUMN.dtype)})
            for _ in complete:
                self._pending.popleft()

    def _sync(self) -> None:
        """Sync the content to the disk. The system reports a failure only once, so it is remembered."""
        if self._lost:
            raise OutputError(self._lost)
        try:
            for table in self._tables:
                table.sync()
        except OutputError as error:
            self._lost = str(error)
            raise

    def rows_done(self) -> NDArray[np.bool_]:
        """Return which rows need not be written again, (rows,)."""
        done = self._maps.is_marked()
        return done & self._inputs.is_marked() if self._inputs is not None else done

    def close(self) -> None:
        """Flush, and close the files."""
        try:
            self.flush()
        finally:
            for table in self._tables:
                table.close()

    @property
    def _tables(self) -> list[Table]:
        """Return the open tables, the maps last."""
        return [self._maps] if self._inputs is None else [self._inputs, self._maps]


def describe_layout(table: Table) -> str:
    """Return the layout of a file's rows, in words."""
    return _in_words(table.columns.values())


def differing_settings(one: str, other: str) -> str:
    """Return the settings that differ between two descriptions, in words, with values if they are short."""
    first, second = (_settings(description) for description in (one, other))
    names = sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
    words = []
    for name in names:
        values = [json.dumps(settings.get(name), ensure_ascii=False) for settings in (first, second)]
        is_short = max(map(len, values)) <= _LONGEST_VALUE
        words.append(f"{name}: {values[0]}, not {values[1]}" if is_short else name)
    return "; ".join(words) or "described differently"


def maps_of_run(description: str) -> int:
    """Return the number of maps of all shards of a run, from its description; 0 if not given."""
    count = _settings(description).get(MAPS_OF_RUN)
    return count if type(count) is int and 0 < count <= MOST_ROWS else 0


def _settings(description: str) -> dict[str, Any]:
    """Return the settings in a description; empty if it is not one of a run."""
    try:
        settings = json.loads(description or "{}")
        json.dumps(settings)  # text that was barely parsed may be nested too deeply to be written
    except (ValueError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}


class _OtherContentError(OutputError):
    """A file that does not belong to this run, but may be replaced on request."""


def _open(path: Path, rows: int, columns: Sequence[Column], description: str, overwrite: bool) -> Table:
    """Return the file ``path``, with exactly these columns and this description; made if missing."""
    if os.path.lexists(path):
        try:
            return _open_existing(path, rows, columns, description)
        except _OtherContentError:
            if not overwrite:
                raise
    # Another process may create it meanwhile.
    with suppress(FileExistsError), new_table(path, rows, columns, description, replace=overwrite):
        pass
    return _open_existing(path, rows, columns, description)


def _open_existing(path: Path, rows: int, columns: Sequence[Column], description: str) -> Table:
    """Return the file ``path``; OutputError unless it has exactly these columns and this description."""
    try:
        table = Table(path, writable=True)
    except ConfigError as error:
        is_file = not isinstance(error.__cause__, NotRegularError)
        raise (_OtherContentError if is_file else OutputError)(str(error)) from error
    found = f"{table.rows} rows of {describe_layout(table)}"
    wanted = f"{rows} rows of {_in_words(columns)}"
    reason = ""
    if found != wanted:
        reason = f"holds {found}, but this run makes {wanted}"
    elif table.description != description:
        different = differing_settings(table.description, description)
        reason = f"was made with different settings from this run ({different})"
    if reason:
        table.close()
        raise _OtherContentError(
            f"{path}: {reason}; move or rename it, choose another output folder (-p), or add --overwrite"
        )
    return table


def _in_words(columns: Iterable[Column]) -> str:
    """Return columns in words, which are equal only for equal columns."""
    return ", ".join(sorted(map(str, columns)))
