"""The forward pass alone: values of blobs by name."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caffe_lrp.engines.base import Engine
from caffe_lrp.errors import ImageError, UsageError, about
from caffe_lrp.imaging.memory import ImageInput
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.messages import did_you_mean
from caffe_lrp.net.net import Net

from .explainer import Explainer
from .requests import source_of
from .stages import as_error

#: Inputs per forward pass, so that more inputs do not take more memory.
_BATCH = 16


def values_by_name(net: Net, blobs: Sequence[str] | None) -> dict[str, int]:
    """Names of blobs and their final values; None: the net's output.

    Raises
    ------
    UsageError
        There is no such blob.
    """
    if blobs is None:
        return {net.value_names[net.output_value]: net.output_value}
    if isinstance(blobs, str) or not isinstance(blobs, Iterable):
        raise UsageError(f"{blobs!r} is not a list; give a list of names", setting="blobs")
    last = {name: value for value, name in enumerate(net.value_names)}
    for name in blobs:
        if name not in last:
            raise UsageError(
                f"{net.source} has no blob '{name}'{did_you_mean(str(name), last)}; blobs are named after "
                "the tops of layers",
                setting="blobs",
            )
    return {name: last[name] for name in blobs}


def checked_inputs(explainer: Explainer, inputs: Any) -> Blob:
    """(N, C, H, W): inputs of the net; ImageError if they do not fit."""
    shape = explainer.net.input_shape
    if inputs.shape[1:] != shape or inputs.dtype != np.float32 or not len(inputs):
        raise ImageError(
            f"inputs of shape {inputs.shape} and type {inputs.dtype} were given, but the net takes "
            f"(N, {', '.join(map(str, shape))}) of float32"
        )
    return np.asarray(inputs, np.float32)


def input_of(explainer: Explainer, image: ImageInput) -> Blob:
    """(C, H, W): the input for one image; raises the error with which a run fails the image."""
    source = source_of(image)
    try:
        with about(ImageError, file=source if isinstance(source, Path) else None):
            return explainer.preprocessor(source).blob
    except Exception as error:  # noqa: BLE001 - told apart as for a run
        raise as_error(error) from error.__cause__


def run_forward(net: Net, inputs: Blob, wanted: Mapping[str, int], engine: Engine) -> dict[str, Blob]:
    """Values of blobs, (N, …) each, for inputs (N, C, H, W); the arrays are the caller's."""
    parts: dict[str, list[Blob]] = {name: [] for name in wanted}
    keep = frozenset(wanted.values())
    with np.errstate(all="ignore"):  # values that are not finite are left to the caller
        for first in range(0, len(inputs), _BATCH):
            found = engine.forward(net, (), inputs[first : first + _BATCH], keep).activations
            for name, value in wanted.items():
                parts[name].append(np.array(found[value], order="C"))
    return {name: np.concatenate(pieces) for name, pieces in parts.items()}
