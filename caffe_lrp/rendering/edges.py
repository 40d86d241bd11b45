"""The edges of a photo, drawn as its outline. Source: J. Canny 1986, with scikit-image's defaults."""

import cv2
import numpy as np
from numpy.typing import NDArray

#: σ of the Gaussian that smooths the photo, in pixels; it grows with larger photos.
_SIGMA = 2.0
_SIDE_OF_SIGMA = 256
#: Minimum gradients of grey levels from 0 to 1 where an edge continues, and where it begins.
_LOW, _HIGH = 0.1, 0.2
#: OpenCV takes gradients as 16-bit integers; gradients of grey levels reach 4.
_SCALE = 8000


def edges_of(photo: NDArray[np.uint8], sigma: float | None = None) -> NDArray[np.bool_]:
    """(H, W): whether a pixel of a photo (H, W, 3) is on an edge; larger photos get wider lines.

    Parameters
    ----------
    photo
        RGB.
    sigma
        σ of the Gaussian that smooths the photo, in pixels; None: 2, and more for more than 256 pixels.
    """
    times = max(1.0, max(photo.shape[:2]) / _SIDE_OF_SIGMA)
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    smooth = cv2.GaussianBlur(grey, (0, 0), sigma or _SIGMA * times, borderType=cv2.BORDER_REPLICATE)
    across, down = (
        (_SCALE * cv2.Sobel(smooth, cv2.CV_32F, *axis, ksize=3)).round().astype(np.int16)
        for axis in ((1, 0), (0, 1))
    )
    found = cv2.Canny(across, down, _LOW * _SCALE, _HIGH * _SCALE, L2gradient=True)
    width = round(times)
    if width > 1:
        found = cv2.dilate(found, np.ones((width, width), np.uint8))
    return found > 0
