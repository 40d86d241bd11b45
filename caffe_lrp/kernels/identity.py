"""Finds windows of a blob with the same numbers, for which a convolution must give equal results.

Replicated edges and flat regions of an image make many windows equal. A direct convolution gives equal
windows bitwise equal outputs. With Winograd's algorithm their rounding errors depend on their position, and
max pooling would then give the relevance to another pixel. So every window gets an identity, a hash of its
numbers, and outputs with equal identities are made equal.

Identities are 64-bit integers, (groups, N, H, W). They are sums of the numbers' bits times random odd keys.
Pixels that are 0 have the identity 0, like the padding, and the identity of a window is the same kind of sum
over its pixels. Two different windows have the same identity with a probability of 2⁻⁶⁴.
"""

from functools import cache
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ._kernel import kernel
from ._rows import copy
from .blobs import Blob4

#: (groups, N, H, W); keys of a sum, and of a sum over the pixels of a window.
Identities = Annotated[NDArray[np.uint64], 4]
Keys = Annotated[NDArray[np.uint64], 1]
TapKeys = Annotated[NDArray[np.uint64], 2]

_NEGATIVE_ZERO = np.uint32(0x80000000)

#: Numbers with few digits, such as an image's, end with zero bits; the upper half of the word has other bits.
_HALF_A_WORD = np.uint32(16)

#: A random odd number: the upper bits of its products depend on all bits of the other factor.
_SCATTER = np.uint64(0x9E3779B97F4A7C15)


@cache
def identity_keys(count: int) -> Keys:
    """Keys for sums over ``count`` numbers or pixels: (count,)."""
    return np.random.default_rng(count).integers(1 << 64, size=count, dtype=np.uint64) | np.uint64(1)


@kernel
def pixel_identities(
    first: int, last: int, bits: Annotated[NDArray[np.uint32], 4], keys: Keys, out: Identities
) -> None:
    """Compute the identities of pixels.

    Parameters
    ----------
    first, last
        Range of rows, counted over all items.
    bits
        (N, H, W, groups·channels): the bits of float32 numbers.
    keys
        (channels,), from `identity_keys`.
    out
        (groups, N, H, W), those rows overwritten.
    """
    channels = keys.size
    groups, _, height, width = out.shape
    for line in range(first, last):
        item, y = line // height, line % height
        for x in range(width):
            for group in range(groups):
                numbers = bits[item, y, x, group * channels : (group + 1) * channels]
                found = np.uint64(0)
                for channel in range(channels):
                    number = numbers[channel]
                    if number == _NEGATIVE_ZERO:
                        number = np.uint32(0)
                    found += np.uint64(number ^ (number >> _HALF_A_WORD)) * keys[channel]
                out[group, item, y, x] = found


@kernel
def window_identities(identities: Identities, top: int, left: int, keys: TapKeys, out: Identities) -> None:
    """Compute the identities of windows of stride 1 without dilation; pixels outside the image are 0.

    Parameters
    ----------
    identities
        Identities of the pixels, (groups, N, H, W).
    top, left
        Position of the first window in the image; negative in the padding.
    keys
        (k_h, k_w), from `identity_keys`.
    out
        (groups, N, H_out, W_out), overwritten.
    """
    groups, items, height, width = identities.shape
    for group in range(groups):
        for item in range(items):
            for row in range(out.shape[2]):
                target = out[group, item, row]
                target[:] = 0
                for tap_y in range(max(0, -(top + row)), min(keys.shape[0], height - (top + row))):
                    source = identities[group, item, top + row + tap_y]
                    for tap_x in range(keys.shape[1]):
                        key, shift = keys[tap_y, tap_x], left + tap_x
                        for column in range(max(0, -shift), min(target.size, width - shift)):
                            target[column] += source[column + shift] * key


@kernel
def make_equal(first: int, last: int, identities: Identities, blob: Blob4) -> None:
    """Set all pixels with the same identity to the numbers of the first one, in every image and group.

    Parameters
    ----------
    first, last
        Range of items.
    identities
        (groups, N, H, W).
    blob
        (N, H, W, groups·channels), changed in place.
    """
    groups, _, height, width = identities.shape
    channels = blob.shape[3] // groups
    bits = 4
    while 1 << bits < 2 * height * width:
        bits += 1
    mask, shift = np.uint64((1 << bits) - 1), np.uint64(64 - bits)
    places = np.empty(1 << bits, np.int64)
    for item in range(first, last):
        lines = blob[item].reshape((height * width, groups, channels))
        for group in range(groups):
            mine = identities[group, item].reshape(height * width)
            places[:] = -1
            for pixel in range(height * width):
                slot = (mine[pixel] * _SCATTER) >> shift
                while places[slot] >= 0 and mine[places[slot]] != mine[pixel]:
                    slot = (slot + np.uint64(1)) & mask
                if places[slot] < 0:
                    places[slot] = pixel
                else:
                    first_place = lines[places[slot], group].ctypes.data
                    copy(first_place, lines[pixel, group].ctypes.data, channels)
