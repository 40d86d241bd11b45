"""The process of the benchmark that runs zennit: the same net with the same weights in PyTorch.

Needs the extra `bench`. Grouped convolutions are PyTorch's own; LRN layers pass everything unchanged, since
PyTorch has no LRN through which zennit can propagate relevance.
"""

import importlib
import sys
import time
import types
from collections.abc import Callable, Mapping
from typing import Any

import torch
from bench_engine import load
from bench_worker import Round, read_case, serve
from numpy.typing import NDArray

from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Layer
from caffe_lrp.layers.combine import EltwiseSum
from caffe_lrp.layers.convolution import Convolution
from caffe_lrp.layers.inner_product import InnerProduct
from caffe_lrp.layers.pooling import AveragePooling, MaxPooling
from caffe_lrp.relevance.plan import Plan
from caffe_lrp.relevance.rules.alpha_beta import AlphaBeta
from caffe_lrp.relevance.rules.base import AnyRule
from caffe_lrp.relevance.rules.epsilon import Epsilon
from caffe_lrp.relevance.rules.flat import Flat
from caffe_lrp.relevance.rules.gamma import Gamma
from caffe_lrp.relevance.rules.gradients import Gradient, PassGuided, PassPositive
from caffe_lrp.relevance.rules.normalization import TaylorNormalization
from caffe_lrp.relevance.rules.routing import Pass, Route
from caffe_lrp.relevance.rules.sharing import Contribution, Proportional
from caffe_lrp.relevance.rules.w_square import WSquare
from caffe_lrp.relevance.rules.z_box import ZBox


def import_zennit(part: str) -> Any:
    """Return a module of zennit.

    Importing zennit imports two classes of torchvision, for nets that are not used here. If torchvision is
    missing or does not fit the installed PyTorch, empty classes replace them.
    """
    try:
        importlib.import_module("torchvision.models.resnet")
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("torchvision", "torchvision.models", "torchvision.models.resnet"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["torchvision.models.resnet"].__dict__.update(Bottleneck=type("Bottleneck", (), {}))
        sys.modules["torchvision.models.resnet"].__dict__.update(BasicBlock=type("BasicBlock", (), {}))
    return importlib.import_module(f"zennit.{part}")


def _convolution(layer: Convolution) -> Any:
    window = layer.window
    module = torch.nn.Conv2d(
        layer.input_shapes[0][0],
        layer.output_channels,
        (window.kernel_h, window.kernel_w),
        stride=(window.stride_h, window.stride_w),
        padding=(window.pad_h, window.pad_w),
        dilation=(window.dilation_h, window.dilation_w),
        groups=layer.groups,
        bias=layer.has_bias,
    )
    return _with_weights(module, layer.weights)


def _inner_product(layer: InnerProduct) -> Any:
    module = torch.nn.Linear(layer.fan_in, layer.output_count, bias=layer.has_bias)
    return _with_weights(module, layer.weights)


def _with_weights(module: Any, weights: tuple[Blob, ...]) -> Any:
    for parameter, blob in zip((module.weight, module.bias), weights, strict=False):
        parameter.data = torch.from_numpy(blob.copy()).reshape(parameter.shape)
    return module


def _pooling(layer: MaxPooling | AveragePooling) -> Any:
    window = layer.window
    method = torch.nn.MaxPool2d if isinstance(layer, MaxPooling) else torch.nn.AvgPool2d
    return method(
        (window.kernel_h, window.kernel_w),
        stride=(window.stride_h, window.stride_w),
        padding=(window.pad_h, window.pad_w),
        ceil_mode=layer.round_up,
    )


def _merged(layer: Layer) -> Any:
    """Return a module for a layer that became part of another."""
    if layer.weights:
        raise TypeError(f"{layer.label}: there is a module only for normalization that was merged")
    return torch.nn.Identity()


def _sum(layer: Layer) -> Any:
    """Return zennit's sum for a layer that adds blobs without coefficients."""
    if not isinstance(layer, EltwiseSum) or set(layer.coefficients) != {1.0}:
        raise TypeError(f"{layer.label}: there is a module only for sums without coefficients")
    return import_zennit("layer").Sum()


#: Caffe's type of a layer -> the PyTorch module for it.
MODULES: Mapping[str, Callable[[Any], Any]] = {
    "Convolution": _convolution,
    "InnerProduct": _inner_product,
    "Pooling": _pooling,
    "ReLU": lambda layer: (
        torch.nn.LeakyReLU(layer.negative_slope) if layer.negative_slope else torch.nn.ReLU()
    ),
    "TanH": lambda layer: torch.nn.Tanh(),
    "Sigmoid": lambda layer: torch.nn.Sigmoid(),
    "Dropout": lambda layer: torch.nn.Identity(),
    "LRN": lambda layer: torch.nn.Identity(),
    "BatchNorm": _merged,
    "Scale": _merged,
    "Eltwise": _sum,
}


def module_name(layer: Layer) -> str:
    """Return the name of a layer's module."""
    return f"layer_{layer.index}"


class TorchNet(torch.nn.Module):  # type: ignore[misc, unused-ignore]  # PyTorch may not be installed
    """The layers of a plan's net up to its start layer, as PyTorch modules."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._layers = plan.net.layers[: plan.start.index + 1]
        self._input = plan.net.input_value
        for layer in self._layers:
            if layer.type in MODULES:
                self.add_module(module_name(layer), MODULES[layer.type](layer))
            elif layer.type not in ("Split", "Concat", "Flatten"):
                raise TypeError(f"{layer.label}: there is no PyTorch module for it here")
        self.eval().requires_grad_(False)

    def forward(self, images: Any) -> Any:
        """Return the start layer's output (N, K)."""
        values = {self._input: images}
        for layer in self._layers:
            inputs = [values.pop(value) for value in layer.inputs]
            for value in layer.outputs:
                values[value] = self._output(layer, inputs)
        return values[self._layers[-1].outputs[0]]

    def _output(self, layer: Any, inputs: list[Any]) -> Any:
        if layer.type == "Concat":
            return torch.cat(inputs, dim=layer.axis + 1)
        if layer.type == "Split":
            return inputs[0]
        if layer.type == "Eltwise":
            return getattr(self, module_name(layer))(torch.stack(inputs, dim=-1))
        if layer.type == "Flatten":
            return inputs[0].reshape(len(inputs[0]), *layer.output_shapes[0])
        if layer.type == "InnerProduct":
            return getattr(self, module_name(layer))(inputs[0].flatten(1))
        return getattr(self, module_name(layer))(inputs[0])


def composite_of(plan: Plan) -> Any:
    """Return zennit's composite with the rules of a plan, None if they are all PyTorch's own gradients."""
    hooks = [((module_name(step.layer),), hook_of(step.rule)) for step in plan.steps]
    hooks = [(names, hook) for names, hook in hooks if hook is not None]
    return import_zennit("composites").NameMapComposite(hooks) if hooks else None


def _of_channels(numbers: tuple[float, ...]) -> Any:
    return torch.tensor(numbers).reshape(1, -1, 1, 1)


#: Our rule -> zennit's, from the module of its rules; None where PyTorch's gradient does the same.
HOOKS: Mapping[type[AnyRule], Callable[[Any, Any], Any]] = {
    Epsilon: lambda theirs, rule: theirs.Epsilon(epsilon=rule.epsilon),
    AlphaBeta: lambda theirs, rule: theirs.AlphaBeta(alpha=1.0 + rule.beta, beta=rule.beta),
    Gamma: lambda theirs, rule: theirs.Gamma(gamma=rule.gamma),
    ZBox: lambda theirs, rule: theirs.ZBox(*map(_of_channels, (rule.lowest, rule.highest))),
    Flat: lambda theirs, _: theirs.Flat(),
    WSquare: lambda theirs, _: theirs.WSquare(),
    Proportional: lambda theirs, _: theirs.Norm(),
    Contribution: lambda theirs, _: theirs.Norm(),
    Pass: lambda theirs, _: theirs.Pass(),
    PassPositive: lambda theirs, _: theirs.ReLUDeconvNet(),
    PassGuided: lambda theirs, _: theirs.ReLUGuidedBackprop(),
    Gradient: lambda *_: None,
    Route: lambda *_: None,
    TaylorNormalization: lambda *_: None,
}


def hook_of(rule: AnyRule) -> Any:
    """Return zennit's rule for ours, None if the plain gradient does the same."""
    hook = next((HOOKS[kind] for kind in type(rule).__mro__ if kind in HOOKS), None)
    if hook is None:
        raise TypeError(f"zennit has no rule like '{rule.title}'")
    return hook(import_zennit("rules"), rule)


class Zennit:
    """Explains a batch of images repeatedly, item i for class i, with zennit and with the plain gradient."""

    def __init__(self, plan: Plan, images: Blob) -> None:
        self._images = torch.from_numpy(images)
        self._net = TorchNet(plan)
        self._seed = torch.eye(plan.start_size)[: len(images)]
        attribution = import_zennit("attribution")
        self._attributor = attribution.Gradient(self._net, composite_of(plan))

    def attribute(self) -> NDArray[Any]:
        """Return the relevance of the images; hooks are added and removed, as in a user's program."""
        _, relevance = self._attributor(self._images, lambda scores: scores * self._seed)
        return self._as_array(relevance)

    def gradient(self) -> NDArray[Any]:
        """Return the gradient of the scores with respect to the images, without hooks."""
        images = self._images.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad((self._net(images) * self._seed).sum(), (images,))
        return self._as_array(gradient)

    def _as_array(self, tensor: Any) -> NDArray[Any]:
        array: NDArray[Any] = tensor.detach().numpy()
        return array

    def run_attribution(self, count: int) -> Round:
        """Attribute `count` batches, with the hooks added beforehand, and return the time."""
        with self._attributor:
            return self._timed(self.attribute, count)

    def run_gradient(self, count: int) -> Round:
        """Compute the gradient of `count` batches and return the time."""
        return self._timed(self.gradient, count)

    def _timed(self, call: Callable[[], object], count: int) -> Round:
        started = time.perf_counter()
        for _ in range(count):
            call()
        return Round(count * len(self._images), time.perf_counter() - started)


def main() -> None:
    """Serve the case on the command line."""
    case = read_case(sys.argv[1])
    torch.set_num_threads(case.threads)
    explainer, images = load(case)
    zennit = Zennit(explainer.plan, images)
    serve({"zennit": zennit.run_attribution, "gradient": zennit.run_gradient}, case.round_seconds)


if __name__ == "__main__":
    main()
