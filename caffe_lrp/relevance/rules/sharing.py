"""Rules that share relevance among the contributions to an output, in proportion to them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob, flat, pixels
from caffe_lrp.kernels.elementwise import ZERO_SUM, share_of_contribution
from caffe_lrp.kernels.pooling import average_pool_redistribute
from caffe_lrp.layers.base import Aggregation, Blobs, ClippedWindows, Combination

from .accounts import Loss, doubles, ratio
from .base import Conditions, PassedItem, Rule, Seen, UnpreparedRule
from .routing import lost_outside


@dataclass(frozen=True)
class Proportional(UnpreparedRule[ClippedWindows]):
    """Average pooling: ``r = R x / Σx`` over the window. Max pooling may have it in place of its winner.

    ``add_activations`` is Q7: where ``|Σx| < 1e-6`` the activations themselves are added. A window without
    pixels hands nothing back.
    """

    title = "R·x/Σx"
    add_activations: bool

    def uses_inputs(self, layer: ClippedWindows) -> bool:
        return True

    def propagate(
        self, layer: ClippedWindows, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        out = workspace.empty(seen.inputs[0].shape)
        average_pool_redistribute(
            pixels(seen.inputs[0]),
            pixels(_of_filled(relevances[0], layer)),
            layer.window,
            self.add_activations,
            pixels(out),
        )
        return (out,)

    def losses(self, passed: PassedItem[ClippedWindows, None]) -> Iterator[Loss]:
        """Relevance is lost in empty windows, and where a window sums to 0 (Q7)."""
        yield from lost_outside(passed.layer, passed.relevances[0])
        if self.add_activations:
            sums = _window_sums(pixels(passed.seen.inputs[0])[0], passed.layer)
            lost = doubles(pixels(_of_filled(passed.relevances[0], passed.layer))[0]) - sums
            yield "Q7", float(np.sum(lost, where=np.abs(sums) < np.float32(ZERO_SUM)))


def _of_filled(relevance: Blob, layer: ClippedWindows) -> Blob:
    """The relevance of the windows that see pixels."""
    rows, columns = layer.filled_size
    return relevance[:, :, :rows, :columns]


def _window_sums(x: Blob, layer: ClippedWindows) -> Blob:
    """(H_out, W_out, C): sums of ``x`` (H, W, C) in every window, in the order of summation of the kernel."""
    window, channels, (rows, columns) = layer.window, layer.output_shapes[0][0], layer.filled_size
    bottom = (rows - 1) * window.stride_h + window.kernel_h
    right = (columns - 1) * window.stride_w + window.kernel_w
    top, left = window.pad_h, window.pad_w
    size = (max(bottom, top + x.shape[0]), max(right, left + x.shape[1]), channels)
    padded = np.zeros(size, np.float32)
    padded[top : top + x.shape[0], left : left + x.shape[1]] = x
    sums = np.zeros((rows, columns, channels), np.float32)
    for y in range(window.kernel_h):
        for i in range(window.kernel_w):
            sums += padded[
                y : y + (rows - 1) * window.stride_h + 1 : window.stride_h,
                i : i + (columns - 1) * window.stride_w + 1 : window.stride_w,
            ]
    return sums


@dataclass(frozen=True)
class Contribution(Rule[Combination, tuple[bool, ...]]):
    """``r = R c / Σc`` for inputs that contribute ``c``, equal shares where the sum is 0; none for gates.

    Source: Bach et al. 2015, eq. 56, for sums; Arras et al. 2017 for products, where gates receive none.
    """

    title = "R·c/Σc"

    def uses_inputs(self, layer: Combination) -> bool:
        return True

    def uses_outputs(self, layer: Combination) -> bool:
        return True

    def prepare(self, layer: Combination, conditions: Conditions) -> tuple[bool, ...]:
        """Which inputs are gates."""
        return conditions.gates

    def derived_floats(self, layer: Combination, conditions: Conditions, growth: float) -> Mapping[str, int]:
        return {}

    def propagate(
        self,
        layer: Combination,
        prepared: tuple[bool, ...],
        seen: Seen,
        relevances: Blobs,
        workspace: Workspace,
    ) -> tuple[Blob, ...]:
        contributions = layer.contributions(seen.inputs, seen.outputs, prepared)
        count = sum(contribution is not None for contribution in contributions)
        total, received = flat(seen.outputs[0]), flat(relevances[0])
        found = []
        for number, contribution in enumerate(contributions):
            if contribution is None:
                found.append(workspace.zeros(seen.inputs[number].shape))
                continue
            share = workspace.empty(seen.outputs[0].shape)
            share_of_contribution(flat(contribution), total, received, count, flat(share))
            found.append(layer.gathered(number, share))
        return tuple(found)

    def losses(self, passed: PassedItem[Combination, tuple[bool, ...]]) -> Iterator[Loss]:
        """The inputs receive ``R Σc / z``; the part of z apart from the contributions c is a bias."""
        if not passed.layer.has_bias:
            return
        parts = passed.layer.contributions(passed.seen.inputs, passed.seen.outputs, passed.prepared)
        total = passed.seen.outputs[0]
        bias = doubles(total) - np.sum([part for part in parts if part is not None], axis=0, dtype=np.float64)
        lost = ratio(doubles(passed.relevances[0]) * bias, total)
        yield "bias", float(np.sum(lost, where=np.abs(total) >= np.float32(ZERO_SUM)))


@dataclass(frozen=True)
class Share(UnpreparedRule[Aggregation]):
    """``r = R c / Σc`` for elements that contribute ``c``, equal shares where the sum is 0.

    Source: Bach et al. 2015, eq. 56.
    """

    title = "R·c/Σc"

    def uses_inputs(self, layer: Aggregation) -> bool:
        return True

    def propagate(
        self, layer: Aggregation, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (layer.shared(seen.inputs, relevances[0], workspace),)

    def losses(self, passed: PassedItem[Aggregation, None]) -> Iterator[Loss]:
        return lost_outside(passed.layer, passed.relevances[0])
