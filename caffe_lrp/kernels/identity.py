"""Which pixels of a blob follow from equal windows of the image, so that they have to be equal.

Replicated edges and flat regions of an image make many windows equal. A direct convolution gives equal
windows bitwise equal outputs; Winograd's gives them rounding errors that depend on where they lie, and
max pooling would then hand relevance to another pixel. Every pixel gets an identity, a hash of all that
it follows from; pixels of equal identity are made equal. Identities are (N, H, W) of 64 bits.
"""

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel
from .gemm import Blob
from .window import Window

Identities = NDArray[np.uint64]

#: Odd numbers without a pattern, and shifts by about half a word: the usual parts of a hash function.
_FACTOR, _OTHER_FACTOR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_SHIFT, _OTHER_SHIFT = np.uint64(32), np.uint64(29)

#: What hashes begin with.
_START = np.uint64(0x632BE59BD9B4E019)

#: The identity of a pixel without any activation, which the padding of a convolution is too.
ZERO = np.uint64(0x165667B19E3779F9)

#: The identity of what a layer makes of a pixel without any activation, if that is not 0.
_WAS_ZERO = np.uint64(0x85EBCA77C2B2AE63)

#: The identity of what lies outside the image for pooling, which leaves it out.
ABSENT = np.uint64(0x27D4EB2F165667C5)


@kernel
def _mixed(identity: np.uint64, other: np.uint64) -> np.uint64:
    """One identity from two, in this order: another one than in the other order."""
    found = (identity ^ (identity >> _SHIFT)) * _FACTOR + other * _OTHER_FACTOR
    found = (found ^ (found >> _OTHER_SHIFT)) * _FACTOR
    return found ^ (found >> _SHIFT)


@kernel
def image_identities(bits: NDArray[np.uint32], out: Identities) -> None:
    """Identities of the pixels of images, from the bits of their numbers: (N, H, W, C)."""
    for item in range(bits.shape[0]):
        for y in range(bits.shape[1]):
            for x in range(bits.shape[2]):
                found = _START
                for channel in range(bits.shape[3]):
                    found = _mixed(found, np.uint64(bits[item, y, x, channel]))
                out[item, y, x] = found


@kernel
def window_identities(identities: Identities, window: Window, outside: np.uint64, out: Identities) -> None:
    """Identities behind a sliding window; ``outside`` is that of the padding, ``out`` (N, H_out, W_out)."""
    height, width = identities.shape[1], identities.shape[2]
    for item in range(out.shape[0]):
        for row in range(out.shape[1]):
            for column in range(out.shape[2]):
                found = _START
                for tap_y in range(window.kernel_h):
                    y = row * window.stride_h - window.pad_h + tap_y * window.dilation_h
                    for tap_x in range(window.kernel_w):
                        x = column * window.stride_w - window.pad_w + tap_x * window.dilation_w
                        inside = 0 <= y < height and 0 <= x < width
                        found = _mixed(found, identities[item, y, x] if inside else outside)
                out[item, row, column] = found


@kernel
def join_identities(joined: Identities, other: Identities) -> None:
    """Make ``joined`` the identities of pixels that are joined from two blobs."""
    for item in range(joined.shape[0]):
        for y in range(joined.shape[1]):
            for x in range(joined.shape[2]):
                joined[item, y, x] = _mixed(joined[item, y, x], other[item, y, x])


@kernel
def mark_zeros(blob: Blob, identities: Identities) -> None:
    """Give the identity `ZERO` to the pixels of ``blob`` (N, H, W, C) that are 0, and to no others.

    Pixels that have it without being 0 come from a layer that makes something else of 0, the same of all.
    """
    for item in range(blob.shape[0]):
        for y in range(blob.shape[1]):
            for x in range(blob.shape[2]):
                channel = 0
                while channel < blob.shape[3] and blob[item, y, x, channel] == 0:
                    channel += 1
                if channel == blob.shape[3]:
                    identities[item, y, x] = ZERO
                elif identities[item, y, x] == ZERO:
                    identities[item, y, x] = _WAS_ZERO


@kernel
def make_equal(identities: Identities, blob: Blob) -> None:
    """Give every pixel of ``blob`` (N, H, W, C) the numbers of the first of its image with its identity."""
    items, height, width = identities.shape
    size = 16
    while size < 2 * height * width:
        size *= 2
    mask = np.uint64(size - 1)
    places = np.empty(size, np.int64)
    for item in range(items):
        places[:] = -1
        lines = blob[item].reshape((height * width, blob.shape[3]))
        mine = identities[item].reshape(height * width)
        for pixel in range(height * width):
            slot = mine[pixel] & mask
            while places[slot] >= 0 and mine[places[slot]] != mine[pixel]:
                slot = (slot + np.uint64(1)) & mask
            if places[slot] < 0:
                places[slot] = pixel
            else:
                lines[pixel] = lines[places[slot]]


def identities_of(image: Blob) -> Identities:
    """Identities of the pixels of images (N, H, W, C)."""
    out = np.empty(image.shape[:3], np.uint64)
    image_identities(image.view(np.uint32), out)
    return out
