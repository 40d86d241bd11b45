"""Start vectors as they are given to a model: words, files and arrays."""

import os
from collections.abc import Sized
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ConfigError, UsageError
from caffe_lrp.files.reading import read_small_file
from caffe_lrp.imaging.numpy_file import SUFFIX, array_of
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.relevance.start_vector import ARRAY, StartVector, parse_start_vector

#: What a start vector is given as.
StartVectorInput = str | os.PathLike[str] | NDArray[Any]

#: Files are read into memory.
_MOST_MEGABYTES = 1024
_ADVICE = "save it with numpy.save, as an array (classes,) or (lines, classes) of floating-point numbers"


def start_vector_of(given: Any) -> StartVector | None:
    """The start vector that a word, a file or an array stands for; None for None.

    Raises
    ------
    ConfigError
        There is no such start vector, or the file or array cannot be used.
    UsageError
        It is something else.
    """
    if given is None:
        return None
    if isinstance(given, np.ndarray):
        return StartVector("an array", ARRAY, _checked(given, "the array of start vectors"))
    if not isinstance(given, (str, os.PathLike)):
        raise UsageError(f"{given!r} must be a text, a file or an array", setting="start_vector")
    if not is_word(given):
        path = Path(given)
        content = read_small_file(path, "start vector", ConfigError, most_megabytes=_MOST_MEGABYTES)
        array = array_of(content, path, ConfigError, _ADVICE, "start vectors")
        return StartVector(str(path), ARRAY, _checked(array, path))
    return parse_start_vector(str(given))


def is_word(given: Any) -> bool:
    """Whether a start vector is given by a word, not as a file or an array."""
    return isinstance(given, str) and not given.lower().endswith(SUFFIX)


def _checked(array: NDArray[Any], source: Path | str) -> Blob:
    """(classes,) or (lines, classes) float32; ConfigError unless that is what it holds."""
    found = "×".join(map(str, array.shape)) or "one number"
    if array.dtype.kind != "f" or array.ndim not in (1, 2) or not array.size:
        raise ConfigError(f"{source}: holds {found} of the type {array.dtype}, not start vectors; {_ADVICE}")
    with np.errstate(over="ignore"):
        numbers = np.array(array, np.float32, order="C")
    is_finite = np.isfinite(numbers)
    if not is_finite.all():
        place = np.unravel_index(int(np.argmin(is_finite)), numbers.shape)
        where = f"row {place[0]}, class {place[1]}" if numbers.ndim == 2 else f"class {place[0]}"
        raise ConfigError(
            f"{source}: the number of {where} is not finite in float32; replace it (counted from 0)"
        )
    return numbers


def refuse_ranks(vector: StartVector | None) -> None:
    """UsageError if the start vector does not depend on the class: maps of all ranks would be the same."""
    if vector is not None and not vector.kind.is_for_targets:
        raise UsageError(
            f"--top: the start vector '{vector.text}' does not depend on the class, so all maps would be the "
            "same; leave --top out"
        )


def refuse_too_few_rows(vector: StartVector | None, images: Any) -> None:
    """ConfigError if there are fewer start vectors than images, as far as their number is known."""
    rows = vector.rows if vector else None
    if vector is not None and rows is not None and isinstance(images, Sized) and rows < len(images):
        raise ConfigError(
            f"{vector.text}: has {rows} rows for {len(images)} images; give a row for each of them, or "
            "one array (classes,) for all",
            setting="start_vector",
        )
