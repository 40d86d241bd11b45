"""Reads a net of the toolbox, text or pickle, as layers of Caffe, and computes it as the toolbox does."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ModelError, about
from caffe_lrp.files.reading import read_head
from caffe_lrp.files.recognition import foreign_kind, is_toolbox_pickle
from caffe_lrp.formats.importers.imported import ImportedNet, Setting
from caffe_lrp.formats.importers.vectors import InputShape

from .forward import forward
from .layers import INPUT, FlattenOrder, axes_of, layers_of
from .module import SIZES, Module, Numbers
from .pickled import read_pickle
from .sizes import input_shape
from .text import read_text

#: A pickle begins with its protocol or, before protocol 2, with a class.
_PICKLE = re.compile(rb"\x80|\(?[ic][\w.]+\n\w+\n")
_MIDDLE_GREY = 127.5


class _Found(NamedTuple):
    """A net as its file has it."""

    modules: Sequence[Module]
    form: str
    notes: Sequence[str]
    given: InputShape


def read(
    path: Path, input_size: tuple[int, int] | None = None, flatten_order: FlattenOrder = "python"
) -> ImportedNet:
    """The net of a text file or a pickle of the toolbox, as layers of Caffe.

    Parameters
    ----------
    path
        The file.
    input_size
        Height and width of the images; unless given, those that the net needs.
    flatten_order
        Which part of the toolbox the net is from: their Flatten number the pixels of a map in other orders.

    Raises
    ------
    ModelError
        The file is damaged, has something that no net of the toolbox has, or its modules do not fit each
        other.
    """
    with about(ModelError, place=path):
        found = _found(path, input_size)
        shape, note, is_vector = found.given
        layers, more = layers_of(found.modules, shape, flatten_order, is_vector=is_vector)
    notes = (*found.notes, note, *more, *_notes_on(found.modules))
    return ImportedNet(
        path.stem, str(path), found.form, INPUT, (1, *shape), layers, notes, settings=_settings(found.given)
    )


def run(
    path: Path,
    inputs: NDArray[Any],
    input_size: tuple[int, int] | None = None,
    flatten_order: FlattenOrder = "python",
) -> Numbers:
    """Scores of the net as the toolbox computes them, for inputs (N, C, H, W) of the imported net."""
    with about(ModelError, place=path):
        found = _found(path, input_size)
    axes = axes_of(flatten_order)
    return forward(found.modules, np.asarray(inputs, np.float64), axes, is_vector=found.given.is_vector)


def is_toolbox(beginning: bytes) -> bool:
    """Whether a file begins like a text of the toolbox, or a pickle that is not of PyTorch."""
    if _PICKLE.match(beginning):
        return foreign_kind(beginning) is None or is_toolbox_pickle(beginning)
    return beginning.lstrip().startswith(tuple(kind.encode() for kind in SIZES))


def _found(path: Path, input_size: tuple[int, int] | None) -> _Found:
    beginning = read_head(path, "net", ModelError)
    notes: Sequence[str] = ()
    if _PICKLE.match(beginning):
        modules, form = read_pickle(path), "LRP Toolbox, pickle"
    else:
        (modules, notes), form = read_text(path), "LRP Toolbox, text"
    return _Found(modules, form, notes, input_shape(modules, input_size))


def _notes_on(modules: Sequence[Module]) -> tuple[str, ...]:
    kinds = {module.kind for module in modules}
    return tuple(note for kind, note in _NOTES.items() if kind in kinds)


_NOTES: Mapping[str, str] = {
    "SumPool": "SumPool became a Convolution of each channel with ones, and a Power layer for the division "
    "by the root of the window's size: so each rule treats it as in the toolbox",
    "SoftMax": "SoftMax: relevance starts before it by default, as in the toolbox's demos",
}


def _settings(given: InputShape) -> Mapping[str, Setting]:
    """What the config should have."""
    corrected = Setting(
        "corrected",
        "as in the toolbox's Python part: sign 0 = +1, and flat divides by all inputs of a window",
    )
    if given.shape[1:] == (1, 1):
        return {
            "mean_values": Setting((0.0,), "the input is used as it is"),
            "resize": Setting("none", "the images are NumPy files (.npy)"),
            "quirks": corrected,
        }
    return {
        "mean_values": Setting((_MIDDLE_GREY,), "as the toolbox's demos on MNIST: x / 127.5 - 1"),
        "std_values": Setting((_MIDDLE_GREY,), "see mean_values"),
        "resize": Setting("none", _RESIZING),
        "quirks": corrected,
    } | ({"channel_order": Setting("RGB", "as the toolbox reads pictures")} if given.shape[0] == 3 else {})


_RESIZING = (
    "the net sees the centre of an image, or all of it with its edges repeated: around MNIST's digits, whose "
    "edges are black, that is the border of -1 of the toolbox's demos. For larger pictures write short-side"
)
