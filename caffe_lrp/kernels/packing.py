"""Weights in the order in which products read them; computed once per run.

Weights are given as (groups, parts, outputs, inputs, k_h, k_w).
"""

import math

import numpy as np
from numpy.typing import NDArray

from ._simd import LANES
from ._tiles import PANEL
from ._winograd import FREQUENCIES, weight_transform
from .blobs import Blob
from .convolution import padded_lanes, padded_outputs


def pack_panels(weight: NDArray[np.float32]) -> Blob:
    """Panels for `convolution.convolve`.

    For every group, part and panel of up to `PANEL` outputs: the weights of all outputs for one input,
    inputs in the order (kernel row, kernel column, channel). The last panel may be narrow and is padded with
    zero weights.
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
    """(parts, K, M) as panels of columns, one after another."""
    parts, length, outputs = rows.shape
    padded = padded_outputs(outputs)
    packed = np.zeros((parts, length * padded), np.float32)
    for column in range(0, padded, PANEL):
        width = min(PANEL, padded - column)
        panel = packed[:, column * length : (column + width) * length].reshape(parts, length, width)
        panel[:, :, : min(width, outputs - column)] = rows[:, :, column : column + width]
    return packed.reshape(-1)


def merge_groups(weight: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Weights of a convolution with ``count`` groups at a time merged, and zeros between their channels.

    Groups of only a few channels leave most lanes of a vector empty. Products with zeros cost less than
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
    """A bias (M,) from which products start: every group padded to whole panels."""
    per_group = bias.reshape(groups, -1)
    padded = np.zeros((groups, padded_outputs(per_group.shape[1])), np.float32)
    padded[:, : per_group.shape[1]] = per_group
    return padded.reshape(-1)


def adjoint_weight(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights of the convolution that is the adjoint of one without stride.

    Parameters
    ----------
    weight
        (groups, parts, outputs, inputs, k_h, k_w).

    Returns
    -------
    ndarray
        (groups, 1, inputs, parts·outputs, k_h, k_w), its taps in reverse.
    """
    return exchanged(weight)[..., ::-1, ::-1]


def exchanged(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """(groups, parts, outputs, inputs, k_h, k_w) as (groups, 1, inputs, parts·outputs, k_h, k_w)."""
    groups, _, _, inputs, height, width = weight.shape
    return weight.reshape(groups, 1, -1, inputs, height, width).swapaxes(2, 3)


def pack_shares(weight: NDArray[np.float32]) -> Blob:
    """Panels for `adjoint.hand_back` of `exchanged` weights.

    As `pack_panels` for a window of one pixel with the outputs of all taps, in the order (kernel row,
    kernel column, input channel of the layer).
    """
    groups, _, outputs, inputs, height, width = weight.shape
    rows = weight[:, 0].transpose(0, 2, 3, 4, 1).reshape(groups, inputs, height * width * outputs)
    return _in_panels(rows)


def pack_channels(weight: NDArray[np.float32]) -> Blob:
    """Weights for `convolution.convolve` of a depthwise convolution.

    Given as (channels, parts out, 1, parts in, k_h, k_w); ordered (part out, vector of channels, part in,
    kernel row, kernel column, channel).
    """
    channels, parts = weight.shape[:2]
    whole = np.zeros((padded_lanes(channels), parts, math.prod(weight.shape[3:])), np.float32)
    whole[:channels] = weight.reshape(channels, parts, -1)
    vectors = whole.reshape(-1, LANES, *whole.shape[1:]).transpose(2, 0, 3, 1)
    return np.ascontiguousarray(vectors).reshape(-1)


def pack_channel_shares(weight: NDArray[np.float32]) -> Blob:
    """Weights for `adjoint.hand_back` of a depthwise convolution.

    Given as for `pack_channels`; ordered (part out, part in, kernel row, kernel column, channel), channels
    padded to whole vectors.
    """
    channels, parts = weight.shape[:2]
    whole = np.zeros((parts, math.prod(weight.shape[3:]), padded_lanes(channels)), np.float32)
    whole[..., :channels] = weight.reshape(channels, parts, -1).transpose(1, 2, 0)
    return whole.reshape(-1)
