"""Products of inputs and weights, one by one, each with a share of the bias, split by sign.

A share belongs to a product, so that its sign is not known before both are added: sums of positive and of
negative products cannot be had from weights split by sign. Blobs are (N, H, W, C). Taps outside the image
have the product 0, and a share of the bias as all others.
"""

import numpy as np
from numpy.typing import NDArray

from ._kernel import helper, kernel
from .blobs import Blob, Blob1, Blob2, Blob4
from .window import Window

Doubles = NDArray[np.float64]


@helper
def place_of_tap(
    position: int, tap: int, stride: int, pad: int, dilation: int, size: int, is_reversed: bool
) -> int:
    """Where a tap of a window lies along one axis; −1 outside 0..``size``.

    With ``is_reversed`` the other way round: the window of which a tap lies at ``position``, −1 for none.
    """
    found = position * stride - pad + tap * dilation
    if is_reversed:
        distance = position + pad - tap * dilation
        found = distance // stride if distance % stride == 0 else -1
    return found if 0 <= found < size else -1


@helper
def _add_products(line: Blob, weight: Blob, shift: Blob, positive: Doubles, negative: Doubles) -> None:
    """Products of inputs (I,) with weights (I, O), plus a shift each, to the sums (O,) of their signs."""
    for channel in range(line.size):
        value, row = line[channel], weight[channel]
        for output in range(shift.size):
            product = value * row[output] + shift[output]
            is_negative = product < 0
            positive[output] += np.float32(0) if is_negative else product
            negative[output] += product if is_negative else np.float32(0)


@kernel
def signed_sums(
    first: int,
    last: int,
    x: Blob4,
    weight: Blob4,
    bias: Blob1,
    counts: Blob2,
    window: Window,
    spreads: bool,
    positive: Blob4,
    negative: Blob4,
) -> None:
    """Sums of positive and of negative products ``x w + b/K``.

    Parameters
    ----------
    first, last
        Which rows of the output, counted over all items.
    x
        (N, H, W, G·I).
    weight
        (taps, G, I, O).
    bias
        (G·O,).
    counts
        (H_out, W_out): K, the products of an output.
    window, spreads
        Window geometry, and whether windows lie in the output, over which inputs are spread.
    positive, negative
        (N, H_out, W_out, G·O), those rows overwritten.
    """
    rows, columns, height, width = positive.shape[1], positive.shape[2], x.shape[1], x.shape[2]
    groups, inputs, outputs = weight.shape[1], weight.shape[2], weight.shape[3]
    shift = np.empty(bias.size, np.float32)
    sums = np.empty((2, bias.size), np.float64)
    for line in range(first, last):
        item, row = line // rows, line % rows
        for column in range(columns):
            for channel in range(bias.size):
                shift[channel] = bias[channel] / counts[row, column]
            sums[:] = 0
            seen = 0
            for tap in range(weight.shape[0]):
                y = place_of_tap(
                    row, tap // window.kernel_w, window.stride_h, window.pad_h, window.dilation_h, height,
                    spreads,
                )  # fmt: skip
                i = place_of_tap(
                    column, tap % window.kernel_w, window.stride_w, window.pad_w, window.dilation_w, width,
                    spreads,
                )  # fmt: skip
                if y < 0 or i < 0:
                    continue
                seen += inputs
                for group in range(groups):
                    own = slice(group * outputs, (group + 1) * outputs)
                    given = x[item, y, i, group * inputs : (group + 1) * inputs]
                    _add_products(given, weight[tap, group], shift[own], sums[0, own], sums[1, own])
            missing = counts[row, column] - seen
            for channel in range(bias.size):
                outside = missing * shift[channel]
                positive[item, row, column, channel] = sums[0, channel] + max(outside, 0.0)
                negative[item, row, column, channel] = sums[1, channel] + min(outside, 0.0)


@kernel
def hand_back_products(
    first: int,
    last: int,
    x: Blob4,
    weight: Blob4,
    bias: Blob1,
    counts: Blob2,
    of_positive: Blob4,
    of_negative: Blob4,
    window: Window,
    spreads: bool,
    out: Blob4,
) -> None:
    """Products ``x w + b/K`` times the quotient of their sign, added up for every input.

    Parameters
    ----------
    first, last
        Which rows of the input, counted over all items.
    x, bias, counts, window, spreads
        As of `signed_sums`.
    weight
        (taps, G, O, I).
    of_positive, of_negative
        (N, H_out, W_out, G·O): quotients.
    out
        (N, H, W, G·I), those rows overwritten.
    """
    rows, columns, height, width = of_positive.shape[1], of_positive.shape[2], x.shape[1], x.shape[2]
    groups, outputs, inputs = weight.shape[1], weight.shape[2], weight.shape[3]
    for line in range(first, last):
        item, y = line // height, line % height
        for i in range(width):
            out[item, y, i, :] = 0
            for tap in range(weight.shape[0]):
                row = place_of_tap(
                    y, tap // window.kernel_w, window.stride_h, window.pad_h, window.dilation_h, rows,
                    not spreads,
                )  # fmt: skip
                column = place_of_tap(
                    i, tap % window.kernel_w, window.stride_w, window.pad_w, window.dilation_w, columns,
                    not spreads,
                )  # fmt: skip
                if row < 0 or column < 0:
                    continue
                for group in range(groups):
                    given = x[item, y, i, group * inputs : (group + 1) * inputs]
                    target = out[item, y, i, group * inputs : (group + 1) * inputs]
                    for output in range(outputs):
                        channel = group * outputs + output
                        up = of_positive[item, row, column, channel]
                        down = of_negative[item, row, column, channel]
                        if up == 0 and down == 0:
                            continue
                        shift = bias[channel] / counts[row, column]
                        line_of_weights = weight[tap, group, output]
                        for place in range(inputs):
                            product = given[place] * line_of_weights[place] + shift
                            target[place] += product * (down if product < 0 else up)
