"""Data files: NumPy, text matrices, and MATLAB with the extra ``mat``. Nothing is unpickled."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from caffe_lrp.errors import UsageError

from .modules.module import Array
from .paths import Report, existing, format_of, log


def read(path: str | PathLike[str], fmt: str | None = None, report: Report = log) -> Any:
    """The array in a file.

    Parameters
    ----------
    path
        The file.
    fmt
        ``npy``, ``npz``, ``mat`` or ``txt``; unless given, by the ending of the name.
    report
        Called with the line that the toolbox prints.

    Returns
    -------
    ndarray
        As stored. Of a ``.mat`` file, the variable ``data``, or the only one. A ``.npz`` file with several
        arrays gives NumPy's own object, in which they have names.

    Raises
    ------
    UsageError
        The format is not known, or the file is not of it.
    FileNotFoundError
        There is no such file.
    """
    source = existing(path, "data_io.read")
    kind = format_of(source, fmt, _READERS)
    report(f"loading {kind or 'npy'}-formatted data from {source}")
    try:
        return _READERS[kind](source)
    except (ValueError, EOFError, TypeError) as fault:
        raise UsageError(f"{source}: cannot be read as {kind or 'npy'}: {fault}") from fault


def write(data: Array, path: str | PathLike[str], fmt: str | None = None, report: Report = log) -> None:
    """Write an array to a file, which is replaced if it exists, as in the toolbox.

    Parameters
    ----------
    data
        The array. ``txt`` takes one or two axes.
    path, fmt, report
        As for `read`.

    Raises
    ------
    UsageError
        The format is not known, or cannot hold the array.
    """
    target = Path(path)
    kind = format_of(target, fmt, _WRITERS)
    report(f"writing data in {kind or 'npy'}-format to {target}")
    try:
        _WRITERS[kind](target, np.asarray(data))
    except ValueError as fault:
        raise UsageError(f"{target}: cannot be written as {kind or 'npy'}: {fault}") from fault


def _read_npz(path: Path) -> Any:
    found = np.load(path)
    return found[found.files[0]] if len(found.files) == 1 else found


def _matlab() -> Any:
    """SciPy's reader and writer; UsageError without it."""
    try:
        import scipy.io  # noqa: PLC0415 - an extra
    except ImportError as fault:
        raise UsageError(
            "files of MATLAB need SciPy: pip install 'caffe-lrp[mat]'; or save them as .npy or .txt"
        ) from fault
    return scipy.io


def _read_mat(path: Path) -> Any:
    found = {name: value for name, value in _matlab().loadmat(path).items() if not name.startswith("__")}
    if "data" not in found and len(found) != 1:
        raise ValueError(f"it has no variable 'data', but {', '.join(found) or 'none'}")
    return found.get("data", next(iter(found.values())))


def _write_npy(path: Path, data: Array) -> None:
    with path.open("wb") as file:  # given a name, NumPy would add an ending to it
        np.save(file, data)


def _write_npz(path: Path, data: Array) -> None:
    with path.open("wb") as file:
        np.savez(file, data=data)


def _write_mat(path: Path, data: Array) -> None:
    _matlab().savemat(path, {"data": data}, appendmat=False)


_READERS: dict[str, Callable[[Path], Any]] = {
    "npy": np.load, "npz": _read_npz, "mat": _read_mat, "txt": np.loadtxt, "": np.load,
}  # fmt: skip
_WRITERS: dict[str, Callable[[Path, Array], None]] = {
    "npy": _write_npy, "npz": _write_npz, "mat": _write_mat, "txt": np.savetxt, "": _write_npy,
}  # fmt: skip
