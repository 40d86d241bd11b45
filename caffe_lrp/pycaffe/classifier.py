"""``caffe.Classifier``: a net with a transformer, which averages over ten crops."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blob import Floats
from .core import TEST
from .faults import CaffeValueError
from .io import Transformer, oversample, resize_image
from .net import Net


class Classifier(Net):
    """A net that takes images.

    Parameters
    ----------
    model_file, pretrained_file
        The prototxt and the caffemodel.
    image_dims
        Height and width that images are resized to before they are cropped; unless given, those of the input.
    mean, input_scale, raw_scale, channel_swap
        See `Transformer`; axes are always transposed to (C, H, W).

    Attributes
    ----------
    transformer
        Turns crops into inputs.
    crop_dims, image_dims
        Heights and widths of the input, and of images before they are cropped.
    """

    def __init__(
        self,
        model_file: str | os.PathLike[str],
        pretrained_file: str | os.PathLike[str],
        image_dims: Sequence[int] | None = None,
        mean: Any = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        if isinstance(image_dims, int):
            raise CaffeValueError("caffe.Classifier takes no phase; its third argument is image_dims")
        super().__init__(model_file, pretrained_file, TEST)
        name = self.inputs[0]
        shape = self.blobs[name].shape
        if len(shape) != 4:
            raise CaffeValueError(
                f"caffe.Classifier needs a net for images, but '{name}' has the shape {shape}"
            )
        self.transformer = Transformer({name: shape})
        self.transformer.set_transpose(name, (2, 0, 1))
        setters: dict[Callable[[str, Any], None], Any] = {
            self.transformer.set_mean: mean,
            self.transformer.set_input_scale: input_scale,
            self.transformer.set_raw_scale: raw_scale,
            self.transformer.set_channel_swap: channel_swap,
        }
        for setter, value in setters.items():
            if value is not None:
                setter(name, value)
        self.crop_dims = np.array(shape[2:])
        self.image_dims = np.array(shape[2:] if image_dims is None else image_dims)

    def predict(self, inputs: Sequence[NDArray[Any]], oversample: bool = True) -> Floats:
        """Scores (N, classes) of images (H, W, K).

        Parameters
        ----------
        inputs
            The images, as `load_image` gives them.
        oversample
            Whether the scores of ten crops are averaged; otherwise those of the centre count.
        """
        height, width = map(int, self.image_dims)
        crop = (int(self.crop_dims[0]), int(self.crop_dims[1]))
        resized = [resize_image(np.asarray(image, np.float32), (height, width)) for image in inputs]
        crops = _ten_crops(resized, crop) if oversample else _centres(resized, crop)
        name = self.inputs[0]
        given: dict[str, Any] = {name: np.stack([self.transformer.preprocess(name, each) for each in crops])}
        scores = self.forward_all(**given)[self.outputs[0]]
        if not oversample:
            return scores
        averaged: Floats = scores.reshape(len(resized), 10, *scores.shape[1:]).mean(axis=1)
        return averaged


_ten_crops = oversample


def _centres(images: Sequence[Floats], crop_dims: Sequence[int]) -> Sequence[Floats]:
    """The centre of each image."""
    ten = _ten_crops(images, crop_dims)
    return [ten[number] for number in range(4, len(ten), 10)]
