"""Assumptions about a net's input without a config: for a first look at a net.

For serious use the mean must be given: a wrong mean silently gives wrong scores.
"""

from collections.abc import Collection
from typing import Any

from caffe_lrp.formats.spec import Shape, Transform
from caffe_lrp.net.deploy.deployed import DeployedNet, image_shape

from .settings import ModelSettings

#: Mean of ImageNet's photos, rounded as most nets have it: blue, green, red.
IMAGENET_MEAN = (104.0, 117.0, 123.0)

_NO_MEAN = (0.0,)


def assumed_settings(deployed: DeployedNet, settings: ModelSettings, said: Collection[str]) -> dict[str, Any]:
    """Assumed values for settings that neither the user nor the prototxt has given.

    Parameters
    ----------
    deployed
        The net.
    settings
        The settings, including those that were given.
    said
        Names of the settings that were given.

    Returns
    -------
    dict
        ``mean_values`` if no mean is given: ImageNet's for three channels, else 0. ``resize``, and
        ``base_size`` if the prototxt has it: the whole picture is resized to a square, as Caffe's own tools
        do, unless the input is not square.

    Raises
    ------
    ModelError
        The net's input is not an image.
    """
    shape, transform = image_shape(deployed), deployed.transform
    assumed: dict[str, Any] = {}
    if transform is None and not {"mean_values", "mean_file"}.intersection(said):
        assumed["mean_values"] = _mean_for(shape, settings.channel_order)
    _, height, width = shape
    if height == width:
        if "resize" not in said:
            assumed["resize"] = "stretch"
        side = _side_of_images(transform)
        if "base_size" not in said and side >= height:
            assumed["base_size"] = side
    return assumed


def _mean_for(shape: Shape, channel_order: str) -> tuple[float, ...]:
    """The most likely mean for inputs of a shape, channels in the net's order."""
    if shape[0] != len(IMAGENET_MEAN):
        return _NO_MEAN
    return IMAGENET_MEAN if channel_order == "BGR" else IMAGENET_MEAN[::-1]


def _side_of_images(transform: Transform | None) -> int:
    """The side of the square that a data layer resizes images to; 0 if it does not."""
    if transform is None or transform.resize is None or len({*transform.resize}) > 1:
        return 0
    return transform.resize[0]
