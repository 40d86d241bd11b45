"""The formats of nets that become Caffe files: one table. The command ``import`` knows no format itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from caffe_lrp.errors import ModelError, UsageError
from caffe_lrp.files.reading import read_head
from caffe_lrp.files.recognition import SEARCHED_BYTES, foreign_kind, is_onnx

from . import onnx, toolbox
from .imported import ImportedNet
from .vectors import on_images

FLATTEN_ORDERS = toolbox.FLATTEN_ORDERS
Numbers = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What a file may leave open.

    Attributes
    ----------
    input_size
        Height and width of the images.
    flatten_order
        Of nets of the LRP Toolbox: the part, Python or Matlab, that the net is from.
    """

    input_size: tuple[int, int] | None = None
    flatten_order: toolbox.FlattenOrder | None = None


class Format(NamedTuple):
    """A format.

    Attributes
    ----------
    name
        Its name.
    suffixes
        Of files that are taken for it if their content is none that is known.
    is_kind_of
        Whether a file that begins like this has the format.
    read
        Reads a file; ModelError if it cannot become Caffe files.
    run
        Blobs of the imported net -> numbers that the source has for inputs (N, C, H, W); `NotRunError` if it
        cannot be run.
    runner
        What runs it, for messages.
    options
        Options that it takes.
    """

    name: str
    suffixes: tuple[str, ...]
    is_kind_of: Callable[[bytes], bool]
    read: Callable[[Path, ImportOptions], ImportedNet]
    run: Callable[[Path, ImportedNet, ImportOptions, Numbers], Mapping[str, Numbers]]
    runner: str
    options: Sequence[str]


def _read_onnx(path: Path, options: ImportOptions) -> ImportedNet:
    return onnx.read(path, options.input_size)


def _run_onnx(path: Path, net: ImportedNet, options: ImportOptions, inputs: Numbers) -> Mapping[str, Numbers]:
    is_vector = len(net.source_axes) == 2
    return onnx.run(path, net, inputs.reshape(len(inputs), -1) if is_vector else inputs)


def _read_toolbox(path: Path, options: ImportOptions) -> ImportedNet:
    return toolbox.read(path, options.input_size, options.flatten_order or "python")


def _run_toolbox(
    path: Path, net: ImportedNet, options: ImportOptions, inputs: Numbers
) -> Mapping[str, Numbers]:
    scores = toolbox.run(path, inputs, options.input_size, options.flatten_order or "python")
    return {net.layers[-1].tops[0]: scores}


_FORMATS = (
    Format("ONNX", (".onnx",), is_onnx, _read_onnx, _run_onnx, "onnxruntime", ("input_size",)),
    Format(
        "LRP Toolbox",
        (".nn", ".txt", ".pickle", ".pickled", ""),
        toolbox.is_toolbox,
        _read_toolbox,
        _run_toolbox,
        "the toolbox's formulas in float64",
        ("input_size", "flatten_order"),
    ),
)


def format_of(path: Path) -> Format:
    """The format of a file: by its content, or else by its name.

    Raises
    ------
    ModelError
        It has none of the formats, or cannot be read.
    """
    head = read_head(path, "net", ModelError, SEARCHED_BYTES)
    found = next((each for each in _FORMATS if each.is_kind_of(head)), None)
    if found is not None:
        return found
    kind = foreign_kind(head)
    if kind is not None:
        raise ModelError(f"{path}: is {kind.name}, which cannot be imported; {kind.advice}")
    named = next((each for each in _FORMATS if path.suffix.lower() in each.suffixes), None)
    if named is None:
        raise ModelError(
            f"{path}: is not a net that can be imported; that are ONNX files (.onnx), and nets of the LRP "
            "Toolbox as text (.txt) or pickle (.nn)"
        )
    return named


def read_net(path: Path, form: Format, options: ImportOptions) -> ImportedNet:
    """The net of a file, on images.

    Raises
    ------
    ModelError
        It cannot become Caffe files.
    UsageError
        An option does not go with the format.
    """
    for name, value in vars(options).items():
        if value is not None and name not in form.options:
            raise UsageError(
                f"is not for nets in the format {form.name}, such as {path}; leave it out", setting=name
            )
    return on_images(form.read(path, options), options.input_size)
