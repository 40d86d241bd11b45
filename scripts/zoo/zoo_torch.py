"""The process of the zoo's check that runs a net in PyTorch, for its scores and for zennit's relevance.

A small interpreter of prototxts: a module for every layer, from the definitions in Caffe's documentation.
Only the package's file readers are used. Batch normalization and the scale after it are one module, which
zennit can merge.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import numpy as np
import torch
from bench_zennit import import_zennit
from google.protobuf import text_format
from numpy.typing import NDArray
from torch.nn import functional
from zoo_shapes import convolution_geometry, pooling_geometry
from zoo_worker import Answer, Job, serve

from caffe_lrp.formats.caffe import caffe_pb2
from caffe_lrp.formats.caffe.reader import scan_caffemodel

TINY = 1e-12
"""Number that zennit adds to divisors where we add nothing."""

Tensor = Any
Blobs = Sequence[Tensor]


class Pool(torch.nn.Module):  # type: ignore[misc, unused-ignore]  # PyTorch may not be installed
    """Caffe's pooling: sizes are rounded up, and averages count padding but nothing beyond it."""

    def __init__(self, parameters: Any) -> None:
        super().__init__()
        self._geometry = parameters
        self.is_average = parameters.pool == caffe_pb2.PoolingParameter.AVE

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled blob."""
        size = x.shape[2:]
        kernel, stride, pad, out = pooling_geometry(self._geometry, size)
        reach = [(o - 1) * s + k for o, s, k in zip(out, stride, kernel, strict=True)]
        after = [max(r - n - p, 0) for r, n, p in zip(reach, size, pad, strict=True)]
        edges = (pad[1], after[1], pad[0], after[0])
        if not self.is_average:
            largest = functional.max_pool2d(functional.pad(x, edges, value=-torch.inf), kernel, stride)
            return largest[:, :, : out[0], : out[1]]
        sums = functional.avg_pool2d(functional.pad(x, edges), kernel, stride, divisor_override=1)
        counts = [
            [min(i * s + k, n + 2 * p) - i * s for i in range(o)]
            for o, s, k, n, p in zip(out, stride, kernel, size, pad, strict=True)
        ]
        rows, columns = (torch.tensor(count, dtype=x.dtype) for count in counts)
        return sums[:, :, : out[0], : out[1]] / (rows[:, None] * columns)


class AveragePool(Pool):
    """Caffe's average pooling."""


class Shuffle(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """Channel ``i`` of group ``g`` becomes the ``g``-th of those with number ``i``."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self._groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Return the shuffled blob."""
        return functional.channel_shuffle(x, self._groups)


class FlatLinear(torch.nn.Linear):  # type: ignore[misc, unused-ignore]
    """An inner product over all of an item."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the products."""
        return super().forward(x.flatten(1))


def _convolution(layer: Any, blobs: Blobs) -> Any:
    p = layer.convolution_param
    kernel, stride, pad, dilation = convolution_geometry(p)
    channels = blobs[0].shape[1] * p.group
    module = torch.nn.Conv2d(
        channels, p.num_output, kernel, stride, pad, dilation, p.group, bias=len(blobs) > 1
    )
    return _filled(module, blobs)


def _deconvolution(layer: Any, blobs: Blobs) -> Any:
    p = layer.convolution_param
    kernel, stride, pad, dilation = convolution_geometry(p)
    module = torch.nn.ConvTranspose2d(
        len(blobs[0]), p.num_output, kernel, stride, pad, 0, p.group, len(blobs) > 1, dilation
    )
    return _filled(module, blobs)


def _inner_product(layer: Any, blobs: Blobs) -> Any:
    outputs, inputs = blobs[0].reshape(-1, blobs[0].shape[-1]).shape
    return _filled(FlatLinear(inputs, outputs, bias=len(blobs) > 1), blobs)


def _filled(module: Any, blobs: Blobs) -> Any:
    for parameter, blob in zip((module.weight, module.bias), blobs, strict=False):
        parameter.data = blob.reshape(parameter.shape)
    return module


def _batch_norm(layer: Any, blobs: Blobs) -> Any:
    """Return the normalization; `TorchNet` adds scale and shift where they follow.

    ε is included in the variances: zennit 0.5.1 would add it a second time when merging, and scores would
    shrink by 5e-6 with every layer.
    """
    mean, variance, factor = blobs
    module = torch.nn.BatchNorm2d(len(mean), eps=0.0)
    module.running_mean = mean / factor
    module.running_var = variance / factor + layer.batch_norm_param.eps
    return module


def _pooling(parameters: Any) -> Any:
    is_average = parameters.pool == caffe_pb2.PoolingParameter.AVE
    return (AveragePool if is_average else Pool)(parameters)


def _lrn(layer: Any, blobs: Blobs) -> Any:
    p = layer.lrn_param
    return torch.nn.LocalResponseNorm(p.local_size, p.alpha, p.beta, p.k)


#: Layer type -> its module, for layers with one bottom.
MODULES: Mapping[str, Callable[[Any, Blobs], Any]] = {
    "Convolution": _convolution,
    "ConvolutionDepthwise": _convolution,
    "Deconvolution": _deconvolution,
    "InnerProduct": _inner_product,
    "BatchNorm": _batch_norm,
    "Scale": lambda *_: torch.nn.Identity(),
    "ReLU": lambda *_: torch.nn.ReLU(),
    "ReLU6": lambda *_: torch.nn.ReLU6(),
    "Sigmoid": lambda *_: torch.nn.Sigmoid(),
    "Dropout": lambda *_: torch.nn.Identity(),
    "LRN": _lrn,
    "Pooling": lambda layer, _: _pooling(layer.pooling_param),
    "ShuffleChannel": lambda layer, _: Shuffle(layer.shuffle_channel_param.group),
}


def _sum(layer: Any, module: Any, inputs: Sequence[Tensor]) -> Tensor:
    factors = list(layer.eltwise_param.coeff) or [1.0] * len(inputs)
    return module(torch.stack([f * x for f, x in zip(factors, inputs, strict=True)], dim=-1))


def _crop(layer: Any, module: Any, inputs: Sequence[Tensor]) -> Tensor:
    cropped, like = inputs
    offset = layer.crop_param.offset[0]
    height, width = like.shape[2:]
    return cropped[:, :, offset : offset + height, offset : offset + width]


#: Layer type -> function of several bottoms; the module is zennit's sum.
COMBINATIONS: Mapping[str, Callable[[Any, Any, Sequence[Tensor]], Tensor]] = {
    "Concat": lambda layer, module, inputs: torch.cat(list(inputs), dim=1),
    "Eltwise": _sum,
    "Axpy": lambda layer, module, inputs: inputs[0] * inputs[1] + inputs[2],
    "Crop": _crop,
}


class TorchNet(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """The layers of a prototxt below its Softmax, with the weights of a caffemodel."""

    def __init__(self, job: Job, dtype: Any) -> None:
        super().__init__()
        net = text_format.Parse(Path(job.prototxt).read_text(encoding="utf-8"), caffe_pb2.NetParameter())
        stored = scan_caffemodel(Path(job.caffemodel))
        self._input = net.input[0]
        self.layers = [layer for layer in net.layer if layer.type != "Softmax"]
        self._last_use = {name: place for place, layer in enumerate(self.layers) for name in layer.bottom}
        for layer in self.layers:
            blobs = [torch.from_numpy(np.array(blob.read())) for blob in stored.get(layer.name, ())]
            self.add_module(module_name(layer.name), self._module(layer, blobs))
        self.eval().requires_grad_(False).to(dtype)

    def _module(self, layer: Any, blobs: Blobs) -> Any:
        if layer.type in COMBINATIONS:
            return import_zennit("layer").Sum()
        if layer.type == "Scale":
            (normalization,) = (
                other
                for other in self.layers
                if other.type == "BatchNorm" and other.top[0] == layer.bottom[0]
            )
            _filled(self.module_of(normalization), blobs)
        return MODULES[layer.type](layer, blobs)

    def module_of(self, layer: Any) -> Any:
        """Return the module of a layer."""
        return getattr(self, module_name(layer.name))

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores."""
        values = {self._input: images}
        for place, layer in enumerate(self.layers):
            inputs, module = [values[name] for name in layer.bottom], self.module_of(layer)
            if layer.type in COMBINATIONS:
                values[layer.top[0]] = COMBINATIONS[layer.type](layer, module, inputs)
            else:
                values[layer.top[0]] = module(inputs[0])
            for name in {*layer.bottom} - {*layer.top}:
                if self._last_use[name] == place:
                    del values[name]
        return values[self.layers[-1].top[0]]


def module_name(layer: str) -> str:
    """Return a name that PyTorch allows."""
    return "layer_" + re.sub(r"\W", "_", layer)


def forward(job: Job) -> Answer:
    """Save the scores."""
    with torch.no_grad():
        scores = TorchNet(job, torch.float32)(torch.from_numpy(np.load(job.image)))
    np.save(job.output, scores.numpy())
    return {"version": torch.__version__}


def relevance(job: Job) -> Answer:
    """Save zennit's relevance in double precision: batch normalization merged, sums by contribution."""
    net = TorchNet(job, torch.float64)
    composite = import_zennit("composites").NameMapComposite(
        [((module_name(layer.name),), hook) for layer in net.layers for hook in hooks_of(net, layer, job)],
        canonizers=[merging(net)],
    )
    np.save(job.output, relevance_of(net, composite, job))
    return {"version": torch.__version__}


def merging(net: TorchNet) -> Any:
    """Return zennit's canonizer that merges the batch normalization of a net."""
    merged: list[tuple[list[str], str]] = []
    before: dict[str, str] = {}
    for layer in net.layers:
        if layer.type == "BatchNorm":
            merged.append(([module_name(before[layer.bottom[0]])], module_name(layer.name)))
        before[layer.top[0]] = layer.name
    return import_zennit("canonizers").NamedMergeBatchNorm(merged)


def relevance_of(net: TorchNet, composite: Any, job: Job) -> NDArray[np.float64]:
    """Return zennit's relevance of the elements that are explained, from their scores."""
    images = torch.from_numpy(np.load(job.image)).double()
    seed = torch.zeros(1, net(images).numel(), dtype=torch.float64)
    seed[0, list(job.elements)] = 1
    with import_zennit("attribution").Gradient(net, composite) as attributor:
        _, found = attributor(images, lambda scores: scores * seed.reshape(scores.shape))
    relevance: NDArray[np.float64] = found.detach().numpy()
    return relevance


def hooks_of(net: TorchNet, layer: Any, job: Job) -> list[Any]:
    """Return zennit's rule for a layer under a formula, None if the gradient does the same."""
    rules = import_zennit("rules")
    epsilon = rules.Epsilon(epsilon=job.epsilon)
    alpha_beta = rules.AlphaBeta(alpha=1 + job.beta, beta=job.beta, stabilizer=TINY)
    hooks = {
        "Convolution": epsilon if job.formulas[0] == 0 else alpha_beta,
        "InnerProduct": epsilon,
        "ReLU": rules.Pass(),
        "Eltwise": rules.Norm(TINY),
    }
    if layer.type == "Pooling" and net.module_of(layer).is_average:
        return [rules.Norm(TINY)]
    return [hooks[layer.type]] if layer.type in hooks else []


if __name__ == "__main__":
    serve({"forward": forward, "relevance": relevance})
