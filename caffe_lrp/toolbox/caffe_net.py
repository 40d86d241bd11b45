"""Nets of the toolbox as Caffe files, with a config that explains images with them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from caffe_lrp.errors import OutputError, UsageError
from caffe_lrp.files.atomic import write_new, write_new_bytes
from caffe_lrp.formats.importers.caffe_files import caffemodel_of, prototxt_of
from caffe_lrp.formats.importers.imported import ImportedLayer, ImportedNet

from .modules import (
    Convolution,
    Elu,
    Flatten,
    LeakyRect,
    Linear,
    MaxPool,
    Module,
    Rect,
    Sequential,
    Sigmoid,
    SoftMax,
    SumPool,
    Tanh,
)
from .modules.module import Array

_INPUT = "data"
_CONFIG = """\
# Config of caffe-lrp; a line that begins with # is a comment.
# caffe-lrp -c {paths[config].name} --images FOLDER -p OUT
prototxt: {paths[prototxt].name}
caffemodel: {paths[caffemodel].name}
{labels}start_layer: auto
class_count: {classes}
output_root: heatmaps
formula: 0

# From an image to the input of the net: (grey level - mean) * scale.
preprocess:
  mean_values: [{mean!r}]
  input_scale: {scale!r}
  resize: stretch
"""


@dataclass
class _Draft:
    """What has been translated.

    Attributes
    ----------
    shape
        (channels, height, width) of what the last layer gives, or (outputs,).
    flattened
        The maps that the last Flatten made a vector of; None if there was none.
    layers
        The layers.
    """

    shape: tuple[int, ...]
    flattened: tuple[int, ...] | None = None
    layers: list[ImportedLayer] = field(default_factory=list)

    def add(self, kind: str, source: str, parameters: dict[str, Any], blobs: Sequence[Array] = ()) -> None:
        """Add a layer on top of the last one."""
        number = 1 + sum(layer.type == kind for layer in self.layers)
        name = f"{kind.lower()}{number}"
        bottom = self.layers[-1].tops[0] if self.layers else _INPUT
        weights = tuple(np.ascontiguousarray(blob, np.float32) for blob in blobs)
        self.layers.append(ImportedLayer(name, kind, (bottom,), (name,), parameters, weights, source))


def write_caffe_net(
    net: Sequential,
    folder: Path,
    name: str,
    input_size: tuple[int, int] | None,
    *,
    mean_value: float,
    scale: float,
    labels: Sequence[str],
) -> Path:
    """Write the files; see `Sequential.to_caffe`."""
    imported, classes = caffe_net_of(net, name, input_size)
    paths = {kind: folder / file for kind, file in _files(name).items()}
    if not labels:
        del paths["labels"]
    for path in paths.values():
        if path.exists():
            raise OutputError(f"{path}: already exists; choose another folder, or remove it first")
    folder.mkdir(parents=True, exist_ok=True)
    write_new(paths["prototxt"], prototxt_of(imported))
    write_new_bytes(paths["caffemodel"], caffemodel_of(imported))
    if labels:
        write_new(paths["labels"], "".join(f"{label}\n" for label in labels))
    text = _CONFIG.format(
        paths=paths,
        labels=f"labels: {paths['labels'].name}\n" if labels else "",
        classes=classes,
        mean=float(mean_value),
        scale=float(scale),
    )
    write_new(paths["config"], text)
    return paths["config"]


def _files(name: str) -> dict[str, str]:
    return {
        "prototxt": "deploy.prototxt",
        "caffemodel": f"{name}.caffemodel",
        "labels": "labels.txt",
        "config": "config.yaml",
    }


def caffe_net_of(net: Sequential, name: str, input_size: tuple[int, int] | None) -> tuple[ImportedNet, int]:
    """The layers of a net, and the number of its outputs.

    Raises
    ------
    UsageError
        As `Sequential.to_caffe`.
    """
    shape = _input_shape(net, input_size)
    draft = _Draft(shape)
    for number, module in enumerate(net.modules):
        if type(module) not in _TRANSLATED:
            raise UsageError(f"module {number}, {type(module).__name__}, has no layer in Caffe files")
        source = f"module {number}, {type(module).__name__}"
        _TRANSLATED[type(module)](module, draft, source)
    found = ImportedNet(
        name, "caffe_lrp.toolbox", "LRP Toolbox modules", _INPUT, (1, *shape), tuple(draft.layers)
    )
    return found, int(np.prod(draft.shape))


def _input_shape(net: Sequential, size: tuple[int, int] | None) -> tuple[int, ...]:
    """(channels, height, width) of the input."""
    first = next((module for module in net.modules if isinstance(module, Linear | Convolution)), None)
    begun = net.modules[0].X if net.modules else None
    known = None if begun is None else begun.shape[1:]
    if isinstance(first, Linear) and (known is None or len(known) == 1):
        sides = size or _square(first.m) or (first.m, 1)
        if sides[0] * sides[1] != first.m:
            raise UsageError(f"input_size {sides[0]}×{sides[1]} is not the {first.m} numbers of the input")
        return (1, *sides)
    if known is not None and size is None:
        return (known[2], *known[:2])
    if not isinstance(first, Convolution) or size is None:
        raise UsageError(
            "the size of the net's input is not known; give input_size=(height, width), or call "
            "net.forward(X) before to_caffe"
        )
    return (first.fd, *size)


def _square(count: int) -> tuple[int, int] | None:
    """The sides of a square picture of ``count`` pixels; small nets do not see pictures."""
    side = round(count**0.5)
    return (side, side) if side * side == count and side > 2 else None


def _add_linear(module: Any, draft: _Draft, source: str) -> None:
    weights = module.W
    if draft.flattened is not None:
        channels, height, width = draft.flattened
        # The toolbox's vectors have channels last, Caffe's first.
        weights = weights.reshape(height, width, channels, -1).transpose(2, 0, 1, 3).reshape(module.m, -1)
    if np.prod(draft.shape) != module.m:
        raise UsageError(f"{source} needs {module.m} inputs, but gets {'×'.join(map(str, draft.shape))}")
    draft.add(
        "InnerProduct", source, {"inner_product_param": {"num_output": module.n}}, (weights.T, module.B)
    )
    draft.shape, draft.flattened = (module.n,), None


def _windowed(draft: _Draft, size: tuple[int, int], stride: tuple[int, int], channels: int) -> bool:
    """Change the shape to that of windows; return whether all rows and columns are in a window."""
    _, height, width = draft.shape
    rests = [(side - window) % step for side, window, step in zip((height, width), size, stride, strict=True)]
    rows, columns = (
        (side - window) // step + 1 for side, window, step in zip((height, width), size, stride, strict=True)
    )
    draft.shape = (channels, rows, columns)
    return not any(rests)


def _sides(size: tuple[int, int], stride: tuple[int, int]) -> dict[str, int]:
    return {"kernel_h": size[0], "kernel_w": size[1], "stride_h": stride[0], "stride_w": stride[1]}


def _add_convolution(module: Any, draft: _Draft, source: str) -> None:
    size = (module.fh, module.fw)
    _windowed(draft, size, module.stride, module.n)
    parameters = {"num_output": module.n, **_sides(size, module.stride)}
    draft.add(
        "Convolution", source, {"convolution_param": parameters}, (module.W.transpose(3, 2, 0, 1), module.B)
    )


def _add_pooling(module: Any, draft: _Draft, source: str, method: str) -> None:
    is_whole = _windowed(draft, module.pool, module.stride, draft.shape[0])
    parameters = {"pool": method, **_sides(module.pool, module.stride)}
    if not is_whole:
        parameters["round_mode"] = "FLOOR"
    draft.add("Pooling", source, {"pooling_param": parameters})


def _add_sum_pool(module: Any, draft: _Draft, source: str) -> None:
    _add_pooling(module, draft, source, "AVE")
    factor = float(module.pool[0] * module.pool[1]) ** 0.5
    draft.add("Power", f"{source}: mean · {factor:g}", {"power_param": {"scale": factor}})


def _add_flatten(_: Any, draft: _Draft, source: str) -> None:
    draft.flattened = draft.shape if len(draft.shape) == 3 else draft.flattened
    draft.add("Flatten", source, {})
    draft.shape = (int(np.prod(draft.shape)),)


def _plain(kind: str, parameters: Callable[[Any], dict[str, Any]]) -> Callable[[Any, _Draft, str], None]:
    return lambda module, draft, source: draft.add(kind, source, parameters(module))


#: Module -> what adds its layers.
_TRANSLATED: dict[type[Module], Callable[[Any, _Draft, str], None]] = {
    Linear: _add_linear,
    Convolution: _add_convolution,
    SumPool: _add_sum_pool,
    MaxPool: lambda module, draft, source: _add_pooling(module, draft, source, "MAX"),
    Flatten: _add_flatten,
    Rect: _plain("ReLU", lambda _: {}),
    LeakyRect: _plain("ReLU", lambda module: {"relu_param": {"negative_slope": module.slope}}),
    Tanh: _plain("TanH", lambda _: {}),
    Sigmoid: _plain("Sigmoid", lambda _: {}),
    Elu: _plain("ELU", lambda module: {"elu_param": {"alpha": module.alpha}}),
    SoftMax: _plain("Softmax", lambda _: {}),
}
