"""Products of a linear layer one by one, for rules that change them before they are added up."""

from dataclasses import dataclass

import numpy as np

from caffe_lrp.kernels.blobs import Blob, as_blob, pixels
from caffe_lrp.kernels.products import hand_back_products, signed_sums
from caffe_lrp.kernels.window import Window

from .workspace import Workspace


@dataclass(frozen=True, eq=False)
class Products:
    """The products of a layer, of which each gets the same share of its output's bias, and then has a sign.

    An inner product is a window of one pixel; every position of its input is an item.

    Attributes
    ----------
    weight, backward_weight
        (taps, G, I, O) and (taps, G, O, I).
    window, spreads
        Window geometry, and whether windows lie in the output, over which inputs are spread.
    input_shape, output_shape
        (C, H, W) of an item.
    counts
        (H, W) of the output: how many products an output has, those with padding included.
    """

    weight: Blob
    backward_weight: Blob
    window: Window
    spreads: bool
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    counts: Blob

    @classmethod
    def of(
        cls,
        weight: Blob,
        groups: int,
        window: Window,
        input_shape: tuple[int, ...],
        output_shape: tuple[int, ...],
        spreads: bool,
    ) -> "Products":
        """The products of weights (G·O, I, k_h, k_w)."""
        by_tap = weight.reshape(groups, -1, weight.shape[1], window.taps).transpose(3, 0, 1, 2)
        counts = np.full(output_shape[1:], window.taps, np.float32)
        if spreads:
            counts = np.maximum(_counts(window, input_shape[1:], output_shape[1:]), 1)
        return cls(
            np.ascontiguousarray(by_tap.swapaxes(2, 3)),
            np.ascontiguousarray(by_tap),
            window,
            spreads,
            input_shape,
            output_shape,
            counts * np.float32(weight.shape[1]),
        )

    def signed_sums(self, x: Blob, bias: Blob, workspace: Workspace) -> tuple[Blob, Blob]:
        """Sums of positive and of negative products ``x w + b/K``; ``bias`` (C,), sums (N, C, H, W)."""
        given = self._items(x)
        channels, height, width = self.output_shape
        positive, negative = (workspace.pixels((len(given), height, width, channels)) for _ in range(2))
        workspace.share(
            lambda first, last: signed_sums(
                first, last, given, self.weight, bias, self.counts, self.window, self.spreads, positive,
                negative,
            ),
            len(given) * height,
            positive.size * len(self.weight) * self.weight.shape[2],
        )  # fmt: skip
        shape = (len(given), *self.output_shape)
        return as_blob(positive, shape), as_blob(negative, shape)

    def adjoint(
        self, x: Blob, bias: Blob, of_positive: Blob, of_negative: Blob, workspace: Workspace
    ) -> Blob:
        """Products times the quotients of their signs, added up for every input: in the shape of ``x``."""
        given, up, down = self._items(x), pixels(of_positive), pixels(of_negative)
        out = workspace.pixels(given.shape)
        workspace.share(
            lambda first, last: hand_back_products(
                first, last, given, self.backward_weight, bias, self.counts, up, down, self.window,
                self.spreads, out,
            ),
            len(given) * given.shape[1],
            up.size * len(self.weight) * self.weight.shape[2],
        )  # fmt: skip
        return as_blob(out, (len(given), *self.input_shape)).reshape(x.shape)

    def _items(self, x: Blob) -> Blob:
        return pixels(x.reshape(-1, *self.input_shape))


def _counts(window: Window, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Blob:
    """(H, W): how many taps of windows at all ``inputs`` lie at every one of the ``outputs``."""
    geometry = (
        (window.kernel_h, window.stride_h, window.pad_h, window.dilation_h),
        (window.kernel_w, window.stride_w, window.pad_w, window.dilation_w),
    )
    found = []
    for axis, (kernel, stride, pad, dilation) in enumerate(geometry):
        places = np.add.outer(np.arange(inputs[axis]) * stride - pad, np.arange(kernel) * dilation)
        inside = places[(places >= 0) & (places < outputs[axis])]
        found.append(np.bincount(inside, minlength=outputs[axis]).astype(np.float32))
    return np.multiply.outer(*found)
