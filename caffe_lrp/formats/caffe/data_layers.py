"""The data layers of a training net: the size of images, and how they are prepared.

Sources: Caffe's data_transformer.cpp and its data layers; SSD's fork for ``crop_h``, ``crop_w`` and
``resize_param``.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.spec import LayerSpec, NetSpec, Shape, Transform

from .caffe_pb2 import FillerParameter
from .phase import layers_at_test_time
from .weights import scan_blob

Said = TypeVar("Said")

#: Data layers of Caffe and its forks whose first top is the image; all other tops are labels.
LABELLED_TYPES = frozenset(("AnnotatedData", "Data", "ImageData", "MemoryData", "WindowData"))
#: Names that authors of Python layers use for the image size in ``param_str``.
_PYTHON_SIZE = re.compile(
    r"""\b(?:im_shape|im_size|image_size|img_size|input_size|crop_size)['"]?\s*[:=]\s*"""
    r"""[\[(]?\s*(?P<height>[0-9]{1,6})\b(?:\s*,\s*(?P<width>[0-9]{1,6})\b)?"""
)


def reads_data(layer: LayerSpec) -> bool:
    """Whether a layer brings images or labels into the net."""
    has_outputs_only = bool(layer.tops) and not layer.bottoms
    return has_outputs_only and ("Data" in layer.type or layer.type == "Python")


def transform_of_net(spec: NetSpec) -> Transform | None:
    """The preprocessing at test time; without a data layer for testing, that of training.

    Raises
    ------
    ModelError
        A layer has both include and exclude rules.
    """
    for layers in (layers_at_test_time(spec), spec.layers):
        for layer in filter(reads_data, layers):
            transform = transform_of(layer)
            if transform != Transform(layer.name):
                return transform
    return None


def transform_of(layer: LayerSpec) -> Transform:
    """How a data layer prepares images."""
    parameters, images = layer.parameters.transform_param, layer.parameters.image_data_param
    has_size = images.new_height > 0 and images.new_width > 0
    transform = Transform(
        layer=layer.name,
        resize=(images.new_height, images.new_width) if has_size else None,
        crop_size=parameters.crop_size or None,
        mean_values=tuple(parameters.mean_value),
        mean_file=parameters.mean_file or None,
        scale=parameters.scale,
        is_gray=parameters.force_gray or not images.is_color,
    )
    sizes = [(size.height, size.width) for size in parameters.resize_param if size.height and size.width]
    return replace(transform, resize=sizes[0]) if sizes else transform


def image_size(layer: LayerSpec, source: str) -> tuple[int, int] | None:
    """Height and width of the images of a data layer; None if the file does not say.

    Parameters
    ----------
    layer
        The data layer.
    source
        The prototxt; mean images are looked for where Caffe looks, and in the folder of the prototxt.
    """
    transform, parameters = transform_of(layer), layer.parameters.transform_param
    if transform.crop_size:
        return transform.crop_size, transform.crop_size
    if parameters.crop_h and parameters.crop_w:
        return parameters.crop_h, parameters.crop_w
    if transform.resize:
        return transform.resize
    if layer.type == "Python":
        return _python_size(layer.parameters.python_param.param_str)
    mean = _mean_shape(transform, source)
    return (mean[1], mean[2]) if mean and mean[1:] != (1, 1) else None


def channel_count(layer: LayerSpec, source: str) -> int | None:
    """Number of channels of the images of a data layer; None if the file does not settle it."""
    transform, parameters = transform_of(layer), layer.parameters.transform_param
    if transform.is_gray:
        return 1
    if parameters.force_color:
        return 3
    if len(transform.mean_values) > 1:
        return len(transform.mean_values)
    mean = _mean_shape(transform, source)
    return mean[0] if mean else None


def blob_shape(layer: LayerSpec, top: int) -> Shape | None:
    """Shape of one item of a top, if the layer states it in full; else None."""
    memory = layer.parameters.memory_data_param
    if layer.type == "MemoryData" and top == 0 and min(memory.channels, memory.height, memory.width) > 0:
        return memory.channels, memory.height, memory.width
    shape = dummy_shape(layer, top)
    return None if shape is None else shape[1:]


def dummy_shape(layer: LayerSpec, top: int) -> Shape | None:
    """Full shape of a top of a DummyData layer; None for other layers, or if the shape is not stated."""
    parameters = layer.parameters.dummy_data_param
    shapes = [tuple(shape.dim) for shape in parameters.shape]
    if layer.type != "DummyData":
        return None
    if shapes:
        return _of_top(shapes, top)
    sizes = (parameters.num, parameters.channels, parameters.height, parameters.width)
    legacy = [_of_top(numbers, top) for numbers in sizes]
    return None if None in legacy else tuple(size for size in legacy if size is not None)


def constant_of(layer: LayerSpec, top: int) -> float | None:
    """The number that a top of a DummyData layer is filled with; None if it is not constant."""
    fillers = layer.parameters.dummy_data_param.data_filler
    filler = _of_top(fillers, top) if fillers else FillerParameter()
    return filler.value if filler is not None and filler.type == "constant" else None


def _of_top(said: Sequence[Said], top: int) -> Said | None:
    """The setting of a DummyData layer for one top: one value for all tops, or one for each."""
    if len(said) == 1:
        return said[0]
    return said[top] if top < len(said) else None


def _python_size(parameters: str) -> tuple[int, int] | None:
    """The image size in the parameters of a Python layer: an expression, which is not evaluated."""
    found = _PYTHON_SIZE.search(parameters)
    if not found:
        return None
    height = int(found["height"])
    return height, int(found["width"] or height)


def _mean_shape(transform: Transform, source: str) -> Shape | None:
    """Channels, height and width of the mean image, if it can be found.

    Height and width are 1 where it has one number for every channel.
    """
    if transform.mean_file is None:
        return None
    name, folder = Path(transform.mean_file), Path(source).parent
    for path in (name, folder / name, folder / name.name):
        try:
            stored = scan_blob(path)
        except ModelError:
            continue
        is_pixel = max(stored.shape, default=1) == stored.count
        return (stored.count, 1, 1) if is_pixel else stored.shape[-3:] if len(stored.shape) >= 3 else None
    return None
