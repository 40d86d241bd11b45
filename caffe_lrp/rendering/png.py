"""PNG files."""

import cv2
import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ImageError


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """The bytes of a PNG file for an RGB picture (H, W, 3).

    Raises
    ------
    ImageError
        The picture cannot be encoded (it has no pixels).
    MemoryError
        There is no room for the file.
    """
    try:
        # OpenCV's own settings (level 1, run lengths, filter "sub") are the fastest of those that compress.
        done, content = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise ImageError(f"a picture of shape {picture.shape} cannot be encoded as PNG") from error
    if not done:  # OpenCV does not say why; of pixels that it takes, this is all that can be wrong
        raise MemoryError
    return content.tobytes()
