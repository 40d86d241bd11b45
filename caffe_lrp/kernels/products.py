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
def _place(
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
def partner(
    row: int, column: int, tap: int, window: Window, height: int, width: int, is_reversed: bool
) -> tuple[int, int]:
    """Row and column of the other end of a tap, in an image of ``height`` and ``width``; −1 outside."""
    down, right = tap // window.kernel_w, tap % window.kernel_w
    return (
        _place(row, down, window.stride_h, window.pad_h, window.dilation_h, height, is_reversed),
        _place(column, right, window.stride_w, window.pad_w, window.dilation_w, width, is_reversed),
    )


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


@helper
def _sums_of_window(
    image: Blob,
    row: int,
    column: int,
    weight: Blob,
    shift: Blob,
    window: Window,
    spreads: bool,
    sums: Doubles,
) -> int:
    """Sums (2, G·O) of the products by sign at one place of the output; the number of products inside."""
    groups, inputs, outputs = weight.shape[1:]
    sums[:] = 0
    seen = 0
    for tap in range(weight.shape[0]):
        y, i = partner(row, column, tap, window, image.shape[0], image.shape[1], spreads)
        if y < 0 or i < 0:
            continue
        seen += inputs
        for group in range(groups):
            own = slice(group * outputs, (group + 1) * outputs)
            given = image[y, i, group * inputs : (group + 1) * inputs]
            _add_products(given, weight[tap, group], shift[own], sums[0, own], sums[1, own])
    return seen


@kernel
def signed_sums(
    first: int, last: int, x: Blob4, weight: Blob4, bias: Blob1, counts: Blob2, window: Window, spreads: bool,
    positive: Blob4, negative: Blob4,
) -> None:  # fmt: skip
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
    rows, columns = positive.shape[1], positive.shape[2]
    shift = np.empty(bias.size, np.float32)
    sums = np.empty((2, bias.size), np.float64)
    for line in range(first, last):
        item, row = line // rows, line % rows
        for column in range(columns):
            for channel in range(bias.size):
                shift[channel] = bias[channel] / counts[row, column]
            seen = _sums_of_window(x[item], row, column, weight, shift, window, spreads, sums)
            missing = counts[row, column] - seen
            for channel in range(bias.size):
                outside = missing * shift[channel]
                positive[item, row, column, channel] = sums[0, channel] + max(outside, 0.0)
                negative[item, row, column, channel] = sums[1, channel] + min(outside, 0.0)


@helper
def _hand_back(
    given: Blob, weight: Blob, bias: Blob, count: float, of_positive: Blob, of_negative: Blob, out: Blob
) -> None:
    """Products of inputs (I,) with weights (O, I), times the quotients (O,) of their signs, to ``out``."""
    for output in range(bias.size):
        up, down = of_positive[output], of_negative[output]
        if up == 0 and down == 0:
            continue
        shift, row = bias[output] / count, weight[output]
        for channel in range(given.size):
            product = given[channel] * row[channel] + shift
            out[channel] += product * (down if product < 0 else up)


@kernel
def hand_back_products(
    first: int, last: int, x: Blob4, weight: Blob4, bias: Blob1, counts: Blob2, of_positive: Blob4,
    of_negative: Blob4, window: Window, spreads: bool, out: Blob4,
) -> None:  # fmt: skip
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
    rows, columns, height = of_positive.shape[1], of_positive.shape[2], x.shape[1]
    groups, outputs, inputs = weight.shape[1], weight.shape[2], weight.shape[3]
    for line in range(first, last):
        item, y = line // height, line % height
        for i in range(x.shape[2]):
            out[item, y, i, :] = 0
            for tap in range(weight.shape[0]):
                row, column = partner(y, i, tap, window, rows, columns, not spreads)
                if row < 0 or column < 0:
                    continue
                up, down = of_positive[item, row, column], of_negative[item, row, column]
                for group in range(groups):
                    seen = slice(group * inputs, (group + 1) * inputs)
                    own = slice(group * outputs, (group + 1) * outputs)
                    _hand_back(
                        x[item, y, i, seen], weight[tap, group], bias[own], counts[row, column], up[own],
                        down[own], out[item, y, i, seen],
                    )  # fmt: skip
