"""The formats that nets can be imported from: one table, and the row of a file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from caffe_lrp.errors import ModelError
from caffe_lrp.files.reading import read_head
from caffe_lrp.files.recognition import SEARCHED_BYTES, is_onnx, why_foreign_model

from .imported import ImportedNet


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes
    ----------
    name
        Its name.
    is_rgb
        Whether its nets usually expect red first; else blue, as Caffe's.
    is_kind_of
        Whether a file with this beginning has it.
    read
        Reads a file; the second argument is the requested (height, width) of the input, or None.
    """

    name: str
    is_rgb: bool
    is_kind_of: Callable[[bytes], bool]
    read: Callable[[Path, tuple[int, int] | None], ImportedNet]


def _read_onnx(path: Path, input_size: tuple[int, int] | None) -> ImportedNet:
    from .onnx.reader import read  # noqa: PLC0415 - loads NumPy, and an extra

    return read(path, input_size)


FORMATS: tuple[Format, ...] = (Format("ONNX", True, is_onnx, _read_onnx),)


def format_of(path: Path) -> Format:
    """The format of a file, by its content.

    Raises
    ------
    ModelError
        The file cannot be read, or has none of the formats.
    """
    head = read_head(path, "model", ModelError, SEARCHED_BYTES)
    found = next((each for each in FORMATS if each.is_kind_of(head)), None)
    if found is None:
        names = " or ".join(each.name for each in FORMATS)
        reason = why_foreign_model(head, "model that can be imported") or f"is not {names}"
        raise ModelError(f"{path}: {reason}; nets can be imported from {names}")
    return found
