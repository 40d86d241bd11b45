"""Weights of a net as arrays in memory: read from a caffemodel, or filled as the prototxt says."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caffe_lrp.formats.caffe.caffe_pb2 import FillerParameter, LayerParameter
from caffe_lrp.formats.caffe.reader import StoredBlob, StoredWeights
from caffe_lrp.formats.spec import LayerSpec, Shape
from caffe_lrp.layers.base import Layer
from caffe_lrp.net.build import build_graph
from caffe_lrp.net.deploy.deployed import DeployedNet
from caffe_lrp.net.shared_weights import with_shared_weights

from .blob import Floats
from .faults import CaffeError


@dataclass(frozen=True, eq=False)
class HeldBlob(StoredBlob):
    """A blob in memory, in place of one in a file."""

    numbers: Floats

    @property
    def count(self) -> int:
        """Number of elements."""
        return self.numbers.size

    def read(self) -> Floats:
        """The array itself, in the blob's shape."""
        return self.numbers.reshape(self.shape)


HeldWeights = dict[str, tuple[HeldBlob, ...]]


@dataclass(frozen=True)
class Weights:
    """The weights of a net.

    Attributes
    ----------
    held
        Blobs by layer name, in the shapes that the layers need.
    filled
        Names of layers that the caffemodel does not have, which were filled.
    is_from_file
        Whether there is a caffemodel.
    """

    held: HeldWeights
    filled: tuple[str, ...]
    is_from_file: bool


def held_weights(deployed: DeployedNet, stored: StoredWeights, random: np.random.Generator) -> Weights:
    """The weights of all layers that need some.

    Parameters
    ----------
    deployed
        The net.
    stored
        Blobs of a caffemodel; empty if there is none.
    random
        Source of random numbers for fillers.

    Raises
    ------
    ModelError
        The net cannot be built, or a file cannot be read.
    """
    layers = build_graph(deployed).layers
    specs = {spec.name: spec for spec in deployed.layers}
    completed = with_shared_weights(deployed.described, layers, stored)
    arrays: dict[int, HeldBlob] = {}  # a blob that layers share is read once
    held: HeldWeights = {}
    filled = []
    for layer in layers:
        if not layer.weight_shapes or layer.name in held:
            continue
        if layer.name in completed:
            blobs = completed[layer.name]
            for blob in blobs:
                if id(blob) not in arrays:
                    arrays[id(blob)] = HeldBlob(blob.path, blob.shape, (), blob.read())
            held[layer.name] = in_shape(layer, tuple(arrays[id(blob)] for blob in blobs))
        else:
            filled.append(layer.name)
            held[layer.name] = _filled(layer, specs[layer.name], random)
    return Weights(held, tuple(filled), bool(stored))


def in_shape(layer: Layer, blobs: tuple[HeldBlob, ...]) -> tuple[HeldBlob, ...]:
    """The blobs in the shapes that the layer needs, if they have as many elements; otherwise as they are."""
    counts = [blob.count for blob in blobs]
    for wanted in layer.accepted_weight_shapes:
        if [math.prod(shape) for shape in wanted] == counts and _fits(blobs, wanted):
            return tuple(
                HeldBlob(blob.path, shape, (), blob.numbers)
                for blob, shape in zip(blobs, wanted, strict=True)
            )
    return blobs


def _fits(blobs: tuple[HeldBlob, ...], wanted: tuple[Shape, ...]) -> bool:
    """Whether shapes are equal but for axes of size 1."""
    return all(
        [size for size in blob.shape if size != 1] == [size for size in shape if size != 1]
        for blob, shape in zip(blobs, wanted, strict=True)
    )


def _filled(layer: Layer, spec: LayerSpec, random: np.random.Generator) -> tuple[HeldBlob, ...]:
    """Weights as the fillers of a layer say."""
    found = []
    for role, shape in zip(layer.weight_roles, layer.weight_shapes, strict=True):
        filler = _filler(spec.parameters, layer.type, role)
        make = FILLERS.get(filler.type)
        if make is None:
            raise CaffeError(
                f"layer '{layer.name}': the filler '{filler.type}' is unknown; known: {', '.join(FILLERS)}"
            )
        numbers = np.ascontiguousarray(make(filler, shape, random), np.float32)
        found.append(HeldBlob(Path(), shape, (), numbers))
    return tuple(found)


#: Layer type and role of a blob -> its filler in a prototxt.
_FILLER_FIELDS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("Convolution", "weight"): ("convolution_param", "weight_filler"),
    ("Convolution", "bias"): ("convolution_param", "bias_filler"),
    ("Deconvolution", "weight"): ("convolution_param", "weight_filler"),
    ("Deconvolution", "bias"): ("convolution_param", "bias_filler"),
    ("InnerProduct", "weight"): ("inner_product_param", "weight_filler"),
    ("InnerProduct", "bias"): ("inner_product_param", "bias_filler"),
    ("Scale", "scale"): ("scale_param", "filler"),
    ("Scale", "bias"): ("scale_param", "bias_filler"),
    ("Bias", "bias"): ("bias_param", "filler"),
    ("PReLU", "weight"): ("prelu_param", "filler"),
}
#: What Caffe fills with unless the prototxt says something else; other blobs with 0.
_DEFAULTS = {("Scale", "scale"): 1.0, ("PReLU", "weight"): 0.25}


def _filler(parameters: LayerParameter, kind: str, role: str) -> FillerParameter:
    """The filler of a blob."""
    default = FillerParameter(type="constant", value=_DEFAULTS.get((kind, role), 0.0))
    if (kind, role) not in _FILLER_FIELDS:
        return default
    block, field = _FILLER_FIELDS[kind, role]
    if not parameters.HasField(block) or not getattr(parameters, block).HasField(field):
        return default
    filler: FillerParameter = getattr(getattr(parameters, block), field)
    return filler


def _fan(filler: FillerParameter, shape: Shape) -> float:
    """Number of inputs of an output, of outputs of an input, or the mean of both."""
    fan_in, fan_out = math.prod(shape) / shape[0], math.prod(shape) / (shape[1] if len(shape) > 1 else 1)
    return {
        FillerParameter.FAN_IN: fan_in,
        FillerParameter.FAN_OUT: fan_out,
        FillerParameter.AVERAGE: (fan_in + fan_out) / 2,
    }[filler.variance_norm]


def _xavier(filler: FillerParameter, shape: Shape, random: np.random.Generator) -> Floats:
    limit = math.sqrt(3 / _fan(filler, shape))
    return random.uniform(-limit, limit, shape).astype(np.float32)


def _msra(filler: FillerParameter, shape: Shape, random: np.random.Generator) -> Floats:
    return random.normal(0, math.sqrt(2 / _fan(filler, shape)), shape).astype(np.float32)


def _bilinear(filler: FillerParameter, shape: Shape, random: np.random.Generator) -> Floats:
    """Kernels that enlarge bilinearly, one like the other."""
    side = shape[-1]
    factor = math.ceil(side / 2)
    centre = (2 * factor - 1 - factor % 2) / (2 * factor)
    line = 1 - np.abs(np.arange(side) / factor - centre)
    return np.broadcast_to(np.outer(line, line), shape).astype(np.float32)


#: Type of a filler -> the numbers it gives.
FILLERS: Mapping[str, Callable[[FillerParameter, Shape, np.random.Generator], Floats]] = {
    "constant": lambda filler, shape, random: np.full(shape, filler.value, np.float32),
    "uniform": lambda filler, shape, random: random.uniform(filler.min, filler.max, shape).astype(np.float32),
    "gaussian": lambda filler, shape, random: random.normal(filler.mean, filler.std, shape).astype(
        np.float32
    ),
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}
