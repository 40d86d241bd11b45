"""Stored maps: in single files, or in rows of a database."""

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ConfigError, ImageError
from caffe_lrp.files.reading import MEGABYTE
from caffe_lrp.imaging.original import Original

from .database import input_path_of
from .kinds import OUTPUTS
from .maps import Account, read_account, read_map, stem_of
from .structure import MARK, UNMARKED
from .table import Table

_RELEVANCE, _PREDICTION, _LABEL, _PICTURES = "attribution", "prediction", "label", "data"
#: A map of a net's input takes a megabyte or two; larger rows are something else.
_MOST_ROW_BYTES = 512 * MEGABYTE
_BEST_COUNT = 5


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as fault:
        raise ImageError(f"{path}: the map cannot be read: {fault.strerror}") from fault


@dataclass(frozen=True, slots=True)
class MapFile:
    """A map in a single file.

    Attributes
    ----------
    path
        The file, of a kind that `maps.read_map` reads.
    """

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def stem(self) -> str:
        """The prefix of its file names."""
        return stem_of(self.path)

    def changed(self) -> int:
        """When it was last written, in nanoseconds; ImageError if it does not exist."""
        return _changed(self.path)

    def read(self) -> NDArray[Any]:
        """The relevance, (C, H, W) or (H, W); ImageError if it cannot be read."""
        return read_map(self.path)

    def account(self) -> Account:
        """The explained classes and scores, from its files."""
        return read_account(self.path)

    def picture(self) -> NDArray[np.uint8] | None:
        """Return the net's input, (H, W, 3) RGB; None if it was not written. ImageError if it is damaged."""
        path = self.path.with_name(self.stem + OUTPUTS["input"].suffix)
        return Original(path).picture() if path.is_file() else None


@dataclass(frozen=True, slots=True, eq=False)
class MapRow:
    """A map in a database.

    Attributes
    ----------
    database
        The open database.
    index
        The ``index`` of the map's row.
    """

    database: "MapDatabase"
    index: int

    def __str__(self) -> str:
        return f"{self.database.path}, map {self.index}"

    @property
    def stem(self) -> str:
        """The prefix of its file names."""
        return f"{self.database.path.stem}_{self.index}"

    def changed(self) -> int:
        """When the database was last written, in nanoseconds; ImageError if it is gone."""
        return _changed(self.database.path)

    def read(self) -> NDArray[Any]:
        """The relevance, (C, H, W); ConfigError if it cannot be read."""
        return self.database.read(_RELEVANCE, self.index)

    def account(self) -> Account:
        """The class explained, and the best classes with their scores."""
        return self.database.account(self.index)

    def picture(self) -> NDArray[np.uint8] | None:
        """Return the net's input, (H, W, 3) RGB; None if it is not in an input dataset."""
        return self.database.picture(self.index)


class MapDatabase:
    """A database of maps, open for reading, with its input dataset if there is one beside it.

    Several threads may read.

    Raises
    ------
    ConfigError
        It cannot be opened, or contains no maps.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._maps = Table(path)
        self._inputs: Table | None = None
        try:
            self._require_maps()
        except BaseException:
            self._maps.close()
            raise
        with suppress(ConfigError):  # unreadable pictures are reported as missing on access
            if input_path_of(path).is_file():
                self._inputs = Table(input_path_of(path))

    def _require_maps(self) -> None:
        columns = self._maps.columns
        if _RELEVANCE not in columns or len(columns[_RELEVANCE].shape) not in (2, 3):
            raise ConfigError(f"{self.path}: contains no maps; give the database, not its input dataset")
        if any(column.row_bytes > _MOST_ROW_BYTES for column in columns.values()):
            raise ConfigError(f"{self.path}: its rows are too large for maps; is it damaged?")

    def close(self) -> None:
        """Close the files."""
        for table in (self._maps, self._inputs):
            if table is not None:
                table.close()

    @property
    def description(self) -> str:
        """The description of the run that wrote its rows."""
        return self._maps.description

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """Written rows in the order of their indices, and the indices."""
        marks = self._maps.read(MARK)
        rows = np.flatnonzero(marks != UNMARKED)
        order = np.argsort(marks[rows], kind="stable")
        return rows[order], marks[rows][order]

    @property
    def indices(self) -> list[int]:
        """Return the indices of all written maps, in order."""
        return [int(index) for index in self._places[1]]

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and self._row_of(index) is not None

    def read(self, name: str, index: int) -> NDArray[Any]:
        """Return one map's row of a column; ConfigError if there is none."""
        row = self._row_of(index)
        if row is None:
            raise ConfigError(f"{self.path}: map {index} is not written")
        return np.asarray(self._maps.read(name, row, 1)[0])

    def account(self, index: int) -> Account:
        """Return a map's classes and scores from the other columns, as far as they exist."""
        columns = self._maps.columns
        if not {_PREDICTION, _LABEL} <= {*columns} or columns[_LABEL].shape:
            return Account()
        scores = self.read(_PREDICTION, index).reshape(-1)
        best = np.argsort(-scores, kind="stable")[:_BEST_COUNT].tolist()
        pairs = tuple((place, float(scores[place])) for place in best)
        label = int(self.read(_LABEL, index))
        if label >= len(scores):
            return Account((label,), pairs)
        return Account((label,), pairs, float(scores[label]), int((scores > scores[label]).sum()) + 1)

    def picture(self, index: int) -> NDArray[np.uint8] | None:
        """Return the net's input, (H, W, 3) RGB; None if it does not exist."""
        row, inputs = self._row_of(index), self._inputs
        column = inputs.columns.get(_PICTURES) if inputs else None
        if inputs is None or column is None or column.dtype != "|u1" or column.shape[:1] != (3,):
            return None
        # After a merge, the row of a picture is its index; before, it is the row of its map.
        places = [index] if row is None else [index, row]
        for place in places:
            is_there = place < inputs.rows and len(column.shape) == 3
            if is_there and int(inputs.read(MARK, place, 1)[0]) == index:
                return np.ascontiguousarray(inputs.read(_PICTURES, place, 1)[0].transpose(1, 2, 0))
        return None

    def _row_of(self, index: int) -> int | None:
        rows, indices = self._places
        place = int(np.searchsorted(indices, index))
        return int(rows[place]) if place < len(indices) and int(indices[place]) == index else None
