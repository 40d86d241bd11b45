"""Products of inputs and weights, one by one, each with a share of the bias, split by sign.

A share belongs to a product, so that its sign is not known before both are added: sums of positive and of
negative products cannot be had from weights split by sign. Blobs are (N, H, W, C). Taps outside the image
have the product 0, and a share of the bias as all others.
"""

import numpy as np

from ._kernel import helper, kernel
from ._products import add_signed_products, hand_back_signed_products
from .blobs import Blob, Blob1, Blob2, Blob4
from .window import Window

#: Products that are added up before their sum is added to others: long sums in one go lose digits.
_CHUNK = 256


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
def _add_tap(line: Blob, weight: Blob, bias: Blob, share: Blob, positive: Blob, negative: Blob) -> None:
    """Products of a pixel (G·I,) and one tap's weights (G, I, O), to the sums (G·O,) of their signs."""
    groups, inputs, outputs = weight.shape
    row_step = 4 * outputs
    for group in range(groups):
        own = 4 * group * outputs
        for start in range(0, inputs, _CHUNK):
            add_signed_products(
                line.ctypes.data + 4 * (group * inputs + start), min(_CHUNK, inputs - start),
                weight[group, start].ctypes.data, row_step, bias.ctypes.data + own, share.ctypes.data,
                positive.ctypes.data + own, negative.ctypes.data + own, outputs,
            )  # fmt: skip


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
    (rows, columns), (height, width) = counts.shape, x.shape[1:3]
    share, seen = np.empty(1, np.float32), np.empty(columns, np.float32)
    for line in range(first, last):
        item, row = line // rows, line % rows
        positive[item, row], negative[item, row], seen[:] = 0, 0, 0
        for tap in range(weight.shape[0]):
            for column in range(columns):
                y, i = partner(row, column, tap, window, height, width, spreads)
                if y < 0 or i < 0:
                    continue
                seen[column] += weight.shape[2]
                share[0] = np.float32(1) / counts[row, column]
                sums = positive[item, row, column], negative[item, row, column]
                _add_tap(x[item, y, i], weight[tap], bias, share, sums[0], sums[1])
        for column in range(columns):
            outside = (counts[row, column] - seen[column]) / counts[row, column]
            for channel in range(bias.size):
                positive[item, row, column, channel] += outside * max(bias[channel], np.float32(0))
                negative[item, row, column, channel] += outside * min(bias[channel], np.float32(0))


@helper
def _hand_back_tap(
    line: Blob, weight: Blob, bias: Blob, share: Blob, of_positive: Blob, of_negative: Blob, out: Blob
) -> None:
    """Products of a pixel (G·I,) and one tap's weights (G, O, I), times quotients (G·O,) of their signs."""
    groups, outputs, inputs = weight.shape
    for group in range(groups):
        own, seen = 4 * group * outputs, 4 * group * inputs
        hand_back_signed_products(
            line.ctypes.data + seen, weight[group].ctypes.data, 4 * inputs, bias.ctypes.data + own,
            share.ctypes.data, of_positive.ctypes.data + own, of_negative.ctypes.data + own, outputs,
            out.ctypes.data + seen, inputs,
        )  # fmt: skip


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
    (rows, columns), (height, width) = counts.shape, x.shape[1:3]
    share = np.empty(1, np.float32)
    for line in range(first, last):
        item, y = line // height, line % height
        out[item, y] = 0
        for tap in range(weight.shape[0]):
            for i in range(width):
                row, column = partner(y, i, tap, window, rows, columns, not spreads)
                if row < 0 or column < 0:
                    continue
                share[0] = np.float32(1) / counts[row, column]
                _hand_back_tap(
                    x[item, y, i], weight[tap], bias, share, of_positive[item, row, column],
                    of_negative[item, row, column], out[item, y, i],
                )  # fmt: skip
