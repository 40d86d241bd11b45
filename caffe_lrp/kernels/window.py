"""The geometry of a sliding window, shared by convolution and pooling kernels."""

from typing import NamedTuple


class Window(NamedTuple):
    """Kernel size, stride, padding and dilation of a sliding window, in pixels.

    A named tuple of integers, because Numba passes those to compiled code unchanged.
    """

    kernel_h: int
    kernel_w: int
    stride_h: int = 1
    stride_w: int = 1
    pad_h: int = 0
    pad_w: int = 0
    dilation_h: int = 1
    dilation_w: int = 1

    @property
    def extent(self) -> tuple[int, int]:
        """Height and width of the area from the first position in the kernel to the last."""
        return self.dilation_h * (self.kernel_h - 1) + 1, self.dilation_w * (self.kernel_w - 1) + 1

    @property
    def taps(self) -> int:
        """Number of positions in the kernel."""
        return self.kernel_h * self.kernel_w
