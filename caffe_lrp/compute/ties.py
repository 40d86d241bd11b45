"""Ties among the outputs of a convolution with rounding errors that depend on the position of a window."""

import numpy as np

from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.identity import identity_keys, make_equal, pixel_identities, window_identities
from caffe_lrp.kernels.window import Window

from .workspace import Workspace


def restore_ties(x: Blob, window: Window, groups: int, out: Blob, workspace: Workspace) -> None:
    """Make the outputs of equal windows of an image equal.

    Parameters
    ----------
    x
        (N, H, W, C), the input of the convolution.
    window
        Its geometry, of stride 1 and without dilation.
    groups
        Its groups of channels; their windows are compared separately.
    out
        (N, H_out, W_out, C_out), its output, changed in place.
    workspace
        Threads to use.
    """
    items, height, width, channels = x.shape
    of_pixels = np.empty((groups, items, height, width), np.uint64)
    bits, keys = x.view(np.uint32), identity_keys(channels // groups)
    workspace.share(
        lambda first, last: pixel_identities(first, last, bits, keys, of_pixels), items * height, x.size
    )
    of_windows = np.empty((groups, *out.shape[:3]), np.uint64)
    taps = identity_keys(window.taps).reshape(window.kernel_h, window.kernel_w)
    window_identities(of_pixels, -window.pad_h, -window.pad_w, taps, of_windows)
    workspace.share(lambda first, last: make_equal(first, last, of_windows, out), items, out.size)
