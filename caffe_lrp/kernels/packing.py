"""Weights in the order in which products read them. Derived once per run.

Weights are given as (groups, parts, outputs, inputs, k_h, k_w).
"""

import numpy as np
from numpy.typing import NDArray

from ._tiles import PANEL
from ._winograd import FREQUENCIES, weight_transform
from .convolution import padded_outputs
from .gemm import Blob


def pack_panels(weight: NDArray[np.float32]) -> Blob:
    """Panels for `convolution.convolve`.

    For every group, part and panel of up to `PANEL` outputs: the weights of all outputs for one input,
    inputs in the order (kernel row, kernel column, channel). The last panel may be narrow; outputs that
    fill it up have zero weights.
    """
    groups, parts, outputs, inputs, height, width = weight.shape
    rows = weight.transpose(0, 1, 4, 5, 3, 2).reshape(groups * parts, height * width * inputs, outputs)
    return _in_panels(rows)


def pack_frequencies(weight: NDArray[np.float32]) -> Blob:
    """Panels for `winograd.convolve_tiles`: for every frequency, panels of the transformed weights."""
    groups, parts, outputs, inputs = weight.shape[:4]
    padded = padded_outputs(outputs)
    packed = np.zeros((FREQUENCIES, groups * parts, inputs * padded), np.float32)
    taps = weight.reshape(groups * parts, outputs, inputs, -1)
    # Both directions of the transform in one product: (frequencies, taps).
    one_way = weight_transform(weight.shape[4])
    transform = np.kron(one_way, one_way)
    for part in range(groups * parts):
        for column in range(0, padded, PANEL):
            width = min(PANEL, padded - column)
            mine = taps[part, column : column + width].transpose(2, 1, 0)
            values = transform @ mine.reshape(len(mine), -1).astype(np.float64)
            panel = packed[:, part, column * inputs : (column + width) * inputs]
            panel.reshape(FREQUENCIES, inputs, width)[..., : mine.shape[2]] = values.reshape(
                FREQUENCIES, inputs, -1
            )
    return packed.reshape(-1)


def _in_panels(rows: NDArray[np.float32]) -> Blob:
    """(parts, K, M) as panels of columns, one after the other."""
    parts, length, outputs = rows.shape
    padded = padded_outputs(outputs)
    packed = np.zeros((parts, length * padded), np.float32)
    for column in range(0, padded, PANEL):
        width = min(PANEL, padded - column)
        panel = packed[:, column * length : (column + width) * length].reshape(parts, length, width)
        panel[:, :, : min(width, outputs - column)] = rows[:, :, column : column + width]
    return packed.reshape(-1)


def merge_groups(weight: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Weights of a convolution in which ``count`` groups at a time are one, zero between their channels.

    Groups of one channel or a few leave most lanes of a vector empty. Products with zeros cost less than
    empty lanes.

    Parameters
    ----------
    weight
        (groups, parts, outputs, inputs, k_h, k_w).
    count
        A divisor of the groups.

    Returns
    -------
    ndarray
        (groups/count, 1, count·parts·outputs, count·inputs, k_h, k_w); outputs are ordered as before.
    """
    groups, parts, outputs, inputs, height, width = weight.shape
    whole = np.zeros((groups // count, count, parts * outputs, count, inputs, height, width), np.float32)
    apart = weight.reshape(groups // count, count, parts * outputs, inputs, height, width)
    for place in range(count):
        whole[:, place, :, place] = apart[:, place]
    return whole.reshape(groups // count, 1, count * parts * outputs, count * inputs, height, width)


def pad_bias(bias: NDArray[np.float32], groups: int) -> Blob:
    """A bias (M,) for products that begin with it: every group filled up to whole panels."""
    per_group = bias.reshape(groups, -1)
    padded = np.zeros((groups, padded_outputs(per_group.shape[1])), np.float32)
    padded[:, : per_group.shape[1]] = per_group
    return padded.reshape(-1)


def adjoint_weight(weight: NDArray[np.float32], stride_h: int, stride_w: int) -> NDArray[np.float32]:
    """Weights of the convolution of stride 1 that is the adjoint of one with ``stride``.

    A pixel of the product stands for a block of ``stride_h × stride_w`` pixels of the result; its outputs
    are ordered (row in the block, column in the block, input channel).

    Parameters
    ----------
    weight
        (groups, parts, outputs, inputs, k_h, k_w).

    Returns
    -------
    ndarray
        (groups, 1, stride_h·stride_w·inputs, parts·outputs, ⌈k_h/stride_h⌉, ⌈k_w/stride_w⌉).
    """
    groups, parts, outputs, inputs, height, width = weight.shape
    rows, columns = -(-height // stride_h), -(-width // stride_w)
    whole = np.zeros((groups, parts, outputs, inputs, rows * stride_h, columns * stride_w), np.float32)
    whole[..., :height, :width] = weight
    # Tap a + stride·m reaches the pixel a of a block from m blocks before: in a window that is read
    # forwards, m counts from its end.
    blocks = whole.reshape(groups, parts * outputs, inputs, rows, stride_h, columns, stride_w)
    blocks = blocks[:, :, :, ::-1, :, ::-1, :]
    turned = blocks.transpose(0, 4, 6, 2, 1, 3, 5)
    return np.ascontiguousarray(turned).reshape(
        groups, 1, stride_h * stride_w * inputs, parts * outputs, rows, columns
    )


def blocked_adjoint_weight(weight: NDArray[np.float32], block: int) -> NDArray[np.float32]:
    """Weights of the adjoint of a convolution of stride 1, for blocks of ``block × block`` pixels at a time.

    A map with few channels leaves most lanes of a vector empty; the pixels of a block fill them.

    Parameters
    ----------
    weight
        (groups, parts, outputs, inputs, k_h, k_w).

    Returns
    -------
    ndarray
        (groups, 1, block²·inputs, parts·outputs, k_h + block − 1, k_w + block − 1), for a convolution of
        stride ``block``; outputs are ordered as in `adjoint_weight`.
    """
    groups, parts, outputs, inputs, height, width = weight.shape
    turned = weight[..., ::-1, ::-1].reshape(groups, parts * outputs, inputs, height, width)
    turned = turned.transpose(0, 2, 1, 3, 4)
    whole = np.zeros(
        (groups, block, block, inputs, parts * outputs, height + block - 1, width + block - 1), np.float32
    )
    for row in range(block):
        for column in range(block):
            whole[:, row, column, :, :, row : row + height, column : column + width] = turned
    return whole.reshape(groups, 1, block * block * inputs, *whole.shape[4:])


def undilated(weight: NDArray[np.float32], dilation_h: int, dilation_w: int) -> NDArray[np.float32]:
    """``weight`` (…, k_h, k_w) with zeros between its taps, for a window without dilation."""
    *outer, height, width = weight.shape
    whole = np.zeros((*outer, (height - 1) * dilation_h + 1, (width - 1) * dilation_w + 1), np.float32)
    whole[..., ::dilation_h, ::dilation_w] = weight
    return whole
