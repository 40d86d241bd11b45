"""Layers that scale and shift by learned numbers: batch normalization at test time, Scale and Bias.

With two bottoms, Scale and Bias take their numbers from the second one: see `broadcast`.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from caffe_lrp.compute.once import shared_property
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import BiasParameter, BNParameter, ScaleParameter
from caffe_lrp.formats.spec import LayerSpec, Shape
from caffe_lrp.kernels.blobs import Blob, lines

from .base import Blobs, Identity, Layer, Normalization, Numbers, Range, Router, register
from .broadcast import ScaledByBlob, ShiftedByBlob, require_part
from .geometry import canonical_axis


class Affine(Normalization):
    """``factor·x + shift``, with numbers that do not depend on the image."""

    @property
    @abstractmethod
    def exact(self) -> tuple[Numbers, Numbers]:
        """Factor and shift, with as many axes as one item, to which they are broadcast."""

    @property
    def of_channels(self) -> tuple[Numbers, Numbers] | None:
        """Factor and shift of every channel; None if they differ within a channel."""
        if not all(map(_is_of_channels, self.exact)):
            return None
        channels = self.input_shapes[0][0]
        factor, shift = (np.broadcast_to(numbers.reshape(-1), channels) for numbers in self.exact)
        return factor, shift

    @shared_property
    def _rounded(self) -> tuple[Blob, Blob]:
        """Factor and shift, rounded to the precision of blobs."""
        factor, shift = self.exact
        return factor.astype(np.float32), shift.astype(np.float32)

    def range_of(self, inputs: Sequence[Range | None]) -> Range | None:
        if inputs[0] is None or len(self.weights) < len(self.weight_shapes):
            return None
        factor, shift = self.exact
        ends = [factor * end + shift for end in inputs[0]]
        return float(np.minimum(*ends).min()), float(np.maximum(*ends).max())

    def keeps_bounds(self, varying: int) -> bool:
        return True

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs) and bool(self.weights) and all(part.min() >= 0 for part in self._rounded)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        factor, shift = self._rounded
        return (_applied(inputs[0], factor, shift, workspace),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        factor, shift = self._rounded
        return (_applied(gradients[0], factor, np.zeros_like(shift), workspace),)


def _is_of_channels(numbers: Numbers | Blob) -> bool:
    """Whether there is one number for every channel, or one for all."""
    return math.prod(numbers.shape[1:]) == 1


def _applied(x: Blob, factor: Blob, shift: Blob, workspace: Workspace) -> Blob:
    """``factor·x + shift``."""
    out = workspace.empty(x.shape)
    source, target = x, out
    if x.ndim in (2, 4) and _is_of_channels(factor) and _is_of_channels(shift):
        source, target = lines(x), lines(out)
        factor, shift = factor.reshape(-1), shift.reshape(-1)
    is_shifted = bool(shift.any())

    def apply(first: int, last: int) -> None:
        part = np.multiply(source[first:last], factor, out=target[first:last])
        if is_shifted:
            part += shift

    workspace.share(apply, len(source), x.size)
    return out


@dataclass(frozen=True, eq=False, kw_only=True)
class FusedAffine(Affine):
    """Several affine layers combined into one."""

    factor: Numbers
    shift: Numbers

    @property
    def exact(self) -> tuple[Numbers, Numbers]:
        return self.factor, self.shift


class Merged(Router, Identity):
    """The placeholder of a layer that was merged into another: its index and its name."""


# --- Learned numbers ----------------------------------------------------------------------------------------

#: Roles of learned blobs, in the order of the caffemodel.
_Roles = tuple[str, ...]

_SINGLE_NUMBERS = frozenset(("factor", "unused"))


@dataclass(frozen=True, eq=False, kw_only=True)
class LearnedAffine(Affine):
    """Scale and shift by learned numbers for some of the axes.

    Attributes
    ----------
    accepted_roles
        Roles of the blobs, for every way in which they can be stored; the usual one first.
    first, span
        The first axis of one item that the numbers are for, and the sizes; none for a single number.
    """

    accepted_roles: tuple[_Roles, ...]
    first: int = 0
    span: Shape

    def _shapes(self, roles: _Roles) -> tuple[Shape, ...]:
        return tuple((1,) if role in _SINGLE_NUMBERS else self.span or (1,) for role in roles)

    @property
    def accepted_weight_shapes(self) -> tuple[tuple[Shape, ...], ...]:
        return tuple(map(self._shapes, self.accepted_roles))

    @property
    def weight_shapes(self) -> tuple[Shape, ...]:
        return self._shapes(self.weight_roles)

    @property
    def weight_roles(self) -> _Roles:
        shapes = tuple(blob.shape for blob in self.weights) or self._shapes(self.accepted_roles[0])
        return next(roles for roles in self.accepted_roles if self._shapes(roles) == shapes)

    @property
    def _blobs(self) -> dict[str, Numbers]:
        """The learned blobs by role."""
        pairs = zip(self.weight_roles, self.weights, strict=True)
        return {role: blob.astype(np.float64) for role, blob in pairs}

    @property
    def exact(self) -> tuple[Numbers, Numbers]:
        blobs, axes = self._blobs, len(self.input_shapes[0])
        factor = blobs.get("scale", np.ones(self.span))
        shift = blobs.get("bias", np.zeros(self.span))
        if "variance" in blobs:
            factor = factor / np.sqrt(blobs["variance"])
            shift = shift - blobs["mean"] * factor
        shape = (*(1,) * self.first, *self.span, *(1,) * (axes - self.first - len(self.span)))
        return factor.reshape(shape), shift.reshape(shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Standardization(LearnedAffine):
    """Division by the standard deviations from training, per channel, followed by a learned scale and shift.

    ``epsilon`` is added to the variances.
    """

    epsilon: float

    @property
    def _blobs(self) -> dict[str, Numbers]:
        """The learned blobs by role, with statistics in the form used here."""
        blobs = super()._blobs
        if "factor" in blobs:  # statistics were multiplied by it; 0 before the first step of training
            factor = float(blobs["factor"][0])
            share = 0 if factor == 0 else 1 / factor
            blobs |= {role: blobs[role] * share for role in ("mean", "variance")}
        if "variance" in blobs:
            blobs["variance"] = blobs["variance"] + self.epsilon
        return blobs

    @property
    def remark(self) -> str:
        blobs = super()._blobs
        unused = float(blobs["unused"][0]) if "unused" in blobs else 1.0
        if unused not in (0, 1):
            return (
                f"the last number of its statistics is {unused:g}: the others are used unscaled, as in "
                "NVIDIA's Caffe; Intel's Caffe divides them by it. If the caffemodel is Intel's, scores are "
                "wrong: divide its mean and variance by this number, and set the number to 1"
            )
        is_divided_by_0 = "factor" in blobs and not blobs["factor"].any()
        if not is_divided_by_0 or not (blobs["mean"].any() or blobs["variance"].any()):
            return ""
        return (
            "mean and variance are taken as 0, as in Caffe, because the third blob, their divisor, is 0; in "
            "files of NVIDIA's Caffe 0.16 this 0 means 1: set it to 1 there"
        )

    def with_weights(self, weights: tuple[Blob, ...]) -> "Standardization":
        layer = replace(self, weights=weights)
        variances = layer._blobs.get("variance")
        if variances is not None and variances.min() <= 0:
            raise ModelError(
                f"a variance plus eps is {variances.min():.3g}, but must be above 0; the blobs of the "
                f"caffemodel are read as {', '.join(layer.weight_roles)}: put them in this order, or set eps"
            )
        return layer


#: As Caffe stores them. Variants lack the factor of the statistics, or have scale and bias in addition.
_STATISTICS = ("mean", "variance", "factor")
_BARE_STATISTICS = ("mean", "variance")
#: NVIDIA's Caffe, which stores a factor but does not divide by it: version 0.16 and later, and before.
_NVIDIA = ("mean", "variance", "unused", "scale", "bias")
_NVIDIA_BEFORE = ("scale", "bias", "mean", "variance", "unused")
_SCALED = ("mean", "variance", "scale", "bias")


@register("BatchNorm")
class BatchNorm(Standardization):
    """``(x − mean)/√(variance + ε)``, with scale and bias if a fork has them in this layer.

    Statistics are always those from training, whatever ``use_global_stats`` says, because the explanation of
    an image must not depend on the other images of its batch.
    """

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "BatchNorm":
        parameters = spec.parameters.batch_norm_param
        accepted_roles: tuple[_Roles, ...] = (_NVIDIA, _NVIDIA_BEFORE, _SCALED)
        if not parameters.scale_bias:
            accepted_roles = (_STATISTICS, _BARE_STATISTICS, *accepted_roles)
        return cls(
            accepted_roles=accepted_roles, span=node["input_shapes"][0][:1], epsilon=parameters.eps, **node
        )


@register("BN")
@dataclass(frozen=True, eq=False, kw_only=True)
class BN(Standardization):
    """Batch normalization of forks, with scale and shift followed by statistics (PSPNet and others).

    SegNet's has no statistics: for testing (``bn_mode: INFERENCE``), its scale and shift contain them.

    From December 2015 on, a fork of the same family stored 1/√(variance + ε) instead of the variance
    (yjxiong/caffe, pull request 16). The two kinds of blobs cannot be distinguished; they are read as
    variances, like those of PSPNet and later forks.
    """

    is_complete: bool

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "BN":
        parameters = spec.parameters.bn_param
        is_complete = parameters.bn_mode == BNParameter.INFERENCE
        accepted_roles: tuple[_Roles, ...] = (("scale", "bias"),)
        if not is_complete:
            accepted_roles = (("scale", "bias", "mean", "variance"), *accepted_roles)
        span = node["input_shapes"][0][:1]
        return cls(
            accepted_roles=accepted_roles, span=span, epsilon=parameters.eps, is_complete=is_complete, **node
        )

    def with_weights(self, weights: tuple[Blob, ...]) -> "Standardization":
        if len(weights) == 2 and not self.is_complete:
            raise ModelError(
                "has 2 blobs, scale and shift, but no statistics of the training images; give the caffemodel "
                "for testing, which SegNet's compute_bn_statistics.py wrote, with the prototxt for testing, "
                "which has bn_param { bn_mode: INFERENCE }"
            )
        return super().with_weights(weights)


def _span(parameters: ScaleParameter | BiasParameter, shape: Shape) -> tuple[int, Shape]:
    """The first axis of one item that learned numbers are for, and their sizes.

    Raises
    ------
    ModelError
        The blob does not have the axes, or they include the batch axis.
    """
    if parameters.num_axes == 0:
        return 0, ()
    first = canonical_axis(parameters.axis, shape)
    last = len(shape) if parameters.num_axes == -1 else first + parameters.num_axes
    if not first < last <= len(shape):
        raise ModelError(
            f"num_axes {parameters.num_axes} from axis {parameters.axis} on does not fit a blob of "
            f"{len(shape) + 1} axes; write -1 for all following axes"
        )
    return first, shape[first:last]


# --- Layer types in prototxts -------------------------------------------------------------------------------


@register("Scale")
class Scale(Layer):
    """Multiplication; `from_spec` chooses the class for one bottom or for two."""

    input_counts: ClassVar[tuple[int, int | None]] = (1, 2)
    variants = (LearnedAffine, ScaledByBlob)

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> Layer:
        parameters, shapes = spec.parameters.scale_param, node["input_shapes"]
        if len(shapes) == 1:
            first, span = _span(parameters, shapes[0])
            roles = ("scale", "bias") if parameters.bias_term else ("scale",)
            return LearnedAffine(accepted_roles=(roles,), first=first, span=span, **node)
        require_part(parameters, "scale_param", shapes)
        if parameters.bias_term:
            raise ModelError(
                "bias_term with two bottoms has learned numbers for every image of a batch; put a Bias layer "
                "after it"
            )
        return ScaledByBlob(**node)


@register("Bias")
class Bias(Layer):
    """Addition; `from_spec` chooses the class for one bottom or for two."""

    input_counts: ClassVar[tuple[int, int | None]] = (1, 2)
    variants = (LearnedAffine, ShiftedByBlob)

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> Layer:
        parameters, shapes = spec.parameters.bias_param, node["input_shapes"]
        if len(shapes) == 1:
            first, span = _span(parameters, shapes[0])
            return LearnedAffine(accepted_roles=(("bias",),), first=first, span=span, **node)
        require_part(parameters, "bias_param", shapes)
        return ShiftedByBlob(**node)
