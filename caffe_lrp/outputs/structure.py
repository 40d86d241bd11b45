"""The structure of an HDF5 file: its description, and the places of its datasets.

Files are not trusted. Their structure may be hostile: sizes beyond any memory, datasets in other files,
external links. So only files like our own are accepted: with a few datasets of plain numbers, each
contiguous inside the file. HDF5 never follows a link.
"""

import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from caffe_lrp.errors import UsageError
from caffe_lrp.files.reading import MEGABYTE

MARK = "index"
UNMARKED = np.iinfo(np.uint32).max

#: A list of images has at most a gigabyte, so it has fewer lines.
MOST_ROWS = 2**27
#: The attribute of a file with the settings of its run.
DESCRIPTION = "description"

#: More than fits in a message of an object header, where HDF5 stores short attributes.
_LONGEST_DESCRIPTION = 64 * 1024
#: Our files have four, and their structure takes a few kilobytes.
_MOST_DATASETS = 64
_MOST_STRUCTURE_BYTES = 16 * MEGABYTE

#: Exceptions of h5py for invalid structures, besides OSError.
DAMAGE = (KeyError, ValueError, RuntimeError, TypeError)


@dataclass(frozen=True)
class Column:
    """One dataset of a file.

    Attributes
    ----------
    name
        Name of the dataset.
    dtype
        Type of its numbers in NumPy's notation, little-endian.
    shape
        Shape of a row.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.name, np.dtype(self.dtype).name, "×".join(map(str, self.shape))]).strip()

    @property
    def row_bytes(self) -> int:
        """Bytes per row."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def unwritten(self) -> int | None:
        """Fill value of integers: the largest, which is neither an index nor a class."""
        return int(np.iinfo(self.dtype).max) if self.dtype in ("<u2", "<u4") else None


MARK_COLUMN = Column(MARK, "<u4")


@dataclass(frozen=True)
class Dataset:
    """A column, and its offset in the file."""

    column: Column
    offset: int


@dataclass(frozen=True)
class Structure:
    """The content of a file.

    Attributes
    ----------
    description
        Description of the run that wrote its rows.
    rows
        Number of rows.
    datasets
        Datasets by name.
    """

    description: str
    rows: int
    datasets: dict[str, Dataset]


def load_h5py() -> Any:
    """Return the module h5py, which only databases need; UsageError if it is not installed."""
    try:
        import h5py  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UsageError(
            f"HDF5 files need h5py, which cannot be imported ({error}); install it: pip install 'h5py>=3.10'"
        ) from error
    return h5py


def read_structure(file: int) -> Structure:
    """Return the structure of an open file.

    Raises
    ------
    ValueError, or another of `DAMAGE`
        It does not have the structure of our databases.
    OSError
        It cannot be read, or is not an HDF5 file.
    """
    h5py = load_h5py()
    # Locks fail on some network file systems, and are not needed here.
    with h5py.File(_StructureBytes(file), "r", locking=False) as root:
        description = _description(h5py, root.id)
        names = _names(h5py, root.id)
        if MARK.encode() not in names:
            raise ValueError(f"it has no dataset '{MARK}'")
        shapes = {name.decode(): _dataset(h5py, root.id, name) for name in names}
    rows = shapes[MARK][0]
    datasets = {name: dataset for name, (_, dataset) in shapes.items()}
    for name, (others, _) in shapes.items():
        if others != rows:
            raise ValueError(f"dataset '{name}' is laid out differently: it has {others} rows, not {rows}")
    if datasets[MARK].column != MARK_COLUMN:
        raise ValueError(f"dataset '{MARK}' holds numbers that are not indices")
    if rows > MOST_ROWS:
        raise ValueError(f"it claims to have {rows:,} rows, but a database has at most {MOST_ROWS:,}")
    _require_places(rows, list(datasets.values()), os.fstat(file).st_size)
    return Structure(description, rows, datasets)


class _StructureBytes(io.RawIOBase):
    """An open file whose structure HDF5 reads: at most a few megabytes, whatever sizes the file claims.

    HDF5 allocates memory of the claimed sizes, but uses it only when it reads.
    """

    def __init__(self, file: int) -> None:
        self._file, self._place, self._left = file, 0, _MOST_STRUCTURE_BYTES
        self._size = os.fstat(file).st_size

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._place = offset + (self._size if whence == os.SEEK_END else 0)
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer)
        self._left -= len(view)
        if self._left < 0:
            most = _MOST_STRUCTURE_BYTES // MEGABYTE
            raise OSError(f"its structure takes more than {most} MB, but that of a database only kilobytes")
        is_inside = self._place + len(view) <= self._size
        if not is_inside or os.preadv(self._file, [view], self._place) < len(view):
            raise OSError("its structure points beyond its end")
        return len(view)


def _description(h5py: Any, root: Any) -> str:
    attribute = h5py.h5a.open(root, DESCRIPTION.encode())
    kind = attribute.get_type()
    is_text = isinstance(kind, h5py.h5t.TypeStringID) and not kind.is_variable_str()
    if not is_text or attribute.shape != () or kind.get_size() > _LONGEST_DESCRIPTION:
        raise ValueError(f"its attribute '{DESCRIPTION}' is not a short text")
    text = np.zeros((), f"S{kind.get_size()}")
    attribute.read(text, mtype=kind)
    return bytes(text[()]).decode()


def _names(h5py: Any, root: Any) -> list[bytes]:
    """Return the names of the datasets; ValueError if there is anything else."""
    if root.get_num_objs() > _MOST_DATASETS:
        raise ValueError(f"it contains more than {_MOST_DATASETS} objects")
    names = list(root)
    for name in names:
        if root.links.get_info(name).type != h5py.h5l.TYPE_HARD:
            raise ValueError(f"{_quoted(name)} is a link to another place")
        if h5py.h5o.get_info(root, name).type != h5py.h5o.TYPE_DATASET:
            raise ValueError(f"{_quoted(name)} is not a dataset")
    return names


def _dataset(h5py: Any, root: Any, name: bytes) -> tuple[int, Dataset]:
    """Return the number of rows of a dataset, and its place; ValueError if it is not contiguous."""
    dataset = h5py.h5d.open(root, name)
    how = dataset.get_create_plist()
    # Even reading the size of a virtual dataset opens its source files.
    is_plain = how.get_layout() == h5py.h5d.CONTIGUOUS and not how.get_external_count()
    if not is_plain or how.get_nfilters():
        raise ValueError(f"dataset {_quoted(name)} is laid out differently")
    kind, space = dataset.get_type(), dataset.get_space()
    is_number = isinstance(kind, h5py.h5t.TypeIntegerID | h5py.h5t.TypeFloatID)
    dtype = np.dtype(kind.dtype) if is_number else None
    if dtype is None or dtype.kind not in "iuf" or dtype.itemsize != kind.get_size():
        raise ValueError(f"dataset {_quoted(name)} contains no plain numbers")
    if space.get_simple_extent_type() != h5py.h5s.SIMPLE or not space.get_simple_extent_ndims():
        raise ValueError(f"dataset {_quoted(name)} has no rows")
    rows, *shape = map(int, space.get_simple_extent_dims())
    offset = dataset.get_offset()
    if offset is None and rows:
        raise ValueError(f"dataset {_quoted(name)} is laid out differently")
    return rows, Dataset(Column(name.decode(), dtype.str, tuple(shape)), offset or 0)


def _quoted(name: bytes) -> str:
    return f"'{name.decode(errors='replace')}'"


def _require_places(rows: int, datasets: Sequence[Dataset], size: int) -> None:
    """Raise ValueError unless all rows are inside the file, and no datasets overlap."""
    places = sorted(
        (dataset.offset, dataset.offset + rows * dataset.column.row_bytes) for dataset in datasets
    )
    if places[-1][1] > size or any(stop > start for (_, stop), (start, _) in pairwise(places)):
        raise ValueError("its datasets extend beyond its end, or overlap; is it damaged?")
